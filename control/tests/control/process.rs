//! The process itself: killed without warning, asked to end, started wrongly.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::world::{DOCUMENT, Proxy, get, hello, post, push};

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

async fn run(config: &Path, api: SocketAddr) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homing-control"));
    let child = command.arg(config).stderr(Stdio::null()).spawn().expect("it starts");
    let process = Process(child);
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(api).await.is_ok() {
            return process;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("control does not listen");
}

fn configure(folder: &Path) -> (std::path::PathBuf, SocketAddr, SocketAddr) {
    let (api, link) = (free(), free());
    let config = folder.join("control.yaml");
    let text = format!(
        "api: {{ address: '{api}' }}\nlink: {{ address: '{link}' }}\ndata_dir: data\nround: 100ms\n"
    );
    std::fs::write(&config, text).expect("it is written");
    (config, api, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_comes_back_with_what_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (config, api, link) = configure(folder.path());
    let mut process = run(&config, api).await;
    push(api, None, DOCUMENT).await;
    let mut seen = 0;
    let mut table = None;
    for turn in 1..=4_u64 {
        let mut proxy = Proxy::attach(link, hello("edge", 7, None)).await.unwrap();
        proxy.update().await;
        proxy.ack().await;
        let zones = ["paris", "oregon"];
        for n in 0..5_u64 {
            let path =
                format!("/v1/sessions/{:032x}/move", u128::from(turn) << 100 | u128::from(n + 1));
            for zone in zones {
                let asked = post(api, &path, &format!(r#"{{"zone":"{zone}"}}"#)).await;
                seen += u64::from(asked.status == 202);
            }
        }
        // Killed with the answers out and nothing else said.
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        process = run(&config, api).await;
        let open = get(api, "/v1/directives?limit=1000").await.json();
        assert_eq!(open["open"].as_u64().unwrap(), seen, "after kill {turn}");
        let now = get(api, "/v1/table").await.json();
        assert_eq!(now["term"].as_u64().unwrap(), turn + 1);
        table = Some(now["digest"].clone());
    }
    assert_eq!(seen, 20);
    drop(process);
    let _process = run(&config, api).await;
    assert_eq!(Some(get(api, "/v1/table").await.json()["digest"].clone()), table);
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_it_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let (config, api, link) = configure(folder.path());
    let mut process = run(&config, api).await;
    push(api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    let id = process.0.id().to_string();
    Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(proxy.next().await.is_none());
    for _ in 0..200 {
        if let Some(status) = process.0.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("control does not end");
}

#[test]
fn settings_with_faults_end_it_with_78_and_every_fault() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("control.yaml");
    std::fs::write(&config, "api: { address: nowhere }\nrond: 1s\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_homing-control"));
    let output = command.arg(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8_lossy(&output.stderr);
    for due in ["api.address", "rond", "data_dir", "remedy"] {
        assert!(told.contains(due), "{due} in {told}");
    }
}
