//! Billing on both databases: a month looked at, issued, killed and gone on with, followed by second thoughts; the accounts balance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::{
    fmt::Write as _,
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use chrono::{Datelike as _, NaiveDate, Weekday};
use rand::SeedableRng as _;
use sqlx::AssertSqlSafe;
use support::{School, at, day, each_database, execute, postgres};
use voceguida::{
    billing::{
        Cents, DaySet, Month,
        family::{Isee, Relief, ReliefKind, Shares},
        outcome::Held,
        settings::BillingSettings,
        tariff::{Rate, Scope, Tariff},
    },
    canteen::{
        ChildId, Choice,
        code::ChildCode,
        fiscal_code::{FiscalCode, Sex},
        roster::{CalendarRows, ChildRow, GuardianRow, Guardianship, NORMAL_DIET, Roster},
        window::Window,
    },
    desk::{
        Desk,
        behalf::OfficeOrder,
        billing::{
            BillError,
            enter::EnterError,
            run::{AT_ONCE, Order, Progress},
        },
        trail::Actor,
    },
    ops::clock::Clock,
    store::Db,
};

fn settings() -> BillingSettings {
    BillingSettings {
        creditor: "00123450017".parse().unwrap(),
        segregation: "02".parse().unwrap(),
        series: 0,
        cbill: Some("AB123".into()),
        due_days: 30,
        threshold: Cents(500),
        first_day: day("2026-09-01"),
    }
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

fn order(month: Month, settings: &BillingSettings) -> Order<'_> {
    Order { month, settings, also_small: false, at_once: AT_ONCE }
}

fn tariff() -> Tariff {
    let rate = |residents, up_to: Option<i64>, meal| Rate {
        id: 0,
        scope: Scope::All,
        residents: Some(residents),
        isee_up_to: up_to.map(Cents),
        meal: Cents(meal),
        monthly: Cents::ZERO,
    };
    let rates = vec![rate(true, Some(1_000_000), 320), rate(true, None, 500), rate(false, None, 600)];
    Tariff { id: 0, valid_from: day("2026-09-01"), rates, siblings: vec![(2, 2_000.try_into().unwrap())] }
}

fn person(n: i32, sex: Sex) -> FiscalCode {
    FiscalCode::compose("Rossi", "Ada", NaiveDate::from_ymd_opt(n, 3, 9).unwrap(), sex, "Y042").unwrap()
}

fn guardian(n: usize, fiscal_code: Option<FiscalCode>) -> GuardianRow {
    GuardianRow {
        first_name: "Ada".into(),
        last_name: format!("Adulto{n}"),
        fiscal_code,
        email: (n != 2).then(|| format!("g{n}@posta.example")),
        phone: None,
    }
}

fn child(n: usize, born: Option<i32>, guardians: &[usize]) -> ChildRow {
    ChildRow {
        origin: None,
        external_id: Some(format!("B{n}")),
        last_name: format!("Bambino{n}"),
        first_name: "Leo".into(),
        fiscal_code: born.map(|year| person(year, Sex::Male)),
        school: "PRIM".into(),
        class: "1A".into(),
        diet: NORMAL_DIET.into(),
        code: None,
        enrolled_from: None,
        enrolled_to: None,
        guardians: guardians.iter().map(|&guardian| Guardianship { guardian, payer: guardian == guardians[0] }).collect(),
    }
}

/// Families beside the two children of [`School`], for whom nobody pays: adult 0 with two children (the younger one entered first), adult 1 and adult 2
/// living apart with one, adult 3 without a fiscal code with one.
async fn families(school: &School) -> (Actor, Vec<ChildId>, Vec<i64>) {
    let guardians = vec![
        guardian(0, Some(person(1985, Sex::Female))),
        guardian(1, Some(person(1986, Sex::Female))),
        guardian(2, Some(person(1987, Sex::Male))),
        guardian(3, None),
    ];
    let children = vec![child(0, Some(2019), &[0]), child(1, Some(2017), &[0]), child(2, None, &[1, 2]), child(3, None, &[3])];
    let empty = support::roster(&[]);
    let roster = Roster { guardians, children, calendar: CalendarRows::default(), ..empty };
    school.desk_at("2026-09-01T10:00:00+02:00").import(school.ente, &roster).await.unwrap();
    let mut tx = school.db.read().await.unwrap();
    let children: Vec<_> = tx.billed_children(school.ente).await.unwrap().iter().skip(2).map(|c| ChildId(c.id)).collect();
    let adults = tx.billed_adults(school.ente).await.unwrap().iter().map(|a| a.id).collect();
    (Actor::command_line(school.ente), children, adults)
}

