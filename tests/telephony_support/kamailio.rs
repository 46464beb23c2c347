//! Kamailio as a provider: registrar with digest, and proxy for the calls to who has registered.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use super::telephony_support::{PATIENCE, free_port, program};

/// A running Kamailio; ended (by its pid) when dropped.
pub struct Kamailio {
    child: Child,
    dir: tempfile::TempDir,
    pub udp: SocketAddr,
    #[allow(dead_code, reason = "not every test speaks TLS")]
    pub tls: SocketAddr,
}

impl Kamailio {
    /// Starts it; `algorithm` is its digest's, `tls` its certificate and key where it speaks TLS.
    pub fn start(algorithm: &str, tls: Option<(&Path, &Path)>) -> Self {
        // Another program may snatch a port that was free a moment ago.
        (0..5).find_map(|_| Self::try_start(algorithm, tls)).expect("Kamailio starts")
    }

    fn try_start(algorithm: &str, tls: Option<(&Path, &Path)>) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (port, tls_port) = (free_port(), free_port());
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kamailio/registrar.cfg");
        let mut text = std::fs::read_to_string(file).expect("its configuration");
        let (listen, module) = match tls {
            None => (String::new(), String::new()),
            Some((certificate, key)) => {
                let path = dir.path().join("tls.cfg");
                let domain = format!("certificate = {}\nprivate_key = {}\n", certificate.display(), key.display());
                std::fs::write(&path, format!("[server:default]\n{domain}[client:default]\n")).expect("its TLS configuration");
                let listen = format!("enable_tls=yes\nlisten=tls:127.0.0.1:{tls_port}");
                (listen, format!("loadmodule \"tls.so\"\nmodparam(\"tls\", \"config\", \"{}\")", path.display()))
            }
        };
        for (name, value) in [("PORT", port.to_string().as_str()), ("TLS", &listen), ("TLS_MODULE", &module), ("ALGORITHM", algorithm)] {
            text = text.replace(&format!("@{name}@"), value);
        }
        let config = dir.path().join("kamailio.cfg");
        std::fs::write(&config, text).expect("its configuration");
        let log = std::fs::File::create(dir.path().join("log")).expect("its log");
        let child = program("kamailio")
            .args(["-DD", "-E", "-m", "16", "-M", "4", "-f"])
            .arg(&config)
            .arg("-Y")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Kamailio starts");
        let at = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let mut kamailio = Self { child, dir, udp: at(port), tls: at(tls_port) };
        kamailio.is_ready().then_some(kamailio)
    }

    /// Until it answers; `false` where it has ended.
    fn is_ready(&mut self) -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let own = socket.local_addr().expect("an address");
        let ask = format!(
            "OPTIONS sip:{udp} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKready;rport\r\nFrom: <sip:test@{own}>;tag=1\r\n\
             To: <sip:{udp}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            udp = self.udp
        );
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.child.try_wait().expect("its state").is_some() {
                eprintln!("Kamailio ended:\n{}", self.log());
                return false;
            }
            // Refused while it is not there yet.
            let _ = socket.send_to(ask.as_bytes(), self.udp);
            if socket.recv_from(&mut [0; 2_000]).is_ok() {
                return true;
            }
        }
        panic!("Kamailio does not answer:\n{}", self.log());
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // TERM, so that it ends its children too.
        let pid = self.child.id().to_string();
        let _ = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}
