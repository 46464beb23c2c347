//! What the SIP endpoint is told at start.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{digest::Algorithm, sdp::SrtpPolicy};

use crate::telephony::{codec::Codec, trace::Trace};

/// Settings of the SIP endpoint.
#[derive(Debug, Clone)]
pub struct SipConfig {
    /// UDP addresses to listen on.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses to listen on.
    pub tcp: Vec<SocketAddr>,
    /// TLS: where to listen, and whom to trust.
    pub tls: TlsConfig,
    /// The address that peers reach us at, where NAT stands between.
    pub external_address: Option<IpAddr>,
    /// The realm that callers with a password are asked for (RFC 3261 §22.1).
    pub realm: String,
    /// The digests that they are offered, the preferred one first. Some callers see only the first.
    pub digests: Vec<Algorithm>,
    /// Name servers to ask; the system's where there are none.
    pub dns: Vec<SocketAddr>,
    /// RTP ports; each call takes an even one.
    pub rtp_ports: RangeInclusive<u16>,
    /// Media threads.
    pub media_threads: usize,
    /// Calls at once; one more is answered 503.
    pub max_calls: usize,
    /// The longest call.
    pub max_call: Duration,
    /// A caller who was heard and then is not for so long is gone.
    pub dead_media: Duration,
    /// Who may call.
    pub trunks: Vec<Trunk>,
    /// Writes SIP down where that is asked for; it can be switched later.
    pub trace: Trace,
}

/// TLS: where to listen, our certificate, and whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Addresses to listen on; needs a certificate.
    pub listen: Vec<SocketAddr>,
    /// Our certificate with its chain (PEM). Shown to callers, and to servers that ask for one.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// Who signs the certificates that we accept (PEM); the system's list where not told.
    pub ca: Option<PathBuf>,
    /// Do callers have to show a certificate of `ca`?
    pub clients: ClientCertificates,
}

/// Mutual TLS: whether who connects to us shows a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// It is not asked for one.
    #[default]
    Off,
    /// It may show one; a bad one is refused.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// A provider's trunk: recognised by where its packets come from, by the registrar that we register
/// at, or by a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Name, for logs, metrics and CDRs.
    pub name: String,
    /// Addresses and networks of its signalling. With `users`: where they may call from.
    pub sources: Vec<IpNet>,
    /// Called numbers of its own: where several trunks share a source, a call to one of them is this one's.
    pub numbers: Vec<String>,
    /// New calls a second.
    pub calls_per_second: u32,
    /// Calls at once; `None` for as many as there is room for.
    pub max_calls: Option<usize>,
    /// Does NAT stand between it and us, where there is an `external_address`?
    pub nat: bool,
    /// Codecs that it may use, the preferred one first.
    pub codecs: Vec<Codec>,
    /// Is its media encrypted?
    pub srtp: SrtpPolicy,
    /// The account that we register with it.
    pub register: Option<Register>,
    /// Who may call with a password; where there is anyone, nobody may without.
    pub users: Vec<User>,
    /// Whom we ask whether they are alive.
    pub keepalive: Option<KeepAlive>,
}

impl Default for Trunk {
    /// A trunk that nobody is recognised by.
    fn default() -> Self {
        Self {
            name: "trunk".to_owned(),
            sources: Vec::new(),
            numbers: Vec::new(),
            calls_per_second: 100,
            max_calls: None,
            nat: true,
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            srtp: SrtpPolicy::default(),
            register: None,
            users: Vec::new(),
            keepalive: None,
        }
    }
}

impl Trunk {
    /// Is a call to `called` this trunk's, where several trunks share a source?
    pub fn is_own_number(&self, called: &str) -> bool {
        self.numbers.iter().any(|number| number == called) || self.register.as_ref().is_some_and(|account| account.contact_user() == called)
    }
}

/// The account that we register with a provider (RFC 3261 §10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The registrars, the preferred one first.
    pub registrars: Vec<Peer>,
    /// The domain of the account: `sip:user@domain`.
    pub domain: String,
    /// The user part of the account.
    pub user: String,
    /// The user part of our Contact, where it is another than `user`: many providers call it.
    pub contact_user: Option<String>,
    /// The name for the password, where it is another than `user`.
    pub auth_user: Option<String>,
    /// The password.
    pub password: Secret,
    /// For how long we ask to be registered.
    pub expires: Duration,
}

impl Register {
    /// The user part of our Contact.
    pub fn contact_user(&self) -> &str {
        self.contact_user.as_ref().unwrap_or(&self.user)
    }
}

/// A caller's name and password (digest, RFC 8760).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name, unique among all trunks.
    pub name: String,
    /// Password.
    pub password: Secret,
}

/// Whom we ask by OPTIONS whether they are alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepAlive {
    /// How often.
    pub every: Duration,
    /// After so many unanswered ones the peer counts as dead.
    pub misses: u32,
    /// Whom.
    pub peers: Vec<Peer>,
}

/// How a message travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// UDP.
    #[default]
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl Transport {
    /// As it stands in a Via.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }
}

impl From<Transport> for rsipstack::sip::Transport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Udp => Self::Udp,
            Transport::Tcp => Self::Tcp,
            Transport::Tls => Self::Tls,
        }
    }
}

/// The stack's transports that we do not speak are none.
impl TryFrom<rsipstack::sip::Transport> for Transport {
    type Error = ();

