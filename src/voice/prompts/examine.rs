//! Looks a recording over before it goes on the line: cuts the silence off its ends, brings it to the others' loudness, and says in plain
//! Italian what would be heard. Pure.
//!
//! Loudness is measured as the delivered prompts' is, as RMS of what sounds: the gated measure of EBU R 128 needs 400 ms, and a spoken number is shorter.

use serde::{Deserialize, Serialize};

use super::decode::{self, DecodeError, Sound};

/// The longest recording that the office may bring, in seconds.
pub const LONGEST_S: u32 = 60;
/// Samples in a frame of 20 ms at 16 kHz.
const FRAME: usize = 320;
/// Samples in a ms at 16 kHz.
const PER_MS: usize = 16;
/// RMS under which nothing is said at all, in dB below full scale.
const SILENT_DB: f64 = -55.0;
/// No sample goes above this, in dB below full scale.
const PEAK_DB: f64 = -1.0;
/// Silence kept before the first sound and after the last, in ms.
const KEPT_MS: usize = 60;
/// Silence at a sentence's end, and at that of a piece which is joined to others, in ms: as the delivered prompts have.
const TAIL_MS: (usize, usize) = (250, 40);
/// Silence at an end that is worth a word, in ms.
const LONG_SILENCE_MS: usize = 400;
/// An amplification that is worth a word, in dB.
const MUCH_GAIN_DB: f64 = 18.0;
/// Speech should stand so far above what is heard when nobody speaks, in dB.
const CLEAR_DB: f64 = 25.0;
/// A recording that differs from the expected length by less, in ms, does not differ.
const SAME_LENGTH_MS: u64 = 500;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Put right by us.
    Note,
    /// To be listened to before it is taken.
    Warning,
}

/// Something found in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Finding {
    /// Much shorter than the text takes.
    TooShort {
        /// How long it is.
        ms: u64,
        /// How long the delivered one is.
        expected_ms: u64,
    },
    /// Much longer than the text takes.
    TooLong {
        /// How long it is.
        ms: u64,
        /// How long the delivered one is.
        expected_ms: u64,
    },
    /// Places where it was recorded too loud.
    Clipped {
        /// How many.
        places: usize,
    },
    /// So soft that what it was amplified by is heard as noise.
    Soft {
        /// Amplified by so many dB.
        gain_db: u32,
    },
    /// A single loud sound keeps the rest soft.
    Uneven {
        /// Softer than the others by so many dB.
        by_db: u32,
    },
    /// Something is heard when nobody speaks.
    Noisy {
        /// Speech stands above it by so many dB.
        above_db: u32,
    },
    /// Recorded with fewer samples than the telephone has.
    Dull {
        /// Samples a second.
        hz: u32,
    },
    /// Silence at the beginning, cut off.
    SilenceBefore {
        /// How long it was.
        ms: usize,
    },
    /// Silence at the end, cut off.
    SilenceAfter {
        /// How long it was.
        ms: usize,
    },
}

/// Seconds as people write them: "1,2 secondi".
pub fn seconds(ms: u64) -> String {
    let tenths = (ms + 50) / 100;
    let number = if tenths.is_multiple_of(10) { (tenths / 10).to_string() } else { format!("{},{}", tenths / 10, tenths % 10) };
    if tenths == 10 { "1 secondo".to_owned() } else { format!("{number} secondi") }
}

impl Finding {
    /// How much it matters.
    pub fn weight(self) -> Weight {
        match self {
            Self::SilenceBefore { .. } | Self::SilenceAfter { .. } => Weight::Note,
            _ => Weight::Warning,
        }
    }

