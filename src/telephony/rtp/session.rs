//! The media of one call, owned by its thread: its sockets, what is sent, what is heard.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    arrival,
    engine::{MediaEvent, MediaReport},
    filter,
    liveness::Liveness,
    outbox::Outbox,
    ports::Port,
    quality::Quality,
    receiver::Received,
    reception::Reception,
    reports::{Heard, Reports},
    rtcp::{Sent, is_rtcp},
    sender::{MOST_BYTES, Sender},
    stream::Stream,
    tally::Tally,
};
use crate::telephony::{
    call::{LiveQuality, MediaQuality},
    clip::Clip,
    codec::Codec,
    sip::sdp::Agreed,
};

/// Datagrams read for a call at a time: few are usual; a flood must not hold up others.
const MOST_DATAGRAMS: usize = 16;
/// A datagram with more than this is no telephone audio.
const DATAGRAM_BYTES: usize = 2_048;

/// Which of a call's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// Connected to the negotiated peer.
    Peer,
    /// Everyone else, until the peer is heard: callers behind NAT.
    Others,
    /// RTCP, where it has a port of its own.
    Reports,
}

impl Channel {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Peer, Self::Others, Self::Reports];
}

/// One call. Times are in µs on the thread's clock, which only goes forward and counts from 1970.
pub(super) struct Session {
    /// The call's number in the engine.
    pub id: u64,
    /// Its phase of the usual 20 ms.
    pub phase: usize,
    /// Is it on the wheel?
    pub ticking: bool,
    port: Port,
    /// Beside the port's own socket while the peer has not been heard there.
    others: Option<UdpSocket>,
    stream: Option<Stream>,
    events: mpsc::Sender<MediaEvent>,
    sent: u64,
    /// Octets of audio in what was sent.
    octets: u64,
    received: u64,
    /// How many the kernel has dropped unlooked at, by channel: its counts, which wrap around, and all together.
    dropped: [u32; 2],
    swallowed: u64,
    liveness: Liveness,
    reception: Reception,
    /// When the next report is due; never where there are none.
    report_at: u64,
    reports: Option<Box<Reports>>,
    live: Arc<LiveQuality>,
}

/// Sockets to be watched.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Channel, &UdpSocket);

impl Session {
    pub fn new(id: u64, port: Port, events: mpsc::Sender<MediaEvent>, dead_after: Duration, live: Arc<LiveQuality>) -> Self {
        Self {
            id,
            phase: 0,
            ticking: false,
            port,
            others: None,
            stream: None,
            events,
            sent: 0,
            octets: 0,
            received: 0,
            dropped: [0; 2],
            swallowed: 0,
            liveness: Liveness::new(u64::try_from(dead_after.as_micros()).unwrap_or(u64::MAX)),
            reception: Reception::new(Codec::CLOCK),
            report_at: u64::MAX,
            reports: None,
            live,
        }
    }

    /// The time between two packets, in ms.
    pub fn period(&self) -> u64 {
        self.stream.as_ref().map_or(super::wheel::USUAL_MS as u64, |stream| stream.ptime)
    }

    /// Begins, or goes on under a new agreement (re-INVITE).
    pub fn start(&mut self, agreed: &Agreed, now: u64, watch: Watch<'_>) -> io::Result<()> {
        let moved = if let Some(stream) = &mut self.stream {
            let moved = agreed.peer.is_some() && agreed.peer != stream.peer;
            // With tones to be listened for everything has to come through.
            if moved || stream.payload_type != agreed.payload_type || agreed.events.is_none() {
                filter::detach(&self.port.socket);
                self.others.iter().for_each(filter::detach);
                stream.sifted = None;
            }
            stream.renegotiate(agreed)?;
            moved
        } else {
            self.begin(agreed, now)?;
            watch(Channel::Peer, &self.port.socket);
            true
        };
        // Nobody is dead for having been silent on hold.
        self.liveness.hold(!(agreed.send && agreed.receive), now);
        if let Some(reports) = &mut self.reports
            && reports.renegotiate(agreed, &self.port)
            && let Some(socket) = &reports.socket
        {
            watch(Channel::Reports, socket);
        }
        match agreed.peer.filter(|_| moved) {
            Some(peer) => self.meet(peer, watch),
            None => Ok(()),
        }
    }

    fn begin(&mut self, agreed: &Agreed, now: u64) -> io::Result<()> {
        let mut rng = crate::ops::chance::fresh();
        let mut random = || rand::Rng::next_u32(&mut rng);
        // Below 2^15, so that an SRTP peer that misses the first packets keeps count (RFC 3711 §3.3.1).
        let (ssrc, sequence) = (random(), random() as u16 >> 1);
        let sender = Sender::new(agreed.codec, agreed.payload_type, agreed.ptime_ms as usize, ssrc, sequence, random());
        self.stream = Some(Stream::new(sender, agreed)?);
        let reports = Reports::new(ssrc, sequence, now);
        self.report_at = reports.rtcp.due_at();
        self.reports = Some(Box::new(reports));
        arrival::announce(&self.port.socket)
    }

