//! How many may try the line at once, and how many wrong codes they may type: a trial must not become a way to guess codes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Trials at once, of all people together.
const MOST: usize = 50;
/// Trials of one person at once.
const MOST_EACH: usize = 2;
/// Wrong codes of one person within [`SPAN`].
const MOST_WRONG: usize = 30;
/// The time that counts.
const SPAN: Duration = Duration::from_hours(1);

/// Who tries the line on this node.
#[derive(Debug, Default)]
pub struct Trials {
    people: Mutex<HashMap<i64, Own>>,
}

#[derive(Debug, Default)]
struct Own {
    open: usize,
    /// When wrong codes were typed.
    wrong: VecDeque<Instant>,
}

/// A trial under way; ends when dropped.
#[derive(Debug)]
pub struct Place {
    trials: Arc<Trials>,
    person: i64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(own) = self.trials.people().get_mut(&self.person) {
            own.open = own.open.saturating_sub(1);
        }
    }
}

impl Trials {
    fn people(&self) -> MutexGuard<'_, HashMap<i64, Own>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a trial at `now`; `None` where too many are under way, or this person has typed too many wrong codes.
    pub fn begin(self: &Arc<Self>, person: i64, now: Instant) -> Option<Place> {
        let mut people = self.people();
        people.retain(|_, own| {
            own.wrong.retain(|at| now.duration_since(*at) < SPAN);
            own.open > 0 || !own.wrong.is_empty()
        });
        let all: usize = people.values().map(|own| own.open).sum();
        let own = people.entry(person).or_default();
        if all >= MOST || own.open >= MOST_EACH || own.wrong.len() >= MOST_WRONG {
            return None;
        }
        own.open += 1;
        Some(Place { trials: Arc::clone(self), person })
    }

    /// So many more wrong codes were typed by `now`; returns whether the person may go on.
    pub fn note_wrong(&self, person: i64, codes: i64, now: Instant) -> bool {
        let mut people = self.people();
        let own = people.entry(person).or_default();
        for _ in 0..codes.clamp(0, MOST_WRONG as i64) {
            own.wrong.push_back(now);
        }
        while own.wrong.len() > MOST_WRONG {
            own.wrong.pop_front();
        }
        own.wrong.len() < MOST_WRONG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let (trials, now) = (Arc::new(Trials::default()), Instant::now());
        let own = [trials.begin(1, now), trials.begin(1, now)];
        assert!(own.iter().all(Option::is_some) && trials.begin(1, now).is_none());
        let others: Vec<_> = (2..100).map_while(|person| trials.begin(person, now)).collect();
        assert_eq!(others.len(), MOST - 2);
        drop(own);
        assert!(trials.begin(1, now).is_some());
    }

    #[test]
    fn whoever_guesses_has_to_wait() {
        let (trials, now) = (Arc::new(Trials::default()), Instant::now());
        assert!(trials.note_wrong(1, 3, now) && trials.begin(1, now).is_some());
        assert!(!trials.note_wrong(1, 1_000, now) && trials.begin(1, now).is_none() && trials.begin(2, now).is_some());
        assert!(trials.begin(1, now + SPAN).is_some());
    }
}
