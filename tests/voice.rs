//! Whole conversations, as people would hear them, and storms of keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unnecessary_wraps,
    clippy::format_push_string,
    reason = "a test may panic, and reads better so"
)]

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, LazyLock, Mutex},
};

use chrono::{NaiveDate, NaiveTime};
use proptest::prelude::*;
use voceguida::{
    canteen::{ChildId, Choice, DayState, EnteId, Reason, offer::Offered},
    desk::line::{Caller, DayOutlook, DeskUnavailable, Identification, Identified, LineDesk, LineHours, LineOutcome},
    voice::{
        machine::{Input, Machine, Output, Reply, Request},
        plan::Plan,
        simulate::{self, Line},
    },
};

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| Arc::new(Plan::load(Path::new("dialplans/mensa.toml")).unwrap()));

static TEXTS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string("prompts/it/manifest.toml").unwrap()).unwrap();
    let entry = |e: &toml::Value| (e["name"].as_str().unwrap().to_owned(), e["text"].as_str().unwrap().to_owned());
    manifest["prompt"].as_array().unwrap().iter().map(entry).collect()
});

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A desk that answers from a list, and says so when it is used up.
struct Scripted {
    open: bool,
    offered: Offered,
    outcomes: Mutex<VecDeque<Result<LineOutcome, DeskUnavailable>>>,
    asked: Mutex<Vec<String>>,
}

const CODES: [&str; 2] = ["1234567", "7654321"];

impl Scripted {
    fn new(outcomes: Vec<Result<LineOutcome, DeskUnavailable>>) -> Self {
        Self { open: true, offered: Offered::ALL, outcomes: Mutex::new(outcomes.into()), asked: Mutex::default() }
    }

    fn next(&self, asked: String) -> Result<LineOutcome, DeskUnavailable> {
        self.asked.lock().unwrap().push(asked);
        self.outcomes.lock().unwrap().pop_front().expect("one more outcome")
    }
}

impl LineDesk for Scripted {
    async fn hours(&self, _: EnteId) -> Result<LineHours, DeskUnavailable> {
        let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
        Ok(LineHours { open: self.open, opens: time(18), closes: time(9), offered: self.offered })
    }

    async fn identify(&self, _: &Caller, code: &str) -> Result<Identification, DeskUnavailable> {
        Ok(match CODES.iter().position(|c| *c == code) {
            Some(n) => Identification::Known(Identified { child: ChildId(n as i64) }),
            None if code == "0000000" => Identification::ShutOut,
            None => Identification::Unknown { delay_ms: 500 },
        })
    }

    async fn preview(&self, _: &Caller, child: ChildId, choice: Choice) -> Result<LineOutcome, DeskUnavailable> {
        self.next(format!("preview {choice:?} for child {}", child.0))
    }

    async fn operate(
        &self,
        _: &Caller,
        child: ChildId,
        choice: Choice,
        expected: Option<NaiveDate>,
        sequence: u32,
    ) -> Result<LineOutcome, DeskUnavailable> {
        self.next(format!("operate {choice:?} for child {} on {expected:?}, number {sequence}", child.0))
    }

    async fn outlook(&self, _: &Caller, _: ChildId, days: usize) -> Result<Vec<DayOutlook>, DeskUnavailable> {
        let states = [DayState::Cancelled, DayState::Served, DayState::White, DayState::Suspended];
        Ok(states
            .into_iter()
            .take(days)
            .enumerate()
            .map(|(n, state)| DayOutlook { day: day("2026-10-29") + chrono::Days::new(n as u64), state })
            .collect())
    }
}

fn would(text: &str) -> Result<LineOutcome, DeskUnavailable> {
    Ok(LineOutcome::Accepted { day: day(text), receipt: None })
}

fn done(text: &str, receipt: &str) -> Result<LineOutcome, DeskUnavailable> {
    Ok(LineOutcome::Accepted { day: day(text), receipt: Some(receipt.into()) })
}

fn refused(reason: Reason, text: Option<&str>) -> Result<LineOutcome, DeskUnavailable> {
    Ok(LineOutcome::Refused { reason, day: text.map(day) })
}

fn away() -> Result<LineOutcome, DeskUnavailable> {
    Err(DeskUnavailable("away".into()))
}

/// The conversation as a page of dialogue.
async fn talk(desk: &Scripted, keys: &str) -> String {
    let caller = Caller { call_id: "call".into(), ente: EnteId(1), number: None };
    let mut page = String::new();
    for line in simulate::call(Arc::clone(&PLAN), desk, &caller, keys).await {
        let text = match line {
            Line::Heard(names) => {
                format!(
                    "Linea:    {}",
                    names.iter().map(|n| TEXTS.get(n).unwrap_or_else(|| panic!("no prompt {n}")).as_str()).collect::<Vec<_>>().join(" ")
                )
            }
            Line::Cut => "          (interrotta)".to_owned(),
            Line::Pressed(key) => format!("Genitore: {key}"),
            Line::Silence => "          (silenzio)".to_owned(),
            Line::HungUp => "          (la linea riaggancia)".to_owned(),
            Line::CallerHungUp => "          (il genitore riaggancia)".to_owned(),
        };
        page.push_str(&text);
        page.push('\n');
    }
    for asked in desk.asked.lock().unwrap().iter() {
        page.push_str(&format!("          [{asked}]\n"));
    }
    page
}

