//! The `homing` command run as operators run it: as a process, against processes.

#![allow(clippy::unwrap_used)] // what fails here fails the test

mod check;
mod demo;
mod run;
mod under_control;
mod walk;
