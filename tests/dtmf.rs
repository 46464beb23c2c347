//! The detector of keys as tones, measured (ITU-T Q.23, Q.24): what it must hear, what it must not,
//! where the edges are, and that no voice and no music sounds like a key to it.
//!
//! `cargo test --test dtmf -- --nocapture --test-threads=1` prints the tables of docs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fall")]

use std::{f64::consts::TAU, path::Path};

use rand::{Rng, RngExt as _, SeedableRng, rngs::ChaCha12Rng};
use voceguida::{
    telephony::{clip::FRAME_SAMPLES, g711, rtp::inband::ToneDetector},
    voice::prompts::PromptLibrary,
};

const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Beginnings tried of each signal: where in a hop it begins, and in which phase.
const STARTS: [(usize, f64); 3] = [(400, 0.0), (411, 1.3), (427, 4.0)];

/// The way to the detector.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Law {
    A,
    Mu,
}

/// Presses of one key.
#[derive(Debug, Clone)]
struct Signal {
    /// Length of each press and of the pause after it, in ms.
    on: f64,
    off: f64,
    presses: usize,
    /// Levels of row and column in dBm0.
    row: f64,
    column: f64,
    /// Offsets of their frequencies in %.
    row_off: f64,
    column_off: f64,
    /// White noise so many dB below the key.
    snr: Option<f64>,
    /// The level of a dial tone of 425 Hz, in dBm0.
    dial_tone: Option<f64>,
    /// A break in each press: where and how long, ms.
    gap: Option<(f64, f64)>,
    law: Law,
}

const USUAL: Signal = Signal {
    on: 50.0,
    off: 50.0,
    presses: 1,
    row: -10.0,
    column: -10.0,
    row_off: 0.0,
    column_off: 0.0,
    snr: None,
    dial_tone: None,
    gap: None,
    law: Law::A,
};

/// Peak of a sine of so many dBm0.
fn peak(dbm0: f64) -> f64 {
    22_400.0 * 10f64.powf(dbm0 / 20.0)
}

fn through(law: Law, sample: f64) -> i16 {
    let sample = sample.round().clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16;
    match law {
        Law::A => g711::alaw_decode(g711::alaw_encode(sample)),
        Law::Mu => g711::ulaw_decode(g711::ulaw_encode(sample)),
    }
}

/// About normal, mean 0, variance 1.
fn noise(rng: &mut impl Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

impl Signal {
    fn samples(&self, row: usize, column: usize, start: (usize, f64), rng: &mut impl Rng) -> Vec<i16> {
        let (down, cycle) = ((self.on * 8.0) as usize, ((self.on + self.off) * 8.0) as usize);
        let (r, c) = (ROWS[row] * (1.0 + self.row_off / 100.0), COLUMNS[column] * (1.0 + self.column_off / 100.0));
        let power = f64::midpoint(peak(self.row).powi(2), peak(self.column).powi(2));
        let noise_level = self.snr.map_or(0.0, |snr| (power / 10f64.powf(snr / 10.0)).sqrt());
        let sample = |n: usize| {
            let seconds = n as f64 / 8_000.0;
            let place = n.checked_sub(start.0).filter(|n| *n < self.presses * cycle).map(|n| n % cycle);
            let sounds = place.filter(|n| *n < down && self.gap.is_none_or(|(at, ms)| !(at..at + ms).contains(&(*n as f64 / 8.0))));
            let mut sum = self.dial_tone.map_or(0.0, |level| peak(level) * (TAU * 425.0 * seconds).sin());
            if sounds.is_some() {
                sum += peak(self.row) * (TAU * r * seconds + start.1).sin() + peak(self.column) * (TAU * c * seconds + 1.7 * start.1).sin();
            }
            if self.snr.is_some() {
                sum += noise_level * noise(rng);
            }
            through(self.law, sum)
        };
        (0..start.0 + self.presses * cycle + 400).map(sample).collect()
    }
}

fn heard(samples: &[i16]) -> String {
    let mut keys = String::new();
    ToneDetector::default().hear(samples.iter().copied(), |key| keys.push(key));
    keys
}

/// What is expected of a row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Must {
    Hear,
    NotHear,
    /// Between the two: it is only printed.
    Either,
}

