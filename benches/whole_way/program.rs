//! The program as an operator runs it, on a database of its own: a roster, a configuration, `serve`.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chrono::{Days, NaiveTime, WeekdaySet};
use rand::{SeedableRng, rngs::StdRng};
use sqlx::Connection as _;
use voceguida::{
    canteen::{
        code::ChildCode,
        roster::{CalendarRows, ChildRow, ClassRow, NORMAL_DIET, Roster, SchoolRow, TermRow},
        window::Window,
    },
    desk::Desk,
    ops::clock::Clock,
    store::Db,
};

/// The called number.
pub const CALLED: &str = "800123456";
/// RTP ports: a call each two.
const PORTS: (u16, u16) = (20_000, 31_999);

/// A family: the child's code, and the number that it calls from.
pub type Family = (String, String);

/// Fills an empty database: so many children with a meal on every day of the week, at an ente whose line is open all day.
/// Families that are `known` have typed a right code before.
pub async fn prepare(url: &str, children: usize, known: bool) -> Vec<Family> {
    let db = Db::open(url).await.expect("the database opens");
    let desk = Desk::new(db.clone(), Clock::real());
    let midnight = |minute| NaiveTime::from_hms_opt(0, minute, 0).expect("a time");
    let window = Window { opens: midnight(1), cutoff: midnight(0), ..Window::default() };
    let ente = desk.put_ente("carico", "Comune di Carico", None, &window).await.expect("the ente");
    let mut chance = StdRng::seed_from_u64(9);
    let mut codes = HashSet::new();
    while codes.len() < children {
        codes.insert(ChildCode::random(&mut chance).as_str().to_owned());
    }
    let families: Vec<Family> = codes.into_iter().enumerate().map(|(n, code)| (code, format!("0183{n:06}"))).collect();
    let now = desk.clock().now();
    let today = window.local(now).date();
    let roster = Roster {
        schools: vec![SchoolRow { code: "PRIM".into(), name: "Scuola primaria".into() }],
        classes: vec![ClassRow {
            school: "PRIM".into(),
            name: "1A".into(),
            weekdays: (0u8..7).filter_map(|day| chrono::Weekday::try_from(day).ok()).collect::<WeekdaySet>(),
        }],
        guardians: vec![],
        children: families.iter().enumerate().map(|(n, (code, _))| child(n, code)).collect(),
        calendar: CalendarRows {
            school_year: Some("carico".into()),
            terms: vec![TermRow { school: None, first: today - Days::new(30), last: today + Days::new(200) }],
            closures: vec![],
        },
    };
    desk.import(ente, &roster).await.expect("the import");
    if known {
        let mut tx = db.write().await.expect("a transaction");
        for (_, number) in &families {
            tx.put_known_caller(ente, number, now).await.expect("a known caller");
        }
        tx.commit().await.expect("a commit");
    }
    db.close().await;
    families
}

fn child(n: usize, code: &str) -> ChildRow {
    ChildRow {
        origin: None,
        external_id: Some(format!("M{n}")),
        last_name: format!("Prova{n}"),
        first_name: "Ada".into(),
        fiscal_code: None,
        school: "PRIM".into(),
        class: "1A".into(),
        diet: NORMAL_DIET.into(),
        code: Some(code.to_owned()),
        enrolled_from: None,
        enrolled_to: None,
        guardians: vec![],
    }
}

/// The codes of all children with a cancelled meal, and how many operations were accepted.
pub async fn cancelled(url: &str) -> (HashSet<String>, i64) {
    const CODES: &str = "SELECT k.code FROM mark m JOIN child k ON k.id = m.child_id WHERE m.kind = 'cancelled'";
    const ACCEPTED: &str = "SELECT COUNT(*) FROM operation WHERE decision = 'accepted' AND choice = 'cancel'";
    let (codes, accepted): (Vec<String>, i64) = if url.starts_with("sqlite:") {
        let mut db = sqlx::SqliteConnection::connect(url).await.expect("connects");
        let codes = sqlx::query_scalar(CODES).fetch_all(&mut db).await.expect("codes");
        (codes, sqlx::query_scalar(ACCEPTED).fetch_one(&mut db).await.expect("a number"))
    } else {
        let mut db = sqlx::PgConnection::connect(url).await.expect("connects");
        let codes = sqlx::query_scalar(CODES).fetch_all(&mut db).await.expect("codes");
        (codes, sqlx::query_scalar(ACCEPTED).fetch_one(&mut db).await.expect("a number"))
    };
    (codes.into_iter().collect(), accepted)
}

/// The running program; ended, by its pid, when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// Its SIP address.
    pub sip: SocketAddr,
    http: SocketAddr,
}

impl Program {
    /// Starts it over this database and waits until it is ready; its log goes into `directory`.
    pub fn start(binary: Option<&Path>, directory: &Path, url: &str) -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (sip, http) = (local(free_port()), local(free_port()));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Debug formatting of a text is TOML's: quoted, with escapes.
        let [prompts, dialplan] = ["prompts/it", "dialplans/mensa.toml"].map(|path| root.join(path).to_string_lossy().into_owned());
        let config = format!(
            "database = {url:?}\nhttp = \"{http}\"\nprompts = {prompts:?}\ndrain_seconds = 5\n\
             [sip]\nudp = [\"{sip}\"]\nrtp_ports = [{}, {}]\nmax_calls = {}\n\
             [[trunk]]\nname = \"carico\"\nsources = [\"127.0.0.1/32\"]\ncalls_per_second = 5000\n\
             [[ente]]\nslug = \"carico\"\nname = \"Comune di Carico\"\nopens = \"00:01\"\ncutoff = \"00:00\"\n\
             [[number]]\ncalled = \"{CALLED}\"\nente = \"carico\"\ndialplan = {dialplan:?}\n",
            PORTS.0,
            PORTS.1,
            (PORTS.1 - PORTS.0).div_ceil(2),
        );
        let file = directory.join("carico.toml");
        fs::write(&file, config).expect("the configuration");
        let child = Command::new(binary.unwrap_or(Path::new(env!("CARGO_BIN_EXE_voceguida"))))
            .args(["serve", "--config"])
            .arg(&file)
            .env_remove("VOCEGUIDA_DATABASE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("log")).expect("the log"))
            .spawn()
            .expect("the program starts");
        let mut program = Self { child, sip, http };
        let until = Instant::now() + Duration::from_mins(1);
        while !program.get("/readyz").is_some_and(|page| page.starts_with("HTTP/1.1 200")) {
            let ended = program.child.try_wait().expect("its state");
            let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "the program does not come up: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        program
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A page of its own, head and all.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    /// Stops it in order.
    pub fn stop(mut self) {
        // By its pid, which is ours until it has been waited for.
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().expect("kill runs");
        assert!(asked.success());
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if self.child.try_wait().expect("its state").is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address").port()
}
