//! The door on UDP: every datagram passes the [`Gate`](super::gate::Gate) before the stack sees it.
//!
//! One socket's buffer in the kernel is shared by trunks and strangers. So it is large, and it is read by a task that does
//! nothing else between two datagrams of strangers than judge them. What would keep strangers out of the buffer altogether is a
//! socket filter (`SO_ATTACH_FILTER`) on the trunks' addresses: its place is `listen::bind`.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use rsipstack::platform::net::UdpSocket as StackSocket;
use tokio::{net::UdpSocket, time::sleep};
use tracing::debug;

use super::{
    gate::{Known, Verdict, Why},
    listen::socket_towards,
    proven::{Examined, examine, is_new_call},
    server::Shared,
    syntax::Fault,
    trunks::Standing,
};

/// More new calls a second than can come: whoever shows a password has been counted before it was looked at.
const UNCOUNTED: u32 = 1_000_000;
/// A pause after an error of the socket, so that a lasting one costs nothing.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// A UDP socket that lets through what the gate lets through.
pub(super) struct Door {
    pub socket: Arc<UdpSocket>,
    /// All UDP sockets, this one among them.
    pub all: Arc<[Arc<UdpSocket>]>,
    pub shared: Arc<Shared>,
}

#[async_trait::async_trait]
impl StackSocket for Door {
    async fn recv_from(&self, buffer: &mut [u8]) -> rsipstack::Result<(usize, SocketAddr)> {
        let mut other = Vec::new();
        loop {
            let (length, from) = match self.socket.recv_from(buffer).await {
                Ok(received) => received,
                Err(error) => {
                    debug!(%error, "SIP socket");
                    sleep(ERROR_PAUSE).await;
                    continue;
                }
            };
            // As long as the buffer: there was more, and it is lost.
            let fault = (length == buffer.len()).then(|| Fault::new(513, "Message Too Large"));
            let Some(standing) = self.entry(&buffer[..length], from) else { continue };
            match self.shared.judge(&buffer[..length], from, standing, fault, &mut other) {
                Verdict::Pass => return Ok((length, from)),
                Verdict::Rewritten => {
                    if let Some(room) = buffer.get_mut(..other.len()) {
                        room.copy_from_slice(&other);
                        return Ok((other.len(), from));
                    }
                }
                // A full send buffer is as good a reason as any to be silent.
                Verdict::Answer(_) => {
                    if self.socket.try_send_to(&other, from).is_err() {
                        self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Verdict::Silence(_) => {}
            }
        }
    }

    async fn send_to(&self, buffer: &[u8], to: SocketAddr) -> rsipstack::Result<usize> {
        Ok(socket_towards(&self.socket, &self.all, buffer, to).send_to(buffer, to).await?)
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}

impl Door {
    /// As whose a datagram is let in to be judged; `None` where it has been answered, or is not to be.
    fn entry(&self, datagram: &[u8], from: SocketAddr) -> Option<Standing> {
        let now = Instant::now();
        let standing = self.shared.trunks.standing(from, now);
        let Standing::MayProve { per_second, proven } = standing else { return Some(standing) };
        if proven && !is_new_call(datagram) {
            return Some(standing);
        }
        if !self.shared.may_ask(from.ip(), per_second, now) {
            return None;
        }
        match examine(&self.shared.trunks, datagram, from, now) {
            Examined::Passed => Some(standing),
            Examined::Refused => Some(Standing::Stranger),
            Examined::Challenged(answer) => {
                // A full send buffer is as good a reason as any to be silent.
                let _ = self.socket.try_send_to(&answer, from);
                None
            }
        }
    }
}

impl Shared {
    /// Judges a message and counts what becomes of it; a trunk's is refused with `fault` where there is one.
    /// Whoever may prove who it is has done so, or is asked to further in.
    pub(super) fn judge(
        &self,
        message: &[u8],
        from: SocketAddr,
        standing: Standing,
        fault: Option<Fault>,
        buffer: &mut Vec<u8>,
    ) -> Verdict {
        let known = match standing {
            Standing::Stranger => None,
            Standing::Known => self.trunks.at_the_door(from).map(|(trunk, calls_per_second)| Known { trunk, calls_per_second }),
            Standing::MayProve { .. } => Some(Known { trunk: "", calls_per_second: UNCOUNTED }),
        };
        let now = Instant::now();
        let verdict = {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            match fault.filter(|_| known.is_some()) {
                Some(fault) => gate.refuse(message, from, &fault, Why::Malformed, now, buffer),
                None => gate.judge(message, from, known, || self.has_room(), now, buffer),
            }
        };
        let count = |counter: &std::sync::atomic::AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        if known.is_none() {
            count(&self.counters.strangers);
        }
        match verdict {
            Verdict::Answer(Why::Full) => drop(count(&self.counters.full)),
            Verdict::Answer(Why::Malformed) => drop(count(&self.counters.malformed)),
            Verdict::Silence(Why::Absorbed) | Verdict::Pass | Verdict::Rewritten | Verdict::Answer(_) => {}
            Verdict::Silence(why) => {
                count(&self.counters.dropped);
                if why == Why::Scanner {
                    count(&self.counters.scanners);
                }
            }
        }
        verdict
    }
}
