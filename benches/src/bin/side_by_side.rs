//! CPU per proxied request, Homing beside HAProxy and nginx, in turns within one run. It claims
//! nothing: it prints what it measured, and leaves out whoever is not installed.
//!
//! `cargo build --profile dist -p homing-proxy -p homing-bench && target/dist/side_by_side`

use std::{collections::BTreeMap, error::Error, net::SocketAddr, time::Duration};

use clap::Parser;
use homing_bench::{
    load::{self, Seen},
    origin,
    peer::Peer,
};

/// Measure CPU per proxied request side by side.
#[derive(Parser)]
struct Arguments {
    /// Seconds of load per proxy, case and round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections kept busy.
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// What is asked for: a name and a path that the origins answer with a body of that size.
const CASES: [(&str, &str); 2] =
    [("H1 keep-alive, 1 KiB", "/1024"), ("H1 keep-alive, 64 KiB", "/65536")];

#[derive(Clone, Copy)]
struct Figure {
    cpu_us: f64,
    user_us: f64,
    p50_us: u64,
    p99_us: u64,
    per_second: f64,
    resident_kib: u64,
    failed: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let mut origins = Vec::new();
    for _ in 0..4 {
        origins.push(origin::start().await?);
    }
    for peer in Peer::ALL {
        println!("{:8} {}", peer.name(), peer.version());
    }
    let mut figures: BTreeMap<(usize, usize), Vec<Figure>> = BTreeMap::new();
    for round in 0..arguments.rounds {
        for (which, peer) in Peer::ALL.into_iter().enumerate() {
            if peer.program().is_none() {
                continue;
            }
            for (case, (_, path)) in CASES.into_iter().enumerate() {
                let figure = measure(peer, folder.path(), &origins, path, &arguments).await?;
                eprintln!("round {} {:8} {path}: {:.1} us", round + 1, peer.name(), figure.cpu_us);
                figures.entry((case, which)).or_default().push(figure);
            }
        }
    }
    print(&figures);
    Ok(())
}

async fn measure(
    peer: Peer,
    folder: &std::path::Path,
    origins: &[SocketAddr],
    path: &str,
    arguments: &Arguments,
) -> Result<Figure, Box<dyn Error>> {
    let (measured, address) = peer
        .start(folder, origins)
        .map_err(|error| format!("{} did not start: {error}", peer.name()))?;
    load::closed(address, path, arguments.connections, Duration::from_millis(500)).await;
    let duration = Duration::from_secs(arguments.seconds);
    let before = measured.ticks();
    let seen: Seen = load::closed(address, path, arguments.connections, duration).await;
    let (cpu_us, user_us) = measured.ticks().since(before).us_per(seen.answered);
    Ok(Figure {
        cpu_us,
        user_us,
        p50_us: seen.latency_us.value_at_quantile(0.50),
        p99_us: seen.latency_us.value_at_quantile(0.99),
        per_second: seen.answered as f64 / duration.as_secs_f64(),
        resident_kib: measured.resident_kib(),
        failed: seen.failed,
    })
}

fn print(figures: &BTreeMap<(usize, usize), Vec<Figure>>) {
    println!(
        "\n| case | proxy | CPU us/request (user) | beside haproxy | req/s | p50 us | p99 us | RSS MiB | failed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for ((case, which), rounds) in figures {
        let cpu = median(rounds, |figure| figure.cpu_us);
        let haproxy = figures.get(&(*case, 1)).map(|rounds| median(rounds, |figure| figure.cpu_us));
        println!(
            "| {} | {} | {:.1} ({:.1}) | {} | {:.0} | {:.0} | {:.0} | {:.1} | {} |",
            CASES[*case].0,
            Peer::ALL[*which].name(),
            cpu,
            median(rounds, |figure| figure.user_us),
            haproxy.map_or_else(|| "-".to_owned(), |haproxy| format!("{:.2}x", cpu / haproxy)),
            median(rounds, |figure| figure.per_second),
            median(rounds, |figure| figure.p50_us as f64),
            median(rounds, |figure| figure.p99_us as f64),
            median(rounds, |figure| figure.resident_kib as f64) / 1024.0,
            rounds.iter().map(|figure| figure.failed).sum::<u64>(),
        );
    }
}

fn median(rounds: &[Figure], of: impl Fn(&Figure) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
