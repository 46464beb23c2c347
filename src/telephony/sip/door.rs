//! The door on UDP: every datagram passes the [`Gate`](super::gate::Gate) before the stack sees it.
//!
//! One socket's buffer in the kernel is shared by trunks and strangers. So it is large, and it is read by a task that does
//! nothing else between two datagrams of strangers than judge them. What would keep strangers out of the buffer altogether is a
//! socket filter (`SO_ATTACH_FILTER`) on the trunks' addresses: its place is [`bind`].

use std::{
    io,
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use rsipstack::platform::net::UdpSocket as StackSocket;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time::sleep};
use tracing::{debug, info};

use super::{
    gate::{Known, Verdict, Why},
    server::Shared,
    syntax::Fault,
};

/// Room for datagrams in the kernel, in bytes: a second of the heaviest signalling. The system may grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 8 << 20;
/// A pause after an error of the socket, so that a lasting one costs nothing.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Binds a UDP address with a large buffer; port 0 takes any free one.
pub(super) fn bind(address: SocketAddr) -> io::Result<StdUdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    let granted = socket.recv_buffer_size()?;
    if granted < RECEIVE_BUFFER {
        info!(%address, granted, wanted = RECEIVE_BUFFER, "the SIP socket's buffer is smaller than wanted: raise net.core.rmem_max");
    }
    Ok(socket.into())
}

/// A UDP socket that lets through what the gate lets through.
pub(super) struct Door {
    pub socket: UdpSocket,
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
            match self.shared.judge(&buffer[..length], from, fault, &mut other) {
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
        Ok(self.socket.send_to(buffer, to).await?)
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}

impl Shared {
    /// Judges a message and counts what becomes of it; a trunk's is refused with `fault` where there is one.
    pub(super) fn judge(&self, message: &[u8], from: SocketAddr, fault: Option<Fault>, buffer: &mut Vec<u8>) -> Verdict {
        let known = self.config.trunk_of(from.ip()).map(|t| Known { trunk: &t.name, calls_per_second: t.calls_per_second });
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
