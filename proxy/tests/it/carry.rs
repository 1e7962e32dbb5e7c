//! A client's WebSocket stays open while its session is handed over, and neither side's messages
//! are lost, doubled or out of order.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::{
    client::PATIENCE,
    frames::{carried, frame, head, masked, open},
    whole::Whole,
};

/// How the app treats the end of a leg.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    /// It answers a close once it has taken everything before it.
    Polite,
    /// It never answers, and on the next leg says how far it was: everything.
    Deaf,
    /// It never answers, and says on the next leg that the last two messages are unknown to it.
    Forgetful,
}

/// An app that answers every text message `n` with `zone:n`, and counts what it took over all of
/// its zones, as one with a store would.
async fn counting(
    zone: &'static str,
    taken: std::sync::Arc<std::sync::atomic::AtomicU64>,
    manners: Manners,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let taken = taken.clone();
            tokio::spawn(async move { leg(zone, socket, &taken, manners).await });
        }
    });
    address
}

async fn leg(
    zone: &str,
    socket: TcpStream,
    taken: &std::sync::atomic::AtomicU64,
    manners: Manners,
) -> Option<()> {
    use std::sync::atomic::Ordering::SeqCst;
    let (mut read, mut write) = socket.into_split();
    let head = head(&mut read).await?.to_ascii_lowercase();
    assert!(!head.contains("permessage-deflate"), "compression cannot be carried: {head}");
    let resumes = head.contains("homing-resume: client=");
    if resumes && manners == Manners::Forgetful {
        taken.fetch_sub(2, SeqCst);
    }
    let resume = match resumes && manners != Manners::Polite {
        true => format!("homing-resume: client={}\r\n", taken.load(SeqCst)),
        false => String::new(),
    };
    let accept = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n{resume}\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    write.write_all(accept.as_bytes()).await.ok()?;
    let mut open = Vec::new();
    loop {
        let (first, payload) = frame(&mut read).await?;
        match first & 0xf {
            0 | 1 if first & 0x80 == 0 => open.extend(payload),
            0 | 1 => {
                open.extend(payload);
                let payload = std::mem::take(&mut open);
                taken.fetch_add(1, SeqCst);
                let text = format!("{zone}:{}", String::from_utf8(payload).ok()?);
                let frame = [&[0x81, text.len() as u8][..], text.as_bytes()].concat();
                write.write_all(&frame).await.ok()?;
            }
            8 if manners == Manners::Polite => {
                // With the code it was closed with, as the libraries do.
                let answer = [&[0x88, payload.len() as u8][..], &payload].concat();
                write.write_all(&answer).await.ok()?;
                return Some(());
            }
            _ => {}
        }
    }
}

/// A masked text message, in two fragments if its number is odd.
fn message(n: u64) -> Vec<u8> {
    let text = n.to_string().into_bytes();
    match n % 2 {
        0 => masked(0x81, &text),
        _ => [masked(0x01, &text[..1]), masked(0x80, &text[1..])].concat(),
    }
}

async fn carrying(manners: Manners) -> Whole {
    let taken = std::sync::Arc::default();
    let zones = [
        ("lisbon", counting("lisbon", std::sync::Arc::clone(&taken), manners).await),
        ("oslo", counting("oslo", taken, manners).await),
    ];
    carried(&zones).await
}

/// Talks through a carried socket while its session is moved about; the numbers that were
/// answered, in order, and the zones that answered.
async fn talk(whole: &Whole, moves: usize) -> (Vec<u64>, Vec<String>) {
    let (mut read, mut write) = open(whole).await;
    let saying = tokio::spawn(async move {
        for n in 1..=400_u64 {
            write.write_all(&message(n)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        write
    });
    let hearing = tokio::spawn(async move {
        let (mut numbers, mut zones) = (Vec::new(), Vec::new());
        while numbers.last() != Some(&400) {
            let next = tokio::time::timeout(PATIENCE, frame(&mut read)).await;
            let (first, payload) = next.expect("an answer").expect("the socket stays open");
            assert_eq!(first, 0x81, "nothing but answers: {payload:?} after {numbers:?}");
            let text = String::from_utf8(payload).unwrap();
            let (zone, n) = text.split_once(':').unwrap();
            numbers.push(n.parse().unwrap());
            zones.push(zone.to_owned());
        }
        (numbers, zones)
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..moves {
        let (key, home) = whole.only_session().await;
        let directive = whole.move_to(&key, whole.other(&home, &["lisbon", "oslo"])).await;
        let outcome = whole.outcome(directive).await;
        assert_eq!(outcome["outcome"], "completed", "{outcome}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _write = saying.await.unwrap();
    hearing.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_socket_goes_along_and_no_message_is_lost_doubled_or_turned_round() {
    let whole = carrying(Manners::Polite).await;
    let (numbers, mut zones) = talk(&whole, 4).await;
    assert_eq!(numbers, (1..=400).collect::<Vec<_>>());
    zones.dedup();
    assert!(zones.len() >= 4, "{zones:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_answers_no_close_says_itself_how_far_it_is() {
    let whole = carrying(Manners::Deaf).await;
    let (numbers, _) = talk(&whole, 1).await;
    assert_eq!(numbers, (1..=400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_an_app_does_not_know_are_given_to_it_again() {
    let whole = carrying(Manners::Forgetful).await;
    let (numbers, _) = talk(&whole, 1).await;
    // It answers the two again that it said it had not taken.
    let again = numbers.windows(2).position(|pair| pair[1] < pair[0]).expect("given again");
    assert_eq!(numbers[again + 1], numbers[again] - 1, "{numbers:?}");
    let mut once = numbers.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, (1..=400).collect::<Vec<_>>());
    assert_eq!(numbers.len(), 402);
}
