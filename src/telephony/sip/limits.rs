//! How often a source may ask: token buckets in a table of bounded size. Pure: the time is an argument.

use std::{collections::HashMap, net::IpAddr, time::Instant};

/// Buckets by source address.
#[derive(Debug)]
pub struct RateLimits {
    buckets: HashMap<IpAddr, Bucket>,
    most_sources: usize,
    /// Sources that found no place in the table share this one.
    crowd: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, per_second: u32, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(per_second);
        // A burst of two seconds' worth is borne.
        self.tokens = (self.tokens + earned).min(2.0 * f64::from(per_second));
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

impl RateLimits {
    /// A table for at most `most_sources` addresses.
    pub fn new(most_sources: usize, now: Instant) -> Self {
        Self { buckets: HashMap::new(), most_sources, crowd: Bucket { tokens: 0.0, at: now } }
    }

    /// May `source`, which is allowed `per_second`, ask once more?
    pub fn allow(&mut self, source: IpAddr, per_second: u32, now: Instant) -> bool {
        if !self.buckets.contains_key(&source) && self.buckets.len() >= self.most_sources {
            // Whoever has been quiet long enough to have a full bucket again needs no place.
            self.buckets.retain(|_, b| now.saturating_duration_since(b.at).as_secs() < 2);
            if self.buckets.len() >= self.most_sources {
                return self.crowd.take(per_second, now);
            }
        }
        let full = Bucket { tokens: 2.0 * f64::from(per_second), at: now };
        self.buckets.entry(source).or_insert(full).take(per_second, now)
    }

    /// Addresses in the table.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Is the table empty?
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    fn source(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn a_burst_is_borne_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut limits = RateLimits::new(10, start);
        let allowed = |limits: &mut RateLimits, ms: u64, n: u32| {
            (0..n).filter(|_| limits.allow(source(1), 5, start + Duration::from_millis(ms))).count()
        };
        assert_eq!(allowed(&mut limits, 0, 100), 10);
        assert_eq!(allowed(&mut limits, 1_000, 100), 5);
        assert_eq!(allowed(&mut limits, 100_000, 100), 10, "no more is saved up than a burst");
    }

    #[test]
    fn a_million_sources_do_not_fill_the_memory() {
        let start = Instant::now();
        let mut limits = RateLimits::new(100, start);
        let allowed = (0..1_000_000).filter(|n| limits.allow(source(*n), 5, start)).count();
        assert_eq!((limits.len(), allowed), (100, 100), "the crowd shares one bucket");
        assert!(limits.allow(source(7), 5, start + Duration::from_secs(3)), "later there is room again");
    }
}
