//! `voceguida demo`: an invented school on the embedded database.

mod desk_work;
pub mod school;

use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};

use self::school::PEOPLE;
use super::node::{self, Number, Setup};
use crate::{
    canteen::{
        demo::{demo_roster, school_year_on},
        roster::{CalendarRows, Scope},
        window::Window,
    },
    desk::{Desk, explain::day_in_words, trail::Actor},
    ops::clock::Clock,
    store::{Db, EnrolledChild, Ente},
    telephony::sip::{SipConfig, Trunk},
    voice::plan::Plan,
    web::{Guide, GuideChild, office::OfficeSettings},
};

/// Where the demo keeps its data.
pub const DEFAULT_DATA: &str = "demo-data";
/// The demo's called numbers: the line, and one that speaks for a minute, for load tests.
const LINE: &str = "800123456";
const LOAD: &str = "800000000";
/// The children whose codes are printed: always the same three, of three families.
const SHOWN: usize = 3;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the demo's database.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// SIP address, UDP and TCP.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5060")]
    sip: SocketAddr,
    /// HTTP address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Start the demo's clock at this instant (RFC 3339); it runs on from there.
    #[arg(long, value_name = "INSTANT")]
    at: Option<DateTime<FixedOffset>>,
    /// Begin on the school's first day, without the invented year before it.
    #[arg(long)]
    no_past: bool,
    /// Print all children with their codes as CSV, and end.
    #[arg(long)]
    print_codes: bool,
    /// Directory of dialplans.
    #[arg(long, value_name = "DIR", default_value = "dialplans")]
    dialplans: PathBuf,
    /// Directory of prompts.
    #[arg(long, value_name = "DIR", default_value = "prompts/it")]
    prompts: PathBuf,
    /// First RTP port.
    #[arg(long, value_name = "PORT", default_value_t = 20_000, value_parser = clap::value_parser!(u16).range(1024..=50_000))]
    rtp_port: u16,
    /// Calls at once.
    #[arg(long, default_value_t = 7_000)]
    max_calls: usize,
    /// How long running calls may finish at the end, in seconds.
    #[arg(long, default_value_t = 30)]
    drain_seconds: u64,
}

/// The demo's database file.
pub fn database_file(data: &Path) -> PathBuf {
    data.join("demo.db")
}

/// Its URL.
pub fn database_url(data: &Path) -> String {
    format!("sqlite:{}", database_file(data).display())
}

/// Runs the demo.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (clock, note) = clock(args.at, Clock::real().now())?;
    let (desk, ente) = open(&args, clock).await?;
    let children = desk.children_with_codes(ente.id).await?;
    if args.print_codes {
        print_codes(&children)?;
        return Ok(ExitCode::SUCCESS);
    }
    let uri = format!("sip:{LINE}@{}", args.sip);
    let child = |c: &EnrolledChild| GuideChild {
        name: format!("{} {}", c.first_name, c.last_name),
        class: format!("{}, {}", c.school, c.class),
        code: c.code.clone(),
    };
    let guide = Guide { uri, children: children.iter().take(SHOWN).map(child).collect() };
    let last_port = args.rtp_port.saturating_add(2 * args.max_calls.min(7_000) as u16 + 1);
    let sip = SipConfig {
        udp: vec![args.sip],
        tcp: vec![args.sip],
        rtp_ports: args.rtp_port..=last_port,
        max_calls: args.max_calls,
        trunks: vec![Trunk {
            name: "demo".into(),
            sources: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
            calls_per_second: 5_000,
            ..Trunk::default()
        }],
        ..SipConfig::default()
    };
    let number =
        |called: &str, plan: &str| Number { trunk: None, called: called.to_owned(), ente: ente.id, dialplan: args.dialplans.join(plan) };
    let numbers = vec![number(LINE, "mensa.toml"), number(LOAD, "carico.toml")];
    let setup = Setup {
        desk: desk.clone(),
        sip,
        http: args.http,
        prompts: args.prompts,
        numbers,
        drain: Duration::from_secs(args.drain_seconds),
        office: OfficeSettings::default(),
        guide: Some(guide.clone()),
        mail: None,
        config: None,
    };
    let links = office_links(&desk, &ente).await?;
    node::run(setup, |_, http| print_guide(&guide, &ente, clock, note.as_deref(), http, &links)).await?;
    Ok(ExitCode::SUCCESS)
}

/// The demo's clock, and what has to be said of it.
fn clock(at: Option<DateTime<FixedOffset>>, now: DateTime<Utc>) -> anyhow::Result<(Clock, Option<String>)> {
    if let Some(at) = at {
        return Ok((Clock::starting_at(at.with_timezone(&Utc)), None));
    }
    let window = Window::default();
    let today = window.local(now).date();
    if window.search_start(now).is_some_and(has_school_ahead) {
        return Ok((Clock::real(), None));
    }
    let evening = next_school_day(today).context("there is no school day ahead")?;
    let start = window.instant(evening.and_time(NaiveTime::from_hms_opt(18, 30, 0).unwrap_or(NaiveTime::MIN)));
    let note = format!(
        "Now the line would be closed (it takes operations from 18:00 to 09:00): the demo's clock starts at {}, 18:30.",
        day_in_words(evening)
    );
    Ok((Clock::starting_at(start), Some(note)))
}

/// Is there still a served day in this school year?
fn has_school_ahead(day: NaiveDate) -> bool {
    calendar(day).is_some_and(|calendar| calendar.terms.iter().any(|term| day <= term.last))
}

