//! Every bound on what may cross between processes, in one place with their relations asserted,
//! so that a decoder never allocates what a sender merely claims.

use crate::ids::{BUCKETS, ZONES_MAX};

/// Services one table may hold.
pub const SERVICES_MAX: usize = 1_000;
/// Client places one table may name.
pub const PLACES_MAX: usize = 10_000;
/// Gates one zone may have.
pub const GATES_PER_ZONE_MAX: usize = 64;
/// Endpoints one zone may list, for each service.
pub const ENDPOINTS_PER_ZONE_MAX: usize = 1_000;
/// Hosts one service may match.
pub const HOSTS_PER_SERVICE_MAX: usize = 256;
/// Key sources one service may list.
pub const KEY_SOURCES_MAX: usize = 8;
/// Exceptions one table may hold.
pub const EXCEPTIONS_MAX: usize = 16_000_000;
/// Directives open at one time.
pub const DIRECTIVES_MAX: usize = 1_000_000;
/// Bytes of a zone's, service's, place's or header's name.
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of a gate's `host:port`.
pub const ADDRESS_BYTES_MAX: usize = 300;
/// Bytes of a frame's head on the handoff link; state bytes follow it and are bounded apart.
pub const LINK_HEAD_BYTES_MAX: usize = 64 << 10;
/// Objects that a gate names when it hands a session over, for the next gate to fetch.
pub const HOT_OBJECTS_MAX: usize = 256;
/// Bytes of their list.
pub const HOT_LIST_BYTES_MAX: usize = 48 << 10;
/// Bytes of one object's path and query, and of each header it depends on.
pub const HOT_TEXT_BYTES_MAX: usize = 2 << 10;
/// Bytes of a path, path prefix or address.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Bytes of an operator's document.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// Bytes of a sealed table or delta.
pub const ENVELOPE_BYTES_MAX: usize = 1 << 30;
/// Bytes of one chunk of a sealed table or delta on the link.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes of one message on the link: a chunk and its frame.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Session activities in one batch of records.
pub const ACTIVITIES_PER_BATCH_MAX: usize = 20_000;
/// Bytes of a fault told in words.
pub const DETAIL_BYTES_MAX: usize = 512;
/// Bytes of a raw session key as it arrives in a request.
pub const RAW_KEY_BYTES_MAX: usize = 1_024;

const _: () = {
    assert!(ZONES_MAX < u8::MAX as usize);
    assert!(BUCKETS == u16::MAX as usize + 1);
    assert!(CHUNK_BYTES_MAX < MESSAGE_BYTES_MAX);
    // The list rides in the first frame of a handoff, beside a few names.
    assert!(HOT_LIST_BYTES_MAX + 16 * NAME_BYTES_MAX < LINK_HEAD_BYTES_MAX);
    assert!(HOT_TEXT_BYTES_MAX < HOT_LIST_BYTES_MAX);
    assert!(SERVICES_MAX < u16::MAX as usize);
    assert!(PLACES_MAX < u16::MAX as usize);
    // An activity is at most about 100 bytes on the wire.
    assert!(ACTIVITIES_PER_BATCH_MAX * 100 < MESSAGE_BYTES_MAX);
};

/// Cuts a text for people to [`DETAIL_BYTES_MAX`] bytes at a character boundary.
#[must_use]
pub fn detail(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.len() > DETAIL_BYTES_MAX {
        let mut end = DETAIL_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}
