//! The desk on trial: every answer as the real desk would give it at a chosen instant, and nothing written.
//!
//! It reads in transactions that can only read, so the database itself sees to it. What would have been written is kept in memory as long as
//! the trial lasts, and judged with by what follows in it: what was cancelled in the trial can be undone in it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    Desk, DeskError, ente_of,
    guard::Limits,
    line::{Caller, DayOutlook, DeskUnavailable, Identification, Identified, LineDesk, LineHours, LineOutcome},
    operate::{Ground, ground, verdict_of},
};
use crate::{
    canteen::{
        ChildId, Choice, EnteId,
        code::ChildCode,
        marks::Marks,
        offer::Offered,
        rule::{Decision, Request},
        window::Window,
    },
    ops::clock::Clock,
    store::{Tx, Verdict},
};

/// What is spoken as the receipt number: as long as a real one, and none that could be taken for one.
pub const NO_RECEIPT: &str = "000000";

/// A desk of one trial.
#[derive(Debug)]
pub struct DryDesk {
    /// Under the trial's clock.
    desk: Desk,
    so_far: Mutex<SoFar>,
}

/// What the trial has done.
#[derive(Debug, Default)]
struct SoFar {
    marks: HashMap<ChildId, Marks>,
    /// Each operation's answer by its number in the call: sent twice, it is done once.
    answered: HashMap<u32, Verdict>,
    wrong: i64,
    guesses: i64,
    known: bool,
}

impl Desk {
    /// A trial that begins at `at`; its clock runs on from there.
    pub fn dry_run(&self, at: DateTime<Utc>) -> DryDesk {
        let desk = Self { clock: Clock::starting_at(at), ..self.clone() };
        DryDesk { desk, so_far: Mutex::default() }
    }
}

impl DryDesk {
    /// How many wrong codes were typed in this trial.
    pub fn wrong_codes(&self) -> i64 {
        self.so_far().wrong
    }

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        // Whoever held it while panicking left whole values behind.
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the child's orders are judged by at `at`, with what the trial has done.
    async fn ground(&self, tx: &mut Tx, at: DateTime<Utc>, ente: EnteId, child: ChildId) -> Result<Ground, DeskError> {
        let mut ground = ground(tx, ente, child).await?;
        ground.window = window_at(tx, ente, at).await?;
        if let Some(marks) = self.so_far().marks.get(&child) {
            ground.marks = marks.clone();
        }
        Ok(ground)
    }

    async fn judge(&self, ente: EnteId, child: ChildId, choice: Choice) -> Result<Decision, DeskError> {
        let mut tx = self.desk.db.read().await?;
        let at = tx.instant(&self.desk.clock).await?;
        Ok(self.ground(&mut tx, at, ente, child).await?.judge(at, Request::Phone(choice)))
    }

    async fn type_code(&self, caller: &Caller, code: &str) -> Result<Identification, DeskError> {
        let limits = Limits::default();
        let number = caller.number.as_deref().unwrap_or_default();
        let mut tx = self.desk.db.read().await?;
        let now = tx.instant(&self.desk.clock).await?;
        let mut counts = tx.guess_counts(caller.ente, number, now - limits.span).await?;
        let known = !number.is_empty() && tx.is_known_caller(caller.ente, number, now - super::guard::KNOWN_FOR).await?;
        let code = ChildCode::parse(code).ok();
        let child = match &code {
            Some(code) => tx.child_by_code(caller.ente, code).await?,
            None => None,
        };
        let mut so_far = self.so_far();
        counts.caller_wrong += so_far.wrong;
        counts.caller_guesses += so_far.guesses;
        counts.all_guesses += so_far.guesses;
        if limits.shuts_out(&counts, known || so_far.known) {
            return Ok(Identification::ShutOut);
        }
        if let Some(child) = child {
            so_far.known |= !number.is_empty();
            return Ok(Identification::Known(Identified { child }));
        }
        let guess = i64::from(code.is_some());
        so_far.wrong += 1;
        so_far.guesses += guess;
        counts.caller_wrong += 1;
        counts.caller_guesses += guess;
        counts.all_guesses += guess;
        Ok(Identification::Unknown { delay_ms: limits.delay_ms(&counts) })
    }
}

/// The window that holds at `at`: a change that waits holds from the cut-off of the day before its first day on.
async fn window_at(tx: &mut Tx, ente: EnteId, at: DateTime<Utc>) -> Result<Window, DeskError> {
    let window = ente_of(tx, ente).await?.window;
    let change = tx.window_change(ente).await?;
    let holds = change.filter(|change| change.first_day.pred_opt().is_none_or(|before| at >= window.closes_after(before)));
    Ok(holds.map_or(window, |change| Window { opens: change.opens, cutoff: change.cutoff, ..window }))
}

impl LineDesk for DryDesk {
    async fn hours(&self, ente: EnteId) -> Result<LineHours, DeskUnavailable> {
        let hours = async {
            let mut tx = self.desk.db.read().await?;
            let now = tx.instant(&self.desk.clock).await?;
            let window = window_at(&mut tx, ente, now).await?;
            let offered = Offered::from_bits(tx.phone_options(ente).await?);
            Ok::<_, DeskError>(LineHours { open: window.search_start(now).is_some(), opens: window.opens, closes: window.cutoff, offered })
        };
        Ok(hours.await?)
    }

    async fn identify(&self, caller: &Caller, code: &str) -> Result<Identification, DeskUnavailable> {
        Ok(self.type_code(caller, code).await?)
    }

    async fn preview(&self, caller: &Caller, child: ChildId, choice: Choice) -> Result<LineOutcome, DeskUnavailable> {
        let decision = self.judge(caller.ente, child, choice).await?;
        Ok(LineOutcome::of(Verdict::from(&decision), None))
    }

    async fn operate(
        &self,
        caller: &Caller,
        child: ChildId,
        choice: Choice,
        expected: Option<NaiveDate>,
        sequence: u32,
    ) -> Result<LineOutcome, DeskUnavailable> {
        let answered = self.so_far().answered.get(&sequence).copied();
        let verdict = if let Some(verdict) = answered {
            verdict
        } else {
            let decision = self.judge(caller.ente, child, choice).await?;
            let verdict = verdict_of(&decision, expected);
            let mut so_far = self.so_far();
            if let (Verdict::Accepted(_), Decision::Accepted { marks, .. }) = (verdict, decision) {
                so_far.marks.insert(child, marks);
            }
            so_far.answered.insert(sequence, verdict);
            verdict
        };
        Ok(LineOutcome::of(verdict, Some(NO_RECEIPT.to_owned())))
    }

    async fn outlook(&self, caller: &Caller, child: ChildId, days: usize) -> Result<Vec<DayOutlook>, DeskUnavailable> {
        let outlook = async {
            let mut tx = self.desk.db.read().await?;
            let now = tx.instant(&self.desk.clock).await?;
            Ok::<_, DeskError>(self.ground(&mut tx, now, caller.ente, child).await?.outlook(now, days))
        };
        Ok(outlook.await?)
    }
}
