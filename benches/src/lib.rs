//! What the benches share: real origins, load over real sockets, and the CPU time of real
//! processes. Comparisons are made within one run, in turns, since these machines are noisy.

pub mod load;
pub mod origin;
pub mod peer;
pub mod process;
pub mod publisher;
pub mod sessions;
