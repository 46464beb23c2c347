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

    /// What has been heard so far, in order, the prompt being heard now included (`complete` is
    /// false as long as it goes on).
    pub fn heard(&self) -> Vec<Heard> {
        let mut heard = self.settled.clone();
        heard.extend(self.resolve(self.ended.iter().chain(&self.active)));
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// Sound no other seed makes: a noise of `frames` frames.
    fn noise(seed: u64, frames: usize) -> Vec<i16> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 50) as i16 - 8_192
        };
        (0..frames * FRAME_SAMPLES).map(|_| next()).collect()
    }

    fn clip(name: &str, parts: &[Vec<i16>]) -> Arc<Clip> {
        Arc::new(Clip::from_pcm(name, &parts.concat()))
    }

    fn silence(frames: usize) -> Vec<i16> {
        vec![0; frames * FRAME_SAMPLES]
    }

    /// Plays the given frames of a clip.
    fn play(to: &mut Recogniser, clip: &Clip, frames: impl IntoIterator<Item = usize>) {
        for f in frames {
            to.frame(clip.alaw_frame(f).unwrap(), true);
        }
    }

    fn quiet(to: &mut Recogniser, frames: usize) {
        for _ in 0..frames {
            to.frame(&[0xd5; FRAME_SAMPLES], true);
        }
    }

    fn told(recogniser: &Recogniser) -> Vec<(String, bool, u64)> {
        recogniser.heard().into_iter().map(|h| (h.name, h.complete, h.start_ms)).collect()
    }

    fn heard(name: &str, complete: bool, start_ms: u64) -> (String, bool, u64) {
        (name.to_owned(), complete, start_ms)
    }

    #[test]
    fn clips_one_after_the_other_are_named_in_order_with_their_times() {
        let clips = [clip("a", &[noise(1, 50)]), clip("b", &[noise(2, 30)])];
        let mut r = Recogniser::new(&clips);
        quiet(&mut r, 10);
        play(&mut r, &clips[1], 0..30);
        play(&mut r, &clips[0], 0..50);
        quiet(&mut r, 5);
        play(&mut r, &clips[1], 0..30);
        assert_eq!(told(&r), [heard("b", true, 200), heard("a", true, 800), heard("b", true, 1_900)]);
        assert_eq!(r.heard()[1].frames_matched, 50);
        assert_eq!(r.heard()[1].also, Vec::<String>::new());
    }

    #[test]
    fn mu_law_is_heard_as_well() {
        let clips = [clip("a", &[noise(1, 20)])];
        let mut r = Recogniser::new(&clips);
        for f in 0..20 {
            r.frame(clips[0].ulaw_frame(f).unwrap(), false);
        }
        assert_eq!(told(&r), [heard("a", true, 0)]);
    }

    #[test]
    fn a_prompt_is_named_while_it_plays_and_barge_in_leaves_it_incomplete() {
        let clips = [clip("long", &[noise(1, 100)]), clip("next", &[noise(2, 20)])];
        let mut r = Recogniser::new(&clips);
        play(&mut r, &clips[0], 0..2);
        assert_eq!(told(&r), [], "two frames are not enough");
        play(&mut r, &clips[0], 2..40);
        assert_eq!(told(&r), [heard("long", false, 0)]);
        play(&mut r, &clips[1], 0..20);
        quiet(&mut r, 50);
        assert_eq!(told(&r), [heard("long", false, 0), heard("next", true, 800)]);
    }

    #[test]
    fn a_prompt_broken_off_and_begun_again_is_heard_twice() {
        let clips = [clip("a", &[noise(1, 60)])];
        let mut r = Recogniser::new(&clips);
        play(&mut r, &clips[0], 0..30);
        play(&mut r, &clips[0], 0..60);
        assert_eq!(told(&r), [heard("a", false, 0), heard("a", true, 600)]);
    }

    #[test]
    fn lost_packets_do_not_break_a_prompt_nor_move_its_beginning() {
        let clips = [clip("a", &[noise(1, 100)])];
        let mut r = Recogniser::new(&clips);
        // Frames 0, 40 to 59 and 99 never arrive; places as their timestamps tell.
        for f in (1..40).chain(60..99) {
            r.frame_at(f as u64, clips[0].alaw_frame(f).unwrap(), true);
        }
        r.frame_at(300, &[0xd5; FRAME_SAMPLES], true);
        assert_eq!(told(&r), [heard("a", true, 0)]);
        assert_eq!(r.heard()[0].frames_matched, 78);
    }

    #[test]
    fn pauses_inside_silence_around_and_silence_common_to_all_do_not_confuse() {
        let clips = [
            clip("a", &[silence(10), noise(1, 20), silence(40), noise(2, 20), silence(30)]),
            clip("b", &[silence(10), noise(3, 20), silence(40), noise(4, 20), silence(30)]),
            clip("silence", &[silence(50)]),
        ];
        let mut r = Recogniser::new(&clips);
        quiet(&mut r, 100);
        play(&mut r, &clips[0], 0..120);
        play(&mut r, &clips[1], 0..120);
        assert_eq!(told(&r), [heard("a", true, 2_000), heard("b", true, 4_400)]);
        let mut r = Recogniser::new(&clips);
        play(&mut r, &clips[1], 0..60);
        quiet(&mut r, 200);
        assert_eq!(told(&r), [heard("b", false, 0)], "the second half never came");
    }

    #[test]
    fn clips_that_begin_alike_are_told_apart_when_they_part() {
        let clips =
            [clip("short", &[noise(1, 30)]), clip("left", &[noise(1, 30), noise(2, 30)]), clip("right", &[noise(1, 30), noise(3, 30)])];
        for (n, name) in ["short", "left", "right"].into_iter().enumerate() {
            let mut r = Recogniser::new(&clips);
            play(&mut r, &clips[n], 0..clips[n].frames());
            quiet(&mut r, 20);
            play(&mut r, &clips[n], 0..clips[n].frames());
            quiet(&mut r, 20);
            let second = (clips[n].frames() as u64 + 20) * FRAME_MS;
            assert_eq!(told(&r), [heard(name, true, 0), heard(name, true, second)]);
            assert_eq!(r.heard()[0].also, Vec::<String>::new());
        }
        let mut r = Recogniser::new(&clips);
        play(&mut r, &clips[1], 0..20);
        quiet(&mut r, 20);
        assert_eq!(told(&r).len(), 1);
        assert_eq!(r.heard()[0].also, ["left", "right"], "nobody can know");
        assert!(!r.heard()[0].complete);
    }

    #[test]
    fn a_word_recorded_once_and_used_in_two_sentences_does_not_make_a_third_prompt() {
        let word = noise(9, 15);
        let clips = [
            clip("one", &[noise(1, 30), word.clone(), noise(2, 30)]),
            clip("two", &[noise(3, 30), word.clone(), noise(4, 30)]),
            clip("word", &[word]),
        ];
        let mut r = Recogniser::new(&clips);
        play(&mut r, &clips[0], 0..75);
        play(&mut r, &clips[1], 0..75);
        play(&mut r, &clips[2], 0..15);
        assert_eq!(told(&r), [heard("one", true, 0), heard("two", true, 1_500), heard("word", true, 3_000)]);
    }

    #[test]
    fn frames_of_any_length_and_noise_are_nothing() {
        let clips = [clip("a", &[noise(1, 20)]), clip("empty", &[])];
        let mut r = Recogniser::new(&clips);
        let other = clip("other", &[noise(2, 200)]);
        play(&mut r, &other, 0..200);
        for length in [0, 1, 159, 161, 1_400] {
            r.frame(&vec![3; length], true);
        }
        assert_eq!(told(&r), []);
    }

    proptest! {
        /// Whatever is played, with up to one packet in ten lost, comes out as it went in.
        #[test]
        fn whatever_is_played_is_named(
            order in prop::collection::vec(0_usize..4, 1..8),
            lost in prop::collection::vec(0_u8..10, 500),
        ) {
            static CLIPS: LazyLock<Vec<Arc<Clip>>> =
                LazyLock::new(|| (0..4).map(|n| clip(&n.to_string(), &[noise(n + 1, 20 + 10 * n as usize)])).collect());
            let clips = &*CLIPS;
            let mut r = Recogniser::new(clips);
            let mut place = 0;
            let mut expected = Vec::new();
            let mut lost = lost.into_iter().cycle();
            for &n in &order {
                expected.push((n.to_string(), place * FRAME_MS));
                for f in 0..clips[n].frames() {
                    if lost.next() != Some(0) {
                        r.frame_at(place, clips[n].alaw_frame(f).unwrap(), true);
                    }
                    place += 1;
                }
                place += 12;
            }
            let names: Vec<_> = r.heard().into_iter().map(|h| (h.name, h.start_ms)).collect();
            prop_assert_eq!(names, expected);
        }
    }
}
