//! The classic capture file (libpcap, version 2.4), which Wireshark and sngrep open: pure.
//!
//! What came over TCP or TLS is written as UDP too: one message a packet, readable, without the streams.

use std::net::IpAddr;

use etherparse::PacketBuilder;

use super::Packet;

/// Microseconds, in the byte order of whoever writes: here always little-endian.
const MAGIC: u32 = 0xa1b2_c3d4;
/// Packets begin with the IP header (`LINKTYPE_RAW`).
const RAW_IP: u32 = 101;
/// The longest packet.
const SNAPLEN: u32 = 65_535;
/// Time to live of the packets, which never travel.
const TTL: u8 = 64;

/// The beginning of a file.
pub fn header() -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&2u16.to_le_bytes());
    out.extend_from_slice(&4u16.to_le_bytes());
    // Time zone and accuracy, which nobody uses.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&SNAPLEN.to_le_bytes());
    out.extend_from_slice(&RAW_IP.to_le_bytes());
    out
}

/// One message as a record of the file.
pub fn record(packet: &Packet) -> Vec<u8> {
    let (source, destination) = packet.ends();
    let builder = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TTL),
        (from, to) => PacketBuilder::ipv6(v6(from), v6(to), TTL),
    };
    let mut data = Vec::with_capacity(packet.payload.len() + 48);
    if builder.udp(source.port(), destination.port()).write(&mut data, &packet.payload).is_err() {
        // Too long for a datagram, which its payload is not.
        return Vec::new();
    }
    let length = (data.len() as u32).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend_from_slice(&packet.seconds().to_le_bytes());
    out.extend_from_slice(&packet.micros().to_le_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(&length);
    out.extend_from_slice(&data);
    out
}

fn v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_it_says() {
        let at = "2026-10-12T16:30:00.000250Z".parse().unwrap();
        for (from, to, headers) in [("192.0.2.9:5060", "192.0.2.1:5060", 28), ("[2001:db8::9]:5060", "[2001:db8::1]:5060", 48)] {
            let packet = Packet::new(at, false, from.parse().unwrap(), to.parse().unwrap(), String::new(), b"OPTIONS");
            let record = record(&packet);
            assert_eq!(record.len(), 16 + headers + 7);
            assert_eq!(record[4..8], [250, 0, 0, 0]);
            assert_eq!(record[8..12], ((headers + 7) as u32).to_le_bytes());
            assert!(record.ends_with(b"OPTIONS"));
        }
        assert_eq!(header().len(), 24);
    }
}
