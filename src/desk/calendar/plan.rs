//! What a change of the calendar does: to whom, on which days, to what was cancelled, and to meals that are counted already.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use chrono::{DateTime, Days, NaiveDate, Utc};
use sha2::{Digest as _, Sha256};

use super::{CalendarError, LONGEST_CLOSURE};
use crate::{
    canteen::{
        DayState, EnteId,
        book::{Book, Change, Place, difference},
        calendar::ServiceCalendar,
        marks::Suspensions,
        window::Window,
    },
    desk::{closing::last_past_day, ente_of},
    store::{Pupil, StandingRow, Tx},
};

/// Children by what stands for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Eat.
    pub served: u32,
    /// Eat white.
    pub white: u32,
    /// Cancelled.
    pub cancelled: u32,
    /// Suspended.
    pub suspended: u32,
}

impl Counts {
    /// Meals.
    pub fn meals(self) -> u32 {
        self.served + self.white
    }

    /// Children.
    pub fn children(self) -> u32 {
        self.meals() + self.cancelled + self.suspended
    }

    /// One child more.
    pub fn add(&mut self, state: DayState) {
        match state {
            DayState::Served => self.served += 1,
            DayState::White => self.white += 1,
            DayState::Cancelled => self.cancelled += 1,
            DayState::Suspended => self.suspended += 1,
            DayState::NoService => {}
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            served: self.served + other.served,
            white: self.white + other.white,
            cancelled: self.cancelled + other.cancelled,
            suspended: self.suspended + other.suspended,
        }
    }
}

/// What becomes of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DayEffect {
    /// For whom there is no service any more, by what stood.
    pub lost: Counts,
    /// For whom there is service now, by what stands then.
    pub gained: Counts,
    /// The day's meals are counted already (in a school of those concerned).
    pub counted: bool,
    /// After the cut-off: children for whom there is service again, but of whom nobody knew: they are not booked and not billed.
    pub unbooked: u32,
}

impl DayEffect {
    fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost.plus(other.lost),
            gained: self.gained.plus(other.gained),
            counted: self.counted || other.counted,
            unbooked: self.unbooked + other.unbooked,
        }
    }
}

/// A meal record that gets a correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Child's row.
    pub child: i64,
    /// Day.
    pub day: NaiveDate,
    /// School's row.
    pub school: i64,
    /// Class's row.
    pub class: i64,
    /// Diet.
    pub diet: String,
    /// What stands.
    pub was: DayState,
    /// What will stand.
    pub becomes: DayState,
}

/// On which day the next telephone operation falls, for some classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Now.
    pub was: Option<NaiveDate>,
    /// Afterwards.
    pub becomes: Option<NaiveDate>,
    /// For how many classes.
    pub classes: usize,
}

/// What changes of the calendar do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The changes.
    pub changes: Vec<Change>,
    /// The calendar as it is before them.
    pub book: Book,
    /// Each day on which something changes.
    pub days: BTreeMap<NaiveDate, DayEffect>,
    /// Children concerned on one day at least.
    pub children: usize,
    /// Cancellations and white meals, with their receipts, that lose their meaning because there is no service: they stay on record and are not moved.
    pub falling: Vec<StandingRow>,
    /// Cancellations and white meals, registered before, that count again.
    pub returning: Vec<StandingRow>,
    /// Records of closed days that are corrected.
    pub corrections: Vec<Planned>,
    /// Where the next telephone operation falls now and afterwards, where that changes.
    pub moves: Vec<Move>,
    /// Says whether two plans are the same.
    pub fingerprint: String,
}

impl Plan {
    /// All days together.
    pub fn totals(&self) -> DayEffect {
        self.days.values().fold(DayEffect::default(), |sum, day| sum.plus(*day))
    }

    /// Meals of closed days that were counted and will not be billed.
    pub fn unbilled(&self) -> usize {
        let eaten = |state| matches!(state, DayState::Served | DayState::White);
        self.corrections.iter().filter(|c| eaten(c.was) && !eaten(c.becomes)).count()
    }

