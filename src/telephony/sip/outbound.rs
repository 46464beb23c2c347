//! Requests of ours outside calls: finding a peer (RFC 3263), the way to it, and its answer.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RData,
};
use rsipstack::{
    resolver::sip_resolver::{LookupSource, SrvRecord, resolve_logic},
    sip::{
        CallId, Domain, HeadersExt, Method, Param, Request, Response, SipMessage, StatusCodeKind, Uri, headers::ToTypedHeader, param::Tag,
        typed,
    },
    transaction::{
        endpoint::{EndpointInnerRef, MessageInspector},
        key::{TransactionKey, TransactionRole},
        transaction::Transaction,
    },
    transport::{SipAddr, SipConnection, connection::KEEPALIVE_REQUEST},
};
use tokio::{
    net::TcpStream,
    time::{interval, timeout},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::telephony::trace::Tap;

use super::{
    config::{Peer, SipConfig, Transport, Trunk},
    listen::{can_send, prepare, sip_address},
    registrar::Target,
    server::{Shared, local_ip_towards},
    streams::{Opened, Reader, send},
};

/// The most addresses of a peer that are tried.
const MOST_TARGETS: usize = 16;
/// How long a connection, with its TLS handshake, may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How often a connection of ours is kept open through NAT (RFC 5626 §3.5.1).
const KEEP_OPEN: Duration = Duration::from_secs(90);

/// The way to a target.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// What carries the request.
    pub connection: SipConnection,
    /// Where the other side reaches us.
    pub told: SocketAddr,
}

/// What a request outside a call says.
pub(super) struct Outline<'a> {
    pub method: Method,
    /// Request URI.
    pub uri: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub cseq: u32,
    pub call_id: CallId,
    /// Of From.
    pub tag: Tag,
}

/// Sends requests outside calls.
pub(super) struct Outbound {
    pub shared: Arc<Shared>,
    pub endpoint: EndpointInnerRef,
    pub config: SipConfig,
    /// The UDP sockets.
    pub udp: Vec<(SocketAddr, SipConnection)>,
    pub dns: Dns,
    /// Connections that we have opened, one for each target.
    pub flows: Mutex<HashMap<(Transport, SocketAddr), SipConnection>>,
    pub stop: CancellationToken,
}

impl Outbound {
    /// The addresses of `peers`, in the order in which they are to be tried; or why there are none.
    pub async fn resolve(&self, peers: &[Peer]) -> Result<Vec<Target>, String> {
        let mut targets: Vec<Target> = Vec::new();
        let mut why = None;
        for peer in peers {
            let secure = peer.transport == Transport::Tls;
            let domain = Domain::from(peer.host.clone());
            match resolve_logic(&self.dns, &domain, peer.port.map(Into::into), Some(peer.transport.into()), secure).await {
                Ok(found) => {
                    for found in found {
                        let target = Target { address: found.addr, transport: peer.transport, host: peer.host.clone() };
                        if targets.len() < MOST_TARGETS && !targets.contains(&target) {
                            targets.push(target);
                        }
                    }
                }
                Err(error) => why = Some(error),
            }
        }
        if targets.is_empty() { Err(why.unwrap_or_else(|| "no address".to_owned())) } else { Ok(targets) }
    }

    /// The way to `target`; opens a connection where there is none.
    pub async fn way(&self, target: &Target, trunk: &Trunk) -> Result<Way, String> {
        let mut local = local_ip_towards(target.address).map_err(|e| e.to_string())?;
        let (connection, own_port) = if target.transport == Transport::Udp {
            let carries = |(own, _): &&(SocketAddr, SipConnection)| can_send(*own, local);
            // Where we listen at another address of this host only, that one: all answers come there.
            let of_family = |(own, _): &&(SocketAddr, SipConnection)| own.is_ipv4() == local.is_ipv4();
            let socket = self.udp.iter().find(carries).or_else(|| self.udp.iter().find(of_family));
            let (own, connection) = socket.ok_or_else(|| format!("no UDP socket of ours can send from {local}"))?;
            if !own.ip().is_unspecified() {
                local = own.ip();
            }
            (connection.clone(), own.port())
        } else {
            let connection = self.flow(target).await?;
            let own = connection.get_addr().get_socketaddr().map_err(|e| e.to_string())?;
            (connection, self.config.port_at(target.transport, local).unwrap_or(own.port()))
        };
        Ok(Way { connection, told: SocketAddr::new(self.config.told_address(local, trunk), own_port) })
    }

