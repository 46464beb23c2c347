//! Which prompts are heard: recognised from the audio alone. Pure.
//!
//! The line sends a prompt's encoded frames as they are, frame by frame, so that what arrives is
//! bit for bit the clip. A frame's bytes lead to the places where they stand in the clips; the
//! places that go on fitting are the prompt.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::telephony::{clip::Clip, g711, sip::sdp::Codec};

/// A prompt that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its name; where several prompts are the same recording, the one that fits what went before.
    pub name: String,
    /// Was it heard to its end?
    pub complete: bool,
    /// When it began, in ms from the first packet.
    pub start_ms: u64,
}

/// Packets that may be lost within a prompt without taking it for another.
const MOST_LOST: usize = 5;
/// A prompt is entered at its beginning, or a few lost packets later.
const ENTRY_FRAMES: usize = 8;
/// Fewer matching frames than this are chance.
const LEAST_MATCHES: usize = 3;
/// Samples quieter than this are silence (out of 32,768): G.711's noise and a synthesiser's breath.
const QUIET: i16 = 200;

/// A place that fits what is being heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    clip: usize,
    next: usize,
    matched: usize,
    start: u64,
}

/// Listens to a call.
#[derive(Debug)]
pub struct Recogniser {
    clips: Vec<Arc<Clip>>,
    index: HashMap<u64, Vec<(usize, usize)>>,
    alive: Vec<Place>,
    heard: Vec<Heard>,
    frames: u64,
}

fn key(codec: Codec, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (codec, payload).hash(&mut hasher);
    hasher.finish()
}

/// Is there nothing to hear in this payload?
pub fn is_silent(codec: Codec, payload: &[u8]) -> bool {
    let decode = decoder(codec);
    payload.iter().all(|byte| decode(*byte).unsigned_abs() < QUIET.unsigned_abs())
}

/// The decoder of a codec.
pub fn decoder(codec: Codec) -> fn(u8) -> i16 {
    match codec {
        Codec::Pcma => g711::alaw_decode,
        Codec::Pcmu => g711::ulaw_decode,
    }
}

fn frame_of(clip: &Clip, codec: Codec, index: usize) -> Option<&[u8]> {
    match codec {
        Codec::Pcma => clip.alaw_frame(index),
        Codec::Pcmu => clip.ulaw_frame(index),
    }
}

impl Recogniser {
    /// Knows these prompts.
    pub fn new(clips: Vec<Arc<Clip>>) -> Self {
        let mut index: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
        for (clip_index, clip) in clips.iter().enumerate() {
            for frame in 0..clip.frames() {
                for codec in [Codec::Pcma, Codec::Pcmu] {
                    if let Some(payload) = frame_of(clip, codec, frame).filter(|p| !is_silent(codec, p)) {
                        index.entry(key(codec, payload)).or_default().push((clip_index, frame));
                    }
                }
            }
        }
        Self { clips, index, alive: Vec::new(), heard: Vec::new(), frames: 0 }
    }

    /// Is a prompt under way?
    pub fn is_listening(&self) -> bool {
        !self.alive.is_empty()
    }

    /// What was heard so far, the prompt under way not included.
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Takes the next 20 ms.
    pub fn frame(&mut self, codec: Codec, payload: &[u8]) {
        self.frames += 1;
        if is_silent(codec, payload) {
            // Silence within a prompt, or after it: places go on, and end.
            self.alive.iter_mut().for_each(|place| place.next += 1);
            return self.conclude_ended();
        }
        let found = self.index.get(&key(codec, payload)).cloned().unwrap_or_default();
        let goes_on = |place: &Place| {
            let reached = found.iter().filter(|(clip, frame)| *clip == place.clip && (place.next..=place.next + MOST_LOST).contains(frame));
            reached.map(|(_, frame)| Place { next: frame + 1, matched: place.matched + 1, ..*place }).min_by_key(|p| p.next)
        };
        let going_on: Vec<_> = self.alive.iter().filter_map(goes_on).collect();
        if going_on.is_empty() {
            self.conclude(false);
            let start = self.frames - 1;
            let enter = |(clip, frame): &(usize, usize)| Place {
                clip: *clip,
                next: frame + 1,
                matched: 1,
                start: start.saturating_sub(*frame as u64),
            };
            let beginnings: Vec<_> = found.iter().filter(|(_, frame)| *frame < ENTRY_FRAMES).map(enter).collect();
            self.alive = if beginnings.is_empty() { found.iter().map(enter).collect() } else { beginnings };
        } else {
            self.alive = going_on;
        }
        self.conclude_ended();
    }

    /// The call is over: what is under way was cut short.
    pub fn finish(&mut self) {
        self.conclude(true);
    }

    /// Concludes once every place that still fits has come to its end.
    fn conclude_ended(&mut self) {
        let ended = |place: &Place| self.clips.get(place.clip).is_none_or(|clip| place.next >= clip.frames());
        if !self.alive.is_empty() && self.alive.iter().all(ended) {
            self.conclude(false);
        }
    }

    fn conclude(&mut self, cut: bool) {
        let alive = std::mem::take(&mut self.alive);
        let Some(most) = alive.iter().map(|p| p.matched).max().filter(|most| *most >= LEAST_MATCHES) else { return };
        let ended = |p: &&Place| self.clips.get(p.clip).is_some_and(|clip| p.next + MOST_LOST >= clip.frames());
        let best: Vec<_> = alive.iter().filter(|p| p.matched == most).collect();
        // Of prompts that begin alike, the one that has come to its end is the one that was played.
        let complete: Vec<_> = best.iter().copied().filter(ended).collect();
        let chosen = if complete.is_empty() || cut { &best } else { &complete };
        let names: Vec<_> = chosen.iter().filter_map(|p| self.clips.get(p.clip)).map(|clip| clip.name()).collect();
        let before = self.heard.last().map_or("", |h| h.name.as_str());
        let Some(name) = likely(before, &names) else { return };
        let start_ms = chosen.first().map_or(0, |p| p.start) * 20;
        self.heard.push(Heard { name: name.to_owned(), complete: !complete.is_empty() && !cut, start_ms });
    }
}

