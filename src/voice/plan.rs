//! The dialplan: a TOML file in the words that FreeSWITCH and VoiceXML users know (design §6).

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use serde::Deserialize;
use serde_spanned::Spanned;
use sha2::{Digest, Sha256};

use crate::{canteen::Choice, desk::calls::PlanText};

/// A dialplan, ready to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Short name.
    pub name: String,
    /// Title, for people.
    pub title: String,
    /// Index of the first state.
    pub start: usize,
    /// Wrong codes borne in one call.
    pub max_wrong_codes: u32,
    /// The longest call, in ms.
    pub max_call_ms: u64,
    /// The states, in the order of the file; others are referred to by index.
    pub states: Vec<State>,
    /// What it was read from.
    pub source: Arc<PlanText>,
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its name in the file.
    pub name: String,
    /// What it is, for the office; its name where the file does not say.
    pub title: String,
    /// The line on which it begins.
    pub line: usize,
    /// What it does.
    pub kind: Kind,
}

/// What a state does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Speaks and goes on.
    Play {
        /// What is said.
        play: Vec<Part>,
        /// Where it goes on.
        next: usize,
        /// May a key cut it short? The key is kept for what follows.
        barge_in: bool,
        /// Are keys pressed before its end thrown away?
        flush: bool,
    },
    /// Offers keys.
    Menu(Menu),
    /// Takes a number.
    Digits(Digits),
    /// Asks the desk.
    Action {
        /// What.
        action: Action,
        /// Where each outcome leads.
        on: BTreeMap<String, usize>,
    },
    /// Speaks and hangs up.
    HangUp {
        /// What is said.
        play: Vec<Part>,
    },
}

/// How a state that waits for keys speaks and how patient it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompting {
    /// What is said the first time in a call, and on `repeat`.
    pub greet_long: Vec<Part>,
    /// What is said later.
    pub greet_short: Vec<Part>,
    /// What is said before the greeting after a wrong key.
    pub invalid_sound: Vec<Part>,
    /// What is said before the greeting after silence.
    pub timeout_sound: Vec<Part>,
    /// What is said before `exit`.
    pub exit_sound: Vec<Part>,
    /// How long to wait for a key after the greeting, in ms.
    pub timeout_ms: u64,
    /// Wrong keys borne.
    pub max_failures: u32,
    /// Silences borne.
    pub max_timeouts: u32,
    /// Where too many of either lead.
    pub exit: usize,
    /// Do keys count that were pressed before it began?
    pub type_ahead: bool,
}

/// A menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {
    /// Its speaking and patience.
    pub prompting: Prompting,
    /// Where each key leads.
    pub keys: BTreeMap<char, Target>,
    /// The key that repeats the greeting.
    pub repeat: Option<char>,
    /// What is said in place of both greetings where the ente does not offer all its options.
    pub greet_partial: Vec<Part>,
}

impl Menu {
    /// The options that its keys choose, in their order.
    pub fn options(&self) -> impl Iterator<Item = Choice> {
        self.keys.values().filter_map(|target| match target {
            Target::To(_, option) => *option,
            Target::Back => None,
        })
    }
}

/// Where a key leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a state, choosing what is wanted where told.
    To(usize, Option<Choice>),
    /// To the state that spoke just before the menu.
    Back,
}

/// Taking a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits {
    /// Its speaking and patience.
    pub prompting: Prompting,
    /// How many digits; the last one ends it.
    pub digit_len: usize,
    /// The key that ends it earlier.
    pub terminator: char,
    /// How long to wait between two digits, in ms.
    pub inter_digit_timeout_ms: u64,
    /// Where the number leads.
    pub next: usize,
}

/// What the desk can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Is the line open?
    Hours,
    /// Whose code was typed?
    Identify,
    /// On which day would it fall?
    Preview,
    /// Do it.
    Operate,
    /// What stands on the next days?
    Outlook {
        /// How many days.
        days: usize,
    },
}

