//! Delay lines between the fleet's zones, in user space because a kernel may have no network
//! emulator: what goes in comes out one way's delay later, in order, unless the line is cut.

use std::collections::{HashMap, hash_map::Entry};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Datagrams or pieces under way on one line.
const UNDER_WAY: usize = 65_536;
const PIECE_BYTES: usize = 64 << 10;

/// Whether a line carries anything.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    /// Cuts the line or joins it again.
    pub fn cut(&self, cut: bool) {
        self.0.store(cut, Relaxed);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// One way of a line: a queue whose head waits for its time.
struct Way<T> {
    delay: Duration,
    enter: mpsc::Sender<(Instant, T)>,
}

impl<T: Send + 'static> Way<T> {
    fn new<F>(delay: Duration, mut leave: impl FnMut(T) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let (enter, mut queue) = mpsc::channel::<(Instant, T)>(UNDER_WAY);
        tokio::spawn(async move {
            while let Some((due, item)) = queue.recv().await {
                tokio::time::sleep_until(due).await;
                leave(item).await;
            }
        });
        Self { delay, enter }
    }

    /// A full line drops, as a full router does.
    fn send(&self, item: T) {
        let _ = self.enter.try_send((Instant::now() + self.delay, item));
    }
}

/// A line in front of a UDP address. `delay` gives the one-way delay by who sends.
///
/// # Errors
/// No socket can be had.
pub async fn udp(
    to: SocketAddr,
    switch: Switch,
    delay: impl Fn(IpAddr) -> Duration + Send + 'static,
) -> io::Result<SocketAddr> {
    let front = Arc::new(UdpSocket::bind(("127.0.0.1", 0)).await?);
    let address = front.local_addr()?;
    tokio::spawn(async move {
        let mut ways: HashMap<SocketAddr, Way<Vec<u8>>> = HashMap::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let Ok((length, from)) = front.recv_from(&mut piece).await else { continue };
            if switch.is_cut() {
                continue;
            }
            let way = match ways.entry(from) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let made = udp_ways(to, from, delay(from.ip()), &front, &switch).await;
                    let Ok(way) = made else { continue };
                    new.insert(way)
                }
            };
            way.send(piece[..length].to_vec());
        }
    });
    Ok(address)
}

/// Both ways for one sender; returns the one towards `to`.
async fn udp_ways(
    to: SocketAddr,
    from: SocketAddr,
    delay: Duration,
    front: &Arc<UdpSocket>,
    switch: &Switch,
) -> io::Result<Way<Vec<u8>>> {
    let back = Arc::new(UdpSocket::bind(("127.0.0.1", 0)).await?);
    back.connect(to).await?;
    let (sender, answers) = (Arc::clone(&back), Arc::clone(front));
    let there = Way::new(delay, move |bytes: Vec<u8>| {
        let sender = Arc::clone(&sender);
        // Nobody there is what the sender finds out by itself.
        async move { drop(sender.send(&bytes).await) }
    });
    let home = Way::new(delay, move |bytes: Vec<u8>| {
        let answers = Arc::clone(&answers);
        async move { drop(answers.send_to(&bytes, from).await) }
    });
    let switch = switch.clone();
    tokio::spawn(async move {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match back.recv(&mut piece).await {
                Ok(length) if !switch.is_cut() => home.send(piece[..length].to_vec()),
                Ok(_) => {}
                // The other side is not there just now.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    Ok(there)
}

/// A line in front of a TCP address. A cut line carries nothing and breaks nothing, as a network
/// that is partitioned does; what was under way arrives when it is joined.
///
/// # Errors
/// No socket can be had.
pub async fn tcp(to: SocketAddr, switch: Switch, delay: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((near, _)) = listener.accept().await else { continue };
            let switch = switch.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let Ok(far) = TcpStream::connect(to).await else { return };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                let there = carry(near_read, far_write, delay, switch.clone());
                let back = carry(far_read, near_write, delay, switch);
                tokio::join!(there, back);
            });
        }
    });
    Ok(address)
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    to: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
    switch: Switch,
) {
    let (enter, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    let leave = async move {
        let mut to = to;
        while let Some((due, bytes)) = queue.recv().await {
            tokio::time::sleep_until(due).await;
            while switch.is_cut() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    let read = async move {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length) = from.read(&mut piece).await {
            let item = (Instant::now() + delay, piece[..length].to_vec());
            if length == 0 || enter.send(item).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(leave, read);
}

/// Every switch by the name of what it is in front of.
#[derive(Clone, Debug, Default)]
pub struct Switches(Arc<Mutex<HashMap<String, Switch>>>);

impl Switches {
    /// The switch of a name, made if it is new.
    #[must_use]
    pub fn of(&self, name: &str) -> Switch {
        self.0.lock().entry(name.to_owned()).or_default().clone()
    }
}
