//! What `homing replay` is asked: recorded movement, what latency and copies cost, where to report.

use std::path::PathBuf;

use clap::Args;

/// `homing replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A folder with `tracks.csv.gz` and `zones.csv` (movement), or with `stream.csv.gz`,
    /// `venues.csv.gz` and `zones.csv` (check-ins)
    #[arg(value_name = "DIR", required_unless_present = "log")]
    pub dir: Option<PathBuf>,
    /// Or an access log in Common or Combined Log Format, plain or gzip
    #[arg(long, value_name = "FILE", conflicts_with = "dir", requires = "zones")]
    pub log: Option<PathBuf>,
    /// The zones of an access log: zone,lat,lon
    #[arg(long, value_name = "FILE.csv", requires = "log")]
    pub zones: Option<PathBuf>,
    /// Where clients of an access log are: client,lat,lon; the others are placed by hash
    #[arg(long, value_name = "FILE.csv", requires = "log")]
    pub places: Option<PathBuf>,
    /// What is paid for what.
    #[command(flatten)]
    pub terms: TermsArgs,
    /// Chances of arrival from which to hold a copy; each is a point of the predictive policy
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = THETAS)]
    pub theta: Vec<f64>,
    /// The share of --theta from which a copy that is there is kept: nothing is sent for it
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub keep: f64,
    /// Prices of a warm move, in ms of latency summed over requests; each with each --theta
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = MOVES)]
    pub move_ms: Vec<f64>,
    /// For how many bins a copy is held without being asked for again; from a check-in to the next
    /// it always is
    #[arg(long, value_name = "BINS", default_value_t = 1)]
    pub ttl: u32,
    /// Copies per user that the predictive policy of the verdict may hold
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    pub copies: f64,
    /// Write all figures to a file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with the table and a plot
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write down each decision of the predictive policies
    #[arg(long, value_name = "FILE.csv")]
    pub decisions: Option<PathBuf>,
}

const THETAS: &str = "0.02,0.03,0.05,0.07,0.1,0.15,0.2,0.3";
const MOVES: &str = "0,20,40,60,70,80,90,100,120";

/// What is paid for what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Terms")]
pub struct TermsArgs {
    /// Round trips between zones instead of distances: src,dst,ms (or avg_ms)
    #[arg(long, value_name = "FILE.csv", conflicts_with = "ms_per_km")]
    pub rtt: Option<PathBuf>,
    /// A request's latency from a zone next door
    #[arg(long, value_name = "MS", default_value_t = 4.0)]
    pub base_ms: f64,
    /// What a kilometre adds
    #[arg(long, value_name = "MS", default_value_t = 2.0)]
    pub ms_per_km: f64,
    /// What arriving in a zone without a copy adds to the first request
    #[arg(long, value_name = "MS", default_value_t = 120.0)]
    pub cold_ms: f64,
    /// Requests of a user in a bin, or at a check-in; an access log counts its own
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub requests_per_bin: f64,
    /// A session's state
    #[arg(long, value_name = "KIB", default_value_t = 256.0)]
    pub state_kib: f64,
    /// What each copy is sent in a bin with requests, to stay like the original
    #[arg(long, value_name = "KIB", default_value_t = 4.0)]
    pub delta_kib: f64,
    /// Price of a GB from zone to zone
    #[arg(long, value_name = "USD", default_value_t = 0.02)]
    pub usd_per_gb: f64,
    /// Price of holding a copy for an hour
    #[arg(long, value_name = "USD", default_value_t = 0.000_002)]
    pub usd_per_copy_hour: f64,
}
