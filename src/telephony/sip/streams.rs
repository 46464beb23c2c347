//! The door on TCP and TLS: what comes in on connections.
//!
//! The stack would read from a connection for as long as a byte comes in now and then, keep any number of them, and give a connection up
//! in silence over a message that it cannot read. So connections are taken in by [`super::listen`], or opened by
//! [`super::outbound`], and read here: a message has to be whole within some seconds, and each one passes the
//! [`Gate`](super::gate::Gate) as a datagram does. Sending is left to the stack.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rsipstack::{
    sip::SipMessage,
    transaction::endpoint::EndpointInnerRef,
    transport::{SipAddr, SipConnection, connection::KEEPALIVE_RESPONSE, stream::StreamConnection as _, tcp::TcpConnection},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    gate::Verdict,
    secure,
    server::{STRANGER_ANSWERS, Shared},
    syntax::{
        Fault,
        frame::{Frame, LONGEST_HEAD, LONGEST_MESSAGE, frame, is_ping},
    },
    trunks::Standing,
};

/// A message that has begun is whole within this time, or the connection ends.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(10);
/// A connection on which nothing comes in for so long ends; the peer opens another when it needs one.
const IDLE: Duration = Duration::from_mins(10);
/// Bytes read at once.
const CHUNK: usize = 4_096;

/// Reads one connection.
pub(super) struct Reader {
    pub shared: Arc<Shared>,
    pub endpoint: EndpointInnerRef,
    pub peer: SocketAddr,
    /// We have opened it: what the peer answers is heard, whether it is a trunk's address or not.
    pub ours: bool,
}

/// A connection as the stack sends on it, and what is read from it.
pub(super) struct Opened {
    pub connection: SipConnection,
    half: Box<dyn AsyncRead + Send + Unpin>,
    token: CancellationToken,
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

impl Opened {
    /// A plain connection; `local` is our end. The stack's word for its end is `token`.
    pub async fn plain(stream: TcpStream, local: SipAddr, token: CancellationToken) -> Result<Self, Ended> {
        let connection = TcpConnection::from_stream(stream, local, Some(token.clone()))?;
        let half = connection.inner.read_half.lock().await.take().ok_or(Ended::Broken)?;
        Ok(Self { connection: SipConnection::Tcp(connection), half: Box::new(half), token })
    }

    /// An encrypted one, whose handshake is done; `local` and `peer` are its ends.
    pub async fn encrypted<S>(stream: S, local: SocketAddr, peer: SocketAddr, token: CancellationToken) -> Result<Self, Ended>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (half, writing) = tokio::io::split(stream);
        let connection = secure::connection(writing, local, peer, token.clone()).await?;
        Ok(Self { connection, half: Box::new(half), token })
    }
}

impl Reader {
    /// Until the connection ends.
    pub async fn run(self, opened: Opened) -> Result<(), Ended> {
        let Opened { connection, half, token } = opened;
        let ended = tokio::select! {
            () = token.cancelled() => Ok(()),
            ended = self.read(half, &connection) => ended,
        };
        // Requests inside its calls are sent elsewhere from now on.
        token.cancel();
        connection.close().await?;
        ended
    }

    async fn read(&self, mut half: Box<dyn AsyncRead + Send + Unpin>, connection: &SipConnection) -> Result<(), Ended> {
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
                            send(connection, KEEPALIVE_RESPONSE).await?;
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
    async fn take(&self, message: &[u8], fault: Option<Fault>, connection: &SipConnection, other: &mut Vec<u8>) -> Result<(), Ended> {
        let mut standing = self.shared.trunks.standing(self.peer, std::time::Instant::now());
        if self.ours && standing == Standing::Stranger {
            // Its answers are wanted; its requests get no further than the dispatcher.
            standing = Standing::MayProve { per_second: STRANGER_ANSWERS, proven: false };
        }
        let message = match self.shared.judge(message, self.peer, standing, fault, other) {
            Verdict::Pass => message,
            Verdict::Rewritten => other.as_slice(),
            Verdict::Answer(_) => return Ok(send(connection, other).await?),
            Verdict::Silence(_) => return Ok(()),
        };
        let transport = connection.transport();
        let message = match SipMessage::try_from(message) {
            Ok(message) => SipConnection::update_msg_received(message, self.peer, transport),
            Err(error) => Err(error.into()),
        };
        match message {
            Ok(message) => {
                let from = SipAddr { r#type: Some(transport), addr: self.peer.into() };
                if let Err(error) = self.endpoint.on_received_message(message, connection.clone(), &from).await {
                    debug!(peer = %self.peer, %transport, %error, "message in a connection");
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

/// Sends what the stack knows nothing of.
pub(super) async fn send(connection: &SipConnection, bytes: &[u8]) -> rsipstack::Result<()> {
    match connection {
        SipConnection::Tcp(connection) => connection.send_raw(bytes).await,
        SipConnection::TlsPlatform(connection) => connection.send_raw(bytes).await,
        // There are no others here.
        _ => Ok(()),
    }
}
