//! Plays what was wished for in the order of time: every answer is the rule's, every meal what stood at its cut-off.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Answer, Deed, End, Event, How, PastCall, Stop, What,
    wishes::{Errand, Intent, Ringing, Wish, within},
    year::{Year, place},
};
use crate::canteen::{
    Channel, Choice, DayState, Reason,
    book::{Book, Change},
    calendar::ServiceCalendar,
    marks::Marks,
    rule::{Decision, Request, decide},
    window::Window,
};

/// Calls of one number that come so soon after each other are one call.
const SAME_CALL: TimeDelta = TimeDelta::seconds(60);
/// Classes of each year have ids from its place times this on.
const YEAR_IDS: i64 = 1_000;

/// What is to be done next, at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A call goes on.
    Go(usize),
    /// Its caller confirms what was heard.
    Confirm(usize),
}

/// A call while it lasts.
struct Open {
    caller: Option<String>,
    errands: VecDeque<Ringing>,
    /// The one that is being done.
    doing: Option<Ringing>,
    orders: u32,
    mistakes: u32,
    over: bool,
}

/// Wrong codes after which the line hangs up.
const MOST_MISTAKES: u32 = 3;

/// The player: what stands, and what goes on.
pub(super) struct Play<'a> {
    window: &'a Window,
    years: &'a [Year],
    until: DateTime<Utc>,
    book: Book,
    /// The class of each child, and the places of its year and of its row there.
    enrolled: Vec<Option<(i64, usize, usize)>>,
    calendars: HashMap<usize, ServiceCalendar>,
    marks: Vec<Marks>,
    steps: BinaryHeap<Reverse<(DateTime<Utc>, u64, Step)>>,
    sequence: u64,
    open: Vec<Open>,
    calls: Vec<PastCall>,
    last_call: HashMap<String, usize>,
    events: Vec<Event>,
}

impl<'a> Play<'a> {
    pub fn new(window: &'a Window, years: &'a [Year], until: DateTime<Utc>) -> Self {
        let children = years.last().map_or(0, |year| year.roster.children.len());
        Self {
            window,
            years,
            until,
            book: Book::default(),
            enrolled: vec![None; children],
            calendars: HashMap::new(),
            marks: vec![Marks::default(); children],
            steps: BinaryHeap::new(),
            sequence: 0,
            open: Vec::new(),
            calls: Vec::new(),
            last_call: HashMap::new(),
            events: Vec::new(),
        }
    }

    /// Plays it all until `until`; gives what happened, and the calls.
    pub fn run(mut self, intents: Vec<Intent>) -> (Vec<Event>, Vec<PastCall>) {
        for intent in intents {
            self.steps_before(intent.at);
            if intent.at > self.until {
                break;
            }
            self.begin(intent.at, intent.wish);
        }
        self.steps_before(self.until + TimeDelta::microseconds(1));
        for call in 0..self.calls.len() {
            self.end(call, self.until, End::Caller);
        }
        // A call is told when it ends, which is known before it comes.
        self.events.sort_by_key(|event| event.at);
        (self.events, self.calls)
    }

    /// What is going on goes on up to before `at`, and not beyond the end.
    fn steps_before(&mut self, at: DateTime<Utc>) {
        while let Some(Reverse((when, _, step))) = self.steps.peek().copied() {
            if when >= at || when > self.until {
                return;
            }
            self.steps.pop();
            match step {
                Step::Go(call) => self.go(call, when),
                Step::Confirm(call) => self.confirm(call, when),
            }
        }
    }

