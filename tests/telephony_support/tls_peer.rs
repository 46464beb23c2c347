//! A SIP peer over TLS, by hand: sends and reads whole messages.

#![allow(dead_code, reason = "each test program uses its part")]

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the line.
pub struct TlsPeer {
    stream: TlsStream<TcpStream>,
    unread: Vec<u8>,
    call_id: u32,
    /// The line's address.
    to: SocketAddr,
    /// Its own.
    from: SocketAddr,
    /// Where it wants to be reached.
    pub contact: SocketAddr,
}

impl TlsPeer {
    /// Connects, trusting `ca`, and shows the certificate `own` where it has one.
    pub async fn connect(to: SocketAddr, ca: &Path, own: Option<(&Path, &Path)>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("an authority")).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match own {
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).expect("a key")).expect("they fit")
            }
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(to).await?;
        let from = stream.local_addr()?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await??;
        Ok(Self { stream, unread: Vec::new(), call_id: 0, to, from, contact: from })
    }

    /// The certificate that the line has shown.
    pub fn certificate(&self) -> Vec<u8> {
        self.stream.get_ref().1.peer_certificates().expect("certificates")[0].to_vec()
    }

    /// Sends a request of the present call; `to_tag` once there is one.
    pub async fn request(&mut self, method: &str, number: &str, cseq: u32, to_tag: &str, body: &str) -> io::Result<()> {
        let (from, to, call, contact) = (self.from, self.to, self.call_id, self.contact);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} sip:{number}@{to};transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS {from};branch=z9hG4bK{method}{cseq}{call}\r\n\
             From: <sip:0182970000@{from}>;tag=a{call}\r\nTo: <sip:{number}@{to}>{to_tag}\r\nCall-ID: {call}-{from}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:caller@{contact};transport=tls>\r\nMax-Forwards: 70\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(&text).await
    }

    pub async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await
    }

    /// The next whole message; an error where the connection has ended.
    pub async fn message(&mut self) -> io::Result<String> {
        loop {
            let text = String::from_utf8_lossy(&self.unread).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length =
                    head.lines().find_map(|l| l.strip_prefix("Content-Length:")).map_or(0, |n| n.trim().parse().expect("a length"));
                if body.len() >= length {
                    let message = text[..head.len() + 4 + length].to_owned();
                    self.unread.drain(..message.len());
                    return Ok(message);
                }
            }
            let mut buffer = [0; 4_096];
            match timeout(PATIENCE, self.stream.read(&mut buffer)).await?? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.unread.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// So many octets, whatever they are.
    pub async fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            let mut buffer = [0; 4_096];
            match timeout(PATIENCE, self.stream.read(&mut buffer)).await?? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.unread.extend_from_slice(&buffer[..n]),
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// The next final answer.
    pub async fn answer(&mut self) -> io::Result<String> {
        loop {
            let message = self.message().await?;
            if message.starts_with("SIP/2.0 ") && !message.starts_with("SIP/2.0 1") {
                return Ok(message);
            }
        }
    }

    /// Calls `number`; the line's answer, acknowledged, and the To tag in it.
    pub async fn call(&mut self, number: &str) -> (String, String) {
        self.call_id += 1;
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n";
        self.request("INVITE", number, 1, "", sdp).await.expect("sent");
        let answer = self.answer().await.expect("an answer");
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        let tag = header(&answer, "To").split_once(";tag=").expect("a tag").1.to_owned();
        let tag = format!(";tag={tag}");
        self.request("ACK", number, 1, &tag, "").await.expect("sent");
        (answer, tag)
    }

    /// Ends the present call.
    pub async fn hang_up(&mut self, number: &str, tag: &str) {
        self.request("BYE", number, 2, tag, "").await.expect("sent");
        let answer = self.answer().await.expect("an answer");
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }
}

/// A header of a message.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')));
    line.unwrap_or_else(|| panic!("no {name} in {message}")).trim()
}
