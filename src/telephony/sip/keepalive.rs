//! Is a peer alive? Asks it by OPTIONS (RFC 3261 §11) and counts what is not answered. Pure: the time
//! is an argument; [`super::registering`] sends and receives.

use std::time::{Duration, Instant};

/// One peer that is asked.
#[derive(Debug, Clone)]
pub struct Pulse {
    every: Duration,
    misses_allowed: u32,
    next: Instant,
    missed: u32,
    alive: Option<bool>,
    /// The last answer: when, and how long it took.
    answer: Option<(Instant, Duration)>,
}

/// Something that the operator wants to read in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It answers, for the first time or again.
    Alive,
    /// So many questions in a row were not answered.
    Dead,
}

impl Pulse {
    /// A peer that is asked at once and then `every` so often; dead after `misses` in a row.
    pub fn new(every: Duration, misses: u32, now: Instant) -> Self {
        Self { every, misses_allowed: misses.max(1), next: now, missed: 0, alive: None, answer: None }
    }

    /// When it is to be asked next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// It was asked at `asked` and has answered with `status`, or not (`None`). Any answer shows that
    /// it is alive, but for 408 (nobody behind the proxy) and 503 (it takes no calls).
    pub fn asked(&mut self, status: Option<u16>, asked: Instant, now: Instant) -> Option<Change> {
        self.next = (asked + self.every).max(now);
        let before = self.alive;
        if status.is_some_and(|status| status != 408 && status != 503) {
            self.missed = 0;
            self.alive = Some(true);
            self.answer = Some((now, now.saturating_duration_since(asked)));
            return (before != Some(true)).then_some(Change::Alive);
        }
        self.missed = self.missed.saturating_add(1);
        if self.missed >= self.misses_allowed {
            self.alive = Some(false);
        }
        (before != Some(false) && self.alive == Some(false)).then_some(Change::Dead)
    }

    /// Does it live? `None` while nothing is known.
    pub fn alive(&self) -> Option<bool> {
        self.alive
    }

    /// Questions in a row that were not answered.
    pub fn missed(&self) -> u32 {
        self.missed
    }

    /// When the last answer came, and how long after the question.
    pub fn last_answer(&self) -> Option<(Instant, Duration)> {
        self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    #[test]
    fn three_misses_are_a_death_and_one_answer_a_life() {
        let start = Instant::now();
        let mut pulse = Pulse::new(EVERY, 3, start);
        assert_eq!((pulse.next(), pulse.alive()), (start, None));
        let mut diary = Vec::new();
        let answers = [Some(200), None, None, Some(200), None, Some(408), Some(503), None, Some(404), Some(200)];
        for answer in answers {
            let asked = pulse.next();
            let took = if answer.is_some() { Duration::from_millis(20) } else { Duration::from_secs(5) };
            let change = pulse.asked(answer, asked, asked + took);
            diary.push(format!("{answer:?}: {change:?}, {:?}, {} missed", pulse.alive(), pulse.missed()));
            assert_eq!(pulse.next(), asked + EVERY);
        }
        insta::assert_snapshot!(diary.join("\n"));
    }

    #[test]
    fn a_slow_answer_does_not_make_it_ask_in_a_hurry() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Duration::from_secs(5), 1, start);
        let late = start + Duration::from_secs(9);
        assert_eq!(pulse.asked(Some(200), start, late), Some(Change::Alive));
        assert_eq!(pulse.next(), late);
        assert_eq!(pulse.last_answer(), Some((late, Duration::from_secs(9))));
    }
}
