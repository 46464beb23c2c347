//! What families wish for, day by day: colds and flu, a trip, a stomach ache; and who calls when.
//!
//! Each child has a generator of its own, and so has each day's other calls: a later `until` changes nothing of what was before.

use std::collections::HashMap;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc, Weekday};
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng, seq::IndexedRandom};

use super::{
    Closure,
    year::{Year, is_weekend, workday_before},
};
use crate::canteen::{
    Choice,
    book::Book,
    calendar::ServiceCalendar,
    roster::{ChildRow, Roster},
    window::Window,
};

/// Seed of the past.
const SEED: u64 = 0x7061_7373_6174_6f21;

/// Something that somebody means to do at an instant.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub wish: Wish,
}

/// What somebody means to do.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// Import a year's roster.
    Import(usize),
    /// Print the letters of a class.
    Letters(usize, usize),
    /// Enter a closure.
    Close(usize, Closure),
    /// Close a day at its cut-off.
    Closing(NaiveDate),
    /// Call.
    Call(Ringing),
    /// The office does it for the family.
    Deed { child: usize, choice: Choice, day: NaiveDate, until: Option<NaiveDate>, note: Option<&'static str> },
}

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Ringing {
    /// Calling number.
    pub caller: Option<String>,
    /// What for.
    pub errand: Errand,
    /// Codes typed wrong before the right one, or before giving up.
    pub wrong: u8,
    /// Seconds lost in thought.
    pub pace: u8,
    /// Waits for the line's goodbye.
    pub polite: bool,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// An operation; where the line names another day than the wanted one, the caller leaves it.
    Order { child: usize, choice: Choice, wanted: Option<NaiveDate> },
    /// To hear what stands.
    Listen,
    /// Hangs up at the greeting: a wrong number.
    WrongNumber,
    /// Hangs up while it rings.
    Abandon,
    /// Types codes that are nobody's.
    Guess,
    /// The network drops the call after the code.
    Drop,
}

/// What a family is like.
struct Habits {
    /// The numbers of the one who usually calls and of the other one.
    callers: [Option<String>; 2],
    /// Of a hundred calls, those in the morning.
    morning: u32,
    /// How often the child is ill, per cent of the usual.
    frailty: u64,
}

/// The wishes of all years.
pub(super) struct Wishes<'a> {
    window: &'a Window,
    intents: Vec<Intent>,
    /// The first day that is closed here.
    first: Option<NaiveDate>,
}

/// What the office writes down where the cut-off has passed.
const LATE: [&str; 5] = [
    "La mamma ha telefonato alle 9:15: febbre nella notte, la linea era già chiusa.",
    "Il papà ha avvisato la scuola in tempo, ma non il servizio mensa.",
    "Uscita anticipata per malessere, riferita dall'insegnante.",
    "La famiglia ha chiamato prima delle 9 e ha trovato occupato.",
    "Visita medica imprevista, attestato consegnato in segreteria.",
];

impl<'a> Wishes<'a> {
    pub fn new(window: &'a Window) -> Self {
        Self { window, intents: Vec::new(), first: None }
    }

