//! A socket filter in the kernel that lets a sample of the caller's audio through: pure, but for attaching it.
//!
//! A caller sends fifty packets a second, and of most of them the line wants to know nothing but that
//! they came. So the kernel drops them before they wake anybody: of the audio only two packets in 64
//! pass, one after the other, which is enough to see that the caller is there and to measure jitter. Keys, comfort
//! noise, RTCP and whatever else always pass. Dropped packets are counted by the socket (`SO_RXQ_OVFL`), so
//! that loss is still known exactly.

use std::{io, net::UdpSocket};

use socket2::{SockFilter, SockRef};

/// Of so many packets of audio …
pub const OF: u16 = 64;
/// … this many pass: those whose sequence number modulo [`OF`] is below it.
pub const PASS: u16 = 2;

// Classic BPF (Linux: Documentation/networking/filter.rst).
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// A socket filter sees a UDP datagram from its header on.
const RTP: u32 = 8;

/// The program for a stream whose audio has this payload type, as (code, jump if true, jump if false, operand).
pub fn program(payload_type: u8) -> [(u16, u8, u8, u32); 11] {
    [
        // Version 2 in the first octet's upper bits, or it is no RTP: let it pass, the line itself decides.
        (LOAD_BYTE, 0, 0, RTP),
        (AND, 0, 0, 0xc0),
        (JUMP_EQUAL, 0, 6, 0x80),
        // The payload type, below the marker bit: anything but audio passes.
        (LOAD_BYTE, 0, 0, RTP + 1),
        (AND, 0, 0, 0x7f),
        (JUMP_EQUAL, 0, 3, u32::from(payload_type)),
        // The sequence number.
        (LOAD_HALF, 0, 0, RTP + 2),
        (AND, 0, 0, u32::from(OF - 1)),
        (JUMP_AT_LEAST, 1, 0, u32::from(PASS)),
        (RETURN, 0, 0, u32::MAX),
        (RETURN, 0, 0, 0),
    ]
}

/// Lets only a sample of this payload type through from now on.
pub fn attach(socket: &UdpSocket, payload_type: u8) -> io::Result<()> {
    let filter = program(payload_type).map(|(code, jump_true, jump_false, operand)| SockFilter::new(code, jump_true, jump_false, operand));
    SockRef::from(socket).attach_filter(&filter)
}

/// Lets everything through again.
pub fn detach(socket: &UdpSocket) {
    // Fails where there is none, and then there is nothing to do.
    let _ = SockRef::from(socket).detach_filter();
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    fn packet(payload_type: u8, marker: bool, sequence: u16) -> Vec<u8> {
        let mut bytes = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
        bytes.extend(sequence.to_be_bytes());
        bytes.resize(172, 0);
        bytes
    }

    #[test]
    fn the_kernel_lets_keys_and_a_sample_of_the_audio_through() {
        let (line, caller) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        line.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        attach(&line, 8).unwrap();
        let to = line.local_addr().unwrap();
        for sequence in 65_530..=65_535 {
            caller.send_to(&packet(8, false, sequence), to).unwrap();
        }
        for sequence in 0..130 {
            caller.send_to(&packet(8, sequence % 2 == 0, sequence), to).unwrap();
        }
        for other in [packet(101, true, 70), packet(13, false, 71), packet(8 | 0x40, false, 9), b"x".to_vec(), vec![0; 20]] {
            caller.send_to(&other, to).unwrap();
        }
        let mut heard = Vec::new();
        let mut buffer = [0; 500];
        while let Ok(length) = line.recv(&mut buffer) {
            heard.push((buffer[1] & 0x7f, buffer[..length].get(2..4).map(|s| u16::from_be_bytes([s[0], s[1]]))));
        }
        assert_eq!(
            heard[..8],
            [(8, Some(0)), (8, Some(1)), (8, Some(64)), (8, Some(65)), (8, Some(128)), (8, Some(129)), (101, Some(70)), (13, Some(71))]
        );
        assert_eq!(heard.len(), 11, "and what is no such audio at all: {heard:?}");
        detach(&line);
        caller.send_to(&packet(8, false, 7), to).unwrap();
        assert_eq!(line.recv(&mut buffer).unwrap(), 172);
    }
}
