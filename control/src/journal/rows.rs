//! The rows of the journal as bytes. What is written in numbers a second (records, profiles) is
//! packed; what people may want to look at with a tool is JSON.

use homing_plan::{Profile, affinity::Served, feedback::Felt, mobility::Trail};
use homing_session::{
    gate::StartFrom,
    handoff::{Record, record::Pending},
};
use homing_wire::{
    DirectiveId, Epoch, Incarnation, Intake, PlaceId, ServiceId, SessionKey, ZoneId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One version of the operator's document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// Counts versions from 1.
    pub seq: u64,
    /// When it was taken, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who sent it.
    pub by: String,
    /// The document in its written-out YAML form.
    pub yaml: String,
}

/// What a caller's idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRow {
    /// The directive that was issued.
    pub directive: u64,
    /// What was asked, so that the same key with another request is noticed.
    pub asked: String,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// A former owner that is to drop what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The directive that was committed.
    pub directive: u64,
    /// The epoch the session is owned at elsewhere.
    pub epoch: u64,
}

/// Which zone has a replica of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeirRow {
    /// The zone that owns the session.
    pub zone: u8,
    /// The life of its gate that said so.
    pub incarnation: u64,
    /// The epoch it owns it at.
    pub epoch: u64,
    /// The word's number; 0 for a former owner that keeps what it handed over.
    pub seq: u64,
    /// The zone that has the replica.
    pub heir: u8,
    /// The life of its gate that has it.
    pub heir_incarnation: u64,
    /// When it was said, milliseconds since the Unix epoch.
    pub told_ms: u64,
}

/// What became of a directive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Its number.
    pub directive: u64,
    /// The session, 32 hexadecimal digits.
    pub session: String,
    /// The zone it was to leave.
    pub from: String,
    /// The zone it was to reach.
    pub to: String,
    /// Why it was issued.
    pub reason: String,
    /// The epoch it would be owned at.
    pub epoch: u64,
    /// When it was issued, milliseconds since the Unix epoch; 0 if that is not known any more.
    pub issued_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
    /// How it ended.
    pub end: EndRow,
}

/// How a directive ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EndRow {
    /// The target owns the session.
    Completed {
        /// What the proxy measured, once it has said so.
        figures: Option<FiguresRow>,
    },
    /// The session goes on at home.
    Undone {
        /// Why, in a word.
        why: String,
        /// Why, in a sentence.
        detail: String,
    },
}

/// What a completed handoff measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiguresRow {
    /// Freeze to thaw, microseconds.
    pub pause_us: u64,
    /// Requests that waited.
    pub held: u32,
    /// State bytes copied, all rounds.
    pub state_bytes: u64,
    /// Of those, copied while frozen.
    pub cut_bytes: u64,
    /// Copy rounds.
    pub rounds: u8,
    /// Directive seen to session served at the target, microseconds.
    pub total_us: u64,
}

pub(super) fn to_json<T: Serialize>(row: &T) -> Vec<u8> {
    // Rows are plain structs with text keys: writing them to memory cannot fail.
    serde_json::to_vec(row).unwrap_or_default()
}

pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

pub(super) fn intake_number(intake: Intake) -> u8 {
    match intake {
        Intake::Open => 0,
        Intake::Draining => 1,
        Intake::Closed => 2,
    }
}

pub(super) fn intake(number: u8) -> Option<Intake> {
    [Intake::Open, Intake::Draining, Intake::Closed]
        .into_iter()
        .find(|intake| intake_number(*intake) == number)
}

/// Reads big-endian numbers off the front of a row.
struct Take<'a>(&'a [u8]);

impl Take<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn f32(&mut self) -> Option<f32> {
        self.bytes().map(f32::from_be_bytes).filter(|x| x.is_finite())
    }
}