    /// What was found and what to do, in plain Italian.
    pub fn words(self) -> String {
        match self {
            Self::TooShort { ms, expected_ms } => format!(
                "È molto breve: dura {}, mentre per questo testo ci vogliono circa {}. Controlli che non sia tagliata e che sia il messaggio giusto.",
                seconds(ms),
                seconds(expected_ms)
            ),
            Self::TooLong { ms, expected_ms } => format!(
                "È molto lunga: dura {}, mentre per questo testo bastano circa {}. Controlli che sia il messaggio giusto e che non ci siano pause.",
                seconds(ms),
                seconds(expected_ms)
            ),
            Self::Clipped { places } => {
                let times = if places == 1 { "in un punto".to_owned() } else { format!("in {places} punti") };
                format!("È stata registrata troppo forte: {times} la voce è distorta. Registri di nuovo più lontano dal microfono.")
            }
            Self::Soft { gain_db } => format!(
                "È stata registrata molto piano: è stata alzata di {gain_db} decibel, e con la voce si sente di più anche il fruscio. Registri di nuovo più vicino al microfono."
            ),
            Self::Uneven { by_db } => format!(
                "Un rumore o una parola molto più forte del resto impedisce di alzarla: si sentirà più piano degli altri messaggi, di {by_db} decibel."
            ),
            Self::Noisy { above_db } => {
                format!("Si sente un rumore di fondo: la voce lo supera di soli {above_db} decibel. Registri in una stanza silenziosa.")
            }
            Self::Dull { hz } => {
                format!("È di qualità inferiore a quella del telefono ({hz} campioni al secondo): la voce sarà un po' cupa.")
            }
            Self::SilenceBefore { ms } => format!("Cominciava con {} di silenzio: è stato tolto.", seconds(ms as u64)),
            Self::SilenceAfter { ms } => format!("Finiva con {} di silenzio: è stato tolto.", seconds(ms as u64)),
        }
    }
}

/// Why a recording cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Nobody speaks in it.
    #[error("is silent")]
    Silent,
}

impl Unusable {
    /// Why, and what to do, in plain Italian.
    pub fn words(&self) -> String {
        match self {
            Self::Decode(DecodeError::TooLong(most)) => format!("Dura troppo: al massimo {most} secondi."),
            Self::Decode(DecodeError::TooLarge) => "Il file è troppo grande.".to_owned(),
            Self::Decode(DecodeError::Empty) | Self::Silent => {
                "Non si sente nulla: la registrazione è vuota o muta. Controlli il microfono e registri di nuovo.".to_owned()
            }
            Self::Decode(DecodeError::Read(_) | DecodeError::Format(_)) => {
                "Non è una registrazione che si possa leggere, oppure il file è rovinato. Si possono usare file WAV, MP3, OGG (Vorbis), FLAC, AIFF e M4A (AAC)."
                    .to_owned()
            }
        }
    }
}

/// What a recording is measured against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// How long the delivered one is, in ms.
    pub duration_ms: u64,
    /// Is it joined to others?
    pub part: bool,
    /// RMS in dB below full scale.
    pub loudness_dbfs: f64,
}

/// A recording as it goes on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Samples at 16 kHz.
    pub samples: Vec<i16>,
    /// What was found, what matters most first.
    pub findings: Vec<Finding>,
}

/// Reads a recording and looks it over.
pub fn examine(bytes: Vec<u8>, file_name: &str, expected: &Expected) -> Result<Examined, Unusable> {
    look_over(&decode::decode_bytes(bytes, file_name, LONGEST_S)?, expected)
}

