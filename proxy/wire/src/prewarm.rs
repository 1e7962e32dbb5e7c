//! What a gate tells the next one about the objects a session fetched of late, so that they are in
//! the cache before the session is there. Only what tells an object apart travels: never who asked
//! for it, and of the request's headers only those of a closed list that name nobody.

use prost::Message as _;

use crate::{
    codec::{InvalidField, bounded, invalid, text},
    limits::{HOT_LIST_BYTES_MAX, HOT_OBJECTS_MAX, HOT_TEXT_BYTES_MAX},
    proto,
};

/// Request headers that may travel, because an answer may vary by them and they are no one's
/// secret. An answer that varies by any other is left to its user to fetch.
pub const CARRIED: [&str; 18] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "device-memory",
    "dpr",
    "origin",
    "save-data",
    "sec-ch-prefers-color-scheme",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "user-agent",
    "viewport-width",
    "width",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-requested-with",
];
/// Headers of one object.
const HEADERS_MAX: usize = 24;
/// Bytes of a host with its port.
const HOST_BYTES_MAX: usize = 300;

/// One object, as a request for it would name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HotObject {
    /// Whether it was asked for over TLS.
    pub tls: bool,
    /// Host, as requests name it.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// What its answer depends on, of [`CARRIED`] headers.
    pub headers: Vec<(&'static str, String)>,
}

/// Why a list of objects is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HotListFault {
    /// Longer than any list may be.
    #[error("a list of hot objects of {0} bytes, at most {HOT_LIST_BYTES_MAX} are taken")]
    TooLong(usize),
    /// Not a message.
    #[error("not a list of hot objects: {0}")]
    Damaged(#[from] prost::DecodeError),
    /// A field that cannot be.
    #[error(transparent)]
    Field(#[from] InvalidField),
}

impl HotObject {
    /// Bytes of its texts.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.host.len() + self.path.len() + headers.sum::<usize>()
    }

    /// Whether it may travel as it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), InvalidField> {
        text("hot_object.host", self.host.clone(), HOST_BYTES_MAX)?;
        let plain = |byte: u8| byte.is_ascii_graphic();
        if self.host.is_empty() || !self.host.bytes().all(plain) {
            return Err(invalid("hot_object.host", "not a host"));
        }
        if self.path.len() > HOT_TEXT_BYTES_MAX {
            let problem = format!("{} bytes, at most {HOT_TEXT_BYTES_MAX}", self.path.len());
            return Err(invalid("hot_object.path", problem));
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(plain) {
            return Err(invalid("hot_object.path", "not a path"));
        }
        if self.headers.len() > HEADERS_MAX {
            let problem = format!("{} headers, at most {HEADERS_MAX}", self.headers.len());
            return Err(invalid("hot_object.headers", problem));
        }
        for (_, value) in &self.headers {
            if value.len() > HOT_TEXT_BYTES_MAX {
                let problem = format!("{} bytes, at most {HOT_TEXT_BYTES_MAX}", value.len());
                return Err(invalid("hot_object.headers", problem));
            }
            if !value.bytes().all(|byte| plain(byte) || byte == b' ') {
                return Err(invalid("hot_object.headers", "not a header's value"));
            }
        }
        Ok(())
    }
}

/// The name of a header that may travel.
#[must_use]
pub fn carried(name: &str) -> Option<&'static str> {
    CARRIED.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

/// A list of the first of these objects that one list has room for, and how many they are.
#[must_use]
pub fn encode<'a>(objects: impl IntoIterator<Item = &'a HotObject>) -> (Vec<u8>, usize) {
    let mut list = proto::HotList { objects: Vec::new() };
    let mut bytes = 0;
    for object in objects.into_iter().take(HOT_OBJECTS_MAX) {
        let message = to_proto(object);
        // A field's tag and length are at most five bytes at this size.
        bytes += message.encoded_len() + 5;
        if bytes > HOT_LIST_BYTES_MAX {
            break;
        }
        list.objects.push(message);
    }
    (list.encode_to_vec(), list.objects.len())
}

/// Reads a list.
///
/// # Errors
/// What is wrong with it; nothing of it is taken then.
pub fn decode(bytes: &[u8]) -> Result<Vec<HotObject>, HotListFault> {
    if bytes.len() > HOT_LIST_BYTES_MAX {
        return Err(HotListFault::TooLong(bytes.len()));
    }
    let list = proto::HotList::decode(bytes)?;
    let objects = bounded("hot_list.objects", list.objects, HOT_OBJECTS_MAX)?;
    objects.into_iter().map(|object| Ok(from_proto(object)?)).collect()
}

fn to_proto(object: &HotObject) -> proto::HotObject {
    let header = |(name, value): &(&str, String)| proto::hot_object::Header {
        name: (*name).to_owned(),
        value: value.clone(),
    };
    proto::HotObject {
        tls: object.tls,
        host: object.host.clone(),
        path: object.path.clone(),
        headers: object.headers.iter().map(header).collect(),
    }
}

fn from_proto(object: proto::HotObject) -> Result<HotObject, InvalidField> {
    let proto::HotObject { tls, host, path, headers } = object;
    let mut known = Vec::with_capacity(headers.len().min(HEADERS_MAX));
    for proto::hot_object::Header { name, value } in headers {
        let name = carried(&name).ok_or_else(|| {
            let name = crate::limits::detail(name);
            invalid("hot_object.headers", format!("`{name}` is no header that may travel"))
        })?;
        known.push((name, value));
    }
    let object = HotObject { tls, host, path, headers: known };
    object.check()?;
    Ok(object)
}

#[cfg(test)]
mod tests;
