"""A counter per session that Homing can hand over: GET / adds one. Run: hooks_app.py PORT ZONE"""
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
PORT, ZONE = int(sys.argv[1]), sys.argv[2]
lock, live, staged, fence = threading.Lock(), {}, {}, {}  # by session key; live: a list of ticks

class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do(self):
        try:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with lock:
                status, told, *headers = self.asked(urlsplit(self.path), body)
        except (KeyError, TypeError, ValueError):  # a header or parameter is odd, or not there
            status, told, headers = 400, "not as the contract has it", [("connection", "close")]
        self.send_response(status)
        for name, value in [("content-length", len(told)), *headers]:
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(told.encode())
    do_GET = do_PUT = do_POST = do
    log_message = lambda *_: None

    def asked(self, url, body):
        path, query = url.path.split("/")[1:], dict(parse_qs(url.query))
        if path[:2] != ["homing", "state"]:
            return self.serve(str(self.headers["homing-session"]), self.headers["homing-epoch"])
        key, hook = (path[2:] + ["", ""])[:2]
        place = (key, "replica" in query)  # a replica waits apart from what handoffs stage
        if hook == "export" and key in live:
            since, ticks = int(query["since"][0]), live[key]
            since = since - 1 if 0 < since <= len(ticks) + 1 else 0  # version = ticks + 1
            return (200, json.dumps(ticks[since:]), ("homing-state-version", len(ticks) + 1),
                    ("homing-state-kind", "delta" if since else "full"))
        if hook == "import":
            directive, kept = staged.get(place, (None, []))
            if query["kind"] == ["full"] or directive != query["directive"]:
                kept = []
            staged[place] = (query["directive"], kept + json.loads(body))
        elif hook in ("fence", "release"):
            epoch, fenced = int(query["epoch"][0]), fence.get(key, 0)
            if hook == "fence" and epoch < fenced:
                return 409, "fenced: this session has moved on"
            copy = staged.pop(place, None)
            if hook == "fence":
                fence[key] = epoch
                live.update({key: copy[1]} if copy else {})
            elif not place[1] and fenced >= epoch:
                live.pop(key, None)
        return (204 if hook in ("import", "fence", "release") else 404), ""

    def serve(self, key, epoch):
        if int(epoch) < fence.get(key, 0):
            return 409, "fenced: this session has moved"
        live.setdefault(key, []).append(int(epoch))
        return 200, json.dumps({"zone": ZONE, "session": key, "ticks": len(live[key])})

ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
