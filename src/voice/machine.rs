//! The dialplan interpreter: a state machine without sockets, clock or database (design §6).
//!
//! Whoever runs it feeds what happens with [`Machine::handle`], does what [`Machine::poll`] asks, and
//! calls again at [`Machine::deadline`]. Times are ms on any clock that only goes forward.

use std::{collections::VecDeque, sync::Arc};

use chrono::{NaiveDate, NaiveTime};

use super::{
    check::state_prompt,
    path::{Answer, How, Step},
    plan::{Action, Digits, Kind, Menu, Part, Plan, Prompting, Target, option_word},
    speech,
};
use crate::{
    canteen::{ChildId, Choice, offer::Offered},
    desk::line::{DayOutlook, Identification, LineHours, LineOutcome},
};

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The call has been answered.
    Start,
    /// A key.
    Digit(char),
    /// The playing with this id has ended by itself.
    Played(u64),
    /// The desk's answer to the request with this number.
    Reply(u64, Reply),
    /// Time has gone by.
    Tick,
    /// The caller has hung up.
    Ended,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Play these prompts in place of whatever plays.
    Play {
        /// To be told back.
        id: u64,
        /// Names of prompts.
        prompts: Vec<String>,
    },
    /// Stop playing.
    Stop,
    /// Ask the desk.
    Ask {
        /// To be told back.
        id: u64,
        /// What.
        request: Request,
    },
    /// Hang up; nothing follows.
    HangUp,
}

/// What the desk is asked; the words of [`crate::desk::line::LineDesk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Is the line open?
    Hours,
    /// Whose code is it?
    Identify {
        /// As typed.
        code: String,
    },
    /// What would it do?
    Preview {
        /// For whom.
        child: ChildId,
        /// What.
        choice: Choice,
    },
    /// Do it.
    Operate {
        /// For whom.
        child: ChildId,
        /// What.
        choice: Choice,
        /// The day that the caller has heard and confirmed.
        expected: Option<NaiveDate>,
        /// Number of the operation in this call.
        sequence: u32,
    },
    /// What stands on the next days?
    Outlook {
        /// For whom.
        child: ChildId,
        /// How many days.
        days: usize,
    },
}

/// The desk's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `Hours`.
    Hours(LineHours),
    /// To `Identify`.
    Identified(Identification),
    /// To `Preview` and `Operate`.
    Outcome(LineOutcome),
    /// To `Outlook`.
    Outlook(Vec<DayOutlook>),
    /// The desk could not do it.
    Unavailable,
}

/// Keys that may wait: more than anyone types ahead.
const MOST_KEYS_AHEAD: usize = 32;
/// How long the desk may take, in ms. Whoever runs the machine gives up earlier.
const DESK_PATIENCE_MS: u64 = 8_000;
/// Steps that wait for somebody to take them; beyond them they are lost.
const MOST_STEPS_KEPT: usize = 256;
/// States passed through without anything being heard or waited for, before the plan is taken to go in circles.
const MOST_STEPS: u32 = 64;

/// What the machine waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    /// The call to begin.
    Nothing,
    /// The end of what a play state says.
    Play { id: u64, next: usize, barge_in: bool, flush: bool },
    /// The end of a greeting, or a key.
    Greeting { id: u64 },
    /// A key.
    Key { until: u64 },
    /// The next digit of a number.
    MoreDigits { until: u64 },
    /// The desk.
    Desk { id: u64, until: u64 },
    /// A wrong code's answer is being held back.
    HeldBack { until: u64 },
    /// The end of the exit sound, before the state.
    ExitSound { id: u64, to: usize },
    /// The end of the last words.
    LastWords { id: u64 },
    /// Nothing any more.
    Over,
}

