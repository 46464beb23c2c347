//! RTP ports: each call has an even one of its own (RFC 3550 §11).

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use socket2::{Domain, SockRef, Socket, Type};

/// The ports that calls may use. The odd one beside each is left free, for RTCP.
#[derive(Debug)]
pub struct PortPool {
    first: u16,
    count: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: usize,
    used: HashSet<u16>,
}

/// A bound socket on a port of the pool; the port goes back when this is dropped.
#[derive(Debug)]
pub struct Port {
    /// The socket, non-blocking; nobody else can bind its port.
    pub socket: UdpSocket,
    /// Its port.
    pub number: u16,
    pool: Arc<PortPool>,
}

impl PortPool {
    /// The even ports of `range` whose odd neighbour is in it too.
    pub fn new(range: &RangeInclusive<u16>) -> Arc<Self> {
        let first = range.start().checked_add(range.start() % 2).unwrap_or(u16::MAX);
        let count = (usize::from(*range.end()) + 1).saturating_sub(usize::from(first)) / 2;
        Arc::new(Self { first, count, state: Mutex::default() })
    }

    /// How many calls there are ports for.
    pub fn capacity(&self) -> usize {
        self.count
    }

    /// Binds a free port on `ip`. Ports are taken in turn, so that late packets of a call that has
    /// just ended do not meet the next one. Ports that another program holds are passed over.
    pub fn bind(self: &Arc<Self>, ip: IpAddr) -> io::Result<Port> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.count {
            let number = self.first + 2 * (state.next as u16);
            state.next = (state.next + 1) % self.count;
            if state.used.contains(&number) {
                continue;
            }
            match UdpSocket::bind(SocketAddr::new(ip, number)) {
                Ok(socket) => {
                    socket.set_nonblocking(true)?;
                    state.used.insert(number);
                    return Ok(Port { socket, number, pool: Arc::clone(self) });
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "all RTP ports are in use"))
    }
}

impl Port {
    /// A second socket on the same port. Once the first one is connected to a peer, the kernel hands
    /// that peer's packets to the first and everyone else's to this one.
    pub fn beside(&self) -> io::Result<UdpSocket> {
        let address = self.socket.local_addr()?;
        SockRef::from(&self.socket).set_reuse_port(true)?;
        let second = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        second.set_nonblocking(true)?;
        second.set_reuse_port(true)?;
        let bound = second.bind(&address.into());
        // From here on nobody else may come beside us.
        SockRef::from(&self.socket).set_reuse_port(false)?;
        second.set_reuse_port(false)?;
        bound?;
        Ok(second.into())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.pool.state.lock().unwrap_or_else(PoisonError::into_inner).used.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    #[test]
    fn even_ports_in_turn_each_once() {
        let pool = PortPool::new(&(42_001..=42_007));
        assert_eq!(pool.capacity(), 3);
        let bind = || pool.bind(Ipv4Addr::LOCALHOST.into());
        let (a, b, c) = (bind().unwrap(), bind().unwrap(), bind().unwrap());
        assert_eq!([a.number, b.number, c.number], [42_002, 42_004, 42_006]);
        assert!(bind().is_err());
        drop(b);
        assert_eq!(bind().unwrap().number, 42_004);
    }

    #[test]
    fn the_peer_is_told_from_everyone_else_and_nobody_else_shares_the_port() {
        let pool = PortPool::new(&(42_100..=42_101));
        let port = pool.bind(Ipv4Addr::LOCALHOST.into()).unwrap();
        let address = port.socket.local_addr().unwrap();
        let socket = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (peer, stranger) = (socket(), socket());
        port.socket.connect(peer.local_addr().unwrap()).unwrap();
        let beside = port.beside().unwrap();
        assert!(UdpSocket::bind(address).is_err());
        stranger.send_to(b"stranger", address).unwrap();
        peer.send_to(b"peer", address).unwrap();
        let heard = |socket: &UdpSocket| {
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut buffer = [0; 20];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!((heard(&port.socket), heard(&beside)), ("peer".to_owned(), "stranger".to_owned()));
        beside.send_to(b"back", stranger.local_addr().unwrap()).unwrap();
        assert_eq!(stranger.recv_from(&mut [0; 20]).unwrap().1, address, "both speak from the same port");
    }

    #[test]
    fn a_range_without_an_even_pair_has_no_ports() {
        assert_eq!(PortPool::new(&(65_535..=65_535)).capacity(), 0);
        assert!(PortPool::new(&(65_535..=65_535)).bind(Ipv4Addr::LOCALHOST.into()).is_err());
    }
}
