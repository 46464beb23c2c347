//! How good a call sounded, as a number: the E-model (ITU-T G.107) with what RTP and RTCP tell: pure.
//!
//! R = 93.2 − Id − Ie,eff, all of G.107's other parameters at their defaults; Id for delay by Cole and Rosenbluth's
//! approximation, Ie,eff for codec and loss by G.107 (7-29) with loss taken as random; MOS from R by G.107 annex B.
//! An estimate for comparing calls and trunks, no measurement of what anybody thought.

use super::reception::Totals;

/// How audio is coded, as far as quality goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// G.711 without concealment of lost packets, as we play nothing in their place: Ie 0, Bpl 4.3 (ITU-T G.113 appendix I).
    G711,
    /// G.722. G.113 gives numbers for it on the wideband scale only. Here it is put on G.711's, as no worse without loss and as
    /// easily hurt by it, so that calls can be compared.
    G722,
}

/// One direction of a call, for its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quality {
    /// Estimated mean opinion score × 100: 100 (bad) to 450.
    pub mos_x100: u16,
    /// Packets lost, in 1/10,000.
    pub loss_per_10k: u16,
    /// Mean jitter in µs.
    pub jitter_micros: u32,
    /// Packets expected; few of them say little.
    pub packets: u64,
}

impl Quality {
    /// Of what came in (and was seen). `None` where nothing came. The round trip is the last known, if any.
    pub fn of(coding: Coding, totals: &Totals, round_trip_micros: Option<u32>) -> Option<Self> {
        (totals.expected > 0).then(|| Self::new(coding, totals.loss_per_10k(), totals.jitter_micros, round_trip_micros, totals.expected))
    }

    /// Of loss, jitter and round trip, wherever they are from (the other side's reports tell of what we send).
    pub fn new(coding: Coding, loss_per_10k: u16, jitter_micros: u32, round_trip_micros: Option<u32>, packets: u64) -> Self {
        let mos_x100 = mos_x100(coding, loss_per_10k, jitter_micros, round_trip_micros);
        Self { mos_x100, loss_per_10k, jitter_micros, packets }
    }
}

/// Mean opinion score × 100.
fn mos_x100(coding: Coding, loss_per_10k: u16, jitter_micros: u32, round_trip_micros: Option<u32>) -> u16 {
    // One way: half the round trip, a packet of 20 ms, and a jitter buffer of twice the jitter.
    let micros = u64::from(round_trip_micros.unwrap_or(0)) / 2 + 2 * u64::from(jitter_micros) + 20_000;
    let delay = micros as f64 / 1_000.0;
    let delay_impairment = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let (equipment, robustness) = match coding {
        Coding::G711 | Coding::G722 => (0.0, 4.3),
    };
    let loss = f64::from(loss_per_10k.min(10_000)) / 100.0;
    let effective = equipment + (95.0 - equipment) * loss / (loss + robustness);
    let r = (93.2 - delay_impairment - effective).clamp(0.0, 100.0);
    let mos = 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6;
    // The polynomial dips below 1 for the smallest R.
    (mos.clamp(1.0, 4.5) * 100.0).round() as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_calls_get_the_known_scores() {
        let score =
            |loss: u16, jitter_ms: u32, round_trip_ms: u32| mos_x100(Coding::G711, loss, jitter_ms * 1_000, Some(round_trip_ms * 1_000));
        assert_eq!(score(0, 0, 0), 440, "toll quality");
        assert_eq!(score(0, 5, 60), 438);
        // G.107: R = 93.2 − 95 × Ppl / (Ppl + 4.3) − delay.
        assert_eq!(score(100, 0, 40), 379, "1 %");
        assert_eq!(score(300, 0, 40), 274, "3 %");
        assert_eq!(score(1_000, 0, 40), 144, "10 %");
        assert_eq!(score(10_000, 0, 0), 100, "nothing arrives");
        assert_eq!(score(0, 0, 400), 414, "by satellite");
        assert_eq!(score(0, 200, 1_000), 100);
        assert_eq!(mos_x100(Coding::G711, 0, 0, None), 440);
    }

    #[test]
    fn a_call_without_packets_has_no_quality() {
        assert_eq!(Quality::of(Coding::G711, &Totals::default(), None), None);
        let totals = Totals { expected: 1_000, received: 990, jitter_micros: 2_000 };
        let quality = Quality { mos_x100: 381, loss_per_10k: 100, jitter_micros: 2_000, packets: 1_000 };
        assert_eq!(Quality::of(Coding::G722, &totals, None), Some(quality));
    }

    proptest! {
        /// More loss, more jitter, a longer way: never better; and always between 1 and 4.5.
        #[test]
        fn worse_is_never_better(loss: u16, jitter in 0u32..5_000_000, round_trip: u32, more in 0u32..1_000_000) {
            let score = mos_x100(Coding::G711, loss, jitter, Some(round_trip));
            prop_assert!((100..=450).contains(&score));
            prop_assert!(mos_x100(Coding::G711, loss.saturating_add(more as u16), jitter, Some(round_trip)) <= score);
            prop_assert!(mos_x100(Coding::G711, loss, jitter + more, Some(round_trip)) <= score);
            prop_assert!(mos_x100(Coding::G711, loss, jitter, Some(round_trip.saturating_add(more))) <= score);
        }
    }
}