    fn try_from(transport: rsipstack::sip::Transport) -> Result<Self, ()> {
        match transport {
            rsipstack::sip::Transport::Udp => Ok(Self::Udp),
            rsipstack::sip::Transport::Tcp => Ok(Self::Tcp),
            rsipstack::sip::Transport::Tls => Ok(Self::Tls),
            _ => Err(()),
        }
    }
}

/// Somebody to send requests to, by name: where it is, DNS says (RFC 3263).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Domain, host or address.
    pub host: String,
    /// Port; without one, SRV records are asked for, then the transport's own port is taken.
    pub port: Option<u16>,
    /// Transport.
    pub transport: Transport,
}

impl Peer {
    /// Reads `host`, `host:port`, `[2001:db8::1]:5060` or `sip:host:port;transport=tcp` (also `sips:`);
    /// `usual` is the transport where the text names none.
    pub fn parse(text: &str, usual: Transport) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no host, host:port or SIP URI");
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if matches!(scheme, "sip" | "sips") => (Some(scheme), rest),
            _ => (None, text),
        };
        let (place, parameters) = rest.split_once(';').unwrap_or((rest, ""));
        let mut transport = if scheme == Some("sips") { Transport::Tls } else { usual };
        for parameter in parameters.split(';').filter(|p| !p.is_empty()) {
            transport = match parameter.to_ascii_lowercase().as_str() {
                "transport=udp" => Transport::Udp,
                "transport=tcp" => Transport::Tcp,
                "transport=tls" => Transport::Tls,
                _ => return Err(wrong()),
            };
        }
        if scheme == Some("sips") && transport != Transport::Tls {
            return Err(wrong());
        }
        let (host, port) = if let Some(rest) = place.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(wrong)?) })
        } else if place.parse::<std::net::Ipv6Addr>().is_ok() {
            (place, None)
        } else {
            place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
        };
        let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let fits = !host.is_empty() && host.len() <= 253 && (host.contains(':') || host.bytes().all(name));
        let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(wrong)).transpose()?;
        if fits { Ok(Self { host: host.to_owned(), port, transport }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.transport.name().to_ascii_lowercase())
    }
}

/// A password: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password, for a digest only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            udp: vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 5060)],
            tcp: vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 5060)],
            tls: TlsConfig::default(),
            external_address: None,
            realm: "voceguida".to_owned(),
            digests: vec![Algorithm::Sha256, Algorithm::Md5],
            dns: Vec::new(),
            rtp_ports: 20_000..=39_999,
            media_threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_calls: 1_000,
            max_call: Duration::from_mins(10),
            dead_media: Duration::from_mins(1),
            trunks: Vec::new(),
            trace: Trace::default(),
        }
    }
}

impl SipConfig {
    /// Where it listens over this transport.
    pub fn listening(&self, transport: Transport) -> &[SocketAddr] {
        match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
            Transport::Tls => &self.tls.listen,
        }
    }

    /// The port at which it can be reached over this transport at `local`, an address of this machine;
    /// `None` where it does not listen there.
    pub fn port_at(&self, transport: Transport, local: IpAddr) -> Option<u16> {
        let reached = |own: &&SocketAddr| own.ip() == local || (own.ip().is_unspecified() && own.is_ipv4() == local.is_ipv4());
        self.listening(transport).iter().find(reached).map(SocketAddr::port)
    }

    /// Do we connect to anybody by TLS?
    pub fn connects_by_tls(&self) -> bool {
        let registrars = self.trunks.iter().filter_map(|t| t.register.as_ref()).flat_map(|r| &r.registrars);
        let peers = self.trunks.iter().filter_map(|t| t.keepalive.as_ref()).flat_map(|k| &k.peers);
        registrars.chain(peers).any(|peer| peer.transport == Transport::Tls)
    }

    /// Our address `local` as `trunk` is to be told it: the external one, if it is of the same family
    /// and NAT stands before this trunk.
    pub fn told_address(&self, local: IpAddr, trunk: &Trunk) -> IpAddr {
        self.external_address.filter(|external| trunk.nat && external.is_ipv4() == local.is_ipv4()).unwrap_or(local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_in_their_many_spellings() {
        let read = |text: &str| Peer::parse(text, Transport::Udp).map_or_else(|e| e, |p| p.to_string());
        let texts = [
            "sip.example.it",
            "sip.example.it:5070",
            "203.0.113.4",
            "[2001:db8::1]:5061",
            "2001:db8::1",
            "sip:sip.example.it",
            "sip:203.0.113.4:5080;transport=TCP",
            "sips:sip.example.it",
            "sips:sip.example.it;transport=udp",
            "sip:user@example.it",
            "sip.example.it:0",
            "sip.example.it:99999",
            "sip:x;lr",
            "",
            "[2001:db8::1",
            "a b",
        ];
        insta::assert_snapshot!(texts.map(|t| format!("{t} → {}", read(t))).join("\n"));
    }

    #[test]
    fn a_trunk_is_told_the_address_on_its_side_of_the_nat() {
        let config = SipConfig { external_address: "198.51.100.7".parse().ok(), ..SipConfig::default() };
        let told = |local: &str, nat: bool| config.told_address(local.parse().unwrap(), &Trunk { nat, ..Trunk::default() }).to_string();
        assert_eq!(told("192.168.1.5", true), "198.51.100.7");
        assert_eq!(told("192.168.1.5", false), "192.168.1.5", "a neighbour needs no NAT");
        assert_eq!(told("2001:db8::5", true), "2001:db8::5", "no NAT between the families");
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("geheim")), "Secret(…)");
    }
}
