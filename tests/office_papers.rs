//! Mail, letters, codes, settings, hours and forgetting, on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::{io::Write as _, process::Command, sync::Mutex};

use chrono::{NaiveTime, TimeDelta};
use support::{MONDAY_EVENING, School, at, day, each_database, mail::Sink};
use voceguida::{
    canteen::{
        Choice,
        code::ChildCode,
        offer::Offered,
        roster::{GuardianRow, Guardianship, Roster},
        rule::Request,
        window::Window,
    },
    desk::{
        Desk,
        guard::Typed,
        hours::WindowError,
        letters::{Addressees, LetterError, Mailed},
        mail::{self, Attachment, MailError, MailFilter, MailKind, MailRow, NewMail, Round},
        operate::Order,
        settings::{Settings, SettingsError},
        trail::Actor,
    },
    ops::{
        clock::Clock,
        smtp::{Courier, Delivery, Outgoing, Pace},
    },
    papers::Logo,
    store::Verdict,
};

fn clerk(school: &School) -> Actor {
    Actor { ente: school.ente, person: None, name: "anna".into(), address: "127.0.0.1".into() }
}

fn some_mail(recipient: &str) -> NewMail {
    NewMail {
        kind: MailKind::News,
        cause: None,
        recipient: recipient.into(),
        recipient_name: "Ada Nicolò".into(),
        subject: "Pasti e scuola".into(),
        body: "Gentile famiglia, è arrivata.\n".into(),
        attachments: vec![Attachment { name: "a.txt".into(), media_type: "text/plain".into(), content: b"allegato".to_vec() }],
    }
}

async fn queue(desk: &Desk, school: &School, mail: &NewMail) -> Result<Option<i64>, MailError> {
    let mut tx = desk.db().write().await.unwrap();
    let queued = mail::queue(&mut tx, desk.clock().now(), &clerk(school), mail).await?;
    tx.commit().await.unwrap();
    Ok(queued)
}

async fn log(desk: &Desk, school: &School) -> Vec<MailRow> {
    let mut rows = desk.mails(school.ente, MailFilter::default(), 0, 100).await.unwrap().0;
    rows.sort_by_key(|row| row.id);
    rows
}

/// Recipient, state and attempts.
async fn states(desk: &Desk, school: &School) -> Vec<(String, String, i64)> {
    log(desk, school).await.into_iter().map(|m| (m.recipient, m.state, m.attempts)).collect()
}

async fn send_all(desk: &Desk, courier: &impl Courier) {
    for _ in 0..100 {
        match desk.send_next_mail(courier, Pace::default()).await.unwrap() {
            Round::Idle => return,
            Round::Away => panic!("the server is away"),
            _ => {}
        }
    }
}

