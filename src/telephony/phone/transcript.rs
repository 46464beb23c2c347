//! What happened in a call, moment by moment, for people and tests to read. Codes are masked.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    CallEnd, Heard,
    keys::{Step, masked},
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Moment {
    /// When, ms from the answer.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// These keys were pressed, one after the other from then on; codes masked.
    Pressed(String),
    /// This prompt began.
    Heard(Heard),
    /// The call ended.
    Ended(CallEnd),
}

/// `1234` ms as `00:01.2`.
pub fn offset(ms: u64) -> String {
    format!("{:02}:{:02}.{}", ms / 60_000, ms / 1_000 % 60, ms % 1_000 / 100)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", offset(self.at_ms))?;
        match &self.what {
            What::Pressed(keys) => write!(f, "pressed: {keys}"),
            What::Heard(heard) => write!(f, "heard: {heard}"),
            What::Ended(end) => write!(f, "{end}"),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.also.is_empty() {
            write!(f, " (or {})", self.also.join(", "))?;
        }
        if self.complete { Ok(()) } else { f.write_str(" (cut short)") }
    }
}

impl fmt::Display for CallEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TheyHungUp => "the line hung up",
            Self::WeHungUp => "we hung up",
            Self::Lost => "the call was lost",
        })
    }
}

/// What the phone itself did, shared between a call's user and its media task.
#[derive(Debug, Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Moment>>>);

impl Log {
    fn push(&self, at_ms: u64, what: What) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Moment { at_ms, what });
    }

    /// Keys begin to be pressed.
    pub(super) fn pressed(&self, at_ms: u64, steps: &[Step]) {
        self.push(at_ms, What::Pressed(masked(steps)));
    }

    /// The call is over.
    pub(super) fn ended(&self, at_ms: u64, end: CallEnd) {
        self.push(at_ms, What::Ended(end));
    }

    /// All of it, with the prompts in between.
    pub(super) fn with(&self, heard: Vec<Heard>) -> Vec<Moment> {
        let mut moments: Vec<_> = heard.into_iter().map(|heard| Moment { at_ms: heard.start_ms, what: What::Heard(heard) }).collect();
        moments.extend(self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        moments.sort_by_key(|moment| moment.at_ms);
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telephony::phone::keys::KeyScript;

    #[test]
    fn a_call_reads_in_order_and_shows_no_code() {
        let log = Log::default();
        let script: KeyScript = "1234567#".parse().unwrap();
        log.pressed(4_000, script.steps());
        log.ended(63_250, CallEnd::TheyHungUp);
        let heard = |name: &str, complete, start_ms| Heard { name: name.to_owned(), also: vec![], complete, start_ms, frames_matched: 9 };
        let twice = Heard { also: vec!["due".to_owned()], ..heard("giorno_2", false, 61_000) };
        let told: Vec<_> = log.with(vec![heard("benvenuto", true, 1_240), twice]).iter().map(Moment::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        00:01.2 heard: benvenuto
        00:04.0 pressed: •••••••#
        01:01.0 heard: giorno_2 (or due) (cut short)
        01:03.2 the line hung up
        ");
    }
}