/// A call under way.
#[derive(Debug)]
pub struct Machine {
    plan: Arc<Plan>,
    outputs: VecDeque<Output>,
    /// Steps that nobody has taken yet.
    steps: VecDeque<Step>,
    waiting: Waiting,
    state: usize,
    /// The last state that spoke by itself, for "back".
    spoke: usize,
    next_id: u64,
    began: u64,
    keys_ahead: VecDeque<char>,
    /// A terminator typed after the last digit of a full number belongs to it.
    swallow: Option<char>,
    /// States whose long greeting was heard.
    greeted: Vec<bool>,
    failures: u32,
    timeouts: u32,
    number: String,
    wrong_codes: u32,
    hours: Option<LineHours>,
    child: Option<ChildId>,
    choice: Option<Choice>,
    day: Option<NaiveDate>,
    receipt: Option<String>,
    reason: Option<&'static str>,
    outlook: Vec<DayOutlook>,
    /// The operation that was last sent, so that one that got no answer is sent again under its number.
    sent: Option<(Request, bool)>,
    sequence: u32,
}

impl Machine {
    /// A call that has not begun, under `plan` to its end.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            outputs: VecDeque::new(),
            steps: VecDeque::new(),
            waiting: Waiting::Nothing,
            state: plan.start,
            spoke: plan.start,
            next_id: 1,
            began: 0,
            keys_ahead: VecDeque::new(),
            swallow: None,
            greeted: vec![false; plan.states.len()],
            failures: 0,
            timeouts: 0,
            number: String::new(),
            wrong_codes: 0,
            hours: None,
            child: None,
            choice: None,
            day: None,
            receipt: None,
            reason: None,
            outlook: Vec::new(),
            sent: None,
            sequence: 0,
            plan,
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next step that the call has taken through its plan, each once, in their order.
    pub fn step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Is the call over, as far as the plan goes?
    pub fn is_over(&self) -> bool {
        self.waiting == Waiting::Over
    }

    /// The name of the state that the call is in, for the live view.
    pub fn state_name(&self) -> &str {
        self.plan.states.get(self.state).map_or("", |s| s.name.as_str())
    }

    /// When [`Input::Tick`] is due, in ms; `None` once over.
    pub fn deadline(&self) -> Option<u64> {
        let call = self.began + self.plan.max_call_ms;
        match self.waiting {
            Waiting::Nothing | Waiting::Over => None,
            Waiting::Key { until } | Waiting::MoreDigits { until } | Waiting::Desk { until, .. } | Waiting::HeldBack { until } => {
                Some(until.min(call))
            }
            _ => Some(call),
        }
    }

    /// Takes what happened at `now`.
    pub fn handle(&mut self, now: u64, input: Input) {
        if self.waiting == Waiting::Over {
            return;
        }
        match input {
            Input::Start if self.waiting == Waiting::Nothing => {
                self.began = now;
                self.enter(now, self.plan.start, How::Begun);
            }
            Input::Start => {}
            Input::Digit(key) => self.on_digit(now, key),
            Input::Played(id) => self.on_played(now, id),
            Input::Reply(id, reply) => self.on_reply(now, id, reply),
            Input::Tick => self.on_tick(now),
            Input::Ended => self.waiting = Waiting::Over,
        }
    }

    fn on_tick(&mut self, now: u64) {
        if self.waiting != Waiting::Nothing && now >= self.began + self.plan.max_call_ms {
            return self.hang_up();
        }
        match self.waiting {
            Waiting::Key { until } if now >= until => self.on_silence(now),
            Waiting::MoreDigits { until } if now >= until => self.number_ended(now),
            Waiting::Desk { id, until } if now >= until => self.on_reply(now, id, Reply::Unavailable),
            Waiting::HeldBack { until } if now >= until => self.go_on_after(now, "unknown"),
            _ => {}
        }
    }