    /// Plans a year; its roster is imported at `latest` at the latest.
    pub fn add_year(&mut self, place: usize, year: &Year, latest: Option<DateTime<Utc>>) {
        let import = self.local(year.import_day(), 10, 20);
        let import = latest.map_or(import, |latest| import.min(latest));
        self.push(import, Wish::Import(place));
        let first = self.window.local(import).date().checked_add_days(Days::new(1)).unwrap_or_default();
        self.first.get_or_insert(first);
        let mut rng = ChaCha12Rng::seed_from_u64(SEED ^ (year.autumn as u64) << 20);
        for class in 0..year.roster.classes.len() {
            let at = self.local(workday_before(first + TimeDelta::days(2)), 11, 5) + TimeDelta::minutes(4 * class as i64);
            self.push(at, Wish::Letters(place, class));
        }
        for (day, time, closure) in year.surprises() {
            let at = self.window.instant(day.and_time(time));
            self.push(at, Wish::Close(place, closure));
        }
        let mut book = Book::default();
        year.enter(&mut book, 1, 1);
        let calendars = book.calendars();
        let siblings = siblings(year);
        for (index, child) in year.roster.children.iter().enumerate() {
            let class = year.roster.classes.iter().zip(1..).find(|(c, _)| c.school == child.school && c.name == child.class);
            let Some(calendar) = class.and_then(|(_, id)| calendars.get(&id)) else { continue };
            let calendar = within(calendar, child);
            let sibling = siblings.get(&index).and_then(|other: &usize| Some((*other, year.roster.children.get(*other)?)));
            let sibling = sibling.and_then(|(other, row)| {
                let class = year.roster.classes.iter().zip(1..).find(|(c, _)| c.school == row.school && c.name == row.class);
                Some((*year.children.get(other)?, within(calendars.get(&class?.1)?, row)))
            });
            let Some(&known_as) = year.children.get(index) else { continue };
            let seed = SEED ^ (year.autumn as u64) << 20 ^ (known_as as u64 + 1) << 40;
            let habits = habits(&year.roster, child, &mut ChaCha12Rng::seed_from_u64(SEED ^ (known_as as u64 + 1) << 40));
            Family { wishes: self, habits, child: known_as, calendar, sibling, rng: ChaCha12Rng::seed_from_u64(seed) }.live();
        }
        let terms = &year.roster.calendar.terms;
        let last = terms.iter().map(|term| term.last).max().unwrap_or(first);
        for day in year.first_day().iter_days().take_while(|day| *day <= last) {
            self.other_calls(day, &year.roster, &mut rng);
        }
    }

    /// Calls that are nobody's wish: wrong numbers, the curious, those who hang up.
    fn other_calls(&mut self, day: NaiveDate, roster: &Roster, rng: &mut ChaCha12Rng) {
        let busy = if is_weekend(day) { 1 } else { 4 };
        for _ in 0..rng.random_range(0..=busy) {
            let minutes = rng.random_range(0..15 * 60) - 6 * 60;
            let at = day.and_time(NaiveTime::MIN) + TimeDelta::minutes(minutes) + TimeDelta::seconds(rng.random_range(0..60));
            let stranger = format!("+39399{:07}", rng.random_range(5_000_000..9_999_999));
            let (errand, caller) = match rng.random_range(0..20) {
                0..6 => (Errand::WrongNumber, Some(stranger)),
                6..9 => (Errand::Abandon, Some(stranger)),
                9..12 => (Errand::WrongNumber, None),
                12..19 => (Errand::Listen, roster.guardians.choose(rng).and_then(|one| one.phone.clone())),
                _ => (Errand::Drop, roster.guardians.choose(rng).and_then(|one| one.phone.clone())),
            };
            self.ring(at, Ringing { caller, errand, wrong: 0, pace: rng.random_range(0..9), polite: rng.random_ratio(1, 3) });
        }
        // Once a month somebody tries numbers.
        if day.weekday() == Weekday::Tue && (8..15).contains(&day.day()) {
            let caller = Some(format!("+39399{:07}", rng.random_range(9_000_000..9_999_999)));
            for minute in 0..2 {
                let at = day.and_time(NaiveTime::MIN) + TimeDelta::minutes(22 * 60 + 40 + 6 * minute);
                let call = Ringing { caller: caller.clone(), errand: Errand::Guess, wrong: 3, pace: 2, polite: true };
                self.ring(at, call);
            }
        }
    }

    /// All of them in the order of time, with the closing of each day until `until`.
    pub fn finish(mut self, until: DateTime<Utc>) -> Vec<Intent> {
        let Some(first) = self.first else { return Vec::new() };
        for day in first.iter_days() {
            let at = self.window.closes_after(day);
            if at > until {
                break;
            }
            self.push(at, Wish::Closing(day));
        }
        self.intents.sort_by_key(|intent| intent.at);
        self.intents
    }

    fn push(&mut self, at: DateTime<Utc>, wish: Wish) {
        self.intents.push(Intent { at, wish });
    }

    fn ring(&mut self, local: NaiveDateTime, call: Ringing) {
        let at = self.window.instant(local);
        self.push(at, Wish::Call(call));
    }

    fn local(&self, day: NaiveDate, hour: u32, minute: u32) -> DateTime<Utc> {
        self.window.instant(day.and_time(NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default()))
    }
}

/// A child's family through a year.
struct Family<'w, 'a> {
    wishes: &'w mut Wishes<'a>,
    habits: Habits,
    child: usize,
    calendar: ServiceCalendar,
    /// A brother or sister who comes after it in the roster, and when that one eats.
    sibling: Option<(usize, ServiceCalendar)>,
    rng: ChaCha12Rng,
}

