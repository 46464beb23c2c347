//! The real program as a provider runs it: `voceguida serve` on a configuration file, and a school in the database that is open now.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use chrono::{Days, NaiveDate, Timelike as _};
use voceguida::{
    canteen::{
        Choice, EnteId,
        code::ChildCode,
        roster::{CalendarRows, TermRow},
        window::Window,
    },
    desk::Desk,
    ops::clock::Clock,
    store::{CallRow, Db, StoredOperation, Verdict},
};

use super::{demo::free_port, roster};

/// How long something that has to happen may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A school whose line is open whenever the test runs, with its children's codes.
pub struct OpenSchool {
    pub url: String,
    pub codes: Vec<String>,
    desk: Desk,
    ente: EnteId,
    window: Window,
}

impl OpenSchool {
    /// A school with so many children in this empty database.
    pub async fn open(url: &str, children: usize) -> Self {
        let desk = Desk::new(Db::open(url).await.expect("the database opens"), Clock::real());
        let now = Clock::real().now();
        // Closed for one minute, as far from now as can be.
        let usual = Window::default();
        let opens = usual.local(now + chrono::TimeDelta::hours(12)).time().with_second(0).expect("a time");
        let window = Window { opens, cutoff: opens - chrono::TimeDelta::minutes(1), ..usual };
        let ente = desk.put_ente("prova", "Comune di Prova", Some("0182970000"), &window).await.expect("the ente");
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(7);
        let codes: Vec<_> = (0..children).map(|_| ChildCode::random(&mut rng)).collect();
        let today = usual.local(now).date();
        let day = |days: i64| today + chrono::TimeDelta::days(days);
        let mut roster = roster(&codes);
        roster.classes[0].weekdays = (0u8..7).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect();
        roster.calendar = CalendarRows {
            school_year: Some("2026/2027".into()),
            terms: vec![TermRow { school: None, first: day(-10), last: day(60) }],
            closures: vec![],
        };
        desk.import(ente, &roster).await.expect("the import");
        Self { url: url.to_owned(), codes: codes.iter().map(|code| code.as_str().to_owned()).collect(), desk, ente, window }
    }

    /// The operations of a child.
    pub async fn operations(&self, code: &str) -> Vec<StoredOperation> {
        let code = ChildCode::parse(code).expect("a code");
        let child = self.desk.child_by_code(self.ente, &code).await.expect("the child");
        let day = NaiveDate::default();
        self.desk.view_child(child, day, day + Days::new(1)).await.expect("the child").operations
    }

    /// Is this child's one operation a cancellation that stands?
    pub async fn cancelled_once(&self, code: &str) -> bool {
        let operations = self.operations(code).await;
        matches!(operations.as_slice(), [one] if one.choice == Choice::Cancel && matches!(one.verdict, Verdict::Accepted(_)))
    }

    /// Waits for the records of so many calls, oldest first.
    pub async fn calls(&self, n: usize) -> Vec<CallRow> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut calls = self.desk.calls(self.ente, 100).await.expect("the calls");
            if calls.len() >= n {
                calls.reverse();
                return calls;
            }
            assert!(Instant::now() < until, "{n} calls should be recorded: {calls:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// RTP ports are given out in blocks, so that services running beside each other do not meet.
static NEXT_RTP: AtomicU16 = AtomicU16::new(0);

/// A running service; ended (by its pid) when dropped.
pub struct Service {
    child: Child,
    log: PathBuf,
    /// Where it listens over UDP and TCP.
    pub sip: SocketAddr,
    /// Where its pages and its API are.
    pub http: SocketAddr,
}

impl Service {
    /// Starts it for this school; `tls` is the section `[sip.tls]`, `trunk` what its only trunk is.
    pub fn start(dir: &Path, name: &str, school: &OpenSchool, tls: &str, trunk: &str) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], free_port())), dir, name, school, tls, trunk)
    }

    /// Starts it at this address.
    pub fn start_at(sip: SocketAddr, dir: &Path, name: &str, school: &OpenSchool, tls: &str, trunk: &str) -> Self {
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let rtp = 46_200 + (NEXT_RTP.fetch_add(1, Ordering::Relaxed) % 20) * 40;
        let config = format!(
            r#"
            database = "{url}"
            http = "{http}"
            prompts = "{root}/prompts/it"
            drain_seconds = 20
            [sip]
            udp = ["{sip}"]
            tcp = ["{sip}"]
            rtp_ports = [{rtp}, {last}]
            max_calls = 10
            {tls}
            [[trunk]]
            name = "operatore"
            {trunk}
            [[ente]]
            slug = "prova"
            name = "Comune di Prova"
            opens = "{opens}"
            cutoff = "{cutoff}"
            [[number]]
            called = "800123456"
            ente = "prova"
            dialplan = "{root}/dialplans/mensa.toml"
            "#,
            url = school.url,
            root = env!("CARGO_MANIFEST_DIR"),
            last = rtp + 39,
            opens = school.window.opens.format("%H:%M"),
            cutoff = school.window.cutoff.format("%H:%M"),
        );
        let file = dir.join(format!("{name}.toml"));
        std::fs::write(&file, config).expect("its configuration");
        let log = dir.join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_voceguida"))
            .args(["serve", "--config"])
            .arg(&file)
            .env_remove("VOCEGUIDA_DATABASE")
            .env("VOCEGUIDA_LOG", "info")
            .stdin(Stdio::null())
            .stderr(File::create(&log).expect("its log"))
            .spawn()
            .expect("it starts");
        let mut service = Self { child, log, sip, http };
        let until = Instant::now() + PATIENCE;
        while !service.log().contains("health and metrics") {
            assert!(service.child.try_wait().expect("its state").is_none(), "it has ended: {}", service.log());
            assert!(Instant::now() < until, "it does not start: {}", service.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        service
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What `voceguida status --json` tells.
    pub fn status(&self) -> serde_json::Value {
        let output = Command::new("curl").args(["-sf", &format!("http://{}/status", self.http)]).output().expect("curl runs");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until the status looks like that.
    pub async fn until(&self, what: &str, looks: impl Fn(&serde_json::Value) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if looks(&status) {
                return;
            }
            assert!(Instant::now() < until, "{what}: {status}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone where the test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