/// Notices of a month, line by line.
async fn told(school: &School, of: &str) -> String {
    let mut tx = school.db.read().await.unwrap();
    let mut text = String::new();
    for n in tx.notices_of_month(school.ente, month(of)).await.unwrap() {
        let total = Cents(n.total_cents);
        writeln!(text, "{}/{} {} {}: {total}, entro {}", n.number, n.year, n.notice_number, n.debtor_name, n.due_day).unwrap();
        for l in tx.lines_of_notice(n.id).await.unwrap() {
            let days: Vec<_> = DaySet::from_bits(l.days).unwrap().days_of(Month::of(l.month)).map(|day| day.day().to_string()).collect();
            let (unit, total) = (Cents(l.unit_cents), Cents(l.total_cents));
            let why = l.reason.map_or(String::new(), |reason| format!(" [{reason} {}]", l.note));
            writeln!(text, "  {} {} {} × {unit} = {total}{why}: {}", l.last_name, Month::of(l.month), l.quantity, days.join(" ")).unwrap();
            writeln!(text, "    {}", l.steps.unwrap_or_default()).unwrap();
        }
    }
    text
}

#[tokio::test]
async fn a_month_is_issued_once_and_second_thoughts_follow() {
    each_database(|school| async move {
        let (actor, children, adults) = families(&school).await;
        let desk = school.desk_at("2026-11-02T10:00:00+01:00");
        let settings = settings();
        let october = order(month("2026-10"), &settings);

        // Nothing is known yet: nothing is billed, and it is said.
        desk.close_days(school.ente, None, |_, _| {}).await.unwrap();
        let preview = desk.look_at_month(school.ente, &october, |_| {}).await.unwrap();
        assert_eq!((preview.totals.notices, preview.totals.no_tariff.0), (0, 6));

        desk.enter_tariff(&actor, &tariff(), "Tariffe").await.unwrap();
        let apart = vec![(adults[1], 6_000.try_into().unwrap()), (adults[2], 4_000.try_into().unwrap())];
        let shares = Shares { id: 0, first: day("2026-09-01"), shares: apart };
        desk.enter_shares(&actor, children[2], &shares).await.unwrap();
        let preview = desk.look_at_month(school.ente, &october, |_| {}).await.unwrap();
        let totals = &preview.totals;
        assert_eq!((totals.notices, totals.no_payer.0, preview.month_is_over), (3, 2, true));
        assert_eq!(totals.held[&Held::NoFiscalCode].0, 1);
        assert_eq!(told(&school, "2026-10").await, "", "a look writes nothing");

        let mut progress = Vec::new();
        let issued = desk.issue_month(&actor, &october, |at| progress.push(at)).await.unwrap();
        assert_eq!((issued.notices, issued.total, issued.resumed), (3, totals.issued, false));
        assert_eq!(progress.last(), Some(&Progress::Writing(4, 4)));
        insta::assert_snapshot!("october", told(&school, "2026-10").await);
        let balance = desk.balance(school.ente).await.unwrap();
        assert_eq!((balance.wrong.clone(), balance.notices, balance.issued), (vec![], 3, issued.total));
        assert_eq!(balance.open, totals.carried().unwrap());

        // Again: nothing.
        let again = desk.issue_month(&actor, &october, |_| {}).await.unwrap();
        assert_eq!((again.notices, again.carried.len()), (0, 1));

        // Second thoughts: a closure that an import brings late, a meal that the office corrects, an ISEE handed in late, a fiscal code at last.
        let late = school.desk_at("2026-11-20T12:00:00+01:00");
        let mut tx = school.db.write().await.unwrap();
        let (snow, at_noon) = (day("2026-10-15"), at("2026-11-20T12:00:00+01:00"));
        tx.add_closure(school.ente, None, None, snow, snow, "Neve", at_noon).await.unwrap();
        tx.commit().await.unwrap();
        let wrong =
            OfficeOrder { child: children[0], choice: Choice::Cancel, day: day("2026-10-22"), until: None, note: Some("Era malato") };
        late.operate_for(&actor, &wrong, "late").await.unwrap();
        let (first, last, filed_on) = (day("2026-09-01"), day("2026-12-31"), day("2026-11-20"));
        late.enter_isee(&actor, adults[0], &Isee { id: 0, value: Cents(900_000), first, last, filed_on }).await.unwrap();
        let relief = Relief {
            id: 0,
            kind: ReliefKind::Exempt,
            first: day("2026-10-26"),
            last: Some(day("2026-10-30")),
            reason: "Delibera 3".into(),
        };
        late.enter_relief(&actor, children[2], &relief).await.unwrap();
        let code = person(1990, Sex::Female);
        let put = async |code: String| {
            let mut tx = school.db.write().await.unwrap();
            let versioned = tx.adult_state(school.ente, adults[3]).await.unwrap().unwrap();
            let state = voceguida::store::AdultState { fiscal_code: Some(code), ..versioned.state };
            tx.put_adult(school.ente, adults[3], &state).await.unwrap();
            tx.commit().await.unwrap();
        };
        let (start, control) = code.as_str().split_at(15);
        put(format!("{start}{}", if control == "A" { "B" } else { "A" })).await;
        let bad = desk.look_at_month(school.ente, &october, |_| {}).await.unwrap();
        assert_eq!(bad.totals.held[&Held::BadFiscalCode].0, 1, "a wrong control character");
        put(code.as_str().to_lowercase()).await;

        let december = school.desk_at("2026-12-02T10:00:00+01:00");
        assert!(matches!(desk.issue_month(&actor, &order(month("2026-11"), &settings), |_| {}).await, Err(BillError::NotOver(_))));
        let november = december.issue_month(&actor, &order(month("2026-11"), &settings), |_| {}).await.unwrap();
        assert_eq!(november.notices, 4);
        insta::assert_snapshot!("november", told(&school, "2026-11").await);
        let balance = december.balance(school.ente).await.unwrap();
        assert_eq!((balance.wrong, balance.open), (vec![], Cents::ZERO));

        // A child that is forgotten takes nothing of the accounts with it, nor from its brother.
        let mut tx = school.db.write().await.unwrap();
        let code = ChildCode::random(&mut rand::rngs::StdRng::seed_from_u64(99));
        tx.forget_child(school.ente, children[1], &code, at("2026-12-02T10:00:00+01:00")).await.unwrap();
        tx.commit().await.unwrap();
        let balance = december.balance(school.ente).await.unwrap();
        assert_eq!((balance.wrong, balance.open), (vec![], Cents::ZERO));
    })
    .await;
}

