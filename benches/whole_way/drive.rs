//! Drives many calls in one thread: a socket for SIP and a few for RTP, looked at every millisecond.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread::sleep,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use socket2::Socket;
use voceguida::telephony::{phone::sdp::Offer, sip::sdp::Codec};

use super::{
    call::{Call, Send, Times},
    ear::Prompts,
    sip::{Dialog, Message},
};

/// Sockets that calls share for RTP: the program's port tells whose packet it is.
const RTP_SOCKETS: usize = 8;
/// Room for what comes in while the thread sends, as far as the system gives it.
const BUFFER: usize = 4 << 20;
/// How often sockets are looked at.
const GLANCE: Duration = Duration::from_millis(1);
/// A caller's packets.
const TICK: Duration = Duration::from_millis(20);
/// How long the last calls may take.
const REST: Duration = Duration::from_secs(40);

/// What became of a rung's calls.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Codes of those who heard "registrata", with what was measured.
    pub registered: Vec<(String, Times)>,
    /// Why the others did not.
    pub failed: Vec<String>,
    /// The most calls at once.
    pub at_once: usize,
    /// The longest time that the thread did not look at its sockets: what is measured is wrong by that much at most.
    pub blind: Duration,
}

/// The callers.
#[derive(Debug)]
pub struct Callers {
    sip: UdpSocket,
    rtp: Vec<UdpSocket>,
    server: SocketAddr,
    called: String,
    prompts: Prompts,
    number: u32,
}

impl Callers {
    /// Callers of this number at the program's SIP address.
    pub fn new(server: SocketAddr, called: &str, prompts: Prompts) -> io::Result<Self> {
        let rtp = (0..RTP_SOCKETS).map(|_| socket()).collect::<io::Result<_>>()?;
        Ok(Self { sip: socket()?, rtp, server, called: called.to_owned(), prompts, number: 0 })
    }

    /// As many calls as there are codes, each from a number of its own, so many a second on average: parents do not dial in step.
    pub fn run(&mut self, codes: &[(String, String)], rate: f64) -> io::Result<Outcome> {
        let mut rung = Rung { calls: Vec::with_capacity(codes.len()), due: BinaryHeap::new(), by_peer: HashMap::new(), active: 0 };
        let mut outcome = Outcome::default();
        let mut chance = StdRng::seed_from_u64(u64::from(self.number));
        let first = self.number;
        let began = Instant::now();
        let (mut next_at, mut looked) = (began, began);
        while rung.calls.len() < codes.len() || rung.active > 0 {
            let now = Instant::now();
            outcome.blind = outcome.blind.max(now - looked);
            looked = now;
            if now > next_at + REST {
                break;
            }
            self.hear(&mut rung, first)?;
            while let Some((code, caller)) = codes.get(rung.calls.len()).filter(|_| next_at <= now) {
                self.dial(&mut rung, first, code, caller)?;
                let pause = -(1.0 - chance.random::<f64>()).ln() / rate;
                next_at += Duration::from_secs_f64(pause);
            }
            outcome.at_once = outcome.at_once.max(rung.active);
            self.speak(&mut rung)?;
            sleep(GLANCE);
        }
        self.number += rung.calls.len() as u32;
        for call in rung.calls {
            if call.registered {
                outcome.registered.push((call.code, call.times));
            }
            match call.failure {
                Some(why) => outcome.failed.push(why),
                None if !call.registered => outcome.failed.push("did not end".to_owned()),
                None => {}
            }
        }
        Ok(outcome)
    }

    fn dial(&self, rung: &mut Rung, first: u32, code: &str, caller: &str) -> io::Result<()> {
        let index = rung.calls.len();
        let number = first + index as u32;
        let socket = index % self.rtp.len();
        let offer = Offer {
            local: self.rtp[socket].local_addr()?,
            session: number,
            version: 0,
            codecs: &[Codec::Pcma],
            events: true,
            hold: false,
            key: None,
        };
        let dialog = Dialog {
            local: self.sip.local_addr()?,
            server: self.server,
            called: self.called.clone(),
            caller: caller.to_owned(),
            call_id: format!("{number}-whole-way"),
            answered: None,
        };
        let now = Instant::now();
        let (call, invite) = Call::new(dialog, code.to_owned(), socket, offer.to_sdp(), now);
        self.send(&call, invite)?;
        rung.calls.push(call);
        rung.active += 1;
        rung.due.push(Reverse((now + TICK, index)));
        Ok(())
    }

