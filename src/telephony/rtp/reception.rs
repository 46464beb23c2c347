//! How well a stream comes in: loss and jitter as RFC 3550 §6.4.1 and appendix A count them: pure.
//!
//! Most of a caller's audio need not be looked at: a socket filter may swallow it and only count it.
//! So a stream is judged by what is seen of it, by [`Reception::observe`], and by how much more arrived,
//! by [`Reception::swallowed`]. The numbers of the packets seen tell how many were sent; seen and swallowed
//! together are how many came. Jitter is measured between packets that follow each other; whoever filters has to let
//! through pairs of these (every 32nd packet and the one after it, say).
//!
//! Silence is neither loss nor jitter: a sender that suppresses it (DTX) leaves gaps in the timestamps
//! but none in the numbers, and what it sends instead (comfort noise, RFC 3389) comes when it likes.

/// Numbers further ahead than this are a new beginning, not a loss (RFC 3550 A.1, `MAX_DROPOUT`).
const MOST_AHEAD: u16 = 3_000;
/// Numbers so little behind are packets that were overtaken (RFC 3550 A.1, `MAX_MISORDER`).
const MOST_BEHIND: u16 = 100;
/// Packets of a stream carry 10 to 60 ms; where timestamps are further apart, the sender was silent.
const MOST_PACKET_MICROS: u64 = 100_000;
/// A packet later than this is counted as so late: nothing overflows.
const MOST_LATE_MICROS: u64 = 10_000_000;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Audio.
    Audio,
    /// Comfort noise (RFC 3389), payload type 13.
    ComfortNoise,
    /// A telephone event (RFC 4733): all packets of one carry the same timestamp.
    Event,
}

/// A packet that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its source.
    pub ssrc: u32,
    /// Its number.
    pub sequence: u16,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// Its marker bit: audio after silence (RFC 3551 §4.1).
    pub marker: bool,
    /// What it carries.
    pub content: Content,
    /// When the kernel received it, in µs on any clock that only goes forward.
    pub at_micros: u64,
}

/// What a report says of a source (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The source.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the source began, less what came twice; 24 bits.
    pub cumulative_lost: i32,
    /// The highest number received, with the times it wrapped around above it.
    pub highest: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
}

/// What came in on a call, all its sources together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Packets that the numbers say were sent.
    pub expected: u64,
    /// Packets that arrived of these.
    pub received: u64,
    /// Mean difference between the arrival of two packets and their sending, in µs.
    pub jitter_micros: u32,
}

impl Totals {
    /// Loss in 1/10,000.
    pub fn loss_per_10k(&self) -> u16 {
        loss_per_10k(self.expected.saturating_sub(self.received), self.expected)
    }
}

/// `lost` of `expected` in 1/10,000; nothing of nothing is no loss.
pub fn loss_per_10k(lost: u64, expected: u64) -> u16 {
    let lost = lost.min(expected);
    (lost.saturating_mul(10_000) / expected.max(1)) as u16
}

/// The stream of one source.
#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    /// The first number, and the highest with the times it wrapped around.
    base: u32,
    highest: u32,
    /// The number that would follow one that does not fit: two such in a row are a new beginning.
    astray: Option<u16>,
    /// Packets seen since the beginning.
    seen: u64,
    /// All swallowed before the beginning.
    swallowed_before: u64,
    /// Packets received when the highest number was: counts that belong together.
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    previous: Option<Seen>,
}

impl Source {
    fn new(first: &Seen, swallowed: u64) -> Self {
        let base = u32::from(first.sequence);
        Self {
            ssrc: first.ssrc,
            base,
            highest: base,
            astray: None,
            seen: 1,
            swallowed_before: swallowed,
            received: 1,
            reported: (0, 0),
            previous: Some(*first),
        }
    }

    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.base)) + 1
    }

    /// Counts a packet (RFC 3550 A.1). `false` where it does not fit: the sender has begun anew.
    fn count(&mut self, sequence: u16, swallowed: u64) -> bool {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MOST_AHEAD {
            // The same one twice (0 ahead) hides no loss.
            if ahead > 0 {
                self.highest = self.highest.wrapping_add(u32::from(ahead));
                self.seen += 1;
                self.received = self.seen + swallowed.saturating_sub(self.swallowed_before);
            }
        } else if ahead > u16::MAX - MOST_BEHIND {
            self.seen += 1;
            self.received += 1;
        } else if self.astray == Some(sequence) {
            return false;
        } else {
            self.astray = Some(sequence.wrapping_add(1));
            return true;
        }
        self.astray = None;
        true
    }
}