    async fn flow(&self, target: &Target) -> Result<SipConnection, String> {
        let key = (target.transport, target.address);
        {
            let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
            flows.retain(|_, flow| !is_gone(flow));
            if let Some(flow) = flows.get(&key) {
                return Ok(flow.clone());
            }
        }
        let opened = timeout(CONNECT_PATIENCE, self.connect(target)).await.map_err(|_| "no connection in time".to_owned())??;
        let connection = opened.connection.clone();
        let peer = target.address;
        let reader = Reader { shared: Arc::clone(&self.shared), endpoint: Arc::clone(&self.endpoint), peer, ours: true };
        tokio::spawn(async move {
            if let Err(error) = reader.run(opened).await {
                debug!(%peer, %error, "a connection of ours");
            }
        });
        tokio::spawn(keep_open(connection.clone()));
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).insert(key, connection.clone());
        Ok(connection)
    }

    async fn connect(&self, target: &Target) -> Result<Opened, String> {
        let stream = TcpStream::connect(target.address).await.map_err(|e| e.to_string())?;
        prepare(&stream).map_err(|e| e.to_string())?;
        let local = stream.local_addr().map_err(|e| e.to_string())?;
        let token = self.stop.child_token();
        if target.transport != Transport::Tls {
            return Opened::plain(stream, sip_address(Transport::Tcp, local), token).await.map_err(|e| e.to_string());
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
        let connector = TlsConnector::from(Arc::clone(&self.shared.tls.contexts().client));
        let stream = connector.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))?;
        Opened::encrypted(stream, local, target.address, token).await.map_err(|e| e.to_string())
    }

    /// A request that goes this way.
    pub fn request(&self, outline: Outline<'_>, way: &Way) -> Result<Request, String> {
        let uri = |text: &str| Uri::try_from(text).map_err(|e| format!("{text}: {e}"));
        let here = SipAddr { r#type: Some(way.connection.transport()), addr: way.told.into() };
        let via = self.endpoint.get_via(Some(here), None).map_err(|e| e.to_string())?;
        let from = typed::From { display_name: None, uri: uri(outline.from)?, params: vec![Param::Tag(outline.tag)] };
        let to = typed::To { display_name: None, uri: uri(outline.to)?, params: vec![] };
        Ok(self.endpoint.make_request(outline.method, uri(outline.uri)?, via, from, to, outline.cseq, Some(outline.call_id)))
    }

    /// Sends a request and waits for its final answer, at most `patience`.
    pub async fn ask(&self, request: Request, target: &Target, way: &Way, patience: Duration) -> Result<Response, String> {
        let key = TransactionKey::from_request(&request, TransactionRole::Client).map_err(|e| e.to_string())?;
        let mut transaction = Transaction::new_client(key, request, self.endpoint.clone(), Some(way.connection.clone()));
        transaction.destination = Some(sip_address(target.transport, target.address));
        let answer = async {
            transaction.send().await.map_err(|e| e.to_string())?;
            while let Some(message) = transaction.receive().await {
                match message {
                    SipMessage::Response(response) if response.status_code.kind() != StatusCodeKind::Provisional => return Ok(response),
                    _ => {}
                }
            }
            Err("no answer".to_owned())
        };
        timeout(patience, answer).await.unwrap_or_else(|_| Err("no answer".to_owned()))
    }
}

/// Has a connection been closed?
pub(super) fn is_gone(connection: &SipConnection) -> bool {
    connection.cancel_token().is_some_and(|token| token.is_cancelled())
}

