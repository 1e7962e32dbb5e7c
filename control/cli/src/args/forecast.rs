//! The command line of `homing forecast`.

use clap::{Args, ValueEnum};

use super::AskArgs;

/// `homing forecast`.
#[derive(Debug, Args)]
pub struct ForecastArgs {
    /// Which zone
    #[arg(value_name = "ZONE", required_unless_present = "user")]
    pub zone: Option<String>,
    /// One user's part instead: its session key
    #[arg(long, value_name = "KEY", conflicts_with = "zone")]
    pub user: Option<String>,
    /// Only this service's
    #[arg(long, value_name = "SERVICE", conflicts_with = "user")]
    pub service: Option<String>,
    /// What of: requests, bandwidth or sessions
    #[arg(long, value_name = "RESOURCE", default_value = "requests")]
    pub resource: String,
    /// How far: the next 30 steps, or the next 48 hours
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// How far a forecast reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// 30 steps of control's, minutes unless it is set otherwise.
    #[default]
    Step,
    /// 48 hours.
    Hour,
}