/// The reasons with which the desk refuses on the phone, and which a `rifiuto_{reason}` prompt must know.
pub const PHONE_REASONS: [&str; 8] = [
    "outside_window",
    "no_service_day",
    "suspended",
    "already_cancelled",
    "already_white",
    "already_suspended",
    "not_suspended",
    "nothing_to_undo",
];

impl Action {
    /// The outcomes it can have.
    pub fn outcomes(self) -> Vec<&'static str> {
        let reasons = PHONE_REASONS.iter().copied();
        match self {
            Self::Hours => vec!["open", "closed", "unavailable"],
            Self::Identify => vec!["known", "unknown", "too_many", "shut_out", "unavailable"],
            Self::Preview => ["accepted", "unavailable"].into_iter().chain(reasons).collect(),
            Self::Operate => ["accepted", "day_changed", "unavailable"].into_iter().chain(reasons).collect(),
            Self::Outlook { .. } => vec!["days", "none", "unavailable"],
        }
    }
}

/// A piece of what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A prompt by name.
    Prompt(String),
    /// A prompt whose name ends in the chosen option: `registrata_{option}`.
    ByOption(String),
    /// A prompt whose name ends in the reason of a refusal: `rifiuto_{reason}`.
    ByReason(String),
    /// For each option of the menu that the ente offers a prompt whose name ends in it: `tasto_{options}`.
    ByOffered(String),
    /// The day: weekday, number, month. Nothing where there is none.
    Day,
    /// The receipt number, digit by digit.
    Receipt,
    /// The time at which the line opens.
    Opens,
    /// The time at which it closes.
    Closes,
    /// The next days, each with what stands.
    Outlook,
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "{day}" => Self::Day,
            "{receipt}" => Self::Receipt,
            "{opens}" => Self::Opens,
            "{closes}" => Self::Closes,
            "{outlook}" => Self::Outlook,
            _ if text.ends_with("{options}") => Self::ByOffered(text.trim_end_matches("{options}").to_owned()),
            _ => match (text.strip_suffix("{option}"), text.strip_suffix("{reason}")) {
                (Some(stem), _) => Self::ByOption(stem.to_owned()),
                (_, Some(stem)) => Self::ByReason(stem.to_owned()),
                _ if text.contains(['{', '}']) => return Err(format!("unknown value in \"{text}\"")),
                _ => Self::Prompt(text.to_owned()),
            },
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt(name) => f.write_str(name),
            Self::ByOption(stem) => write!(f, "{stem}{{option}}"),
            Self::ByReason(stem) => write!(f, "{stem}{{reason}}"),
            Self::ByOffered(stem) => write!(f, "{stem}{{options}}"),
            Self::Day => f.write_str("{day}"),
            Self::Receipt => f.write_str("{receipt}"),
            Self::Opens => f.write_str("{opens}"),
            Self::Closes => f.write_str("{closes}"),
            Self::Outlook => f.write_str("{outlook}"),
        }
    }
}

/// Something wrong with a dialplan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file could not be read.
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    /// What it says is wrong.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
}

