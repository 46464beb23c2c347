//! `voceguida close-day`: close what the service would close by itself (R9).

use std::process::ExitCode;

use chrono::NaiveDate;

use super::place::Place;
use crate::desk::explain::day_in_words;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Close no day after this one.
    #[arg(long, value_name = "DAY")]
    until: Option<NaiveDate>,
    #[command(flatten)]
    place: Place,
}

/// Closes every day whose cut-off has passed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (desk, ente) = args.place.open().await?;
    let closed = desk.close_days(ente.id, args.until, |day, meals| println!("{}: {meals} pasti", day_in_words(day))).await?;
    println!("Giornate chiuse: {}; pasti contati: {}.", closed.days, closed.meals);
    Ok(ExitCode::SUCCESS)
}
