//! What became of the INVITEs of the last half minute, so that a repetition meets the same fate: pure, of bounded size.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// What became of an INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was let in.
    Passed,
    /// It was answered at the door: there is no room.
    Shed,
}

/// For how long a client repeats a request: 64 × T1 (RFC 3261 §17.1.1.2).
const KEPT: Duration = Duration::from_secs(32);

/// INVITEs by a number that tells them.
#[derive(Debug)]
pub struct Recent {
    fates: HashMap<u64, Fate>,
    /// The oldest first.
    order: VecDeque<(Instant, u64)>,
    most: usize,
}

impl Recent {
    /// Remembers at most `most`; beyond that the oldest are forgotten.
    pub fn new(most: usize) -> Self {
        Self { fates: HashMap::new(), order: VecDeque::new(), most: most.max(1) }
    }

    /// What became of it, if it was here lately.
    pub fn fate(&self, key: u64) -> Option<Fate> {
        self.fates.get(&key).copied()
    }

    /// Notes what becomes of a new one.
    pub fn note(&mut self, key: u64, fate: Fate, now: Instant) {
        while let Some((at, oldest)) = self.order.front().copied()
            && (self.order.len() >= self.most || now.saturating_duration_since(at) > KEPT)
        {
            self.order.pop_front();
            self.fates.remove(&oldest);
        }
        if self.fates.insert(key, fate).is_none() {
            self.order.push_back((now, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_fate_until_it_is_forgotten() {
        let start = Instant::now();
        let mut recent = Recent::new(3);
        recent.note(1, Fate::Shed, start);
        recent.note(2, Fate::Passed, start);
        assert_eq!([1, 2, 3].map(|key| recent.fate(key)), [Some(Fate::Shed), Some(Fate::Passed), None]);
        recent.note(3, Fate::Passed, start);
        recent.note(4, Fate::Passed, start);
        assert_eq!([1, 4].map(|key| recent.fate(key)), [None, Some(Fate::Passed)], "the oldest makes room");
        recent.note(5, Fate::Shed, start + Duration::from_secs(33));
        assert_eq!((recent.fates.len(), recent.order.len()), (1, 1), "nobody repeats for so long");
    }
}
