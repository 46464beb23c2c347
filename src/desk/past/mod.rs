//! The demo's invented past, written down as the desk would have written it, day by day.
//!
//! What is seldom goes through the desk's own use cases under a clock that stands at its instant: imports, closures, what the office does after a cut-off. What
//! is there by the thousand, calls and operations and the closing of days, is written as those use cases write it, many in one transaction, with the rule's
//! answers that the past brings along.

mod mail;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt as _, SeedableRng as _, rngs::ChaCha12Rng};
use serde_json::json;

use super::{
    Desk, DeskError,
    behalf::OfficeOrder,
    calendar::CalendarError,
    calls::{Flow, NewCall, Outcome},
    import::{ImportError, ImportOptions},
    trail::{self, Actor, Subject},
};
use crate::{
    canteen::{
        Channel, ChildId, DayState, EnteId,
        book::{Change, Place},
        code::ChildCode,
        demo::past::{Answer, Closure, Deed, End, Event, PastCall, Told, What},
        marks::Marks,
        roster::{Roster, Scope},
        rule::replay,
    },
    ops::clock::{Clock, to_micros},
    store::{CallRow, NewMeal, NewOperation, StoreError, Tx, Verdict},
};

/// Events in one transaction.
const TOGETHER: usize = 400;
/// For how long wrong codes are kept.
const WRONG_CODES: TimeDelta = TimeDelta::days(30);
/// For how long the trail knows when the clerk came.
const TRAIL: TimeDelta = TimeDelta::days(120);
/// Seed of receipts and of the ids of calls.
const SEED: u64 = 0x7265_6365_6970_7473;

/// What came of a call, and its way through the line's plan, where that is known.
pub type FlowOf<'a> = dyn Fn(&PastCall) -> Option<(Outcome, Flow)> + Sync + 'a;

/// Why the past could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The desk could not.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A roster was refused.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A closure was refused.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// The desk judged otherwise than the past: the invented school and the database are not the same.
    #[error("the past does not fit the database at {0}")]
    Unlike(DateTime<Utc>),
}

impl Desk {
    /// Writes a past into an ente that has none yet. `clerk` is who did the office's part of it; `flow` tells the way of
    /// each call through the line's plan; `progress` hears how many of all events are done.
    ///
    /// # Errors
    /// [`PastError`]; what was written until then stays.
    pub async fn live_through(
        &self,
        ente: EnteId,
        clerk: &Actor,
        told: &Told,
        flow: &FlowOf<'_>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<(), PastError> {
        let mut rng = ChaCha12Rng::seed_from_u64(SEED);
        let ids = told.calls.iter().map(|_| uuid::Builder::from_random_bytes(rng.random()).into_uuid().to_string()).collect();
        let children = told.past.rosters.last().map_or(0, |roster| roster.children.len());
        let until = self.clock.now();
        let mut scribe = Scribe {
            desk: self,
            ente,
            clerk,
            told,
            ids,
            rng,
            children: vec![None; children],
            marks: vec![Marks::default(); children],
            schools: HashMap::new(),
            tx: None,
            until,
            flow,
            ended: Vec::new(),
        };
        let all = told.past.events.len();
        for (n, event) in told.past.events.iter().enumerate() {
            if n.is_multiple_of(TOGETHER) {
                scribe.flush().await?;
                progress(n, all);
            }
            scribe.write(event).await?;
        }
        let window = super::ente_of(scribe.tx().await?, ente).await?.window;
        scribe.letters_to_newcomers(&window).await?;
        scribe.flush().await?;
        progress(all, all);
        Ok(())
    }

    /// The desk as it was at an instant.
    fn back_at(&self, at: DateTime<Utc>) -> Self {
        Self { clock: Clock::starting_at(at), has_mail: false, ..self.clone() }
    }
}

/// A child as it is enrolled at the moment.
#[derive(Clone)]
struct Enrolled {
    id: ChildId,
    school: i64,
    class: i64,
    diet: String,
    name: String,
}

struct Scribe<'a> {
    desk: &'a Desk,
    ente: EnteId,
    clerk: &'a Actor,
    told: &'a Told,
    /// Ids of the calls.
    ids: Vec<String>,
    rng: ChaCha12Rng,
    children: Vec<Option<Enrolled>>,
    marks: Vec<Marks>,
    /// Schools by code.
    schools: HashMap<String, i64>,
    tx: Option<Tx>,
    until: DateTime<Utc>,
    flow: &'a FlowOf<'a>,
    /// Calls that are over and wait to be written down, as the line's own do.
    ended: Vec<NewCall>,
}

