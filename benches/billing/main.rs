//! A school year's runs of a very large comune, on both databases: 20,000 payers, 30,000 children, five million meals; each month looks at the
//! whole year again. The bar is a minute for a month.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a bench may panic")]

#[allow(dead_code, reason = "the office's bench uses the rest of it")]
#[path = "../office/data.rs"]
mod data;
#[path = "../../tests/support/postgres.rs"]
mod postgres;

use std::time::Instant;

use chrono::{Datelike, NaiveDate, Weekday};
use sqlx::AssertSqlSafe;
use voceguida::{
    billing::{
        Cents, Month,
        family::Isee,
        settings::BillingSettings,
        tariff::{Rate, Scope, Tariff},
    },
    canteen::EnteId,
    desk::{
        Desk,
        billing::run::{AT_ONCE, Order, Progress},
        trail::Actor,
    },
    ops::clock::Clock,
    store::Db,
};

const PAYERS: usize = 20_000;
const MONTHS: [&str; 10] = ["2026-09", "2026-10", "2026-11", "2026-12", "2027-01", "2027-02", "2027-03", "2027-04", "2027-05", "2027-06"];
/// Families whose ISEE comes in spring and counts from September.
const LATE: usize = 1_000;
/// Seconds that a month may take.
const BAR: f64 = 60.0;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn settings() -> BillingSettings {
    BillingSettings {
        creditor: "00123450017".parse().unwrap(),
        segregation: "02".parse().unwrap(),
        series: 0,
        cbill: None,
        due_days: 30,
        threshold: Cents(500),
        first_day: date("2026-09-01"),
    }
}

async fn execute(db: &Db, sql: String) {
    match db {
        Db::Sqlite { writer, .. } => drop(sqlx::query(AssertSqlSafe(sql)).execute(writer).await.unwrap()),
        Db::Postgres(pool) => drop(sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap()),
    }
}

/// Enrols, counts every school day's meals (one of nine is cancelled), and enters a tariff.
async fn fill(desk: &Desk, payers: usize) -> EnteId {
    let ente = data::enrol(desk, payers * 3 / 2).await.unwrap();
    execute(desk.db(), "UPDATE guardian SET fiscal_code = 'RSSMRA85T10A562S'".to_owned()).await;
    for day in date("2026-09-01").iter_days().take_while(|day| *day <= date("2027-06-30")) {
        let weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let holidays = [("2026-12-23", "2027-01-06"), ("2027-03-25", "2027-03-30")];
        let served = !weekend
            && (date("2026-09-14")..=date("2027-06-08")).contains(&day)
            && !holidays.iter().any(|(first, last)| (date(first)..=date(last)).contains(&day));
        if served {
            let n = day.num_days_from_ce();
            execute(
                desk.db(),
                format!(
                    "INSERT INTO meal (child_id, day, school_id, class_id, diet, state)
                    SELECT k.id, '{day}', c.school_id, k.class_id, k.diet, CASE WHEN (k.id + {n}) % 9 = 0 THEN 'cancelled' ELSE 'served' END
                    FROM child k JOIN school_class c ON c.id = k.class_id"
                ),
            )
            .await;
        }
        execute(
            desk.db(),
            format!(
                "INSERT INTO closed_day (school_id, day, closed_at, meals) SELECT s.id, '{day}', '2026-09-01 00:00:00+00:00',
                    (SELECT COUNT(*) FROM meal m WHERE m.day = '{day}' AND m.school_id = s.id AND m.state = 'served') FROM school s"
            ),
        )
        .await;
    }
    execute(desk.db(), "ANALYZE".to_owned()).await;
    let rate = |up_to: Option<i64>, meal| Rate {
        id: 0,
        scope: Scope::All,
        residents: None,
        isee_up_to: up_to.map(Cents),
        meal: Cents(meal),
        monthly: Cents(500),
    };
    let tariff = Tariff {
        id: 0,
        valid_from: date("2026-09-01"),
        rates: vec![rate(Some(1_000_000), 320), rate(None, 500)],
        siblings: vec![(2, 2_000.try_into().unwrap())],
    };
    desk.enter_tariff(&Actor::command_line(ente), &tariff, "Tariffe").await.unwrap();
    ente
}

/// Memory of this process in MB, at its most.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
}

async fn measure(url: &str, payers: usize) {
    let desk = Desk::new(Db::open(url).await.unwrap(), Clock::starting_at("2026-09-01T08:00:00Z".parse().unwrap()));
    let began = Instant::now();
    let ente = fill(&desk, payers).await;
    println!("{payers} payers and a year's meals in {:.0} s", began.elapsed().as_secs_f64());
    let desk = Desk::new(desk.db().clone(), Clock::starting_at("2027-07-02T08:00:00Z".parse().unwrap()));
    let (actor, settings) = (Actor::command_line(ente), settings());
    println!("{:<10} {:>8} {:>16} {:>8} {:>10} {:>9} {:>7}", "month", "notices", "issued", "read s", "reckon s", "write s", "all s");
    let mut again = MONTHS.to_vec();
    again.push("2027-06");
    for (n, month) in again.into_iter().enumerate() {
        if n == MONTHS.len() {
            let adults = desk.db().read().await.unwrap().billed_adults(ente).await.unwrap();
            let mut tx = desk.db().write().await.unwrap();
            let (first, last, filed_on) = (date("2026-09-01"), date("2027-08-31"), date("2027-06-30"));
            let entered = voceguida::store::Entered { at: "2027-07-02T08:00:00Z".parse().unwrap(), by: "bench" };
            for adult in adults.iter().take(LATE) {
                let isee = Isee { id: 0, value: Cents(900_000), first, last, filed_on };
                tx.add_isee(ente, adult.id, &isee, entered).await.unwrap();
            }
            tx.commit().await.unwrap();
            println!("then {LATE} families' ISEE from September on, and the last month again:");
        }
        let order = Order { month: month.parse::<Month>().unwrap(), settings: &settings, also_small: false, at_once: AT_ONCE };
        let began = Instant::now();
        let (mut reckoning, mut writing) = (0.0, 0.0);
        let issued = desk
            .issue_month(&actor, &order, |at| match at {
                Progress::Reckoning(_) => reckoning = began.elapsed().as_secs_f64(),
                Progress::Writing(0, _) => writing = began.elapsed().as_secs_f64(),
                _ => {}
            })
            .await
            .unwrap();
        let all = began.elapsed().as_secs_f64();
        let over = if all > BAR { "  over the bar" } else { "" };
        let total = issued.total.to_string();
        println!(
            "{month:<10} {:>8} {total:>16} {reckoning:>8.1} {:>10.1} {:>9.1} {all:>7.1}{over}",
            issued.notices,
            writing - reckoning,
            all - writing
        );
    }
    let began = Instant::now();
    let balance = desk.balance(ente).await.unwrap();
    assert_eq!(balance.wrong, Vec::<String>::new());
    println!(
        "proved in {:.1} s: {} notices for {}, {} open; {} MB at most",
        began.elapsed().as_secs_f64(),
        balance.notices,
        balance.issued,
        balance.open,
        most_memory()
    );
    desk.db().close().await;
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let payers = std::env::var("VOCEGUIDA_BENCH_PAYERS").ok().and_then(|n| n.parse().ok()).unwrap_or(PAYERS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    println!("SQLite");
    runtime.block_on(measure(&format!("sqlite:{}", dir.path().join("billing.db").display()), payers));
    println!("\nPostgreSQL");
    runtime.block_on(measure(&postgres::fresh_database(), payers));
}
