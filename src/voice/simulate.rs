//! A call without a telephone: a plan, a desk, keys, and the transcript. For tests and for trying
//! the line in a browser.

use std::{collections::VecDeque, sync::Arc};

use super::{
    line::ask,
    machine::{Input, Machine, Output, Reply},
    plan::Plan,
};
use crate::desk::line::{Caller, LineDesk};

/// What was said and done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The line spoke these prompts.
    Heard(Vec<String>),
    /// It was cut short by a key.
    Cut,
    /// The caller pressed a key.
    Pressed(char),
    /// The caller pressed nothing until the line lost patience.
    Silence,
    /// The line hung up.
    HungUp,
    /// The caller hung up.
    CallerHungUp,
}

/// A prompt lasts so long, in ms; the exact length does not matter here.
const PROMPT_MS: u64 = 1_000;
/// More than any call says.
const MOST_LINES: usize = 10_000;

/// Runs a call in made-up time. `keys`: a key is pressed once the line waits for it; `!` before a
/// key presses it while the line speaks; `,` is silence until the line loses patience. When they are
/// used up the caller hangs up, at the next time that the line waits.
pub async fn call<D: LineDesk>(plan: Arc<Plan>, desk: &D, caller: &Caller, keys: &str) -> Vec<Line> {
    let mut keys: VecDeque<char> = keys.chars().collect();
    let mut machine = Machine::new(plan);
    let mut lines = Vec::new();
    let mut now = 0;
    let mut playing: Option<u64> = None;
    let mut asked: Option<(u64, Reply)> = None;
    machine.handle(now, Input::Start);
    while lines.len() < MOST_LINES {
        while let Some(output) = machine.poll() {
            match output {
                Output::Play { id, prompts } => {
                    lines.push(Line::Heard(prompts));
                    playing = Some(id);
                }
                Output::Stop => {
                    if playing.take().is_some() {
                        lines.push(Line::Cut);
                    }
                }
                Output::Ask { id, request } => asked = Some((id, ask(desk, caller, request).await)),
                Output::HangUp => {
                    lines.push(Line::HungUp);
                    return lines;
                }
            }
        }
        let input = if let Some((id, reply)) = asked.take() {
            Input::Reply(id, reply)
        } else if let Some(id) = playing {
            now += PROMPT_MS;
            if keys.front() == Some(&'!') {
                keys.pop_front();
                let Some(key) = keys.pop_front() else { continue };
                lines.push(Line::Pressed(key));
                Input::Digit(key)
            } else {
                playing = None;
                Input::Played(id)
            }
        } else {
            match keys.pop_front() {
                Some(',') => {
                    lines.push(Line::Silence);
                    now = machine.deadline().unwrap_or(now);
                    Input::Tick
                }
                Some('!') => continue,
                Some(key) => {
                    lines.push(Line::Pressed(key));
                    Input::Digit(key)
                }
                None => {
                    lines.push(Line::CallerHungUp);
                    machine.handle(now, Input::Ended);
                    return lines;
                }
            }
        };
        machine.handle(now, input);
    }
    lines
}
