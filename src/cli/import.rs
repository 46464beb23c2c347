//! `voceguida import`: roster and calendar from the office's files (O2), all or nothing.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use super::place::Place;
use crate::{
    canteen::code::ChildCode,
    desk::{
        import::ImportError,
        roster_file::{self, Known, SourceFile, limits},
    },
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CSV or XLSX files: children, classes, calendar. Given together they may refer to each other.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only read and check; write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

/// Reads the files, and writes them down if there is no mistake in any of them.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut contents = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let size = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
        anyhow::ensure!(size <= limits::FILE_BYTES as u64, "{}: il file è troppo grande", path.display());
        contents.push((path.display().to_string(), std::fs::read(path).with_context(|| path.display().to_string())?));
    }
    let (desk, ente) = args.place.open().await?;
    let (schools, classes) = desk.known_places(ente.id).await?;
    let known = Known { schools: &schools, classes: &classes, code_is_valid: &|code| ChildCode::parse(code).is_ok() };
    let files: Vec<_> = contents.iter().map(|(name, bytes)| SourceFile { name, bytes }).collect();
    let read = match roster_file::read(&files, &known) {
        Ok(read) => read,
        Err(rejected) => {
            eprintln!("{rejected}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for notice in &read.notices {
        println!("Nota: {notice}");
    }
    if args.dry_run {
        println!("Nessun errore. Bambini nei file: {}. Non è stato scritto nulla.", read.roster.children.len());
        return Ok(ExitCode::SUCCESS);
    }
    match desk.import(ente.id, &read.roster).await {
        Ok(done) => {
            println!(
                "Importazione riuscita: {} bambini nuovi, {} aggiornati, {} classi, {} chiusure nuove.",
                done.new_children, done.known_children, done.classes, done.new_closures
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(ImportError::Rows(rows)) => {
            eprintln!("L'importazione è stata rifiutata; non è stato scritto nulla.\n{}", rows.join("\n"));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}
