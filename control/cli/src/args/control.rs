//! The command lines of questions that only control answers.

use clap::Args;

use super::AskArgs;

/// `homing audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// How many of the newest changes, at most 1,000
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u16,
    /// Only those before this number
    #[arg(long, value_name = "NO")]
    pub before: Option<u64>,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing predict-scale`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Which region: a zone's name
    #[arg(value_name = "REGION")]
    pub region: String,
    /// How far to look, at most 48 hours
    #[arg(long, value_name = "TIME", default_value = "30m")]
    pub horizon: String,
    /// Only this service's
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// An event that the past cannot tell of
    #[arg(long, value_name = "NAME", requires_all = ["from", "to", "times"])]
    pub event: Option<String>,
    /// When it begins: 2026-11-27T18:00:00Z
    #[arg(long, value_name = "TIME", requires = "event")]
    pub from: Option<String>,
    /// When it ends
    #[arg(long, value_name = "TIME", requires = "event")]
    pub to: Option<String>,
    /// What it multiplies demand by
    #[arg(long, value_name = "X", requires = "event")]
    pub times: Option<f64>,
    /// Hand the event to control's rounds instead of only looking
    #[arg(long, requires = "event")]
    pub apply: bool,
    /// The idempotency key; made of the request if not given
    #[arg(long, value_name = "KEY", requires = "apply")]
    pub key: Option<String>,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which zone
    #[arg(value_name = "ZONE")]
    pub zone: String,
    /// How far to look, at most 48 hours
    #[arg(long, value_name = "TIME", default_value = "30m")]
    pub horizon: String,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}