fn look_over(sound: &Sound, expected: &Expected) -> Result<Examined, Unusable> {
    let mut findings = Vec::new();
    let clipped = clipped_places(sound.mono());
    let wide = sound.at(decode::WIDE)?;
    let (first, last) = sounding(&wide).ok_or(Unusable::Silent)?;
    let speech = wide.get(first..last).unwrap_or_default();
    let level = rms_db(speech);
    let ms = (speech.len() / PER_MS) as u64;

    let differs = ms.abs_diff(expected.duration_ms) > SAME_LENGTH_MS;
    if differs && ms * 2 < expected.duration_ms {
        findings.push(Finding::TooShort { ms, expected_ms: expected.duration_ms });
    } else if differs && ms > expected.duration_ms * 2 {
        findings.push(Finding::TooLong { ms, expected_ms: expected.duration_ms });
    }
    if clipped > 0 {
        findings.push(Finding::Clipped { places: clipped });
    }
    let wanted = expected.loudness_dbfs - level;
    let gain = wanted.min(PEAK_DB - decibel(speech.iter().map(|s| f64::from(*s).abs()).fold(0.0, f64::max)));
    if gain > MUCH_GAIN_DB {
        findings.push(Finding::Soft { gain_db: gain.round() as u32 });
    }
    if wanted - gain > 4.0 {
        findings.push(Finding::Uneven { by_db: (wanted - gain).round() as u32 });
    }
    if let Some(above) = above_noise(&wide, (first, last), level).filter(|above| *above < CLEAR_DB) {
        findings.push(Finding::Noisy { above_db: above.max(0.0).round() as u32 });
    }
    if sound.rate() < decode::NARROW {
        findings.push(Finding::Dull { hz: sound.rate() });
    }
    for (silence, finding) in [
        (first / PER_MS, Finding::SilenceBefore { ms: first / PER_MS }),
        ((wide.len() - last) / PER_MS, Finding::SilenceAfter { ms: (wide.len() - last) / PER_MS }),
    ] {
        if silence > LONG_SILENCE_MS {
            findings.push(finding);
        }
    }

    let start = first.saturating_sub(KEPT_MS * PER_MS);
    let end = wide.len().min(last + KEPT_MS * PER_MS);
    let factor = 10f64.powf(gain / 20.0);
    let mut samples: Vec<i16> =
        wide[start..end].iter().map(|s| (f64::from(*s) * factor).round().clamp(-32_768.0, 32_767.0) as i16).collect();
    soften_ends(&mut samples);
    let tail = if expected.part { TAIL_MS.1 } else { TAIL_MS.0 };
    samples.extend(std::iter::repeat_n(0, tail * PER_MS));
    Ok(Examined { samples, findings })
}

/// The first and last 5 ms come and go: noise that begins at once is a click.
fn soften_ends(samples: &mut [i16]) {
    let ramp = (5 * PER_MS).min(samples.len() / 2);
    let length = samples.len();
    for at in 0..ramp {
        let share = at as f64 / ramp as f64;
        for index in [at, length - 1 - at] {
            if let Some(sample) = samples.get_mut(index) {
                *sample = (f64::from(*sample) * share) as i16;
            }
        }
    }
}

/// Where something sounds, as a range of samples; `None` where nothing does.
fn sounding(samples: &[i16]) -> Option<(usize, usize)> {
    let levels: Vec<f64> = samples.chunks(FRAME).map(rms_db).collect();
    let loudest = levels.iter().copied().fold(f64::MIN, f64::max);
    if loudest < SILENT_DB {
        return None;
    }
    // Well above the quietest tenth, but never so high that a soft consonant falls under it.
    let mut sorted = levels.clone();
    sorted.sort_by(f64::total_cmp);
    let quiet = sorted.get(sorted.len() / 10).copied().unwrap_or(SILENT_DB);
    let threshold = (quiet + 10.0).min(loudest - 30.0).max(SILENT_DB - 5.0);
    let first = levels.iter().position(|level| *level > threshold)?;
    let last = levels.iter().rposition(|level| *level > threshold)?;
    Some((first * FRAME, samples.len().min((last + 1) * FRAME)))
}

/// How far the speech stands above what is heard outside it, in dB; `None` where there is too little outside to tell.
fn above_noise(samples: &[i16], (first, last): (usize, usize), level: f64) -> Option<f64> {
    let outside: Vec<i16> = samples.get(..first)?.iter().chain(samples.get(last..)?).copied().collect();
    (outside.len() >= 200 * PER_MS).then(|| level - rms_db(&outside).max(-90.0))
}

/// Places where several samples in a row stand at the limit.
fn clipped_places(mono: &[f32]) -> usize {
    let mut places = 0;
    let mut run = 0;
    for sample in mono {
        run = if sample.abs() >= 0.985 { run + 1 } else { 0 };
        // Counted once, at its third sample.
        places += usize::from(run == 3);
    }
    places
}