#[tokio::test]
async fn the_usual_call() {
    let desk = Scripted::new(vec![would("2026-10-15"), done("2026-10-15", "493817")]);
    insta::assert_snapshot!(talk(&desk, "123456711*3").await);
}

#[tokio::test]
async fn outside_the_window() {
    let desk = Scripted { open: false, ..Scripted::new(vec![]) };
    insta::assert_snapshot!(talk(&desk, "").await);
}

#[tokio::test]
async fn an_option_that_the_ente_does_not_offer_is_neither_named_nor_taken() {
    let offered = Offered::ALL.iter().filter(|option| *option != Choice::White).collect();
    let desk = Scripted { offered, ..Scripted::new(vec![would("2026-10-15"), done("2026-10-15", "493817")]) };
    insta::assert_snapshot!(talk(&desk, "1234567,21,1,3").await);
}

#[tokio::test]
async fn three_wrong_codes_and_a_shut_out() {
    insta::assert_snapshot!(talk(&Scripted::new(vec![]), "1111111,2222222,3333333,").await);
}

#[tokio::test]
async fn slow_fingers_stars_and_silence() {
    // Too few digits and a pause; too few and a hash; a hash alone; a star in the middle; nothing at all.
    let desk = Scripted::new(vec![]);
    insta::assert_snapshot!(talk(&desk, "123,12#,").await);
    insta::assert_snapshot!(talk(&Scripted::new(vec![]), "#12*1234567#,8,").await);
    insta::assert_snapshot!(talk(&Scripted::new(vec![]), "0000000").await);
}

#[tokio::test]
async fn two_children_and_several_operations() {
    let desk = Scripted::new(vec![
        would("2026-10-15"),
        done("2026-10-15", "493817"),
        would("2026-10-15"),
        done("2026-10-15", "120045"),
        refused(Reason::Suspended, Some("2026-11-01")),
    ]);
    insta::assert_snapshot!(talk(&desk, "1234567112765432131121").await);
}

