//! The way a call took through its plan: which states, how it came to each, when. Pure.
//!
//! Keys of menus are kept, for they say what was wanted; a number that was typed (a code) is not.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use super::plan::{Action, Kind, PHONE_REASONS, Plan};
use crate::desk::calls::{Flow, Outcome, Passage};

/// Steps of a call that are kept: more than anybody takes who wants something. Beyond them they are only counted.
pub const MOST_STEPS: usize = 128;

/// Answers of the desk beside the reasons of a refusal.
const ANSWERS: [&str; 11] =
    ["open", "closed", "unavailable", "known", "unknown", "too_many", "shut_out", "accepted", "day_changed", "days", "none"];

/// An answer of the desk, one of those that [`Action::outcomes`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer(u8);

impl Answer {
    /// Of its word; a word that nobody says is as `none`.
    pub fn of(word: &str) -> Self {
        Self::known(word).unwrap_or(Self(ANSWERS.len() as u8 - 1))
    }

    fn known(word: &str) -> Option<Self> {
        let at = ANSWERS.iter().chain(&PHONE_REASONS).position(|w| *w == word)?;
        u8::try_from(at).ok().map(Self)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        ANSWERS.iter().chain(&PHONE_REASONS).nth(self.0.into()).copied().unwrap_or("none")
    }
}

/// How a call came to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It began there.
    Begun,
    /// What was said before has been said.
    Said,
    /// A key cut short what was said before, or it went unsaid for the keys typed ahead.
    Cut,
    /// This key of a menu.
    Key(u8),
    /// The number was complete.
    Number,
    /// Too many wrong keys or silences.
    TooMany,
    /// The desk answered so.
    Answered(Answer),
    /// It stayed: a wrong key, or a number that was not complete.
    Wrong,
    /// It stayed: no key came.
    Silence,
    /// It stayed: the caller wanted to hear it again.
    Again,
}

impl How {
    /// Its word in the counts: a key, an answer, or what else it was. Nothing after what was said.
    pub fn word(self) -> String {
        match self {
            Self::Begun | Self::Said | Self::Cut => String::new(),
            Self::Key(key) => char::from(key).to_string(),
            Self::Number => "number".to_owned(),
            Self::TooMany => "exit".to_owned(),
            Self::Answered(answer) => answer.word().to_owned(),
            Self::Wrong => "wrong".to_owned(),
            Self::Silence => "silence".to_owned(),
            Self::Again => "again".to_owned(),
        }
    }

    fn code(self) -> String {
        match self {
            Self::Begun => "b".to_owned(),
            Self::Said => "p".to_owned(),
            Self::Cut => "c".to_owned(),
            Self::Key(key) => format!("k{}", char::from(key)),
            Self::Number => "n".to_owned(),
            Self::TooMany => "x".to_owned(),
            Self::Answered(answer) => format!("o{}", answer.word()),
            Self::Wrong => "w".to_owned(),
            Self::Silence => "s".to_owned(),
            Self::Again => "a".to_owned(),
        }
    }

    fn of_code(code: &str) -> Option<Self> {
        let mut chars = code.chars();
        let (kind, rest) = (chars.next()?, chars.as_str());
        match (kind, rest) {
            ('k', key) => key.bytes().next().filter(|k| key.len() == 1 && is_key(*k)).map(Self::Key),
            ('o', word) => Answer::known(word).map(Self::Answered),
            (_, rest) if !rest.is_empty() => None,
            ('b', _) => Some(Self::Begun),
            ('p', _) => Some(Self::Said),
            ('c', _) => Some(Self::Cut),
            ('n', _) => Some(Self::Number),
            ('x', _) => Some(Self::TooMany),
            ('w', _) => Some(Self::Wrong),
            ('s', _) => Some(Self::Silence),
            ('a', _) => Some(Self::Again),
            _ => None,
        }
    }
}

fn is_key(key: u8) -> bool {
    matches!(key, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')
}

/// A step of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How it came to the state.
    pub how: How,
    /// The state's index in its plan.
    pub to: u16,
    /// When, in tenths of a second from the answer.
    pub at: u32,
}

/// The steps of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path {
    /// The first [`MOST_STEPS`] steps.
    pub steps: Vec<Step>,
    /// The last step, where there were more; and how many are missing before it.
    pub last: Option<(u32, Step)>,
}