    fn begin(&mut self, at: DateTime<Utc>, wish: Wish) {
        match wish {
            Wish::Import(year) => self.import(at, year),
            Wish::Letters(year, class) => self.tell(at, What::Letters(year, class)),
            Wish::Close(year, closure) => {
                let Some(roster) = self.years.get(year).map(|year| &year.roster) else { return };
                let place = place(roster, &closure.scope, year as i64 * YEAR_IDS);
                let (first, last) = (closure.first, closure.last);
                self.book = self.book.with(&Change::Close { place, first, last, kind: closure.kind, reason: String::new() });
                self.calendars.clear();
                self.tell(at, What::Closure(closure));
            }
            Wish::Closing(day) => {
                let states = (0..self.enrolled.len()).filter_map(|child| {
                    let calendar = self.calendar(child)?;
                    let state = self.marks.get(child)?.state_on(day, &calendar);
                    (state != DayState::NoService).then_some((child, state))
                });
                let meals = states.collect();
                self.tell(at, What::Closing { day, meals });
            }
            Wish::Call(call) => self.ring(at, call),
            Wish::Deed { child, choice, day, until, note } => {
                let answer = self.decide(at, child, Request::Office { choice, day, until, late: note.is_some() });
                if let Some(answer) = answer {
                    self.tell(at, What::Deed(Deed { child, choice, day, until, note, answer }));
                }
            }
        }
    }

    fn import(&mut self, at: DateTime<Utc>, place: usize) {
        let Some(year) = self.years.get(place) else { return };
        let base = place as i64 * YEAR_IDS;
        year.enter(&mut self.book, place as i64, base);
        for (index, (row, &child)) in year.roster.children.iter().zip(&year.children).enumerate() {
            let class = year.roster.classes.iter().zip(base..).find(|(class, _)| class.school == row.school && class.name == row.class);
            if let (Some(slot), Some((_, id))) = (self.enrolled.get_mut(child), class) {
                *slot = Some((id, place, index));
            }
        }
        self.calendars.clear();
        self.tell(at, What::Import(place));
    }

    /// A call comes in, or goes on where the same number has just called.
    fn ring(&mut self, at: DateTime<Utc>, call: Ringing) {
        if let Some(caller) = &call.caller
            && let Some(&last) = self.last_call.get(caller)
            && let (Some(open), Some(begun)) = (self.open.get_mut(last), self.calls.get(last))
            && !open.over
            && at - begun.started_at < SAME_CALL
        {
            open.errands.push_back(call);
            return;
        }
        let number = self.calls.len();
        if let Some(caller) = &call.caller {
            self.last_call.insert(caller.clone(), number);
        }
        let caller = call.caller.clone();
        self.calls.push(PastCall {
            caller: caller.clone(),
            started_at: at,
            ended_at: at,
            end: End::Caller,
            keys: 0,
            known: false,
            way: Vec::new(),
        });
        let errand = call.errand;
        self.open.push(Open { caller, errands: VecDeque::from([call]), doing: None, orders: 0, mistakes: 0, over: false });
        if errand != Errand::Abandon {
            self.come(number, at + TimeDelta::milliseconds(260), How::Begun, "orario");
        }
        match errand {
            Errand::WrongNumber if self.window.search_start(at).is_some() => {
                self.come(number, at + TimeDelta::milliseconds(300), How::Answered("open"), "benvenuto");
                self.end(number, at + TimeDelta::seconds(7), End::Caller);
            }
            Errand::Abandon => self.end(number, at + TimeDelta::seconds(2), End::Abandoned),
            Errand::WrongNumber => self.end(number, at + TimeDelta::seconds(7), End::Caller),
            _ => self.then(at + TimeDelta::milliseconds(7_300), Step::Go(number)),
        }
    }

