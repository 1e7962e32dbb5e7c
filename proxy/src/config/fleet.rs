//! What the file says of the process's part in a fleet: its role, and for a gate which zone it
//! guards and where it is reached.

use std::net::SocketAddr;

use homing_wire::{
    document::read::{MapReader, Reader},
    limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX},
};

use super::{SecretMaterial, raw::read_address};

/// What a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Edge and gate of every zone in one process.
    #[default]
    Solo,
    /// Takes clients in and sends them to gates.
    Edge,
    /// Guards one zone.
    Gate,
    /// Guards one zone, and takes clients in for all.
    Both,
}

/// Where a gate listens, and what it guards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// The zone's name.
    pub zone: String,
    /// Where edges reach it: HTTP over mutual TLS.
    pub http: SocketAddr,
    /// Where other gates reach it: QUIC.
    pub link: SocketAddr,
    /// What others are told instead of the two above, behind a translated address.
    pub advertise_http: Option<String>,
    /// See `advertise_http`.
    pub advertise_link: Option<String>,
}

pub(super) fn read_role(reader: &Reader<'_>) -> Option<Role> {
    reader.word(&[
        ("solo", Role::Solo),
        ("edge", Role::Edge),
        ("gate", Role::Gate),
        ("both", Role::Both),
    ])
}

pub(super) fn read_gate(reader: &Reader<'_>) -> Option<GateSettings> {
    reader.map(|map| {
        let zone = map.required("zone", "write `zone: paris`", |reader| {
            let name = reader.text()?;
            let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
            if !fits {
                reader.fault("is no name of a zone", "name a zone of control's document");
            }
            fits.then(|| name.to_owned())
        });
        let http = map.required("http", "write `http: 10.1.0.2:8081`", read_address);
        let link = map.required("link", "write `link: 10.1.0.2:7443`", read_address);
        let told = map.optional("advertise", read_advertised).unwrap_or_default();
        let (advertise_http, advertise_link) = told;
        Some(GateSettings { zone: zone?, http: http?, link: link?, advertise_http, advertise_link })
    })
}

fn read_advertised(reader: &Reader<'_>) -> Option<(Option<String>, Option<String>)> {
    reader.map(|map| Some((map.optional("http", read_told), map.optional("link", read_told))))
}

/// An address as others are told it: a name or an IP, and a port.
fn read_told(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let fits = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !fits || text.len() > ADDRESS_BYTES_MAX {
        reader.fault("is no address others could reach", "write host:port");
        return None;
    }
    Some(text.to_owned())
}

/// What concerns the role and the rest of the file together.
pub(super) fn check(role: Role, secrets: &SecretMaterial, top: &mut MapReader<'_>) {
    let guards = matches!(role, Role::Gate | Role::Both);
    match (guards, top.find("gate")) {
        (true, None) => top.itself().fault(
            "the role guards a zone, and `gate` does not say which",
            "write `gate: {zone: paris, http: 10.1.0.2:8081, link: 10.1.0.2:7443}`",
        ),
        (false, Some(gate)) => gate.fault(
            "`gate` is stated, and the role guards no zone",
            "write `role: gate` or `role: both`, or take `gate` out",
        ),
        _ => {}
    }
    if role == Role::Solo {
        return;
    }
    // What is drawn up at the first start differs from edge to edge, and with it whose session a
    // request belongs to.
    let stated = secrets.session_key.is_some() && !secrets.cookies.is_empty();
    if role != Role::Gate && !stated {
        top.itself().fault(
            "edges must agree on the keys of sessions and cookies, and they are not stated",
            "write `secrets: {session_key: {file: session.key}, cookies: [{file: cookie.key}]}` \
             with the same files at every edge",
        );
    }
    for (key, why) in [
        ("control", "zones, leases and directives come from control: write `control: {url: ...}`"),
        (
            "identity",
            "write `identity: {ca: ca.pem, cert: NAME.pem, key: NAME.key}`; \
                      `homing certs` makes them for a test",
        ),
    ] {
        if top.find(key).is_none() {
            top.itself().fault(format!("the role needs `{key}`"), why);
        }
    }
}