impl Family<'_, '_> {
    fn live(mut self) {
        let days: Vec<NaiveDate> = self.calendar.service_days_from(self.calendar.first).collect();
        let mut next = 0;
        while let Some(&day) = days.get(next) {
            let chance = 21 * self.habits.frailty * illness(day) * u64::from(weekday(day));
            if self.rng.random_range(0..1_000_000_000) < chance {
                next += self.absent(&days[next..], illness(day) >= 200);
                continue;
            }
            match self.rng.random_range(0..10_000) {
                // A light day after a stomach ache.
                0..45 => self.tell(Choice::White, day),
                45..52 => self.tell(Choice::Resume, day),
                52..58 => {
                    let last = days.get(next + 6).or(days.last()).copied().unwrap_or(day);
                    let at = workday_before(day - TimeDelta::days(self.rng.random_range(1..5)));
                    let time = self.office_hours(11);
                    self.deed(
                        at.max(workday_before(self.calendar.first - TimeDelta::days(2))).and_time(time),
                        Choice::Suspend,
                        day,
                        Some(last),
                        None,
                    );
                    next += 7;
                    continue;
                }
                _ => {}
            }
            next += 1;
        }
    }

    /// Days at home, from the first of `days` on; how many.
    fn absent(&mut self, days: &[NaiveDate], flu: bool) -> usize {
        let long = if flu { self.rng.random_range(2..6) } else { [1, 1, 1, 1, 1, 2, 2, 3, 4].choose(&mut self.rng).copied().unwrap_or(1) };
        let home = &days[..long.min(days.len())];
        let back = days.get(long).copied();
        let Some(&first) = home.first() else { return 1 };
        match back {
            Some(back) if home.len() >= 3 && self.rng.random_ratio(2, 5) => {
                self.tell(Choice::Suspend, first);
                self.tell_for(Choice::Resume, back, None);
                // Over is over: the next illness begins after the day of return.
                return long + 1;
            }
            _ => {}
        }
        for &day in home {
            match self.rng.random_range(0..100) {
                // Forgotten: the meal is cooked and billed.
                0..6 => {}
                6..11 => {
                    let at = day.and_time(self.office_hours(8));
                    self.deed(at, Choice::Cancel, day, None, None);
                }
                _ => self.tell(Choice::Cancel, day),
            }
            match self.rng.random_range(0..100) {
                // Better after all, or the other parent has not heard of it.
                0..4 => self.later(Choice::Undo, day),
                4..6 => self.later(Choice::Cancel, day),
                _ => {}
            }
        }
        long
    }

    /// Calls for a day.
    fn tell(&mut self, choice: Choice, day: NaiveDate) {
        self.tell_for(choice, day, Some(day));
    }

    fn tell_for(&mut self, choice: Choice, day: NaiveDate, wanted: Option<NaiveDate>) {
        let resuming = choice == Choice::Resume;
        let at = self.call_time(day, !resuming);
        if choice == Choice::Cancel && at.date() == day && at.time() > self.wishes.window.cutoff && self.rng.random_ratio(3, 5) {
            let (minutes, note) = (self.rng.random_range(9..70), LATE.choose(&mut self.rng).copied());
            self.deed(at + TimeDelta::minutes(minutes), choice, day, None, note);
        }
        let caller = self.caller();
        let wrong = match self.rng.random_range(0..200) {
            0..10 => 1,
            10..12 => 2,
            12 if !resuming => 3,
            _ => 0,
        };
        let pace = self.rng.random_range(0..20);
        let polite = self.rng.random_ratio(2, 5);
        let errand = Errand::Order { child: self.child, choice, wanted };
        self.wishes.ring(at, Ringing { caller: caller.clone(), errand, wrong, pace, polite });
        // A brother or sister has it too.
        if let Some((sibling, calendar)) = &self.sibling
            && choice == Choice::Cancel
            && wrong < 3
            && calendar.is_service_day(day)
            && self.rng.random_ratio(1, 3)
        {
            let errand = Errand::Order { child: *sibling, choice, wanted };
            self.wishes.ring(at + TimeDelta::seconds(5), Ringing { caller, errand, wrong: 0, pace, polite });
        }
    }

