//! Sockets: binding them, and taking connections in within bounds.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use rsipstack::{transaction::endpoint::EndpointInnerRef, transport::SipAddr};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    config::{SipConfig, Transport},
    server::{ServerError, Shared},
    streams::{Opened, Reader},
    tls::Tls,
    trunks::Standing,
};

/// Connections that may wait to be taken in.
const BACKLOG: i32 = 1_024;
/// Connections at once. Each has its buffers, about 128 kB.
const MOST_CONNECTIONS: usize = 1_000;
/// Connections at once of one address.
const MOST_OF_ONE: usize = 64;
/// Connections at once of those who have not shown their password yet, of one address and in all.
const MOST_UNPROVEN_OF_ONE: usize = 4;
/// See [`MOST_UNPROVEN_OF_ONE`].
const MOST_UNPROVEN: usize = 100;
/// How long a password may be owed.
const PROOF_PATIENCE: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(8);
/// After so long without a word the system asks whether the other end of a connection is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);
/// A peer that takes nothing for so long is gone.
const SEND_PATIENCE: Duration = Duration::from_secs(30);
/// Without a word for so long a connection that the stack has opened is closed.
pub(super) const IDLE: Duration = Duration::from_mins(15);
/// Room for datagrams in the kernel, in bytes: a second of the heaviest signalling. The system may grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 8 << 20;
/// The wait after a connection could not be taken in (no file descriptors, mostly).
const BREATH: Duration = Duration::from_millis(100);

/// Every socket, bound.
#[derive(Debug)]
pub(super) struct Sockets {
    pub udp: Vec<(UdpSocket, SocketAddr)>,
    pub tcp: Vec<(TcpListener, SocketAddr)>,
    pub tls: Vec<(TcpListener, SocketAddr)>,
}

impl Sockets {
    /// Binds every address of `config`; ports given as 0 are known from here on.
    pub fn bind(config: &SipConfig) -> Result<Self, ServerError> {
        let bound = |transport: Transport, address: SocketAddr| {
            bind(transport, address).map_err(|source| ServerError::Bind { transport: transport.name(), address, source })
        };
        let streams = |transport, list: &[SocketAddr]| {
            let listening = |address: &SocketAddr| {
                let socket = bound(transport, *address)?;
                let listener = TcpListener::from_std(socket.into())?;
                let address = listener.local_addr()?;
                Ok((listener, address))
            };
            list.iter().map(listening).collect::<Result<Vec<_>, ServerError>>()
        };
        let datagrams = |address: &SocketAddr| {
            let socket = UdpSocket::from_std(bound(Transport::Udp, *address)?.into())?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        Ok(Self {
            udp: config.udp.iter().map(datagrams).collect::<Result<_, ServerError>>()?,
            tcp: streams(Transport::Tcp, &config.tcp)?,
            tls: streams(Transport::Tls, &config.tls.listen)?,
        })
    }

    /// Where they are bound.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let udp = self.udp.iter().map(|(_, address)| (Transport::Udp.name(), *address));
        let tcp = self.tcp.iter().map(|(_, address)| (Transport::Tcp.name(), *address));
        let tls = self.tls.iter().map(|(_, address)| (Transport::Tls.name(), *address));
        udp.chain(tcp).chain(tls).collect()
    }
}

fn bind(transport: Transport, address: SocketAddr) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Tcp | Transport::Tls => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can both be listened on, and IPv4 callers look like IPv4 callers.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    if transport == Transport::Udp {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let granted = socket.recv_buffer_size()?;
        if granted < RECEIVE_BUFFER {
            info!(%address, granted, wanted = RECEIVE_BUFFER, "the SIP socket's buffer is smaller than wanted: raise net.core.rmem_max");
        }
    } else {
        // Restarted at once, it finds its port free though old connections linger.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if transport != Transport::Udp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// The socket that a datagram to `to` leaves by: the one that the stack has chosen, but for requests
/// that it cannot carry there.
pub(super) fn socket_towards<'a>(chosen: &'a Arc<UdpSocket>, all: &'a [Arc<UdpSocket>], datagram: &[u8], to: SocketAddr) -> &'a UdpSocket {
    // An answer goes back by where its question came in.
    if all.len() < 2 || datagram.starts_with(b"SIP/2.0 ") {
        return chosen;
    }
    let Ok(from) = super::server::local_ip_towards(to) else { return chosen };
    let carries = |socket: &UdpSocket| socket.local_addr().is_ok_and(|own| can_send(own, from));
    if carries(chosen) { chosen } else { all.iter().find(|socket| carries(socket)).unwrap_or(chosen) }
}

/// Can a socket bound to `own` send from the address `from` of ours?
pub(super) fn can_send(own: SocketAddr, from: IpAddr) -> bool {
    own.ip() == from || (own.ip().is_unspecified() && own.is_ipv4() == from.is_ipv4())
}

/// How many connections there are.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_source: HashMap<IpAddr, usize>,
    all: usize,
    unproven: usize,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
struct Counted {
    source: IpAddr,
    unproven: bool,
    connections: Arc<Mutex<Connections>>,
}

impl Connections {
    fn admit(this: &Arc<Mutex<Self>>, source: IpAddr, unproven: bool) -> Option<Counted> {
        let mut connections = this.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = connections.by_source.get(&source).copied().unwrap_or(0);
        let fits = if unproven {
            of_source < MOST_UNPROVEN_OF_ONE && connections.unproven < MOST_UNPROVEN && connections.all < MOST_CONNECTIONS
        } else {
            of_source < MOST_OF_ONE && connections.all < MOST_CONNECTIONS
        };
        fits.then(|| {
            connections.all += 1;
            connections.unproven += usize::from(unproven);
            *connections.by_source.entry(source).or_default() += 1;
            drop(connections);
            Counted { source, unproven, connections: Arc::clone(this) }
        })
    }
}

impl Connections {
    /// Connections now.
    pub fn count(this: &Mutex<Self>) -> usize {
        this.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.all -= 1;
        connections.unproven -= usize::from(self.unproven);
        if let Some(count) = connections.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                connections.by_source.remove(&self.source);
            }
        }
    }
}

