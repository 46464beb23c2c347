//! RTCP (RFC 3550 §6): the reports of a call's two sides about its streams: pure.
//!
//! We report what we send and how the caller's stream comes in, and learn how ours arrives there and how long the way is.
//! The packets' layout is `rtcp-types`'s business. Reports are read leniently: whatever is not understood is passed over,
//! packet by packet.

use rtcp_types::{
    Bye, Packet, ReceiverReport, ReceiverReportBuilder, ReportBlock as Block, ReportBlockBuilder, RtcpWriteError, Sdes, SdesChunk,
    SdesItem, SenderReport, SenderReportBuilder, prelude::*,
};

use super::reception::{Report, loss_per_10k};

/// The longest report that we write: sender report, one block, name, goodbye.
pub const MOST_BYTES: usize = 96;
/// Packets of a compound that are looked at; two to four are usual.
const MOST_PACKETS: usize = 16;
/// The interval between reports, before it is varied (RFC 3550 §6.2). With two members of whom each sends a
/// hundred octets, a twentieth of the 64 kbit/s of a call would allow more.
const INTERVAL_MICROS: u64 = 5_000_000;
/// Timer reconsideration makes intervals shorter on the average; divided by e − 3/2 they are not (RFC 3550 §6.3.1).
const COMPENSATION_PER_MILLION: u64 = 1_218_282;
/// A round trip longer than this is a clock that was set, or a lie.
const LONGEST_ROUND_TRIP_MICROS: u64 = 30_000_000;

/// Is the datagram RTCP rather than RTP, where both come to one port (RFC 5761 §4)?
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}

/// A time since 1970 in µs as an NTP timestamp: seconds since 1900 in 32 bits, and their fraction in 32 (RFC 3550 §4).
pub fn ntp(unix_micros: u64) -> u64 {
    const FROM_1900_TO_1970: u64 = 2_208_988_800;
    let (seconds, micros) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
    (seconds.wrapping_add(FROM_1900_TO_1970) << 32) | ((micros << 32) / 1_000_000)
}

/// A name for the SDES item CNAME that tells nothing about us: 96 random bits in base 64 (RFC 7022 §4.2).
pub fn random_cname(random: [u8; 12]) -> [u8; 16] {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = random.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    std::array::from_fn(|n| SIGNS[(bits >> (90 - 6 * n)) as usize & 63])
}

/// How long until the next report, in µs: 5 s (the first time half of it), varied between half and one and a half by `random`,
/// compensated (RFC 3550 §6.3.1, A.7).
pub fn interval_micros(first: bool, random: u32) -> u64 {
    let base = if first { INTERVAL_MICROS / 2 } else { INTERVAL_MICROS };
    let varied = (base * ((1 << 31) + u64::from(random))) >> 32;
    varied * 1_000_000 / COMPENSATION_PER_MILLION
}

/// The time now, on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// µs on a clock that only goes forward.
    pub micros: u64,
    /// The same instant as NTP timestamp, see [`ntp`]. Best derived from the first by an offset that is fixed at start:
    /// a clock that is set in the middle of a call falsifies its round trip.
    pub ntp: u64,
}

/// What we have sent on a call (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// RTP packets.
    pub packets: u32,
    /// Octets of their payloads.
    pub octets: u32,
    /// The RTP timestamp of now.
    pub timestamp: u32,
}

/// How our stream arrives at the other side, by its last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FarReport {
    /// Packets that it should have got up to then.
    pub expected: u64,
    /// Packets lost of these.
    pub lost: u64,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
}

impl FarReport {
    /// Loss in 1/10,000.
    pub fn loss_per_10k(&self) -> u16 {
        loss_per_10k(self.lost, self.expected)
    }

    /// Jitter in µs, at so many timestamp units a second.
    pub fn jitter_micros(&self, clock_rate: u32) -> u32 {
        (u64::from(self.jitter) * 1_000_000 / u64::from(clock_rate.max(1))).min(u64::from(u32::MAX)) as u32
    }
}

