//! The phone's encrypted calls against another implementation: baresip answers, hears the keys and plays a tone.
#![allow(clippy::expect_used, reason = "a test that cannot go on fails here")]

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use voceguida::telephony::{
    phone::{Phone, PhoneConfig, PhoneError},
    rtp::srtp::Suite,
};

const LONG: Duration = Duration::from_secs(30);

/// A baresip that answers every call; ended with the test.
struct Baresip {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Baresip {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        let path = dir.path().display();
        tone(&dir.path().join("tone.wav"));
        let config = format!(
            "sip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\nrtp_ports 23100-23199\nmodule_path /usr/lib/baresip/modules\n\
             audio_source aufile,{path}/tone.wav\naudio_player aufile,{path}/heard.wav\naudio_alert aufile,{path}/tone.wav\n\
             module g711.so\nmodule aufile.so\nmodule srtp.so\nmodule_app account.so\nmodule_app menu.so\n"
        );
        let account = format!("<sip:linea@127.0.0.1:{port}>;regint=0;answermode=auto;mediaenc=srtp-mand;audio_codecs=pcma,pcmu\n");
        for (name, text) in [("config", config.as_str()), ("accounts", &account), ("contacts", "")] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        let log = File::create(dir.path().join("log")).expect("a file");
        let mut command = Command::new("baresip");
        command.arg("-f").arg(dir.path()).args(["-t", "120"]).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        let child = command.spawn().expect("baresip is needed by this test (Debian: baresip-core)");
        let baresip = Self { child, port, dir };
        let deadline = Instant::now() + LONG;
        // Taken means: baresip has it.
        while std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            assert!(Instant::now() < deadline, "baresip does not listen: {}", baresip.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        baresip
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// The keys that it has heard so far.
    fn keys(&self) -> String {
        self.log().split("received event: '").skip(1).filter(|event| event[1..].starts_with("' (end=0)")).map(|event| &event[..1]).collect()
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A minute of 1 kHz.
fn tone(path: &Path) {
    let spec = hound::WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut file = hound::WavWriter::create(path, spec).expect("a file");
    for n in 0..480_000 {
        file.write_sample((10_000.0 * (f64::from(n) / 8.0 * std::f64::consts::TAU).sin()) as i16).expect("a sample");
    }
    file.finalize().expect("a file");
}

#[tokio::test]
async fn another_implementation_understands_every_suite_in_both_directions() {
    let baresip = Baresip::start();
    let uri = format!("sip:linea@127.0.0.1:{}", baresip.port);
    let mut keys = String::new();
    for suite in Suite::ALL {
        let call = Phone::dial(&uri, PhoneConfig { srtp: Some(suite), record: true, ..PhoneConfig::default() }).await.expect("answered");
        assert!(call.press("4711#").await, "{suite:?}");
        keys += "4711#";
        let deadline = Instant::now() + LONG;
        while baresip.keys() != keys || call.packets() < 50 {
            assert!(Instant::now() < deadline, "{suite:?}: {} packets, keys {:?}: {}", call.packets(), baresip.keys(), baresip.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(call.hang_up().await);
        // What was opened with the wrong key would be noise: half of a 1 kHz tone's samples lie opposite those 4 later.
        let recording = call.recording();
        let sound: Vec<_> = recording.iter().zip(&recording[4..]).filter(|(sample, _)| sample.unsigned_abs() > 3_000).collect();
        let opposite =
            sound.iter().filter(|(a, b)| (a.signum(), b.signum()) == (b.signum().saturating_neg(), a.signum().saturating_neg())).count();
        assert!(sound.len() > 3_000 && opposite * 10 > sound.len() * 9, "{suite:?}: {opposite} of {}", sound.len());
    }
    // It answers encrypted calls only.
    let plain = Phone::dial(&uri, PhoneConfig::default()).await.expect_err("refused");
    assert!(matches!(plain, PhoneError::Refused { status: 488, .. }), "{plain}");
}
