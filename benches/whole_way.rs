//! How many parents a second are served from the key to "registrata": see docs/performance.md, "The whole way".
//!
//! `cargo bench --bench whole_way -- --database sqlite --rate 20,50,100 --seconds 20`
#![allow(clippy::expect_used, clippy::panic, reason = "a bench may panic")]

#[path = "whole_way/mod.rs"]
mod way;

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use way::{Database, Rung, Settings};

/// Parents who dial, type a code, cancel, confirm and hang up.
#[derive(Debug, Parser)]
struct Args {
    /// Which database; both where not told.
    #[arg(long)]
    database: Option<Database>,
    /// Calls a second, one rung after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [20.0, 50.0, 100.0])]
    rate: Vec<f64>,
    /// Length of a rung, at most 60.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Nobody has called before: each number's first code is committed as well.
    #[arg(long)]
    strangers: bool,
    /// Another build of the program, to compare with.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let databases = args.database.map_or_else(|| vec![Database::Sqlite, Database::Postgres], |one| vec![one]);
    for database in databases {
        println!(
            "\n{database:?}, {} callers. Times in ms, from the first packet of the key.\n",
            if args.strangers { "new" } else { "known" }
        );
        println!(
            "| calls/s | registered | failed | at once | p50 | p95 | p99 | max | code p99 | day p99 | answer p99 | CPU ms | database's | machine busy | blind |"
        );
        println!("|{}", " --- |".repeat(15));
        let rates = args.rate.iter().map(|rate| rate.clamp(1.0, 2_000.0)).collect();
        let settings = Settings {
            database,
            rates,
            seconds: args.seconds.clamp(1.0, 60.0),
            known: !args.strangers,
            warm_up: 40,
            program: args.program.clone(),
        };
        way::run(&settings, print);
    }
}

fn print(rung: &Rung) {
    let ms = |time: &Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
    let times = rung.registered.iter().chain(&rung.others).chain(&rung.cpu).map(ms).collect::<Vec<_>>().join(" | ");
    let failed: usize = rung.failed.values().sum();
    println!(
        "| {} | {} | {failed} | {} | {times} | {:.0} % | {} |",
        rung.rate,
        rung.done,
        rung.at_once,
        rung.busy * 100.0,
        ms(&rung.blind)
    );
    if failed > 0 || rung.unheard > 0 {
        println!("\nFailed: {:?}; committed and unheard: {}\n", rung.failed, rung.unheard);
    }
}
