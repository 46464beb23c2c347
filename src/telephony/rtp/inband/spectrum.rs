//! Which row and which column sound in 20 ms of audio, how loud, how far off, and how much else: pure.
//!
//! Audio comes in hops of 5 ms, each put through the eight filters of Goertzel once. A window of 20 ms
//! is the sum of four hops' results, so windows 5 ms apart cost nothing more. A tone's exact frequency
//! is how fast its phase turns from window to window; with it known, the four hops are added again as
//! a filter at that frequency would have, and what the other tone and the mirror images leak in is
//! computed and taken off. So the tones' power is exact enough to be compared with all power there is.

use std::{
    f32::consts::{PI, TAU},
    sync::LazyLock,
};

use super::phasor::{Phasor, Phasors};

/// Samples in a hop: 5 ms.
pub(super) const HOP: usize = 40;
/// Hops in a window.
pub(super) const WINDOW: usize = 4;
/// How much each hop of a window counts, oldest first: a bell, so that one tone is little heard at
/// another's frequency. With these numbers the window's response is that of a hop times cos³.
const WEIGHTS: [f32; WINDOW] = [0.125, 0.375, 0.375, 0.125];
/// The rows' and then the columns' frequencies in Hz (ITU-T Q.23).
const FREQUENCIES: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// Rows (and columns).
const GROUP: usize = 4;
/// Samples a second.
const RATE: f32 = 8_000.0;
const HOP_SECONDS: f32 = HOP as f32 / RATE;

/// Constants of the eight filters, ω being the frequency in radians a sample.
struct Bank {
    /// 2 cos ω, the filter's only coefficient.
    coefficient: [f32; 8],
    /// e^jω.
    turn: Phasors,
    /// From a filter's output after each hop of a window to the hop's part in the window: its weight,
    /// and the phase as seen from the middle of the window.
    place: [Phasors; WINDOW],
    /// e^−jω·HOP: takes off what the phase turns from window to window at the nominal frequency.
    back: Phasors,
}

static BANK: LazyLock<Bank> = LazyLock::new(|| {
    // In double precision: the angles are many turns.
    let omega = |n: usize| std::f64::consts::TAU * f64::from(FREQUENCIES[n]) / f64::from(RATE);
    let phasors = |size: f64, turns: f64| Phasors {
        re: std::array::from_fn(|n| (size * (turns * omega(n)).cos()) as f32),
        im: std::array::from_fn(|n| (size * (turns * omega(n)).sin()) as f32),
    };
    let middle = (WINDOW * HOP - 1) as f64 / 2.0;
    let last_of = |hop: usize| (hop * HOP + HOP - 1) as f64;
    Bank {
        coefficient: std::array::from_fn(|n| 2.0 * omega(n).cos() as f32),
        turn: phasors(1.0, 1.0),
        place: std::array::from_fn(|hop| phasors(f64::from(WEIGHTS[hop]) / HOP as f64, middle - last_of(hop))),
        back: phasors(1.0, -(HOP as f64)),
    }
});

/// The strongest row and column of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tones {
    pub row: Tone,
    pub column: Tone,
    /// What the two together explain of all power in the window; 1 where there is nothing else.
    pub purity: f32,
}

/// One tone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tone {
    /// Its number in its group, 0–3.
    pub index: usize,
    /// Mean square of its samples.
    pub power: f32,
    /// The power at the group's next strongest frequency as a part of this one's.
    pub rival: f32,
    /// How far it is above its nominal frequency, as a part of that.
    pub offset: f32,
}

/// The strongest of a group, at first sight.
#[derive(Debug, Clone, Copy)]
struct Strongest {
    /// 0–7.
    n: usize,
    power: f32,
    rival: f32,
}

/// The last 20 ms of a stream, and the 5 ms before.
#[derive(Debug, Clone, Default)]
pub(super) struct Spectrum {
    /// The filters' outputs after each hop, oldest first.
    hops: [Phasors; WINDOW],
    /// Each hop's mean square.
    powers: [f32; WINDOW],
    window: Phasors,
    /// The window one hop ago.
    previous: Phasors,
    /// Hops of silence since the last with sound, as far as they matter.
    silent: usize,
}

impl Spectrum {
    /// Takes 5 ms.
    pub fn hear(&mut self, samples: impl Iterator<Item = f32>) {
        let (outputs, power) = goertzel(samples.take(HOP));
        self.push(outputs, power);
        self.silent = 0;
    }

