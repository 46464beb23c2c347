//! What the SIP endpoint is told at start.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use ipnet::IpNet;

use crate::telephony::trace::Trace;

/// Settings of the SIP endpoint.
#[derive(Debug, Clone)]
pub struct SipConfig {
    /// UDP addresses to listen on.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses to listen on.
    pub tcp: Vec<SocketAddr>,
    /// The address that peers reach us at, where NAT stands between.
    pub external_address: Option<IpAddr>,
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

/// A provider's trunk, recognised by where its packets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Name, for logs and CDRs.
    pub name: String,
    /// Addresses and networks of its signalling.
    pub sources: Vec<IpNet>,
    /// New calls a second.
    pub calls_per_second: u32,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            udp: vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 5060)],
            tcp: vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 5060)],
            external_address: None,
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
    /// The trunk whose calls come from `source`.
    pub fn trunk_of(&self, source: IpAddr) -> Option<&Trunk> {
        let source = source.to_canonical();
        self.trunks.iter().find(|trunk| trunk.sources.iter().any(|net| net.contains(&source)))
    }
}