    /// Meals of closed days that will be billed and were not.
    pub fn billed(&self) -> usize {
        let eaten = |state| matches!(state, DayState::Served | DayState::White);
        self.corrections.iter().filter(|c| !eaten(c.was) && eaten(c.becomes)).count()
    }
}

/// Plans.
pub(super) async fn plan(tx: &mut Tx, ente: EnteId, at: DateTime<Utc>, changes: &[Change]) -> Result<Plan, CalendarError> {
    let window = ente_of(tx, ente).await?.window;
    let book = tx.calendar_book(ente, None).await?;
    for change in changes {
        check(tx, ente, &book, change).await?;
    }
    let after = changes.iter().fold(book.clone(), |book, change| book.with(change));
    if after == book {
        return Err(CalendarError::Nothing);
    }
    let (was, becomes) = (book.calendars(), after.calendars());
    let never = ServiceCalendar::never();
    let differs: BTreeMap<i64, (Vec<NaiveDate>, Vec<NaiveDate>)> = was
        .iter()
        .map(|(class, before)| (*class, difference(before, becomes.get(class).unwrap_or(&never))))
        .filter(|(_, (lost, gained))| !lost.is_empty() || !gained.is_empty())
        .collect();
    let mut plan = Plan {
        changes: changes.to_vec(),
        days: BTreeMap::new(),
        children: 0,
        falling: Vec::new(),
        returning: Vec::new(),
        corrections: Vec::new(),
        moves: moves(&window, at, &was, &becomes),
        fingerprint: String::new(),
        book,
    };
    let all = || differs.values().flat_map(|(lost, gained)| lost.iter().chain(gained));
    if let (Some(first), Some(last)) = (all().min().copied(), all().max().copied()) {
        let ground = Ground::load(tx, ente, &window, at, first, last).await?;
        ground.weigh(&mut plan, &differs)?;
    }
    plan.fingerprint = fingerprint(&plan);
    Ok(plan)
}

/// What is known of the days concerned.
struct Ground {
    last_past: NaiveDate,
    closed: BTreeSet<(i64, NaiveDate)>,
    schools: BTreeMap<i64, i64>,
    pupils: BTreeMap<i64, Vec<Pupil>>,
    standing: BTreeMap<(i64, NaiveDate), StandingRow>,
    suspensions: BTreeMap<i64, Suspensions>,
    /// Meals of closed days by class and day; the state before a closure, where the last word is a closure's.
    meals: BTreeMap<(i64, NaiveDate), Vec<crate::store::MealNow>>,
    recorded: BTreeSet<(i64, NaiveDate)>,
}

