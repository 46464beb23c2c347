//! A provisional answer that has to arrive (RFC 3262): pure.

use std::time::Duration;

/// RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);

/// One provisional answer, sent again until its PRACK has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reliable {
    rseq: u32,
    cseq: u32,
    interval: Duration,
    waited: Duration,
}

impl Reliable {
    /// An answer to the INVITE of this CSeq; `chance` chooses its number, which is to begin anywhere
    /// in 1 … 2³¹−1 (RFC 3262 §3).
    pub fn new(cseq: u32, chance: u32) -> Self {
        Self { rseq: (chance >> 1).max(1), cseq, interval: T1, waited: Duration::ZERO }
    }

    /// Its number, for the header `RSeq`.
    pub fn rseq(&self) -> u32 {
        self.rseq
    }

    /// How long to wait for the PRACK before the answer is sent (again).
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// That time has gone by: `true` where the answer is to be sent again, `false` where nobody will
    /// acknowledge it any more (64 × T1).
    pub fn repeat(&mut self) -> bool {
        self.waited += self.interval;
        self.interval *= 2;
        let left = (64 * T1).saturating_sub(self.waited);
        self.interval = self.interval.min(left);
        !left.is_zero()
    }

    /// Does this `RAck` acknowledge it?
    pub fn is_acknowledged_by(&self, rack: &str) -> bool {
        let words: Vec<_> = rack.split_ascii_whitespace().collect();
        let [rseq, cseq, method] = words[..] else { return false };
        rseq.parse() == Ok(self.rseq) && cseq.parse() == Ok(self.cseq) && method == "INVITE"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_repeated_ever_more_slowly_for_half_a_minute() {
        let mut answer = Reliable::new(1, 0);
        let mut intervals = vec![answer.interval().as_millis()];
        while answer.repeat() {
            intervals.push(answer.interval().as_millis());
        }
        assert_eq!(intervals, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 500]);
    }

    #[test]
    fn its_acknowledgement_names_it() {
        let answer = Reliable::new(314_159, 1_553_536);
        assert_eq!(answer.rseq(), 776_768);
        for (rack, fits) in [
            ("776768 314159 INVITE", true),
            ("  776768\t314159  INVITE ", true),
            ("776769 314159 INVITE", false),
            ("776768 314160 INVITE", false),
            ("776768 314159 UPDATE", false),
            ("776768 314159", false),
            ("", false),
        ] {
            assert_eq!(answer.is_acknowledged_by(rack), fits, "{rack}");
        }
        assert_eq!((Reliable::new(1, 0).rseq(), Reliable::new(1, u32::MAX).rseq()), (1, i32::MAX as u32));
    }
}