/// Measures all keys with all starts, prints a row of the table and holds it against what must be.
fn measure(name: &str, must: Must, signal: &Signal) {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let (mut right, mut silent, mut all) = (0, 0, 0);
    for (r, row) in KEYS.iter().enumerate() {
        for (c, key) in row.iter().enumerate() {
            for start in STARTS {
                let keys = heard(&signal.samples(r, c, start, &mut rng));
                all += 1;
                right += usize::from(keys == key.to_string().repeat(signal.presses));
                silent += usize::from(keys.is_empty());
            }
        }
    }
    println!("| {name} | {} % | {must:?} |", right * 100 / all);
    match must {
        Must::Hear => assert_eq!(right, all, "{name}: {signal:?}"),
        Must::NotHear => assert_eq!(silent, all, "{name}: {signal:?}"),
        Must::Either => {}
    }
}

#[test]
fn frequencies_within_one_and_a_half_per_cent_are_heard_and_beyond_three_and_a_half_not() {
    for (off, must) in [
        (1.5, Must::Hear),
        (1.8, Must::Hear),
        (2.0, Must::Either),
        (2.2, Must::Either),
        (2.5, Must::Either),
        (3.0, Must::NotHear),
        (3.5, Must::NotHear),
    ] {
        for sign in [1.0, -1.0] {
            let off = off * sign;
            measure(&format!("row {off:+} %"), must, &Signal { row_off: off, ..USUAL });
            measure(&format!("column {off:+} %"), must, &Signal { column_off: off, ..USUAL });
            measure(&format!("row {off:+} %, column {:+} %", -off), must, &Signal { row_off: off, column_off: -off, ..USUAL });
        }
    }
}

#[test]
fn twist_is_taken_as_lines_make_it() {
    for (twist, must) in [(4.0, Must::Hear), (8.0, Must::Hear), (9.0, Must::Either), (10.0, Must::NotHear)] {
        measure(&format!("row {twist} dB louder (forward twist)"), must, &Signal { row: -6.0, column: -6.0 - twist, ..USUAL });
        let off = Signal { row: -6.0, column: -6.0 - twist, row_off: -1.5, column_off: 1.5, on: 40.0, ..USUAL };
        if twist <= 8.0 {
            measure(&format!("row {twist} dB louder, 1.5 % off, 40 ms"), must, &off);
        }
    }
    for (twist, must) in [(4.0, Must::Hear), (4.5, Must::Hear), (5.0, Must::Either), (6.0, Must::NotHear)] {
        measure(&format!("column {twist} dB louder (reverse twist)"), must, &Signal { row: -6.0 - twist, column: -6.0, ..USUAL });
    }
}

#[test]
fn forty_ms_are_a_key_and_twenty_three_are_not() {
    for (on, must) in [(20.0, Must::NotHear), (23.0, Must::NotHear), (25.0, Must::NotHear), (28.0, Must::Either), (30.0, Must::Either)]
        .into_iter()
        .chain([(32.0, Must::Either), (34.0, Must::Either), (36.0, Must::Hear), (40.0, Must::Hear)])
    {
        measure(&format!("tone of {on} ms"), must, &Signal { on, ..USUAL });
    }
    for (off, must) in [(20.0, Must::Either), (25.0, Must::Either), (30.0, Must::Hear), (40.0, Must::Hear)] {
        measure(&format!("four presses, pauses of {off} ms"), must, &Signal { off, presses: 4, on: 40.0, ..USUAL });
    }
    for (ms, must) in [(5.0, Must::Hear), (10.0, Must::Hear), (15.0, Must::Hear), (20.0, Must::Hear), (40.0, Must::Either)] {
        measure(&format!("a break of {ms} ms in a press"), must, &Signal { on: 150.0, gap: Some((60.0, ms)), ..USUAL });
    }
}

