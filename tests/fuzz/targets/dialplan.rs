//! The dialplan: a file, read, proved and drawn; and a call through it. The text goes to the first NUL, the call follows.
#![no_main]

use std::sync::{Arc, LazyLock};

use chrono::{NaiveDate, NaiveTime};
use libfuzzer_sys::fuzz_target;
use voceguida::{
    canteen::{ChildId, DayState, Reason},
    desk::line::{DayOutlook, Identification, Identified, LineHours, LineOutcome},
    voice::{
        check::check,
        draw,
        machine::{Input, Machine, Output, Reply, Request},
        plan::Plan,
    },
};

/// The line that ships, for calls that bring no plan.
static SHIPPED: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let text = include_str!("../../../dialplans/mensa.toml");
    Arc::new(Plan::parse("mensa.toml", text).expect("the plan that ships is sound"))
});

fuzz_target!(|bytes: &[u8]| {
    let (text, call) = bytes.iter().position(|b| *b == 0).map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
    let plan = if text.is_empty() {
        Arc::clone(&SHIPPED)
    } else {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let Ok(plan) = Plan::parse("fuzz.toml", text) else { return };
        check("fuzz.toml", &plan, &|name| name.len() % 2 == 0);
        draw::mermaid(&plan);
        draw::svg(&plan);
        Arc::new(plan)
    };
    dial(plan, call);
});

fn dial(plan: Arc<Plan>, call: &[u8]) {
    let mut machine = Machine::new(plan);
    let (mut now, mut playing, mut asked, mut over) = (0u64, 0, None::<(u64, Request)>, false);
    machine.handle(now, Input::Start);
    for step in call {
        let mut outputs = 0;
        while let Some(output) = machine.poll() {
            outputs += 1;
            assert!(outputs < 1_000, "the machine comes to rest");
            assert!(!over, "nothing follows hanging up");
            match output {
                Output::Play { id, prompts } => {
                    assert!(!prompts.is_empty());
                    playing = id;
                }
                Output::Stop => {}
                Output::Ask { id, request } => asked = Some((id, request)),
                Output::HangUp => over = true,
            }
        }
        let input = match step {
            b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D' => Input::Digit(char::from(*step)),
            b'p' => Input::Played(playing),
            b't' => {
                now = machine.deadline().unwrap_or(now).max(now);
                Input::Tick
            }
            b'e' => Input::Ended,
            step => match asked.take() {
                Some((id, request)) => Input::Reply(id, reply(&request, *step)),
                None => {
                    now += u64::from(*step) * 100;
                    Input::Tick
                }
            },
        };
        machine.handle(now, input);
    }
    // Left alone, every call comes to an end: nobody presses anything, the desk is away.
    for _ in 0..10_000 {
        if machine.is_over() {
            return;
        }
        while let Some(output) = machine.poll() {
            match output {
                Output::Play { id, .. } => playing = id,
                Output::Ask { id, .. } => machine.handle(now, Input::Reply(id, Reply::Unavailable)),
                Output::Stop | Output::HangUp => {}
            }
        }
        match machine.deadline() {
            Some(deadline) => {
                now = deadline.max(now);
                machine.handle(now, Input::Tick);
            }
            None => machine.handle(now, Input::Played(playing)),
        }
    }
    panic!("a call without an end");
}

fn reply(request: &Request, step: u8) -> Reply {
    let day = NaiveDate::from_ymd_opt(2026, 10, 1 + u32::from(step % 28)).expect("a day");
    let reasons = [Reason::OutsideWindow, Reason::NoServiceDay, Reason::Suspended, Reason::AlreadyCancelled, Reason::NothingToUndo];
    let states = [DayState::Served, DayState::Cancelled, DayState::White, DayState::Suspended, DayState::NoService];
    match request {
        _ if step % 7 == 0 => Reply::Unavailable,
        Request::Hours => {
            let time = |hour| NaiveTime::from_hms_opt(hour, u32::from(step) % 60, 0).expect("a time");
            Reply::Hours(LineHours { open: step % 2 == 0, opens: time(18), closes: time(9), offered: Default::default() })
        }
        Request::Identify { .. } => Reply::Identified(match step % 3 {
            0 => Identification::Known(Identified { child: ChildId(1) }),
            1 => Identification::Unknown { delay_ms: u32::from(step) * 16 },
            _ => Identification::ShutOut,
        }),
        Request::Preview { .. } | Request::Operate { .. } => Reply::Outcome(match step % 3 {
            0 => LineOutcome::Accepted { day, receipt: matches!(request, Request::Operate { .. }).then(|| "123456".to_owned()) },
            1 => LineOutcome::Refused { reason: reasons[usize::from(step) % reasons.len()], day: (step % 2 == 0).then_some(day) },
            _ => LineOutcome::DayChanged { day },
        }),
        Request::Outlook { .. } => {
            Reply::Outlook((0..step % 6).map(|n| DayOutlook { day, state: states[usize::from(n) % states.len()] }).collect())
        }
    }
}