#[tokio::test]
async fn what_was_written_down_stays_and_what_is_wrong_is_refused() {
    each_database(|school| async move {
        let (actor, children, adults) = families(&school).await;
        let desk = school.desk_at("2026-11-02T10:00:00+01:00");
        let settings = settings();
        let (first, last) = (day("2026-09-01"), day("2026-12-31"));
        let isee = Isee { id: 0, value: Cents(900_000), first, last, filed_on: first };
        let relief = Relief { id: 0, kind: ReliefKind::Exempt, first, last: None, reason: "Delibera".into() };
        let whole = |who| Shares { id: 0, first, shares: vec![(who, 10_000.try_into().unwrap())] };
        assert!(matches!(desk.enter_isee(&actor, 999, &isee).await, Err(EnterError::Gone)));
        assert!(matches!(
            desk.enter_isee(&actor, adults[0], &Isee { last: day("2026-08-31"), ..isee.clone() }).await,
            Err(EnterError::Days)
        ));
        assert!(matches!(desk.enter_isee(&actor, adults[0], &Isee { value: Cents(-1), ..isee.clone() }).await, Err(EnterError::Amount)));
        assert!(matches!(desk.enter_relief(&actor, ChildId(999), &relief).await, Err(EnterError::Gone)));
        assert!(matches!(
            desk.enter_relief(&actor, children[0], &Relief { reason: " ".into(), ..relief.clone() }).await,
            Err(EnterError::Reason)
        ));
        assert!(matches!(desk.enter_shares(&actor, children[0], &whole(999)).await, Err(EnterError::Gone)));
        assert!(matches!(desk.enter_tariff(&actor, &Tariff { rates: vec![], ..tariff() }, "x").await, Err(EnterError::Tariff(_))));
        let early = order(month("2026-08"), &settings);
        assert!(matches!(desk.look_at_month(school.ente, &early, |_| {}).await, Err(BillError::TooEarly(_))));

        desk.enter_tariff(&actor, &tariff(), "Tariffe").await.unwrap();
        let isee = desk.enter_isee(&actor, adults[0], &isee).await.unwrap();
        desk.enter_relief(&actor, children[0], &relief).await.unwrap();
        desk.enter_residence(&actor, children[0], first, false).await.unwrap();
        desk.enter_shares(&actor, children[0], &whole(adults[0])).await.unwrap();
        desk.issue_month(&actor, &order(month("2026-10"), &settings), |_| {}).await.unwrap();
        for statement in [
            "UPDATE notice SET total_cents = 1",
            "DELETE FROM notice_line",
            "UPDATE notice_line SET unit_cents = 1, total_cents = quantity",
            "UPDATE billing_outcome SET due_cents = 1",
            "UPDATE tariff_rate SET meal_cents = 1",
            "DELETE FROM tariff",
            "DELETE FROM tariff_sibling",
            "UPDATE isee SET value_cents = 1",
            "DELETE FROM isee",
            "UPDATE relief SET kind = 'exempt', reason = 'x'",
            "UPDATE residence SET resident = TRUE",
            "UPDATE payment_share_part SET share_bp = 1",
            "UPDATE price_basis SET steps = ''",
            "UPDATE billing_run SET threshold_cents = 1",
            "DELETE FROM billing_run",
        ] {
            assert!(execute(&school.url, statement).await.is_err(), "{statement}");
        }
        desk.withdraw_isee(&actor, isee).await.unwrap();
        assert!(matches!(desk.withdraw_isee(&actor, isee).await, Err(EnterError::Gone)), "only once");
        assert_eq!(desk.balance(school.ente).await.unwrap().wrong, Vec::<String>::new());
    })
    .await;
}

