//! The `homing` command run as operators run it: as a process, against processes.

mod check;
mod demo;
mod run;
mod under_control;
mod walk;
