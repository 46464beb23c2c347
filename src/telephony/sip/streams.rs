//! The door on TCP: whose connections are kept, and what comes in on them.
//!
//! The stack would read from a connection for as long as a byte comes in now and then, keep any number of them, and give a connection up
//! in silence over a message that it cannot read. So connections are accepted and read here: strangers' are reset at once, a
//! source has only so many, a message has to be whole within some seconds, and each one passes the
//! [`Gate`](super::gate::Gate) as a datagram does. Sending is left to the stack.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use rsipstack::{
    platform::net::UdpSocket as StackSocket,
    sip::{SipMessage, Transport},
    transaction::endpoint::EndpointInnerRef,
    transport::{
        SipAddr, SipConnection,
        connection::KEEPALIVE_RESPONSE,
        stream::StreamConnection as _,
        tcp::TcpConnection,
        udp::{UdpConnection, UdpInner},
    },
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, ReadHalf},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    gate::Verdict,
    limits::Source,
    server::Shared,
    syntax::{
        Fault,
        frame::{Frame, LONGEST_HEAD, LONGEST_MESSAGE, frame, is_ping},
    },
};

/// Connections of one source address.
const MOST_OF_SOURCE: usize = 32;
/// Connections altogether.
const MOST: usize = 512;
/// A message that has begun is whole within this time, or the connection ends.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(10);
/// A connection on which nothing comes in for so long ends; the peer opens another when it needs one.
const IDLE: Duration = Duration::from_mins(10);
/// A peer that takes nothing for so long is gone.
#[cfg(target_os = "linux")]
const SEND_PATIENCE: Duration = Duration::from_secs(30);
/// A pause after an error of the listener (no file descriptor left), so that a lasting one costs nothing.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Bytes read at once.
const CHUNK: usize = 4_096;

/// How many connections each source has.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_source: Mutex<HashMap<Source, usize>>,
}

/// A connection's place among its source's.
#[derive(Debug)]
struct Place {
    connections: Arc<Connections>,
    source: Source,
}

impl Connections {
    /// A place for one more of this source; `None` where it or everyone has enough.
    fn place(self: &Arc<Self>, source: Source) -> Option<Place> {
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        // Few: those who have none are not in it.
        let all: usize = by_source.values().sum();
        let own = by_source.get(&source).copied().unwrap_or_default();
        if all >= MOST || own >= MOST_OF_SOURCE {
            return None;
        }
        by_source.insert(source, own + 1);
        Some(Place { connections: Arc::clone(self), source })
    }

    /// Connections now.
    pub fn count(&self) -> usize {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_source = self.connections.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                by_source.remove(&self.source);
            }
        }
    }
}

/// Tells the stack that we listen for TCP on `address`, which it writes into its requests' Via; it reads nothing there.
pub(super) async fn announced(address: SocketAddr, stop: &CancellationToken) -> SipConnection {
    let addr = SipAddr { r#type: Some(Transport::Tcp), addr: SipConnection::resolve_bind_address(address).into() };
    let inner = UdpInner { conn: Arc::new(Announced(address)), addr };
    UdpConnection::attach(inner, None, Some(stop.child_token())).await.into()
}

/// An address without a socket.
struct Announced(SocketAddr);

#[async_trait::async_trait]
impl StackSocket for Announced {
    async fn recv_from(&self, _: &mut [u8]) -> rsipstack::Result<(usize, SocketAddr)> {
        std::future::pending().await
    }

    async fn send_to(&self, _: &[u8], _: SocketAddr) -> rsipstack::Result<usize> {
        Err(rsipstack::Error::Error("only an address".to_owned()))
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.0)
    }
}

/// Accepts connections until `stop`.
pub(super) async fn accept(
    listener: TcpListener,
    told: SocketAddr,
    shared: Arc<Shared>,
    endpoint: EndpointInnerRef,
    stop: CancellationToken,
) {
    let local = SipAddr { r#type: Some(Transport::Tcp), addr: told.into() };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "TCP listener");
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let known = shared.config.trunk_of(peer.ip()).is_some();
        let place = if known { shared.connections.place(peer.ip().into()) } else { None };
        let Some(place) = place else {
            let counter = if known { &shared.counters.dropped } else { &shared.counters.strangers };
            counter.fetch_add(1, Ordering::Relaxed);
            // Reset, so that nothing of it is kept here.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            continue;
        };
        let reader = Reader { shared: Arc::clone(&shared), endpoint: Arc::clone(&endpoint), peer, _place: place };
        let (local, token) = (local.clone(), stop.child_token());
        tokio::spawn(async move {
            if let Err(error) = reader.run(stream, local, token).await {
                debug!(%peer, %error, "TCP connection");
            }
        });
    }
}

