//! The SIP endpoint: starting, draining and watching it. [`super::dispatch`] has the policy.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::RngExt;
use rsipstack::{
    EndpointBuilder,
    dialog::{dialog::DialogStateSender, dialog_layer::DialogLayer},
    sip::Transport,
    transaction::endpoint::{Endpoint, EndpointInnerRef},
    transport::{SipConnection, TransportLayer, udp::UdpConnection},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    certificates::CertificateStatus,
    config::{SipConfig, TlsConfig},
    dispatch::dispatch,
    door::Door,
    gate::Gate,
    keepalive::Pulse,
    leg::Legs,
    limits::{Rate, RateLimits},
    listen::{Connections, Gatekeeper, IDLE, Sockets},
    outbound::{Dns, Outbound, OwnVia},
    pinging::{Pinging, Whom},
    registering::Registering,
    secure, signalling,
    status::{TrunkStatus, trunk_status},
    tls::{Tls, TlsError},
    trunks::{Counted, Trunks},
    unread::Unread,
};
use crate::{
    ops::{chance, clock::Clock},
    telephony::{
        call::CallHandler,
        rtp::{
            engine::{Engine, EngineCounters},
            ports::PortPool,
        },
        trace::{Tap, Trace},
    },
};

/// The methods that we know (`Allow`).
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, PRACK";
/// Source addresses whose rate is watched one by one.
const WATCHED_SOURCES: usize = 10_000;
/// What a stranger is answered a second; beyond that, silence.
pub(super) const STRANGER_ANSWERS: u32 = 5;
/// Requests outside a call that are answered a second, of all sources together. The stack remembers
/// each answer for half a minute: this bounds its memory. Beyond it there is silence.
const ANSWERS: u32 = 1_000;
/// How long taking the registrations back may hold up the end.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether certificates expire soon.
const CERTIFICATES_EVERY: Duration = Duration::from_hours(12);

