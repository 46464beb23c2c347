//! `voceguida tariff FILE`: enters a tariff.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::place::Place;
use crate::desk::{billing::tariff_file, trail::Actor};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file (deploy/tariffa.example.toml).
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Enters the tariff, and the orders of school that the file says.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (desk, ente) = args.place.open().await?;
    let file = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).with_context(|| file.clone())?;
    let read = tariff_file::read(&file, &text, &desk.school_codes(ente.id).await?)?;
    let actor = Actor::command_line(ente.id);
    for (school, order) in &read.orders {
        desk.set_school_order(&actor, *school, Some(*order)).await?;
    }
    desk.enter_tariff(&actor, &read.tariff, &read.name).await?;
    println!("{}: {} righe, valide da {}", read.name, read.tariff.rates.len(), read.tariff.valid_from);
    Ok(ExitCode::SUCCESS)
}
