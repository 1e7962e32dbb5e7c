//! The command line of `homing`: what can be said, nothing about how it is done.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

mod backtest;
mod control;
mod forecast;
mod replay;

pub use backtest::{BacktestArgs, BacktestTask, OwnArgs};
pub use control::{AuditArgs, PlanArgs, PredictArgs};
pub use forecast::{By, ForecastArgs};
pub use replay::{ReplayArgs, TermsArgs};

/// Keeps every session at home, and moves it live when another zone is better.
#[derive(Debug, Parser)]
#[command(name = "homing", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show it all: real zones, proxy and control, a real log replayed, sessions handed over live
    Demo(DemoArgs),
    /// Tell every fault of configuration files, with place and remedy
    Check(CheckArgs),
    /// Send zones, services and policy to control
    Push(PushArgs),
    /// Show zones, handoffs under way and who is attached
    Status(AskArgs),
    /// Explain where a session lives and why
    Why(WhyArgs),
    /// Show what control has learnt of a user, or have it forgotten
    Profile(ProfileArgs),
    /// Hand a session over to a zone
    Move(MoveArgs),
    /// Let a zone take no more sessions and hand those it has over elsewhere
    Drain(ZoneArgs),
    /// Let a drained zone take sessions again
    Open(ZoneArgs),
    /// List sessions with their homes
    Sessions(SessionsArgs),
    /// Show what control foresees of a zone or a user
    Forecast(ForecastArgs),
    /// Show how many endpoints a zone should have from its providers, and why
    Scaling(ScalingArgs),
    /// Show what moves brought, by zone, beside what was expected of them
    Feedback(AskArgs),
    /// Show who asked control to change what, and what became of it
    Audit(AuditArgs),
    /// Show what a region would need ahead of time, and have control scale by an expected event
    PredictScale(PredictArgs),
    /// Show what a zone will need, and what is done about it when
    Plan(PlanArgs),
    /// Show the configuration in force
    Config {
        /// What to do with it.
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Run a proxy
    Proxy(RoleArgs),
    /// Run control
    Control(RoleArgs),
    /// Run the sample app, a notebook with state hooks
    App(AppArgs),
    /// Make a development CA and a certificate for each node of a fleet
    Certs(CertsArgs),
    /// Forecast recorded data as control would have, and write down what was foretold
    Backtest(BacktestArgs),
    /// Replay recorded users under several policies: what would each have cost them and you?
    Replay(ReplayArgs),
    /// Write a shell's completions
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

/// What `homing config` can do.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the document in force
    Show(ShowArgs),
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs; keys are stable.
    Json,
}

/// How documents are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DocumentOutput {
    /// As operators write it.
    #[default]
    Yaml,
    /// For programs.
    Json,
}

