use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn pair(head_bytes_max: usize) -> (DuplexStream, Paced<DuplexStream>, Arc<Pace>) {
    let (client, server) = duplex(64 << 10);
    let pace = Pace::new(head_bytes_max, TIMEOUT);
    (client, Paced::new(server, Arc::clone(&pace)), pace)
}

async fn answer(client: &mut DuplexStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_answered_408_in_time() {
    let (mut client, mut server, _) = pair(1_000);
    let served = tokio::spawn(async move {
        let mut buf = [0; 100];
        loop {
            if let Err(fault) = server.read(&mut buf).await {
                return fault.kind();
            }
        }
    });
    let began = tokio::time::Instant::now();
    for _ in 0..9 {
        client.write_all(b"G").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let text = answer(&mut client).await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("client-timeout"), "{text}");
    assert!(began.elapsed() < TIMEOUT + Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(served.await.unwrap(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_at_all_is_answered_408() {
    let (mut client, mut server, _) = pair(1_000);
    let served = tokio::spawn(async move { server.read(&mut [0; 100]).await.is_err() });
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 408 "));
    drop(client);
    assert!(served.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_head_over_its_bound_is_answered_431() {
    let (mut client, mut server, _) = pair(1_000);
    let served = tokio::spawn(async move {
        let mut buf = [0; 300];
        while server.read(&mut buf).await.is_ok() {}
    });
    client.write_all(&[b'a'; 1_500]).await.unwrap();
    let text = answer(&mut client).await;
    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    drop(client);
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bodies_and_idle_keep_alive_are_not_paced() {
    let (mut client, mut server, pace) = pair(100);
    client.write_all(&[b'h'; 50]).await.unwrap();
    let mut buf = [0; 50];
    server.read_exact(&mut buf).await.unwrap();
    pace.head_is_read();
    client.write_all(&[b'b'; 5_000]).await.unwrap();
    let mut body = [0; 5_000];
    server.read_exact(&mut body).await.unwrap();
    pace.await_head();
    let waiting = tokio::time::timeout(TIMEOUT * 3, server.read(&mut buf)).await;
    assert!(waiting.is_err(), "an idle client was cut off");
    client.write_all(&[b'h'; 20]).await.unwrap();
    assert_eq!(server.read(&mut buf).await.unwrap(), 20);
}

#[tokio::test]
async fn small_writes_leave_together_and_large_ones_in_order() {
    let (mut client, mut server, _) = pair(100);
    server.write_all(b"head;").await.unwrap();
    server.write_all(b"body;").await.unwrap();
    let mut buf = vec![0; 20_010];
    let early = tokio::time::timeout(Duration::from_millis(20), client.read(&mut buf)).await;
    assert!(early.is_err(), "written before the flush");
    server.write_all(&[b'x'; 20_000]).await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut buf).await.unwrap();
    assert!(buf.starts_with(b"head;body;xxx") && buf.ends_with(b"xxx"));
    assert_eq!(server.gathered.capacity(), 0);
}

#[tokio::test]
async fn a_severed_connection_waits_for_nobody() {
    let (client, mut server, pace) = pair(1_000);
    pace.head_is_read();
    let writing = server.write_all(&[7; 100_000]);
    assert!(tokio::time::timeout(Duration::from_millis(20), writing).await.is_err());
    server.write_all(&[7; 100]).await.unwrap();
    pace.sever();
    let aborted = io::ErrorKind::ConnectionAborted;
    assert_eq!(server.flush().await.unwrap_err().kind(), aborted);
    assert_eq!(server.read(&mut [0; 100]).await.unwrap_err().kind(), aborted);
    Shutdown::shutdown(&mut server).await;
    drop(client);
}
