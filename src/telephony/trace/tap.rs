//! Where the trace listens: the stack shows it every message that it parses or sends.

use std::net::{Ipv4Addr, SocketAddr};

use rsipstack::{
    sip::{HeadersExt, Request, SipMessage, Transport},
    transaction::endpoint::MessageInspector,
    transport::{SipAddr, SipConnection},
};

use super::{Packet, Trace};
use crate::{
    ops::clock::Clock,
    telephony::{call::IncomingCall, sip::server::local_ip_towards},
};

/// Listens to a SIP endpoint. Repetitions that the stack answers from its memory are not shown to it.
#[derive(Debug, Clone)]
pub struct Tap {
    /// Where what is heard goes.
    pub trace: Trace,
    /// Tells when.
    pub clock: Clock,
    /// Where we listen.
    pub listeners: Vec<(Transport, SocketAddr)>,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Tap {
    /// A call that has come in: whether it is traced is known only now, when its INVITE has gone by.
    pub fn begins(&self, call: &IncomingCall, invite: &Request) {
        if self.trace.is_on() && self.trace.choose(call) {
            let via = invite.via_header().ok().and_then(|via| SipConnection::parse_target_from_via(via).ok());
            let transport = via.map_or(Transport::Udp, |(transport, _)| transport);
            self.write(&SipMessage::Request(invite.clone()), Way::In, transport, call.peer, call.sip_call_id.clone());
        }
    }

    fn hear(&self, message: &SipMessage, way: Way, peer: Option<&SipAddr>) {
        let Some(call_id) = message.header_value("Call-ID").filter(|id| self.trace.traces(id)) else { return };
        // An answer goes where its topmost Via says.
        let by_via = message.via_header().ok().and_then(|via| SipConnection::parse_target_from_via(via).ok());
        let told = peer.map(|peer| (peer.r#type.or(by_via.as_ref().map(|(t, _)| *t)).unwrap_or_default(), peer.addr.clone()));
        let Some((transport, address)) = told.or(by_via) else { return };
        let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        self.write(message, way, transport, SocketAddr::try_from(address).unwrap_or(unknown), call_id);
    }

    fn write(&self, message: &SipMessage, way: Way, transport: Transport, peer: SocketAddr, call_id: String) {
        let ours = self.ours(transport, peer);
        let (source, destination) = if way == Way::In { (peer, ours) } else { (ours, peer) };
        let packet = Packet::new(self.clock.now(), transport != Transport::Udp, source, destination, call_id, &message.to_bytes());
        self.trace.write(packet);
    }

    /// Our own end of a message from or to `peer`.
    fn ours(&self, transport: Transport, peer: SocketAddr) -> SocketAddr {
        let listener = self.listeners.iter().find(|(t, a)| *t == transport && a.is_ipv4() == peer.is_ipv4());
        let address = listener.or(self.listeners.first()).map_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0), |(_, a)| *a);
        let ip = if address.ip().is_unspecified() { local_ip_towards(peer).unwrap_or(address.ip()) } else { address.ip() };
        SocketAddr::new(ip.to_canonical(), address.port())
    }
}

impl MessageInspector for Tap {
    fn before_send(&self, message: SipMessage, to: Option<&SipAddr>) -> SipMessage {
        if self.trace.is_on() {
            self.hear(&message, Way::Out, to);
        }
        message
    }

    fn after_received(&self, message: SipMessage, from: Option<&SipAddr>) -> SipMessage {
        // Without a sender it is the stack's own, for a timeout.
        if self.trace.is_on() && from.is_some() {
            self.hear(&message, Way::In, from);
        }
        message
    }
}