/// Whom to ask.
#[derive(Clone, Debug, Args)]
pub struct PeerArgs {
    /// A proxy's admin address
    #[arg(long, env = "HOMING_ADMIN", value_name = "URL", default_value = ADMIN_DEFAULT)]
    pub admin: String,
    /// Control's address; without it the proxy is asked
    #[arg(long, env = "HOMING_CONTROL", value_name = "URL")]
    pub control: Option<String>,
    /// The token of whoever is asked
    #[arg(long, env = "HOMING_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// Where a proxy's admin side is unless its file says otherwise.
pub const ADMIN_DEFAULT: &str = "http://127.0.0.1:9090";

/// A question.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub peer: PeerArgs,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// `homing scaling`.
#[derive(Debug, Args)]
pub struct ScalingArgs {
    /// Which zone
    #[arg(value_name = "ZONE")]
    pub zone: String,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files to check
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// `homing push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The document
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Push only if the document in force still has this ETag
    #[arg(long, value_name = "ETAG")]
    pub if_match: Option<String>,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// A session, however it is known.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The session: 32 hex digits, a session cookie's value, or a raw key with --service
    #[arg(value_name = "KEY")]
    pub key: String,
    /// The service whose raw key it is
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
}

/// `homing why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Which session.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing profile`.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// Which user.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Have control forget it: its profile and the history of its moves
    #[arg(long)]
    pub forget: bool,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Which session.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Where to
    #[arg(value_name = "ZONE")]
    pub zone: String,
    /// Wait until it has moved
    #[arg(long)]
    pub wait: bool,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing drain` and `homing open`.
#[derive(Debug, Args)]
pub struct ZoneArgs {
    /// Which zone
    #[arg(value_name = "ZONE")]
    pub zone: String,
    /// Wait until it is done
    #[arg(long)]
    pub wait: bool,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing sessions`.
#[derive(Debug, Args)]
pub struct SessionsArgs {
    /// Only those of this zone
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Also where sessions have left or are only staged
    #[arg(long)]
    pub all: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Whom to ask and how to write.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// `homing config show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Whom to ask.
    #[command(flatten)]
    pub peer: PeerArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub output: DocumentOutput,
}

/// `homing proxy` and `homing control`.
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// The settings file
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// Only check the file; touch nothing
    #[arg(long)]
    pub check: bool,
    /// Leave when standard input ends
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// `homing app`.
#[derive(Debug, Args)]
pub struct AppArgs {
    /// Run one app for each endpoint of this proxy configuration
    #[arg(long, value_name = "FILE", conflicts_with_all = ["zone", "listen"])]
    pub config: Option<PathBuf>,
    /// The zone's name
    #[arg(long, required_unless_present = "config")]
    pub zone: Option<String>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// A table of round trips between client cities and zones, CSV; `bundled` for the demo's
    #[arg(long, value_name = "FILE")]
    pub delays: Option<PathBuf>,
    /// The request header that names the client's city
    #[arg(long, value_name = "HEADER", default_value = "x-client-place")]
    pub place_header: String,
    /// How long one request occupies a place
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    pub work: Duration,
    /// How many requests are worked on at one time
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub places: usize,
    /// How long it takes to make an item, a page under `/items/` that caches may keep
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    pub item_work: Duration,
    /// Keep the notebooks in this Redis server instead of in the process
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub redis: Option<String>,
    /// Leave when standard input ends
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// `homing certs`.
#[derive(Debug, Args)]
pub struct CertsArgs {
    /// Where the files are, or are to be; a CA that is there is used
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The nodes' names, as their settings state them
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// More names or addresses that each certificate is to carry
    #[arg(long, value_name = "NAME")]
    pub san: Vec<String>,
    /// Replace certificates and keys that are there
    #[arg(long)]
    pub force: bool,
    /// Print nothing
    #[arg(long, short)]
    pub quiet: bool,
}

/// `homing demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// An access log in Common or Combined Log Format, plain or gzip, instead of the bundled one
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How much faster than the log to replay; chosen to fit if not given
    #[arg(long, value_name = "X", value_parser = factor)]
    pub speed: Option<f64>,
    /// How long to replay in all, over both arms
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub length: Option<Duration>,
    /// Repeats a run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many zones
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub zones: usize,
    /// Write the report to a file too
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Write every answered request with what its time was made of to a file
    #[arg(long, value_name = "FILE.csv", conflicts_with = "fleet")]
    pub samples: Option<PathBuf>,
    /// Keep the processes' files and say where they are
    #[arg(long)]
    pub keep: bool,
    /// Run edges, gates and control as a fleet, and measure handoffs between its gates
    #[arg(long, conflicts_with_all = ["trace", "speed"])]
    pub fleet: bool,
    /// Where the fleet's sessions keep their state
    #[arg(long, value_enum, default_value_t, requires = "fleet")]
    pub state: FleetState,
    /// What the loss of a zone may cost of the fleet's sessions
    #[arg(long, value_enum, default_value_t, requires = "fleet")]
    pub tier: FleetTier,
    /// Kill, stop and cut off the fleet's processes while sessions are handed over
    #[arg(long, requires = "fleet")]
    pub chaos: bool,
    /// How many handoffs of each size of state to measure; of 16 MiB a tenth, unless `--sizes`
    /// names it
    #[arg(long, value_name = "N", default_value_t = 100, requires = "fleet")]
    pub handoffs: usize,
    /// The sizes of state to measure handoffs of, 64KiB,1MiB for instance
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = size, requires = "fleet")]
    pub sizes: Vec<u64>,
}

/// Where the fleet's sessions keep their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FleetState {
    /// In the app, behind its own hooks.
    #[default]
    Hooks,
    /// In a Redis server in each zone.
    Redis,
}

/// What the loss of a zone may cost of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FleetTier {
    /// All its state.
    #[default]
    T0,
    /// What its replica lags behind.
    T1,
    /// Nothing that was answered.
    T2,
}

fn duration(text: &str) -> Result<Duration, String> {
    let micros = homing_wire::document::units::TIME
        .parse(text)
        .map_err(|wrong| format!("{}; {}", wrong.problem, wrong.remedy))?;
    Ok(Duration::from_micros(micros))
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = homing_wire::document::units::SIZE
        .parse(text)
        .map_err(|wrong| format!("{}; {}", wrong.problem, wrong.remedy))?;
    match (1 << 10..=64 << 20).contains(&bytes) {
        true => Ok(bytes),
        false => Err("give a size from 1KiB to 64MiB".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let text = text.trim_end_matches('x');
    let factor = text.parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0 && *x < 1e9);
    factor.ok_or_else(|| "write a number above 0, such as 100".to_owned())
}