impl Path {
    /// One step more.
    pub fn push(&mut self, step: Step) {
        if self.steps.len() < MOST_STEPS {
            self.steps.push(step);
        } else {
            let missing = self.last.map_or(0, |(missing, _)| missing.saturating_add(1));
            self.last = Some((missing, step));
        }
    }

    /// Where the call is, or was at its end.
    pub fn state(&self) -> Option<u16> {
        self.last.map(|(_, step)| step).or_else(|| self.steps.last().copied()).map(|step| step.to)
    }

    /// As it is kept with the call's record: `b>0@0 oopen>1@0 p>3@41 n>5@92 …`; ` +7` where seven are missing.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.steps.len() * 10);
        let mut put = |step: &Step| {
            let gap = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{gap}{}>{}@{}", step.how.code(), step.to, step.at);
        };
        self.steps.iter().for_each(&mut put);
        if let Some((missing, step)) = &self.last {
            put(step);
            let _ = write!(text, " +{missing}");
        }
        text
    }

    /// Reads what [`Path::text`] wrote; `None` where it is nothing of that kind.
    pub fn parse(text: &str) -> Option<Self> {
        let mut path = Self::default();
        let mut missing = None;
        for word in text.split_whitespace().take(MOST_STEPS + 2) {
            if let Some(n) = word.strip_prefix('+') {
                missing = Some(n.parse().ok()?);
                continue;
            }
            let (how, rest) = word.split_once('>')?;
            let (to, at) = rest.split_once('@')?;
            path.push(Step { how: How::of_code(how)?, to: to.parse().ok()?, at: at.parse().ok()? });
        }
        if let (Some(missing), Some((n, _))) = (missing, &mut path.last) {
            *n = missing;
        }
        Some(path)
    }
}

/// A call's way, and the plan that it went by.
#[derive(Debug, Clone)]
pub struct Travelled {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The way.
    pub path: Path,
}

/// How an answered call ended, as far as the line is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The caller let go.
    Caller,
    /// The line did, as the plan says.
    Line,
    /// Something went wrong.
    Failed,
}

impl Travelled {
    fn name(&self, state: u16) -> String {
        self.plan.states.get(usize::from(state)).map_or_else(String::new, |s| s.name.clone())
    }

    fn is_operating(&self, state: u16) -> bool {
        let kind = self.plan.states.get(usize::from(state)).map(|s| &s.kind);
        matches!(kind, Some(Kind::Action { action: Action::Operate, .. }))
    }

    fn says_goodbye(&self, state: u16) -> bool {
        matches!(self.plan.states.get(usize::from(state)).map(|s| &s.kind), Some(Kind::HangUp { .. }))
    }

    /// Was something registered in the call?
    pub fn has_registered(&self) -> bool {
        let accepted = How::Answered(Answer::of("accepted"));
        self.path.steps.windows(2).any(|pair| self.is_operating(pair[0].to) && pair[1].how == accepted)
    }

    /// What came of it.
    pub fn outcome(&self, end: End) -> Outcome {
        let goodbye = self.path.state().is_some_and(|state| self.says_goodbye(state));
        match end {
            _ if self.has_registered() => Outcome::Registered,
            End::Failed => Outcome::Failed,
            // Whoever hangs up on the last words has heard what there was.
            End::Caller if !goodbye => Outcome::HungUp,
            End::Caller | End::Line => Outcome::Ended,
        }
    }

