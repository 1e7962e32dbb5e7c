//! The sample app: a notebook per session, served over real sockets, with Homing's state hooks. It
//! is what the demo, the walk in the README and the tests put behind the proxy. It keeps a log of
//! what it executed, because a proxy's word that nothing ran twice is no proof.

mod answer;
mod distance;
pub mod hooks;
pub mod items;
pub mod notebook;
mod record;
pub mod redis;
mod serve;
pub mod shelf;
mod socket;

pub(crate) use answer::FILL_BYTES_MAX;
pub use answer::fill;
pub use distance::Distances;
pub use record::{Execution, Kind, parse as parse_executions};
pub use serve::{App, AppSettings, serve};
pub(crate) use serve::{WAITED_HEADER, WORKED_HEADER, listen};
