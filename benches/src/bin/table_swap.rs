//! Request latency while the table changes under load, beside quiet, in turns within one run: whole
//! tables of half a million exceptions, and deltas of 10,000 moves.
//!
//! `cargo build --release -p homing-proxy -p homing-bench && target/release/table_swap`

use std::{error::Error, fs, net::SocketAddr, process::Command, time::Duration};

use clap::Parser;
use homing_bench::{load, origin, process::Measured, publisher::Publisher};

/// Measure request latency while tables are swapped.
#[derive(Parser)]
struct Arguments {
    /// Seconds of load per arm and round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Rounds; medians over them are printed.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Requests a second.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Exceptions in the table.
    #[arg(long, default_value_t = 500_000)]
    exceptions: u64,
    /// Sessions a delta moves.
    #[arg(long, default_value_t = 10_000)]
    moves: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Arm {
    Quiet,
    Deltas,
    Tables,
}

const ARMS: [(Arm, &str); 3] =
    [(Arm::Quiet, "quiet"), (Arm::Deltas, "a delta a second"), (Arm::Tables, "a table a second")];

#[derive(Default)]
struct Column {
    p50_us: Vec<u64>,
    p99_us: Vec<u64>,
    effect_ms: Vec<u64>,
    failed: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let origins = [origin::start().await?, origin::start().await?];
    let mut publisher = Publisher::start(&origins, arguments.exceptions).await?;
    let (_proxy, address) = start_proxy(folder.path(), publisher.address)?;
    let whole = publisher.draw_whole()?;
    let first = publisher.send(&whole).await?;
    println!("first table in force after {} ms", first.as_millis());
    load::open(address, "/1024", 64, arguments.rate, Duration::from_secs(2)).await;

    let mut columns: [Column; 3] = Default::default();
    for _ in 0..arguments.rounds {
        for (column, (arm, _)) in columns.iter_mut().zip(ARMS) {
            run(arm, address, &mut publisher, &arguments, column).await?;
        }
    }
    print(&columns);
    Ok(())
}

async fn run(
    arm: Arm,
    address: SocketAddr,
    publisher: &mut Publisher,
    arguments: &Arguments,
    column: &mut Column,
) -> Result<(), Box<dyn Error>> {
    let duration = Duration::from_secs(arguments.seconds);
    let rate = arguments.rate;
    let mut drawn = Vec::new();
    for _ in 0..arguments.seconds {
        match arm {
            Arm::Quiet => {}
            Arm::Deltas => drawn.push(publisher.draw_moves(arguments.moves)?),
            Arm::Tables => drawn.push(publisher.draw_whole()?),
        }
    }
    let load = tokio::spawn(load::open(address, "/1024", 64, rate, duration));
    for sealed in drawn {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let effect = publisher.send(&sealed).await?;
        column.effect_ms.push(effect.as_millis() as u64);
        tokio::time::sleep(Duration::from_millis(600).saturating_sub(effect)).await;
    }
    let seen = load.await?;
    column.p50_us.push(seen.latency_us.value_at_quantile(0.50));
    column.p99_us.push(seen.latency_us.value_at_quantile(0.99));
    column.failed += seen.failed;
    Ok(())
}

fn start_proxy(
    folder: &std::path::Path,
    control: SocketAddr,
) -> Result<(Measured, SocketAddr), Box<dyn Error>> {
    let free = || std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr();
    let (address, admin) = (free()?, free()?);
    let config = folder.join("homing.yaml");
    fs::write(
        &config,
        format!(
            "listen:\n  - {{ address: {address} }}\nadmin: {{ address: {admin} }}\n\
             state_dir: {}\ncontrol: {{ url: http://{control} }}\n",
            folder.join("state").display()
        ),
    )?;
    let program = std::env::current_exe()?.with_file_name("homing-proxy");
    let mut command = Command::new(&program);
    let measured = Measured::start(command.arg(&config))
        .map_err(|error| format!("{}: {error}; build homing-proxy too", program.display()))?;
    for _ in 0..500 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok((measured, address));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Err("the proxy does not listen".into())
}

fn print(columns: &[Column; 3]) {
    println!(
        "\n| arm | p50 us | p99 us | p99 beside quiet | to effect ms (median, max) | failed |"
    );
    println!("|---|---|---|---|---|---|");
    let quiet = median(&columns[0].p99_us);
    for (column, (_, name)) in columns.iter().zip(ARMS) {
        let p99 = median(&column.p99_us);
        let effect = match column.effect_ms.iter().max() {
            Some(max) => format!("{}, {max}", median(&column.effect_ms)),
            None => "-".to_owned(),
        };
        println!(
            "| {name} | {} | {p99} | {:.2}x | {effect} | {} |",
            median(&column.p50_us),
            p99 as f64 / quiet.max(1) as f64,
            column.failed
        );
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
