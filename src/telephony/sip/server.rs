//! Listening, and policy: who may call, how many calls, what is answered to everything else.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rsipstack::{
    EndpointBuilder,
    dialog::dialog_layer::DialogLayer,
    sip::{Header, HeadersExt, Method, StatusCode, Transport},
    transaction::{endpoint::Endpoint, transaction::Transaction},
    transport::{SipConnection, TransportLayer, udp::UdpConnection},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    config::SipConfig,
    door::{self, Door},
    gate::{Gate, Known, RETRY_AFTER},
    limits::{Rate, RateLimits},
    streams::{self, Connections},
    uas,
};
use crate::{
    ops::clock::Clock,
    telephony::{
        call::CallHandler,
        rtp::{
            engine::{Engine, EngineCounters},
            ports::PortPool,
        },
    },
};

/// The methods that we know (`Allow`).
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO";
/// Requests outside a call that are answered a second, of all sources together. The stack remembers
/// each answer for half a minute: this bounds its memory. Beyond it there is silence.
const ANSWERS: u32 = 1_000;

/// Why the endpoint could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port could not be bound.
    #[error("cannot listen for SIP on {transport} {address}: {source}")]
    Bind {
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The stack refused.
    #[error("SIP stack: {0}")]
    Stack(String),
    /// A media thread could not be started.
    #[error("cannot start the media threads: {0}")]
    Media(#[from] io::Error),
}

/// Counters for `/metrics`; all but `active` only grow.
#[derive(Debug, Default)]
pub struct Counters {
    /// INVITEs that were looked at.
    pub invites: AtomicU64,
    /// Calls answered.
    pub answered: AtomicU64,
    /// INVITEs refused with 503 because there was no room, or while draining.
    pub full: AtomicU64,
    /// INVITEs refused otherwise (404, 488 …).
    pub refused: AtomicU64,
    /// INVITEs that the caller's side cancelled before they were answered.
    pub cancelled: AtomicU64,
    /// Requests and connections from sources that are no trunk's, answered 403 or not at all.
    pub strangers: AtomicU64,
    /// Messages dropped without an answer: from a source that asks too often, from a scanner, or nothing that could be answered.
    pub dropped: AtomicU64,
    /// A trunk's requests that were refused at the door: malformed, or asking for what there is not.
    pub malformed: AtomicU64,
    /// Messages of what calls itself a scanner; each has its source silenced for an hour.
    pub scanners: AtomicU64,
    /// Keys received.
    pub keys: AtomicU64,
}

/// A reading of all counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Calls now.
    pub active: u64,
    /// Room for calls.
    pub capacity: u64,
    /// Taking no new calls, before it stops.
    pub draining: bool,
    /// See [`Counters`].
    pub invites: u64,
    /// See [`Counters`].
    pub answered: u64,
    /// See [`Counters`].
    pub full: u64,
    /// See [`Counters`].
    pub refused: u64,
    /// See [`Counters`].
    pub cancelled: u64,
    /// See [`Counters`].
    pub strangers: u64,
    /// See [`Counters`].
    pub dropped: u64,
    /// See [`Counters`].
    pub malformed: u64,
    /// See [`Counters`].
    pub scanners: u64,
    /// TCP connections now.
    pub connections: u64,
    /// See [`Counters`].
    pub keys: u64,
}

/// What calls share.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: SipConfig,
    pub clock: Clock,
    pub engine: Engine,
    pub counters: Counters,
    pub slots: Arc<Semaphore>,
    /// Cancelled when running calls are to be hung up.
    pub hang_up: CancellationToken,
    draining: AtomicBool,
    /// Who comes in.
    pub gate: Mutex<Gate>,
    /// TCP connections.
    pub connections: Arc<Connections>,
    /// How often everyone together is answered outside calls.
    answers: Mutex<RateLimits>,
}

