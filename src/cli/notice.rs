//! `voceguida notice`: print a payment notice.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};

use super::{bill::settings, place::Place};
use crate::desk::trail::Actor;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number and year of the notice, e.g. 12/2026.
    #[arg(value_name = "NUMBER/YEAR")]
    notice: String,
    /// Where the PDF is written.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Prints a notice into a PDF file.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let parts = args.notice.split_once('/').and_then(|(number, year)| Some((number.parse().ok()?, year.parse().ok()?)));
    let Some((number, year)) = parts else { bail!("say which notice: 12/2026") };
    let (desk, ente, config) = args.place.open_with_config().await?;
    let settings = settings(config.as_ref(), &ente)?;
    let actor = Actor::command_line(ente.id);
    let pdf = desk.print_notice(&actor, settings, year, number).await?.context("there is no such notice")?;
    std::fs::write(&args.output, pdf).with_context(|| args.output.display().to_string())?;
    println!("{}", args.output.display());
    Ok(ExitCode::SUCCESS)
}
