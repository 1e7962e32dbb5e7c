//! `homing proxy` and `homing control`: the daemons' own code, run by this binary.

use std::path::Path;

use crate::args::RoleArgs;
use crate::trouble::Trouble;

