//! Keys as tones in the audio (ITU-T Q.23, Q.24): pure.
//!
//! For callers whose telephones or carriers send no telephone events. Each key is the sum of a row's
//! and a column's tone. A window of 20 ms is looked at every 5 ms ([`spectrum`]). A key is believed
//! after four windows in a row (35 ms) in which its two tones are nearly all there is, on frequency,
//! of fitting levels and steady; after eight where more is mixed in. A voice has such moments, but
//! hardly ever for so long, and it has most of its power below the keys' tones. Once believed, a key
//! lasts while its tones can be made out at all, so that a voice or a prompt's echo over a long press
//! does not make two of it; it is over after 25 ms without them (Q.24 wants breaks of 10 ms bridged and pauses of 40 ms seen).

mod highpass;
mod phasor;
mod spectrum;
#[cfg(test)]
mod tests;

use std::fmt;

use highpass::HighPass;
use spectrum::{HOP, Spectrum, Tone, Tones, WINDOW};

/// The keys by row and column (ITU-T Q.23, figure 1).
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// Mean square of a sine of 0 dBm0: G.711's largest is 3.14 dBm0 (A-law; 3.17 µ-law).
const DBM0: f32 = 22_400.0 * 22_400.0 / 2.0;
/// The faintest tone of a key: −32 dBm0. Telephones send −6 to −12, a long line takes a dozen dB of it.
const LEAST: f32 = DBM0 * 0.000_631;
/// 5 ms of which the mean square is below this (−33 dBm0) have no key in them: nothing is computed.
const SILENCE: f32 = DBM0 * 0.000_501;
/// Forward twist: the row's tone may be louder by so much (9 dB; Q.24 lists 4 to 10, AT&T 8), …
const ROW_LOUDER: f32 = 7.94;
/// … and reverse twist: the column's by so much (5 dB; AT&T 4).
const COLUMN_LOUDER: f32 = 3.16;
/// The next strongest frequency of either group must be so far below (9.5 dB).
const RIVAL: f32 = 0.112;
/// A tone's frequency may be off by so much in one window, …
const OFFSET: f32 = 0.024;
/// … and by so much on the average of a run. Q.24: ±1.5 % to be accepted, ±3.5 % to be refused.
const MEAN_OFFSET: f32 = 0.02;
/// The part of all power above 640 Hz that the two tones must be: counts one point …
const FAIR: f32 = 0.85;
/// … or two.
const PURE: f32 = 0.94;
/// A key that is believed lasts while its tones are this part.
const LASTING: f32 = 0.4;
/// The part of all power, low frequencies as well, that the two tones must be. An equally loud dial tone takes half.
const OF_ALL: f32 = 0.3;
/// How much each tone's power may change in a run (3 dB).
const STEADY: f32 = 2.0;
/// Points for a key to be believed.
const ENOUGH: u32 = 8;
/// Windows without a key's tones after which it is over.
const OVER: u32 = 6;
/// Lost audio that a held key outlasts, in samples: three packets.
const BRIDGED: u32 = 480;

/// A key by row and column.
type Key = (usize, usize);

/// Windows in a row that look like the same key.
#[derive(Debug, Clone, Copy)]
struct Run {
    key: Key,
    windows: f32,
    points: u32,
    /// Lowest and highest power so far, of row and column.
    powers: [(f32, f32); 2],
    /// Sum of the offsets, of row and column.
    offsets: [f32; 2],
}

/// Finds keys in 8 kHz audio, each once a press. Less than 1 kB; it allocates nothing.
#[derive(Clone)]
pub struct ToneDetector {
    /// Samples until there are 5 ms of them.
    hop: [i16; HOP],
    filled: usize,
    /// Mean square of the last hops, unfiltered.
    raw: [f32; WINDOW],
    highpass: HighPass,
    spectrum: Spectrum,
    run: Option<Run>,
    /// The key that is down, and has been told.
    down: Option<Key>,
    /// Windows since its tones were last there.
    missing: u32,
    /// Samples lost since audio last came.
    lost: u32,
}

impl Default for ToneDetector {
    fn default() -> Self {
        Self {
            hop: [0; HOP],
            filled: 0,
            raw: [0.0; WINDOW],
            highpass: HighPass::default(),
            spectrum: Spectrum::default(),
            run: None,
            down: None,
            missing: 0,
            lost: 0,
        }
    }
}

// Keys may be a child's code: they are not shown.
impl fmt::Debug for ToneDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToneDetector").field("down", &self.down.is_some()).finish_non_exhaustive()
    }
}

