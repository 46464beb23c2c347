//! `voceguida explain CODE --at INSTANT --option O`: which decision, and why.

use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, FixedOffset, NaiveDate, Utc};

use super::place::Place;
use crate::canteen::{Choice, code::ChildCode, rule::Request};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The child's keypad code.
    code: String,
    /// The instant, RFC 3339 (2026-10-12T18:30:00+02:00); now where not given.
    #[arg(long)]
    at: Option<DateTime<FixedOffset>>,
    /// cancel, white, suspend, resume or undo.
    #[arg(long, value_parser = choice)]
    option: Choice,
    /// As asked on the web, for this day; by phone where not given.
    #[arg(long)]
    day: Option<NaiveDate>,
    /// Last day of a suspension asked for on the web.
    #[arg(long, requires = "day")]
    until: Option<NaiveDate>,
    #[command(flatten)]
    place: Place,
}

fn choice(word: &str) -> Result<Choice, String> {
    serde_json::from_value(word.into()).map_err(|_| "use cancel, white, suspend, resume or undo".to_owned())
}

/// Explains; writes nothing to the database.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let code = ChildCode::parse(&args.code).context("that is no code")?;
    let (desk, ente) = args.place.open().await?;
    let child = desk.child_by_code(ente.id, &code).await?;
    let request = match args.day {
        Some(day) => Request::Web { choice: args.option, day, until: args.until },
        None => Request::Phone(args.option),
    };
    let explanation = desk.explain(ente.id, child, args.at.map(|at| at.with_timezone(&Utc)), request).await?;
    for step in &explanation.steps {
        println!("  {step}");
    }
    println!("{}", explanation.conclusion);
    Ok(ExitCode::SUCCESS)
}