/// What a datagram was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Reports, or other RTCP: the other side is alive.
    Reports,
    /// The other side says goodbye: nothing more will come of its stream. The call's end is SIP's business.
    Bye,
    /// No RTCP.
    Nothing,
}

/// The other side's last sender report.
#[derive(Debug, Clone, Copy)]
struct LastSender {
    ssrc: u32,
    /// The middle 32 bits of its NTP timestamp.
    middle: u32,
    at_micros: u64,
}

/// The RTCP of one call.
#[derive(Debug, Clone)]
pub struct Rtcp {
    ssrc: u32,
    cname: [u8; 16],
    next_at: u64,
    last_sender: Option<LastSender>,
    far: Option<FarReport>,
    round_trip_micros: Option<u32>,
    /// The number of the first RTP packet that we sent: what the other side counts from.
    first_sequence: u16,
    /// Packets sent at the last report: who has sent none since writes a receiver report.
    packets_reported: u32,
}

impl Rtcp {
    /// For a call on which we send as `ssrc`, beginning with packet number `first_sequence`. The first report is due in 1 to 3 s.
    pub fn new(ssrc: u32, first_sequence: u16, cname: [u8; 16], now_micros: u64, random: u32) -> Self {
        let next_at = now_micros + interval_micros(true, random);
        Self { ssrc, cname, next_at, last_sender: None, far: None, round_trip_micros: None, first_sequence, packets_reported: 0 }
    }

    /// When the next report is due (µs).
    pub fn due_at(&self) -> u64 {
        self.next_at
    }

    /// Is a report due?
    pub fn is_due(&self, now_micros: u64) -> bool {
        now_micros >= self.next_at
    }

    /// Writes the report that is due (sender or receiver report, SDES with CNAME) and plans the next; returns its length.
    pub fn report(&mut self, now: Now, sent: &Sent, heard: Option<Report>, random: u32, buffer: &mut [u8; MOST_BYTES]) -> usize {
        self.next_at = now.micros + interval_micros(false, random);
        let length = self.compose(now, sent, heard, false, buffer);
        self.packets_reported = sent.packets;
        length
    }

    /// Writes the last report of the call, with a goodbye (RFC 3550 §6.3.7; with two members nobody has to wait).
    pub fn bye(&self, now: Now, sent: &Sent, heard: Option<Report>, buffer: &mut [u8; MOST_BYTES]) -> usize {
        self.compose(now, sent, heard, true, buffer)
    }

    fn compose(&self, now: Now, sent: &Sent, heard: Option<Report>, bye: bool, buffer: &mut [u8; MOST_BYTES]) -> usize {
        // All numbers are in range and the buffer is long enough: it cannot fail. If it did, nothing would be sent.
        self.write(now, sent, heard, bye, buffer).unwrap_or(0)
    }

    fn write(&self, now: Now, sent: &Sent, heard: Option<Report>, bye: bool, buffer: &mut [u8]) -> Result<usize, RtcpWriteError> {
        let block = heard.map(|report| self.block(now, &report));
        let mut length = if sent.packets == self.packets_reported {
            let builder = ReceiverReport::builder(self.ssrc);
            block.into_iter().fold(builder, ReceiverReportBuilder::add_report_block).write_into(buffer)?
        } else {
            let builder = SenderReport::builder(self.ssrc).ntp_timestamp(now.ntp).rtp_timestamp(sent.timestamp);
            let builder = builder.packet_count(sent.packets).octet_count(sent.octets);
            block.into_iter().fold(builder, SenderReportBuilder::add_report_block).write_into(buffer)?
        };
        // The name was made of ASCII signs.
        let cname = str::from_utf8(&self.cname).unwrap_or_default();
        let chunk = SdesChunk::builder(self.ssrc).add_item(SdesItem::builder(SdesItem::CNAME, cname));
        length += Sdes::builder().add_chunk(chunk).write_into(&mut buffer[length..])?;
        if bye {
            length += Bye::builder().add_source(self.ssrc).write_into(&mut buffer[length..])?;
        }
        Ok(length)
    }

