//! The parties of a handoff and what they say to each other. Three machines, because each may die
//! alone: the source that lets go, the target that takes over, the authority whose record decides.
//!
//! ```text
//!  authority            source                         target
//!  Prepare ───────────► copies while it serves
//!                       Stage ───────────────────────► keeps the copy
//!                       ◄───────────────────── StageAck
//!                       waits for an idle gap, freezes, drains
//!                       Grant (last delta, dedup) ───► puts in place, owns
//!  commits ◄────────────────────────────────── Activated
//!                       retires, redirects ◄── GrantAck
//!  Release ───────────► forgets
//! ```
//!
//! When anything goes wrong the authority asks the target for its irrevocable word (`FenceQuery`)
//! or has proof that it is dead, and then commits or takes back one epoch higher (`Own`). There is
//! no other way of undoing a handoff, and no timeout hands ownership back by itself.
//!
//! Every machine takes `handle(event, now_ms)` and gives `poll() -> Option<Action>`; whoever runs
//! it does what the actions say and calls `handle` with [`Wake`](source::Event::Wake) when
//! `deadline()` is reached. No state bytes pass through: actions name versions, the shell moves
//! the bytes. The same machines run in a solo proxy, in control, between zones and in simulation.

pub mod authority;
pub mod message;
pub mod record;
pub mod source;
pub mod target;

pub use authority::Authority;
pub use message::Message;
pub use record::Record;
pub use source::Source;
pub use target::Target;
