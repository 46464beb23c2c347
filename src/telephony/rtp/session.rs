//! The media of one call, owned by its thread: its sockets, what is sent, what is heard.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use tokio::sync::mpsc;

use super::{
    engine::{CallCounters, EngineCounters, MediaEvent},
    filter,
    outbox::Outbox,
    ports::Port,
    receiver::{Received, Receiver},
    sender::{MOST_BYTES, Sender},
    srtp::{Crypto, Srtp},
};
use crate::telephony::{clip::Clip, sip::sdp::Agreed};

/// Datagrams read for a call at a time: few are usual; a flood must not hold up others.
const MOST_DATAGRAMS: usize = 16;
/// A datagram with more than this is no telephone audio.
const DATAGRAM_BYTES: usize = 2_048;

/// Counted by a thread and added to the engine's counters now and then.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub sent: u64,
    pub received: u64,
    pub strangers: u64,
    pub late_ticks: u64,
    pub send_errors: u64,
    pub dropped_events: u64,
}

impl Tally {
    /// Adds what has been counted to the engine's counters.
    pub fn publish(&mut self, counters: &EngineCounters) {
        let Self { sent, received, strangers, late_ticks, send_errors, dropped_events } = std::mem::take(self);
        for (counter, n) in [
            (&counters.sent, sent),
            (&counters.received, received),
            (&counters.strangers, strangers),
            (&counters.late_ticks, late_ticks),
            (&counters.send_errors, send_errors),
            (&counters.dropped_events, dropped_events),
        ] {
            if n > 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        }
    }
}

/// Which of a call's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// Connected to the negotiated peer.
    Peer,
    /// Everyone else, until the peer is heard: callers behind NAT.
    Others,
}

/// One call.
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
    counters: Arc<CallCounters>,
    sent: u64,
    received: u64,
    /// Of these, so many that the kernel has dropped unlooked at.
    swallowed: u32,
    /// When the caller was last heard; `None` before the first packet and once told dead.
    heard_at: Option<Instant>,
    dead_after: Duration,
}

struct Stream {
    sender: Sender,
    receiver: Receiver,
    /// The negotiated peer, to which the port's own socket is connected.
    peer: Option<SocketAddr>,
    sending: bool,
    receiving: bool,
    ptime: u64,
    payload_type: u8,
    /// The socket whose audio the kernel sifts, once the caller has been heard on it.
    sifted: Option<Channel>,
    /// Is the port's own socket connected to the peer?
    connected: bool,
    srtp: Option<Box<Srtp>>,
    encrypted: bool,
}

impl Stream {
    /// Writes the next packet, encrypted where agreed; its length, 0 where it cannot be, and the playing that ends with it.
    fn write(&mut self, buffer: &mut [u8; MOST_BYTES]) -> (usize, Option<u64>) {
        let packet = self.sender.next_packet(buffer);
        let length = match self.srtp.as_mut().filter(|_| self.encrypted) {
            // What cannot be encrypted is not sent.
            Some(srtp) => srtp.protect_rtp(buffer, packet.length).unwrap_or_default(),
            None => packet.length,
        };
        (length, packet.played)
    }

    /// What a datagram says, decrypted in place where agreed.
    fn hear(&mut self, datagram: &mut [u8], from: SocketAddr) -> Received {
        let length = match self.srtp.as_mut().filter(|_| self.encrypted) {
            Some(srtp) => srtp.unprotect_rtp(datagram).unwrap_or_default(),
            None => datagram.len(),
        };
        self.receiver.receive(datagram.get(..length).unwrap_or_default(), from)
    }
}

/// Sockets to be watched.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Channel, &UdpSocket);

impl Session {
    pub fn new(id: u64, port: Port, events: mpsc::Sender<MediaEvent>, counters: Arc<CallCounters>, dead_after: Duration) -> Self {
        Self {
            id,
            phase: 0,
            ticking: false,
            port,
            others: None,
            stream: None,
            events,
            counters,
            sent: 0,
            received: 0,
            swallowed: 0,
            heard_at: None,
            dead_after,
        }
    }

    /// The time between two packets, in ms.
    pub fn period(&self) -> u64 {
        self.stream.as_ref().map_or(super::wheel::USUAL_MS as u64, |stream| stream.ptime)
    }

    /// Begins, or goes on under a new agreement (re-INVITE).
    pub fn start(&mut self, agreed: &Agreed, now: Instant, watch: Watch<'_>) -> io::Result<()> {
        let ptime = agreed.ptime_ms as usize;
        let moved = if let Some(stream) = &mut self.stream {
            stream.sender.set_codec(agreed.codec, agreed.payload_type, ptime);
            stream.receiver.renegotiate(agreed.peer, agreed.payload_type, agreed.events);
            (stream.sending, stream.receiving) = (agreed.send, agreed.receive);
            stream.encrypted = agreed.crypto.is_some();
            match (&mut stream.srtp, &agreed.crypto) {
                (Some(srtp), Some(crypto)) => srtp.renegotiate(crypto).map_err(io::Error::other)?,
                // Kept while plain: the same keys must not begin at the same count again.
                (Some(_), None) => {}
                (none, crypto) => *none = encryption(crypto.as_ref())?,
            }
            stream.ptime = ptime as u64;
            let moved = agreed.peer.is_some() && agreed.peer != stream.peer;
            if moved || stream.payload_type != agreed.payload_type {
                filter::detach(&self.port.socket);
                stream.sifted = None;
            }
            (stream.peer, stream.payload_type) = (agreed.peer.or(stream.peer), agreed.payload_type);
            // Nobody is dead for having been silent on hold.
            self.heard_at = self.heard_at.map(|_| now);
            moved
        } else {
            let mut rng = crate::ops::chance::fresh();
            let mut random = || rand::Rng::next_u32(&mut rng);
            self.stream = Some(Stream {
                // Below 2^15, so that an SRTP peer that misses the first packets keeps count (RFC 3711 §3.3.1).
                sender: Sender::new(agreed.codec, agreed.payload_type, ptime, random(), random() as u16 >> 1, random()),
                receiver: Receiver::new(agreed.peer, agreed.payload_type, agreed.events),
                peer: agreed.peer,
                sending: agreed.send,
                receiving: agreed.receive,
                ptime: ptime as u64,
                payload_type: agreed.payload_type,
                sifted: None,
                connected: false,
                srtp: encryption(agreed.crypto.as_ref())?,
                encrypted: agreed.crypto.is_some(),
            });
            announce_arrivals(&self.port.socket)?;
            watch(Channel::Peer, &self.port.socket);
            true
        };
        match agreed.peer.filter(|_| moved) {
            Some(peer) => self.meet(peer, watch),
            None => Ok(()),
        }
    }