    /// Takes whatever has come in.
    fn hear(&self, rung: &mut Rung, first: u32) -> io::Result<()> {
        let mut buffer = [0; 4_096];
        while let Some((length, _)) = receive(&self.sip, &mut buffer)? {
            let Ok(text) = str::from_utf8(&buffer[..length]) else { continue };
            let Some(message) = Message::parse(text) else { continue };
            let number = message.call_id.split('-').next().and_then(|n| n.parse::<u32>().ok());
            let Some(index) = number.and_then(|n| n.checked_sub(first)).map(|n| n as usize) else { continue };
            let Some(call) = rung.calls.get_mut(index) else { continue };
            let (was_over, was_answered) = (call.is_over(), call.remote.is_some());
            if let Some(answer) = call.sip(&message, Instant::now()) {
                self.send(call, answer)?;
            }
            if let Some(remote) = call.remote.filter(|_| !was_answered) {
                rung.by_peer.insert((call.socket, remote), index);
            }
            rung.leave(index, was_over);
        }
        for (number, socket) in self.rtp.iter().enumerate() {
            while let Some((length, from)) = receive(socket, &mut buffer)? {
                let Some(call) = rung.by_peer.get(&(number, from)).and_then(|index| rung.calls.get_mut(*index)) else { continue };
                if let Some(answer) = call.rtp(&self.prompts, &buffer[..length], Instant::now()) {
                    self.send(call, answer)?;
                }
            }
        }
        Ok(())
    }

    /// Sends whatever is due.
    fn speak(&self, rung: &mut Rung) -> io::Result<()> {
        while let Some(Reverse((at, index))) = rung.due.peek().copied().filter(|Reverse((at, _))| *at <= Instant::now()) {
            rung.due.pop();
            let Some(call) = rung.calls.get_mut(index) else { continue };
            let was_over = call.is_over();
            for send in call.tick(Instant::now()).into_iter().flatten() {
                self.send(call, send)?;
            }
            if !call.is_over() {
                rung.due.push(Reverse((at + TICK, index)));
            }
            rung.leave(index, was_over);
        }
        Ok(())
    }

    fn send(&self, call: &Call, what: Send) -> io::Result<()> {
        let sent = match (what, call.remote) {
            (Send::Sip(text), _) => self.sip.send_to(text.as_bytes(), self.server),
            (Send::Rtp(packet), Some(remote)) => self.rtp[call.socket].send_to(&packet, remote),
            (Send::Rtp(_), None) => return Ok(()),
        };
        match sent {
            // As lost on the way: SIP is repeated, and the program may have closed its port by now.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => Ok(()),
            sent => sent.map(drop),
        }
    }
}

/// The calls of a rung.
struct Rung {
    calls: Vec<Call>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Whose packets come to this socket from there.
    by_peer: HashMap<(usize, SocketAddr), usize>,
    active: usize,
}

impl Rung {
    /// Counts a call out, once, when it has ended.
    fn leave(&mut self, index: usize, was_over: bool) {
        let Some(call) = self.calls.get(index).filter(|call| call.is_over() && !was_over) else { return };
        self.active -= 1;
        if let Some(remote) = call.remote
            && self.by_peer.get(&(call.socket, remote)) == Some(&index)
        {
            // The program may have given the port to the next call by now.
            self.by_peer.remove(&(call.socket, remote));
        }
    }
}

fn socket() -> io::Result<UdpSocket> {
    let socket = Socket::from(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A datagram, where there is one.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
    match socket.recv_from(buffer) {
        Ok(received) => Ok(Some(received)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}