/// A large ente whose October was counted already: so many payers, two children for every other one.
async fn large(url: &str, payers: usize) -> (Desk, Actor) {
    let desk = Desk::new(Db::open(url).await.unwrap(), Clock::starting_at(at("2026-09-01T10:00:00+02:00")));
    let ente = desk.put_ente("borgo", "Comune di Borgo", None, &Window::default()).await.unwrap();
    let guardians = (0..payers).map(|n| guardian(n + 10, Some(person(1900 + (n % 90) as i32, Sex::Male)))).collect();
    let children = (0..payers * 3 / 2).map(|n| child(n, None, &[n % payers])).collect();
    desk.import(ente, &Roster { guardians, children, ..support::roster(&[]) }).await.unwrap();
    let actor = Actor::command_line(ente);
    desk.enter_tariff(&actor, &tariff(), "Tariffe").await.unwrap();
    let weekday = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    for day in day("2026-09-01").iter_days().take_while(|day| *day <= support::day("2026-10-31")) {
        let served = day.month() == 10 && weekday(&day);
        let count = if served { payers * 3 / 2 } else { 0 };
        let mut sql = vec![format!(
            "INSERT INTO closed_day (school_id, day, closed_at, meals) SELECT id, '{day}', '2026-09-01 00:00:00+00:00', {count} FROM school"
        )];
        if served {
            sql.push(format!(
                "INSERT INTO meal (child_id, day, school_id, class_id, diet, state)
                SELECT k.id, '{day}', c.school_id, k.class_id, k.diet, 'served' FROM child k JOIN school_class c ON c.id = k.class_id"
            ));
        }
        for sql in sql {
            match desk.db() {
                Db::Sqlite { writer, .. } => drop(sqlx::query(AssertSqlSafe(sql)).execute(writer).await.unwrap()),
                Db::Postgres(pool) => drop(sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap()),
            }
        }
    }
    (desk, actor)
}

