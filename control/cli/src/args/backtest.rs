//! What `homing backtest` is asked: a task of the recorded sets, or a user's own series.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `homing backtest`.
#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// What to forecast
    #[arg(value_enum, required_unless_present = "csv", requires = "data")]
    pub task: Option<BacktestTask>,
    /// The folder that holds the recorded data
    #[arg(requires = "out")]
    pub data: Option<PathBuf>,
    /// Where to write the forecasts
    #[arg(long, value_name = "FILE.csv")]
    pub out: Option<PathBuf>,
    /// Or a series of the user's own.
    #[command(flatten)]
    pub own: OwnArgs,
}

/// A series of the user's own.
#[derive(Debug, Args)]
#[command(next_help_heading = "A series of your own")]
pub struct OwnArgs {
    /// A file with a header and a row for each observation, plain or gzip
    #[arg(long, value_name = "FILE", conflicts_with = "task", requires_all = ["value", "horizon"])]
    pub csv: Option<PathBuf>,
    /// The column of times: Unix seconds or milliseconds, or such as 2026-03-01T12:00:00Z
    #[arg(long, value_name = "COL", default_value = "time", requires = "csv")]
    pub time: String,
    /// The column of values, or several with commas between them
    #[arg(long, value_name = "COL", value_delimiter = ',', requires = "csv")]
    pub value: Vec<String>,
    /// How many observations make a day, or whatever the season is; 1 is none
    #[arg(long, value_name = "N", default_value_t = 1, requires = "csv")]
    pub season: usize,
    /// How many observations ahead to forecast
    #[arg(long, value_name = "H", requires = "csv")]
    pub horizon: Option<usize>,
    /// Scheduled events: an iCalendar file, or JSON [{"name", "from", "until"}]
    #[arg(long, value_name = "FILE", requires = "csv")]
    pub events: Option<PathBuf>,
    /// Draw the forecasts against the truth
    #[arg(long, value_name = "FILE.svg", requires = "csv")]
    pub plot: Option<PathBuf>,
}

/// The tasks of `homing backtest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BacktestTask {
    /// Hourly series of the M4 competition, 48 h ahead
    M4,
    /// Web requests of 1998 in bins of 5 minutes, 1 h ahead
    #[value(name = "wc98_5m")]
    Wc98FiveMinutes,
    /// Web requests of 1998 in bins of 1 hour, 24 h ahead
    #[value(name = "wc98_1h")]
    Wc98Hourly,
    /// Web requests of 1995 in bins of 5 minutes, 1 h ahead
    #[value(name = "nasa_5m")]
    NasaFiveMinutes,
    /// Web requests of 1995 in bins of 1 hour, 24 h ahead
    #[value(name = "nasa_1h")]
    NasaHourly,
    /// Web requests of 2021 in bins of 5 minutes, 1 h ahead
    #[value(name = "twitter_5m")]
    TwitterFiveMinutes,
    /// Web requests of 2021 in bins of 1 hour, 24 h ahead
    #[value(name = "twitter_1h")]
    TwitterHourly,
    /// Taxi pick-ups per zone in bins of 15 minutes, 2 h ahead
    Taxi,
    /// CPU use of virtual machines in bins of 5 minutes, 1 h ahead
    Vm,
    /// The venue of a user's next check-in
    NycVenue,
    /// The zone of a user's next check-in
    NycZone,
    /// A taxi's zone 15 minutes on
    #[value(name = "taxi-zone15")]
    TaxiZone15,
    /// A taxi's zone 30 minutes on
    #[value(name = "taxi-zone30")]
    TaxiZone30,
    /// A taxi's zone 5 to 30 minutes on, by the counts that plans are made with, scored as it goes
    TaxiMobility,
    /// The same of users who check in
    NycMobility,
    /// A person's next place to stay
    Geolife,
    /// The next page of a visit, in the logs of the 1998 world cup
    Fifa,
    /// The next page of a visit, in the logs of a shop
    Bms,
    /// The next model that a user asks for
    Genai,
    /// Whether each observation is unusual, in a folder of series with `windows.json`
    Nab,
}

impl BacktestTask {
    /// Whether it asks for the demand of series.
    #[must_use]
    pub fn is_demand(self) -> bool {
        use BacktestTask as Task;
        matches!(
            self,
            Task::M4
                | Task::Wc98FiveMinutes
                | Task::Wc98Hourly
                | Task::NasaFiveMinutes
                | Task::NasaHourly
                | Task::TwitterFiveMinutes
                | Task::TwitterHourly
                | Task::Taxi
                | Task::Vm
        )
    }
}