    fn on_digit(&mut self, now: u64, key: char) {
        if self.swallow.take() == Some(key) {
            return;
        }
        match self.waiting {
            Waiting::Greeting { .. } | Waiting::Key { .. } | Waiting::MoreDigits { .. } => self.take_key(now, key),
            Waiting::Play { next, barge_in: true, flush, .. } => {
                self.outputs.push_back(Output::Stop);
                if !flush {
                    self.keys_ahead.push_back(key);
                }
                self.enter(now, next, How::Cut);
            }
            // What must be heard is not cut short, and keys pressed over it mean nothing.
            Waiting::Play { .. } | Waiting::ExitSound { .. } | Waiting::LastWords { .. } | Waiting::Nothing | Waiting::Over => {}
            Waiting::Desk { .. } | Waiting::HeldBack { .. } => {
                if self.keys_ahead.len() < MOST_KEYS_AHEAD {
                    self.keys_ahead.push_back(key);
                }
            }
        }
    }

    fn on_played(&mut self, now: u64, played: u64) {
        match self.waiting {
            Waiting::Play { id, next, flush, .. } if id == played => {
                if flush {
                    self.keys_ahead.clear();
                }
                self.enter(now, next, How::Said);
            }
            Waiting::Greeting { id } if id == played => {
                let timeout = self.prompting().map_or(0, |p| p.timeout_ms);
                self.waiting = Waiting::Key { until: now + timeout };
            }
            Waiting::ExitSound { id, to } if id == played => self.enter(now, to, How::TooMany),
            Waiting::LastWords { id } if id == played => self.hang_up(),
            _ => {}
        }
    }

    fn on_reply(&mut self, now: u64, id: u64, reply: Reply) {
        // An answer that comes after we gave up waiting for it is nobody's.
        if !matches!(self.waiting, Waiting::Desk { id: asked, .. } if asked == id) {
            return;
        }
        let outcome = match reply {
            Reply::Unavailable => "unavailable",
            Reply::Hours(hours) => {
                self.hours = Some(hours);
                if hours.open { "open" } else { "closed" }
            }
            Reply::Identified(identification) => match self.identified(now, identification) {
                Some(outcome) => outcome,
                None => return,
            },
            // "Registered" is said only of what has a receipt, that is, of what was committed (R7).
            Reply::Outcome(LineOutcome::Accepted { receipt: None, .. }) if self.is_operating() => "unavailable",
            Reply::Outcome(outcome) => self.outcome(outcome),
            Reply::Outlook(days) => {
                self.outlook = days;
                if self.outlook.is_empty() { "none" } else { "days" }
            }
        };
        if let Some((_, answered)) = &mut self.sent {
            *answered |= outcome != "unavailable";
        }
        self.go_on_after(now, outcome);
    }

