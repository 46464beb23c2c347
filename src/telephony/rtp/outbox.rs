//! Sends the packets of many calls at once: through io_uring where the system has it, one by one where not.
#![expect(unsafe_code, reason = "io_uring reads our memory while it works; see Outbox::submit")]

use std::os::fd::RawFd;

use io_uring::{IoUring, opcode, types};
use nix::{errno::Errno, sys::socket::MsgFlags};
use tracing::info;

use super::sender::MOST_BYTES;

/// Packets that go out together at the most.
const MOST: usize = 256;

/// A packet that waits to be sent on a connected socket.
struct Waiting {
    socket: RawFd,
    length: usize,
}

/// Packets that wait to be sent together: one system call for up to 256 of them.
pub(super) struct Outbox {
    ring: Option<IoUring>,
    waiting: Vec<Waiting>,
    /// The packets' bytes; never moved nor freed while the kernel may read them.
    bytes: Box<[[u8; MOST_BYTES]]>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(MOST as u32);
        if let Err(error) = &ring {
            info!(%error, "no io_uring: packets are sent one by one");
        }
        Self { ring: ring.ok(), waiting: Vec::with_capacity(MOST), bytes: vec![[0; MOST_BYTES]; MOST].into_boxed_slice() }
    }

    /// Takes a packet for a connected socket: `write` writes it and returns its length, 0 for none. The socket must stay
    /// open until [`Outbox::flush`]. Returns how many earlier packets the system refused, where it had to send.
    pub fn put(&mut self, socket: RawFd, write: impl FnOnce(&mut [u8; MOST_BYTES]) -> usize) -> u64 {
        let refused = if self.waiting.len() >= MOST { self.flush() } else { 0 };
        if let Some(buffer) = self.bytes.get_mut(self.waiting.len()) {
            let length = write(buffer).min(MOST_BYTES);
            if length > 0 {
                self.waiting.push(Waiting { socket, length });
            }
        }
        refused
    }

    /// Sends what waits; returns how many packets the system refused.
    pub fn flush(&mut self) -> u64 {
        if self.waiting.is_empty() {
            return 0;
        }
        let refused = match self.ring.as_mut().map(|ring| Self::submit(ring, &self.waiting, &self.bytes)) {
            Some(Ok(refused)) => refused,
            Some(Err(error)) => {
                info!(%error, "io_uring has failed: packets are sent one by one from now on");
                self.ring = None;
                self.waiting.len() as u64
            }
            None => self.send_one_by_one(),
        };
        self.waiting.clear();
        refused
    }

    fn send_one_by_one(&self) -> u64 {
        let send = |(packet, bytes): (&Waiting, &[u8; MOST_BYTES])| {
            let bytes = bytes.get(..packet.length).unwrap_or_default();
            nix::sys::socket::send(packet.socket, bytes, MsgFlags::MSG_DONTWAIT)
        };
        self.waiting.iter().zip(&self.bytes).map(send).filter(Result::is_err).count() as u64
    }

    fn submit(ring: &mut IoUring, waiting: &[Waiting], bytes: &[[u8; MOST_BYTES]]) -> std::io::Result<u64> {
        let mut queue = ring.submission();
        for (packet, bytes) in waiting.iter().zip(bytes) {
            let entry = opcode::Send::new(types::Fd(packet.socket), bytes.as_ptr(), packet.length as u32)
                .flags(MsgFlags::MSG_DONTWAIT.bits())
                .build();
            // SAFETY: the kernel reads `bytes` until the send's completion is seen. All completions are
            // waited for below, before anyone can write to `bytes` again; and they live as long as the ring.
            // The queue has room for `MOST` entries, and never more wait.
            unsafe { queue.push(&entry) }.map_err(|_| std::io::Error::other("the submission queue is full"))?;
        }
        drop(queue);
        let (mut seen, mut refused) = (0, 0);
        let mut submitted = false;
        while seen < waiting.len() {
            // Without waiting for a peer: a send that cannot be done at once fails (MSG_DONTWAIT).
            match ring.submit_and_wait(waiting.len() - seen) {
                Ok(_) => submitted = true,
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                // Before anything was submitted the kernel reads nothing of ours.
                Err(error) if !submitted => return Err(error),
                Err(_) => {}
            }
            for completion in ring.completion() {
                seen += 1;
                refused += u64::from(completion.result() < 0);
            }
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, UdpSocket},
        os::fd::AsRawFd,
        time::Duration,
    };

    use super::*;

    fn exchange(mut outbox: Outbox) {
        let (ear, mouth, deaf) = (bound(), bound(), bound());
        mouth.connect(ear.local_addr().unwrap()).unwrap();
        ear.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut refused = 0;
        for n in 0..600_usize {
            refused += outbox.put(mouth.as_raw_fd(), |buffer| {
                buffer[..2].copy_from_slice(&(n as u16).to_be_bytes());
                2 + n % 300
            });
            if n % 200 == 199 {
                refused += outbox.flush();
                for sent in n - 199..=n {
                    let mut buffer = [0; 1_000];
                    let length = ear.recv(&mut buffer).unwrap();
                    assert_eq!((length, u16::from_be_bytes([buffer[0], buffer[1]])), (2 + sent % 300, sent as u16));
                }
            }
        }
        assert_eq!(refused, 0);
        // Not connected: there is nowhere to send.
        outbox.put(deaf.as_raw_fd(), |_| 10);
        assert_eq!((outbox.flush(), outbox.flush()), (1, 0));
    }

    fn bound() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
    }

    #[test]
    fn packets_arrive_in_order_and_refusals_are_counted() {
        exchange(Outbox::new());
    }

    #[test]
    fn without_io_uring_it_is_the_same() {
        exchange(Outbox { ring: None, ..Outbox::new() });
    }
}
