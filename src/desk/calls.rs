//! Call detail records.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use super::{Desk, DeskError, ente_of, trail::MOST_COUNTED};
pub use crate::store::{CallOperation, CallRow, CallSort, ListedCall, PlanText};
use crate::{
    canteen::{EnteId, window::Window},
    store::{CallFilter, CallMore, NewCount},
};

/// Records read at once for an export.
pub const PAGE: i64 = 2_000;

/// Filters are offered by what occurred in so many days.
const WORDS_OF_DAYS: u64 = 31;

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something was registered in it.
    Registered,
    /// The caller hung up before anything was, and not on the last words.
    HungUp,
    /// The line said its last words, or the caller hung up on them.
    Ended,
    /// Something went wrong with it.
    Failed,
    /// The caller gave up before the answer.
    Abandoned,
    /// It was refused.
    Refused,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Registered, Self::HungUp, Self::Ended, Self::Failed, Self::Abandoned, Self::Refused];

    /// The word in the database and in addresses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::HungUp => "hung_up",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Refused => "refused",
        }
    }

    /// Of its word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }

    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Registered => "Operazione registrata",
            Self::HungUp => "Ha riagganciato senza operazioni",
            Self::Ended => "Conclusa senza operazioni",
            Self::Failed => "Caduta per un guasto",
            Self::Abandoned => "Interrotta prima della risposta",
            Self::Refused => "Rifiutata",
        }
    }

    /// Of a call whose way is not known: it was never answered, or is from before ways were kept.
    pub fn of_unanswered(call: &CallRow) -> Self {
        match (call.status, call.cause.as_str()) {
            (487, _) => Self::Abandoned,
            (300.., _) => Self::Refused,
            (_, "caller_hung_up" | "we_hung_up" | "abandoned") => Self::Ended,
            _ => Self::Failed,
        }
    }
}

/// A call to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its record.
    pub row: CallRow,
    /// What came of it.
    pub outcome: Outcome,
    /// Its way through the plan, where it was answered.
    pub flow: Option<Flow>,
}

/// A call's way through its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The plan.
    pub plan: Arc<PlanText>,
    /// What is counted of it.
    pub passages: Vec<Passage>,
    /// The state in which it ended.
    pub last_step: Option<String>,
    /// The whole way, as `voice::path` writes it.
    pub path: String,
}

/// Something that is counted of a call: a state that was reached (`from` is empty), a way from one state to another, or an end (`to` is empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// From which state.
    pub from: String,
    /// By which key, answer, or for which reason.
    pub way: String,
    /// To which state.
    pub to: String,
    /// How often in the call.
    pub passes: u32,
}

impl<'a> CallMore<'a> {
    fn new(call: &'a NewCall, dialplan: Option<i64>) -> Self {
        let row = &call.row;
        Self {
            seconds: row.answered_at.map_or(0, |at| (row.ended_at - at).num_seconds().max(0)),
            outcome: call.outcome.word(),
            dialplan,
            last_step: call.flow.as_ref().and_then(|flow| flow.last_step.as_deref()),
            path: call.flow.as_ref().map(|flow| flow.path.as_str()),
        }
    }
}

/// By day, plan, from, way, to: which is also the order in which rows are locked, the same on every node.
type Counts<'a> = BTreeMap<(EnteId, NaiveDate, i64, &'a str, &'a str, &'a str), (i64, i64)>;