#[test]
fn levels_from_3_to_minus_29_dbm0_are_heard_by_either_law() {
    for law in [Law::A, Law::Mu] {
        for (level, must) in [(3.0, Must::Hear), (0.0, Must::Hear), (-10.0, Must::Hear), (-20.0, Must::Hear), (-25.0, Must::Hear)]
            .into_iter()
            .chain([(-29.0, Must::Hear), (-31.0, Must::Either), (-33.0, Must::NotHear), (-40.0, Must::NotHear)])
        {
            measure(&format!("{level} dBm0 a tone, {law:?}-law"), must, &Signal { row: level, column: level, law, ..USUAL });
        }
        let worst = Signal { row: -25.0, column: -29.0, row_off: 1.5, column_off: -1.5, on: 40.0, off: 40.0, presses: 3, law, ..USUAL };
        measure(&format!("−25/−29 dBm0, 1.5 % off, 40 ms, {law:?}-law"), Must::Hear, &worst);
    }
}

#[test]
fn noise_and_dial_tone_do_not_matter() {
    for (snr, must) in
        [(18.0, Must::Hear), (15.0, Must::Hear), (12.0, Must::Hear), (10.0, Must::Either), (8.0, Must::Either), (6.0, Must::Either)]
    {
        measure(&format!("noise {snr} dB below, 4 × 50 ms"), must, &Signal { snr: Some(snr), presses: 4, ..USUAL });
    }
    for (snr, must) in [(12.0, Must::Hear), (10.0, Must::Hear), (8.0, Must::Either), (6.0, Must::Either)] {
        measure(&format!("noise {snr} dB below, 4 × 100 ms"), must, &Signal { snr: Some(snr), presses: 4, on: 100.0, off: 100.0, ..USUAL });
    }
    measure("noise 10 dB below, two presses of a second", Must::Hear, &Signal { snr: Some(10.0), presses: 2, on: 1_000.0, ..USUAL });
    for (level, must) in [(-20.0, Must::Hear), (-10.0, Must::Hear), (-6.0, Must::Hear), (-3.0, Must::Either), (0.0, Must::Either)] {
        measure(&format!("dial tone of {level} dBm0 under a key of −10"), must, &Signal { dial_tone: Some(level), presses: 3, ..USUAL });
    }
}

/// The recording as if spoken faster and higher (or slower and lower) by `speed`.
fn at_speed(samples: &[i16], speed: f64) -> Vec<i16> {
    let at = |n: usize| samples.get(n).copied().map_or(0.0, f64::from);
    let interpolated = |n: usize| {
        let place = n as f64 * speed;
        let (whole, part) = (place as usize, place.fract());
        let (a, b, c, d) = (at(whole.saturating_sub(1)), at(whole), at(whole + 1), at(whole + 2));
        // Catmull and Rom's cubic.
        through(Law::A, b + 0.5 * part * (c - a + part * (2.0 * a - 5.0 * b + 4.0 * c - d + part * (3.0 * (b - c) + d - a))))
    };
    (0..(samples.len() as f64 / speed) as usize).map(interpolated).collect()
}

/// Counts the keys in recordings at several speeds, and prints.
fn false_keys<'a>(name: &str, recordings: impl Iterator<Item = (&'a str, &'a [i16])>, speeds: &[f64]) -> usize {
    let (mut minutes, mut count) = (0.0, 0);
    for (title, samples) in recordings {
        for speed in speeds {
            let samples = at_speed(samples, *speed);
            let keys = heard(&samples);
            if !keys.is_empty() {
                println!("{title} at speed {speed}: {keys}");
            }
            minutes += samples.len() as f64 / 480_000.0;
            count += keys.len();
        }
    }
    println!("| {name} | {minutes:.1} min | {count} false keys |");
    count
}