/// A running SIP endpoint.
pub struct Server {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    stop: CancellationToken,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds every address and begins to take calls.
    pub async fn start<H: CallHandler>(config: SipConfig, clock: Clock, handler: Arc<H>) -> Result<Self, ServerError> {
        let stop = CancellationToken::new();
        // Ports given as 0 are known from here on.
        let mut sockets = Vec::with_capacity(config.udp.len());
        for address in &config.udp {
            sockets.push(bind_udp(*address)?);
        }
        let udp: Vec<_> = sockets.iter().map(|(_, address)| *address).collect();
        let mut listeners = Vec::with_capacity(config.tcp.len());
        for address in &config.tcp {
            listeners.push(bind_tcp(*address)?);
        }
        let tcp: Vec<_> = listeners.iter().map(|(_, address)| *address).collect();
        let engine = Engine::start(config.media_threads, PortPool::new(&config.rtp_ports), config.dead_media)?;
        let room = config.max_calls.min(engine.capacity()).min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            clock,
            engine,
            counters: Counters::default(),
            slots: Arc::new(Semaphore::new(room)),
            hang_up: CancellationToken::new(),
            draining: AtomicBool::new(false),
            gate: Mutex::new(Gate::new(Instant::now())),
            connections: Arc::default(),
            answers: Mutex::new(RateLimits::new(1, Instant::now())),
            config: SipConfig { max_calls: room, udp, tcp, ..config },
        });

        let transports = TransportLayer::new(stop.clone());
        let mut addresses = Vec::new();
        for (socket, address) in sockets {
            addresses.push(("UDP", address));
            transports.add_transport(listen_udp(socket, &shared, &stop).await?);
        }
        for address in &shared.config.tcp {
            addresses.push(("TCP", *address));
            transports.add_transport(streams::announced(shared.told(*address), &stop).await);
        }
        let endpoint = EndpointBuilder::new()
            .with_cancel_token(stop.clone())
            .with_transport_layer(transports)
            .with_user_agent(concat!("VoceGuida/", env!("CARGO_PKG_VERSION")))
            .build();
        let mut incoming = endpoint.incoming_transactions().map_err(|e| ServerError::Stack(e.to_string()))?;
        let dialogs = Arc::new(DialogLayer::new(endpoint.inner.clone()));
        let inner = endpoint.inner.clone();
        tokio::spawn(async move {
            if let Err(error) = inner.serve().await {
                warn!(%error, "the SIP endpoint has ended");
            }
        });
        for (listener, address) in listeners {
            let accepting =
                streams::accept(listener, shared.told(address), Arc::clone(&shared), endpoint.inner.clone(), stop.child_token());
            tokio::spawn(accepting);
        }
        let dispatcher = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Some(transaction) = incoming.recv().await {
                dispatch(&dispatcher, &dialogs, &handler, transaction);
            }
        });
        Ok(Self { shared, endpoint, stop, addresses })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// A look at it from elsewhere.
    pub fn monitor(&self) -> Monitor {
        Monitor { shared: Arc::clone(&self.shared) }
    }

    /// Calls now.
    pub fn active(&self) -> usize {
        self.shared.active()
    }

    /// Takes no new calls (503), lets running ones finish for at most `patience`, hangs up the
    /// rest and stops. Returns how many had to be hung up.
    pub async fn drain(self, patience: Duration) -> usize {
        self.shared.draining.store(true, Ordering::Relaxed);
        let all = self.shared.config.max_calls as u32;
        let finished = || self.shared.slots.acquire_many(all);
        let mut left = 0;
        if tokio::time::timeout(patience, finished()).await.is_err() {
            left = self.active();
            info!(calls = left, "hanging up the calls that are still running");
            self.shared.hang_up.cancel();
            // Each sends its BYE and writes its CDR.
            let _ = tokio::time::timeout(Duration::from_secs(3), finished()).await;
        }
        self.endpoint.shutdown();
        self.stop.cancel();
        left
    }
}

/// Reads a running endpoint's counters; cheap to clone.
#[derive(Debug, Clone)]
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// A reading of the counters.
    pub fn stats(&self) -> Stats {
        let c = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            active: self.shared.active() as u64,
            capacity: self.shared.config.max_calls as u64,
            draining: self.shared.draining.load(Ordering::Relaxed),
            invites: read(&c.invites),
            answered: read(&c.answered),
            full: read(&c.full),
            refused: read(&c.refused),
            cancelled: read(&c.cancelled),
            strangers: read(&c.strangers),
            dropped: read(&c.dropped),
            malformed: read(&c.malformed),
            scanners: read(&c.scanners),
            connections: self.shared.connections.count() as u64,
            keys: read(&c.keys),
        }
    }

    /// The media engine's counters.
    pub fn media(&self) -> &EngineCounters {
        self.shared.engine.counters()
    }
}