    /// The next thing that the caller wants.
    fn go(&mut self, call: usize, at: DateTime<Utc>) {
        let Some(open) = self.open.get_mut(call) else { return };
        if open.over {
            return;
        }
        let first = open.doing.is_none();
        if first && self.window.search_start(at).is_none() {
            // The line says when to call, and hangs up.
            self.come(call, at, How::Answered("closed"), "chiuso");
            return self.end(call, at + TimeDelta::seconds(14), End::Line);
        }
        let (orders, polite) = (open.mistakes == 0 && !first, open.doing.as_ref().is_some_and(|done| done.polite));
        if first {
            self.come(call, at - TimeDelta::seconds(7), How::Answered("open"), "benvenuto");
            self.come(call, at - TimeDelta::milliseconds(3_100), How::Said, "codice");
        }
        let Some(open) = self.open.get_mut(call) else { return };
        let Some(mut next) = open.errands.pop_front() else {
            if polite {
                self.come(call, at + TimeDelta::seconds(5), How::Key('3'), "arrivederci");
            }
            let end = if polite { End::Line } else { End::Caller };
            return self.end(call, at + TimeDelta::seconds(if polite { 11 } else { 2 }), end);
        };
        let pace = TimeDelta::seconds(i64::from(next.pace) / 3);
        if next.wrong > 0 {
            next.wrong -= 1;
            open.mistakes += 1;
            let (given_up, guess) = (open.mistakes >= MOST_MISTAKES, next.errand == Errand::Guess);
            open.doing = Some(next.clone());
            open.errands.push_front(next);
            self.press(call, 7, false);
            self.come(call, at, How::Number, "riconosci");
            if given_up {
                self.come(call, at, How::Answered("too_many"), "troppi_errori");
            } else {
                self.come(call, at, How::Answered("unknown"), "codice_errato");
                self.come(call, at + TimeDelta::seconds(4), How::Said, "codice");
            }
            self.tell(at, What::WrongCode { call, guess });
            if given_up {
                return self.end(call, at + TimeDelta::seconds(9), End::Line);
            }
            return self.then(at + TimeDelta::seconds(15) + pace, Step::Go(call));
        }
        open.doing = Some(next.clone());
        if matches!(next.errand, Errand::Order { .. } | Errand::Listen | Errand::Drop) {
            if orders {
                self.come(call, at + TimeDelta::seconds(1), How::Key('2'), "altro_codice");
            }
            self.come(call, at + TimeDelta::milliseconds(5_400), How::Number, "riconosci");
            self.come(call, at + TimeDelta::milliseconds(5_410), How::Answered("known"), "menu");
        }
        match next.errand {
            Errand::Order { choice, .. } => {
                self.press(call, 9, true);
                self.come(call, at + TimeDelta::milliseconds(12_900), How::Key(key_of(choice)), "anteprima");
                self.then(at + TimeDelta::milliseconds(21_700) + pace, Step::Confirm(call));
            }
            Errand::Listen => {
                self.press(call, 8, true);
                self.come(call, at + TimeDelta::milliseconds(15_200), How::Key('6'), "prossimi_giorni");
                self.come(call, at + TimeDelta::milliseconds(15_210), How::Answered("days"), "ascolta_giorni");
                self.come(call, at + TimeDelta::seconds(40), How::Said, "altro");
                self.then(at + TimeDelta::seconds(44) + pace, Step::Go(call));
            }
            Errand::Drop => {
                self.press(call, 7, true);
                self.end(call, at + TimeDelta::seconds(31), End::DeadMedia);
            }
            Errand::WrongNumber | Errand::Abandon | Errand::Guess => self.end(call, at, End::Caller),
        }
    }

    /// The day has been heard: yes, or another day was meant.
    fn confirm(&mut self, call: usize, at: DateTime<Utc>) {
        let Some(Errand::Order { child, choice, wanted }) =
            self.open.get(call).and_then(|open| open.doing.as_ref()).map(|doing| doing.errand)
        else {
            return;
        };
        let heard = self.calendar(child).map(|calendar| self.outlook(at, child, choice, &calendar));
        let other_day = match heard {
            Some(Answer::Accepted(day) | Answer::Refused(_, Some(day))) => wanted.is_some_and(|wanted| wanted != day),
            _ => false,
        };
        let heard_at = at - TimeDelta::milliseconds(8_700);
        if other_day {
            self.press(call, 1, true);
            self.come(call, heard_at, How::Answered("accepted"), "conferma");
            self.come(call, at, How::Key('2'), "menu");
            return self.then(at + TimeDelta::seconds(3), Step::Go(call));
        }
        let Some(answer) = self.decide(at, child, Request::Phone(choice)) else { return };
        let Some(open) = self.open.get_mut(call) else { return };
        open.orders += 1;
        let nth = open.orders;
        match answer {
            Answer::Accepted(_) => {
                self.come(call, heard_at, How::Answered("accepted"), "conferma");
                self.come(call, at, How::Key('1'), "registra");
                self.come(call, at, How::Answered("accepted"), "registrata");
                self.come(call, at + TimeDelta::milliseconds(7_900), How::Said, "altro");
            }
            Answer::Refused(Reason::OutsideWindow, _) => {
                self.come(call, heard_at, How::Answered("accepted"), "conferma");
                self.come(call, at, How::Key('1'), "registra");
                self.come(call, at, How::Refused(Reason::OutsideWindow), "fuori_orario");
            }
            Answer::Refused(reason, _) => {
                self.come(call, heard_at, How::Refused(reason), "rifiuto");
                self.come(call, at + TimeDelta::seconds(4), How::Said, "altro");
            }
        }
        self.tell(at, What::Order { call, nth, child, choice, answer });
        if matches!(answer, Answer::Refused(Reason::OutsideWindow, _)) {
            return self.end(call, at + TimeDelta::seconds(15), End::Line);
        }
        self.then(at + TimeDelta::seconds(10), Step::Go(call));
    }

