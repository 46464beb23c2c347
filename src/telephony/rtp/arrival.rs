//! Datagrams as the kernel took them in: when, and how many it dropped before.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};

/// A datagram as the kernel took it in.
pub(super) struct Arrival {
    pub length: usize,
    pub from: Option<SocketAddr>,
    /// How many the socket had dropped before it; wraps around.
    pub dropped: Option<u32>,
    /// When it came, in µs since 1970.
    pub at_micros: Option<u64>,
}

/// Asks the kernel to note when each datagram came, and how many it has dropped before.
pub(super) fn announce(socket: &UdpSocket) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(socket, sockopt::RxqOvfl, &1)?;
    Ok(())
}

/// Takes the next datagram that waits in a socket.
pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Arrival> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut control = [0; 128];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let from = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|a| SocketAddr::new(IpAddr::V4(a.ip()), a.port()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| SocketAddr::new(IpAddr::V6(a.ip()), a.port())))
    });
    let mut arrival = Arrival { length: message.bytes, from, dropped: None, at_micros: None };
    for one in message.cmsgs().into_iter().flatten() {
        match one {
            ControlMessageOwned::RxqOvfl(dropped) => arrival.dropped = Some(dropped),
            ControlMessageOwned::ScmTimestampns(at) => {
                arrival.at_micros = Some(at.tv_sec() as u64 * 1_000_000 + at.tv_nsec() as u64 / 1_000);
            }
            _ => {}
        }
    }
    Ok(arrival)
}
