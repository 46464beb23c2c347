//! Names the prompts in received audio. Pure: frames in, names out.
//!
//! The server sends its prompts as they were encoded at load, frame by frame and untouched, so a
//! received 20 ms frame is either bit for bit a frame of a clip or it is not. An index from frame to
//! its places in the clips gives candidates; a candidate lives while the frames that follow are the
//! clip's. Frames that say nothing (silence, or found all over the clips) continue a candidate but
//! never begin one. Clips that begin alike are candidates side by side until the audio tells them apart.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use crate::telephony::clip::{Clip, FRAME_SAMPLES};

/// Length of a frame in ms.
pub const FRAME_MS: u64 = 20;
/// A frame found in more places than this begins no candidate.
const MAX_PLACES: usize = 16;
/// Frames of a clip that may be missing between two received ones (lost packets): half a second.
const MAX_SKIP: usize = 25;
/// Received frames in a row that are not the clip's before it counts as broken off: 100 ms.
const MAX_MISSES: u32 = 5;
/// Telling frames needed before a clip is believed; shorter clips need all theirs.
const MIN_MATCHED: u32 = 3;
/// Lost frames at either end of a clip that still let it count as heard whole, beside silent ones.
const END_TOLERANCE: usize = 2;
/// Candidates and finished candidates kept at most; audio made to confuse cannot grow them.
const MAX_CANDIDATES: usize = 128;

/// A prompt recognised in the audio.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Heard {
    /// The clip's name.
    pub name: String,
    /// Names of clips that would explain what was heard just as well (same audio, or broken off
    /// within a common beginning). Usually empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Whether it was heard from beginning to end.
    pub complete: bool,
    /// Where its beginning lies, ms from the first frame's place 0.
    pub start_ms: u64,
    /// How many of its frames arrived.
    pub frames_matched: u32,
}

impl Heard {
    /// Whether this may have been the prompt of that name.
    pub fn may_be(&self, name: &str) -> bool {
        self.name == name || self.also.iter().any(|also| also == name)
    }
}

/// Where each telling frame occurs in a set of clips. Built once, shared by many [`Recogniser`]s.
#[derive(Debug, Default)]
pub struct ClipIndex {
    clips: Vec<Arc<Clip>>,
    alaw: Law,
    ulaw: Law,
}

/// The index for one of the two encodings: hash of a frame → (clip, frame).
#[derive(Debug, Default)]
struct Law {
    places: HashMap<u64, Vec<(usize, usize)>>,
    /// Per clip: one past its last telling frame, and its number of telling frames.
    telling: Vec<(usize, u32)>,
}

fn hash(frame: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    frame.hash(&mut hasher);
    hasher.finish()
}

/// A frame of one value throughout is silence (or a constant offset): it tells nothing.
fn is_flat(frame: &[u8]) -> bool {
    frame.first().is_none_or(|first| frame.iter().all(|byte| byte == first))
}

fn frame_of(clip: &Clip, index: usize, is_alaw: bool) -> Option<&[u8]> {
    if is_alaw { clip.alaw_frame(index) } else { clip.ulaw_frame(index) }
}

impl ClipIndex {
    /// Indexes these clips, in both encodings. Clips without frames are never heard.
    pub fn new(clips: &[Arc<Clip>]) -> Self {
        Self { clips: clips.to_vec(), alaw: Law::new(clips, true), ulaw: Law::new(clips, false) }
    }

    fn law(&self, is_alaw: bool) -> &Law {
        if is_alaw { &self.alaw } else { &self.ulaw }
    }

    /// The clip with this name.
    pub fn clip(&self, name: &str) -> Option<&Arc<Clip>> {
        self.clips.iter().find(|clip| clip.name() == name)
    }

    /// The places of a telling frame; empty for frames that say nothing.
    fn places(&self, frame: &[u8], is_alaw: bool) -> &[(usize, usize)] {
        self.law(is_alaw).places.get(&hash(frame)).map_or(&[], Vec::as_slice)
    }

    fn is_frame(&self, clip: usize, index: usize, frame: &[u8], is_alaw: bool) -> bool {
        self.clips.get(clip).and_then(|clip| frame_of(clip, index, is_alaw)) == Some(frame)
    }

    fn len_of(&self, clip: usize) -> usize {
        self.clips.get(clip).map_or(0, |clip| clip.frames())
    }
}

impl Law {
    fn new(clips: &[Arc<Clip>], is_alaw: bool) -> Self {
        let mut places: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
        let frames = |clip: &Arc<Clip>| clip.frames();
        for (c, clip) in clips.iter().enumerate() {
            for f in 0..frames(clip) {
                if let Some(frame) = frame_of(clip, f, is_alaw).filter(|frame| !is_flat(frame)) {
                    places.entry(hash(frame)).or_default().push((c, f));
                }
            }
        }
        places.retain(|_, found| found.len() <= MAX_PLACES);
        let telling = clips
            .iter()
            .map(|clip| {
                let tells = |f: &usize| frame_of(clip, *f, is_alaw).is_some_and(|frame| places.contains_key(&hash(frame)));
                let end = (0..frames(clip)).rfind(tells).map_or(0, |last| last + 1);
                (end, (0..frames(clip)).filter(tells).count() as u32)
            })
            .collect();
        Self { places, telling }
    }
}