/// Why the endpoint could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port could not be bound.
    #[error("cannot listen for SIP on {transport} {address}: {source}")]
    Bind {
        /// `UDP`, `TCP` or `TLS`.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key is not usable.
    #[error("{0}")]
    Tls(#[from] TlsError),
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
    /// Requests dropped without an answer because their source, or everyone together, asks too often.
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
    pub trunks: Arc<Trunks>,
    pub clock: Clock,
    pub engine: Engine,
    pub counters: Counters,
    pub slots: Arc<Semaphore>,
    /// Cancelled when running calls are to be hung up.
    pub hang_up: CancellationToken,
    draining: AtomicBool,
    /// How often a source may ask.
    pub limits: Mutex<RateLimits>,
    /// Who comes in.
    pub gate: Mutex<Gate>,
    /// TCP and TLS connections.
    pub connections: Arc<Mutex<Connections>>,
    /// How often everyone together is answered outside calls.
    answers: Mutex<RateLimits>,
    /// The calls there are.
    pub legs: Arc<Legs>,
    /// Where the stack tells changes of dialogs, of all calls.
    pub states: DialogStateSender,
    /// Listens for the trace.
    pub tap: Tap,
    /// What the UDP sockets lose.
    pub unread: Unread,
    /// The certificates.
    pub tls: Arc<Tls>,
}

/// A running SIP endpoint.
pub struct Server {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    registrations: JoinSet<()>,
    /// Cancelled when the registrations are to be taken back.
    leave: CancellationToken,
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
        let ends_it = stop.clone().drop_guard();
        let started = signalling::spawn(&stop)?.spawn(Self::start_here(config, clock, handler, stop)).await;
        let server = started.map_err(|e| ServerError::Stack(e.to_string()))??;
        ends_it.disarm();
        Ok(server)
    }

    /// On the signalling thread.
    async fn start_here<H: CallHandler>(
        config: SipConfig,
        clock: Clock,
        handler: Arc<H>,
        stop: CancellationToken,
    ) -> Result<Self, ServerError> {
        let tls = Arc::new(Tls::load(config.tls.clone(), config.connects_by_tls())?);
        // Ports given as 0 are known from here on.
        let sockets = Sockets::bind(&config)?;
        let addresses = sockets.addresses();
        let of = |name: &str| addresses.iter().filter(|(transport, _)| *transport == name).map(|(_, address)| *address).collect();
        let engine = Engine::start(config.media_threads, PortPool::new(&config.rtp_ports), config.dead_media)?;
        let room = config.max_calls.min(engine.capacity()).min(Semaphore::MAX_PERMITS);
        let config = SipConfig {
            max_calls: room,
            udp: of("UDP"),
            tcp: of("TCP"),
            tls: TlsConfig { listen: of("TLS"), ..config.tls.clone() },
            ..config
        };
        let now = Instant::now();
        let trunks = Arc::new(Trunks::new(&config, &chance::fresh().random(), now));
        let of_transport = |name: &str| match name {
            "UDP" => Transport::Udp,
            "TCP" => Transport::Tcp,
            _ => Transport::Tls,
        };
        let listeners = addresses.iter().map(|(name, address)| (of_transport(name), *address)).collect();
        let legs = Arc::<Legs>::default();
        let (states, to_relay) = rsipstack::platform::mpsc::unbounded_channel();
        let relay = Arc::clone(&legs);
        tokio::spawn(async move { relay.relay(to_relay).await });
        let shared = Arc::new(Shared {
            clock,
            unread: Unread::of(sockets.udp.iter().map(|(socket, _)| socket)),
            tls: Arc::clone(&tls),
            tap: Tap { trace: config.trace.clone(), clock, listeners },
            gate: Mutex::new(Gate::new(now)),
            connections: Arc::default(),
            legs,
            states,
            engine,
            trunks: Arc::clone(&trunks),
            counters: Counters::default(),
            slots: Arc::new(Semaphore::new(room)),
            hang_up: CancellationToken::new(),
            draining: AtomicBool::new(false),
            limits: Mutex::new(RateLimits::new(WATCHED_SOURCES, now)),
            answers: Mutex::new(RateLimits::new(1, now)),
            config,
        });

        let transports = TransportLayer::new(stop.clone());
        transports.set_stream_idle_timeout(IDLE);
        transports.set_tls_config(secure::dialling(&tls));
        let Sockets { udp, tcp, tls: secure } = sockets;
        let udp = listen_udp(udp, &shared, &stop).await?;
        for (_, connection) in &udp {
            transports.add_transport(connection.clone());
        }
        let endpoint = EndpointBuilder::new()
            .with_cancel_token(stop.clone())
            .with_transport_layer(transports)
            .with_inspector(Box::new(OwnVia { config: shared.config.clone(), tap: shared.tap.clone() }))
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
        for (listener, tls) in tcp.into_iter().map(|(l, _)| (l, None)).chain(secure.into_iter().map(|(l, _)| (l, Some(Arc::clone(&tls))))) {
            let gatekeeper = Gatekeeper {
                shared: Arc::clone(&shared),
                endpoint: endpoint.inner.clone(),
                connections: Arc::clone(&shared.connections),
                tls,
                stop: stop.clone(),
            };
            tokio::spawn(gatekeeper.run(listener));
        }
        let dispatcher = Arc::clone(&shared);
        let handler = Arc::new(Counted { inner: handler, trunks });
        tokio::spawn(async move {
            while let Some(transaction) = incoming.recv().await {
                dispatch(&dispatcher, &dialogs, &handler, transaction);
            }
        });
        tokio::spawn(watch_certificates(Arc::clone(&tls), stop.clone()));
        let leave = CancellationToken::new();
        let outbound = outbound(&shared, endpoint.inner.clone(), udp, &stop);
        let registrations = look_after_trunks(&shared, &outbound, &leave, &stop);
        Ok(Self { shared, endpoint, registrations, leave, stop, addresses })
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

    /// Reads certificates and keys anew. Connections go on under what they began with; where something
    /// is wrong everything stays as it was. `false` where there is nothing to read.
    pub fn reload_tls(&self) -> Result<bool, TlsError> {
        let read = self.shared.tls.reload()?;
        self.shared.tls.warn(Clock::real().now());
        Ok(read)
    }

    /// Takes the registrations back and no new calls (503), lets running ones finish for at most `patience`, hangs up the
    /// rest and stops. Returns how many had to be hung up.
    pub async fn drain(mut self, patience: Duration) -> usize {
        self.shared.draining.store(true, Ordering::Relaxed);
        // First, so that providers send the next calls elsewhere.
        self.leave.cancel();
        let began = Instant::now();
        let left = async { while self.registrations.join_next().await.is_some() {} };
        if tokio::time::timeout(LEAVE_PATIENCE, left).await.is_err() {
            warn!("a registration could not be taken back");
        }
        let patience = patience.saturating_sub(began.elapsed());
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
            connections: Connections::count(&self.shared.connections) as u64,
            keys: read(&c.keys),
        }
    }

    /// How each trunk fares.
    pub fn trunks(&self) -> Vec<TrunkStatus> {
        let now = Instant::now();
        let trunks = &self.shared.trunks;
        trunks.list().iter().map(|trunk| trunk_status(trunk, trunks.silent_for(trunk, now), now)).collect()
    }

    /// Datagrams that the system has dropped unread: a buffer of the SIP sockets was full.
    pub fn unread(&self) -> u64 {
        self.shared.unread.count()
    }

    /// How long the certificates are valid yet.
    pub fn certificates(&self) -> Vec<CertificateStatus> {
        self.shared.tls.certificates(Clock::real().now())
    }

    /// How many media threads there are.
    pub fn media_threads(&self) -> usize {
        self.shared.config.media_threads
    }

    /// The trace.
    pub fn trace(&self) -> &Trace {
        &self.shared.config.trace
    }

    /// The media engine's counters.
    pub fn media(&self) -> &EngineCounters {
        self.shared.engine.counters()
    }
}

