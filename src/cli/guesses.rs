//! `voceguida guesses`: wrong codes and who is shut out (S4).

use std::process::ExitCode;

use chrono::TimeDelta;

use super::place::Place;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look back so many hours.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
    #[command(flatten)]
    place: Place,
}

/// Shows the callers.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (desk, ente) = args.place.open().await?;
    let callers = desk.wrong_callers(ente.id, TimeDelta::hours(i64::from(args.hours))).await?;
    if callers.is_empty() {
        println!("Nessun codice errato nelle ultime {} ore.", args.hours);
    }
    for (caller, shut_out) in callers {
        let number = if caller.caller.is_empty() { "numero nascosto" } else { &caller.caller };
        let known = if caller.known { ", conosciuto" } else { "" };
        let state = if shut_out { " — BLOCCATO" } else { "" };
        let last = ente.window.local(caller.last_at).format("%d/%m/%Y %H:%M");
        println!("{number}{known}: {} codici errati, di cui {} sospetti; ultimo {last}{state}", caller.wrong, caller.guesses);
    }
    Ok(ExitCode::SUCCESS)
}
