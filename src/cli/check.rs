//! `voceguida check`: proves configuration, dialplans, prompts and database before anybody calls.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use crate::{
    desk::Desk,
    ops::{clock::Clock, config::Config},
    store::Db,
    voice::{check, draw, plan::Plan, prompts::PromptLibrary},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file: checks it and all that it names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Dialplans to check where no configuration is given.
    #[arg(value_name = "DIALPLAN", default_values = ["dialplans/mensa.toml", "dialplans/carico.toml"], conflicts_with = "config")]
    dialplans: Vec<PathBuf>,
    /// The prompts' directory where no configuration is given.
    #[arg(long, value_name = "DIR", default_value = "prompts/it", conflicts_with = "config")]
    prompts: PathBuf,
    /// Draw the first dialplan as SVG into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the first dialplan as a Mermaid flowchart into this file.
    #[arg(long, value_name = "FILE")]
    mermaid: Option<PathBuf>,
}

/// What has been found.
#[derive(Default)]
struct Report {
    errors: usize,
}

impl Report {
    fn good(what: impl std::fmt::Display) {
        println!("ok      {what}");
    }

    fn warning(what: impl std::fmt::Display) {
        println!("warning {what}");
    }

    fn error(&mut self, what: impl std::fmt::Display) {
        for line in what.to_string().lines() {
            println!("ERROR   {line}");
            self.errors += 1;
        }
    }
}

/// Checks everything; fails if anything is wrong.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    let mut plans = args.dialplans.clone();
    let mut prompts = args.prompts.clone();
    let mut config = None;
    if let Some(path) = &args.config {
        match Config::load(path) {
            Ok(loaded) => {
                let (enti, trunks, numbers) = (loaded.ente.len(), loaded.trunk.len(), loaded.numbers().count());
                Report::good(format!("configuration {}: {enti} enti, {trunks} trunks, {numbers} numbers", path.display()));
                if let Err(error) = loaded.sip_config().check_tls() {
                    report.error(error);
                }
                plans = loaded.numbers().map(|(_, n)| n.dialplan.clone()).collect();
                plans.sort();
                plans.dedup();
                prompts.clone_from(&loaded.prompts);
                config = Some(loaded);
            }
            Err(error) => {
                report.error(error);
                println!("{} error(s)", report.errors);
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let library = check_prompts(&mut report, &prompts);
    let mut first = None;
    for path in &plans {
        let plan = check_plan(&mut report, path, library.as_ref());
        first = first.or(plan);
    }
    if let Some(plan) = &first {
        draw_plan(plan, args.svg.as_deref(), args.mermaid.as_deref())?;
    }
    if let Some(config) = &config {
        check_database(&mut report, config).await;
    }
    if report.errors == 0 {
        println!("all good");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} error(s)", report.errors);
    Ok(ExitCode::FAILURE)
}

fn check_prompts(report: &mut Report, directory: &Path) -> Option<PromptLibrary> {
    match PromptLibrary::load(directory) {
        Ok(library) => {
            Report::good(format!("prompts {}: {} recordings", directory.display(), library.len()));
            library.warnings().iter().for_each(Report::warning);
            Some(library)
        }
        Err(error) => {
            report.error(error);
            None
        }
    }
}

fn check_plan(report: &mut Report, path: &Path, library: Option<&PromptLibrary>) -> Option<Plan> {
    let plan = match Plan::load(path) {
        Ok(plan) => plan,
        Err(error) => {
            report.error(error);
            return None;
        }
    };
    // Without prompts only the flow can be proved; their own errors have been told.
    let problems = check::check(&path.display().to_string(), &plan, &|name| library.is_none_or(|l| l.contains(name)));
    if problems.is_empty() {
        Report::good(format!("dialplan {}: {} states, all reachable, every way ends", path.display(), plan.states.len()));
    }
    for problem in &problems {
        report.error(problem);
    }
    Some(plan)
}

fn draw_plan(plan: &Plan, svg: Option<&Path>, mermaid: Option<&Path>) -> anyhow::Result<()> {
    for (path, text) in [(svg, draw::svg as fn(&Plan) -> String), (mermaid, draw::mermaid)] {
        if let Some(path) = path {
            std::fs::write(path, text(plan)).with_context(|| path.display().to_string())?;
            Report::good(format!("drawn: {}", path.display()));
        }
    }
    Ok(())
}

async fn check_database(report: &mut Report, config: &Config) {
    let Some(url) = config.database_url() else {
        return report.error("no database: set `database` in the configuration or VOCEGUIDA_DATABASE");
    };
    let db = match Db::open(&url).await {
        Ok(db) => db,
        Err(error) => return report.error(error),
    };
    let desk = Desk::new(db, Clock::real());
    match desk.audit(progress).await {
        Ok((children, wrong)) => {
            for mismatch in &wrong {
                report.error(format!("database: child {}: {}", mismatch.child.0, mismatch.what));
            }
            if wrong.is_empty() {
                Report::good(format!("database: what stands for {children} children follows from their operations"));
            }
        }
        Err(error) => report.error(error),
    }
    check_accounts(report, &desk).await;
}

async fn check_accounts(report: &mut Report, desk: &Desk) {
    let enti = match desk.enti().await {
        Ok(enti) => enti,
        Err(error) => return report.error(error),
    };
    for ente in enti {
        match desk.balance(ente.id).await {
            Ok(balance) => {
                for wrong in &balance.wrong {
                    report.error(format!("accounts of {}: {wrong}", ente.slug));
                }
                if balance.wrong.is_empty() {
                    Report::good(format!(
                        "accounts of {}: {} notices for {}; due is issued plus {} still open, for each of {} payers",
                        ente.slug, balance.notices, balance.issued, balance.open, balance.payers
                    ));
                }
            }
            Err(error) => report.error(format!("accounts of {}: {error}", ente.slug)),
        }
    }
}

/// Every thousandth child, on a terminal or not.
fn progress(done: usize, all: usize) {
    if done.is_multiple_of(1_000) {
        eprintln!("database: {done} of {all} children");
    }
}
