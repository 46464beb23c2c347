//! `voceguida export`: the kitchen's head counts, or the calls.

use std::{fs::File, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use chrono::NaiveDate;

use super::place::Place;
use crate::{
    desk::{
        Desk,
        call_file::CallFile,
        export::{HeadCountRow, head_counts_csv, head_counts_xlsx},
    },
    store::Ente,
};

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
    /// The calls of these days (CDRs, CSV only) instead of the head counts. Callers' numbers are personal data: they are masked.
    #[arg(long)]
    cdr: bool,
    /// Callers' numbers whole. Whoever gets the file must be entitled to see who called.
    #[arg(long, requires = "cdr")]
    whole_numbers: bool,
    #[command(flatten)]
    place: Place,
}

/// Writes the head counts of the closed days, or the calls.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (desk, ente) = args.place.open().await?;
    if args.cdr {
        return calls(&args, &desk, &ente).await;
    }
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

async fn calls(args: &Args, desk: &Desk, ente: &Ente) -> anyhow::Result<ExitCode> {
    let mut output: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout()),
        Some(path) if path.extension().is_some_and(|e| e == "csv") => {
            Box::new(File::create(path).with_context(|| path.display().to_string())?)
        }
        Some(path) => bail!("{}: the name must end in .csv", path.display()),
    };
    output.write_all(CallFile::heading().as_bytes())?;
    let file = CallFile { window: ente.window, whole_numbers: args.whole_numbers };
    let (mut rows, mut written) = (0, Ok(()));
    let take = |page: &[_]| {
        rows += page.len();
        written = output.write_all(file.lines(page).as_bytes());
        written.is_ok()
    };
    desk.calls_between(ente.id, args.from, args.to.unwrap_or(args.from), take).await?;
    written.and_then(|()| output.flush())?;
    if let Some(path) = &args.output {
        println!("{}: {rows} righe", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