    /// 5 ms of silence go by.
    pub fn skip(&mut self) {
        // Once it has forgotten all it heard there is nothing to compute.
        if self.silent <= WINDOW {
            self.push(Phasors::default(), 0.0);
            self.silent += 1;
        }
    }

    fn push(&mut self, outputs: Phasors, power: f32) {
        self.hops.rotate_left(1);
        self.powers.rotate_left(1);
        (self.hops[WINDOW - 1], self.powers[WINDOW - 1]) = (outputs, power);
        self.previous = std::mem::take(&mut self.window);
        for (outputs, place) in self.hops.iter().zip(&BANK.place) {
            self.window.add_product(outputs, place);
        }
    }

    /// What sounds in the window, when each of the two may be a tone of at least `least` and its group's
    /// next is below `rival`. The dear part is done only then: speech hardly ever gets so far.
    pub fn tones(&self, least: f32, rival: f32) -> Option<Tones> {
        let (row, column) = (self.strongest(0), self.strongest(GROUP));
        // Off frequency within tolerance, the window shows down to a quarter of a tone's power.
        let may_be = |tone: Strongest| 2.0 * tone.power >= least / 4.0 && tone.rival <= rival;
        (may_be(row) && may_be(column)).then(|| self.measure(row, column))
    }

    fn strongest(&self, base: usize) -> Strongest {
        let (mut best, mut power, mut second) = (base, self.window.at(base).power(), 0.0f32);
        for n in base + 1..base + GROUP {
            let other = self.window.at(n).power();
            if other > power {
                (best, power, second) = (n, other, power);
            } else {
                second = second.max(other);
            }
        }
        Strongest { n: best, power, rival: second / power.max(f32::MIN_POSITIVE) }
    }

    fn measure(&self, row: Strongest, column: Strongest) -> Tones {
        let (own_r, own_c) = (FREQUENCIES[row.n], FREQUENCIES[column.n]);
        let (drift_r, drift_c) = (self.drift(row.n), self.drift(column.n));
        let (r, c) = (own_r + drift_r, own_c + drift_c);
        let (seen_r, seen_c) = (self.tuned(row.n, drift_r), self.tuned(column.n, drift_c));
        let (into_r, into_c) = (Leaks::new(own_r, r, c), Leaks::new(own_c, c, r));
        // Twice: what is taken off is itself too large by what leaks into it.
        let (mut a, mut b) = (seen_r, seen_c);
        for _ in 0..2 {
            (a, b) = (into_r.clean(seen_r, a, b), into_c.clean(seen_c, b, a));
        }
        let (power_r, power_c) = (2.0 * a.power(), 2.0 * b.power());
        // The mean square of two sines over a window is that of each, and what is left of their beats.
        let beats = a.times(a).re * response(2.0 * r, 2.0 * r)
            + b.times(b).re * response(2.0 * c, 2.0 * c)
            + 2.0 * a.times(b.conjugate()).re * response(c - r, c - r)
            + 2.0 * a.times(b).re * response(c + r, c + r);
        let all: f32 = self.powers.iter().zip(WEIGHTS).map(|(power, weight)| power * weight).sum();
        Tones {
            row: Tone { index: row.n, power: power_r, rival: row.rival, offset: drift_r / own_r },
            column: Tone { index: column.n - GROUP, power: power_c, rival: column.rival, offset: drift_c / own_c },
            purity: (power_r + power_c + 2.0 * beats) / all.max(f32::MIN_POSITIVE),
        }
    }

    /// How many Hz the tone in filter `n` is above the filter's frequency, ±100.
    fn drift(&self, n: usize) -> f32 {
        self.window.at(n).times(self.previous.at(n).conjugate()).times(BANK.back.at(n)).angle() / (TAU * HOP_SECONDS)
    }

    /// Filter `n`'s window, added up as if the filter were `drift` Hz higher.
    fn tuned(&self, n: usize, drift: f32) -> Phasor {
        let half = -PI * drift * HOP_SECONDS;
        let (inner, outer) = (Phasor::of_angle(half), Phasor::of_angle(3.0 * half));
        let turns = [outer.conjugate(), inner.conjugate(), inner, outer];
        let parts = self.hops.iter().zip(&BANK.place).zip(turns);
        parts.fold(Phasor::default(), |sum, ((outputs, place), turn)| sum.plus(outputs.at(n).times(place.at(n)).times(turn)))
    }
}

