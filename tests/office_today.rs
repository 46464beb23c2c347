//! Today and the kitchen, on both databases: counts, what came in, and the sheet that goes out once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use axum::http::StatusCode;
use office_support::World;
use support::{School, day, each_database};
use voceguida::{
    canteen::{
        Choice,
        book::{Change, ClosureKind, Place},
        rule::Request,
    },
    desk::{Desk, kitchen, mail::MailFilter, operate::Order, people::Role, trail::Actor},
};

async fn phone(desk: &Desk, school: &School, child: usize, choice: Choice, key: &str) {
    let order = Order {
        ente: school.ente,
        child: school.children[child],
        request: Request::Phone(choice),
        actor: "0101234567",
        call_id: Some("call"),
        key,
        expected: None,
    };
    desk.operate(&order).await.expect("the desk answers");
}

async fn mails(school: &School) -> Vec<String> {
    let mut tx = school.db.read().await.unwrap();
    let (rows, _) = tx.mails(school.ente, MailFilter::default(), 0, 100).await.unwrap();
    let mut subjects: Vec<String> = rows.into_iter().map(|r| format!("{}: {}", r.recipient, r.subject)).collect();
    subjects.sort();
    subjects
}

#[tokio::test(flavor = "multi_thread")]
async fn the_morning_as_the_office_sees_it() {
    each_database(async |school| {
        // Three Thursdays before, one cancellation each; on the Thursday itself one so far.
        for (n, evening) in ["2026-09-23", "2026-09-30", "2026-10-07"].iter().enumerate() {
            phone(&school.desk_at(&format!("{evening}T18:30:00+02:00")), &school, 0, Choice::Cancel, &n.to_string()).await;
        }
        let desk = school.desk_at("2026-10-15T08:30:00+02:00");
        desk.close_days(school.ente, None, |_, _| {}).await.unwrap();
        phone(&desk, &school, 1, Choice::Cancel, "a").await;
        let today = desk.today(school.ente).await.unwrap();
        assert!(today.line_open && today.left.is_some());
        assert_eq!((today.day, today.count.meals(), today.usual_days), (day("2026-10-15"), 1, 4));
        let phone = today.channels.iter().find(|c| c.channel == "phone").unwrap();
        assert_eq!((phone.count, phone.usual), (1, Some(1)));
        assert_eq!(today.bars.iter().map(|b| b.cancellations).sum::<u32>(), 1);
        let after = school.desk_at("2026-10-15T09:30:00+02:00");
        after.close_days(school.ente, None, |_, _| {}).await.unwrap();
        let today = after.today(school.ente).await.unwrap();
        assert!(!today.line_open && today.left.is_none() && today.count.is_final());
        let csv = String::from_utf8(kitchen::csv(&today.count).unwrap()).unwrap();
        insta::assert_snapshot!("kitchen_csv", csv.trim_start_matches('\u{feff}'));
        assert!(kitchen::xlsx(&today.count).unwrap().starts_with(b"PK"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kitchen_is_told_at_the_cutoff_once_by_whichever_node() {
    each_database(async |school| {
        let actor = Actor::system(school.ente);
        let before = school.desk_at("2026-10-15T08:00:00+02:00").with_mail(true);
        before.close_days(school.ente, None, |_, _| {}).await.unwrap();
        assert!(before.add_kitchen_recipient(&actor, None, "Cucina centrale", "cucina@example.com").await.unwrap());
        assert!(!before.add_kitchen_recipient(&actor, None, "Di nuovo", "cucina@example.com").await.unwrap());
        assert!(!before.add_kitchen_recipient(&actor, None, "Nessuno", "non un indirizzo").await.unwrap());
        let desk = school.desk_at("2026-10-15T09:00:05+02:00").with_mail(true);
        let other = school.desk_at("2026-10-15T09:00:05+02:00").with_mail(true);
        let (one, two) = tokio::join!(desk.close_days(school.ente, None, |_, _| {}), other.close_days(school.ente, None, |_, _| {}));
        assert_eq!(one.unwrap().days + two.unwrap().days, 1);
        assert_eq!(mails(&school).await, ["cucina@example.com: Pasti di giovedì 15 ottobre 2026: 2 (Scuola primaria)"]);
        // Closed after the cut-off: the kitchen hears of it.
        let changes = [Change::Close {
            place: Place::Ente,
            first: day("2026-10-15"),
            last: day("2026-10-15"),
            kind: ClosureKind::Weather,
            reason: String::new(),
        }];
        desk.change_calendar(&actor, &changes, None).await.unwrap();
        let now = mails(&school).await;
        assert_eq!(now.len(), 2);
        assert_eq!(now[1], "cucina@example.com: Variazione dopo il termine: 2 pasti in meno, giovedì 15 ottobre 2026");
        // What is caught up with later is no news.
        let late = school.desk_at("2026-10-20T12:00:00+02:00").with_mail(true);
        late.close_days(school.ente, None, |_, _| {}).await.unwrap();
        assert_eq!(mails(&school).await.iter().filter(|m| m.contains("16 ottobre")).count(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_the_morning() {
    let world = World::new().await;
    let roster =
        support::roster(&[voceguida::canteen::code::ChildCode::random(&mut <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(3))]);
    world.desk.import(world.ente, &roster).await.unwrap();
    let mut cook = world.logged_in(Role::Kitchen).await;
    for (page, says) in [
        ("/ufficio/", "Termine per disdire"),
        ("/ufficio/cucina", "Scuola primaria"),
        ("/ufficio/cucina/giorno/2026-10-15", "1A"),
        ("/ufficio/cucina/indirizzi", "Nessuno riceve ancora"),
    ] {
        let seen = cook.get(page).await;
        assert_eq!(seen.status, StatusCode::OK, "{page}");
        seen.says(says);
    }
    for (kind, media) in [("csv", "text/csv"), ("xlsx", "application/vnd"), ("pdf", "application/pdf")] {
        let seen = cook.get(&format!("/ufficio/cucina/giorno/2026-10-15/{kind}")).await;
        assert_eq!(seen.status, StatusCode::OK, "{kind}");
        assert!(seen.header("content-type").starts_with(media));
    }
    assert_eq!(cook.get("/ufficio/cucina/giorno/2026-10-15/exe").await.status, StatusCode::NOT_FOUND);
    let mut clerk = world.logged_in(Role::Office).await;
    let here = "/ufficio/cucina/indirizzi";
    let seen = clerk.fill(here, here, &[("nome", "Cucina"), ("email", "cucina@example.com"), ("scuola", "")]).await;
    assert_eq!(seen.status, StatusCode::SEE_OTHER, "{}", seen.text);
    clerk.get(here).await.says("cucina@example.com");
}