impl Plan {
    /// Reads a dialplan from a file.
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| PlanError::Read(file.clone(), e))?;
        Self::parse(&file, &text).map_err(PlanError::Problems)
    }

    /// Reads a dialplan; `file` is for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let line_of = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
        let toml: PlanToml = toml::from_str(text).map_err(|e| {
            vec![Problem { file: file.to_owned(), line: e.span().map_or(1, |s| line_of(s.start)), message: e.message().to_owned() }]
        })?;
        let mut names: Vec<_> = toml.state.iter().map(|(name, state)| (line_of(state.span().start), name.as_str())).collect();
        names.sort_unstable();
        let mut reader = Reader { file, line_of: &line_of, names: &names, line: 1, problems: Vec::new() };
        let start = reader.target(&toml.start);
        let mut states = Vec::with_capacity(names.len());
        for (line, name) in &names {
            let Some(state) = toml.state.get(*name) else { continue };
            reader.line = *line;
            let kind = reader.state(state.get_ref());
            let title = reader.title(state.get_ref().title()).unwrap_or_else(|| name.replace('_', " "));
            states.push(State { name: (*name).to_owned(), title, line: *line, kind });
        }
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        let source = Arc::new(PlanText::new(fingerprint(text), &toml.name, &toml.title, text));
        let (max_wrong_codes, max_call_ms) = (toml.max_wrong_codes, toml.max_call_ms);
        Ok(Self { name: toml.name, title: toml.title, start, max_wrong_codes, max_call_ms, states, source })
    }

    /// The places to which a state leads, each with the key, outcome or reason of going there.
    pub fn ways(&self, state: &State) -> Vec<(String, usize)> {
        match &state.kind {
            Kind::Play { next, .. } => vec![(String::new(), *next)],
            Kind::Menu(menu) => {
                let keys = menu.keys.iter().filter_map(|(key, target)| match target {
                    Target::To(to, option) => Some((option.map_or(key.to_string(), |o| format!("{key} {}", option_word(o))), *to)),
                    Target::Back => None,
                });
                keys.chain([("troppi errori".to_owned(), menu.prompting.exit)]).collect()
            }
            Kind::Digits(digits) => {
                vec![(format!("{} cifre", digits.digit_len), digits.next), ("troppi errori".to_owned(), digits.prompting.exit)]
            }
            Kind::Action { on, .. } => on.iter().map(|(outcome, to)| (outcome.clone(), *to)).collect(),
            Kind::HangUp { .. } => vec![],
        }
    }
}

