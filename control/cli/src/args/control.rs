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
