"""A counter per session that Homing can hand over: GET / adds one. Run: hooks_app.py PORT ZONE"""
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
PORT, ZONE = int(sys.argv[1]), sys.argv[2]
lock, live, staged, fence = threading.Lock(), {}, {}, {}  # by session key; live: a list of ticks

class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with lock:
            if not url.path.startswith("/homing/state/"):
                return self.serve()
            key, hook = url.path.split("/")[3:5]
            if hook == "export":
                if key not in live:
                    return self.answer(404)
                since, ticks = int(query["since"]), live[key]
                since = since - 1 if 0 < since <= len(ticks) + 1 else 0  # version = ticks + 1
                kind = "delta" if since else "full"
                return self.answer(200, json.dumps(ticks[since:]).encode(),
                                   homing_state_version=len(ticks) + 1, homing_state_kind=kind)
            if hook == "import":
                directive, kept = staged.get(key, (None, []))
                if query["kind"] == "full" or directive != query["directive"]:
                    kept = []
                staged[key] = (query["directive"], kept + json.loads(body))
            elif hook == "fence" and int(query["epoch"]) >= fence.get(key, 0):
                fence[key] = int(query["epoch"])
                if key in staged:
                    live[key] = staged.pop(key)[1]
            elif hook == "release":
                staged.pop(key, None)
                if fence.get(key, 0) >= int(query["epoch"]):
                    live.pop(key, None)
            self.answer(204)

    def serve(self):
        key, epoch = self.headers["homing-session"], int(self.headers["homing-epoch"])
        if epoch < fence.get(key, 0):
            return self.answer(409, b"fenced: this session has moved")
        live.setdefault(key, []).append(epoch)
        told = {"zone": ZONE, "session": key, "ticks": len(live[key])}
        self.answer(200, json.dumps(told).encode())
    do_GET = do_PUT = do_POST = do
    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