/// What tells one version of a plan from another: whatever it says, without comments and blanks.
fn fingerprint(text: &str) -> String {
    let said = toml::from_str::<toml::Table>(text).ok().and_then(|table| toml::to_string(&table).ok());
    let digest = Sha256::digest(said.as_deref().unwrap_or(text).as_bytes());
    digest.iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The word of an option in prompt names and in the file.
pub fn option_word(option: Choice) -> &'static str {
    match option {
        Choice::Cancel => "cancel",
        Choice::White => "white",
        Choice::Suspend => "suspend",
        Choice::Resume => "resume",
        Choice::Undo => "undo",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanToml {
    name: String,
    title: String,
    start: Spanned<String>,
    #[serde(default = "three")]
    max_wrong_codes: u32,
    max_call_ms: u64,
    state: BTreeMap<String, Spanned<StateToml>>,
}

fn three() -> u32 {
    3
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum StateToml {
    Play {
        #[serde(default)]
        title: Option<String>,
        play: Vec<String>,
        next: String,
        #[serde(default = "yes")]
        barge_in: bool,
        #[serde(default)]
        flush: bool,
    },
    Menu {
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        greet_long: Vec<String>,
        #[serde(default)]
        greet_short: Vec<String>,
        #[serde(default)]
        greet_partial: Vec<String>,
        #[serde(default)]
        invalid_sound: Vec<String>,
        #[serde(default)]
        timeout_sound: Vec<String>,
        #[serde(default)]
        exit_sound: Vec<String>,
        timeout_ms: u64,
        max_failures: u32,
        max_timeouts: u32,
        exit: String,
        #[serde(default = "yes")]
        type_ahead: bool,
        keys: BTreeMap<String, KeyToml>,
        repeat: Option<String>,
    },
    Digits {
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        greet_long: Vec<String>,
        #[serde(default)]
        greet_short: Vec<String>,
        #[serde(default)]
        invalid_sound: Vec<String>,
        #[serde(default)]
        timeout_sound: Vec<String>,
        #[serde(default)]
        exit_sound: Vec<String>,
        timeout_ms: u64,
        max_failures: u32,
        max_timeouts: u32,
        exit: String,
        #[serde(default = "yes")]
        type_ahead: bool,
        digit_len: usize,
        terminator: String,
        inter_digit_timeout_ms: u64,
        next: String,
    },
    Action {
        #[serde(default)]
        title: Option<String>,
        r#do: String,
        #[serde(default)]
        days: Option<usize>,
        on: BTreeMap<String, String>,
    },
    Hangup {
        #[serde(default)]
        title: Option<String>,
        #[serde(default)]
        play: Vec<String>,
    },
}

impl StateToml {
    fn title(&self) -> Option<&str> {
        match self {
            Self::Play { title, .. }
            | Self::Menu { title, .. }
            | Self::Digits { title, .. }
            | Self::Action { title, .. }
            | Self::Hangup { title, .. } => title.as_deref(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyToml {
    to: Option<String>,
    option: Option<Choice>,
    #[serde(default)]
    back: bool,
}

/// The longest that a state may wait for a key, in ms: a caller must not be kept on a dead line.
const LONGEST_WAIT_MS: u64 = 60_000;

/// The longest title of a state, in characters: it stands in a box of the drawing.
const LONGEST_TITLE: usize = 40;

struct Reader<'a> {
    file: &'a str,
    line_of: &'a dyn Fn(usize) -> usize,
    names: &'a [(usize, &'a str)],
    /// Where the state that is being read begins.
    line: usize,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn wrong(&mut self, message: impl Into<String>) {
        self.problems.push(Problem { file: self.file.to_owned(), line: self.line, message: message.into() });
    }

    fn target(&mut self, name: &Spanned<String>) -> usize {
        self.line = (self.line_of)(name.span().start);
        self.state_named(name.get_ref())
    }

    fn state_named(&mut self, name: &str) -> usize {
        let found = self.names.iter().position(|(_, other)| *other == name);
        found.unwrap_or_else(|| {
            self.wrong(format!("there is no state \"{name}\""));
            0
        })
    }

    fn parts(&mut self, texts: &[String]) -> Vec<Part> {
        let mut parts = Vec::with_capacity(texts.len());
        for text in texts {
            match Part::parse(text) {
                Ok(part) => parts.push(part),
                Err(message) => self.wrong(message),
            }
        }
        parts
    }

    fn title(&mut self, title: Option<&str>) -> Option<String> {
        let title = title?.trim();
        if title.is_empty() || title.chars().count() > LONGEST_TITLE {
            self.wrong(format!("title must have from 1 to {LONGEST_TITLE} characters"));
        }
        Some(title.to_owned())
    }

    fn key(&mut self, text: &str) -> Option<char> {
        let mut chars = text.chars();
        if let (Some(key @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) = (chars.next(), chars.next()) {
            Some(key)
        } else {
            self.wrong(format!("\"{text}\" is no key"));
            None
        }
    }

    fn state(&mut self, state: &StateToml) -> Kind {
        match state {
            StateToml::Play { play, next, barge_in, flush, .. } => {
                if play.is_empty() {
                    self.wrong("a play state says nothing");
                }
                Kind::Play { play: self.parts(play), next: self.state_named(next), barge_in: *barge_in, flush: *flush }
            }
            StateToml::Menu {
                greet_long,
                greet_short,
                greet_partial,
                invalid_sound,
                timeout_sound,
                exit_sound,
                timeout_ms,
                max_failures,
                max_timeouts,
                exit,
                type_ahead,
                keys,
                repeat,
                ..
            } => {
                let sounds = [greet_long, greet_short, invalid_sound, timeout_sound, exit_sound];
                let prompting = self.prompting(sounds, *timeout_ms, (*max_failures, *max_timeouts), exit, *type_ahead);
                let mut targets = BTreeMap::new();
                for (key, target) in keys {
                    if let (Some(key), Some(target)) = (self.key(key), self.key_target(key, target)) {
                        targets.insert(key, target);
                    }
                }
                let repeat = repeat.as_deref().and_then(|key| self.key(key));
                if let Some(key) = repeat.filter(|key| targets.contains_key(key)) {
                    self.wrong(format!("key {key} both repeats and leads elsewhere"));
                }
                Kind::Menu(Menu { prompting, keys: targets, repeat, greet_partial: self.parts(greet_partial) })
            }
            StateToml::Digits {
                greet_long,
                greet_short,
                invalid_sound,
                timeout_sound,
                exit_sound,
                timeout_ms,
                max_failures,
                max_timeouts,
                exit,
                type_ahead,
                digit_len,
                terminator,
                inter_digit_timeout_ms,
                next,
                ..
            } => {
                let sounds = [greet_long, greet_short, invalid_sound, timeout_sound, exit_sound];
                let prompting = self.prompting(sounds, *timeout_ms, (*max_failures, *max_timeouts), exit, *type_ahead);
                if !(1..=32).contains(digit_len) {
                    self.wrong("digit_len must be from 1 to 32");
                }
                if !(500..=LONGEST_WAIT_MS).contains(inter_digit_timeout_ms) {
                    self.wrong(format!("inter_digit_timeout_ms must be from 500 to {LONGEST_WAIT_MS}"));
                }
                Kind::Digits(Digits {
                    prompting,
                    digit_len: *digit_len,
                    terminator: self.key(terminator).unwrap_or('#'),
                    inter_digit_timeout_ms: *inter_digit_timeout_ms,
                    next: self.state_named(next),
                })
            }
            StateToml::Action { r#do, days, on, .. } => self.action(r#do, *days, on),
            StateToml::Hangup { play, .. } => Kind::HangUp { play: self.parts(play) },
        }
    }

    fn prompting(
        &mut self,
        [greet_long, greet_short, invalid, timeout, exit_sound]: [&Vec<String>; 5],
        timeout_ms: u64,
        (max_failures, max_timeouts): (u32, u32),
        exit: &str,
        type_ahead: bool,
    ) -> Prompting {
        if greet_long.is_empty() {
            self.wrong("greet_long is missing: the caller would hear nothing");
        }
        if !(100..=LONGEST_WAIT_MS).contains(&timeout_ms) {
            self.wrong(format!("timeout_ms must be from 100 to {LONGEST_WAIT_MS}"));
        }
        if max_failures == 0 || max_timeouts == 0 {
            self.wrong("max_failures and max_timeouts must be at least 1");
        }
        let greet_short = if greet_short.is_empty() { greet_long } else { greet_short };
        Prompting {
            greet_long: self.parts(greet_long),
            greet_short: self.parts(greet_short),
            invalid_sound: self.parts(invalid),
            timeout_sound: self.parts(timeout),
            exit_sound: self.parts(exit_sound),
            timeout_ms,
            max_failures,
            max_timeouts,
            exit: self.state_named(exit),
            type_ahead,
        }
    }

    fn key_target(&mut self, key: &str, target: &KeyToml) -> Option<Target> {
        match (&target.to, target.back) {
            (Some(to), false) => Some(Target::To(self.state_named(to), target.option)),
            (None, true) => Some(Target::Back),
            _ => {
                self.wrong(format!("key {key} must have either \"to\" or \"back = true\""));
                None
            }
        }
    }

    fn action(&mut self, word: &str, days: Option<usize>, on: &BTreeMap<String, String>) -> Kind {
        let action = match word {
            "hours" => Action::Hours,
            "identify" => Action::Identify,
            "preview" => Action::Preview,
            "operate" => Action::Operate,
            "outlook" => Action::Outlook { days: days.unwrap_or(5).clamp(1, 10) },
            _ => {
                self.wrong(format!("\"{word}\" is nothing that the desk does: hours, identify, preview, operate, outlook"));
                Action::Hours
            }
        };
        if days.is_some() && !matches!(action, Action::Outlook { .. }) {
            self.wrong("only outlook takes \"days\"");
        }
        let outcomes = action.outcomes();
        for outcome in on.keys().filter(|o| *o != "default" && !outcomes.contains(&o.as_str())) {
            self.wrong(format!("{word} has no outcome \"{outcome}\""));
        }
        let default = on.get("default");
        let mut targets = BTreeMap::new();
        for outcome in outcomes {
            match on.get(outcome).or(default) {
                Some(to) => {
                    let to = self.state_named(to);
                    targets.insert(outcome.to_owned(), to);
                }
                None => self.wrong(format!("{word}: nothing is said of the outcome \"{outcome}\", and there is no default")),
            }
        }
        Kind::Action { action, on: targets }
    }
}
