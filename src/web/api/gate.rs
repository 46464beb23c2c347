//! How fast a system may ask, and how often somebody may show a token that is none: buckets that fill again, in maps of bounded size. Time is an argument.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use crate::desk::access::Scope;

/// Entries of each map.
pub const MOST: usize = 4_096;
/// For how long an address from which a token held is known.
const KNOWN: Duration = Duration::from_hours(1);
/// How often it is noted that a system reads about children.
const NOTED: Duration = Duration::from_hours(1);

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// In one go.
    pub burst: f64,
    /// And so many more each second.
    pub per_second: f64,
}

/// Requests with one token.
pub const TOKEN: Pace = Pace { burst: 200.0, per_second: 20.0 };
/// Tokens that are none, from one address.
pub const STRANGER: Pace = Pace { burst: 20.0, per_second: 0.2 };

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    fn level(&self, pace: Pace, now: Instant) -> f64 {
        (self.level + now.saturating_duration_since(self.at).as_secs_f64() * pace.per_second).min(pace.burst)
    }

    /// Takes one out, or says how long to wait for it.
    fn take(&mut self, pace: Pace, now: Instant) -> Result<(), Duration> {
        (self.level, self.at) = (self.level(pace, now), now);
        if self.level < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.level) / pace.per_second));
        }
        self.level -= 1.0;
        Ok(())
    }
}

/// A bucket for each key. Where there are too many keys, the new ones share one.
#[derive(Debug)]
pub struct Buckets<K> {
    pace: Pace,
    own: HashMap<K, Bucket>,
    shared: Option<Bucket>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Full buckets of this pace.
    pub fn new(pace: Pace) -> Self {
        Self { pace, own: HashMap::new(), shared: None }
    }

    fn full(&self, now: Instant) -> Bucket {
        Bucket { level: self.pace.burst, at: now }
    }

    /// Takes one out, or says how long to wait for it.
    pub fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let (pace, full) = (self.pace, self.full(now));
        if self.own.len() >= MOST && !self.own.contains_key(&key) {
            // A full bucket says no more than none.
            self.own.retain(|_, bucket| bucket.level(pace, now) < pace.burst);
            if self.own.len() >= MOST {
                return self.shared.get_or_insert(full).take(pace, now);
            }
        }
        self.own.entry(key).or_insert(full).take(pace, now)
    }

    /// Could none be taken out?
    fn is_drained(&self, key: &K, now: Instant) -> bool {
        let bucket = self.own.get(key).or_else(|| self.shared.as_ref().filter(|_| self.own.len() >= MOST));
        bucket.is_some_and(|bucket| bucket.level(self.pace, now) < 1.0)
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// Is none kept?
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }
}

/// Until when something is remembered, of so many keys at most.
#[derive(Debug)]
struct Remembered<K>(HashMap<K, Instant>);

impl<K: Eq + Hash> Remembered<K> {
    fn has(&self, key: &K, now: Instant) -> bool {
        self.0.get(key).is_some_and(|until| now < *until)
    }

    /// Remembers it. Where there is no room, not.
    fn add(&mut self, key: K, until: Instant, now: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.retain(|_, until| now < *until);
            if self.0.len() >= MOST {
                return;
            }
        }
        self.0.insert(key, until);
    }
}

/// The gate before the API.
#[derive(Debug)]
pub struct Gate {
    tokens: Buckets<i64>,
    strangers: Buckets<IpAddr>,
    known: Remembered<IpAddr>,
    noted: Remembered<(i64, Scope)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            tokens: Buckets::new(TOKEN),
            strangers: Buckets::new(STRANGER),
            known: Remembered(HashMap::new()),
            noted: Remembered(HashMap::new()),
        }
    }
}