    /// Connects to a new peer, and listens beside for a caller who is elsewhere (NAT).
    fn meet(&mut self, peer: SocketAddr, watch: Watch<'_>) -> io::Result<()> {
        if self.others.is_none() {
            let others = self.port.beside()?;
            announce_arrivals(&others)?;
            watch(Channel::Others, &others);
            self.others = Some(others);
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
    pub fn tick(&mut self, now: Instant, outbox: &mut Outbox, tally: &mut Tally) {
        let Some(stream) = &mut self.stream else { return };
        let mut played = None;
        if stream.sending
            && let Some(to) = stream.receiver.peer()
        {
            tally.sent += 1;
            self.sent += 1;
            self.counters.sent.store(self.sent, Ordering::Relaxed);
            // An unreachable port of the caller, a full buffer: the stream goes on, as it would on the air.
            let elsewhere = match &self.others {
                // Behind NAT the caller is not where it said.
                Some(others) if stream.peer != Some(to) => Some(others),
                _ => (!stream.connected).then_some(&self.port.socket),
            };
            if let Some(socket) = elsewhere {
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
        let dead = self.heard_at.is_some_and(|at| now.saturating_duration_since(at) > self.dead_after);
        // On hold either side may be silent for as long as it likes.
        if dead && stream.sending && stream.receiving {
            self.heard_at = None;
            self.tell(MediaEvent::Dead, tally);
        }
        if let Some(id) = played {
            self.tell(MediaEvent::Played(id), tally);
        }
    }

    /// Reads what has come in; `true` where there may be more.
    pub fn read(&mut self, channel: Channel, now: Instant, tally: &mut Tally) -> bool {
        for _ in 0..MOST_DATAGRAMS {
            let socket = match (channel, &self.others) {
                (Channel::Peer, _) => &self.port.socket,
                (Channel::Others, Some(others)) => others,
                (Channel::Others, None) => return false,
            };
            let mut buffer = [0; DATAGRAM_BYTES];
            let arrival = match receive(socket, &mut buffer) {
                Ok(arrival) => arrival,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The echo of an earlier send (ICMP), reported once.
                Err(_) => continue,
            };
            let Some(stream) = &mut self.stream else { continue };
            let bytes = buffer.get_mut(..arrival.length).unwrap_or_default();
            let from = arrival.from.or(stream.peer.filter(|_| channel == Channel::Peer));
            let received = from.map_or(Received::Stranger, |from| stream.hear(bytes, from));
            match received {
                Received::Stranger => {
                    tally.strangers += 1;
                    continue;
                }
                Received::Unproven => continue,
                Received::Audio | Received::Key(_) => {}
            }
            self.heard_at = Some(now);
            tally.received += 1;
            self.received += 1;
            if let Some(dropped) = arrival.dropped {
                // The kernel's count wraps around.
                tally.received += u64::from(dropped.wrapping_sub(self.swallowed));
                self.received += u64::from(dropped.wrapping_sub(self.swallowed));
                self.swallowed = dropped;
            }
            self.counters.received.store(self.received, Ordering::Relaxed);
            self.sift(channel);
            if let Received::Key(key) = received {
                self.tell(MediaEvent::Key(key), tally);
            }
        }
        true
    }

    /// The caller has been heard on this socket: from now on the kernel lets only a sample of its audio through.
    fn sift(&mut self, channel: Channel) {
        let Some(stream) = &mut self.stream else { return };
        if stream.sifted == Some(channel) {
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
        if channel == Channel::Peer {
            // It is where it said: nobody else is heard any more.
            self.others = None;
        }
    }
}

fn encryption(crypto: Option<&Crypto>) -> io::Result<Option<Box<Srtp>>> {
    crypto.map(|crypto| Srtp::new(crypto).map(Box::new)).transpose().map_err(io::Error::other)
}

/// A datagram as the kernel took it in.
struct Arrival {
    length: usize,
    from: Option<SocketAddr>,
    /// How many the socket had dropped before it.
    dropped: Option<u32>,
}

/// Asks the kernel to note when each datagram came, and how many it has dropped before.
fn announce_arrivals(socket: &UdpSocket) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(socket, sockopt::RxqOvfl, &1)?;
    Ok(())
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Arrival> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut control = [0; 128];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let from = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|a| SocketAddr::new(IpAddr::V4(a.ip()), a.port()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::new(IpAddr::V6(a.ip()), a.port())))
    });
    let dropped = message
        .cmsgs()
        .ok()
        .and_then(|mut all| all.find_map(|one| if let ControlMessageOwned::RxqOvfl(dropped) = one { Some(dropped) } else { None }));
    Ok(Arrival { length: message.bytes, from, dropped })
}
