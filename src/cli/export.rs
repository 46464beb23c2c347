//! `voceguida export`: the kitchen's head counts.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use chrono::NaiveDate;

use super::place::Place;
use crate::desk::export::{HeadCountRow, head_counts_csv, head_counts_xlsx};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// First day, YYYY-MM-DD.
    #[arg(long)]
    from: NaiveDate,
    /// Last day; the first where not given.
    #[arg(long)]
    to: Option<NaiveDate>,
    /// A .csv or .xlsx file; CSV on standard output where not given.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Writes the head counts of the closed days.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (desk, ente) = args.place.open().await?;
    let counts = desk.head_counts(ente.id, args.from, args.to.unwrap_or(args.from)).await?;
    let row = |c: crate::store::HeadCount| HeadCountRow {
        day: c.day,
        school: c.school,
        class: c.class,
        diet: c.diet,
        white: c.white,
        meals: c.meals.try_into().unwrap_or(0),
    };
    let rows: Vec<_> = counts.into_iter().map(row).collect();
    let Some(path) = args.output else {
        std::io::stdout().write_all(&head_counts_csv(&rows))?;
        return Ok(ExitCode::SUCCESS);
    };
    let bytes = match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => head_counts_csv(&rows),
        Some("xlsx") => head_counts_xlsx(&rows)?,
        _ => bail!("{}: the name must end in .csv or .xlsx", path.display()),
    };
    std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    println!("{}: {} righe", path.display(), rows.len());
    Ok(ExitCode::SUCCESS)
}
