//! How often a source may ask: leaky buckets in a table of fixed size. Pure: the time is an argument.
//!
//! Whole nanoseconds, no floats. A look-up costs the same however many sources there are: a flood from
//! a million addresses neither fills the memory nor makes anyone search it.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    time::{Duration, Instant},
};

/// How often something may happen, and how often at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The time between two in the long run, in ns; 0 means never.
    interval: u64,
    /// How far ahead of that a burst may run, in ns.
    tolerance: u64,
}

impl Rate {
    /// So many a second, `burst` of them at once.
    pub fn per_second(many: u32, burst: u32) -> Self {
        Self::every(Duration::from_secs(1).checked_div(many).unwrap_or_default(), burst)
    }

    /// One in each `interval`, `burst` of them at once.
    pub fn every(interval: Duration, burst: u32) -> Self {
        let interval = nanos(interval);
        Self { interval, tolerance: interval.saturating_mul(u64::from(burst.max(1) - 1)) }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One source's account (the generic cell rate algorithm, ITU-T I.371): all that is kept is when it will be
/// even again. Times are ns since the owner's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    even_at: u64,
}

impl Bucket {
    /// May it happen once more?
    pub fn take(&mut self, rate: Rate, now: u64) -> bool {
        let even_at = self.even_at.max(now);
        let allowed = rate.interval > 0 && even_at - now <= rate.tolerance;
        if allowed {
            self.even_at = even_at.saturating_add(rate.interval);
        }
        allowed
    }

    /// Like [`Bucket::take`]; but whoever goes on asking when told no stays silent until it has been quiet for an interval.
    pub fn take_or_wait(&mut self, rate: Rate, now: u64) -> bool {
        let allowed = self.take(rate, now);
        if !allowed {
            self.even_at = self.even_at.max(now.saturating_add(rate.tolerance).saturating_add(rate.interval));
        }
        allowed
    }
}

/// A source, as far as limits tell sources apart: an IPv4 address, or the /64 that an IPv6 host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(u128);

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // ::ffff:0:0/96, where no IPv6 source can be.
            IpAddr::V4(ip) => Self(ip.to_ipv6_mapped().to_bits()),
            IpAddr::V6(ip) => Self(ip.to_bits() >> 64 << 64),
        }
    }
}

/// Places in which a source may stand.
const WAYS: usize = 4;

/// Buckets by source, in a table of fixed size.
#[derive(Debug)]
pub struct RateLimits {
    sets: Box<[[(Source, Bucket); WAYS]]>,
    /// Of this process: nobody outside can choose sources that crowd each other out.
    hasher: RandomState,
    began: Instant,
    /// Sources that found no place in the table share this one.
    crowd: Bucket,
}

impl RateLimits {
    /// A table for some `sources` addresses; `now` is its beginning.
    pub fn new(sources: usize, now: Instant) -> Self {
        let sets = sources.div_ceil(WAYS).next_power_of_two();
        let empty = [(Source(0), Bucket::default()); WAYS];
        Self { sets: vec![empty; sets].into(), hasher: RandomState::new(), began: now, crowd: Bucket::default() }
    }

    /// May `source`, which has `rate`, ask once more?
    pub fn allow(&mut self, source: impl Into<Source>, rate: Rate, now: Instant) -> bool {
        let now = self.since_beginning(now);
        self.bucket(source.into(), now).take(rate, now)
    }

    /// Like [`RateLimits::allow`], for whom silence should last: see [`Bucket::take_or_wait`].
    pub fn allow_or_wait(&mut self, source: impl Into<Source>, rate: Rate, now: Instant) -> bool {
        let now = self.since_beginning(now);
        self.bucket(source.into(), now).take_or_wait(rate, now)
    }

    /// Shuts `source` out for a time.
    pub fn shut_out(&mut self, source: impl Into<Source>, time: Duration, now: Instant) {
        let now = self.since_beginning(now);
        // Not the crowd: it would be shut out for what one has done.
        if let Some(bucket) = self.place(source.into(), now) {
            bucket.even_at = bucket.even_at.max(now.saturating_add(nanos(time)));
        }
    }