/// Reads one connection.
struct Reader {
    shared: Arc<Shared>,
    endpoint: EndpointInnerRef,
    peer: SocketAddr,
    _place: Place,
}

/// Why a connection ends, other than by its peer's will.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stack(#[from] rsipstack::Error),
    #[error("no message within the time for one")]
    TooSlow,
    #[error("a message longer than any")]
    TooLong,
    #[error("a message without an end")]
    Broken,
}

impl Reader {
    async fn run(self, stream: TcpStream, local: SipAddr, token: CancellationToken) -> Result<(), Ended> {
        let socket = SockRef::from(&stream);
        socket.set_tcp_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(SEND_PATIENCE))?;
        let connection = TcpConnection::from_stream(stream, local, Some(token.clone()))?;
        let half = connection.inner.read_half.lock().await.take();
        let ended = match half {
            Some(half) => tokio::select! {
                () = token.cancelled() => Ok(()),
                ended = self.read(half, &connection) => ended,
            },
            None => Ok(()),
        };
        // Requests inside its calls are sent elsewhere from now on.
        token.cancel();
        connection.close().await?;
        ended
    }

    async fn read(&self, mut half: ReadHalf<TcpStream>, connection: &TcpConnection) -> Result<(), Ended> {
        let (mut held, mut other) = (Vec::new(), Vec::new());
        let mut since = Instant::now();
        loop {
            let patience = since + if held.is_empty() { IDLE } else { MESSAGE_PATIENCE };
            let mut chunk = [0; CHUNK];
            let read = timeout_at(patience, half.read(&mut chunk)).await.map_err(|_| Ended::TooSlow)??;
            if read == 0 {
                return Ok(());
            }
            if held.is_empty() {
                since = Instant::now();
            }
            held.extend_from_slice(&chunk[..read]);
            let mut used = 0;
            loop {
                match frame(&held[used..]) {
                    Frame::More => break,
                    Frame::LineEnds(length) => {
                        if is_ping(&held[used..used + length]) {
                            connection.send_raw(KEEPALIVE_RESPONSE).await?;
                        }
                        used += length;
                    }
                    Frame::Message(length) => {
                        self.take(&held[used..used + length], None, connection, &mut other).await?;
                        used += length;
                    }
                    Frame::Broken(length) => {
                        let fault = Fault::new(400, "Malformed Content-Length");
                        self.take(&held[used..used + length], Some(fault), connection, &mut other).await?;
                        return Err(Ended::Broken);
                    }
                    Frame::TooLong => return Err(Ended::TooLong),
                }
            }
            if used > 0 {
                held.drain(..used);
                since = Instant::now();
            }
            if held.len() > LONGEST_HEAD + LONGEST_MESSAGE {
                return Err(Ended::TooLong);
            }
        }
    }

    /// Judges a message, answers it (with `fault` where there is one) or hands it to the stack.
    async fn take(&self, message: &[u8], fault: Option<Fault>, connection: &TcpConnection, other: &mut Vec<u8>) -> Result<(), Ended> {
        let message = match self.shared.judge(message, self.peer, fault, other) {
            Verdict::Pass => message,
            Verdict::Rewritten => other.as_slice(),
            Verdict::Answer(_) => return Ok(connection.send_raw(other).await?),
            Verdict::Silence(_) => return Ok(()),
        };
        let message = match SipMessage::try_from(message) {
            Ok(message) => SipConnection::update_msg_received(message, self.peer, Transport::Tcp),
            Err(error) => Err(error.into()),
        };
        match message {
            Ok(message) => {
                let from = SipAddr { r#type: Some(Transport::Tcp), addr: self.peer.into() };
                let connection = SipConnection::Tcp(connection.clone());
                if let Err(error) = self.endpoint.on_received_message(message, connection, &from).await {
                    debug!(peer = %self.peer, %error, "message over TCP");
                }
            }
            Err(error) => {
                self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
                debug!(peer = %self.peer, %error, "a message that the stack does not read");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn a_source_has_only_so_many_connections() {
        let connections = Arc::new(Connections::default());
        let of = |n: u32| connections.place(IpAddr::V4(Ipv4Addr::from(n)).into());
        let mut held: Vec<_> = (0..MOST_OF_SOURCE).map(|_| of(1).unwrap()).collect();
        assert!(of(1).is_none());
        let all: Vec<_> = (MOST_OF_SOURCE..MOST).map(|n| of(n as u32).unwrap()).collect();
        assert!(of(999).is_none(), "everyone together has enough");
        held.pop();
        assert!(of(999).is_some());
        drop((held, all));
        assert_eq!(connections.count(), 0);
        assert!(connections.by_source.lock().unwrap().is_empty(), "who has none is forgotten");
    }
}