/// How much of itself and of everything else a tuned filter hears.
struct Leaks {
    itself: f32,
    other: f32,
    own_image: f32,
    other_image: f32,
}

impl Leaks {
    /// For the filter whose nominal frequency is `own`, tuned to a tone at `at`, another being at `other` Hz.
    fn new(own: f32, at: f32, other: f32) -> Self {
        Self {
            itself: hop_response(at - own),
            other: response(other - own, other - at),
            own_image: response(at + own, at + at),
            other_image: response(other + own, other + at),
        }
    }

    /// The tone itself (half its amplitude, with its phase), from what is `seen` and what is thought of the two so far.
    fn clean(&self, seen: Phasor, tone: Phasor, other: Phasor) -> Phasor {
        seen.plus(other.scaled(-self.other))
            .plus(tone.conjugate().scaled(-self.own_image))
            .plus(other.conjugate().scaled(-self.other_image))
            .scaled(1.0 / self.itself)
    }
}

/// What a window hears of something `window` Hz from where it is tuned to, `hop` Hz from the filter's own frequency.
fn response(hop: f32, window: f32) -> f32 {
    hop_response(hop) * (PI * window * HOP_SECONDS).cos().powi(3)
}

/// The same of a single hop: Dirichlet's kernel.
fn hop_response(hz: f32) -> f32 {
    let half = PI * hz / RATE;
    if half.abs() < 1e-5 { 1.0 } else { (HOP as f32 * half).sin() / (HOP as f32 * half.sin()) }
}

/// The filters' outputs after a hop (G. Goertzel, 1958), all eight side by side, and the hop's mean square.
fn goertzel(samples: impl Iterator<Item = f32>) -> (Phasors, f32) {
    let bank = &*BANK;
    let (mut last, mut before, mut sum) = ([0.0f32; 8], [0.0f32; 8], 0.0);
    for sample in samples {
        sum += sample * sample;
        for ((last, before), coefficient) in last.iter_mut().zip(&mut before).zip(&bank.coefficient) {
            let next = sample - *before + coefficient * *last;
            (*before, *last) = (*last, next);
        }
    }
    let outputs = Phasors {
        re: std::array::from_fn(|n| last[n] - bank.turn.re[n] * before[n]),
        im: std::array::from_fn(|n| bank.turn.im[n] * before[n]),
    };
    (outputs, sum / HOP as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured in the middle of two steady sines, each (Hz, amplitude, phase).
    fn measured(tones: &[(f32, f32, f32)]) -> Tones {
        let mut spectrum = Spectrum::default();
        for hop in 0..6 {
            let sample = |n: usize| {
                let seconds = (hop * HOP + n) as f32 / RATE;
                tones.iter().map(|(hz, amplitude, phase)| amplitude * (TAU * hz * seconds + phase).sin()).sum()
            };
            spectrum.hear((0..HOP).map(sample));
        }
        spectrum.tones(0.0, 1.0).unwrap()
    }

    #[test]
    fn power_and_frequency_of_two_tones_are_exact_whatever_the_phase() {
        for phase in (0..16).map(|n| n as f32 * 0.4) {
            for (row, column) in [(0, 4), (3, 4), (2, 5), (1, 7), (3, 7)] {
                for off in [-0.02f32, 0.0, 0.015] {
                    let (r, c) = (FREQUENCIES[row] * (1.0 + off), FREQUENCIES[column] * (1.0 - off));
                    let tones = measured(&[(r, 8_000.0, phase), (c, 4_000.0, 2.0 * phase)]);
                    let near = |a: f32, b: f32, by: f32| assert!((a - b).abs() < by, "{a} {b} at {row} {column} {off} {phase}");
                    assert_eq!((tones.row.index, tones.column.index), (row, column - GROUP));
                    near(tones.row.power / 32e6, 1.0, 0.04);
                    near(tones.column.power / 8e6, 1.0, 0.08);
                    near(tones.row.offset, off, 0.005);
                    near(tones.column.offset, -off, 0.005);
                    near(tones.purity, 1.0, 0.02);
                }
            }
        }
    }

    #[test]
    fn a_third_tone_shows_in_the_purity() {
        let tones = measured(&[(770.0, 8_000.0, 0.0), (1_336.0, 8_000.0, 1.0), (2_200.0, 8_000.0, 2.0)]);
        assert!((tones.purity - 2.0 / 3.0).abs() < 0.03, "{tones:?}");
    }
}