#[test]
fn our_own_voice_is_no_key_in_any_pitch() {
    let library = PromptLibrary::load(Path::new("prompts/it")).unwrap();
    let decode = |clip: &voceguida::telephony::clip::Clip| -> Vec<i16> {
        let frames = (0..clip.frames()).filter_map(|n| clip.alaw_frame(n));
        frames.flatten().map(|octet| g711::alaw_decode(*octet)).collect()
    };
    let recordings: Vec<_> = library.clips().iter().map(|clip| (clip.name().to_owned(), decode(clip))).collect();
    let recordings = || recordings.iter().map(|(name, samples)| (name.as_str(), samples.as_slice()));
    assert!(recordings().map(|(_, samples)| samples.len()).sum::<usize>() > 5 * 480_000);
    assert_eq!(false_keys("the prompts", recordings(), &[0.75, 0.9, 1.0, 1.15, 1.4]), 0);
}

/// For other recordings than the repository's: `VOCEGUIDA_RECORDINGS` names a directory of 8 kHz mono WAV files.
#[test]
#[ignore = "needs recordings that are not in the repository"]
fn other_voices_are_no_keys_either() {
    let directory = std::env::var("VOCEGUIDA_RECORDINGS").expect("VOCEGUIDA_RECORDINGS");
    let (mut recordings, mut todo) = (Vec::new(), vec![std::path::PathBuf::from(directory)]);
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(mut reader) = hound::WavReader::open(&path) {
            assert_eq!((reader.spec().sample_rate, reader.spec().channels), (8_000, 1), "{}", path.display());
            recordings.push((path.display().to_string(), reader.samples().map(Result::unwrap).collect::<Vec<i16>>()));
        }
    }
    let recordings = recordings.iter().map(|(name, samples)| (name.as_str(), samples.as_slice()));
    assert_eq!(false_keys("recordings", recordings, &[1.0]), 0);
}

#[test]
fn music_and_sweeps_are_no_keys() {
    let seconds = |n: usize| n as f64 / 8_000.0;
    // A sine going up and down the whole band, slowly and quickly.
    for length in [0.5, 2.0, 20.0] {
        let mut phase = 0.0;
        let sweep: Vec<i16> = (0..(length * 16_000.0) as usize)
            .map(|n| {
                let place = (seconds(n) / length).fract();
                phase += TAU * (300.0 * (3_400.0f64 / 300.0).powf(1.0 - (2.0 * place - 1.0).abs())) / 8_000.0;
                through(Law::A, 12_000.0 * phase.sin())
            })
            .collect();
        assert_eq!(heard(&sweep), "", "sweep of {length} s");
    }
    // Chords of tones with overtones, as of strings, with and without vibrato: all major and minor triads, four octaves.
    let mut chords = Vec::new();
    for (root, third, vibrato) in (0..48).flat_map(|root| [(root, 3, 0.0), (root, 4, 0.0), (root, 4, 0.01)]) {
        let notes = [root, root + third, root + 7].map(|note| 110.0 * 2f64.powf(f64::from(note) / 12.0));
        chords.extend((0..2_400).map(|n| {
            let phase = seconds(n) + vibrato / (TAU * 6.0) * (TAU * 6.0 * seconds(n)).sin();
            let voice = |hz: f64| (1..6).map(|k| (TAU * hz * f64::from(k) * phase).sin() / f64::from(k)).sum::<f64>();
            let decay = 1.0 - 0.5 * n as f64 / 2_400.0;
            through(Law::Mu, 4_000.0 * decay * notes.into_iter().map(voice).sum::<f64>())
        }));
    }
    println!("| chords | {:.1} min | {} false keys |", chords.len() as f64 / 480_000.0, heard(&chords).len());
    assert_eq!(heard(&chords), "");
    // Noise, white and through a slow gate, for two minutes.
    let mut rng = ChaCha12Rng::seed_from_u64(2);
    let hiss: Vec<i16> =
        (0..120 * 8_000).map(|n| through(Law::A, if n / FRAME_SAMPLES % 7 < 4 { 3_000.0 * noise(&mut rng) } else { 0.0 })).collect();
    assert_eq!(heard(&hiss), "");
}
