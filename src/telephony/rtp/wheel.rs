//! Which calls are due at which millisecond: pure.

/// Slots of the wheel, one a millisecond: more than the longest time between two packets of a call.
const SLOTS: usize = 64;
/// The usual time between two packets of a call, in ms.
pub const USUAL_MS: usize = 20;
/// Phases of the usual 20 ms, 4 ms apart: packets that are sent together find the processor's caches warm and share
/// a system call; a few hundred leave in a millisecond.
const PHASES: usize = 5;
/// Calls that share a phase before another one is opened: waking up costs as much as a packet or two.
const TOGETHER: u32 = 64;

/// A timing wheel: whoever is taken at a millisecond is put back at its next one.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: [Vec<K>; SLOTS],
    /// How many calls have each phase of the usual 20 ms.
    load: [u32; PHASES],
}

impl<K> Default for Wheel<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Wheel<K> {
    /// An empty wheel.
    pub fn new() -> Self {
        Self { slots: std::array::from_fn(|_| Vec::new()), load: [0; PHASES] }
    }

    /// A phase for one more call: the fullest that has room left, else the emptiest.
    pub fn join(&mut self) -> usize {
        let phases = || self.load.iter().copied().enumerate();
        let opened = phases().filter(|(_, n)| (1..TOGETHER).contains(n)).max_by_key(|(_, n)| *n);
        let phase = opened.or_else(|| phases().min_by_key(|(_, n)| *n)).map_or(0, |(phase, _)| phase);
        self.load[phase] += 1;
        phase
    }

    /// A call with this phase has gone.
    pub fn leave(&mut self, phase: usize) {
        self.load[phase] = self.load[phase].saturating_sub(1);
    }

    /// The first millisecond after `now` with this phase.
    pub fn first(phase: usize, now: u64) -> u64 {
        let phase = phase * USUAL_MS / PHASES;
        let after = now + 1;
        after + (phase as u64 + USUAL_MS as u64 - after % USUAL_MS as u64) % USUAL_MS as u64
    }

    /// Puts a call at a millisecond less than 64 ahead.
    pub fn put(&mut self, at: u64, key: K) {
        self.slots[at as usize % SLOTS].push(key);
    }

    /// Takes all calls of a millisecond; `into` is emptied first and lends its memory.
    pub fn take(&mut self, at: u64, into: &mut Vec<K>) {
        into.clear();
        std::mem::swap(&mut self.slots[at as usize % SLOTS], into);
    }

    /// The first millisecond from `now` on that has calls.
    pub fn next_due(&self, now: u64) -> Option<u64> {
        (now..now + SLOTS as u64).find(|at| !self.slots[*at as usize % SLOTS].is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_calls_keep_together_and_many_spread_evenly() {
        let mut wheel = Wheel::<u32>::new();
        let phases: Vec<_> = (0..=TOGETHER).map(|_| wheel.join()).collect();
        assert_eq!(phases.iter().filter(|p| **p == phases[0]).count(), TOGETHER as usize);
        for _ in 0..PHASES as u32 * 100 - TOGETHER - 1 {
            wheel.join();
        }
        assert_eq!(wheel.load, [100; PHASES]);
        wheel.leave(3);
        assert_eq!(wheel.join(), 3);
    }

    #[test]
    fn the_first_millisecond_of_a_phase_is_ahead_and_near() {
        for now in 0..100 {
            for phase in 0..PHASES {
                let first = Wheel::<u32>::first(phase, now);
                assert!(first > now && first <= now + 20 && first % 20 == phase as u64 * 4, "{phase} from {now}: {first}");
            }
        }
    }

    proptest! {
        /// Each call is taken once every `period` ms, whatever the others do.
        #[test]
        fn everyone_is_due_in_its_own_time(periods in prop::collection::vec(1u64..=60, 1..20)) {
            let mut wheel = Wheel::new();
            for (n, period) in periods.iter().enumerate() {
                wheel.put(*period, n);
            }
            let mut seen = vec![0u64; periods.len()];
            let mut due = Vec::new();
            for now in 1..=600 {
                prop_assert_eq!(wheel.next_due(now).is_some_and(|at| at == now), periods.iter().any(|p| now % p == 0));
                wheel.take(now, &mut due);
                for n in due.drain(..) {
                    prop_assert_eq!(now % periods[n], 0);
                    seen[n] += 1;
                    wheel.put(now + periods[n], n);
                }
            }
            for (n, period) in periods.iter().enumerate() {
                prop_assert_eq!(seen[n], 600 / period);
            }
        }
    }
}
