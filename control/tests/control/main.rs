//! Control as its callers meet it: REST on one side, a proxy's link on the other, a journal below
//! that outlives it. Everything runs on real sockets and a real file.

mod api;
mod forecasts;
mod heirs;
mod kubernetes;
mod lessons;
mod link;
mod process;
mod providers;
mod regions;
mod repairs;
mod restart;
mod scaling;
mod tenants;
mod world;
