//! One key press from up to three ways of telling it: pure.
//!
//! A carrier may send the same press as telephone events (RFC 4733), as SIP INFO and as tones in the
//! audio, two of them or all, each with a delay of its own. It must count once; and a press more is
//! worse than a press less: a doubled key confirms what nobody confirmed, a lost one is pressed again.
//!
//! Each way by itself tells every press once and in order. So the ways are not compared by time but by
//! count: a key is an echo of the first press told by others that this way has not told yet, if it is
//! the same key. "11" stays two presses however the two ways' packets mix. Time matters only as a bound: a press
//! told longer ago than the slower way needs is not what a key is the echo of.
//!
//! Not every way deserves to be asked. A detector of tones may hear a long press twice when a voice
//! talks over it, or not at all; INFO comes late, or after its key is up again. So only the best way that has told
//! anything on this call is believed: telephone events, else INFO, else tones. The first press is told
//! by whichever comes first, the others' echo of it is known by the count, and from then on the best
//! one of them leads. What a lesser way tells beyond that is only remembered. When it tells a second key
//! and the leader has said nothing since before the first, the leader has gone silent (a transfer, a gateway
//! that was replaced): it loses its lead until it is heard again. The price is one press, pressed again.

use std::fmt;

/// How a key press was told, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Telephone events in RTP (RFC 4733): prompt, repeated, exact.
    Events,
    /// SIP INFO (`application/dtmf-relay`, `application/dtmf`): exact, but late when a request is repeated.
    Info,
    /// Tones in the audio: a guess, if a good one.
    Tones,
}

const WAYS: usize = 3;
/// Presses remembered; two seconds of the quickest dialler are 25.
const MOST_TOLD: usize = 32;
/// How far apart the same press may come as events and as tones: both are in the same stream of packets.
const SAME_STREAM_MS: u64 = 500;
/// How far apart by INFO and another way: sent when the key is let go, and repeated over UDP after 0.5 and 1.5 s (RFC 3261 §17.1.2.2).
const BY_INFO_MS: u64 = 2_000;
/// A key that nobody led to counts as a sign of the leader's silence for so long: a person whose key did
/// nothing presses again at the next prompt.
const REMEMBERED_MS: u64 = 20_000;

impl Way {
    fn apart(self, other: Self) -> u64 {
        if self == Self::Info || other == Self::Info { BY_INFO_MS } else { SAME_STREAM_MS }
    }
}

/// A press that was told.
#[derive(Clone, Copy)]
struct Told {
    key: char,
    way: Way,
    at: u64,
}

/// What one way has done so far.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    /// The first press, counted over the call, that it has not told yet.
    next: u64,
    /// When it last told anything; `None` as well when it has gone silent.
    heard: Option<u64>,
    /// When it told the oldest key that the leader has not told since.
    unanswered: Option<u64>,
}

/// Merges the keys of a call.
#[derive(Clone)]
pub struct KeyMerger {
    /// The last presses; press `n` is at `n` modulo the length.
    told: [Told; MOST_TOLD],
    /// Presses told in all.
    count: u64,
    tracks: [Track; WAYS],
}

impl Default for KeyMerger {
    fn default() -> Self {
        Self { told: [Told { key: ' ', way: Way::Tones, at: 0 }; MOST_TOLD], count: 0, tracks: [Track::default(); WAYS] }
    }
}

// Keys may be a child's code: they are not shown.
impl fmt::Debug for KeyMerger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMerger").field("count", &self.count).field("tracks", &self.tracks).finish_non_exhaustive()
    }
}

impl KeyMerger {
    /// Takes a key as told by one way at `now` (ms on any clock that only goes forward; the same for all
    /// ways). Returns it when it is a press that has not been told yet.
    pub fn hear(&mut self, way: Way, key: char, now: u64) -> Option<char> {
        let index = way as usize;
        if let Some(press) = self.echoed(way, key, now) {
            self.tracks[index] = Track { next: press + 1, heard: Some(now), unanswered: None };
            return None;
        }
        if let Some(leader) = self.leader_above(way) {
            let led_at = self.tracks[leader as usize].heard;
            let track = &mut self.tracks[index];
            track.heard = Some(now);
            let since = track.unanswered.filter(|since| led_at < Some(*since) && now.saturating_sub(*since) <= REMEMBERED_MS);
            track.unanswered = since.or(Some(now));
            if since.is_none_or(|since| now.saturating_sub(since) <= way.apart(leader)) {
                return None;
            }
            for better in &mut self.tracks[..index] {
                better.heard = None;
            }
        }
        self.told[(self.count % MOST_TOLD as u64) as usize] = Told { key, way, at: now };
        self.count += 1;
        self.tracks[index] = Track { next: self.count, heard: Some(now), unanswered: None };
        Some(key)
    }

    /// There is a new agreement with the other side (re-INVITE, UPDATE), where other gear may be now:
    /// whichever way it uses first is believed again.
    pub fn renegotiated(&mut self) {
        for track in &mut self.tracks {
            (track.heard, track.unanswered) = (None, None);
        }
    }

    /// The press that this key is the echo of.
    fn echoed(&self, way: Way, key: char, now: u64) -> Option<u64> {
        let oldest = self.count.saturating_sub(MOST_TOLD as u64);
        (self.tracks[way as usize].next.max(oldest)..self.count).find(|press| {
            let told = &self.told[(press % MOST_TOLD as u64) as usize];
            told.key == key && now.saturating_sub(told.at) <= way.apart(told.way)
        })
    }

    /// The best way in use, where that is better than this one.
    fn leader_above(&self, way: Way) -> Option<Way> {
        [Way::Events, Way::Info].into_iter().find(|better| *better < way && self.tracks[*better as usize].heard.is_some())
    }
}

#[cfg(test)]
mod tests;
