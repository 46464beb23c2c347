//! TLS connections as the stack sends on them.
//!
//! The stack's own TLS connections let nobody between the wire and its parser. But it takes streams of others, from a connector
//! that is registered once in a program (it is meant for small devices). So a connection whose handshake we have done is handed to it by that
//! connector, for sending alone, and [`super::streams`] reads from it. Where the stack opens a connection itself (for a request inside a call
//! whose own connection is gone), the connector does that under the certificates and authorities of our configuration, and what
//! comes in there is looked through before the stack sees it.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, Once, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rsipstack::{
    platform::tls::{TlsClientConfig, TlsConnector, TlsStream, set_client_connector},
    transport::{PlatformTlsConnection, SipConnection, TlsConfig, connection::KEEPALIVE_REQUEST},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    net::TcpStream,
    sync::Mutex as AsyncMutex,
    time::timeout,
};
use tokio_rustls::{client::TlsStream as Client, rustls::pki_types::ServerName};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    config::Transport,
    listen::{prepare, sip_address},
    syntax::{
        self, Message,
        frame::{Frame, LONGEST_HEAD, LONGEST_MESSAGE, frame, is_ping},
        rewrite::rewrite,
    },
    tls::Tls,
};

/// How long a connection, with its handshake, may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// What the connector hands out instead of opening a connection.
    static READY: Cell<Option<Box<dyn TlsStream>>>;
}

/// The certificates of the endpoints of this program, by their numbers: one, but for tests.
static KNOWN: Mutex<Vec<(u64, Weak<Tls>)>> = Mutex::new(Vec::new());

/// A connection for the stack that sends on this half; reading from it is ours.
pub(super) async fn connection<S>(
    writing: WriteHalf<S>,
    local: SocketAddr,
    peer: SocketAddr,
    token: CancellationToken,
) -> rsipstack::Result<SipConnection>
where
    S: AsyncWrite + Send + 'static,
{
    register();
    let stream: Box<dyn TlsStream> = Box::new(Sending { writing: AsyncMutex::new(writing), local });
    let peer = sip_address(Transport::Tls, peer);
    let connection = READY.scope(Cell::new(Some(stream)), PlatformTlsConnection::connect(&peer, None, Some(token))).await?;
    Ok(SipConnection::TlsPlatform(connection))
}

/// What the stack has to be given so that connections that it opens itself are made with `tls`.
pub(super) fn dialling(tls: &Arc<Tls>) -> TlsConfig {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    register();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|(_, tls)| tls.strong_count() > 0);
    known.push((number, Arc::downgrade(tls)));
    // Handed through to the connector: there it says whose connection it is to be.
    TlsConfig { ca_certs: Some(number.to_be_bytes().to_vec()), ..TlsConfig::default() }
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_client_connector(Arc::new(Connector)));
}

fn of_number(bytes: &[u8]) -> Option<Arc<Tls>> {
    let number = u64::from_be_bytes(bytes.try_into().ok()?);
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.iter().find(|(n, _)| *n == number)?.1.upgrade()
}

fn told(error: &dyn ToString) -> rsipstack::Error {
    rsipstack::Error::Error(error.to_string())
}

struct Connector;

#[async_trait::async_trait]
impl TlsConnector for Connector {
    async fn connect(&self, config: &TlsClientConfig, peer: SocketAddr) -> rsipstack::Result<Box<dyn TlsStream>> {
        if let Ok(Some(ready)) = READY.try_with(Cell::take) {
            return Ok(ready);
        }
        let tls = config.root_certs.as_deref().and_then(of_number).ok_or_else(|| told(&"TLS of no endpoint"))?;
        let name = ServerName::try_from(config.server_name.clone()).map_err(|e| told(&e))?;
        let opened = timeout(CONNECT_PATIENCE, open(&tls, name, peer)).await.map_err(|_| told(&"no connection in time"))?;
        Ok(Box::new(opened.map_err(|e| told(&e))?))
    }
}

async fn open(tls: &Tls, name: ServerName<'static>, peer: SocketAddr) -> io::Result<Dialled> {
    let stream = TcpStream::connect(peer).await?;
    prepare(&stream)?;
    let local = stream.local_addr()?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&tls.contexts().client));
    let (reading, writing) = split(connector.connect(name, stream).await?);
    let reading = AsyncMutex::new(Incoming { half: reading, held: Vec::new() });
    Ok(Dialled { reading, sending: Sending { writing: AsyncMutex::new(writing), local } })
}