/// `voceguida bill 2026-10 --issue`, a payer in a transaction.
fn bill(config: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voceguida"));
    command.args(["bill", "2026-10", "--issue", "--at-once", "1", "--config"]).arg(config).env("VOCEGUIDA_LOG", "warn");
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn notices(desk: &Desk, actor: &Actor) -> usize {
    desk.db().read().await.unwrap().notices_of_month(actor.ente, month("2026-10")).await.unwrap().len()
}

/// The configuration of a service on that database.
fn configuration(dir: &std::path::Path, url: &str) -> std::path::PathBuf {
    let example = include_str!("../deploy/voceguida.example.toml");
    let billing = "[ente.billing]\ncreditor = \"00123450017\"\nsegregation_code = \"02\"\nfirst_day = \"2026-09-01\"\n";
    let config = example
        .replace("sqlite:/var/lib/voceguida/voceguida.db", url)
        .replace("prompts = \"/usr/share/voceguida", "prompts = \"")
        .replace("\n[[number]]", &format!("\n{billing}\n[[number]]"));
    let file = dir.join("voceguida.toml");
    std::fs::write(&file, config).unwrap();
    file
}

#[tokio::test]
async fn a_run_that_is_killed_is_finished_by_running_it_again() {
    const PAYERS: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    for url in [format!("sqlite:{}", dir.path().join("large.db").display()), postgres::fresh_database()] {
        let (desk, actor) = large(&url, PAYERS).await;
        let config = configuration(dir.path(), &url);
        let mut child = bill(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_mins(2);
        while notices(&desk, &actor).await < 20 {
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "no notice was issued");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let left = notices(&desk, &actor).await;
        assert!((20..PAYERS).contains(&left), "killed in the middle: {left}");
        // What stands is whole, though not all of it is there.
        assert_eq!(desk.balance(actor.ente).await.unwrap().wrong, Vec::<String>::new());

        // At first it may look as if the dead one were still at it; it is said so, and nothing is done.
        let until = Instant::now() + Duration::from_mins(2);
        let output = loop {
            let output = bill(&config).output().unwrap();
            if output.status.success() {
                break output;
            }
            assert!(text(&output).contains("un'altra emissione è in corso") && Instant::now() < until, "{}", text(&output));
            assert_eq!(notices(&desk, &actor).await, left);
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        assert!(text(&output).contains(&format!("(ripresa da dove si era interrotta): {PAYERS} avvisi")), "{}", text(&output));
        let mut tx = desk.db().read().await.unwrap();
        let all = tx.notices_of_month(actor.ente, month("2026-10")).await.unwrap();
        drop(tx);
        let mut payers: Vec<_> = all.iter().map(|n| n.guardian_id).collect();
        payers.sort_unstable();
        payers.dedup();
        assert_eq!((all.len(), payers.len()), (PAYERS, PAYERS), "nobody twice, nobody missing");
        let balance = desk.balance(actor.ente).await.unwrap();
        assert_eq!((balance.wrong, balance.open), (vec![], Cents::ZERO));
        let again = bill(&config).output().unwrap();
        assert!(again.status.success() && text(&again).contains(": 0 avvisi per 0,00 €"), "{}", text(&again));
        desk.db().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_wins_and_the_other_is_told() {
    const PAYERS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    for url in [format!("sqlite:{}", dir.path().join("two.db").display()), postgres::fresh_database()] {
        let (desk, actor) = large(&url, PAYERS).await;
        // Two processes: each opens the database for itself. The first one is held up after its second payer.
        let (go_on, wait) = mpsc::channel::<()>();
        let (reached, half_way) = mpsc::channel::<()>();
        let (first_url, first_actor) = (url.clone(), actor.clone());
        let first = tokio::spawn(async move {
            let desk = Desk::new(Db::open(&first_url).await.unwrap(), Clock::starting_at(at("2026-11-02T10:00:00+01:00")));
            let settings = settings();
            let order = Order { at_once: 1, ..order(month("2026-10"), &settings) };
            let told = move |progress| {
                if progress == Progress::Writing(2, PAYERS) {
                    reached.send(()).unwrap();
                    tokio::task::block_in_place(|| wait.recv_timeout(Duration::from_mins(2)).unwrap());
                }
            };
            let done = desk.issue_month(&first_actor, &order, told).await;
            desk.db().close().await;
            done
        });
        tokio::task::block_in_place(|| half_way.recv_timeout(Duration::from_mins(2)).unwrap());
        let settings = settings();
        let order = order(month("2026-10"), &settings);
        let second = Desk::new(Db::open(&url).await.unwrap(), Clock::starting_at(at("2026-11-02T10:00:00+01:00")));
        assert!(matches!(second.issue_month(&actor, &order, |_| {}).await, Err(BillError::Busy(_))));
        // Much later it is taken for dead, and the run is gone on with; when it wakes up it notices, and does nothing more.
        let later = Desk::new(second.db().clone(), Clock::starting_at(at("2026-11-02T10:10:00+01:00")));
        let other = Order { month: month("2026-09"), ..order.clone() };
        assert!(matches!(later.issue_month(&actor, &other, |_| {}).await, Err(BillError::Unfinished(_))));
        let issued = later.issue_month(&actor, &order, |_| {}).await.unwrap();
        assert_eq!((issued.resumed, issued.notices), (true, PAYERS as i64));
        go_on.send(()).unwrap();
        assert!(matches!(first.await.unwrap(), Err(BillError::TakenOver)));
        assert_eq!(notices(&desk, &actor).await, PAYERS);
        assert_eq!(desk.balance(actor.ente).await.unwrap().wrong, Vec::<String>::new());
        second.db().close().await;
        desk.db().close().await;
    }
}
