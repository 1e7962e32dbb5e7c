//! The app's notebooks by session, with the fence of each: which epoch may still execute, what is
//! staged by a handoff and not yet served. Plain state behind one lock, so that an execution and
//! its entry in the record are one step.

use std::collections::HashMap;

use super::notebook::{Entry, Notebook, Parcel};
use super::record::{Execution, Kind, Record};

/// Most sessions one app keeps a place for.
pub const SESSIONS_MAX: usize = 200_000;

/// The notebooks of one zone.
#[derive(Debug, Default)]
pub struct Shelf {
    places: HashMap<u128, Place>,
    record: Record,
    refused: u64,
}

/// What is held for one session.
#[derive(Debug, Default)]
struct Place {
    live: Option<Notebook>,
    /// The epoch at which `live` was last used or made live.
    live_epoch: u64,
    staged: Option<Staged>,
    /// Of a session that lives in another zone.
    replica: Option<Notebook>,
    /// Requests below this epoch are refused.
    fence: u64,
}

#[derive(Debug)]
struct Staged {
    directive: String,
    notebook: Notebook,
}

/// Where an imported copy waits to become live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging<'a> {
    /// With the other copies of a handoff, by its directive.
    Handoff(&'a str),
    /// As the replica.
    Replica,
}

/// Who asks, as the proxy says in its request headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The session's key.
    pub session: u128,
    /// The epoch the proxy executes under.
    pub epoch: u64,
}

/// Why a request or hook is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The session was fenced at a higher epoch.
    Fenced {
        /// The lowest epoch still served.
        fence: u64,
    },
    /// State is staged for this session but not yet live here.
    Staged,
    /// A delta does not fit what is staged.
    Gap,
    /// No room for another session or entry.
    Full,
}

/// What a notebook looks like after a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// All entries.
    pub entries: Vec<Entry>,
}

impl Shelf {
    /// Executes a request that touches no notebook.
    ///
    /// # Errors
    /// [`Refused`] if the session may not execute here.
    pub fn page(&mut self, caller: Caller, now_us: u64) -> Result<(), Refused> {
        self.enter(caller, Kind::Page, 0, now_us).map(drop)
    }

    /// Reads a notebook.
    ///
    /// # Errors
    /// [`Refused`] if the session may not execute here.
    pub fn read(&mut self, caller: Caller, now_us: u64) -> Result<Glance, Refused> {
        let place = self.enter(caller, Kind::Read, 0, now_us)?;
        let entries = place.live.as_ref().map_or_else(Vec::new, |n| n.entries().to_vec());
        Ok(Glance { entries })
    }

    /// Appends to a notebook; without a number the entry gets the one after the last.
    ///
    /// # Errors
    /// [`Refused`] if the session may not execute here, or its notebook is full.
    pub fn write(
        &mut self,
        caller: Caller,
        seq: Option<u64>,
        text: String,
        now_us: u64,
    ) -> Result<Glance, Refused> {
        let seq = seq.unwrap_or_else(|| self.next_seq(caller.session));
        let place = self.enter(caller, Kind::Write, seq, now_us)?;
        let notebook = place.live.get_or_insert_default();
        notebook.append(Entry { seq, text }).map_err(|_| Refused::Full)?;
        Ok(Glance { entries: notebook.entries().to_vec() })
    }

    fn next_seq(&self, session: u128) -> u64 {
        let live = self.places.get(&session).and_then(|place| place.live.as_ref());
        live.and_then(|n| n.entries().last()).map_or(1, |last| last.seq.saturating_add(1))
    }

    /// The one door to execution: checks the fence, counts, records.
    fn enter(
        &mut self,
        caller: Caller,
        kind: Kind,
        seq: u64,
        now_us: u64,
    ) -> Result<&mut Place, Refused> {
        let Caller { session, epoch } = caller;
        let verdict = match self.places.get(&session) {
            Some(place) if epoch < place.fence => Err(Refused::Fenced { fence: place.fence }),
            Some(place) if place.staged.is_some() => Err(Refused::Staged),
            None if self.places.len() >= SESSIONS_MAX => Err(Refused::Full),
            _ => Ok(()),
        };
        if let Err(refused) = verdict {
            self.refused += 1;
            return Err(refused);
        }
        self.record.push(Execution { at_us: now_us, session, epoch, kind, seq });
        let place = self.places.entry(session).or_default();
        place.fence = place.fence.max(epoch);
        place.live_epoch = place.live_epoch.max(epoch);
        Ok(place)
    }

    /// A session's state since a version, with its version now; `None` if nothing was written.
    #[must_use]
    pub fn export(&self, session: u128, since: u64) -> Option<(u64, Parcel)> {
        let notebook = self.places.get(&session)?.live.as_ref()?;
        Some((notebook.version(), notebook.parcel(since)))
    }

    /// Stages state. A new directive begins anew, a whole replica too; a delta must fit what it
    /// adds to.
    ///
    /// # Errors
    /// [`Refused::Gap`] if it does not fit, [`Refused::Full`] without room.
    pub fn import(
        &mut self,
        session: u128,
        of: Staging<'_>,
        parcel: Parcel,
    ) -> Result<(), Refused> {
        if !self.places.contains_key(&session) && self.places.len() >= SESSIONS_MAX {
            return Err(Refused::Full);
        }
        let place = self.places.entry(session).or_default();
        let before = match of {
            Staging::Handoff(directive) => {
                let staged = place.staged.take().filter(|staged| staged.directive == directive);
                staged.map(|staged| staged.notebook)
            }
            Staging::Replica => place.replica.take(),
        };
        let mut notebook = before.unwrap_or_default();
        if !notebook.unpack(parcel) {
            return Err(Refused::Gap);
        }
        match of {
            Staging::Handoff(directive) => {
                place.staged = Some(Staged { directive: directive.to_owned(), notebook });
            }
            Staging::Replica => place.replica = Some(notebook),
        }
        Ok(())
    }

    /// Makes the replica live at an epoch, as [`Self::fence`] does what is staged.
    pub fn adopt(&mut self, session: u128, epoch: u64) {
        if let Some(place) = self.places.get_mut(&session)
            && let Some(notebook) = place.replica.take()
        {
            place.staged = Some(Staged { directive: String::new(), notebook });
        }
        self.fence(session, epoch);
    }

    /// Drops the replica.
    pub fn forsake(&mut self, session: u128) {
        if let Some(place) = self.places.get_mut(&session) {
            place.replica = None;
        }
    }

    /// Makes what is staged live at an epoch; from now on nothing below it executes here.
    pub fn fence(&mut self, session: u128, epoch: u64) {
        if !self.places.contains_key(&session) && self.places.len() >= SESSIONS_MAX {
            return;
        }
        let place = self.places.entry(session).or_default();
        if epoch < place.fence {
            return;
        }
        place.fence = epoch;
        if let Some(staged) = place.staged.take() {
            place.live = Some(staged.notebook);
            place.live_epoch = epoch;
        }
    }

    /// Drops what is staged, and what is held below an epoch. The fence stays.
    pub fn release(&mut self, session: u128, epoch: u64) {
        if let Some(place) = self.places.get_mut(&session) {
            place.staged = None;
            if place.live_epoch < epoch {
                place.live = None;
                place.fence = place.fence.max(epoch);
            }
        }
    }

    /// The executions so far.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Requests that were refused at the fence.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Sessions that hold a notebook here.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.places.values().filter(|place| place.live.is_some()).count()
    }
}