impl Ground {
    async fn load(
        tx: &mut Tx,
        ente: EnteId,
        window: &Window,
        at: DateTime<Utc>,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Self, CalendarError> {
        let last_past = last_past_day(window, at);
        let mut pupils: BTreeMap<i64, Vec<Pupil>> = BTreeMap::new();
        let mut schools = BTreeMap::new();
        for pupil in tx.all_pupils(ente).await? {
            schools.insert(pupil.class_id, pupil.school_id);
            pupils.entry(pupil.class_id).or_default().push(pupil);
        }
        let mut meals: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut recorded = BTreeSet::new();
        if first <= last_past {
            for meal in tx.meals_now(ente, first, last.min(last_past)).await? {
                recorded.insert((meal.child_id, meal.day));
                schools.insert(meal.class_id, meal.school_id);
                meals.entry((meal.class_id, meal.day)).or_default().push(meal);
            }
        }
        Ok(Self {
            last_past,
            closed: tx.closed_days(ente, first, last).await?,
            schools,
            pupils,
            standing: tx.standing(ente, first, last).await?.into_iter().map(|row| ((row.child_id, row.day), row)).collect(),
            suspensions: tx.suspensions_between(ente, first, last).await?,
            meals,
            recorded,
        })
    }

    /// What stands for a child by its marks alone.
    fn marked(&self, child: i64, day: NaiveDate) -> DayState {
        if self.suspensions.get(&child).is_some_and(|s| s.covering(day).is_some()) {
            return DayState::Suspended;
        }
        match self.standing.get(&(child, day)).map(|row| row.kind.as_str()) {
            Some("cancelled") => DayState::Cancelled,
            Some(_) => DayState::White,
            None => DayState::Served,
        }
    }

    fn weigh(&self, plan: &mut Plan, differs: &BTreeMap<i64, (Vec<NaiveDate>, Vec<NaiveDate>)>) -> Result<(), CalendarError> {
        let may_correct = plan.changes.iter().all(|c| matches!(c, Change::Close { .. } | Change::Reopen { .. }));
        let book_again = plan.changes.iter().any(|c| matches!(c, Change::Reopen { book: true, .. }));
        let mut concerned = BTreeSet::new();
        for (class, (lost, gained)) in differs {
            for (days, gains) in [(lost, false), (gained, true)] {
                for day in days {
                    let is_counted = self.schools.get(class).is_some_and(|school| self.closed.contains(&(*school, *day)));
                    if !is_counted && *day <= self.last_past {
                        // Before this system counted: nothing is kept of that day.
                        continue;
                    }
                    let mut effect = DayEffect { counted: is_counted, ..DayEffect::default() };
                    match (is_counted, gains) {
                        (false, _) => self.weigh_open(plan, &mut effect, &mut concerned, *class, *day, gains),
                        (true, false) => self.weigh_lost(plan, &mut effect, &mut concerned, *class, *day),
                        (true, true) => self.weigh_gained(plan, &mut effect, &mut concerned, *class, *day, book_again),
                    }
                    if is_counted && !may_correct && effect.lost.children() + effect.gained.children() + effect.unbooked > 0 {
                        return Err(CalendarError::Counted(*day));
                    }
                    let sum = plan.days.entry(*day).or_default();
                    *sum = sum.plus(effect);
                }
            }
        }
        plan.children = concerned.len();
        Ok(())
    }

    /// A day that can still be changed: children are booked, or not, by the calendar.
    fn weigh_open(&self, plan: &mut Plan, effect: &mut DayEffect, concerned: &mut BTreeSet<i64>, class: i64, day: NaiveDate, gains: bool) {
        for pupil in self.pupils.get(&class).into_iter().flatten().filter(|p| p.is_enrolled(day)) {
            concerned.insert(pupil.id);
            let state = self.marked(pupil.id, day);
            if gains {
                effect.gained.add(state);
            } else {
                effect.lost.add(state);
            }
            if let Some(row) = self.standing.get(&(pupil.id, day)) {
                if gains { plan.returning.push(row.clone()) } else { plan.falling.push(row.clone()) }
            }
        }
    }

    /// A counted day without service after all: nobody is billed (R8).
    fn weigh_lost(&self, plan: &mut Plan, effect: &mut DayEffect, concerned: &mut BTreeSet<i64>, class: i64, day: NaiveDate) {
        for meal in self.meals.get(&(class, day)).into_iter().flatten().filter(|m| m.state != DayState::NoService) {
            concerned.insert(meal.child_id);
            effect.lost.add(meal.state);
            plan.corrections.push(Planned {
                child: meal.child_id,
                day,
                school: meal.school_id,
                class,
                diet: meal.diet.clone(),
                was: meal.state,
                becomes: DayState::NoService,
            });
            if let Some(row) = self.standing.get(&(meal.child_id, day)) {
                plan.falling.push(row.clone());
            }
        }
    }

    /// A counted day with service after all. Whose meal had been counted before the closure came: as it was then. Of whom nothing was counted,
    /// because the closure was known at the cut-off: nobody could cancel and nothing was cooked, so they are booked only if the office says so.
    fn weigh_gained(
        &self,
        plan: &mut Plan,
        effect: &mut DayEffect,
        concerned: &mut BTreeSet<i64>,
        class: i64,
        day: NaiveDate,
        book_again: bool,
    ) {
        let mut planned = |plan: &mut Plan, child: i64, school: i64, diet: &str, becomes: DayState| {
            concerned.insert(child);
            effect.gained.add(becomes);
            let diet = diet.to_owned();
            plan.corrections.push(Planned { child, day, school, class, diet, was: DayState::NoService, becomes });
            if let Some(row) = self.standing.get(&(child, day)) {
                plan.returning.push(row.clone());
            }
        };
        for meal in self.meals.get(&(class, day)).into_iter().flatten().filter(|m| m.state == DayState::NoService) {
            if let Some(before) = meal.before_closure.filter(|state| *state != DayState::NoService) {
                planned(plan, meal.child_id, meal.school_id, &meal.diet, before);
            }
        }
        let mut unbooked = BTreeSet::new();
        for pupil in self.pupils.get(&class).into_iter().flatten().filter(|p| p.is_enrolled(day)) {
            if self.recorded.contains(&(pupil.id, day)) {
                continue;
            }
            if book_again {
                planned(plan, pupil.id, pupil.school_id, &pupil.diet, self.marked(pupil.id, day));
            } else {
                unbooked.insert(pupil.id);
            }
        }
        effect.unbooked += unbooked.len() as u32;
        concerned.extend(unbooked);
    }
}

/// Is the change one that can be meant?
async fn check(tx: &mut Tx, ente: EnteId, book: &Book, change: &Change) -> Result<(), CalendarError> {
    let has_school = |id: i64| book.classes.iter().any(|c| c.school == id);
    let span =
        |first: NaiveDate, last: NaiveDate| if last < first { Err(CalendarError::Backwards) } else { Ok((last - first).num_days() + 1) };
    match change {
        Change::Close { place, first, last, .. } => {
            if span(*first, *last)? > LONGEST_CLOSURE {
                return Err(CalendarError::TooLong);
            }
            let known = match place {
                Place::Ente => true,
                Place::School(school) => has_school(*school),
                Place::Class { school, class } => book.classes.iter().any(|c| c.id == *class && c.school == *school),
            };
            if known { Ok(()) } else { Err(CalendarError::NoPlace) }
        }
        Change::Reopen { closure, first, last, .. } => {
            span(*first, *last)?;
            let touches = book.closures.iter().any(|c| c.id == *closure && c.first <= *last && *first <= c.last);
            if touches { Ok(()) } else { Err(CalendarError::NoClosure) }
        }
        Change::Term { year, school, days } => {
            if let Some((first, last)) = days
                && span(*first, *last)? > 366
            {
                return Err(CalendarError::LongTerm);
            }
            let years = tx.school_years(ente).await?;
            let known = years.iter().any(|y| y.id == *year) && school.is_none_or(has_school);
            if known { Ok(()) } else { Err(CalendarError::NoPlace) }
        }
        Change::Returns { class, .. } => {
            if book.classes.iter().any(|c| c.id == *class) {
                Ok(())
            } else {
                Err(CalendarError::NoPlace)
            }
        }
    }
}

/// Where the next telephone operation falls: the search starts with the day that is open now, or at the next opening.
fn moves(window: &Window, at: DateTime<Utc>, was: &BTreeMap<i64, ServiceCalendar>, becomes: &BTreeMap<i64, ServiceCalendar>) -> Vec<Move> {
    let today = window.local(at).date();
    let tomorrow = today.checked_add_days(Days::new(1)).unwrap_or(today);
    let start = window.search_start(at).unwrap_or(if window.day_is_open(today, at) { today } else { tomorrow });
    let mut moves: Vec<Move> = Vec::new();
    for (class, before) in was {
        let first = |calendar: &ServiceCalendar| calendar.service_days_from(start).next();
        let (was, becomes) = (first(before), becomes.get(class).and_then(first));
        if was == becomes {
            continue;
        }
        match moves.iter_mut().find(|m| (m.was, m.becomes) == (was, becomes)) {
            Some(found) => found.classes += 1,
            None => moves.push(Move { was, becomes, classes: 1 }),
        }
    }
    moves
}

fn fingerprint(plan: &Plan) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", (&plan.changes, &plan.days, &plan.falling, &plan.returning, &plan.corrections)));
    hash.finalize().iter().take(12).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
