//! Is the caller's side still there? Pure.

/// Notices when a caller who was heard is heard no more (dead media).
///
/// Whatever comes from the call's peer counts: audio, comfort noise, keys, packets that were only
/// counted, RTCP reports. So silence suppression is no death as long as either comfort noise or
/// reports still come. Nobody is dead who was never heard (one-way NAT: other timers end such
/// calls), nor on hold.
#[derive(Debug, Clone)]
pub struct Liveness {
    dead_after_micros: u64,
    /// `None` before anything was heard, and once told dead.
    heard_at: Option<u64>,
    on_hold: bool,
}

impl Liveness {
    /// A caller is dead who was heard and then not for longer than `dead_after_micros`.
    pub fn new(dead_after_micros: u64) -> Self {
        Self { dead_after_micros, heard_at: None, on_hold: false }
    }

    /// Something came from the caller's side at `now` (µs on any clock that only goes forward). An RTCP
    /// BYE is none: its sender says that nothing will follow.
    pub fn heard(&mut self, now: u64) {
        self.heard_at = Some(now);
    }

    /// The call was put on hold, or taken off it at `now`: then silence is counted from there. To be
    /// told of every new agreement.
    pub fn hold(&mut self, on_hold: bool, now: u64) {
        self.on_hold = on_hold;
        self.heard_at = self.heard_at.map(|at| at.max(now));
    }

    /// Has the caller died? `true` once; again only after something was heard.
    pub fn died(&mut self, now: u64) -> bool {
        let dead = !self.on_hold && self.heard_at.is_some_and(|at| now.saturating_sub(at) > self.dead_after_micros);
        if dead {
            self.heard_at = None;
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn who_was_heard_and_then_is_not_is_dead_once() {
        let mut caller = Liveness::new(30 * SECOND);
        assert!(!caller.died(1_000 * SECOND), "never heard");
        caller.heard(1_000 * SECOND);
        assert!(!caller.died(1_030 * SECOND));
        assert!(caller.died(1_030 * SECOND + 1));
        assert!(!caller.died(1_100 * SECOND), "told before");
        caller.heard(1_100 * SECOND);
        assert!(!caller.died(1_101 * SECOND));
        assert!(caller.died(1_200 * SECOND));
    }

    #[test]
    fn nobody_dies_on_hold_and_silence_counts_from_its_end() {
        let mut caller = Liveness::new(30 * SECOND);
        caller.heard(0);
        caller.hold(true, 10 * SECOND);
        assert!(!caller.died(3_600 * SECOND));
        caller.hold(false, 3_600 * SECOND);
        assert!(!caller.died(3_630 * SECOND));
        assert!(caller.died(3_631 * SECOND));
        let mut silent = Liveness::new(30 * SECOND);
        silent.hold(true, 0);
        silent.hold(false, SECOND);
        assert!(!silent.died(100 * SECOND), "a hold makes nobody heard");
    }

    #[test]
    fn silence_suppression_with_comfort_noise_or_reports_is_alive() {
        let mut caller = Liveness::new(10 * SECOND);
        // Ten minutes in which nothing comes but a report every 5 to 8 seconds.
        for n in 0..100 {
            caller.heard(n * 6 * SECOND);
            assert!(!caller.died((n * 6 + 5) * SECOND));
        }
        assert!(caller.died(620 * SECOND));
    }
}
