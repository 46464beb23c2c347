//! The whole way, from a parent's key to "registrata": the real program, real SIP and RTP over the loopback, a real database.
//!
//! Each call is another family's. What counts is the time from the first packet of the confirming key to the first packet of
//! "registrata", and that nobody has heard it whose cancellation does not stand (S3).

mod call;
mod cpu;
mod drive;
mod ear;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod program;
mod sip;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use voceguida::voice::prompts::PromptLibrary;

use self::{call::Times, drive::Callers, ear::Prompts, program::Program};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Database {
    /// The embedded one.
    Sqlite,
    /// A private cluster, durable.
    Postgres,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which database.
    pub database: Database,
    /// Calls a second, one rung after the other.
    pub rates: Vec<f64>,
    /// The length of a rung.
    pub seconds: f64,
    /// Have the families called before?
    pub known: bool,
    /// Calls before the first rung, that are not measured.
    pub warm_up: usize,
    /// The program; the one just built where not told.
    pub program: Option<PathBuf>,
}

/// What a rung has shown.
#[derive(Debug)]
pub struct Rung {
    /// Calls a second, as asked for.
    pub rate: f64,
    /// Callers who heard "registrata".
    pub done: usize,
    /// Why others failed, and how many.
    pub failed: HashMap<String, usize>,
    /// Cancellations that stand though nobody heard of them: their caller gave up first.
    pub unheard: usize,
    /// The most calls at once.
    pub at_once: usize,
    /// From the confirming key to "registrata": p50, p95, p99, the longest.
    pub registered: [Duration; 4],
    /// p99 from the last digit to the menu, from 1 to the day, from INVITE to 200.
    pub others: [Duration; 3],
    /// CPU of the program, and of the database's own processes, for each cancellation.
    pub cpu: [Duration; 2],
    /// Of the machine, from 0 to 1.
    pub busy: f64,
    /// The longest time that the callers were not listening.
    pub blind: Duration,
}

/// Runs every rung on one database. Panics where the program does not start, or where somebody has heard "registrata" and nothing stands.
pub fn run(settings: &Settings, mut told: impl FnMut(&Rung)) -> Vec<Rung> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (url, keeper) = match settings.database {
        Database::Sqlite => (format!("sqlite:{}", directory.path().join("carico.db").display()), None),
        Database::Postgres => (postgres::durable_cluster().fresh_database(), postgres::durable_cluster().keeper()),
    };
    let sizes: Vec<usize> = settings.rates.iter().map(|rate| (rate * settings.seconds).ceil() as usize).collect();
    let mut families = runtime.block_on(program::prepare(&url, sizes.iter().sum::<usize>() + settings.warm_up, settings.known));
    let program = Program::start(settings.program.as_deref(), directory.path(), &url);
    let prompts = PromptLibrary::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/it")).expect("the prompts");
    let mut callers = Callers::new(program.sip, program::CALLED, Prompts::new(&prompts.clips())).expect("sockets");
    let warm_up = families.split_off(families.len() - settings.warm_up);
    let mut heard: Vec<String> = callers.run(&warm_up, 20.0).expect("sockets").registered.into_iter().map(|(code, _)| code).collect();
    let mut rungs = Vec::new();
    for (rate, size) in settings.rates.iter().zip(sizes) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let mine = families.split_off(families.len() - size);
        let cpu = || [cpu::of_process(program.pid()), keeper.map_or(Duration::ZERO, cpu::of_children)];
        let (before, idle, began) = (cpu(), cpu::idle(), Instant::now());
        let outcome = callers.run(&mine, *rate).expect("sockets");
        let (after, idle, took) = (cpu(), cpu::idle().saturating_sub(idle), began.elapsed() * cores);
        let done = outcome.registered.len();
        let mut failed = HashMap::new();
        for why in outcome.failed {
            *failed.entry(why).or_default() += 1;
        }
        let quantiles = |of: fn(&Times) -> Duration| {
            let mut sorted: Vec<Duration> = outcome.registered.iter().map(|(_, times)| of(times)).collect();
            sorted.sort_unstable();
            [0.5, 0.95, 0.99, 1.0]
                .map(|q: f64| sorted.get(((sorted.len() as f64 * q).ceil() as usize).max(1) - 1).copied().unwrap_or_default())
        };
        let registered = quantiles(|t| t.registered);
        let others = [quantiles(|t| t.menu)[2], quantiles(|t| t.day)[2], quantiles(|t| t.answer)[2]];
        heard.extend(outcome.registered.iter().map(|(code, _)| code.clone()));
        let (stand, accepted) = runtime.block_on(program::cancelled(&url));
        let lost: Vec<&String> = heard.iter().filter(|code| !stand.contains(*code)).collect();
        assert!(lost.is_empty(), "{} callers heard \"registrata\" and nothing stands", lost.len());
        assert_eq!(accepted as usize, stand.len(), "each cancellation was accepted once");
        let rung = Rung {
            rate: *rate,
            done,
            failed,
            unheard: stand.len() - heard.len(),
            at_once: outcome.at_once,
            registered,
            others,
            cpu: std::array::from_fn(|of| after[of].saturating_sub(before[of]) / done.max(1) as u32),
            busy: 1.0 - idle.as_secs_f64() / took.as_secs_f64(),
            blind: outcome.blind,
        };
        told(&rung);
        rungs.push(rung);
    }
    program.stop();
    rungs
}