/// Which of several names of the same sound is meant: "dodici" after a weekday is a day, after a digit a digit.
fn likely<'a>(before: &str, names: &[&'a str]) -> Option<&'a str> {
    let stem = |name: &str| name.rsplit_once('_').map_or(String::new(), |(stem, _)| stem.to_owned());
    let expected = match (before, stem(before).as_str()) {
        (_, "settimana") => "giorno".to_owned(),
        (_, "giorno") => "mese".to_owned(),
        ("ricevuta", _) => "cifra".to_owned(),
        (_, same) => same.to_owned(),
    };
    let fits = names.iter().find(|name| stem(name) == expected);
    fits.or_else(|| names.iter().find(|name| stem(name) == "numero")).or(names.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise that differs from frame to frame.
    fn noise(seed: u64, frames: usize) -> Vec<i16> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 50) as i16
        };
        (0..frames * 160).map(|_| next()).collect()
    }

    fn clip(name: &str, samples: &[i16]) -> Arc<Clip> {
        Arc::new(Clip::from_pcm(name, samples))
    }

    fn hear(recogniser: &mut Recogniser, clip: &Clip, frames: std::ops::Range<usize>, codec: Codec) {
        for frame in frames {
            recogniser.frame(codec, frame_of(clip, codec, frame).unwrap());
        }
    }

    fn said(recogniser: &Recogniser) -> Vec<(&str, bool)> {
        recogniser.heard().iter().map(|h| (h.name.as_str(), h.complete)).collect()
    }

    #[test]
    fn prompts_are_told_in_order_in_either_codec() {
        for codec in [Codec::Pcma, Codec::Pcmu] {
            let (a, b) = (clip("a", &noise(1, 40)), clip("b", &noise(2, 20)));
            let mut recogniser = Recogniser::new(vec![Arc::clone(&a), Arc::clone(&b)]);
            hear(&mut recogniser, &a, 0..40, codec);
            hear(&mut recogniser, &b, 0..20, codec);
            hear(&mut recogniser, &a, 0..40, codec);
            assert_eq!(said(&recogniser), [("a", true), ("b", true), ("a", true)]);
            assert_eq!(recogniser.heard()[1].start_ms, 800);
        }
    }

    #[test]
    fn loss_does_not_split_a_prompt_and_a_cut_one_is_told_as_cut() {
        let (a, b) = (clip("a", &noise(1, 40)), clip("b", &noise(2, 20)));
        let mut recogniser = Recogniser::new(vec![Arc::clone(&a), Arc::clone(&b)]);
        hear(&mut recogniser, &a, 0..10, Codec::Pcma);
        hear(&mut recogniser, &a, 14..40, Codec::Pcma);
        hear(&mut recogniser, &b, 2..9, Codec::Pcma);
        hear(&mut recogniser, &a, 0..20, Codec::Pcma);
        recogniser.finish();
        assert_eq!(said(&recogniser), [("a", true), ("b", false), ("a", false)]);
    }

    #[test]
    fn a_common_beginning_is_told_apart_by_what_follows() {
        let mut long = noise(1, 20);
        long.extend(noise(7, 20));
        let (short, long) = (clip("short", &noise(1, 20)), clip("long", &long));
        let mut recogniser = Recogniser::new(vec![Arc::clone(&short), Arc::clone(&long)]);
        hear(&mut recogniser, &long, 0..40, Codec::Pcma);
        hear(&mut recogniser, &short, 0..20, Codec::Pcma);
        hear(&mut recogniser, &long, 0..40, Codec::Pcma);
        assert_eq!(said(&recogniser), [("long", true), ("short", true), ("long", true)]);
    }

    #[test]
    fn the_same_recording_takes_the_name_that_fits() {
        let twelve = noise(3, 20);
        let clips = vec![
            clip("settimana_4", &noise(4, 10)),
            clip("cifra_2", &noise(5, 10)),
            clip("numero_12", &twelve),
            clip("giorno_12", &twelve),
        ];
        let mut recogniser = Recogniser::new(clips.clone());
        hear(&mut recogniser, &clips[0], 0..10, Codec::Pcma);
        hear(&mut recogniser, &clips[3], 0..20, Codec::Pcma);
        hear(&mut recogniser, &clips[1], 0..10, Codec::Pcma);
        hear(&mut recogniser, &clips[3], 0..20, Codec::Pcma);
        assert_eq!(said(&recogniser).iter().map(|(n, _)| *n).collect::<Vec<_>>(), ["settimana_4", "giorno_12", "cifra_2", "numero_12"]);
    }

    #[test]
    fn silence_and_strange_sounds_are_nothing() {
        let a = clip("a", &noise(1, 40));
        let mut recogniser = Recogniser::new(vec![a]);
        for _ in 0..100 {
            recogniser.frame(Codec::Pcma, &[0xd5; 160]);
        }
        let strange = clip("x", &noise(9, 40));
        hear(&mut recogniser, &strange, 0..40, Codec::Pcma);
        recogniser.finish();
        assert_eq!(recogniser.heard(), []);
    }
}
