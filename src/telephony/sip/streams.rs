//! The door on TCP: what comes in on its connections.
//!
//! The stack would read from a connection for as long as a byte comes in now and then, keep any number of them, and give a connection up
//! in silence over a message that it cannot read. So connections are taken in by [`super::listen`] and read here: a message has
//! to be whole within some seconds, and each one passes the [`Gate`](super::gate::Gate) as a datagram does. Sending is left to the stack.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rsipstack::{
    sip::{SipMessage, Transport},
    transaction::endpoint::EndpointInnerRef,
    transport::{SipAddr, SipConnection, connection::KEEPALIVE_RESPONSE, stream::StreamConnection as _, tcp::TcpConnection},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, ReadHalf},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    gate::Verdict,
    server::Shared,
    syntax::{
        Fault,
        frame::{Frame, LONGEST_HEAD, LONGEST_MESSAGE, frame, is_ping},
    },
};

/// A message that has begun is whole within this time, or the connection ends.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(10);
/// A connection on which nothing comes in for so long ends; the peer opens another when it needs one.
const IDLE: Duration = Duration::from_mins(10);
/// A peer that takes nothing for so long is gone.
const SEND_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read at once.
const CHUNK: usize = 4_096;

/// Reads one connection.
pub(super) struct Reader {
    pub shared: Arc<Shared>,
    pub endpoint: EndpointInnerRef,
    pub peer: SocketAddr,
}

/// Why a connection ends, other than by its peer's will.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stack(#[from] rsipstack::Error),
    #[error("no message within the time for one")]
    TooSlow,
    #[error("a message longer than any")]
    TooLong,
    #[error("a message without an end")]
    Broken,
}

impl Reader {
    /// Until the connection ends.
    pub async fn run(self, stream: TcpStream, local: SipAddr, token: CancellationToken) -> Result<(), Ended> {
        let socket = SockRef::from(&stream);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(SEND_PATIENCE))?;
        let connection = TcpConnection::from_stream(stream, local, Some(token.clone()))?;
        let half = connection.inner.read_half.lock().await.take();
        let ended = match half {
            Some(half) => tokio::select! {
                () = token.cancelled() => Ok(()),
                ended = self.read(half, &connection) => ended,
            },
            None => Ok(()),
        };
        // Requests inside its calls are sent elsewhere from now on.
        token.cancel();
        connection.close().await?;
        ended
    }

    async fn read(&self, mut half: ReadHalf<TcpStream>, connection: &TcpConnection) -> Result<(), Ended> {
        let (mut held, mut other) = (Vec::new(), Vec::new());
        let mut since = Instant::now();
        loop {
            let patience = since + if held.is_empty() { IDLE } else { MESSAGE_PATIENCE };
            let mut chunk = [0; CHUNK];
            let read = timeout_at(patience, half.read(&mut chunk)).await.map_err(|_| Ended::TooSlow)??;
            if read == 0 {
                return Ok(());
            }
            if held.is_empty() {
                since = Instant::now();
            }
            held.extend_from_slice(&chunk[..read]);
            let mut used = 0;
            loop {
                match frame(&held[used..]) {
                    Frame::More => break,
                    Frame::LineEnds(length) => {
                        if is_ping(&held[used..used + length]) {
                            connection.send_raw(KEEPALIVE_RESPONSE).await?;
                        }
                        used += length;
                    }
                    Frame::Message(length) => {
                        self.take(&held[used..used + length], None, connection, &mut other).await?;
                        used += length;
                    }
                    Frame::Broken(length) => {
                        let fault = Fault::new(400, "Malformed Content-Length");
                        self.take(&held[used..used + length], Some(fault), connection, &mut other).await?;
                        return Err(Ended::Broken);
                    }
                    Frame::TooLong => return Err(Ended::TooLong),
                }
            }
            if used > 0 {
                held.drain(..used);
                since = Instant::now();
            }
            if held.len() > LONGEST_HEAD + LONGEST_MESSAGE {
                return Err(Ended::TooLong);
            }
        }
    }

    /// Judges a message, answers it (with `fault` where there is one) or hands it to the stack.
    async fn take(&self, message: &[u8], fault: Option<Fault>, connection: &TcpConnection, other: &mut Vec<u8>) -> Result<(), Ended> {
        let standing = self.shared.trunks.standing(self.peer, std::time::Instant::now());
        let message = match self.shared.judge(message, self.peer, standing, fault, other) {
            Verdict::Pass => message,
            Verdict::Rewritten => other.as_slice(),
            Verdict::Answer(_) => return Ok(connection.send_raw(other).await?),
            Verdict::Silence(_) => return Ok(()),
        };
        let message = match SipMessage::try_from(message) {
            Ok(message) => SipConnection::update_msg_received(message, self.peer, Transport::Tcp),
            Err(error) => Err(error.into()),
        };
        match message {
            Ok(message) => {
                let from = SipAddr { r#type: Some(Transport::Tcp), addr: self.peer.into() };
                let connection = SipConnection::Tcp(connection.clone());
                if let Err(error) = self.endpoint.on_received_message(message, connection, &from).await {
                    debug!(peer = %self.peer, %error, "message over TCP");
                }
            }
            Err(error) => {
                self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
                debug!(peer = %self.peer, %error, "a message that the stack does not read");
            }
        }
        Ok(())
    }
}
