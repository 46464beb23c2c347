//! The command line: subcommands, wiring, signals.

mod bill;
pub mod call;
mod check;
mod child;
mod chores;
mod close_day;
pub mod demo;
mod explain;
mod export;
mod guesses;
mod import;
mod node;
mod notice;
mod place;
mod rule;
mod serve;
mod status;
mod tariff;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// The telephone line on which families cancel a school meal.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log lines as JSON.
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an invented school on the embedded database: dial in within a minute.
    Demo(demo::Args),
    /// Run the service under a configuration file.
    Serve(serve::Args),
    /// The rule as a filter: a JSON case a line in, an answer a line out.
    Rule(rule::Args),
    /// A little SIP telephone: dial, press keys, and see what was heard.
    Call(call::Args),
    /// Prove configuration, dialplans, prompts and database; draw the dialplan.
    Check(check::Args),
    /// Import roster and calendar from CSV and XLSX files, all or nothing.
    Import(import::Args),
    /// What stands for a child on each day.
    Child(child::Args),
    /// Which decision the rule would take, and why, step by step.
    Explain(explain::Args),
    /// Close the days whose cut-off has passed.
    CloseDay(close_day::Args),
    /// Look at a month, or issue its payment notices.
    Bill(bill::Args),
    /// Print a payment notice.
    Notice(notice::Args),
    /// Enter a tariff from a TOML file.
    Tariff(tariff::Args),
    /// Export the kitchen's head counts as CSV or XLSX, or the calls as CSV.
    Export(export::Args),
    /// Who typed wrong codes, and who is shut out.
    Guesses(guesses::Args),
    /// How a running node fares: trunks, registrations, calls, media.
    Status(status::Args),
    /// The office's people: add, list, disable, give a password.
    User(user::Args),
}

/// The stack logs whole SIP messages at `info`, keys in INFO among them: codes. They never get into
/// the log, whatever the operator asks for.
const ALWAYS_QUIET: [&str; 1] = ["rsipstack=error"];

fn start_logging(json: bool) {
    let wanted = std::env::var("VOCEGUIDA_LOG").unwrap_or_else(|_| "info,sqlx=warn".to_owned());
    let mut filter = EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    for directive in ALWAYS_QUIET.iter().filter_map(|d| d.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json { builder.json().init() } else { builder.init() }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(cli.log_json);
    if let Command::Rule(args) = &cli.command {
        // Plain reading and writing: no threads, no runtime.
        return report(rule::run(args));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(error.into())),
    };
    report(runtime.block_on(run(cli.command)))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Rule(args) => rule::run(&args),
        Command::Call(args) => call::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Child(args) => child::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::CloseDay(args) => close_day::run(args).await,
        Command::Bill(args) => bill::run(args).await,
        Command::Notice(args) => notice::run(args).await,
        Command::Tariff(args) => tariff::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Guesses(args) => guesses::run(args).await,
        Command::Status(args) => status::run(&args),
        Command::User(args) => user::run(args).await,
    }
}

fn report(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("voceguida: {error:#}");
        ExitCode::FAILURE
    })
}