fn rms_db(samples: &[i16]) -> f64 {
    decibel((samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt())
}

fn decibel(amplitude: f64) -> f64 {
    super::decibel(amplitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected = Expected { duration_ms: 2_000, part: false, loudness_dbfs: -20.0 };

    /// `ms` of a voice-like sound at this amplitude (of 1), `before` and `after` ms of noise at `noise`.
    fn voice(before: usize, ms: usize, after: usize, amplitude: f64, noise: f64) -> Sound {
        let mut seed = 1u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed >> 16) / 32_768.0 - 1.0
        };
        let samples: Vec<i16> = (0..(before + ms + after) * PER_MS)
            .map(|n| {
                let inside = (before * PER_MS..(before + ms) * PER_MS).contains(&n);
                let tone = (n as f64 * 0.05).sin() * (0.7 + 0.3 * (n as f64 * 0.002).sin());
                let value = if inside { amplitude * tone } else { 0.0 } + noise * random();
                (value * 32_767.0).clamp(-32_768.0, 32_767.0) as i16
            })
            .collect();
        Sound::of(&samples, decode::WIDE)
    }

    fn found(sound: &Sound) -> Vec<String> {
        look_over(sound, &EXPECTED).unwrap().findings.into_iter().map(Finding::words).collect()
    }

    #[test]
    fn a_good_recording_is_cut_levelled_and_not_spoken_of() {
        let examined = look_over(&voice(300, 2_000, 300, 0.2, 0.000_5), &EXPECTED).unwrap();
        assert_eq!(examined.findings, []);
        let ms = examined.samples.len() / PER_MS;
        assert!((2_300..2_450).contains(&ms), "{ms}");
        let speech = &examined.samples[KEPT_MS * PER_MS..examined.samples.len() - (KEPT_MS + TAIL_MS.0) * PER_MS];
        assert!((rms_db(speech) + 20.0).abs() < 1.0, "{}", rms_db(speech));
        assert!(examined.samples[0] == 0 && examined.samples.iter().rev().take(200 * PER_MS).all(|s| *s == 0));
    }

    #[test]
    fn what_is_wrong_is_told_in_plain_italian() {
        let mut told = Vec::new();
        for sound in [
            voice(300, 400, 300, 0.2, 0.000_5),
            voice(0, 9_000, 0, 0.2, 0.000_5),
            voice(300, 2_000, 300, 1.6, 0.000_5),
            voice(300, 2_000, 300, 0.01, 0.000_1),
            voice(300, 2_000, 300, 0.2, 0.03),
            voice(1_200, 2_000, 3_000, 0.2, 0.000_5),
            Sound::of(&voice(300, 2_000, 300, 0.2, 0.000_5).at(decode::NARROW).unwrap()[..9_000], 4_500),
        ] {
            told.extend(found(&sound));
        }
        insta::assert_snapshot!(told.join("\n"));
        let silent = look_over(&voice(500, 0, 0, 0.0, 0.000_5), &EXPECTED).unwrap_err();
        assert!(silent.words().starts_with("Non si sente nulla"), "{silent}");
    }

    #[test]
    fn garbage_and_claims_are_refused_without_harm() {
        let wav = |rate: u32, channels: u16| {
            let mut bytes = b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
            bytes.extend(channels.to_le_bytes());
            bytes.extend(rate.to_le_bytes());
            bytes.extend((rate.wrapping_mul(2)).to_le_bytes());
            bytes.extend([2, 0, 16, 0]);
            bytes.extend(b"data\0\x10\0\0");
            bytes.extend([0x55; 4_096]);
            bytes
        };
        for bytes in
            [wav(4_294_967_291, 1), wav(0, 1), wav(1, 1), wav(8_000, 0), wav(8_000, 60_000), vec![], vec![0; 100_000], b"ID3".to_vec()]
        {
            let refused = examine(bytes, "a.wav", &EXPECTED).unwrap_err();
            assert!(matches!(refused, Unusable::Decode(DecodeError::Format(_) | DecodeError::Empty)), "{refused}");
        }
        let long = decode::decode_bytes(wav(8_000, 1), "a.wav", 0).unwrap_err();
        assert!(matches!(long, DecodeError::TooLong(0)), "{long}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(head in 0usize..5, bytes: Vec<u8>) {
            let head: &[u8] = [&b""[..], b"RIFF\0\x10\0\0WAVEfmt ", b"fLaC\0\0\0\x22", b"OggS\0\x02", b"\0\0\0\x20ftypM4A "][head];
            let _ = examine([head, &bytes].concat(), "x", &EXPECTED);
        }
    }
}