/// Says a word now and then, so that no NAT on the way forgets the connection.
async fn keep_open(connection: SipConnection) {
    let Some(token) = connection.cancel_token() else { return };
    let mut often = interval(KEEP_OPEN);
    often.tick().await;
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            _ = often.tick() => {}
        }
        if let Err(error) = send(&connection, KEEPALIVE_REQUEST).await {
            debug!(%error, "a connection of ours is gone");
            return;
        }
    }
}

/// DNS, by the system's name servers or by those configured.
pub(super) enum Dns {
    Resolver(Box<TokioResolver>),
    /// The system's own library, without SRV.
    System,
}

impl Dns {
    /// Asks `servers`; the system's where there are none.
    pub fn new(servers: &[SocketAddr]) -> Self {
        let builder = if servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            let at = |server: &SocketAddr| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut c| {
                    c.port = server.port();
                    c
                });
                NameServerConfig::new(server.ip(), true, connections.into())
            };
            let config = ResolverConfig::from_parts(None, vec![], servers.iter().map(at).collect());
            Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        };
        let built = builder.and_then(|mut builder| {
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
            builder.build()
        });
        match built {
            Ok(resolver) => Self::Resolver(Box::new(resolver)),
            Err(error) => {
                warn!(%error, "DNS: the configuration of the system cannot be used; registrars are found without SRV records");
                Self::System
            }
        }
    }
}

#[async_trait::async_trait]
impl LookupSource for Dns {
    async fn lookup_srv(&self, name: &str) -> Result<Vec<SrvRecord>, String> {
        let Self::Resolver(resolver) = self else { return Err("no SRV".to_owned()) };
        let found = resolver.srv_lookup(name).await.map_err(|e| e.to_string())?;
        let record = |data: &RData| match data {
            // "." says that there is no such service (RFC 2782).
            RData::SRV(srv) if !srv.target.is_root() => Some(SrvRecord {
                target: srv.target.to_string().trim_end_matches('.').to_owned(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        };
        Ok(found.answers().iter().filter_map(|r| record(&r.data)).collect())
    }

    async fn lookup_a_aaaa(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match self {
            Self::Resolver(resolver) => Ok(resolver.lookup_ip(name).await.map_err(|e| e.to_string())?.iter().collect()),
            Self::System => Ok(tokio::net::lookup_host((name, 0)).await.map_err(|e| e.to_string())?.map(|a| a.ip()).collect()),
        }
    }
}

/// Writes into the Via of our requests where they really come from: the stack names its first
/// listener, whatever the family and the transport of the way.
pub(super) struct OwnVia {
    pub config: SipConfig,
    /// Hears what goes out, as it goes out, and what comes in.
    pub tap: Tap,
}

impl OwnVia {
    fn correct(&self, request: &mut Request, to: &SipAddr) -> Option<()> {
        if matches!(request.method, Method::Register | Method::Options) {
            // Ours outside calls: they say what they have to.
            return None;
        }
        let to = to.get_socketaddr().ok()?;
        let local = local_ip_towards(to).ok()?;
        let ip = self.config.external_address.filter(|external| external.is_ipv4() == local.is_ipv4()).unwrap_or(local);
        let via = request.via_header_mut().ok()?;
        let typed = via.first_value().ok()?.typed().ok()?;
        let port = self.config.port_at(typed.transport.try_into().ok()?, local)?;
        let told = SocketAddr::new(ip, port).into();
        if typed.uri.host_with_port == told {
            return Some(());
        }
        via.update_first_value(|_| {
            let mut corrected = typed;
            corrected.uri.host_with_port = told;
            Ok(corrected.into())
        })
        .ok()
    }
}

impl MessageInspector for OwnVia {
    fn before_send(&self, message: SipMessage, to: Option<&SipAddr>) -> SipMessage {
        let message = match (message, to) {
            (SipMessage::Request(mut request), Some(to)) => {
                self.correct(&mut request, to);
                SipMessage::Request(request)
            }
            (message, _) => message,
        };
        self.tap.before_send(message, to)
    }

    fn after_received(&self, message: SipMessage, from: Option<&SipAddr>) -> SipMessage {
        self.tap.after_received(message, from)
    }
}