/// The first day from `today` on with school in the ente's calendar.
fn next_school_day(today: NaiveDate) -> Option<NaiveDate> {
    let open = |day: &NaiveDate| {
        let weekday = !matches!(chrono::Datelike::weekday(day), chrono::Weekday::Sat | chrono::Weekday::Sun);
        weekday
            && calendar(*day).is_some_and(|calendar| {
                let in_term = calendar.terms.iter().any(|t| t.first <= *day && *day < t.last);
                let closed = calendar.closures.iter().any(|c| c.scope == Scope::Ente && c.first <= *day && *day <= c.last);
                in_term && !closed
            })
    };
    today.iter_days().take(400).find(open)
}

fn calendar(day: NaiveDate) -> Option<CalendarRows> {
    demo_roster(school_year_on(day), |_| String::new()).ok().map(|roster| roster.calendar)
}

/// The demo's database, with the school in it: made once, aside, so that a demo that is stopped meanwhile begins anew.
async fn open(args: &Args, clock: Clock) -> anyhow::Result<(Desk, Ente)> {
    std::fs::create_dir_all(&args.data).with_context(|| args.data.display().to_string())?;
    let file = database_file(&args.data);
    if !args.no_past && !file.exists() {
        let making = args.data.join("making");
        if making.exists() {
            std::fs::remove_dir_all(&making).with_context(|| making.display().to_string())?;
        }
        std::fs::create_dir(&making).with_context(|| making.display().to_string())?;
        let desk = Desk::new(Db::open(&database_url(&making)).await?, clock);
        let mut told = 0;
        let plan = Arc::new(Plan::load(&args.dialplans.join("mensa.toml"))?);
        school::prepare(&desk, Some(&plan), |done, all| {
            // Nothing is said of what is done at once: in a release this takes a second or two.
            let tenths = done * 10 / all.max(1);
            if tenths > told {
                told = tenths;
                eprint!("\rInventing a school's past, once: {} %{}", tenths * 10, if tenths == 10 { "\n" } else { "" });
            }
        })
        .await?;
        desk.db().close().await;
        for entry in std::fs::read_dir(&making)? {
            let from = entry?.path();
            if let Some(name) = from.file_name().filter(|_| from != database_file(&making)) {
                std::fs::rename(&from, args.data.join(name))?;
            }
        }
        std::fs::rename(database_file(&making), &file)?;
        std::fs::remove_dir(&making)?;
    }
    let desk = Desk::new(Db::open(&database_url(&args.data)).await?, clock);
    let ente = school::prepare(&desk, None, |_, _| {}).await?;
    Ok((desk, ente))
}

/// A link into the office for each of its people.
async fn office_links(desk: &Desk, ente: &Ente) -> anyhow::Result<Vec<(&'static str, String)>> {
    let actor = Actor::system(ente.id);
    let mut links = Vec::with_capacity(PEOPLE.len());
    for (login, _, role) in PEOPLE {
        let link = desk.login_link(&actor, &school::person(desk, login).await?, TimeDelta::hours(12)).await?;
        links.push((role.label(), format!("/ufficio/entra/{}", link.reveal())));
    }
    Ok(links)
}

fn print_codes(children: &[EnrolledChild]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(std::io::stdout().lock());
    csv.write_record(["code", "last_name", "first_name", "school", "class", "diet"])?;
    for c in children {
        csv.write_record([&c.code, &c.last_name, &c.first_name, &c.school, &c.class, &c.diet])?;
    }
    csv.flush()?;
    Ok(())
}

fn print_guide(guide: &Guide, ente: &Ente, clock: Clock, note: Option<&str>, http: SocketAddr, links: &[(&str, String)]) {
    let local = ente.window.local(clock.now());
    let mut text = format!("\nVoce Guida: {}\n", ente.name);
    if let Some(note) = note {
        let _ = writeln!(text, "{note}");
    }
    let _ = writeln!(text, "The demo's clock shows {} {}.\n", day_in_words(local.date()), local.format("%H:%M"));
    text.push_str("Children to try (code, name, class):\n");
    for child in &guide.children {
        let _ = writeln!(text, "  {}  {:<18} {}", child.code, child.name, child.class);
    }
    let code = guide.children.first().map_or("", |c| c.code.as_str());
    let _ = writeln!(
        text,
        "\nCall it, from another terminal:\n  voceguida call {uri} --keys \"{code},1,1\" --heard\n\
         or with any SIP phone: {uri}\nThe page: http://{http}/\n\
         The office, each link once:",
        uri = guide.uri
    );
    for (role, link) in links {
        let _ = writeln!(text, "  {role:<15} http://{http}{link}");
    }
    text.push_str("Stop with Ctrl-C.\n");
    // The guide is all that the demo writes to standard output; if nobody reads it, it runs on.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_the_window_the_clock_starts_on_a_school_evening() {
        let noted = |now: &str| clock(None, now.parse().unwrap()).unwrap().1;
        assert_eq!(noted("2026-10-12T16:30:00Z"), None);
        assert!(noted("2026-10-12T10:00:00Z").unwrap().contains("lunedì 12 ottobre 2026, 18:30"));
        // Saturday noon: Monday evening. In the Christmas holidays: the first evening with school the next day or that day.
        assert!(noted("2026-10-17T10:00:00Z").unwrap().contains("lunedì 19 ottobre 2026"));
        assert!(noted("2026-12-28T11:00:00Z").unwrap().contains("gennaio 2027"));
        assert!(noted("2027-08-10T10:00:00Z").unwrap().contains("settembre 2027"));
    }
}