    fn block(&self, now: Now, report: &Report) -> ReportBlockBuilder {
        let last = self.last_sender.filter(|last| last.ssrc == report.ssrc);
        let delay = last.map_or(0, |last| now.micros.saturating_sub(last.at_micros));
        Block::builder(report.ssrc)
            .fraction_lost(report.fraction_lost)
            .cumulative_lost(report.cumulative_lost as u32 & 0xff_ffff)
            .extended_sequence_number(report.highest)
            .interarrival_jitter(report.jitter)
            .last_sender_report_timestamp(last.map_or(0, |last| last.middle))
            .delay_since_last_sender_report_timestamp(((delay << 16) / 1_000_000).min(u64::from(u32::MAX)) as u32)
    }

    /// Takes a datagram that came from the call's peer.
    pub fn receive(&mut self, datagram: &[u8], now: Now) -> Received {
        if !is_rtcp(datagram) {
            return Received::Nothing;
        }
        let mut received = Received::Reports;
        for packet in packets(datagram).take(MOST_PACKETS) {
            match Packet::parse(packet) {
                Ok(Packet::Sr(report)) => {
                    let middle = (report.ntp_timestamp() >> 16) as u32;
                    self.last_sender = Some(LastSender { ssrc: report.ssrc(), middle, at_micros: now.micros });
                    report.report_blocks().for_each(|block| self.take(&block, now));
                }
                Ok(Packet::Rr(report)) => report.report_blocks().for_each(|block| self.take(&block, now)),
                Ok(Packet::Bye(_)) => received = Received::Bye,
                // SDES: whoever calls is known from SIP. Anything else, and what is malformed, is not ours.
                _ => {}
            }
        }
        received
    }

    /// What the other side says of our stream.
    fn take(&mut self, block: &Block, now: Now) {
        if block.ssrc() != self.ssrc {
            return;
        }
        let expected = u64::from(block.extended_sequence_number().wrapping_sub(u32::from(self.first_sequence))) + 1;
        // 24 bits with a sign; below zero when packets came twice.
        let lost = ((block.cumulative_lost() << 8) as i32 >> 8).max(0) as u64;
        self.far = Some(FarReport { expected, lost, jitter: block.interarrival_jitter() });
        let (last, delay) = (block.last_sender_report_timestamp(), block.delay_since_last_sender_report_timestamp());
        if let Some(micros) = round_trip_micros((now.ntp >> 16) as u32, last, delay) {
            self.round_trip_micros = Some(micros);
        }
    }

    /// How our stream arrives there, once the other side has told.
    pub fn far_report(&self) -> Option<FarReport> {
        self.far
    }

    /// The last known round trip to the other side.
    pub fn round_trip_micros(&self) -> Option<u32> {
        self.round_trip_micros
    }
}

/// The packets of a compound, as far as their lengths make sense (RFC 3550 §6.1).
fn packets(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_be_bytes(*rest.get(2..4)?.first_chunk()?)) * 4 + 4;
        let (packet, others) = rest.split_at_checked(length)?;
        rest = others;
        Some(packet)
    })
}

/// The round trip from a report received at `now` (all in 1/65,536 s; RFC 3550 §6.4.1): `None` where the other
/// side has had no report of ours yet, or the result makes no sense.
pub fn round_trip_micros(now: u32, last_sender_report: u32, delay_since: u32) -> Option<u32> {
    if last_sender_report == 0 {
        return None;
    }
    let units = now.wrapping_sub(last_sender_report).wrapping_sub(delay_since) as i32;
    // A little below zero: the way is shorter than the clocks are exact.
    let micros = (u64::from(units.max(0).unsigned_abs()) * 1_000_000) >> 16;
    (units > -655 && micros <= LONGEST_ROUND_TRIP_MICROS).then_some(micros as u32)
}

#[cfg(test)]
mod tests;