/// Takes connections in at one address.
pub(super) struct Gatekeeper {
    pub shared: Arc<Shared>,
    pub endpoint: EndpointInnerRef,
    pub connections: Arc<Mutex<Connections>>,
    /// Handshakes begin with this; `None` for plain TCP.
    pub tls: Option<Arc<Tls>>,
    pub stop: CancellationToken,
}

impl Gatekeeper {
    /// Until the endpoint stops.
    pub async fn run(self, listener: TcpListener) {
        let this = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = this.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => this.take_in(stream, peer),
                Err(error) => {
                    warn!(%error, "a connection could not be taken in");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn take_in(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let source = peer.ip().to_canonical();
        let unproven = match self.shared.trunks.standing(peer, Instant::now()) {
            Standing::Known => false,
            Standing::MayProve { proven, .. } => !proven,
            Standing::Stranger => {
                // Closed at once: it would hold buffers until it is idle for long.
                self.shared.counters.strangers.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let Some(counted) = Connections::admit(&self.connections, source, unproven) else {
            self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = this.serve(stream, peer, counted).await {
                debug!(%peer, %error, "connection");
            }
        });
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, counted: Counted) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        prepare(&stream)?;
        let local = stream.local_addr()?;
        let token = self.stop.child_token();
        // A second handle on the socket, to close it whatever the stack is waiting for.
        let handle = if counted.unproven { Some(SockRef::from(&stream).try_clone()?) } else { None };
        let opened = match &self.tls {
            None => Opened::plain(stream, sip_address(Transport::Tcp, local), token.clone()).await?,
            Some(tls) => {
                let context = tls.contexts().server.clone().ok_or("no certificate")?;
                let stream = timeout(HANDSHAKE_PATIENCE, TlsAcceptor::from(context).accept(stream)).await??;
                Opened::encrypted(stream, local, peer, token.clone()).await?
            }
        };
        let reader = Reader { shared: Arc::clone(&self.shared), endpoint: Arc::clone(&self.endpoint), peer, ours: false };
        tokio::spawn(async move {
            if let Err(error) = reader.run(opened).await {
                debug!(%peer, %error, "connection");
            }
        });
        if let Some(socket) = handle {
            let proof = async {
                tokio::time::sleep(PROOF_PATIENCE).await;
                if !self.shared.trunks.has_proven(peer, Instant::now()) {
                    let _ = socket.shutdown(std::net::Shutdown::Both);
                }
            };
            tokio::select! {
                () = token.cancelled() => {}
                () = proof => {}
            }
        }
        // The stack cancels it when the connection is gone.
        token.cancelled().await;
        drop(counted);
        Ok(())
    }
}

/// Small messages at once, and a dead end noticed.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(SEND_PATIENCE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))
}

/// An address as the stack has it.
pub(super) fn sip_address(transport: Transport, address: SocketAddr) -> SipAddr {
    SipAddr { r#type: Some(transport.into()), addr: address.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_and_given_back() {
        let connections = Arc::new(Mutex::default());
        let source = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        let admit = |n, unproven| Connections::admit(&connections, source(n), unproven);
        let of_one: Vec<_> = (0..100).filter_map(|_| admit(1, false)).collect();
        assert_eq!(of_one.len(), MOST_OF_ONE);
        let unproven: Vec<_> = (2..1_000).flat_map(|n| (0..10).filter_map(move |_| admit(n, true)).collect::<Vec<_>>()).collect();
        assert_eq!(unproven.len(), MOST_UNPROVEN);
        let known: Vec<_> = (2_000..5_000).filter_map(|n| admit(n, false)).collect();
        assert_eq!(of_one.len() + unproven.len() + known.len(), MOST_CONNECTIONS);
        drop((of_one, unproven, known));
        let left = connections.lock().unwrap();
        assert_eq!((left.all, left.unproven, left.by_source.len()), (0, 0, 0));
    }
}
