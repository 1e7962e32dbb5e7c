//! What a process of a fleet needs beside what solo needs: its identity, its life, and for a gate
//! the sockets that edges and other gates reach it on.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::Arc,
};

use homing_identity::{Identity, IdentityFault};
use homing_wire::{GateHello, Incarnation};

use super::{StartFault, listen_limits, state_dir};
use crate::{
    clock::Clock,
    config::{Role, Settings},
    http::facts::Reach,
    listen::{ListenSettings, Listeners},
    seat::{GateSeat, Seat},
};

/// Protocols that edges may speak to a gate.
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// One life of a gate, and the proof that the one before is over.
#[derive(Debug)]
pub(super) struct LifeOf {
    pub(super) incarnation: Incarnation,
    pub(super) former: Incarnation,
    /// Held for as long as the process lives.
    _lock: File,
}

/// A gate's sockets.
pub(super) struct Sockets {
    pub(super) listeners: Listeners,
    pub(super) link: UdpSocket,
    pub(super) hello: GateHello,
}

/// The part of a fleet that a process is.
pub(super) struct Part {
    pub(super) seat: Arc<Seat>,
    pub(super) reach: Reach,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) gate: Option<Sockets>,
    pub(super) life: Option<LifeOf>,
}

impl Part {
    /// Reads and binds what the settings ask for.
    pub(super) fn of(settings: &Settings) -> Result<Self, StartFault> {
        let identity = match &settings.identity {
            Some(files) => Some(Arc::new(Identity::load(files, &settings.name)?)),
            None => None,
        };
        let (mut life, mut gate) = (None, None);
        let seat = match (settings.role, &settings.gate, &identity) {
            (Role::Solo, ..) => Seat::Solo,
            (Role::Gate | Role::Both, Some(stated), Some(identity)) => {
                let taken = take_life(&settings.state_dir)?;
                let sockets = bind(settings, identity, taken.former)?;
                let (name, zone) = (settings.name.clone(), stated.zone.clone());
                let seat = GateSeat::new(name, zone, taken.incarnation);
                (life, gate) = (Some(taken), Some(sockets));
                Seat::Gate(Box::new(seat))
            }
            _ => Seat::Edge,
        };
        let reach = match &seat {
            Seat::Solo => Reach::Every,
            Seat::Edge => Reach::Nothing,
            Seat::Gate(seat) => Reach::Zone(seat.zone.clone()),
        };
        Ok(Self { seat: Arc::new(seat), reach, identity, gate, life })
    }
}

fn bind(
    settings: &Settings,
    identity: &Identity,
    former: Incarnation,
) -> Result<Sockets, StartFault> {
    let Some(stated) = &settings.gate else {
        return Err(StartFault::System {
            what: "binding the gate",
            error: io::ErrorKind::InvalidInput.into(),
        });
    };
    let listeners = Listeners::bind(&[ListenSettings {
        address: stated.http,
        certificates: Vec::new(),
        mutual: Some(Arc::new(identity.server_config(&HTTP))),
        limits: listen_limits(settings),
    }])?;
    let refused = |error| StartFault::Link { address: stated.link, error };
    let link = UdpSocket::bind(stated.link).map_err(refused)?;
    let link_address = link.local_addr().map_err(refused)?;
    let http = listeners.addresses().first().copied().unwrap_or(stated.http);
    let told = |stated: &Option<String>, bound: SocketAddr| {
        stated.clone().unwrap_or_else(|| bound.to_string())
    };
    let hello = GateHello {
        zone: stated.zone.clone(),
        http: told(&stated.advertise_http, http),
        link: told(&stated.advertise_link, link_address),
        former,
    };
    Ok(Sockets { listeners, link, hello })
}

/// Begins a life: a number above all before it, under a lock that a living process of the same
/// state directory would hold.
fn take_life(dir: &Path) -> Result<LifeOf, StartFault> {
    fs::create_dir_all(dir).map_err(|error| state_dir(dir, error))?;
    let path = dir.join("incarnation");
    let odd = |error| state_dir(&path, error);
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("incarnation.lock"))
        .map_err(odd)?;
    lock.try_lock().map_err(|fault| match fault {
        TryLockError::Error(error) => odd(error),
        TryLockError::WouldBlock => {
            odd(io::Error::other("another process lives in this state directory; end it first"))
        }
    })?;
    let former = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(odd(error)),
    };
    // The clock may have been set back since.
    let incarnation = Clock::process().now_ms().max(former + 1);
    let next = dir.join("incarnation.next");
    fs::write(&next, incarnation.to_string())
        .and_then(|()| fs::rename(&next, &path))
        .map_err(odd)?;
    Ok(LifeOf { incarnation: Incarnation(incarnation), former: Incarnation(former), _lock: lock })
}

impl From<IdentityFault> for StartFault {
    fn from(fault: IdentityFault) -> Self {
        Self::Identity(fault)
    }
}
