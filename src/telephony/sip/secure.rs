//! TLS connections as the stack sends on them.
//!
//! The stack's own TLS connections let nobody between the wire and its parser. But it takes streams of others for sending alone; reading
//! from them is ours ([`super::streams`]).

use std::net::SocketAddr;

use rsipstack::{
    platform::tls::TlsStream,
    transport::{PlatformTlsConnection, SipConnection},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _, WriteHalf},
    sync::Mutex,
};
use tokio_util::sync::CancellationToken;

use super::{config::Transport, listen::sip_address};

/// A connection for the stack that sends on this half; `local` and `peer` are its ends.
pub(super) fn connection<S>(
    writing: WriteHalf<S>,
    local: SocketAddr,
    peer: SocketAddr,
    token: CancellationToken,
) -> Result<SipConnection, Box<rsipstack::Error>>
where
    S: AsyncWrite + Send + 'static,
{
    let stream = Box::new(Sending { writing: Mutex::new(writing), local });
    let connection = PlatformTlsConnection::from_stream(stream, sip_address(Transport::Tls, peer), Some(token))?;
    Ok(SipConnection::TlsPlatform(connection))
}

/// The half that is the stack's.
struct Sending<S> {
    writing: Mutex<WriteHalf<S>>,
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
