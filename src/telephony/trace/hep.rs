//! HEP version 3, as Homer's collectors take it (HEP/EEP, "Extensible Encapsulation Protocol", revision 36): pure.

use std::net::IpAddr;

use super::Packet;

/// Everything in here is defined by the protocol itself.
const GENERIC: u16 = 0x0000;
/// `AF_INET` and `AF_INET6`, as HEP has them.
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The payload is SIP.
const SIP: u8 = 1;
/// The header before the chunks: `HEP3` and the length of all.
const HEADER: usize = 6;
/// The header of a chunk: vendor, type, length.
const CHUNK: usize = 6;

/// Who sends to the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its number at the collector.
    pub node: u32,
    /// Its key, where the collector wants one.
    pub key: Option<String>,
}

/// One message as a datagram for the collector.
pub fn encode(packet: &Packet, agent: &Agent) -> Vec<u8> {
    let mut out = Vec::with_capacity(packet.payload.len() + 160);
    out.extend_from_slice(b"HEP3\0\0");
    let (source, destination) = packet.ends();
    chunk(&mut out, 0x0001, &[if source.is_ipv4() { IPV4 } else { IPV6 }]);
    chunk(&mut out, 0x0002, &[packet.protocol()]);
    let (first, second) = if source.is_ipv4() { (0x0003, 0x0004) } else { (0x0005, 0x0006) };
    for (kind, end) in [(first, source), (second, destination)] {
        match end.ip() {
            IpAddr::V4(ip) => chunk(&mut out, kind, &ip.octets()),
            IpAddr::V6(ip) => chunk(&mut out, kind, &ip.octets()),
        }
    }
    chunk(&mut out, 0x0007, &source.port().to_be_bytes());
    chunk(&mut out, 0x0008, &destination.port().to_be_bytes());
    chunk(&mut out, 0x0009, &packet.seconds().to_be_bytes());
    chunk(&mut out, 0x000a, &packet.micros().to_be_bytes());
    chunk(&mut out, 0x000b, &[SIP]);
    chunk(&mut out, 0x000c, &agent.node.to_be_bytes());
    if let Some(key) = &agent.key {
        chunk(&mut out, 0x000e, short(key.as_bytes()));
    }
    // Joins what belongs to one call, also with what other elements report of it.
    chunk(&mut out, 0x0011, short(packet.call_id.as_bytes()));
    chunk(&mut out, 0x000f, &packet.payload);
    let length = (out.len() as u16).to_be_bytes();
    out[HEADER - length.len()..HEADER].copy_from_slice(&length);
    out
}

/// Far more than a Call-ID or a key needs, and far less than a datagram holds.
fn short(text: &[u8]) -> &[u8] {
    &text[..text.len().min(256)]
}

fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&GENERIC.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&((CHUNK + value.len()) as u16).to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::telephony::trace::LONGEST_PAYLOAD;

    fn packet(source: &str, destination: &str, payload: &[u8]) -> Packet {
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        let at = "2026-10-12T16:30:00.000250Z".parse().unwrap();
        Packet::new(at, false, end(source), end(destination), "a@b".into(), payload)
    }

    /// The chunks of a datagram: type and value.
    fn chunks(datagram: &[u8]) -> Vec<(u16, Vec<u8>)> {
        assert_eq!(&datagram[..4], b"HEP3");
        assert_eq!(usize::from(u16::from_be_bytes([datagram[4], datagram[5]])), datagram.len());
        let (mut rest, mut list) = (&datagram[6..], Vec::new());
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
            assert_eq!(&rest[..2], [0, 0]);
            list.push((u16::from_be_bytes([rest[2], rest[3]]), rest[6..length].to_vec()));
            rest = &rest[length..];
        }
        list
    }

    #[test]
    fn a_message_in_chunks() {
        let agent = Agent { node: 2_001, key: Some("secret".into()) };
        let datagram = encode(&packet("192.0.2.9:5060", "192.0.2.1:5080", b"OPTIONS"), &agent);
        let value = |kind| chunks(&datagram).into_iter().find(|(k, _)| *k == kind).map(|(_, v)| v);
        assert_eq!(value(0x0001), Some(vec![2]));
        assert_eq!((value(0x0003), value(0x0004)), (Some(vec![192, 0, 2, 9]), Some(vec![192, 0, 2, 1])));
        assert_eq!((value(0x0007), value(0x0008)), (Some(vec![0x13, 0xc4]), Some(vec![0x13, 0xd8])));
        assert_eq!((value(0x000a), value(0x000c)), (Some(vec![0, 0, 0, 250]), Some(vec![0, 0, 7, 0xd1])));
        assert_eq!(
            (value(0x000e), value(0x0011), value(0x000f)),
            (Some(b"secret".to_vec()), Some(b"a@b".to_vec()), Some(b"OPTIONS".to_vec()))
        );
        let six = encode(&packet("[2001:db8::9]:5060", "192.0.2.1:5060", b""), &Agent { node: 1, key: None });
        let kinds: Vec<_> = chunks(&six).into_iter().map(|(kind, value)| (kind, value.len())).collect();
        assert_eq!(kinds[..4], [(1, 1), (2, 1), (5, 16), (6, 16)], "a mixed pair is shown as IPv6");
    }

    #[test]
    fn the_longest_message_still_fits_into_a_datagram() {
        let mut long = packet("192.0.2.9:5060", "192.0.2.1:5060", &vec![b'x'; 70_000]);
        long.call_id = "c".repeat(70_000);
        let datagram = encode(&long, &Agent { node: 1, key: Some("k".repeat(1_000)) });
        assert!(datagram.len() < 65_507, "{}", datagram.len());
        assert_eq!(chunks(&datagram).last().map(|(_, v)| v.len()), Some(LONGEST_PAYLOAD));
    }
}