impl Shared {
    /// May a request outside a call be answered? Counts it where not.
    pub fn may_answer(&self) -> bool {
        let everyone = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = answers.allow(everyone, Rate::per_second(ANSWERS, 2 * ANSWERS), Instant::now());
        if !allowed {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    /// May `source`, which is allowed `per_second`, ask once more? Counts it where not.
    pub fn may_ask(&self, source: IpAddr, per_second: u32, now: Instant) -> bool {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = limits.allow(source, Rate::per_second(per_second, per_second.saturating_mul(2)), now);
        if !allowed {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    /// May one more call be taken? A call that is let in takes its place a moment later, and may still find none.
    pub fn has_room(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.slots.available_permits() > 0
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Counted by the trunks' places: of all places together a drain holds the free ones while it waits for the rest.
    fn active(&self) -> usize {
        self.trunks.list().iter().map(|trunk| trunk.calls()).sum()
    }
}

async fn listen_udp(
    sockets: Vec<(tokio::net::UdpSocket, SocketAddr)>,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> Result<Vec<(SocketAddr, SipConnection)>, ServerError> {
    let addresses: Vec<_> = sockets.iter().map(|(_, address)| *address).collect();
    let all: Arc<[_]> = sockets.into_iter().map(|(socket, _)| Arc::new(socket)).collect();
    let mut connections = Vec::with_capacity(all.len());
    for (socket, address) in all.iter().zip(addresses) {
        let external = shared.config.external_address.filter(|ip| ip.is_ipv4() == address.is_ipv4());
        let external = external.map(|ip| SocketAddr::new(ip, address.port()));
        let door = Door { socket: Arc::clone(socket), all: Arc::clone(&all), shared: Arc::clone(shared) };
        let connection = UdpConnection::from_socket(Arc::new(door), external, Some(stop.child_token())).await;
        connections.push((address, connection.map_err(|e| ServerError::Stack(e.to_string()))?.into()));
    }
    Ok(connections)
}

fn outbound(
    shared: &Arc<Shared>,
    endpoint: EndpointInnerRef,
    udp: Vec<(SocketAddr, SipConnection)>,
    stop: &CancellationToken,
) -> Arc<Outbound> {
    let config = &shared.config;
    Arc::new(Outbound {
        shared: Arc::clone(shared),
        endpoint,
        udp,
        dns: Dns::new(&config.dns),
        flows: Mutex::new(HashMap::new()),
        stop: stop.clone(),
        config: config.clone(),
    })
}

/// Says now and then which certificates expire soon.
async fn watch_certificates(tls: Arc<Tls>, stop: CancellationToken) {
    let mut often = tokio::time::interval(CERTIFICATES_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // The files were made by the machine's clock.
            _ = often.tick() => tls.warn(Clock::real().now()),
        }
    }
}

/// Registers the trunks that want it, and asks those that want it whether they live.
fn look_after_trunks(shared: &Arc<Shared>, outbound: &Arc<Outbound>, leave: &CancellationToken, stop: &CancellationToken) -> JoinSet<()> {
    let mut registrations = JoinSet::new();
    for trunk in shared.trunks.list() {
        if trunk.config.register.is_some() {
            let registering = Registering { trunk: Arc::clone(trunk), outbound: Arc::clone(outbound), leave: leave.clone() };
            registrations.spawn(registering.run());
        }
        let Some(keepalive) = &trunk.config.keepalive else { continue };
        let whom: Vec<_> = match keepalive.peers.as_slice() {
            [] => vec![("registrar".to_owned(), Whom::Registrar)],
            peers => peers.iter().map(|p| (p.to_string(), Whom::Peer(p.clone()))).collect(),
        };
        for (at, (name, whom)) in whom.into_iter().enumerate() {
            let pulse = Pulse::new(keepalive.every, keepalive.misses, Instant::now());
            trunk.pulses.lock().unwrap_or_else(PoisonError::into_inner).push((name, pulse));
            let pinging = Pinging { trunk: Arc::clone(trunk), outbound: Arc::clone(outbound), whom, at };
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = pinging.run() => {}
                }
            });
        }
    }
    registrations
}

/// Our own address as a peer sees it on the way to it: a connected socket asks the routing table and sends nothing.
pub(crate) fn local_ip_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr =
        if peer.is_ipv4() { (std::net::Ipv4Addr::UNSPECIFIED, 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}