/// Judges what comes in on a call.
#[derive(Debug, Clone)]
pub struct Reception {
    /// Timestamp units a second.
    clock_rate: u32,
    source: Option<Source>,
    /// Another source, of which one packet has come: its next number.
    other: Option<(u32, u16)>,
    /// All that was ever swallowed.
    swallowed: u64,
    /// Expected and received of sources before.
    past: (u64, u64),
    /// Interarrival jitter in 1/16 µs (RFC 3550 A.8).
    jitter_16: u64,
    /// Sum and number of the differences it is made of, µs.
    differences: (u64, u64),
}

impl Reception {
    /// For a stream with so many timestamp units a second: 8,000 for G.711 and, for historical
    /// reasons, G.722 (RFC 3551 §4.5.2).
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate: clock_rate.max(1), source: None, other: None, swallowed: 0, past: (0, 0), jitter_16: 0, differences: (0, 0) }
    }

    /// So many packets have arrived in all that were not looked at. To be told before the packets
    /// that were read together with the count.
    pub fn swallowed(&mut self, total: u64) {
        self.swallowed = self.swallowed.max(total);
    }

    /// A packet was looked at.
    pub fn observe(&mut self, packet: &Seen) {
        let Some(source) = self.source.as_mut().filter(|source| source.ssrc == packet.ssrc) else {
            return self.another(packet);
        };
        self.other = None;
        let previous = source.previous.replace(*packet);
        if !source.count(packet.sequence, self.swallowed) {
            self.begin(packet);
        } else if let Some(previous) = previous {
            self.compare(&previous, packet);
        }
    }

    /// A packet of another source: the stream's new one, if it goes on (a call handed on behind the
    /// trunk). Events may have a source of their own beside the audio.
    fn another(&mut self, packet: &Seen) {
        if packet.content == Content::Event {
            return;
        }
        if self.source.is_none() || self.other == Some((packet.ssrc, packet.sequence)) {
            self.begin(packet);
        } else {
            self.other = Some((packet.ssrc, packet.sequence.wrapping_add(1)));
        }
    }

    fn begin(&mut self, packet: &Seen) {
        if let Some(source) = self.source.replace(Source::new(packet, self.swallowed)) {
            self.past.0 += source.expected();
            self.past.1 += source.received;
        }
        self.other = None;
    }

    /// Jitter (RFC 3550 A.8), between two packets of audio that follow each other without silence between.
    fn compare(&mut self, before: &Seen, packet: &Seen) {
        let audio = before.content == Content::Audio && packet.content == Content::Audio && !packet.marker;
        if !audio || packet.sequence != before.sequence.wrapping_add(1) {
            return;
        }
        let units = u64::from(packet.timestamp.wrapping_sub(before.timestamp));
        let sent = units * 1_000_000 / u64::from(self.clock_rate);
        if sent == 0 || sent > MOST_PACKET_MICROS {
            return;
        }
        let difference = packet.at_micros.saturating_sub(before.at_micros).abs_diff(sent).min(MOST_LATE_MICROS);
        self.jitter_16 = self.jitter_16 + difference - ((self.jitter_16 + 8) >> 4);
        self.differences.0 = self.differences.0.saturating_add(difference);
        self.differences.1 += 1;
    }

    /// What to report now; the next report counts from here. `None` before anything has come.
    pub fn report(&mut self) -> Option<Report> {
        let source = self.source.as_mut()?;
        let (expected, received) = (source.expected(), source.received);
        let (expected_now, received_now) = (expected.saturating_sub(source.reported.0), received.saturating_sub(source.reported.1));
        source.reported = (expected, received);
        let lost_now = expected_now.saturating_sub(received_now);
        let lost = expected as i64 - received as i64;
        let jitter = (self.jitter_16 >> 4) * u64::from(self.clock_rate) / 1_000_000;
        Some(Report {
            ssrc: source.ssrc,
            fraction_lost: (lost_now * 256 / expected_now.max(1)).min(255) as u8,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: source.highest,
            jitter: jitter as u32,
        })
    }

    /// What came in so far.
    pub fn totals(&self) -> Totals {
        let (expected, received) = self.source.map_or((0, 0), |source| (source.expected(), source.received));
        Totals {
            expected: self.past.0 + expected,
            received: self.past.1 + received,
            jitter_micros: self.differences.0.checked_div(self.differences.1).unwrap_or(0) as u32,
        }
    }
}

#[cfg(test)]
mod tests;