    fn identified(&mut self, now: u64, identification: Identification) -> Option<&'static str> {
        match identification {
            Identification::Known(identified) => {
                self.child = Some(identified.child);
                (self.choice, self.day, self.receipt) = (None, None, None);
                Some("known")
            }
            Identification::ShutOut => Some("shut_out"),
            Identification::Unknown { delay_ms } => {
                self.wrong_codes += 1;
                if self.wrong_codes >= self.plan.max_wrong_codes {
                    return Some("too_many");
                }
                self.waiting = Waiting::HeldBack { until: now + u64::from(delay_ms) };
                if delay_ms == 0 {
                    return Some("unknown");
                }
                None
            }
        }
    }

    fn outcome(&mut self, outcome: LineOutcome) -> &'static str {
        self.reason = None;
        match outcome {
            LineOutcome::Accepted { day, receipt } => {
                (self.day, self.receipt) = (Some(day), receipt);
                "accepted"
            }
            LineOutcome::DayChanged { day } => {
                self.day = Some(day);
                "day_changed"
            }
            LineOutcome::Refused { reason, day } => {
                use crate::canteen::Reason as R;
                self.day = day;
                let word = match reason {
                    R::OutsideWindow => "outside_window",
                    R::NoServiceDay | R::NotAServiceDay | R::TooLate | R::InvalidRange => "no_service_day",
                    R::Suspended => "suspended",
                    R::AlreadyCancelled => "already_cancelled",
                    R::AlreadyWhite => "already_white",
                    R::AlreadySuspended => "already_suspended",
                    R::NotSuspended => "not_suspended",
                    R::NothingToUndo => "nothing_to_undo",
                };
                self.reason = Some(word);
                word
            }
        }
    }

    fn is_operating(&self) -> bool {
        let state = self.plan.states.get(self.state).map(|s| &s.kind);
        matches!(state, Some(Kind::Action { action: Action::Operate, .. }))
    }

    /// Leaves an action by this outcome.
    fn go_on_after(&mut self, now: u64, outcome: &str) {
        let to = match self.plan.states.get(self.state).map(|s| &s.kind) {
            Some(Kind::Action { on, .. }) => on.get(outcome).copied(),
            _ => None,
        };
        match to {
            Some(to) => self.enter(now, to, How::Answered(Answer::of(outcome))),
            None => self.hang_up(),
        }
    }

    /// Notes a step.
    fn passes(&mut self, now: u64, how: How, to: usize) {
        if self.steps.len() < MOST_STEPS_KEPT
            && let Ok(to) = u16::try_from(to)
        {
            let at = u32::try_from(now.saturating_sub(self.began) / 100).unwrap_or(u32::MAX);
            self.steps.push_back(Step { how, to, at });
        }
    }

    fn enter(&mut self, now: u64, to: usize, how: How) {
        let (mut to, mut how) = (to, how);
        for _ in 0..MOST_STEPS {
            self.state = to;
            let plan = Arc::clone(&self.plan);
            let Some(state) = plan.states.get(to) else { return self.hang_up() };
            self.passes(now, how, to);
            match &state.kind {
                Kind::Play { play, next, barge_in, flush } => {
                    self.spoke = to;
                    // Keys typed ahead make what would be cut short go unsaid.
                    if *barge_in && !*flush && !self.keys_ahead.is_empty() && is_skippable(play) {
                        (to, how) = (*next, How::Cut);
                        continue;
                    }
                    let prompts = self.words(play);
                    if prompts.is_empty() {
                        (to, how) = (*next, How::Said);
                        continue;
                    }
                    let id = self.play(prompts);
                    self.waiting = Waiting::Play { id, next: *next, barge_in: *barge_in, flush: *flush };
                }
                Kind::Menu(Menu { prompting, .. }) | Kind::Digits(Digits { prompting, .. }) => {
                    (self.failures, self.timeouts) = (0, 0);
                    self.number.clear();
                    if !prompting.type_ahead {
                        self.keys_ahead.clear();
                    }
                    self.greet(now, prompting, &[], self.greeted.get(to).copied().unwrap_or(false));
                }
                Kind::Action { action, .. } => self.ask(now, *action),
                Kind::HangUp { play } => {
                    let prompts = self.words(play);
                    if prompts.is_empty() {
                        return self.hang_up();
                    }
                    let id = self.play(prompts);
                    self.waiting = Waiting::LastWords { id };
                }
            }
            return;
        }
        self.hang_up();
    }

    /// Speaks a greeting, unless keys wait already.
    fn greet(&mut self, now: u64, prompting: &Prompting, before: &[Part], short: bool) {
        if let Some(key) = self.keys_ahead.pop_front() {
            self.waiting = Waiting::Key { until: now + prompting.timeout_ms };
            return self.take_key(now, key);
        }
        let partial = self.partial_greeting();
        let greeting = match &partial {
            Some(partial) => partial,
            None if short => &prompting.greet_short,
            None => &prompting.greet_long,
        };
        let mut prompts = self.words(before);
        prompts.extend(self.words(greeting));
        if let Some(greeted) = self.greeted.get_mut(self.state) {
            *greeted = true;
        }
        let id = self.play(prompts);
        self.waiting = Waiting::Greeting { id };
    }

    /// What the ente offers; everything where the plan has not asked.
    fn offered(&self) -> Offered {
        self.hours.map_or(Offered::ALL, |hours| hours.offered)
    }

    fn menu(&self) -> Option<&Menu> {
        match &self.plan.states.get(self.state)?.kind {
            Kind::Menu(menu) => Some(menu),
            _ => None,
        }
    }

    /// The greeting of a menu not all of whose options are offered.
    fn partial_greeting(&self) -> Option<Vec<Part>> {
        let offered = self.offered();
        let menu = self.menu()?;
        let partial = !menu.greet_partial.is_empty() && menu.options().any(|option| !offered.contains(option));
        partial.then(|| menu.greet_partial.clone())
    }

    fn prompting(&self) -> Option<&Prompting> {
        match &self.plan.states.get(self.state)?.kind {
            Kind::Menu(menu) => Some(&menu.prompting),
            Kind::Digits(digits) => Some(&digits.prompting),
            _ => None,
        }
    }

    /// A key for the menu or number that is being waited for.
    fn take_key(&mut self, now: u64, key: char) {
        if matches!(self.waiting, Waiting::Greeting { .. }) {
            self.outputs.push_back(Output::Stop);
        }
        let plan = Arc::clone(&self.plan);
        match plan.states.get(self.state).map(|s| &s.kind) {
            Some(Kind::Menu(menu)) => self.menu_key(now, menu, key),
            Some(Kind::Digits(digits)) => self.number_key(now, digits, key),
            _ => {}
        }
    }

    fn menu_key(&mut self, now: u64, menu: &Menu, key: char) {
        match menu.keys.get(&key) {
            // A key whose option is not offered is no key.
            Some(Target::To(_, Some(option))) if !self.offered().contains(*option) => self.failed(now, &menu.prompting),
            Some(Target::To(to, option)) => {
                if let Some(option) = option {
                    self.choice = Some(*option);
                    (self.day, self.receipt) = (None, None);
                }
                self.enter(now, *to, How::Key(key as u8));
            }
            Some(Target::Back) => {
                self.keys_ahead.clear();
                self.enter(now, self.spoke, How::Key(key as u8));
            }
            None if menu.repeat == Some(key) => {
                self.passes(now, How::Again, self.state);
                self.keys_ahead.clear();
                self.greet(now, &menu.prompting, &[], false);
            }
            None => self.failed(now, &menu.prompting),
        }
    }

    fn number_key(&mut self, now: u64, digits: &Digits, key: char) {
        if key == digits.terminator {
            return self.number_ended(now);
        }
        if !key.is_ascii_digit() {
            // `*`: begin again.
            self.passes(now, How::Again, self.state);
            self.number.clear();
            self.keys_ahead.clear();
            return self.greet(now, &digits.prompting, &[], true);
        }
        self.number.push(key);
        if self.number.len() >= digits.digit_len {
            self.swallow = Some(digits.terminator);
            return self.enter(now, digits.next, How::Number);
        }
        match self.keys_ahead.pop_front() {
            Some(next) => self.number_key(now, digits, next),
            None => self.waiting = Waiting::MoreDigits { until: now + digits.inter_digit_timeout_ms },
        }
    }

    /// The terminator, or too long a pause.
    fn number_ended(&mut self, now: u64) {
        let plan = Arc::clone(&self.plan);
        let Some(Kind::Digits(digits)) = plan.states.get(self.state).map(|s| &s.kind) else { return };
        if self.number.is_empty() {
            return self.on_silence(now);
        }
        self.number.clear();
        self.failed(now, &digits.prompting);
    }

    fn failed(&mut self, now: u64, prompting: &Prompting) {
        self.failures += 1;
        self.passes(now, How::Wrong, self.state);
        // Whatever else was typed was meant for something else.
        self.keys_ahead.clear();
        if self.failures >= prompting.max_failures {
            return self.exit(now, prompting);
        }
        self.greet(now, prompting, &prompting.invalid_sound, true);
    }

    fn on_silence(&mut self, now: u64) {
        let plan = Arc::clone(&self.plan);
        let prompting = match plan.states.get(self.state).map(|s| &s.kind) {
            Some(Kind::Menu(menu)) => &menu.prompting,
            Some(Kind::Digits(digits)) => &digits.prompting,
            _ => return,
        };
        self.timeouts += 1;
        self.passes(now, How::Silence, self.state);
        if self.timeouts >= prompting.max_timeouts {
            return self.exit(now, prompting);
        }
        self.greet(now, prompting, &prompting.timeout_sound, true);
    }

    fn exit(&mut self, now: u64, prompting: &Prompting) {
        let prompts = self.words(&prompting.exit_sound);
        if prompts.is_empty() {
            return self.enter(now, prompting.exit, How::TooMany);
        }
        let id = self.play(prompts);
        self.waiting = Waiting::ExitSound { id, to: prompting.exit };
    }

    fn ask(&mut self, now: u64, action: Action) {
        let id = self.new_id();
        self.waiting = Waiting::Desk { id, until: now + DESK_PATIENCE_MS };
        let request = match (action, self.child, self.choice) {
            (Action::Hours, ..) => Request::Hours,
            (Action::Identify, ..) => Request::Identify { code: std::mem::take(&mut self.number) },
            (Action::Preview, Some(child), Some(choice)) => {
                (self.day, self.receipt) = (None, None);
                Request::Preview { child, choice }
            }
            (Action::Operate, Some(child), Some(choice)) => self.operation(child, choice),
            (Action::Outlook { days }, Some(child), _) => Request::Outlook { child, days },
            // A plan that operates before it has asked for whom or what: nothing can be done.
            _ => return self.on_reply(now, id, Reply::Unavailable),
        };
        self.outputs.push_back(Output::Ask { id, request });
    }

    /// The operation under a fresh number, unless it is the very one that got no answer.
    fn operation(&mut self, child: ChildId, choice: Choice) -> Request {
        let numbered = |sequence| Request::Operate { child, choice, expected: self.day, sequence };
        let again = self.sent.as_ref().as_ref().is_some_and(|(sent, answered)| !answered && *sent == numbered(self.sequence));
        if !again {
            self.sequence += 1;
        }
        let request = Request::Operate { child, choice, expected: self.day, sequence: self.sequence };
        self.sent = Some((request.clone(), false));
        request
    }

    /// Prompt names of what is to be said.
    fn words(&self, parts: &[Part]) -> Vec<String> {
        let time = |t: Option<NaiveTime>| t.map(speech::time).unwrap_or_default();
        let mut names = Vec::new();
        for part in parts {
            match part {
                Part::Prompt(name) => names.push(name.clone()),
                Part::ByOption(stem) => names.extend(self.choice.map(|c| format!("{stem}{}", option_word(c)))),
                Part::ByReason(stem) => names.extend(self.reason.map(|r| format!("{stem}{r}"))),
                Part::ByOffered(stem) => {
                    let offered = self.offered();
                    let options = self.menu().into_iter().flat_map(Menu::options).filter(|option| offered.contains(*option));
                    names.extend(options.map(|option| format!("{stem}{}", option_word(option))));
                }
                Part::Day => names.extend(self.day.into_iter().flat_map(speech::day)),
                Part::Receipt => names.extend(self.receipt.iter().flat_map(|r| speech::digits(r))),
                Part::Opens => names.extend(time(self.hours.map(|h| h.opens))),
                Part::Closes => names.extend(time(self.hours.map(|h| h.closes))),
                Part::Outlook => {
                    for outlook in &self.outlook {
                        names.extend(speech::day(outlook.day));
                        names.push(state_prompt(outlook.state).to_owned());
                    }
                }
            }
        }
        names
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn play(&mut self, prompts: Vec<String>) -> u64 {
        let id = self.new_id();
        self.outputs.push_back(Output::Play { id, prompts });
        id
    }

    fn hang_up(&mut self) {
        self.waiting = Waiting::Over;
        self.outputs.push_back(Output::HangUp);
    }
}

/// What names a day or a receipt is always begun: the caller has to hear what was done.
fn is_skippable(play: &[Part]) -> bool {
    !play.iter().any(|part| matches!(part, Part::Receipt | Part::Day | Part::ByReason(_)))
}