    /// Sources that are not even now.
    pub fn watched(&self, now: Instant) -> usize {
        let now = self.since_beginning(now);
        self.sets.iter().flatten().filter(|(_, bucket)| bucket.even_at > now).count()
    }

    fn since_beginning(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.began))
    }

    fn bucket(&mut self, source: Source, now: u64) -> &mut Bucket {
        let Self { sets, hasher, crowd, .. } = self;
        place(sets, hasher, source, now).unwrap_or(crowd)
    }

    fn place(&mut self, source: Source, now: u64) -> Option<&mut Bucket> {
        place(&mut self.sets, &self.hasher, source, now)
    }
}

/// The source's own bucket; `None` where all of its places are taken.
fn place<'a>(sets: &'a mut [[(Source, Bucket); WAYS]], hasher: &RandomState, source: Source, now: u64) -> Option<&'a mut Bucket> {
    // A power of two of them.
    let set = hasher.hash_one(source) as usize & (sets.len() - 1);
    let ways = sets.get_mut(set)?;
    let own = ways.iter().position(|(other, _)| *other == source);
    // Whoever is even needs no place.
    let way = own.or_else(|| ways.iter().position(|(_, bucket)| bucket.even_at <= now))?;
    if own.is_none() {
        ways[way] = (source, Bucket::default());
    }
    Some(&mut ways[way].1)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn a_burst_is_borne_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut limits = RateLimits::new(10, start);
        let rate = Rate::per_second(5, 10);
        let allowed = |limits: &mut RateLimits, ms: u64, n: u32| {
            (0..n).filter(|_| limits.allow(source(1), rate, start + Duration::from_millis(ms))).count()
        };
        assert_eq!(allowed(&mut limits, 0, 100), 10);
        assert_eq!(allowed(&mut limits, 1_000, 100), 5);
        assert_eq!(allowed(&mut limits, 1_199, 100), 0);
        assert_eq!(allowed(&mut limits, 1_200, 100), 1);
        assert_eq!(allowed(&mut limits, 100_000, 100), 10, "no more is saved up than a burst");
        assert!(!limits.allow(source(2), Rate::per_second(0, 5), start), "none a second is never");
    }

    #[test]
    fn whoever_goes_on_asking_stays_silent() {
        let start = Instant::now();
        let mut limits = RateLimits::new(10, start);
        let rate = Rate::every(Duration::from_secs(10), 3);
        let asked = |limits: &mut RateLimits, seconds: u64| limits.allow_or_wait(source(1), rate, start + Duration::from_secs(seconds));
        assert_eq!([0, 0, 0, 0, 9, 18, 27].map(|s| asked(&mut limits, s)), [true, true, true, false, false, false, false]);
        assert!(asked(&mut limits, 27 + 10), "quiet for an interval");
        limits.shut_out(source(1), Duration::from_mins(10), start + Duration::from_secs(50));
        assert!(!asked(&mut limits, 600) && asked(&mut limits, 50 + 640));
    }

    #[test]
    fn a_million_sources_do_not_fill_the_memory() {
        let start = Instant::now();
        let mut limits = RateLimits::new(100, start);
        let rate = Rate::per_second(5, 10);
        let allowed = (0..1_000_000).filter(|n| limits.allow(source(*n), rate, start)).count();
        assert_eq!(limits.sets.len() * WAYS, 128);
        assert!((120..=138).contains(&allowed), "those with a place, and the crowd's ten: {allowed}");
        assert!(limits.allow(source(7), rate, start + Duration::from_secs(3)), "later there is room again");
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_a_mapped_address_the_ipv4_one() {
        let same = |a: &str, b: &str| Source::from(a.parse::<IpAddr>().unwrap()) == Source::from(b.parse::<IpAddr>().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