/// The half that is the stack's.
struct Sending<S> {
    writing: AsyncMutex<WriteHalf<S>>,
    local: SocketAddr,
}

#[async_trait::async_trait]
impl<S: AsyncWrite + Send + 'static> TlsStream for Sending<S> {
    /// Never asked: we read.
    async fn recv(&self) -> rsipstack::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn send_all(&self, data: Vec<u8>) -> rsipstack::Result<()> {
        let mut writing = self.writing.lock().await;
        writing.write_all(&data).await?;
        Ok(writing.flush().await?)
    }

    async fn shutdown(&self) -> rsipstack::Result<()> {
        Ok(self.writing.lock().await.shutdown().await?)
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// A connection that the stack has opened by way of us, and reads from.
struct Dialled {
    reading: AsyncMutex<Incoming>,
    sending: Sending<Client<TcpStream>>,
}

struct Incoming {
    half: ReadHalf<Client<TcpStream>>,
    held: Vec<u8>,
}

#[async_trait::async_trait]
impl TlsStream for Dialled {
    async fn recv(&self) -> rsipstack::Result<Vec<u8>> {
        let mut reading = self.reading.lock().await;
        let Incoming { half, held } = &mut *reading;
        loop {
            match next(held) {
                Next::Message(message) => return Ok(message),
                Next::More => {}
                // As at its end.
                Next::Broken => return Ok(Vec::new()),
            }
            if half.read_buf(held).await? == 0 {
                return Ok(Vec::new());
            }
        }
    }

    async fn send_all(&self, data: Vec<u8>) -> rsipstack::Result<()> {
        self.sending.send_all(data).await
    }

    async fn shutdown(&self) -> rsipstack::Result<()> {
        self.sending.shutdown().await
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        self.sending.local_addr()
    }
}

/// What the stack may read next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// This.
    Message(Vec<u8>),
    /// There is not enough yet.
    More,
    /// Nothing any more.
    Broken,
}

/// Takes the next sound message out of `held`; what is malformed is dropped.
fn next(held: &mut Vec<u8>) -> Next {
    loop {
        let (length, ping) = match frame(held) {
            Frame::LineEnds(length) => (length, is_ping(&held[..length])),
            Frame::Message(length) => (length, false),
            Frame::More if held.len() <= LONGEST_HEAD + LONGEST_MESSAGE => return Next::More,
            Frame::More | Frame::Broken(_) | Frame::TooLong => return Next::Broken,
        };
        let message: Vec<u8> = held.drain(..length).collect();
        let loose = match syntax::check(&message) {
            Ok(Message::KeepAlive) if ping => return Next::Message(KEEPALIVE_REQUEST.to_vec()),
            Ok(Message::KeepAlive) => continue,
            Ok(Message::Response { loose }) => loose,
            Ok(Message::Request(request)) => request.loose,
            Err(refusal) => {
                debug!(?refusal, "a malformed message in a connection of ours");
                continue;
            }
        };
        if !loose {
            return Next::Message(message);
        }
        let mut rewritten = Vec::new();
        rewrite(&message, &mut rewritten);
        return Next::Message(rewritten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sound_messages_reach_the_stack() {
        let answer = |cseq: &str| {
            format!(
                "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
                 Call-ID: 1\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let sound = answer("2 BYE");
        let mut held = format!("\r\n{}{sound}\r\n\r\n{}", answer("no number"), &sound[..40]).into_bytes();
        assert_eq!(next(&mut held), Next::Message(sound.clone().into_bytes()));
        assert_eq!(next(&mut held), Next::Message(KEEPALIVE_REQUEST.to_vec()));
        assert_eq!(next(&mut held), Next::More);
        held.extend(&sound.as_bytes()[40..]);
        assert_eq!(next(&mut held), Next::Message(sound.into_bytes()));
        assert!(held.is_empty());
        held.extend(b"SIP/2.0 200 OK\r\n\r\n");
        assert_eq!(next(&mut held), Next::Broken);
    }
}