/// A clip being followed, or that was.
#[derive(Debug, Clone)]
struct Candidate {
    clip: usize,
    is_alaw: bool,
    /// The clip's frame it began with.
    first: usize,
    /// The clip's frame expected next.
    next: usize,
    /// Places (in frames) of the first and last frame that matched.
    from: u64,
    to: u64,
    /// Where the clip's own frame 0 lies; negative places are cut to 0.
    start: u64,
    telling: u32,
    matched: u32,
    misses: u32,
}

impl Candidate {
    fn complete(&self, index: &ClipIndex) -> bool {
        let Some(&(end, _)) = index.law(self.is_alaw).telling.get(self.clip) else { return false };
        let clip = index.clips.get(self.clip);
        let told_before = (0..self.first)
            .filter(|&f| {
                clip.and_then(|clip| frame_of(clip, f, self.is_alaw)).is_some_and(|frame| !index.places(frame, self.is_alaw).is_empty())
            })
            .count();
        told_before <= END_TOLERANCE && self.next + END_TOLERANCE >= end
    }

    fn believed(&self, index: &ClipIndex) -> bool {
        let has = index.law(self.is_alaw).telling.get(self.clip).map_or(u32::MAX, |&(_, count)| count);
        self.telling >= MIN_MATCHED.min(has)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

/// Follows received audio and names the prompts in it.
#[derive(Debug)]
pub struct Recogniser {
    index: Arc<ClipIndex>,
    place: u64,
    active: Vec<Candidate>,
    ended: Vec<Candidate>,
    settled: Vec<Heard>,
}

impl Recogniser {
    /// A recogniser of these clips.
    pub fn new(clips: &[Arc<Clip>]) -> Self {
        Self::with_index(Arc::new(ClipIndex::new(clips)))
    }

    /// A recogniser over an index built before.
    pub fn with_index(index: Arc<ClipIndex>) -> Self {
        Self { index, place: 0, active: Vec::new(), ended: Vec::new(), settled: Vec::new() }
    }

    /// Takes the next 20 ms frame (160 bytes of G.711; anything else only moves time on).
    pub fn frame(&mut self, payload: &[u8], is_alaw: bool) {
        let place = self.place;
        self.frame_at(place, payload, is_alaw);
    }

    /// Takes the frame of the given place (20 ms units from the beginning), after a gap in the
    /// audio for instance. Places only go forward: a late frame is ignored.
    pub fn frame_at(&mut self, place: u64, payload: &[u8], is_alaw: bool) {
        if place < self.place {
            return;
        }
        self.place = place + 1;
        let candidates = std::mem::take(&mut self.active);
        let mut explained = false;
        for mut candidate in candidates {
            if self.continues(&mut candidate, place, payload, is_alaw) {
                // A trusted clip going on frame after frame needs no rival explanation.
                explained |= candidate.telling >= MIN_MATCHED;
            } else {
                candidate.misses += 1;
            }
            let over = candidate.next >= self.index.len_of(candidate.clip) || candidate.misses > MAX_MISSES;
            if over { self.ended.push(candidate) } else { self.active.push(candidate) }
        }
        if !explained && payload.len() == FRAME_SAMPLES {
            self.begin(place, payload, is_alaw);
        }
        self.settle();
    }

    /// The place after the last frame taken.
    pub fn next_place(&self) -> u64 {
        self.place
    }

    /// Whether the last frame taken belongs to a prompt that has more to say: what is silent now is
    /// a pause within it.
    pub fn mid_prompt(&self) -> bool {
        let more = |c: &Candidate| self.index.law(c.is_alaw).telling.get(c.clip).is_some_and(|&(end, _)| c.next < end);
        self.active.iter().any(|c| c.misses == 0 && c.believed(&self.index) && more(c))
    }

    /// What has been heard so far, in order, the prompt being heard now included (`complete` is
    /// false as long as it goes on).
    pub fn heard(&self) -> Vec<Heard> {
        let mut heard = self.settled.clone();
        heard.extend(self.resolve(self.ended.iter().chain(&self.active)));
        name_by_context(&mut heard);
        heard
    }

    /// Whether `candidate` takes this frame: the one it expects, or a telling one a little further on.
    fn continues(&self, candidate: &mut Candidate, place: u64, payload: &[u8], is_alaw: bool) -> bool {
        if candidate.is_alaw != is_alaw || payload.len() != FRAME_SAMPLES {
            return false;
        }
        let places = self.index.places(payload, is_alaw);
        let tells = !places.is_empty();
        let at = if self.index.is_frame(candidate.clip, candidate.next, payload, is_alaw) {
            candidate.next
        } else {
            let near = candidate.next..=candidate.next + MAX_SKIP;
            let further = places.iter().filter(|(clip, f)| *clip == candidate.clip && near.contains(f)).map(|&(_, f)| f).min();
            match further.filter(|&f| self.index.is_frame(candidate.clip, f, payload, is_alaw)) {
                Some(further) => further,
                None => return false,
            }
        };
        candidate.next = at + 1;
        candidate.to = place;
        candidate.matched += 1;
        candidate.telling += u32::from(tells);
        candidate.misses = 0;
        true
    }

    fn begin(&mut self, place: u64, payload: &[u8], is_alaw: bool) {
        for &(clip, frame) in self.index.places(payload, is_alaw) {
            let followed = self.active.iter().chain(&self.ended).any(|c| c.clip == clip && c.to == place && c.next == frame + 1);
            if followed || self.active.len() >= MAX_CANDIDATES || !self.index.is_frame(clip, frame, payload, is_alaw) {
                continue;
            }
            let begun = Candidate {
                clip,
                is_alaw,
                first: frame,
                next: frame + 1,
                from: place,
                to: place,
                start: place.saturating_sub(frame as u64),
                telling: 1,
                matched: 1,
                misses: 0,
            };
            if begun.next >= self.index.len_of(clip) { self.ended.push(begun) } else { self.active.push(begun) }
        }
    }

    /// Settles the finished candidates once no living one can still dispute them.
    fn settle(&mut self) {
        let Some(latest) = self.ended.iter().map(|c| c.to).max() else { return };
        if self.ended.len() < MAX_CANDIDATES && self.active.iter().any(|c| c.from <= latest) {
            return;
        }
        let ended = std::mem::take(&mut self.ended);
        let heard = self.resolve(ended.iter());
        self.settled.extend(heard);
    }

    /// Of candidates for the same stretch of audio the one with the most frames wins.
    fn resolve<'a>(&self, candidates: impl Iterator<Item = &'a Candidate>) -> Vec<Heard> {
        let mut candidates: Vec<&Candidate> = candidates.filter(|c| c.believed(&self.index)).collect();
        let rank = |c: &Candidate| (c.telling, c.matched, c.complete(&self.index));
        candidates.sort_by(|a, b| rank(b).cmp(&rank(a)).then(a.clip.cmp(&b.clip)));
        let mut won: Vec<(&Candidate, Vec<usize>)> = Vec::new();
        for candidate in candidates {
            match won.iter_mut().find(|(winner, _)| winner.overlaps(candidate)) {
                None => won.push((candidate, Vec::new())),
                Some((winner, equals)) => {
                    if rank(winner) == rank(candidate) && winner.clip != candidate.clip && !equals.contains(&candidate.clip) {
                        equals.push(candidate.clip);
                    }
                }
            }
        }
        won.sort_by_key(|(winner, _)| winner.from);
        let name = |clip: usize| self.index.clips.get(clip).map_or_else(String::new, |clip| clip.name().to_owned());
        won.into_iter()
            .map(|(winner, equals)| Heard {
                name: name(winner.clip),
                also: equals.into_iter().map(name).collect(),
                complete: winner.complete(&self.index),
                start_ms: winner.start * FRAME_MS,
                frames_matched: winner.matched,
            })
            .collect()
    }
}

/// Of several names of the same sound the one that fits what went before: after a word of its own
/// family (`cifra_4`, then `cifra_2`), in a date (`settimana_…`, `giorno_…`, `mese_…`), among the
/// digits after `ricevuta`; else a plain number. The others stay in `also`.
fn name_by_context(heard: &mut [Heard]) {
    let family = |name: &str| name.rsplit_once('_').map_or(String::new(), |(family, _)| family.to_owned());
    let mut before = String::new();
    for prompt in heard {
        if !prompt.also.is_empty() {
            let expected = match (before.as_str(), family(&before).as_str()) {
                (_, "settimana") => "giorno".to_owned(),
                (_, "giorno") => "mese".to_owned(),
                ("ricevuta", _) => "cifra".to_owned(),
                (_, same) => same.to_owned(),
            };
            let names: Vec<_> = std::iter::once(&prompt.name).chain(&prompt.also).cloned().collect();
            let of = |wanted: &str| names.iter().find(|name| !wanted.is_empty() && family(name) == wanted);
            if let Some(fits) = of(&expected).or_else(|| of("numero")).cloned() {
                prompt.also = names.into_iter().filter(|name| *name != fits).collect();
                prompt.name = fits;
            }
        }
        prompt.name.clone_into(&mut before);
    }
}

#[cfg(test)]
mod tests;
