//! The source's side of one stream: what is to be said goes in, what the target says comes out.
//! A task of its own, because a copy that flow control holds up must not keep the machine from
//! its clock and from control's word.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use homing_wire::{Gate, LinkFrame, link::Open};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    driver::Fleet,
    link::{
        Stream,
        frames::{self, Framed, StreamFault},
    },
};

/// Frames that may wait for the stream. The machine says one thing at a time.
const SAID: usize = 8;
/// How long a target that stopped reading is listened to: it may have said why.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A conversation under way.
#[derive(Debug)]
pub(super) struct Talk {
    say: mpsc::Sender<(Framed, bool)>,
    heard: mpsc::Receiver<Heard>,
    /// Rises while bytes are taken by the other side.
    progress: Arc<AtomicU64>,
    said: u64,
    written: Arc<AtomicU64>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Heard {
    /// The target said this.
    Frame(LinkFrame),
    /// The stream is open; this is the round trip.
    Open(Duration),
    /// The conversation is over.
    Lost(String),
}

impl Talk {
    /// Begins to talk to a gate about a handoff.
    pub(super) fn begin(fleet: &Arc<Fleet>, gate: Gate, open: Open) -> Self {
        let (say, saying) = mpsc::channel(SAID);
        let (hear, heard) = mpsc::channel(SAID);
        let (progress, written) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let task = Conversation {
            fleet: Arc::clone(fleet),
            saying,
            hear,
            progress: Arc::clone(&progress),
            written: Arc::clone(&written),
        };
        tokio::spawn(task.run(gate, open));
        Self { say, heard, progress, said: 0, written }
    }

    /// Says something; `paced` if it may wait for users. False if the conversation is over.
    pub(super) async fn say(&mut self, framed: Framed, paced: bool) -> bool {
        self.said += 1;
        self.say.send((framed, paced)).await.is_ok()
    }

    /// What comes next.
    pub(super) async fn hear(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or_else(|| Heard::Lost("the stream has ended".to_owned()))
    }

    /// Whether something said is not written yet, and how much of all was.
    pub(super) fn under_way(&self) -> Option<u64> {
        (self.written.load(Relaxed) < self.said).then(|| self.progress.load(Relaxed))
    }
}

struct Conversation {
    fleet: Arc<Fleet>,
    saying: mpsc::Receiver<(Framed, bool)>,
    hear: mpsc::Sender<Heard>,
    progress: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
}

impl Conversation {
    // Every send to `hear` may find nobody there: a handoff that is over needs to know nothing.
    async fn run(mut self, gate: Gate, open: Open) {
        let Stream { mut send, receive, rtt } = match self.fleet.link.stream(&gate).await {
            Ok(stream) => stream,
            Err(down) => {
                let _ = self.hear.send(Heard::Lost(down.to_string())).await;
                return;
            }
        };
        let _ = self.hear.send(Heard::Open(rtt)).await;
        let mut listening = JoinSet::new();
        listening.spawn(listen(receive, self.hear.clone()));
        match self.write(&mut send, open).await {
            // The handoff is over. An unfinished stream would look to the target like one that
            // broke off.
            Ok(()) => {
                let _ = send.finish();
            }
            Err(fault) => {
                let _ = tokio::time::timeout(LAST_WORDS, listening.join_next()).await;
                let _ = self.hear.send(Heard::Lost(format!("{}: {fault}", gate.name))).await;
            }
        }
    }

    async fn write(&mut self, send: &mut quinn::SendStream, open: Open) -> Result<(), StreamFault> {
        let open = Framed::bare(LinkFrame::Open(Box::new(open)));
        frames::write(send, &open, &self.progress, None).await?;
        while let Some((framed, paced)) = self.saying.recv().await {
            let governor = paced.then_some(&self.fleet.governor);
            frames::write(send, &framed, &self.progress, governor).await?;
            self.written.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

async fn listen(mut receive: quinn::RecvStream, hear: mpsc::Sender<Heard>) {
    loop {
        let heard = match frames::read(&mut receive, 0).await {
            Ok(framed) => Heard::Frame(framed.frame),
            Err(fault) => Heard::Lost(fault.to_string()),
        };
        let is_over = matches!(heard, Heard::Lost(_));
        if hear.send(heard).await.is_err() || is_over {
            return;
        }
    }
}