fn later(school: &School, minutes: i64) -> Desk {
    Desk::new(school.db.clone(), Clock::starting_at(at(MONDAY_EVENING) + TimeDelta::minutes(minutes)))
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_taken_refused_or_taken_later_and_each_is_told() {
    each_database(async |school| {
        let sink = Sink::start();
        let desk = school.desk_at(MONDAY_EVENING);
        for recipient in ["ada@prova.example", "rifiutato@prova.example", "dopo@prova.example"] {
            queue(&desk, &school, &some_mail(recipient)).await.unwrap().expect("queued");
        }
        assert!(matches!(queue(&desk, &school, &some_mail("nessuno")).await, Err(MailError::Address)));
        send_all(&desk, &sink.courier()).await;
        let told = |recipient: &str, state: &str, attempts| (recipient.to_owned(), state.to_owned(), attempts);
        assert_eq!(
            states(&desk, &school).await,
            [told("ada@prova.example", "sent", 1), told("rifiutato@prova.example", "refused", 1), told("dopo@prova.example", "queued", 1)]
        );
        let rows = log(&desk, &school).await;
        assert_eq!(rows[0].answer.as_deref(), Some("250 preso in carico come 1"));
        assert!(rows[1].answer.as_ref().unwrap().contains("5.1.1 casella inesistente"), "{:?}", rows[1].answer);
        assert!(rows[2].answer.as_ref().unwrap().contains("4.7.1 riprovi fra poco"), "{:?}", rows[2].answer);

        // Not before its time, and then with the same Message-ID as ever.
        send_all(&desk, &sink.courier()).await;
        assert_eq!(sink.mails().len(), 1);
        send_all(&later(&school, 2), &sink.courier()).await;
        let mails = sink.mails();
        assert_eq!(mails.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), ["ada@prova.example", "dopo@prova.example"]);
        assert!(mails[0].1.contains("Content-Disposition: attachment; filename=\"a.txt\""), "{}", mails[0].1);
        // What was sent is forgotten; what was refused can be tried again.
        assert!(!desk.retry_mail(&clerk(&school), rows[0].id).await.unwrap());
        assert!(desk.retry_mail(&clerk(&school), rows[1].id).await.unwrap());
        assert!(desk.withdraw_mail(&clerk(&school), rows[1].id).await.unwrap());
        assert_eq!(states(&desk, &school).await[1].1, "withdrawn");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_mail_waits_and_too_old_mail_is_given_up() {
    each_database(async |school| {
        let sink = Sink::start();
        let courier = sink.courier();
        let place = sink.stop();
        let desk = school.desk_at(MONDAY_EVENING);
        queue(&desk, &school, &some_mail("ada@prova.example")).await.unwrap();
        assert_eq!(desk.send_next_mail(&courier, Pace::default()).await.unwrap(), Round::Away);
        assert_eq!(states(&desk, &school).await[0].1, "queued");
        let sink = Sink::back(place);
        send_all(&later(&school, 2), &courier).await;
        assert_eq!(sink.mails().len(), 1);

        queue(&desk, &school, &some_mail("piena@prova.example")).await.unwrap();
        for hours in [0, 1, 8, 24, 71] {
            send_all(&later(&school, 60 * hours + 1), &courier).await;
        }
        assert_eq!(states(&desk, &school).await[1].1, "queued");
        send_all(&later(&school, 60 * 80), &courier).await;
        let row = &log(&desk, &school).await[1];
        assert_eq!(row.state, "given_up");
        assert!(row.answer.as_ref().unwrap().contains("casella piena"), "the last words stay: {:?}", row.answer);
    })
    .await;
}

/// A courier that is slow, and counts.
struct Slow(Mutex<Vec<String>>);

impl Courier for Slow {
    async fn send(&self, mail: &Outgoing) -> Delivery {
        self.0.lock().unwrap().push(mail.token.clone());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        Delivery::Sent("250".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_send_each_mail_once_and_a_node_that_died_leaves_it_to_the_other() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        let once = NewMail { cause: Some("cucina:2026-10-15".into()), ..some_mail("cuoco@prova.example") };
        assert!(queue(&desk, &school, &once).await.unwrap().is_some());
        assert!(queue(&desk, &school, &once).await.unwrap().is_none(), "queued once however many mean to");
        for n in 0..8 {
            queue(&desk, &school, &some_mail(&format!("f{n}@prova.example"))).await.unwrap();
        }
        let courier = Slow(Mutex::default());
        let other = school.desk_at(MONDAY_EVENING);
        tokio::join!(send_all(&desk, &courier), send_all(&other, &courier));
        let mut sent = courier.0.lock().unwrap().clone();
        sent.sort();
        let all = sent.len();
        sent.dedup();
        assert_eq!((all, sent.len()), (9, 9));

        // Claimed, and then nothing more is heard: after a while it is handed over again, as the same mail.
        queue(&desk, &school, &some_mail("ada@prova.example")).await.unwrap();
        let mut tx = desk.db().write().await.unwrap();
        let now = desk.clock().now();
        let claimed = tx.claim_mail(now, now + TimeDelta::minutes(10)).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        send_all(&desk, &courier).await;
        assert_eq!(courier.0.lock().unwrap().len(), 9);
        send_all(&later(&school, 12), &courier).await;
        assert_eq!(courier.0.lock().unwrap().last(), Some(&claimed.token));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_so_many_in_a_minute() {
    each_database(async |school| {
        let desk = school.desk_at(MONDAY_EVENING);
        for n in 0..5 {
            queue(&desk, &school, &some_mail(&format!("f{n}@prova.example"))).await.unwrap();
        }
        let (courier, pace) = (Slow(Mutex::default()), Pace { per_minute: 3, ..Pace::default() });
        for _ in 0..6 {
            desk.send_next_mail(&courier, pace).await.unwrap();
        }
        assert_eq!(desk.send_next_mail(&courier, pace).await.unwrap(), Round::Enough);
        assert_eq!(courier.0.lock().unwrap().len(), 3);
        assert_eq!(later(&school, 2).send_next_mail(&courier, pace).await.unwrap(), Round::Ended);
    })
    .await;
}

/// Gives the two children guardians: Ada and Leo with addresses are both children's, as one family.
async fn with_guardians(school: &School) {
    let guardian = |last: &str, first: &str, email: Option<&str>| GuardianRow {
        last_name: last.into(),
        first_name: first.into(),
        email: email.map(Into::into),
        fiscal_code: None,
        phone: None,
    };
    let roster = support::roster(&school.codes);
    let links = vec![Guardianship { guardian: 0, payer: true }, Guardianship { guardian: 1, payer: false }];
    let roster = Roster {
        guardians: vec![
            guardian("Nicolò", "Ada <b>&</b> #emph[x]", Some("ada@prova.example")),
            guardian("Rossi", "Leo", Some("leo@prova.example")),
        ],
        children: roster
            .children
            .iter()
            .cloned()
            .map(|child| voceguida::canteen::roster::ChildRow { guardians: links.clone(), ..child })
            .collect(),
        ..roster
    };
    school.desk_at("2026-09-01T10:00:00+02:00").import(school.ente, &roster).await.unwrap();
}

/// The text of a PDF, as poppler reads it.
fn text_of(pdf: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pdf).unwrap();
    let out = Command::new("pdftotext").args(["-layout", "-enc", "UTF-8"]).arg(file.path()).arg("-").output().expect("pdftotext");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_printed_and_mailed_once_to_each_guardian() {
    each_database(async |school| {
        with_guardians(&school).await;
        let sink = Sink::start();
        let (desk, clerk) = (school.desk_at(MONDAY_EVENING), clerk(&school));
        let of_child = Addressees::Child(school.children[0]);
        let families = desk.letter_families(school.ente, of_child).await.unwrap();
        assert_eq!(families.len(), 1);
        assert_eq!(families[0].children.len(), 2, "brothers and sisters come along");
        let class = desk.letter_classes(school.ente).await.unwrap();
        assert_eq!(class.iter().map(|c| (c.name.as_str(), c.children)).collect::<Vec<_>>(), [("1A", 2)]);

        let pdf = desk.print_letters(&clerk, Addressees::Class(class[0].id), &[]).await.unwrap();
        let text = text_of(&pdf);
        for code in &school.codes {
            let c = code.as_str();
            assert!(text.contains(&format!("{} {} {}", &c[..3], &c[3..5], &c[5..])), "{text}");
        }
        assert!(text.contains("Ada <b>&</b> #emph[x] Nicolò"), "{text}");

        let sent = desk.mail_letters(&clerk, of_child, &[], "modulo-1").await.unwrap();
        assert_eq!(sent, Mailed { mails: 2, families: 1, without_address: 0 });
        let again = desk.mail_letters(&clerk, of_child, &[], "modulo-1").await.unwrap();
        assert_eq!(again.mails, 0, "the same form sent twice");
        send_all(&desk, &sink.courier()).await;
        let mails = sink.mails();
        assert_eq!(mails.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), ["ada@prova.example", "leo@prova.example"]);
        assert!(mails[0].1.contains("application/pdf"));

        let (letters, count) = desk.letters(school.ente, Some(school.children[1]), 0, 10).await.unwrap();
        assert_eq!(count, 3);
        let ways: Vec<_> = letters.iter().map(|l| (l.way.as_str(), l.recipient.as_deref(), l.state.as_deref())).collect();
        assert_eq!(
            ways,
            [("mail", Some("leo@prova.example"), Some("sent")), ("mail", Some("ada@prova.example"), Some("sent")), ("paper", None, None)]
        );
        assert!(matches!(desk.print_letters(&clerk, Addressees::School(999), &[]).await, Err(LetterError::Nobody)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_code_is_dead_at_once_and_never_comes_back() {
    each_database(async |school| {
        let (desk, clerk) = (school.desk_at(MONDAY_EVENING), clerk(&school));
        let old = school.codes[0].clone();
        let typed = async |code: &str| desk.type_code(school.ente, "3471234567", "c", code).await.unwrap();
        assert_eq!(typed(old.as_str()).await, Typed::Child(school.children[0]));
        desk.replace_code(&clerk, school.children[0]).await.unwrap();
        assert!(matches!(typed(old.as_str()).await, Typed::Wrong { .. }));
        let text = text_of(&desk.print_letters(&clerk, Addressees::Child(school.children[0]), &[]).await.unwrap());
        let digits: String =
            text.lines().find(|l| l.contains("Prova0 Ada") && l.contains("1A")).unwrap().chars().filter(char::is_ascii_digit).collect();
        let new = &digits[digits.len() - 7..];
        assert_eq!(typed(new).await, Typed::Child(school.children[0]));
        // Not given to anybody by an import either.
        let mut roster = support::roster(&school.codes);
        roster.children[0].code = None;
        roster.children[1].code = Some(old.as_str().to_owned());
        assert!(desk.import(school.ente, &roster).await.is_err());
        assert!(desk.replace_code(&Actor { ente: voceguida::canteen::EnteId(999), ..clerk }, school.children[0]).await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_saved_once_each_and_the_configuration_no_longer_overrules_them() {
    each_database(async |school| {
        let (desk, clerk) = (school.desk_at(MONDAY_EVENING), clerk(&school));
        let old = desk.settings(school.ente).await.unwrap().settings;
        assert_eq!((old.version, old.name.as_str()), (0, "Comune di Prova"));
        let offered: Offered = Offered::ALL.iter().filter(|o| *o != Choice::White).collect();
        let new = Settings {
            name: "Comune di Prova Nuova".into(),
            numbers: vec![("800 123 456".into(), None)],
            heading: vec!["Piazza 1".into(), "17052".into()],
            offered,
            ..old.clone()
        };
        desk.save_settings(&clerk, &new).await.unwrap();
        let saved = desk.settings(school.ente).await.unwrap().settings;
        assert_eq!(saved, Settings { version: 1, ..new.clone() });
        assert_eq!(desk.offered(school.ente).await.unwrap(), offered);
        // The other clerk is told what stands now.
        let late = desk.save_settings(&clerk, &Settings { name: "Altro".into(), ..old }).await;
        assert!(matches!(late, Err(SettingsError::Changed(now)) if *now == saved));
        assert!(matches!(
            desk.save_settings(&clerk, &Settings { name: String::new(), ..saved.clone() }).await,
            Err(SettingsError::Wrong(_))
        ));
        desk.put_ente("prova", "Dalla configurazione", None, &Window::default()).await.unwrap();
        assert_eq!(desk.settings(school.ente).await.unwrap().settings, saved);

        let logo = Logo::new(b"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"/>".to_vec()).unwrap();
        desk.save_logo(&clerk, Some(&logo)).await.unwrap();
        assert_eq!(desk.logo(school.ente).await.unwrap(), Some(logo));
        desk.save_logo(&clerk, None).await.unwrap();
        assert!(!desk.settings(school.ente).await.unwrap().has_logo);
    })
    .await;
}

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cutoff_takes_hold_between_two_days_and_no_day_is_judged_by_two() {
    each_database(async |school| {
        let clerk = clerk(&school);
        // Tuesday 20 October in the morning, the line is open for today.
        let desk = school.desk_at("2026-10-20T08:00:00+02:00");
        desk.close_days(school.ente, None, |_, _| {}).await.unwrap();
        let plan = desk.plan_window(school.ente, time("17:00"), time("08:30"), None).await.unwrap();
        assert_eq!(plan.first_day, day("2026-10-21"));
        let early = desk.change_window(&clerk, time("17:00"), time("08:30"), day("2026-10-20")).await;
        assert!(matches!(early, Err(WindowError::TooEarly)));
        desk.change_window(&clerk, time("17:00"), time("08:30"), day("2026-10-21")).await.unwrap();

        // Today is as it was: 8:45 is in, and it closes at 9.
        let order = |key: &'static str| Order {
            ente: school.ente,
            child: school.children[0],
            request: Request::Phone(Choice::Cancel),
            actor: "0101234567",
            call_id: None,
            key,
            expected: None,
        };
        let desk = school.desk_at("2026-10-20T08:45:00+02:00");
        assert_eq!(desk.close_days(school.ente, None, |_, _| {}).await.unwrap().days, 0);
        assert_eq!(desk.operate(&order("a")).await.unwrap().verdict, Verdict::Accepted(day("2026-10-20")));
        let desk = school.desk_at("2026-10-20T09:00:01+02:00");
        assert_eq!(desk.close_days(school.ente, None, |_, _| {}).await.unwrap().days, 1);
        let view = desk.settings(school.ente).await.unwrap();
        assert_eq!((view.window.opens, view.window.cutoff, view.change), (time("17:00"), time("08:30"), None));

        // The line opens earlier tonight, and closes earlier tomorrow.
        let desk = school.desk_at("2026-10-20T17:00:00+02:00");
        assert_eq!(desk.operate(&order("b")).await.unwrap().verdict, Verdict::Accepted(day("2026-10-21")));
        let desk = school.desk_at("2026-10-21T08:30:01+02:00");
        assert!(matches!(desk.operate(&order("c")).await.unwrap().verdict, Verdict::Refused(..)));
        assert_eq!(desk.close_days(school.ente, None, |_, _| {}).await.unwrap().days, 1);
        // What was decided before is explained by what held then.
        let why =
            desk.explain(school.ente, school.children[1], Some(at("2026-10-20T08:45:00+02:00")), Request::Phone(Choice::Cancel)).await;
        assert!(why.unwrap().conclusion.starts_with("Accolta"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_down_closes_each_day_by_its_own_cutoff() {
    each_database(async |school| {
        let desk = school.desk_at("2026-10-19T08:00:00+02:00");
        desk.close_days(school.ente, None, |_, _| {}).await.unwrap();
        desk.change_window(&clerk(&school), time("18:00"), time("08:00"), day("2026-10-21")).await.unwrap();
        // Down from Monday to Thursday: Monday and Tuesday by nine, the others by eight, whatever is entered at half past eight.
        let order = Order {
            ente: school.ente,
            child: school.children[0],
            request: Request::Phone(Choice::Cancel),
            actor: "0101234567",
            call_id: None,
            key: "k",
            expected: None,
        };
        school.desk_at("2026-10-20T08:30:00+02:00").operate(&order).await.unwrap();
        let desk = school.desk_at("2026-10-22T12:00:00+02:00");
        let mut days = vec![];
        desk.close_days(school.ente, None, |day, meals| days.push((day.to_string(), meals))).await.unwrap();
        let told: Vec<_> = days.iter().map(|(d, n)| (d.as_str(), *n)).collect();
        assert_eq!(told, [("2026-10-19", 2), ("2026-10-20", 1), ("2026-10-21", 2), ("2026-10-22", 2)]);
        assert_eq!(desk.settings(school.ente).await.unwrap().window.cutoff, time("08:00"));
        // A change that is taken back does nothing.
        desk.change_window(&clerk(&school), time("18:00"), time("07:30"), day("2026-11-02")).await.unwrap();
        assert!(desk.withdraw_window_change(&clerk(&school)).await.unwrap());
        let desk = school.desk_at("2026-11-03T12:00:00+01:00");
        desk.close_days(school.ente, None, |_, _| {}).await.unwrap();
        assert_eq!(desk.settings(school.ente).await.unwrap().window.cutoff, time("08:00"));
    })
    .await;
}

/// Who asked for each operation.
async fn actors(url: &str) -> Vec<String> {
    use sqlx::Connection;
    const SQL: &str = "SELECT actor FROM operation ORDER BY id";
    if url.starts_with("sqlite:") {
        sqlx::query_scalar(SQL).fetch_all(&mut sqlx::SqliteConnection::connect(url).await.unwrap()).await.unwrap()
    } else {
        sqlx::query_scalar(SQL).fetch_all(&mut sqlx::PgConnection::connect(url).await.unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_long_ago_is_forgotten_and_every_receipt_stays() {
    each_database(async |school| {
        with_guardians(&school).await;
        let desk = school.desk_at(MONDAY_EVENING);
        let order = Order {
            ente: school.ente,
            child: school.children[0],
            request: Request::Phone(Choice::Cancel),
            actor: "0101234567",
            call_id: None,
            key: "k",
            expected: None,
        };
        let receipt = desk.operate(&order).await.unwrap().number;
        assert_eq!(desk.forget_what_is_old(school.ente).await.unwrap(), voceguida::desk::retention::Forgotten::default());
        let settings = desk.settings(school.ente).await.unwrap().settings;
        desk.save_settings(&clerk(&school), &Settings { keep_left_days: 365, ..settings }).await.unwrap();
        // A year and a day after the last day of school.
        let desk = school.desk_at("2028-06-09T03:00:00+02:00");
        let done = desk.forget_what_is_old(school.ente).await.unwrap();
        assert_eq!(done.children, 2);
        assert_eq!(desk.forget_what_is_old(school.ente).await.unwrap().children, 0);
        let view = desk.view_child(school.children[0], day("2026-10-15"), day("2026-10-15")).await.unwrap();
        assert_eq!(view.child.last_name, "Bambino");
        assert_eq!(view.operations[0].receipt, receipt);
        assert_eq!(actors(&school.url).await, ["forgotten"]);
        assert_eq!(desk.audit(|_, _| {}).await.unwrap().1, vec![]);
        let typed = desk.type_code(school.ente, "3471234567", "c", ChildCode::as_str(&school.codes[0])).await.unwrap();
        assert!(matches!(typed, Typed::Wrong { .. }));
        // Nothing else of an operation can be changed, and the name cannot be put back.
        for statement in [
            "UPDATE operation SET actor = 'x'",
            "UPDATE operation SET actor = 'forgotten', receipt = '000000'",
            "UPDATE operation SET actor = 'forgotten', note = 'x'",
            "DELETE FROM operation",
        ] {
            let refused = support::execute(&school.url, statement).await;
            assert!(refused.unwrap_err().contains("append-only"), "{statement}");
        }
    })
    .await;
}