    /// Calls once more for the same day, shortly before its cut-off.
    fn later(&mut self, choice: Choice, day: NaiveDate) {
        let at = day.and_time(NaiveTime::MIN) + TimeDelta::seconds(self.rng.random_range(8 * 3600..8 * 3600 + 3400));
        let caller = self.habits.callers[1].clone();
        let errand = Errand::Order { child: self.child, choice, wanted: Some(day) };
        let pace = self.rng.random_range(0..20);
        self.wishes.ring(at, Ringing { caller, errand, wrong: 0, pace, polite: false });
    }

    fn deed(&mut self, at: NaiveDateTime, choice: Choice, day: NaiveDate, until: Option<NaiveDate>, note: Option<&'static str>) {
        let at = self.wishes.window.instant(at);
        self.wishes.push(at, Wish::Deed { child: self.child, choice, day, until, note });
    }

    /// In the morning before nine, most around a quarter to eight, some in the last minute and a few too late; or on the evening before.
    fn call_time(&mut self, day: NaiveDate, last_minute: bool) -> NaiveDateTime {
        let rng = &mut self.rng;
        let (day, seconds) = if rng.random_range(0..100) < self.habits.morning {
            if last_minute && rng.random_ratio(1, 8) {
                (day, rng.random_range(8 * 3600 + 3000..9 * 3600 + 900))
            } else {
                (day, 6 * 3600 + 2100 + rng.random_range(0..4200) + rng.random_range(0..4200))
            }
        } else {
            let evening = day.pred_opt().unwrap_or(day);
            (evening, 18 * 3600 + 30 + rng.random_range(0..8000) + rng.random_range(0..8000))
        };
        day.and_time(NaiveTime::MIN) + TimeDelta::seconds(seconds)
    }

    fn caller(&mut self) -> Option<String> {
        let other = usize::from(self.rng.random_ratio(1, 4));
        self.habits.callers[other].clone()
    }

    /// A time when the office is there, from `hour` on.
    fn office_hours(&mut self, hour: i64) -> NaiveTime {
        NaiveTime::MIN + TimeDelta::seconds(hour * 3600 + self.rng.random_range(0..3300))
    }
}

fn habits(roster: &Roster, child: &ChildRow, rng: &mut ChaCha12Rng) -> Habits {
    let phone = |nth: usize| child.guardians.get(nth).and_then(|one| roster.guardians.get(one.guardian)?.phone.clone());
    let withheld = rng.random_ratio(1, 25);
    let first = phone(0).filter(|_| !withheld);
    let second = phone(1).or_else(|| first.clone());
    Habits { callers: [first, second], morning: rng.random_range(25..90), frailty: rng.random_range(45..160) }
}

/// For each child the next one of the same first guardian.
fn siblings(year: &Year) -> HashMap<usize, usize> {
    let mut last: HashMap<usize, usize> = HashMap::new();
    let mut next = HashMap::new();
    for (index, child) in year.roster.children.iter().enumerate() {
        let Some(guardian) = child.guardians.first() else { continue };
        if let Some(before) = last.insert(guardian.guardian, index) {
            next.insert(before, index);
        }
    }
    next
}

/// The class's calendar within the child's enrolment.
pub(super) fn within(calendar: &ServiceCalendar, child: &ChildRow) -> ServiceCalendar {
    let first = calendar.first.max(child.enrolled_from.unwrap_or(calendar.first));
    let last = calendar.last.min(child.enrolled_to.unwrap_or(calendar.last));
    ServiceCalendar { first, last, ..calendar.clone() }
}

/// How much is going round, per cent of an ordinary time: the flu comes after Christmas and is over by Carnival.
fn illness(day: NaiveDate) -> u64 {
    match (day.month(), day.day()) {
        (9, _) => 60,
        (11, ..15) => 100,
        (11, _) => 130,
        (12, _) => 150,
        (1, ..15) => 200,
        (1, _) => 310,
        (2, ..12) => 280,
        (2, _) => 180,
        (3, _) => 120,
        (10 | 4 | 5, _) => 80,
        _ => 55,
    }
}

/// How much of it shows on that day of the week, per cent.
fn weekday(day: NaiveDate) -> u32 {
    match day.weekday() {
        Weekday::Mon => 165,
        Weekday::Fri => 105,
        _ => 80,
    }
}
