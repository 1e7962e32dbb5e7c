//! What is told to an app about its client: `Forwarded`, `X-Forwarded-*`, `Via`. A client's own
//! claims are overwritten; those of a trusted front are kept and continued.

use std::{fmt::Write, net::IpAddr, str::FromStr};

#[cfg(test)]
mod tests;

/// Longest chain of forwarding fields that is carried on; a longer one begins again at our peer.
const CHAIN_BYTES_MAX: usize = 1_024;

/// Networks whose peers may speak for their clients: fronts, CDNs, other ingresses.
#[derive(Clone, Debug, Default)]
pub struct TrustedPeers {
    networks: Vec<Network>,
}

/// A network in CIDR form; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: write 10.0.0.0/8, 2001:db8::/32 or one address")]
pub struct InvalidNetwork(pub String);

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits),
            None => Some(bits),
        };
        Ok(Self { address, prefix: prefix.ok_or_else(invalid)? })
    }
}

impl Network {
    /// Whether the address is in the network. An IPv4 peer on a dual-stack socket counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let kept = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (u32::from(network) ^ u32::from(address)) & kept == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let kept = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (u128::from(network) ^ u128::from(address)) & kept == 0
            }
            _ => false,
        }
    }
}

impl TrustedPeers {
    /// Takes the trusted networks; none trusts nobody.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self { networks }
    }

    /// Whether the peer is in one of them.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(peer))
    }
}

/// What the request said about its way here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claims<'a> {
    /// `X-Forwarded-For`.
    pub x_for: Option<&'a str>,
    /// `X-Forwarded-Proto`.
    pub x_proto: Option<&'a str>,
    /// `X-Forwarded-Host`.
    pub x_host: Option<&'a str>,
    /// `Forwarded`.
    pub forwarded: Option<&'a str>,
    /// The authority asked for.
    pub host: &'a str,
}

/// The forwarding fields sent to the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// `X-Forwarded-For`.
    pub x_for: String,
    /// `X-Forwarded-Proto`: `http` or `https`.
    pub x_proto: &'static str,
    /// `X-Forwarded-Host`.
    pub x_host: String,
    /// `Forwarded` (RFC 7239).
    pub forwarded: String,
}

/// Draws up the forwarding fields for a request that came from `peer`, over TLS or not.
#[must_use]
pub fn forwarding(peer: IpAddr, tls: bool, trusted: bool, claims: Claims<'_>) -> Forwarding {
    let peer = peer.to_canonical();
    let claims = if trusted { claims } else { Claims { host: claims.host, ..Claims::default() } };
    let chain = |chain: Option<&str>| match chain {
        Some(chain) if !chain.is_empty() && chain.len() <= CHAIN_BYTES_MAX => format!("{chain}, "),
        _ => String::new(),
    };
    let here = if tls { "https" } else { "http" };
    let x_proto = match claims.x_proto {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        Some(proto) if proto.eq_ignore_ascii_case("http") => "http",
        _ => here,
    };
    let mut x_for = chain(claims.x_for);
    let _ = write!(x_for, "{peer}");
    let mut forwarded = chain(claims.forwarded);
    let _ = match peer {
        IpAddr::V4(peer) => write!(forwarded, "for={peer};proto={here}"),
        IpAddr::V6(peer) => write!(forwarded, "for=\"[{peer}]\";proto={here}"),
    };
    if is_authority(claims.host) {
        let _ = write!(forwarded, ";host=\"{}\"", claims.host);
    }
    let x_host = claims.x_host.unwrap_or(claims.host).to_owned();
    Forwarding { x_for, x_proto, x_host, forwarded }
}

/// Whether the text is a host with or without a port, so that it can stand inside quotes.
fn is_authority(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(fits)
}
