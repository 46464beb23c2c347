//! Kamailio in front of nodes: the very files of `deploy/kamailio`, changed where docs/trunks.md says that a provider changes them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use crate::support::service::PATIENCE;

/// Each proxy has addresses of its own on the loopback, so that nobody else has its ports.
static NEXT_ADDRESS: AtomicU8 = AtomicU8::new(0);

/// A Kamailio; ended (by its pid) when dropped.
pub struct Proxy {
    child: Option<Child>,
    dir: PathBuf,
    /// Where providers call over UDP and TCP.
    pub outside: SocketAddr,
    /// Where they call over TLS.
    pub tls: SocketAddr,
    /// From where the nodes are called.
    pub inside: SocketAddr,
    /// An address for a node.
    pub node: SocketAddr,
    /// An address that is no provider's.
    pub stranger: Ipv4Addr,
}

impl Proxy {
    /// Addresses for a proxy whose files and runtime directory are in `dir`; it does not run yet.
    pub fn new(dir: &Path) -> Self {
        let net = (std::process::id() % 250) as u8;
        let of_test = NEXT_ADDRESS.fetch_add(10, Ordering::Relaxed);
        let address = |n: u8| Ipv4Addr::new(127, 46, net, of_test + n);
        let at = |n, port| SocketAddr::new(address(n).into(), port);
        Self {
            child: None,
            dir: dir.to_owned(),
            outside: at(1, 46_060),
            tls: at(1, 46_061),
            inside: at(2, 46_060),
            node: at(4, 46_060),
            stranger: address(3),
        }
    }

    /// Writes its files: providers call from 127.0.0.1, these are the nodes, this is its certificate and whom it trusts.
    pub fn configure(&self, nodes: &[SocketAddr], (certificate, key): (&Path, &Path), ca: &Path) {
        let (outside, inside) = (self.outside.ip().to_string(), self.inside.ip().to_string());
        let mut changes = vec![
            ("203.0.113.10".to_owned(), outside),
            ("10.0.0.10".to_owned(), inside),
            ("198.51.100.4".to_owned(), "127.0.0.1".to_owned()),
            ("/etc/kamailio/tls/fullchain.pem".to_owned(), certificate.display().to_string()),
            ("/etc/kamailio/tls/key.pem".to_owned(), key.display().to_string()),
            ("/etc/ssl/certs/ca-certificates.crt".to_owned(), ca.display().to_string()),
            ("/etc/kamailio".to_owned(), self.dir.display().to_string()),
        ];
        changes.extend(["10.0.0.21:5060", "10.0.0.22:5060"].into_iter().zip(nodes).map(|(from, to)| (from.to_owned(), to.to_string())));
        // The ports last: a node's address holds one too.
        changes.extend(
            [(":5060", ":46060"), (":5061", ":46061"), ("INSIDE_PORT 5060", "INSIDE_PORT 46060")].map(|(a, b)| (a.into(), b.into())),
        );
        for name in ["kamailio.cfg", "providers.list", "dispatcher.list", "tls.cfg"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kamailio").join(name);
            let text = fs::read_to_string(file).expect("its configuration");
            let changed = changes.iter().fold(text, |text, (from, to)| text.replace(from.as_str(), to));
            fs::write(self.dir.join(name), changed).expect("its configuration");
        }
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).expect("its log");
        let child = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-f"])
            .arg(self.dir.join("kamailio.cfg"))
            .arg("-Y")
            .arg(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("kamailio is needed by this test: run tests/install.sh");
        self.child = Some(child);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(
                self.child.as_mut().is_some_and(|child| child.try_wait().expect("its state").is_none()),
                "it has ended:\n{}",
                self.log()
            );
            assert!(Instant::now() < until, "it does not answer:\n{}", self.log());
            // Refused while it is not there yet.
            let _ = socket.send_to(options(&socket, self.outside).as_bytes(), self.outside);
            if socket.recv_from(&mut [0; 2_000]).is_ok() {
                return;
            }
        }
    }

    /// Ends it as its service manager does.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // TERM, so that it ends its children too.
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }

    /// The nodes as `kamcmd dispatcher.list` tells them: the flags of each address.
    pub fn nodes(&self) -> Vec<(String, String)> {
        let socket = format!("unix:{}", self.dir.join("kamailio_ctl").display());
        let output = Command::new("kamcmd").args(["-s", &socket, "dispatcher.list"]).output().expect("kamcmd runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of = |name: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.trim().strip_prefix(name)).map(|value| value.trim().to_owned()).collect()
        };
        of("URI:").into_iter().zip(of("FLAGS:")).collect()
    }

    /// Waits until its nodes have these flags (`AP`: asked, and answering; `IP`: out of use), in the order of their addresses.
    pub async fn wait_for_nodes(&self, nodes: &[(SocketAddr, &str)]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.nodes();
            let of = |node: &SocketAddr| told.iter().find(|(uri, _)| *uri == format!("sip:{node}")).map(|(_, flags)| flags.as_str());
            if nodes.iter().all(|(node, flags)| of(node) == Some(flags)) {
                return;
            }
            assert!(Instant::now() < until, "{nodes:?}: {told:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An OPTIONS from this socket.
pub fn options(socket: &UdpSocket, to: SocketAddr) -> String {
    let own = socket.local_addr().expect("an address");
    format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{0};rport\r\nFrom: <sip:test@{own}>;tag=1\r\nTo: <sip:{to}>\r\n\
         Call-ID: {0}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        uuid::Uuid::new_v4().simple()
    )
}