impl Desk {
    /// Writes calls and counts the ways they took, all in one transaction; the same call twice is kept, and counted, once.
    pub async fn record_calls(&self, calls: &[NewCall]) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        let mut windows: Vec<(EnteId, Window)> = Vec::new();
        let mut plans: Vec<(&str, i64)> = Vec::new();
        let mut counts = Counts::new();
        for call in calls {
            let Some(flow) = &call.flow else {
                tx.add_call(&call.row, &CallMore::new(call, None)).await?;
                continue;
            };
            let fingerprint = flow.plan.fingerprint.as_str();
            let plan = if let Some((_, plan)) = plans.iter().find(|(known, _)| *known == fingerprint) {
                *plan
            } else {
                let plan = tx.put_dialplan(&flow.plan, call.row.started_at).await?;
                plans.push((fingerprint, plan));
                plan
            };
            let is_new = tx.add_call(&call.row, &CallMore::new(call, Some(plan))).await?;
            let Some(ente) = call.row.ente_id.map(EnteId).filter(|_| is_new) else { continue };
            let window = if let Some((_, window)) = windows.iter().find(|(known, _)| *known == ente) {
                *window
            } else {
                let window = ente_of(&mut tx, ente).await?.window;
                windows.push((ente, window));
                window
            };
            let day = window.local(call.row.started_at).date();
            for passage in &flow.passages {
                let key = (ente, day, plan, passage.from.as_str(), passage.way.as_str(), passage.to.as_str());
                let (calls, passes) = counts.entry(key).or_default();
                *calls += 1;
                *passes += i64::from(passage.passes);
            }
        }
        let counts = counts.into_iter().map(|((ente, day, plan, from, way, to), (calls, passes))| NewCount {
            ente,
            day,
            plan,
            from,
            way,
            to,
            calls,
            passes,
        });
        tx.count_traffic(&counts.collect::<Vec<_>>()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The last calls of an ente, newest first.
    pub async fn calls(&self, ente: EnteId, limit: i64) -> Result<Vec<CallRow>, DeskError> {
        Ok(self.db.read().await?.calls(ente, limit).await?)
    }

    /// The calls of an ente that began on these days of its time zone, oldest first, a page at a time: however many there are, a page
    /// is all that is held. `take` returns whether it wants more.
    pub async fn calls_between(
        &self,
        ente: EnteId,
        first: NaiveDate,
        last: NaiveDate,
        mut take: impl FnMut(&[ListedCall]) -> bool,
    ) -> Result<(), DeskError> {
        let asked = CallAsked { first, last, ..CallAsked::default() };
        let mut after = None;
        loop {
            let page = self.calls_page(ente, &asked, after.as_ref()).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = Some((end.row.started_at, end.row.id.clone()));
            if !take(&page) || (page.len() as i64) < PAGE {
                return Ok(());
            }
        }
    }

    /// The next page of the calls that fit, oldest first, for files: after the call that the page before ended with.
    pub async fn calls_page(
        &self,
        ente: EnteId,
        asked: &CallAsked,
        after: Option<&(DateTime<Utc>, String)>,
    ) -> Result<Vec<ListedCall>, DeskError> {
        let mut tx = self.db.read().await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let filter = asked.filter(&window);
        let from = filter.from;
        let (at, id) = after.map_or((from, ""), |(at, id)| (*at, id.as_str()));
        Ok(tx.calls_after(ente, &filter, (at, id), PAGE).await?)
    }

    /// A page of the calls that fit, and how many there are (up to [`MOST_COUNTED`]).
    pub async fn list_calls(
        &self,
        ente: EnteId,
        asked: &CallAsked,
        order: (CallSort, bool),
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<ListedCall>, i64), DeskError> {
        let mut tx = self.db.read().await?;
        let window = ente_of(&mut tx, ente).await?.window;
        Ok(tx.list_calls(ente, &asked.filter(&window), order, (limit, offset), MOST_COUNTED).await?)
    }

    /// What calls can be filtered by: trunks, and the states in which calls ended, by name, as they occur in the last days that are asked for; and what is
    /// asked for itself.
    pub async fn call_words(&self, ente: EnteId, asked: &CallAsked) -> Result<(Vec<String>, Vec<String>), DeskError> {
        let mut tx = self.db.read().await?;
        let window = ente_of(&mut tx, ente).await?.window;
        let first = asked.last.checked_sub_days(Days::new(WORDS_OF_DAYS)).unwrap_or(asked.last).max(asked.first);
        let days = CallAsked { first, last: asked.last, ..CallAsked::default() };
        let filter = days.filter(&window);
        let (mut trunks, mut steps) = tx.call_words(ente, filter.from, filter.to).await?;
        for (words, asked) in [(&mut trunks, &asked.trunk), (&mut steps, &asked.step)] {
            if !asked.is_empty() && !words.contains(asked) {
                words.push(asked.clone());
            }
        }
        Ok((trunks, steps))
    }

    /// One call of an ente, the plan that it went by, and what was done in it. `None` where there is no such call.
    pub async fn call_file(&self, ente: EnteId, id: &str) -> Result<Option<CallOnFile>, DeskError> {
        let mut tx = self.db.read().await?;
        let Some(call) = tx.call(ente, id).await? else { return Ok(None) };
        let plan = match call.dialplan_id {
            Some(plan) => tx.dialplan(plan).await?,
            None => None,
        };
        let operations = tx.operations_in_call(ente, id).await?;
        Ok(Some(CallOnFile { call, plan, operations }))
    }
}

/// Which calls are asked for; an empty text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallAsked {
    /// From this day of the ente's time zone.
    pub first: NaiveDate,
    /// To this one.
    pub last: NaiveDate,
    /// On this trunk.
    pub trunk: String,
    /// With this outcome's word.
    pub outcome: String,
    /// From a number that ends in these four digits.
    pub tail: String,
    /// That ended in this state.
    pub step: String,
}

impl CallAsked {
    fn filter(&self, window: &Window) -> CallFilter<'_> {
        let midnight = |day: NaiveDate| window.instant(day.and_time(NaiveTime::MIN));
        CallFilter {
            from: midnight(self.first),
            to: midnight(self.last.checked_add_days(Days::new(1)).unwrap_or(self.last)),
            trunk: &self.trunk,
            outcome: &self.outcome,
            tail: &self.tail,
            step: &self.step,
        }
    }
}

/// A call with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOnFile {
    /// The call.
    pub call: ListedCall,
    /// The plan that it went by.
    pub plan: Option<PlanText>,
    /// What was done in it, oldest first.
    pub operations: Vec<CallOperation>,
}

/// A caller's number for those who need not know it: its beginning (which network, which area), stars for the rest.
pub fn masked(number: &str) -> String {
    let wanted = if number.starts_with('+') { 6 } else { 4 };
    let shown = wanted.min(number.chars().count() / 2);
    number.chars().enumerate().map(|(index, c)| if index < shown { c } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn a_masked_number_tells_the_network_and_not_the_family() {
        for (number, shown) in
            [("3471234567", "3471******"), ("+393471234567", "+39347*******"), ("0182970000", "0182******"), ("112", "1**"), ("", "")]
        {
            assert_eq!(masked(number), shown);
        }
    }
}