impl Scribe<'_> {
    async fn tx(&mut self) -> Result<&mut Tx, StoreError> {
        let tx = match self.tx.take() {
            Some(tx) => tx,
            None => self.desk.db.write().await?,
        };
        Ok(self.tx.insert(tx))
    }

    async fn flush(&mut self) -> Result<(), DeskError> {
        if let Some(tx) = self.tx.take() {
            tx.commit().await?;
        }
        if !self.ended.is_empty() {
            self.desk.record_calls(&self.ended).await?;
            self.ended.clear();
        }
        Ok(())
    }

    async fn write(&mut self, event: &Event) -> Result<(), PastError> {
        let at = to_micros(event.at);
        match &event.what {
            What::Import(year) => self.import(at, *year).await,
            What::Letters(year, class) => self.letters(at, *year, *class).await,
            What::Closure(closure) => self.close(at, closure).await,
            What::WrongCode { call, guess } => {
                let (ente, caller, id) = (self.ente, self.caller(*call), self.ids.get(*call).cloned().unwrap_or_default());
                if at > self.until - WRONG_CODES {
                    self.tx().await?.add_wrong_code(ente, &caller.unwrap_or_default(), &id, at, *guess).await?;
                }
                Ok(())
            }
            What::Order { call, nth, child, choice, answer } => {
                let (caller, id) = (self.caller(*call), self.ids.get(*call).cloned().unwrap_or_default());
                let Some(enrolled) = self.enrolled(*child) else { return Err(PastError::Unlike(at)) };
                let key = format!("{id}/{nth}");
                let new = NewOperation {
                    ente: self.ente,
                    child: enrolled.id,
                    channel: Channel::Phone.word(),
                    actor: caller.as_deref().unwrap_or("withheld"),
                    call_id: Some(&id),
                    key: &key,
                    at,
                    choice: *choice,
                    until: None,
                    note: None,
                    late: false,
                };
                self.operate(*child, &new, *answer).await?;
                Ok(())
            }
            What::Call(call) => {
                let (Some(record), Some(id)) = (self.told.calls.get(*call), self.ids.get(*call).cloned()) else { return Ok(()) };
                let row = call_row(self.ente, id, record, &mut self.rng);
                let flow = (self.flow)(record);
                let outcome = flow.as_ref().map_or_else(|| Outcome::of_unanswered(&row), |(outcome, _)| *outcome);
                self.ended.push(NewCall { row, outcome, flow: flow.map(|(_, flow)| flow) });
                let ente = self.ente;
                let tx = self.tx().await?;
                if let Some(caller) = record.caller.as_deref().filter(|_| record.known) {
                    tx.put_known_caller(ente, caller, at).await?;
                }
                Ok(())
            }
            What::Deed(deed) => self.deed(at, deed).await,
            What::Closing { day, meals } => {
                let mut of_school: HashMap<i64, Vec<NewMeal>> = self.schools.values().map(|id| (*id, Vec::new())).collect();
                for (child, state) in meals {
                    let Some(enrolled) = self.enrolled(*child) else { return Err(PastError::Unlike(at)) };
                    let meal = NewMeal { child: enrolled.id, class_id: enrolled.class, diet: enrolled.diet, state: *state };
                    of_school.entry(enrolled.school).or_default().push(meal);
                }
                let served = !meals.is_empty();
                if served && at > self.until - TRAIL {
                    let early = TimeDelta::seconds(self.rng.random_range(2_400..4_200));
                    self.arrive(at - early).await?;
                }
                let cooked = |meals: &Vec<NewMeal>| meals.iter().filter(|m| matches!(m.state, DayState::Served | DayState::White)).count();
                let cooked = of_school.iter().map(|(school, meals)| (*school, cooked(meals))).collect();
                let tx = self.tx().await?;
                for (school, meals) in of_school {
                    tx.put_closed_day(school, *day, at + TimeDelta::milliseconds(40), &meals).await?;
                }
                if served { self.tell_kitchen(at, *day, &cooked).await } else { Ok(()) }
            }
        }
    }

    fn caller(&self, call: usize) -> Option<String> {
        self.told.calls.get(call).and_then(|call| call.caller.clone())
    }

    fn enrolled(&self, child: usize) -> Option<Enrolled> {
        self.children.get(child).cloned().flatten()
    }

    async fn import(&mut self, at: DateTime<Utc>, year: usize) -> Result<(), PastError> {
        self.flush().await?;
        let Some(roster) = self.told.past.rosters.get(year) else { return Ok(()) };
        let name = roster.calendar.school_year.clone().unwrap_or_default();
        let title = format!("iscrizioni-{}.xlsx", name.replace('/', "-"));
        self.desk.back_at(at).apply_import(self.clerk, &title, roster, ImportOptions::default(), None).await?;
        let mut tx = self.desk.db.read().await?;
        self.schools = tx.schools(self.ente).await?.into_iter().map(|school| (school.code, school.id)).collect();
        let row = tx.school_year_named(self.ente, &name).await?.ok_or(PastError::Unlike(at))?;
        let classes: HashMap<_, _> = tx.classes(row.id).await?.into_iter().map(|class| ((class.school, class.name), class.id)).collect();
        let places: HashMap<_, _> = self.told.past.rosters.last().into_iter().flat_map(|r| &r.children).map(|c| &c.code).zip(0..).collect();
        for child in &roster.children {
            let code = child.code.as_deref().and_then(|code| ChildCode::parse(code).ok()).ok_or(PastError::Unlike(at))?;
            let id = tx.child_by_code(self.ente, &code).await?.ok_or(PastError::Unlike(at))?;
            let class = classes.get(&(child.school.clone(), child.class.clone())).copied().ok_or(PastError::Unlike(at))?;
            let school = self.schools.get(&child.school).copied().ok_or(PastError::Unlike(at))?;
            let slot = places.get(&child.code).and_then(|place: &usize| self.children.get_mut(*place)).ok_or(PastError::Unlike(at))?;
            let name = format!("{} {}", child.last_name, child.first_name);
            *slot = Some(Enrolled { id, school, class, diet: child.diet.clone(), name });
        }
        Ok(())
    }

    async fn letters(&mut self, at: DateTime<Utc>, year: usize, class: usize) -> Result<(), PastError> {
        let rosters = &self.told.past.rosters;
        let Some((roster, row)) = rosters.get(year).and_then(|roster| Some((roster, roster.classes.get(class)?))) else { return Ok(()) };
        let in_class: Vec<&str> = roster
            .children
            .iter()
            .filter(|child| child.school == row.school && child.class == row.name)
            .filter_map(|child| child.code.as_deref())
            .collect();
        let places = rosters.last().into_iter().flat_map(|r| &r.children).map(|child| child.code.as_deref().unwrap_or_default()).zip(0..);
        let children: Vec<Enrolled> =
            places.filter(|(code, _)| in_class.contains(code)).filter_map(|(_, place)| self.enrolled(place)).collect();
        let Some(first) = children.first() else { return Ok(()) };
        let title = format!("{}, {}", row.name, school_name(roster, &row.school));
        let (ente, clerk, id) = (self.ente, self.clerk, first.class);
        let tx = self.tx().await?;
        for child in &children {
            tx.add_letter(ente, child.id, at, &clerk.name, None).await?;
        }
        let subject = Subject { kind: "classe", id: Some(id), name: &title };
        let after = Some(json!({ "lettere": children.len() }));
        Ok(trail::record(tx, at, clerk, "ha stampato lettere con i codici", subject, None, after).await?)
    }

    async fn close(&mut self, at: DateTime<Utc>, closure: &Closure) -> Result<(), PastError> {
        self.flush().await?;
        let school = |code: &String| self.schools.get(code).copied();
        let place = match &closure.scope {
            Scope::Ente => Some(Place::Ente),
            Scope::School { school: code } => school(code).map(Place::School),
            Scope::Class { school: code, class } => {
                let book = self.desk.calendar_book(self.ente).await?;
                // Of the years' classes of that name the latest: closures are entered in their own year.
                let found = school(code)
                    .and_then(|school| book.classes.iter().filter(|c| c.school == school && c.name == *class).max_by_key(|c| c.id));
                found.map(|found| Place::Class { school: found.school, class: found.id })
            }
        };
        let place = place.ok_or(PastError::Unlike(at))?;
        let change =
            Change::Close { place, first: closure.first, last: closure.last, kind: closure.kind, reason: closure.reason.to_owned() };
        self.desk.back_at(at).change_calendar(self.clerk, &[change], None).await?;
        Ok(())
    }

    /// Writes an operation and what stands after it; gives its receipt.
    async fn operate(&mut self, child: usize, new: &NewOperation<'_>, answer: Answer) -> Result<String, PastError> {
        let verdict = verdict(answer);
        let before = self.marks.get(child).cloned().unwrap_or_default();
        let mut rng = ChaCha12Rng::seed_from_u64(self.rng.random());
        let tx = self.tx().await?;
        let (operation, receipt) = tx.add_operation(new, verdict, &mut rng).await?;
        if let Answer::Accepted(day) = answer {
            let after = replay(new.choice, day, new.until, &before).map_err(|_| PastError::Unlike(new.at))?;
            tx.put_marks(new.child, operation, &before, &after).await?;
            if let Some(marks) = self.marks.get_mut(child) {
                *marks = after;
            }
        }
        Ok(receipt)
    }

    async fn deed(&mut self, at: DateTime<Utc>, deed: &Deed) -> Result<(), PastError> {
        let Some(enrolled) = self.enrolled(deed.child) else { return Err(PastError::Unlike(at)) };
        let key = format!("demo/{}/{}", enrolled.id.0, at.timestamp_micros());
        let clerk = self.clerk;
        let subject = Subject { kind: "bambino", id: Some(enrolled.id.0), name: &enrolled.name };
        trail::record(self.tx().await?, at - TimeDelta::seconds(40), clerk, "ha guardato la pagina di un bambino", subject, None, None)
            .await?;
        if deed.note.is_some() {
            self.flush().await?;
            let order = OfficeOrder { child: enrolled.id, choice: deed.choice, day: deed.day, until: deed.until, note: deed.note };
            let (receipt, _) = self.desk.back_at(at).operate_for(clerk, &order, &key).await?;
            if receipt.verdict != verdict(deed.answer) {
                return Err(PastError::Unlike(at));
            }
            if let (Answer::Accepted(day), Some(marks)) = (deed.answer, self.marks.get_mut(deed.child)) {
                *marks = replay(deed.choice, day, deed.until, marks).map_err(|_| PastError::Unlike(at))?;
            }
            return Ok(());
        }
        let new = NewOperation {
            ente: self.ente,
            child: enrolled.id,
            channel: Channel::Office.word(),
            actor: &clerk.name,
            call_id: None,
            key: &key,
            at,
            choice: deed.choice,
            until: deed.until,
            note: None,
            late: false,
        };
        let receipt = self.operate(deed.child, &new, deed.answer).await?;
        let done = json!({ "operazione": deed.choice, "giorno": deed.day, "ricevuta": receipt, "motivo": deed.note });
        Ok(trail::record(self.tx().await?, at, clerk, "ha fatto un'operazione per la famiglia", subject, None, Some(done)).await?)
    }
}

