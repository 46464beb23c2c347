//! Datagrams that the system has dropped unread, because the buffer of a socket of ours was full.

use std::{fs, io, os::fd::AsRawFd};

use tracing::debug;

/// The sockets that are watched, by their numbers in the system's tables.
#[derive(Debug, Default)]
pub(super) struct Unread {
    inodes: Vec<u64>,
}

impl Unread {
    /// Watches these sockets.
    pub fn of<'a, S: AsRawFd + 'a>(sockets: impl Iterator<Item = &'a S>) -> Self {
        let inode = |socket: &S| {
            let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        };
        Self { inodes: sockets.filter_map(inode).collect() }
    }

    /// How many so far, since the sockets were opened. Reads the system's whole table: for a look now and then.
    pub fn count(&self) -> u64 {
        let of = |path: &str| {
            let found = fs::read_to_string(path).map(|table| dropped(&table, &self.inodes));
            found.unwrap_or_else(|error: io::Error| {
                debug!(path, %error, "no table of sockets");
                0
            })
        };
        of("/proc/self/net/udp") + of("/proc/self/net/udp6")
    }
}

/// The drops of these sockets in a table of the system's (Linux, proc(5): `/proc/net/udp`): the inode is the tenth column, the drops are the last.
fn dropped(table: &str, inodes: &[u64]) -> u64 {
    let of_line = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let inode = columns.nth(9)?.parse().ok()?;
        if inodes.contains(&inode) { columns.next_back()?.parse::<u64>().ok() } else { None }
    };
    table.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    const TABLE: &str =
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  449: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 812345 2 0000000000000000 17
  450: 0100007F:13C5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 812346 2 0000000000000000 4
  bad line
";

    #[test]
    fn only_our_sockets_count() {
        assert_eq!(dropped(TABLE, &[812_345]), 17);
        assert_eq!(dropped(TABLE, &[812_345, 812_346]), 21);
        assert_eq!((dropped(TABLE, &[]), dropped("", &[1]), dropped(TABLE, &[449])), (0, 0, 0));
    }

    #[test]
    fn what_a_full_socket_loses_is_seen() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
        let unread = Unread::of([&socket].into_iter());
        assert_eq!(unread.count(), 0);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[0; 1_000], socket.local_addr().unwrap()).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let mut read = 0;
        while socket.recv(&mut [0; 2_000]).is_ok() {
            read += 1;
        }
        assert_eq!(unread.count(), 100 - read);
        assert!(read < 100);
    }
}
