//! baresip as a caller: dials, types keys, and keeps what it heard. It is led over its control port.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use voceguida::telephony::{
    clip::FRAME_SAMPLES,
    g711::alaw_encode,
    phone::{ClipIndex, Recogniser},
};

use crate::support::{demo::free_port, service::PATIENCE};

/// How it calls.
#[derive(Default)]
pub struct Setup<'a> {
    /// Whom it trusts over TLS, and its own certificate and key.
    pub tls: Option<(&'a Path, (&'a Path, &'a Path))>,
    /// Encrypt the media, and take nothing else.
    pub srtp: bool,
}

/// A running baresip; ended (by its pid) when dropped.
pub struct Baresip {
    child: Child,
    dir: tempfile::TempDir,
    control: TcpStream,
    /// What it has told so far.
    told: String,
    /// Knows the prompts among what baresip hears.
    ear: Recogniser,
    /// How many bytes of its recording the ear has heard.
    listened: usize,
}

impl Baresip {
    /// Starts it; these are the prompts that it may hear.
    pub fn start(setup: &Setup, prompts: &Arc<ClipIndex>) -> Self {
        // Another program may snatch a port that was free a moment ago.
        (0..5).find_map(|_| Self::try_start(setup, prompts)).expect("baresip starts")
    }

    fn try_start(setup: &Setup, prompts: &Arc<ClipIndex>) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().display();
        let (sip, control) = (free_pair(), free_port());
        let modules = ["ctrl_tcp", "g711", "ausine", "sndfile", "srtp"].map(|name| format!("module {name}.so\n")).concat();
        let mut config = format!(
            "module_path /usr/lib/baresip/modules\n{modules}module_tmp account.so\nmodule_app menu.so\nctrl_tcp_listen 127.0.0.1:{control}\n\
             audio_source ausine,10\nausrc_srate 48000\nausrc_channels 2\nsnd_path {path}\nsip_listen 127.0.0.1:{sip}\nnet_interface 127.0.0.1\n"
        );
        if let Some((ca, (certificate, key))) = setup.tls {
            let both = dir.path().join("own.pem");
            let text = [certificate, key].map(|file| fs::read_to_string(file).expect("a certificate")).concat();
            fs::write(&both, text).expect("a file");
            config = format!("{config}sip_cafile {}\nsip_certificate {}\n", ca.display(), both.display());
        }
        let encrypted = if setup.srtp { ";mediaenc=srtp-mand" } else { "" };
        let account = format!("<sip:0182000001@127.0.0.1>;regint=0;audio_codecs=pcma{encrypted}\n");
        for (name, text) in [("config", config.as_str()), ("accounts", &account), ("contacts", "")] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        let log = File::create(dir.path().join("log")).expect("a file");
        // It ends by itself at last, should nobody be there any more to end it.
        let mut child = Command::new("baresip")
            .arg("-f")
            .arg(dir.path())
            .args(["-t", "180"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("baresip is needed by this test: run tests/install.sh");
        let until = Instant::now() + PATIENCE;
        let control = loop {
            if let Ok(control) = TcpStream::connect((Ipv4Addr::LOCALHOST, control)) {
                break control;
            }
            if child.try_wait().expect("its state").is_some() {
                return None;
            }
            assert!(Instant::now() < until, "baresip does not start");
            std::thread::sleep(Duration::from_millis(50));
        };
        control.set_nonblocking(true).expect("a socket");
        let ear = Recogniser::with_index(Arc::clone(prompts));
        // The recording's heading, whose lengths are filled in only at its end.
        Some(Self { child, dir, control, told: String::new(), ear, listened: 44 })
    }

    /// Gives a command; a netstring, as its control port wants it.
    fn command(&mut self, command: &str, parameters: &str) {
        let text = format!(r#"{{"command":"{command}","params":"{parameters}"}}"#);
        self.control.write_all(format!("{}:{text},", text.len()).as_bytes()).expect("baresip listens");
    }

    /// Has it told of this event?
    fn tells(&mut self, event: &str) -> bool {
        let mut buffer = [0; 8_192];
        loop {
            match self.control.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => self.told += &String::from_utf8_lossy(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("baresip's control port: {error}\n{}", self.log()),
            }
        }
        self.told.contains(&format!(r#""type":"{event}""#))
    }

    /// Waits for an event.
    pub async fn wait_for(&mut self, event: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.tells(event) {
            assert!(Instant::now() < until, "baresip does not tell {event}: {}\n{}", self.told, self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Dials; the call is there, and audio comes, when this returns.
    pub async fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
        self.wait_for("CALL_ESTABLISHED").await;
        self.wait_for("CALL_RTPESTAB").await;
    }

    /// Types keys (RFC 4733), at a person's pace.
    pub async fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.command("sndcode", &key.to_string());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Hangs up.
    pub async fn hang_up(&mut self) {
        self.command("hangup", "");
        self.wait_for("CALL_CLOSED").await;
    }

    /// The prompts that it has heard so far: what it decoded, encoded again.
    fn heard(&mut self) -> Vec<String> {
        let files = fs::read_dir(self.dir.path()).expect("its directory").flatten().map(|entry| entry.path());
        let recording = files.filter(|path| path.to_string_lossy().ends_with("-dec.wav")).max();
        let bytes = recording.and_then(|path| fs::read(path).ok()).unwrap_or_default();
        for frame in bytes.get(self.listened..).unwrap_or_default().chunks_exact(2 * FRAME_SAMPLES) {
            let frame: Vec<u8> = frame.chunks_exact(2).map(|pair| alaw_encode(i16::from_le_bytes([pair[0], pair[1]]))).collect();
            self.ear.frame(&frame, true);
            self.listened += 2 * FRAME_SAMPLES;
        }
        self.ear.heard().into_iter().map(|heard| heard.name).collect()
    }

    /// Waits until it has heard this prompt.
    pub async fn wait_heard(&mut self, prompt: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let heard = self.heard();
            if heard.iter().any(|name| name == prompt) {
                return;
            }
            assert!(Instant::now() < until, "baresip has not heard {prompt}: {heard:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap_or_default()).replace('\r', "\n")
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free, and the next one: TLS is listened for there.
fn free_pair() -> u16 {
    let free = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (0..100).map(|_| free_port()).find(|port| *port < u16::MAX && free(*port) && free(port + 1)).expect("two free ports")
}