    /// What is counted of it: each state that was reached (`to` alone), each way from a state to another, and where and how it ended (`from` alone), each
    /// with the number of times.
    pub fn flow(&self, end: End) -> Flow {
        let mut counts: BTreeMap<(Option<u16>, String, Option<u16>), u32> = BTreeMap::new();
        let mut before = None;
        for step in &self.path.steps {
            *counts.entry((None, String::new(), Some(step.to))).or_default() += 1;
            if let Some(from) = before {
                *counts.entry((Some(from), step.how.word(), Some(step.to))).or_default() += 1;
            }
            before = Some(step.to);
        }
        if let Some(state) = self.path.state() {
            counts.insert((Some(state), self.outcome(end).word().to_owned(), None), 1);
        }
        let name = |state: Option<u16>| state.map(|s| self.name(s)).unwrap_or_default();
        let passages = counts.into_iter().map(|((from, way, to), passes)| Passage { from: name(from), way, to: name(to), passes });
        Flow {
            plan: Arc::clone(&self.plan.source),
            passages: passages.collect(),
            last_step: self.path.state().map(|s| self.name(s)),
            path: self.path.text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn travelled(text: &str) -> Travelled {
        let plan = Plan::load(std::path::Path::new("dialplans/mensa.toml")).unwrap();
        let index = |name: &str| plan.states.iter().position(|s| s.name == name).unwrap();
        let mut path = Path::default();
        for (at, word) in text.split(' ').enumerate() {
            let (how, to) = word.split_once('>').unwrap();
            path.push(Step { how: How::of_code(how).unwrap(), to: index(to) as u16, at: at as u32 * 10 });
        }
        Travelled { plan: Arc::new(plan), path }
    }

    const USUAL: &str = "b>orario oopen>benvenuto c>codice n>riconosci oknown>menu k1>anteprima oaccepted>conferma k1>registra oaccepted>registrata \
        p>altro";

    #[test]
    fn what_is_counted_of_a_call() {
        let call = travelled(&USUAL.replace("n>riconosci", "w>codice s>codice n>riconosci"));
        let counted = call.flow(End::Caller);
        let lines: Vec<_> = counted.passages.iter().map(|p| format!("{} -{}-> {} {}", p.from, p.way, p.to, p.passes)).collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert_eq!(counted.last_step.as_deref(), Some("altro"));
        assert_eq!(Path::parse(&counted.path), Some(call.path));
    }

    #[test]
    fn what_came_of_a_call() {
        let of = |text: &str, end| travelled(text).outcome(end);
        let before = USUAL.split_once(" oaccepted>registrata").unwrap().0;
        assert_eq!(of(USUAL, End::Caller), Outcome::Registered, "whoever has heard the receipt may hang up");
        assert_eq!(of(before, End::Caller), Outcome::HungUp);
        assert_eq!(of(before, End::Failed), Outcome::Failed);
        assert_eq!(of("b>orario oclosed>chiuso", End::Caller), Outcome::Ended, "on the last words");
        assert_eq!(of("b>orario oclosed>chiuso", End::Line), Outcome::Ended);
        assert_eq!(of("b>orario oopen>benvenuto c>codice n>riconosci otoo_many>troppi_errori", End::Line), Outcome::Ended);
    }

    #[test]
    fn a_storm_of_keys_is_cut_and_counted() {
        let mut path = Path::default();
        for n in 0..1_000 {
            path.push(Step { how: How::Again, to: n % 7, at: n.into() });
        }
        assert_eq!((path.steps.len(), path.last.map(|(missing, step)| (missing, step.at))), (MOST_STEPS, Some((871, 999))));
        assert_eq!(Path::parse(&path.text()), Some(path));
    }

    #[test]
    fn every_answer_keeps_its_word() {
        let actions = [Action::Hours, Action::Identify, Action::Preview, Action::Operate, Action::Outlook { days: 5 }];
        for word in actions.into_iter().flat_map(Action::outcomes) {
            assert_eq!(Answer::of(word).word(), word);
            assert!(Answer::known(word).is_some(), "{word}");
        }
    }

    fn how() -> impl Strategy<Value = How> {
        let key = "[0-9*#A-D]".prop_map(|k| How::Key(k.as_bytes()[0]));
        let answer = (0u8..19).prop_map(|a| How::Answered(Answer(a)));
        let plain =
            prop::sample::select(vec![How::Begun, How::Said, How::Cut, How::Number, How::TooMany, How::Wrong, How::Silence, How::Again]);
        prop_oneof![key, answer, plain]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(steps in prop::collection::vec((how(), any::<u16>(), any::<u32>()), 0..300)) {
            let mut path = Path::default();
            for (how, to, at) in steps {
                path.push(Step { how, to, at });
            }
            prop_assert_eq!(Path::parse(&path.text()), Some(path));
        }

        #[test]
        fn nonsense_is_nothing_and_no_panic(text in "\\PC{0,200}") {
            let _ = Path::parse(&text);
        }
    }
}