pub(super) fn record_bytes(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    out.push(record.owner.0);
    for number in [record.incarnation.0, record.epoch.0, record.last.0] {
        out.extend(number.to_be_bytes());
    }
    match record.pending {
        Pending::Settled => out.push(0),
        Pending::Handoff { to, to_incarnation, epoch } => {
            out.extend([1, to.0]);
            out.extend(to_incarnation.0.to_be_bytes());
            out.extend(epoch.0.to_be_bytes());
        }
        Pending::Claim { from: StartFrom::Retained } => out.push(2),
        Pending::Claim { from: StartFrom::Store } => out.push(3),
    }
    out
}

pub(super) fn record(bytes: &[u8]) -> Option<Record> {
    let mut take = Take(bytes);
    Some(Record {
        owner: ZoneId(take.u8()?),
        incarnation: Incarnation(take.u64()?),
        epoch: Epoch(take.u64()?),
        last: DirectiveId(take.u64()?),
        pending: match take.u8()? {
            0 => Pending::Settled,
            1 => Pending::Handoff {
                to: ZoneId(take.u8()?),
                to_incarnation: Incarnation(take.u64()?),
                epoch: Epoch(take.u64()?),
            },
            2 => Pending::Claim { from: StartFrom::Retained },
            3 => Pending::Claim { from: StartFrom::Store },
            _ => return None,
        },
    })
}

pub(super) fn heir_bytes(row: &HeirRow) -> Vec<u8> {
    let mut out = vec![row.zone, row.heir];
    for number in [row.incarnation, row.epoch, row.seq, row.heir_incarnation, row.told_ms] {
        out.extend(number.to_be_bytes());
    }
    out
}

pub(super) fn heir(bytes: &[u8]) -> Option<HeirRow> {
    let mut take = Take(bytes);
    Some(HeirRow {
        zone: take.u8()?,
        heir: take.u8()?,
        incarnation: take.u64()?,
        epoch: take.u64()?,
        seq: take.u64()?,
        heir_incarnation: take.u64()?,
        told_ms: take.u64()?,
    })
}

pub(super) fn profile_bytes(profile: &Profile) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend(profile.service.0.to_be_bytes());
    out.push(profile.zone.0);
    out.push(profile.moves);
    out.extend(profile.epoch.0.to_be_bytes());
    out.extend(profile.place.map_or(u16::MAX, |place| place.0).to_be_bytes());
    for number in [profile.rate, profile.bytes_per_request, profile.regret_us] {
        out.extend(number.to_be_bytes());
    }
    for number in [
        profile.touched_ms,
        profile.last_seen_ms,
        profile.entered_ms,
        profile.regret_ms,
        profile.flap_from_ms,
    ] {
        out.extend(number.to_be_bytes());
    }
    out.extend(profile.trail.to_bytes());
    out.extend(profile.served.to_bytes());
    out
}

/// The key is the row's own.
pub(super) fn profile(bytes: &[u8]) -> Option<Profile> {
    let mut take = Take(bytes);
    let service = ServiceId(take.u16()?);
    let zone = ZoneId(take.u8()?);
    let moves = take.u8()?;
    let epoch = Epoch(take.u64()?);
    let place = Some(take.u16()?).filter(|place| *place != u16::MAX).map(PlaceId);
    let (rate, bytes_per_request, regret_us) = (take.f32()?, take.f32()?, take.f32()?);
    let touched_ms = take.u64()?;
    let (last_seen_ms, entered_ms) = (take.u64()?, take.u64()?);
    let (regret_ms, flap_from_ms) = (take.u64()?, take.u64()?);
    // Rows of an earlier version end here.
    let (trail, rest) = Trail::from_bytes(take.0);
    Some(Profile {
        key: SessionKey::default(),
        service,
        zone,
        epoch,
        place,
        rate,
        bytes_per_request,
        regret_us,
        moves,
        touched_ms,
        last_seen_ms,
        entered_ms,
        regret_ms,
        // Whoever takes up a profile knows nothing of the round before.
        uncharged: 0,
        flap_from_ms,
        trail,
        served: Served::from_bytes(rest),
        // What requests took before a restart tells nothing of the zone after it.
        felt: Felt::default(),
    })
}