fn school_name(roster: &Roster, code: &str) -> String {
    roster.schools.iter().find(|school| school.code == code).map(|school| school.name.clone()).unwrap_or_default()
}

fn verdict(answer: Answer) -> Verdict {
    match answer {
        Answer::Accepted(day) => Verdict::Accepted(day),
        Answer::Refused(reason, day) => Verdict::Refused(reason, day),
    }
}

/// A record as the line would have written it.
fn call_row(ente: EnteId, id: String, call: &PastCall, rng: &mut ChaCha12Rng) -> CallRow {
    let answered_at = (call.end != End::Abandoned).then(|| call.started_at + TimeDelta::milliseconds(260));
    let spoken = answered_at.map_or(TimeDelta::zero(), |at| call.ended_at - at);
    let packets = spoken.num_milliseconds().max(0) / 20;
    let (cause, released_by, q850) = match call.end {
        End::Caller => ("caller_hung_up", "caller", 16),
        End::Line => ("we_hung_up", "line", 16),
        End::Abandoned => ("abandoned", "caller", 16),
        End::DeadMedia => ("dead media", "line", 38),
    };
    // Most come over good lines, some from a mobile telephone at the edge of its cell.
    let poor = rng.random_ratio(1, 14);
    let loss = if poor { rng.random_range(80..600) } else { rng.random_range(0..12) };
    let jitter_us = if poor { rng.random_range(9_000..38_000) } else { rng.random_range(300..4_000) };
    let mos = if poor { rng.random_range(290..385) } else { rng.random_range(424..438) };
    let heard = answered_at.is_some();
    CallRow {
        sip_call_id: format!("{id}@voce.example"),
        id,
        ente_id: Some(ente.0),
        trunk: "demo".to_owned(),
        caller: call.caller.clone(),
        called: "800123456".to_owned(),
        diverted_from: None,
        peer: "127.0.0.1:5070".to_owned(),
        user_agent: None,
        started_at: to_micros(call.started_at),
        ringing_at: Some(to_micros(call.started_at + TimeDelta::milliseconds(15))),
        answered_at: answered_at.map(to_micros),
        ended_at: to_micros(call.ended_at),
        status: if heard { 200 } else { 487 },
        cause: cause.to_owned(),
        q850: Some(q850),
        reason: None,
        released_by: Some(released_by.to_owned()),
        codec: heard.then(|| "PCMA".to_owned()),
        srtp: false,
        packets_sent: packets,
        packets_received: packets - packets * loss / 10_000,
        packets_lost: heard.then_some(packets * loss / 10_000),
        loss: heard.then_some(loss),
        jitter_us: heard.then_some(jitter_us),
        mos: heard.then_some(mos),
        digits: i64::from(call.keys),
        dtmf: (call.keys > 0).then(|| "rfc4733".to_owned()),
    }
}