/// The address as it is counted: of IPv6 the network, which is whole one customer's.
fn counted(address: &str) -> IpAddr {
    match address.parse().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Gate {
    /// Is a token from this address to be looked up at all? Not where too many were none; but where one held of late, strangers behind the
    /// same address do not shut it out.
    pub fn may_show(&mut self, address: &str, now: Instant) -> bool {
        let address = counted(address);
        self.known.has(&address, now) || !self.strangers.is_drained(&address, now)
    }

    /// A token from this address is none.
    pub fn was_none(&mut self, address: &str, now: Instant) {
        let _ = self.strangers.take(counted(address), now);
    }

    /// A token from this address holds: may it ask now? Otherwise, how long it has to wait.
    pub fn was_good(&mut self, token: i64, address: &str, now: Instant) -> Result<(), Duration> {
        self.known.add(counted(address), now + KNOWN, now);
        self.tokens.take(token, now)
    }

    /// Has it to be noted that this token reads that? Once an hour.
    pub fn is_news(&mut self, token: i64, what: Scope, now: Instant) -> bool {
        let news = !self.noted.has(&(token, what), now);
        if news {
            self.noted.add((token, what), now + NOTED, now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_has_its_burst_and_then_its_pace() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        let asked = |gate: &mut Gate, at: f64| gate.was_good(1, "198.51.100.7", start + Duration::from_secs_f64(at));
        assert!((0..200).all(|_| asked(&mut gate, 0.0).is_ok()));
        let wait = asked(&mut gate, 0.0).unwrap_err();
        assert!(wait <= Duration::from_millis(50) && wait > Duration::ZERO, "{wait:?}");
        assert!(gate.was_good(2, "198.51.100.7", start).is_ok(), "another token is not held up");
        assert!((0..20).all(|_| asked(&mut gate, 1.01).is_ok()));
        assert!(asked(&mut gate, 1.01).is_err());
    }

    #[test]
    fn whoever_guesses_is_not_looked_at_any_more_but_the_known_are() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let guess = |gate: &mut Gate, address: &str| {
            let looked = gate.may_show(address, now);
            gate.was_none(address, now);
            looked
        };
        assert_eq!((0..100).filter(|_| guess(&mut gate, "198.51.100.7")).count(), 20);
        assert!(gate.may_show("198.51.100.8", now));
        // The next address of the same network is the same one to us.
        assert_eq!((0..100).filter(|n| guess(&mut gate, &format!("2001:db8::{n:x}"))).count(), 20);
        assert!(gate.was_good(1, "198.51.100.9", now).is_ok());
        assert_eq!((0..100).filter(|_| guess(&mut gate, "198.51.100.9")).count(), 100);
        assert!(gate.may_show("198.51.100.7", now + Duration::from_secs(6)), "in a while");
    }

    #[test]
    fn what_is_read_is_noted_once_an_hour() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert!(gate.is_news(1, Scope::Children, now) && !gate.is_news(1, Scope::Children, now));
        assert!(gate.is_news(1, Scope::Operations, now) && gate.is_news(2, Scope::Children, now));
        assert!(gate.is_news(1, Scope::Children, now + Duration::from_mins(61)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

        /// Nobody gets more than burst and pace allow, and no storm of keys makes the map grow.
        #[test]
        fn buckets_are_bounded(steps in prop::collection::vec((0u32..3, 0u64..400), 1..200)) {
            let pace = Pace { burst: 5.0, per_second: 2.0 };
            let (mut buckets, start) = (Buckets::new(pace), Instant::now());
            let (mut now, mut passed) = (start, [0u32; 3]);
            for (key, millis) in steps {
                now += Duration::from_millis(millis);
                if buckets.take(key, now).is_ok() {
                    passed[key as usize] += 1;
                }
                let most = pace.burst + (now - start).as_secs_f64() * pace.per_second;
                prop_assert!(passed.iter().all(|n| f64::from(*n) <= most + 1e-6));
            }
            for key in 1_000..1_000 + 2 * MOST as u32 {
                let _ = buckets.take(key, now);
            }
            prop_assert!(buckets.len() <= MOST);
        }
    }
}