impl ToneDetector {
    /// Takes audio (16-bit samples, 8 kHz, any number) and calls `key` with each key as it is recognised:
    /// 30 to 40 ms after it went down, however long it is held.
    pub fn hear(&mut self, samples: impl IntoIterator<Item = i16>, mut key: impl FnMut(char)) {
        for sample in samples {
            self.hop[self.filled] = sample;
            self.filled += 1;
            if self.filled == HOP {
                self.filled = 0;
                self.lost = 0;
                if let Some((row, column)) = self.take_hop() {
                    key(KEYS[row][column]);
                }
            }
        }
    }

    /// Audio of so many samples was lost, or never sent (silence suppression). A key held over a
    /// short loss is still the same press; over a longer one nobody can tell, and it counts as over.
    pub fn lost(&mut self, samples: u32) {
        self.lost = self.lost.saturating_add(samples);
        (self.filled, self.run, self.missing) = (0, None, 0);
        (self.highpass, self.spectrum) = (HighPass::default(), Spectrum::default());
        if self.lost > BRIDGED {
            self.down = None;
        }
    }

    fn take_hop(&mut self) -> Option<Key> {
        let tones = self.look();
        if let (Some(down), Some(tones)) = (self.down, &tones)
            && down == (tones.row.index, tones.column.index)
            && tones.purity >= LASTING
        {
            self.missing = 0;
            return None;
        }
        self.missing = self.missing.saturating_add(1);
        if self.missing >= OVER {
            self.down = None;
        }
        let fitting = tones.filter(|tones| self.fits(tones));
        self.run = fitting.map(|tones| self.run.and_then(|run| run.followed_by(&tones)).unwrap_or_else(|| Run::new(&tones)));
        let believed = self.run.filter(Run::believed)?;
        (self.run, self.down, self.missing) = (None, Some(believed.key), 0);
        self.down
    }

    /// The two strongest tones of the window that ends now, if any.
    fn look(&mut self) -> Option<Tones> {
        // In whole numbers, which the processor adds eight at a time; a 64th is kept back so that they fit.
        let energy: i32 = self.hop.iter().map(|sample| i32::from(*sample).pow(2) >> 6).sum();
        let power = energy as f32 * (64.0 / HOP as f32);
        self.raw.rotate_left(1);
        self.raw[WINDOW - 1] = power;
        if power < SILENCE {
            self.highpass = HighPass::default();
            self.spectrum.skip();
            return None;
        }
        self.spectrum.hear(self.hop.iter().map(|sample| self.highpass.filter(*sample)));
        self.spectrum.tones(LEAST, if self.down.is_some() { 1.0 } else { RIVAL })
    }

    /// Might this window be part of a key?
    fn fits(&self, tones: &Tones) -> bool {
        let (row, column) = (&tones.row, &tones.column);
        let sound = |tone: &Tone| tone.power >= LEAST && tone.rival <= RIVAL && tone.offset.abs() <= OFFSET;
        let all = (self.raw[0] + 3.0 * self.raw[1] + 3.0 * self.raw[2] + self.raw[3]) / 8.0;
        sound(row)
            && sound(column)
            && row.power <= column.power * ROW_LOUDER
            && column.power <= row.power * COLUMN_LOUDER
            && tones.purity >= FAIR
            && row.power + column.power >= OF_ALL * all
    }
}

impl Run {
    fn new(tones: &Tones) -> Self {
        let (row, column) = (&tones.row, &tones.column);
        Self {
            key: (row.index, column.index),
            windows: 1.0,
            points: points(tones),
            powers: [(row.power, row.power), (column.power, column.power)],
            offsets: [row.offset, column.offset],
        }
    }

    /// The run with another window; `None` where that is another key or too much louder or fainter.
    fn followed_by(mut self, tones: &Tones) -> Option<Self> {
        for (tone, ((least, most), offset)) in [&tones.row, &tones.column].iter().zip(self.powers.iter_mut().zip(&mut self.offsets)) {
            (*least, *most) = (least.min(tone.power), most.max(tone.power));
            *offset += tone.offset;
            if *most > *least * STEADY {
                return None;
            }
        }
        self.windows += 1.0;
        self.points += points(tones);
        (self.key == (tones.row.index, tones.column.index)).then_some(self)
    }

    fn believed(&self) -> bool {
        self.points >= ENOUGH && self.offsets.iter().all(|sum| sum.abs() <= MEAN_OFFSET * self.windows)
    }
}

fn points(tones: &Tones) -> u32 {
    if tones.purity >= PURE { 2 } else { 1 }
}
