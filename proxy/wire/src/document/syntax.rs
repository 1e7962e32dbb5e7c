//! The small grammars of a document: names, addresses, hosts, paths, header and cookie names. Each
//! reads one text, and tells what is wrong with it in its own words.

use std::net::Ipv6Addr;

use super::read::Reader;
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX};

/// Header fields that belong to one connection, or frame the message, and never say who a client
/// is.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A zone's, service's or tenant's name: 1..=63 of `[a-z0-9-]`.
pub(super) fn name(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Some(text.to_owned());
    }
    let tame = |c: char| {
        if allowed(c.to_ascii_lowercase() as u8) { c } else { '-' }
    };
    let near: String = text.chars().take(NAME_BYTES_MAX).map(tame).collect();
    let remedy = match near.trim_matches('-').to_ascii_lowercase() {
        near if near.is_empty() => "write 1 to 63 of a-z, 0-9 and `-`".to_owned(),
        near => format!("write 1 to 63 of a-z, 0-9 and `-`, such as `{near}`"),
    };
    reader.fault("is not a name", remedy);
    None
}

/// A place's name: as a front spells it in a header.
pub(super) fn place_name(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let trimmed = !text.starts_with(' ') && !text.ends_with(' ');
    let plain = text.chars().all(|c| !c.is_control());
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && trimmed && plain {
        return Some(text.to_owned());
    }
    reader.fault(
        "is not a place's name",
        "write 1 to 63 bytes, no control characters, no space at either end",
    );
    None
}

/// A text of visible ASCII for a claim, a key id or a query parameter.
pub(super) fn label(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let visible = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'&' | b'='));
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && visible {
        return Some(text.to_owned());
    }
    reader.fault(
        "is not usable as a name",
        "write 1 to 63 visible ASCII characters, without `&` and `=`",
    );
    None
}

/// An HTTP token (RFC 9110 §5.6.2) of at most 63 bytes: a cookie's name as written.
pub(super) fn token(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Some(text.to_owned());
    }
    reader.fault(
        "is not an HTTP token",
        "write 1 to 63 letters, digits, `-`, `_` or `.`, without spaces",
    );
    None
}

/// A header that may say something about a client, in lower case.
pub(super) fn header(reader: &Reader<'_>) -> Option<String> {
    let name = token(reader)?.to_ascii_lowercase();
    if HOP_BY_HOP.contains(&name.as_str()) {
        reader.fault("belongs to one connection, not to a client", "name another header");
        return None;
    }
    if name.starts_with("homing-") {
        reader.fault(
            "begins with `homing-`, and such headers of a client are removed",
            "name a header that your own front or client sets, such as `x-user`",
        );
        return None;
    }
    Some(name)
}

/// A path or path prefix: absolute, printable, without query and fragment.
pub(super) fn path(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let visible = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    if !text.starts_with('/') {
        reader.fault("is not an absolute path", format!("begin it with `/`: `/{text}`"));
    } else if text.len() > PATH_BYTES_MAX {
        reader.fault("is too long", format!("keep to {PATH_BYTES_MAX} bytes"));
    } else if !visible {
        reader.fault(
            "has a character no path may have",
            "leave out query and fragment; percent-encode spaces and non-ASCII characters",
        );
    } else {
        return Some(text.to_owned());
    }
    None
}

/// An endpoint's `host:port`; an IPv6 host in brackets.
pub(super) fn address(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    let example = "write host:port, such as `10.0.0.1:8080` or `[::1]:8080`";
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or_default();
        let protocol = if scheme == "https" { ", protocol: tls" } else { "" };
        reader.fault("is a URL, not an address", format!("write {{address: {rest}{protocol}}}"));
        return None;
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| is_host(host)) else {
        let remedy = match text {
            _ if is_host(text) => format!("add the port: `{text}:8080`"),
            _ if text.parse::<Ipv6Addr>().is_ok() => format!("write `[{text}]:8080`"),
            _ => example.to_owned(),
        };
        reader.fault("is not an address", remedy);
        return None;
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if digits && port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Some(text.to_owned());
    }
    reader.fault("has no valid port", format!("write `{host}:` and a port from 1 to 65535"));
    None
}

/// A host that a service matches, in lower case: `shop.example`, `*.shop.example`, an IP.
pub(super) fn matched_host(reader: &Reader<'_>) -> Option<String> {
    let text = reader.text()?;
    if text == "*" {
        reader.fault("is not a host", "leave `hosts` out to match every host");
        return None;
    }
    let bare = text.strip_prefix("*.").unwrap_or(text);
    let is_ip = bare.starts_with('[') || bare.parse::<std::net::Ipv4Addr>().is_ok();
    if is_host(bare) && !(is_ip && bare.len() < text.len()) {
        return Some(text.to_ascii_lowercase());
    }
    let remedy = match bare.rsplit_once(':') {
        Some((host, _)) if is_host(host) => format!("leave the port out: `{host}`"),
        _ => "write a host such as `shop.example` or `*.shop.example`".to_owned(),
    };
    reader.fault("is not a host", remedy);
    None
}

/// A DNS name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    }
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    // A name whose last label is all digits is an IPv4 address or nothing (RFC 3986, WHATWG URL).
    let last = text.rsplit('.').next().unwrap_or_default();
    if numeric(last) {
        return text.parse::<std::net::Ipv4Addr>().is_ok();
    }
    text.len() <= 253 && text.split('.').all(label)
}