impl Shared {
    /// May a request outside a call be answered? Counts it where not.
    fn may_answer(&self) -> bool {
        let everyone = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = answers.allow(everyone, Rate::per_second(ANSWERS, 2 * ANSWERS), Instant::now());
        if !allowed {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    /// May one more call be taken? A call that is let in takes its place a moment later, and may still find none.
    pub fn has_room(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.slots.available_permits() > 0
    }

    /// An address of ours as peers are told it, where NAT stands between.
    fn told(&self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.config.external_address.unwrap_or(address.ip()), address.port())
    }

    fn active(&self) -> usize {
        self.config.max_calls - self.slots.available_permits()
    }
}

/// Binds a UDP address; port 0 takes any free one.
fn bind_udp(address: SocketAddr) -> Result<(tokio::net::UdpSocket, SocketAddr), ServerError> {
    let bound = || {
        let socket = tokio::net::UdpSocket::from_std(door::bind(address)?)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    bound().map_err(|source| ServerError::Bind { transport: "UDP", address, source })
}

/// Binds a TCP address; port 0 takes any free one.
fn bind_tcp(address: SocketAddr) -> Result<(tokio::net::TcpListener, SocketAddr), ServerError> {
    let bound = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|source| ServerError::Bind { transport: "TCP", address, source })
}

async fn listen_udp(socket: tokio::net::UdpSocket, shared: &Arc<Shared>, stop: &CancellationToken) -> Result<SipConnection, ServerError> {
    let stack = |e: rsipstack::Error| ServerError::Stack(e.to_string());
    let port = socket.local_addr()?.port();
    let external = shared.config.external_address.map(|ip| SocketAddr::new(ip, port));
    let door = Door { socket, shared: Arc::clone(shared) };
    let connection = UdpConnection::from_socket(Arc::new(door), external, Some(stop.child_token())).await.map_err(stack)?;
    Ok(connection.into())
}

/// Where a request really came from.
fn source(transaction: &Transaction) -> Option<SocketAddr> {
    transaction.connection.as_ref()?.get_remote_addr()?.get_socketaddr().ok()
}

/// Decides at once, and without waiting, what becomes of a request.
fn dispatch<H: CallHandler>(shared: &Arc<Shared>, dialogs: &Arc<DialogLayer>, handler: &Arc<H>, mut transaction: Transaction) {
    let Some(peer) = source(&transaction) else { return };
    // The door is shut to strangers already; dropping the transaction forgets it.
    let Some(trunk) = shared.config.trunk_of(peer.ip()) else { return };
    let in_dialog = transaction.original.to_header().is_ok_and(|to| to.tag().is_ok_and(|tag| tag.is_some()));
    if in_dialog {
        match dialogs.match_dialog(&transaction) {
            Some(mut dialog) => {
                tokio::spawn(async move {
                    if let Err(error) = dialog.handle(&mut transaction).await {
                        debug!(%error, "request in a dialog");
                    }
                });
            }
            None if transaction.original.method == Method::Ack => {}
            None if shared.may_answer() => answer(transaction, 481, vec![]),
            None => {}
        }
        return;
    }
    if transaction.original.method != Method::Invite && !shared.may_answer() {
        return;
    }
    match transaction.original.method {
        Method::Invite => {
            // The gate has counted the call against its trunk's rate, and knew of room a moment ago; on other ways in it was not asked.
            let way = transaction.connection.as_ref().map(SipConnection::transport);
            let allowed = matches!(way, Some(Transport::Udp | Transport::Tcp)) || {
                let mut gate = shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
                gate.may_call(Known { trunk: &trunk.name, calls_per_second: trunk.calls_per_second }, Instant::now())
            };
            let slot = (allowed && !shared.draining.load(Ordering::Relaxed)).then(|| Arc::clone(&shared.slots).try_acquire_owned().ok());
            let Some(slot) = slot.flatten() else {
                shared.counters.full.fetch_add(1, Ordering::Relaxed);
                if !shared.may_answer() {
                    return;
                }
                return answer(transaction, 503, vec![Header::Other("Retry-After".into(), RETRY_AFTER.into())]);
            };
            shared.counters.invites.fetch_add(1, Ordering::Relaxed);
            let call = uas::NewCall { shared: Arc::clone(shared), dialogs: Arc::clone(dialogs), trunk: trunk.name.clone(), peer, slot };
            tokio::spawn(call.run(transaction, Arc::clone(handler)));
        }
        Method::Options => {
            let status = if shared.draining.load(Ordering::Relaxed) { 503 } else { 200 };
            let accept = Header::Other("Accept".into(), "application/sdp".into());
            answer(transaction, status, vec![Header::Allow(ALLOW.into()), accept]);
        }
        Method::Ack => {}
        Method::Bye | Method::Update | Method::Info | Method::PRack | Method::Notify => answer(transaction, 481, vec![]),
        _ => answer(transaction, 405, vec![Header::Allow(ALLOW.into())]),
    }
}

/// Sends a final answer and sees the transaction to its end (the ACK of a refused INVITE).
pub(super) fn answer(mut transaction: Transaction, status: u16, headers: Vec<Header>) {
    tokio::spawn(async move {
        if let Err(error) = transaction.reply_with(StatusCode::from(status), headers, None).await {
            debug!(%error, status, "the answer could not be sent");
            return;
        }
        while transaction.receive().await.is_some() {}
    });
}

/// Our own address as a peer sees it on the way to it: a connected socket asks the routing table and sends nothing.
pub(crate) fn local_ip_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr =
        if peer.is_ipv4() { (std::net::Ipv4Addr::UNSPECIFIED, 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}