    /// What the rule would say.
    fn outlook(&self, at: DateTime<Utc>, child: usize, choice: Choice, calendar: &ServiceCalendar) -> Answer {
        let none = Marks::default();
        let marks = self.marks.get(child).unwrap_or(&none);
        match decide(at, self.window, Request::Phone(choice), calendar, marks) {
            Decision::Accepted { day, .. } => Answer::Accepted(day),
            Decision::Refused { reason, day } => Answer::Refused(reason, day),
        }
    }

    /// What the rule says, and stands from now on; `None` for a child that is not enrolled.
    fn decide(&mut self, at: DateTime<Utc>, child: usize, request: Request) -> Option<Answer> {
        debug_assert!(request.channel() != Channel::Web, "nobody in the demo uses the portal");
        let calendar = self.calendar(child)?;
        let marks = self.marks.get_mut(child)?;
        Some(match decide(at, self.window, request, &calendar, marks) {
            Decision::Accepted { day, marks: after } => {
                *marks = after;
                Answer::Accepted(day)
            }
            Decision::Refused { reason, day } => Answer::Refused(reason, day),
        })
    }

    /// The child's calendar as it is known now.
    fn calendar(&mut self, child: usize) -> Option<ServiceCalendar> {
        if let Some(known) = self.calendars.get(&child) {
            return Some(known.clone());
        }
        let (class, year, row) = (*self.enrolled.get(child)?)?;
        let found = self.book.classes.iter().find(|row| row.id == class)?;
        let row = self.years.get(year)?.roster.children.get(row)?;
        let calendar = within(&self.book.calendar_of(found)?, row);
        self.calendars.insert(child, calendar.clone());
        Some(calendar)
    }

    /// The call comes to a state.
    fn come(&mut self, call: usize, at: DateTime<Utc>, how: How, state: &'static str) {
        if let Some(record) = self.calls.get_mut(call) {
            record.way.push(Stop { at, how, state });
        }
    }

    fn press(&mut self, call: usize, keys: u32, known: bool) {
        if let Some(record) = self.calls.get_mut(call) {
            record.keys += keys;
            record.known |= known;
        }
    }

    fn end(&mut self, call: usize, at: DateTime<Utc>, end: End) {
        let (Some(open), Some(record)) = (self.open.get_mut(call), self.calls.get_mut(call)) else { return };
        if open.over {
            return;
        }
        open.over = true;
        let at = at.min(self.until);
        (record.ended_at, record.end) = (at, end);
        // What would have come after the end has not come.
        record.way.retain(|stop| stop.at <= at);
        if let Some(caller) = &open.caller {
            self.last_call.remove(caller);
        }
        self.tell(at, What::Call(call));
    }

    fn then(&mut self, at: DateTime<Utc>, step: Step) {
        self.sequence += 1;
        self.steps.push(Reverse((at, self.sequence, step)));
    }

    fn tell(&mut self, at: DateTime<Utc>, what: What) {
        self.events.push(Event { at, what });
    }
}

/// The key of the menu.
fn key_of(choice: Choice) -> char {
    match choice {
        Choice::Cancel => '1',
        Choice::White => '2',
        Choice::Suspend => '3',
        Choice::Resume => '4',
        Choice::Undo => '5',
    }
}