    /// Connects to a new peer, and listens beside for a caller who is elsewhere (NAT).
    fn meet(&mut self, peer: SocketAddr, watch: Watch<'_>) -> io::Result<()> {
        if self.others.is_none() {
            let others = self.port.beside()?;
            arrival::announce(&others)?;
            watch(Channel::Others, &others);
            self.others = Some(others);
            self.dropped[Channel::Others as usize] = 0;
        }
        // A connected socket knows its route and hears nobody else: cheaper and safer.
        let connected = self.port.socket.connect(peer).is_ok();
        if let Some(stream) = &mut self.stream {
            stream.connected = connected;
        }
        Ok(())
    }

    /// Plays clips in place of whatever plays; before the start, nothing is heard and that at once.
    pub fn play(&mut self, id: u64, clips: Vec<Arc<Clip>>, tally: &mut Tally) {
        let played = self.stream.as_mut().map_or(Some(id), |stream| stream.sender.play(id, clips));
        if let Some(id) = played {
            self.tell(MediaEvent::Played(id), tally);
        }
    }

    /// Stops playing.
    pub fn stop(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.sender.stop();
        }
    }

    fn tell(&self, event: MediaEvent, tally: &mut Tally) {
        if self.events.try_send(event).is_err() {
            tally.dropped_events += 1;
        }
    }

    /// Sends the next packet, at the latest when the outbox is flushed.
    pub fn tick(&mut self, now: u64, outbox: &mut Outbox, tally: &mut Tally) {
        let Some(stream) = &mut self.stream else { return };
        let mut played = None;
        if stream.sending
            && let Some(to) = stream.receiver.peer()
        {
            tally.sent += 1;
            self.sent += 1;
            self.octets += stream.ptime * Codec::BYTES_PER_MS as u64;
            // An unreachable port of the caller, a full buffer: the stream goes on, as it would on the air.
            if let Some(socket) = elsewhere(&self.port, self.others.as_ref(), stream, to) {
                let mut buffer = [0; MOST_BYTES];
                let (length, ended) = stream.write(&mut buffer);
                let bytes = buffer.get(..length).unwrap_or_default();
                tally.send_errors += u64::from(socket.send_to(bytes, to).is_err());
                played = ended;
            } else {
                tally.send_errors += outbox.put(self.port.socket.as_raw_fd(), |buffer| {
                    let (length, ended) = stream.write(buffer);
                    played = ended;
                    length
                });
            }
        } else {
            stream.sender.skip();
        }
        if now >= self.report_at {
            self.report(now, false);
        }
        if self.liveness.died(now) {
            self.tell(MediaEvent::Dead, tally);
        }
        if let Some(id) = played {
            self.tell(MediaEvent::Played(id), tally);
        }
    }

    /// Sends a report, the last one with a goodbye.
    fn report(&mut self, now: u64, bye: bool) {
        if let Some(quality) = self.quality() {
            self.live.set(&quality);
        }
        let (Some(stream), Some(reports)) = (&mut self.stream, &mut self.reports) else { return };
        // Counts of 32 bits, which wrap around (RFC 3550 §6.4.1).
        let sent = Sent { packets: self.sent as u32, octets: self.octets as u32, timestamp: stream.sender.timestamp() };
        let srtp = stream.srtp.as_deref_mut().filter(|_| stream.encrypted);
        let report = reports.write(now, &sent, self.reception.report(), bye, srtp);
        self.report_at = reports.rtcp.due_at();
        // Behind NAT the other side of a shared port is where its audio comes from.
        let to = if reports.muxed { reports.to.and(stream.receiver.peer()) } else { reports.peer() };
        let Some(to) = to.filter(|_| !report.bytes().is_empty()) else { return };
        // A report that cannot be sent is lost like any other.
        let _ = match (&reports.socket, reports.muxed) {
            (Some(socket), false) => socket.send_to(report.bytes(), to),
            (None, false) => return,
            (_, true) => match elsewhere(&self.port, self.others.as_ref(), stream, to) {
                Some(socket) => socket.send_to(report.bytes(), to),
                None => self.port.socket.send(report.bytes()),
            },
        };
    }

    /// Reads what has come in; `true` where there may be more.
    pub fn read(&mut self, channel: Channel, now: u64, tally: &mut Tally) -> bool {
        for _ in 0..MOST_DATAGRAMS {
            let socket = match channel {
                Channel::Peer => Some(&self.port.socket),
                Channel::Others => self.others.as_ref(),
                Channel::Reports => self.reports.as_ref().and_then(|reports| reports.socket.as_ref()),
            };
            let Some(socket) = socket else { return false };
            let mut buffer = [0; DATAGRAM_BYTES];
            let arrival = match arrival::receive(socket, &mut buffer) {
                Ok(arrival) => arrival,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The echo of an earlier send (ICMP), reported once.
                Err(_) => continue,
            };
            let Some(stream) = &mut self.stream else { continue };
            let bytes = buffer.get_mut(..arrival.length).unwrap_or_default();
            let from = arrival.from.or(stream.peer.filter(|_| channel == Channel::Peer));
            let muxed = self.reports.as_ref().is_some_and(|reports| reports.muxed);
            if channel == Channel::Reports || muxed && is_rtcp(bytes) {
                self.hear_report(bytes, from, now, tally);
                continue;
            }
            let at = arrival.at_micros.unwrap_or(now);
            let Some(heard) = from.map(|from| stream.hear(bytes, from, at)) else { continue };
            match heard.what {
                Received::Stranger => {
                    tally.strangers += 1;
                    continue;
                }
                Received::Unproven => continue,
                Received::Audio | Received::Key(_) => {}
            }
            self.liveness.heard(now);
            tally.received += 1;
            self.received += 1;
            if let (Some(dropped), Some(before)) = (arrival.dropped, self.dropped.get_mut(channel as usize)) {
                let more = u64::from(dropped.wrapping_sub(*before));
                *before = dropped;
                self.swallowed += more;
                tally.received += more;
                self.reception.swallowed(self.swallowed);
            }
            if let Some(seen) = &heard.seen {
                self.reception.observe(seen);
            }
            self.sift(channel);
            for (key, way) in heard.keys() {
                self.tell(MediaEvent::Key(key, way), tally);
            }
        }
        true
    }

    /// A report of the other side's. It is believed from where it was agreed on, and from where its audio comes.
    fn hear_report(&mut self, datagram: &mut [u8], from: Option<SocketAddr>, now: u64, tally: &mut Tally) {
        let (Some(stream), Some(reports)) = (&mut self.stream, &mut self.reports) else { return };
        let audio = stream.receiver.peer();
        let srtp = stream.srtp.as_deref_mut().filter(|_| stream.encrypted);
        match reports.hear(datagram, from, audio, now, srtp) {
            Heard::Report => self.liveness.heard(now),
            Heard::Stranger => tally.strangers += 1,
            Heard::Nothing => {}
        }
    }

    /// The caller has been heard on this socket: from now on the kernel lets only a sample of its audio through.
    fn sift(&mut self, channel: Channel) {
        let Some(stream) = &mut self.stream else { return };
        if channel == Channel::Peer {
            // It is where it said: nobody else is heard any more.
            self.others = None;
        }
        if stream.sifted == Some(channel) || stream.ear.is_some() {
            return;
        }
        let socket = match (channel, &self.others) {
            (Channel::Others, Some(others)) => others,
            _ => &self.port.socket,
        };
        // Without a filter more is read than needed, and nothing is lost.
        if filter::attach(socket, stream.payload_type).is_ok() {
            stream.sifted = Some(channel);
        }
    }

    /// How well the caller's audio has come in so far; `None` where nothing came.
    fn quality(&self) -> Option<Quality> {
        let round_trip_micros = self.reports.as_ref().and_then(|reports| reports.rtcp.round_trip_micros());
        Quality::of(self.stream.as_ref()?.coding(), &self.reception.totals(), round_trip_micros)
    }

    /// The call is over: says goodbye and tells how it was.
    pub fn finish(mut self, now: u64) -> MediaReport {
        // Who never sent anything says no goodbye (RFC 3550 §6.3.7).
        if self.sent > 0 {
            self.report(now, true);
        }
        let round_trip_micros = self.reports.as_ref().and_then(|reports| reports.rtcp.round_trip_micros());
        let totals = self.reception.totals();
        let quality = self.quality();
        MediaReport {
            packets_sent: self.sent,
            packets_received: self.received + self.swallowed,
            srtp: self.stream.as_ref().is_some_and(|stream| stream.encrypted),
            round_trip_micros,
            quality: quality.map_or_else(MediaQuality::default, |quality| MediaQuality {
                lost: Some(totals.expected.saturating_sub(totals.received)),
                loss: Some(quality.loss_per_10k),
                jitter_us: Some(quality.jitter_micros),
                mos: Some(quality.mos_x100),
            }),
        }
    }
}

/// The socket to send from where the port's own is not connected to `to`.
fn elsewhere<'a>(port: &'a Port, others: Option<&'a UdpSocket>, stream: &Stream, to: SocketAddr) -> Option<&'a UdpSocket> {
    match others {
        // Behind NAT the caller is not where it said.
        Some(others) if stream.peer != Some(to) => Some(others),
        _ => (!stream.connected).then_some(&port.socket),
    }
}