#[tokio::test]
async fn every_refusal_says_why() {
    let day = Some("2026-10-15");
    for (key, reason) in [
        ("1", refused(Reason::AlreadyCancelled, day)),
        ("2", refused(Reason::AlreadyWhite, day)),
        ("3", refused(Reason::AlreadySuspended, day)),
        ("4", refused(Reason::NotSuspended, day)),
        ("5", refused(Reason::NothingToUndo, day)),
        ("1", refused(Reason::NoServiceDay, None)),
        ("1", refused(Reason::OutsideWindow, None)),
    ] {
        let name = format!("refusal_{reason:?}").chars().filter(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        insta::assert_snapshot!(name, talk(&Scripted::new(vec![reason]), &format!("1234567{key}")).await);
    }
}

#[tokio::test]
async fn the_window_closes_between_hearing_and_confirming() {
    let desk = Scripted::new(vec![would("2026-10-15"), refused(Reason::OutsideWindow, None)]);
    insta::assert_snapshot!(talk(&desk, "123456711").await);
    let desk =
        Scripted::new(vec![would("2026-10-15"), Ok(LineOutcome::DayChanged { day: day("2026-10-16") }), done("2026-10-16", "777772")]);
    insta::assert_snapshot!(talk(&desk, "1234567111").await);
}

#[tokio::test]
async fn when_the_database_is_away_the_caller_hears_that_nothing_was_recorded() {
    // The same operation tried again keeps its number, so that it cannot be done twice.
    let desk = Scripted::new(vec![would("2026-10-15"), away(), would("2026-10-15"), done("2026-10-15", "493817")]);
    insta::assert_snapshot!(talk(&desk, "123456711111").await);
    insta::assert_snapshot!(talk(&Scripted::new(vec![away()]), "12345671").await);
}

#[tokio::test]
async fn pressing_over_the_voice_and_the_next_days() {
    let desk = Scripted::new(vec![]);
    insta::assert_snapshot!(talk(&desk, "!1!2!3!4!5!6!7!6").await);
}

/// Whatever is thrown at it.
#[derive(Debug, Clone)]
enum Event {
    Key(char),
    Played,
    Reply(u8),
    Late(u8),
    Time(u64),
    Ended,
}

fn events() -> impl Strategy<Value = Event> {
    let keys: Vec<char> = "0123456789*#ABCD".chars().collect();
    prop_oneof![
        8 => prop::sample::select(keys).prop_map(Event::Key),
        4 => Just(Event::Played),
        8 => (0u8..12).prop_map(Event::Reply),
        1 => (0u8..12).prop_map(Event::Late),
        3 => (0u64..20_000).prop_map(Event::Time),
        1 => Just(Event::Ended),
    ]
}

/// An answer of the right or of the wrong kind.
fn reply(n: u8) -> Reply {
    let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
    match n {
        0 | 1 => Reply::Hours(LineHours { open: n == 0, opens: time(18), closes: time(9), offered: Offered::from_bits(0b1_0111) }),
        2 | 3 => Reply::Identified(Identification::Known(Identified { child: ChildId(i64::from(n)) })),
        4 => Reply::Identified(Identification::Unknown { delay_ms: 100 }),
        5 => Reply::Identified(Identification::ShutOut),
        6 => Reply::Outcome(LineOutcome::Accepted { day: day("2026-10-15"), receipt: None }),
        7 => Reply::Outcome(LineOutcome::Accepted { day: day("2026-10-16"), receipt: Some("493817".into()) }),
        8 => Reply::Outcome(LineOutcome::DayChanged { day: day("2026-10-16") }),
        9 => Reply::Outcome(LineOutcome::Refused { reason: Reason::Suspended, day: Some(day("2026-10-15")) }),
        10 => Reply::Outlook(vec![DayOutlook { day: day("2026-10-15"), state: DayState::White }]),
        _ => Reply::Unavailable,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Never panics, always comes to an end, says "registered" only after an accepted operation with
    /// a receipt, and operates only on the day that was heard and confirmed.
    #[test]
    fn storms_of_keys(storm in prop::collection::vec(events(), 0..200)) {
        let mut machine = Machine::new(Arc::clone(&PLAN));
        let (mut now, mut playing, mut asked) = (0, 0, None::<(u64, Request)>);
        let (mut previewed, mut confirmed, mut committed, mut over) = (None, false, false, false);
        let mut sequences = vec![];
        machine.handle(now, Input::Start);
        for event in storm {
            while let Some(output) = machine.poll() {
                prop_assert!(!over, "something follows after hanging up");
                match output {
                    Output::Play { id, prompts } => {
                        prop_assert!(!prompts.is_empty() && prompts.iter().all(|p| TEXTS.contains_key(p)), "{:?}", prompts);
                        let registered = prompts.iter().any(|p| p.starts_with("registrata_"));
                        prop_assert!(!registered || committed, "registered, but nothing was committed");
                        if prompts.iter().any(|p| p == "conferma") { confirmed = true; }
                        playing = id;
                    }
                    Output::Stop => {}
                    Output::Ask { id, request } => {
                        if let Request::Operate { expected, sequence, child, choice } = &request {
                            prop_assert!(confirmed && previewed == Some((*child, *choice, *expected)), "operates without having said the day");
                            prop_assert!(sequences.last().is_none_or(|last| last <= sequence));
                            sequences.push(*sequence);
                        }
                        asked = Some((id, request));
                    }
                    Output::HangUp => over = true,
                }
            }
            match event {
                Event::Key(key) => machine.handle(now, Input::Digit(key)),
                Event::Played => machine.handle(now, Input::Played(playing)),
                Event::Reply(n) => {
                    let Some((id, request)) = asked.take() else { continue };
                    let reply = reply(n);
                    committed = matches!((&request, &reply), (Request::Operate { .. }, Reply::Outcome(LineOutcome::Accepted { receipt: Some(_), .. })))
                        || (committed && !matches!(request, Request::Operate { .. } | Request::Preview { .. }));
                    if let (Request::Preview { child, choice }, Reply::Outcome(LineOutcome::Accepted { day, .. })) = (&request, &reply) {
                        previewed = Some((*child, *choice, Some(*day)));
                        confirmed = false;
                    }
                    if let (Request::Operate { child, choice, .. }, Reply::Outcome(LineOutcome::DayChanged { day })) = (&request, &reply) {
                        previewed = Some((*child, *choice, Some(*day)));
                        confirmed = false;
                    }
                    machine.handle(now, Input::Reply(id, reply));
                }
                Event::Late(n) => machine.handle(now, Input::Reply(u64::from(n), reply(n))),
                Event::Time(ms) => {
                    now += ms;
                    if machine.deadline().is_some_and(|at| at <= now) {
                        asked = asked.filter(|_| false);
                        machine.handle(now, Input::Tick);
                    }
                }
                Event::Ended => machine.handle(now, Input::Ended),
            }
        }
        // Left alone it ends: every state has a clock.
        for _ in 0..200 {
            let mut ask = None;
            while let Some(output) = machine.poll() {
                match output {
                    Output::Play { id, .. } => playing = id,
                    Output::Ask { id, .. } => ask = Some(id),
                    _ => {}
                }
            }
            match (ask, machine.deadline()) {
                (Some(id), _) => machine.handle(now, Input::Reply(id, Reply::Unavailable)),
                (None, Some(at)) => {
                    machine.handle(now, Input::Played(playing));
                    now = at.min(now + 60_000).max(now);
                    machine.handle(now, Input::Tick);
                }
                (None, None) => break,
            }
        }
        prop_assert!(machine.is_over(), "still in {}", machine.state_name());
    }
}
