//! News and tickets, on both databases: whom they reach and when, mail once, two clerks, forgetting.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod support;

use chrono::{DateTime, Utc};
use support::{
    School, at, each_database,
    families::{adult, child, roster},
    mail::Sink,
};
use voceguida::{
    canteen::{
        ChildId,
        book::{Change, ClosureKind, Place},
    },
    desk::{
        Desk,
        family::Edited,
        mail::{MailFilter, Round},
        news::{NewsEdit, NewsError, NewsFilter, NewsKind, NewsState, NewsTarget},
        settings::Settings,
        tickets::{
            NewTicket, Origin, TicketEdit, TicketError, TicketFilter, TicketOf, TicketOrder, TicketState, Topic,
            answer::Reply,
            canned::{CannedEdit, CannedError},
        },
        trail::Actor,
    },
    ops::smtp::Pace,
    store::{AdultState, TrailAsked, TrailSort},
};

const MORNING: &str = "2026-10-12T08:00:00+02:00";

fn clerk(school: &School, name: &str) -> Actor {
    Actor { ente: school.ente, person: None, name: name.into(), address: "127.0.0.1".into() }
}

/// The families in an office that has mail.
async fn town(school: &School) -> Desk {
    let desk = school.desk_at(MORNING).with_mail(true);
    // The school's two children of other tests have left by now.
    desk.import(school.ente, &roster()).await.unwrap();
    desk
}

fn later(school: &School, instant: &str) -> Desk {
    school.desk_at(instant).with_mail(true)
}

fn news(title: &str) -> NewsEdit {
    NewsEdit {
        title: title.into(),
        body: "Gentili famiglie,\n\n- *domani* pesce <script>alert(1)</script>".into(),
        by_mail: true,
        ..NewsEdit::default()
    }
}

async fn targets(desk: &Desk, school: &School) -> (NewsTarget, NewsTarget) {
    let choices = desk.filters(school.ente).await.unwrap();
    let class = |name: &str| choices.classes.iter().find(|c| c.name == name).unwrap();
    let nursery = class("Sole").school_id;
    let second = class("2B");
    (NewsTarget { school: nursery, class: None }, NewsTarget { school: second.school_id, class: Some(second.id) })
}

/// Titles that an adult reads.
async fn read(desk: &Desk, school: &School, name: &str) -> Vec<String> {
    let id = adult(desk, school.ente, name).await;
    desk.news_for_adult(school.ente, id).await.unwrap().into_iter().map(|n| n.title).collect()
}

async fn publish(desk: &Desk, school: &School, edit: &NewsEdit) -> i64 {
    let actor = clerk(school, "anna");
    let id = desk.draft_news(&actor, edit).await.unwrap();
    let version = desk.news_file(school.ente, id).await.unwrap().unwrap().row.version;
    desk.publish_news(&actor, id, version).await.unwrap();
    id
}

async fn queued(desk: &Desk, school: &School) -> Vec<String> {
    let (rows, _) = desk.mails(school.ente, MailFilter::default(), 0, 100).await.unwrap();
    let mut told: Vec<_> = rows.into_iter().map(|m| format!("{}: {}", m.recipient, m.subject)).collect();
    told.sort();
    told
}

async fn trail(desk: &Desk, school: &School) -> Vec<String> {
    let asked = TrailAsked {
        from: DateTime::<Utc>::MIN_UTC,
        to: at("2100-01-01T00:00:00Z"),
        actor: "",
        action: "",
        subject: "",
        sort: TrailSort::At,
        descending: false,
        limit: 100,
        offset: 0,
    };
    let asked = TrailAsked { from: at("2000-01-01T00:00:00Z"), ..asked };
    let (lines, _) = desk.trail(school.ente, &asked).await.unwrap();
    lines.into_iter().map(|l| format!("{} {} ({})", l.actor, l.action, l.subject)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_reads_what_is_for_its_schools_and_classes_now() {
    each_database(async |school| {
        let desk = town(&school).await;
        let (nursery, second) = targets(&desk, &school).await;
        publish(&desk, &school, &news("Tutti")).await;
        publish(&desk, &school, &NewsEdit { targets: vec![nursery], ..news("Infanzia") }).await;
        publish(&desk, &school, &NewsEdit { targets: vec![second], pinned: true, ..news("Classe") }).await;
        desk.draft_news(&clerk(&school, "anna"), &news("Bozza")).await.unwrap();
        assert_eq!(read(&desk, &school, "Rossi Ada").await, ["Classe", "Tutti"], "pinned ones first");
        assert_eq!(read(&desk, &school, "Neri Nina").await, ["Infanzia", "Tutti"]);
        let html = &desk.news_for_adult(school.ente, adult(&desk, school.ente, "Rossi Ada").await).await.unwrap()[0].html;
        assert!(html.contains("<em>domani</em> pesce &lt;script&gt;"), "{html}");

        // A delegate reads what the parents read; a stranger to the ente, and whose children have left, nothing.
        let ivo = ChildId(child(&desk, school.ente, "Gallo Ivo").await);
        let file = desk.child_file(school.ente, ivo, support::day("2026-10-12"), support::day("2026-10-12")).await.unwrap();
        let aunt =
            AdultState { last_name: "Zia".into(), first_name: "Pia".into(), fiscal_code: None, email: None, phone: None, address: None };
        desk.add_adult_to(&clerk(&school, "anna"), ivo, file.found.version, &aunt, true).await.unwrap();
        assert_eq!(read(&desk, &school, "Zia Pia").await, ["Infanzia", "Tutti"]);
        let other = desk.put_ente("altro", "Altro", None, &voceguida::canteen::window::Window::default()).await.unwrap();
        let ada = adult(&desk, school.ente, "Rossi Ada").await;
        assert!(desk.news_for_adult(other, ada).await.unwrap().is_empty());
        let mut left = roster();
        for child in &mut left.children {
            child.enrolled_to = Some(support::day("2026-10-11"));
        }
        desk.import(school.ente, &left).await.unwrap();
        assert!(read(&desk, &school, "Rossi Ada").await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_is_seen_and_mailed_in_its_time_and_once() {
    each_database(async |school| {
        let desk = town(&school).await;
        let edit = NewsEdit { from: Some(at("2026-10-13T09:00:00+02:00")), until: Some(at("2026-10-14T00:00:00+02:00")), ..news("Domani") };
        let id = publish(&desk, &school, &edit).await;
        let file = desk.news_file(school.ente, id).await.unwrap().unwrap();
        assert_eq!((file.state, file.whom.as_str()), (NewsState::Scheduled, "tutte le famiglie"));
        // Ada's address is one, however it is written; nobody reaches Ivo, nor the two children without guardians.
        let reach = desk.news_reach(school.ente, id).await.unwrap();
        assert_eq!((reach.children, reach.addresses, reach.without_address), (6, 2, 3));
        let kinds =
            async |desk: &Desk, kind| desk.list_news(school.ente, NewsFilter { kind, ..NewsFilter::default() }, 0, 10).await.unwrap().1;
        // The clock runs on while we ask; the edges themselves are in the pure tests.
        for (instant, state, seen) in [
            ("2026-10-13T08:50:00+02:00", NewsState::Scheduled, 0),
            ("2026-10-13T09:00:00+02:00", NewsState::Public, 1),
            ("2026-10-13T23:50:00+02:00", NewsState::Public, 1),
            ("2026-10-14T00:00:00+02:00", NewsState::Expired, 0),
        ] {
            let desk = later(&school, instant);
            assert_eq!(read(&desk, &school, "Rossi Ada").await.len(), seen, "{instant}");
            assert_eq!(desk.news_file(school.ente, id).await.unwrap().unwrap().state, state, "{instant}");
            for other in NewsState::ALL {
                assert_eq!(kinds(&desk, other.kind()).await, i64::from(other == state), "{instant} {other:?}");
            }
        }
        assert_eq!(kinds(&desk, NewsKind::All).await, 1);

        assert_eq!(desk.mail_news(school.ente).await.unwrap(), 0, "not before its time");
        assert_eq!(school.desk_at("2026-10-13T10:00:00+02:00").mail_news(school.ente).await.unwrap(), 0, "not without a mail server");
        let desk = later(&school, "2026-10-13T10:00:00+02:00");
        let other = desk.clone();
        let (a, b) = tokio::join!(desk.mail_news(school.ente), other.mail_news(school.ente));
        assert_eq!(a.unwrap() + b.unwrap(), 2, "two nodes");
        assert_eq!(desk.mail_news(school.ente).await.unwrap(), 0, "once");
        assert_eq!(queued(&desk, &school).await, ["ada@famiglia.example: Domani", "nina@famiglia.example: Domani"]);
        let file = desk.news_file(school.ente, id).await.unwrap().unwrap();
        assert_eq!((file.row.mailed, file.row.mailed_at.is_some()), (2, true));
        // Taken back, made public again: seen again, not sent again.
        let actor = clerk(&school, "anna");
        desk.withdraw_news(&actor, id, file.row.version).await.unwrap();
        assert!(read(&desk, &school, "Rossi Ada").await.is_empty());
        desk.redraft_news(&actor, id, file.row.version + 1).await.unwrap();
        assert!(matches!(desk.delete_news(&actor, id, file.row.version + 2).await, Err(NewsError::Stale)), "it was mailed: it stays");
        desk.publish_news(&actor, id, file.row.version + 2).await.unwrap();
        assert_eq!((read(&desk, &school, "Rossi Ada").await.len(), desk.mail_news(school.ente).await.unwrap()), (1, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_as_it_arrives() {
    each_database(async |school| {
        let sink = Sink::start();
        let desk = town(&school).await;
        let settings = desk.settings(school.ente).await.unwrap().settings;
        let settings =
            Settings { portal: Some("https://mensa.prova.example".into()), email: Some("scuola@prova.example".into()), ..settings };
        desk.save_settings(&clerk(&school, "anna"), &settings).await.unwrap();
        let body = "Gentili famiglie,\nda **lunedì**:\n\n1. pasta\n2. pesce\n\n[Il menù](https://prova.example/menu).\n\nCordiali saluti";
        let (nursery, _) = targets(&desk, &school).await;
        publish(&desk, &school, &NewsEdit { body: body.into(), targets: vec![nursery], ..news("Menù d'autunno") }).await;
        assert_eq!(desk.mail_news(school.ente).await.unwrap(), 2);
        let ticket = NewTicket {
            origin: Origin::Office,
            topic: Topic::Line,
            title: "Codice perso".into(),
            body: "Non trova la lettera.".into(),
            author: String::new(),
            child: Some(ChildId(child(&desk, school.ente, "Neri Ugo").await)),
            adult: Some(adult(&desk, school.ente, "Neri Nina").await),
            assigned: None,
        };
        let id = desk.open_ticket(&clerk(&school, "anna"), &ticket).await.unwrap();
        let reply = Reply { text: "Gentile Nina,\nla lettera parte oggi.".into(), to: ticket.adult, becomes: TicketState::Closed };
        desk.answer_ticket(&clerk(&school, "anna"), id, 1, &reply).await.unwrap();
        for _ in 0..10 {
            if desk.send_next_mail(&sink.courier(), Pace::default()).await.unwrap() == Round::Idle {
                break;
            }
        }
        let mails = sink.mails();
        assert_eq!(mails.len(), 3);
        let told: Vec<_> =
            mails.iter().filter(|(to, _)| to.starts_with("nina")).map(|(to, text)| format!("A: {to}\n{}", steady(text))).collect();
        insta::assert_snapshot!("mails", told.join("\n=====\n"));
    })
    .await;
}

/// A mail without what differs each time.
fn steady(text: &str) -> String {
    let varies = ["Message-ID:", "Date:", "Received:", "X-Peer:"];
    let lines = text.lines().filter(|line| !varies.iter().any(|v| line.starts_with(v)));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clerks_lose_nothing_and_what_cannot_be_is_refused() {
    each_database(async |school| {
        let desk = town(&school).await;
        let (anna, bea) = (clerk(&school, "anna"), clerk(&school, "bea"));
        let base = news("Pesce");
        let id = desk.draft_news(&anna, &base).await.unwrap();
        let theirs = NewsEdit { title: "Pesce fresco".into(), body: "Testo di Anna".into(), ..base.clone() };
        assert_eq!(desk.edit_news(&anna, id, 1, &base, &theirs).await.unwrap(), Edited::Saved);
        let mine = NewsEdit { body: "Testo di Bea".into(), pinned: true, ..base.clone() };
        let Edited::Meanwhile { merged, version, theirs: told, both } = desk.edit_news(&bea, id, 1, &base, &mine).await.unwrap() else {
            panic!("the second is told")
        };
        assert_eq!((merged.title.as_str(), merged.body.as_str(), merged.pinned), ("Pesce fresco", "Testo di Bea", true));
        assert_eq!(told.iter().map(|c| c.name).collect::<Vec<_>>(), ["titolo", "testo"]);
        assert_eq!(both, ["testo"]);
        assert_eq!(desk.edit_news(&bea, id, version, &theirs, &merged).await.unwrap(), Edited::Saved);
        // Who decides on what is not any more as it was shown, does not.
        assert!(matches!(desk.publish_news(&anna, id, version).await, Err(NewsError::Stale)));
        desk.publish_news(&anna, id, version + 1).await.unwrap();
        assert!(matches!(desk.publish_news(&bea, id, version + 2).await, Err(NewsError::Stale)), "it is public already");
        assert!(matches!(desk.delete_news(&bea, id, version + 2).await, Err(NewsError::Stale)), "it is no draft");

        let (nursery, second) = targets(&desk, &school).await;
        let wrong = NewsTarget { school: nursery.school, class: second.class };
        for (edit, what) in [
            (NewsEdit { targets: vec![wrong], ..news("x") }, "another school's class"),
            (NewsEdit { targets: vec![NewsTarget { school: 9_999, class: None }], ..news("x") }, "no school"),
            (NewsEdit { title: "x".repeat(151), ..news("x") }, "title"),
            (NewsEdit { body: "x".repeat(10_001), ..news("x") }, "text"),
            (NewsEdit { from: Some(at(MORNING)), until: Some(at(MORNING)), ..news("x") }, "no time"),
        ] {
            assert!(desk.draft_news(&anna, &edit).await.is_err(), "{what}");
        }
        let over = desk.draft_news(&anna, &NewsEdit { until: Some(at("2026-10-12T07:59:59+02:00")), ..news("x") }).await.unwrap();
        assert!(matches!(desk.publish_news(&anna, over, 1).await, Err(NewsError::Over)));
        desk.delete_news(&anna, over, 1).await.unwrap();
        let other =
            Actor { ente: desk.put_ente("altro", "Altro", None, &voceguida::canteen::window::Window::default()).await.unwrap(), ..anna };
        assert!(matches!(desk.publish_news(&other, id, version + 2).await, Err(NewsError::Gone)));
        assert!(desk.news_file(other.ente, id).await.unwrap().is_none());
        insta::assert_snapshot!("news_trail", trail(&desk, &school).await.join("\n"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_makes_a_draft_once() {
    each_database(async |school| {
        let desk = town(&school).await;
        let actor = clerk(&school, "anna");
        let (_, second) = targets(&desk, &school).await;
        let place = Place::Class { school: second.school, class: second.class.unwrap() };
        let days = (support::day("2026-10-20"), support::day("2026-10-21"));
        let change = Change::Close { place, first: days.0, last: days.1, kind: ClosureKind::Other, reason: "gita *al mare*".into() };
        desk.change_calendar(&actor, &[change], None).await.unwrap();
        let closure = desk.calendar_book(school.ente).await.unwrap().closures.iter().find(|c| c.place == place).unwrap().id;
        let id = desk.news_of_closure(&actor, closure).await.unwrap().unwrap();
        assert_eq!(desk.news_of_closure(&actor, closure).await.unwrap(), Some(id), "the same one again");
        assert_eq!(desk.news_of_closure(&actor, 9_999).await.unwrap(), None);
        let file = desk.news_file(school.ente, id).await.unwrap().unwrap();
        assert_eq!((file.state, file.edit.targets.as_slice()), (NewsState::Draft, [second].as_slice()));
        assert_eq!(file.edit.until, Some(at("2026-10-22T00:00:00+02:00")));
        let text = voceguida::desk::news::text::html(&file.row.body);
        assert!(text.contains("gita *al mare*") && text.contains("Scuola primaria *Verdi*"), "{text}");
        assert!(file.row.title.starts_with("Mensa sospesa: 20 ottobre 2026"), "{}", file.row.title);
    })
    .await;
}

fn asked(title: &str, topic: Topic) -> NewTicket {
    NewTicket {
        origin: Origin::Office,
        topic,
        title: title.into(),
        body: "Ha chiamato per la **dieta** di <b>Leo</b>".into(),
        author: String::new(),
        child: None,
        adult: None,
        assigned: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_found_sorted_and_paged() {
    each_database(async |school| {
        let desk = town(&school).await;
        let actor = clerk(&school, "anna");
        let leo = ChildId(child(&desk, school.ente, "Rossi Leo").await);
        let ada = adult(&desk, school.ente, "Rossi Ada").await;
        let mut ids = Vec::new();
        for (minute, ticket) in [
            NewTicket { child: Some(leo), adult: Some(ada), ..asked("Celiachia", Topic::Diet) },
            asked("Bolletta doppia", Topic::Payments),
            NewTicket { adult: Some(ada), ..asked("Codice", Topic::Line) },
        ]
        .into_iter()
        .enumerate()
        {
            let desk = later(&school, &format!("2026-10-12T08:0{minute}:00+02:00"));
            ids.push(desk.open_ticket(&actor, &ticket).await.unwrap());
        }
        let list = async |filter: TicketFilter| {
            let (rows, total) = desk.list_tickets(school.ente, &filter, 0, 10).await.unwrap();
            assert_eq!(rows.len() as i64, total);
            rows.into_iter().map(|t| t.title).collect::<Vec<_>>()
        };
        let all = TicketFilter::default;
        assert_eq!(list(all()).await, ["Celiachia", "Bolletta doppia", "Codice"], "the oldest first");
        assert_eq!(list(TicketFilter { descending: true, ..all() }).await, ["Codice", "Bolletta doppia", "Celiachia"]);
        assert_eq!(list(TicketFilter { topic: Some(Topic::Payments.stored()), ..all() }).await, ["Bolletta doppia"]);
        assert_eq!(list(TicketFilter { child: Some(leo), ..all() }).await, ["Celiachia"]);
        assert_eq!(list(TicketFilter { adult: Some(ada), ..all() }).await, ["Celiachia", "Codice"]);
        assert_eq!(list(TicketFilter { assigned: Some(TicketOf::Nobody), ..all() }).await.len(), 3);
        assert!(list(TicketFilter { assigned: Some(TicketOf::Person(1)), ..all() }).await.is_empty());
        // By words of the ticket, of its messages, of the child, of the adult; all must fit, and nothing typed is a pattern.
        for (text, found) in [
            ("bollet", vec!["Bolletta doppia"]),
            ("leo", vec!["Celiachia", "Bolletta doppia", "Codice"]),
            ("rossi leo celi", vec!["Celiachia"]),
            ("ada cod", vec!["Codice"]),
            ("bollet ada", vec![]),
            ("%", vec!["Celiachia", "Bolletta doppia", "Codice"]),
            ("' OR 1=1 --", vec![]),
        ] {
            assert_eq!(list(TicketFilter { text: text.into(), ..all() }).await, found, "{text}");
        }
        assert_eq!(desk.list_tickets(school.ente, &all(), 1, 1).await.unwrap().0[0].title, "Bolletta doppia");
        let desk = later(&school, "2026-10-12T09:00:00+02:00");
        desk.note_ticket(&actor, ids[0], 1, "Sentire la cuoca.").await.unwrap();
        let touched = TicketFilter { order: TicketOrder::Touched, descending: true, ..all() };
        assert_eq!(desk.list_tickets(school.ente, &touched, 0, 1).await.unwrap().0[0].title, "Celiachia");
        assert_eq!(desk.open_tickets(school.ente, None).await.unwrap(), (3, 3));
        // Not another ente's, nor whoever does not fit together.
        let other = Actor {
            ente: desk.put_ente("altro", "Altro", None, &voceguida::canteen::window::Window::default()).await.unwrap(),
            ..actor.clone()
        };
        assert!(desk.ticket_file(other.ente, ids[0]).await.unwrap().is_none());
        assert!(matches!(
            desk.open_ticket(&other, &NewTicket { child: Some(leo), ..asked("x", Topic::Other) }).await,
            Err(TicketError::Unfit)
        ));
        let nina = adult(&desk, school.ente, "Neri Nina").await;
        let unfit = NewTicket { child: Some(leo), adult: Some(nina), ..asked("x", Topic::Other) };
        assert!(matches!(desk.open_ticket(&actor, &unfit).await, Err(TicketError::Unfit)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_answered_closed_reopened_and_forgotten() {
    each_database(async |school| {
        let desk = town(&school).await;
        let (anna, bea) = (clerk(&school, "anna"), clerk(&school, "bea"));
        let leo = ChildId(child(&desk, school.ente, "Rossi Leo").await);
        let ada = adult(&desk, school.ente, "Rossi Ada").await;
        let id = desk.open_ticket(&anna, &NewTicket { child: Some(leo), ..asked("Celiachia", Topic::Diet) }).await.unwrap();
        let state = async |desk: &Desk| desk.ticket_file(school.ente, id).await.unwrap().unwrap().edit.state;
        let file = desk.ticket_file(school.ente, id).await.unwrap().unwrap();
        assert_eq!(file.addressees.iter().map(|a| a.id).collect::<Vec<_>>(), [ada]);
        let reply = |text: &str, to, becomes| Reply { text: text.into(), to, becomes };
        // Not to whom it does not concern, and then nothing is written at all.
        let nina = adult(&desk, school.ente, "Neri Nina").await;
        assert!(matches!(desk.answer_ticket(&anna, id, 1, &reply("x", Some(nina), TicketState::Closed)).await, Err(TicketError::Unfit)));
        let mute = desk.clone().with_mail(false);
        assert!(matches!(mute.answer_ticket(&anna, id, 1, &reply("x", Some(ada), TicketState::Closed)).await, Err(TicketError::NoMail)));
        let email = desk.answer_ticket(&anna, id, 1, &reply("Serve il certificato.", Some(ada), TicketState::Waiting)).await.unwrap();
        assert_eq!((email.as_deref(), state(&desk).await), (Some("ada@famiglia.example"), TicketState::Waiting));
        assert_eq!(queued(&desk, &school).await, [format!("ada@famiglia.example: Segnalazione n. {id}: Celiachia")]);
        // Two at once: the second is told, and nothing goes out twice.
        assert!(matches!(desk.answer_ticket(&bea, id, 1, &reply("Doppia", Some(ada), TicketState::Closed)).await, Err(TicketError::Stale)));
        assert_eq!(queued(&desk, &school).await.len(), 1);
        desk.family_writes(&bea, id, "", "Eccolo.").await.unwrap();
        assert_eq!(state(&desk).await, TicketState::Open);
        desk.answer_ticket(&bea, id, 3, &reply("Grazie, è fatto.", None, TicketState::Closed)).await.unwrap();
        desk.family_writes(&bea, id, "nonna", "Ancora una cosa").await.unwrap();
        assert_eq!(state(&desk).await, TicketState::Open, "an answer opens it again");
        let file = desk.ticket_file(school.ente, id).await.unwrap().unwrap();
        assert_eq!(file.row.closed_at, None);
        let base = file.edit.clone();
        let theirs = TicketEdit { topic: Topic::Other, ..base.clone() };
        assert_eq!(desk.change_ticket(&anna, id, file.row.version, &base, &theirs).await.unwrap(), Edited::Saved);
        let mine = TicketEdit { state: TicketState::Closed, ..base.clone() };
        let Edited::Meanwhile { merged, version, theirs: told, both } =
            desk.change_ticket(&bea, id, file.row.version, &base, &mine).await.unwrap()
        else {
            panic!("the second is told")
        };
        assert_eq!((merged.topic, merged.state, told.len(), both.len()), (Topic::Other, TicketState::Closed, 1, 0));
        assert_eq!(desk.change_ticket(&bea, id, version, &theirs, &merged).await.unwrap(), Edited::Saved);
        let said: Vec<_> = desk.ticket_file(school.ente, id).await.unwrap().unwrap().messages;
        insta::assert_snapshot!(
            "messages",
            said.iter().map(|m| format!("{} {}: {}", m.kind, m.author, m.body)).collect::<Vec<_>>().join("\n")
        );
        insta::assert_snapshot!("ticket_trail", trail(&desk, &school).await.join("\n"));

        // Two years after it was closed it is forgotten; an open one is not.
        let open = desk.open_ticket(&anna, &NewTicket { adult: Some(nina), ..asked("Aperta", Topic::Other) }).await.unwrap();
        assert_eq!(later(&school, "2028-10-11T07:00:00+02:00").forget_what_is_old(school.ente).await.unwrap().tickets, 0);
        assert_eq!(later(&school, "2028-10-12T08:01:00+02:00").forget_what_is_old(school.ente).await.unwrap().tickets, 1);
        assert!(desk.ticket_file(school.ente, id).await.unwrap().is_none());
        assert!(desk.ticket_file(school.ente, open).await.unwrap().is_some());
        // With the family itself everything of it goes.
        later(&school, "2040-01-01T03:00:00+02:00").forget_what_is_old(school.ente).await.unwrap();
        assert!(desk.ticket_file(school.ente, open).await.unwrap().is_none());
        assert_eq!(
            desk.list_tickets(school.ente, &TicketFilter { text: "dieta".into(), ..TicketFilter::default() }, 0, 9).await.unwrap().1,
            0
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canned_answers_are_kept_and_filled() {
    each_database(async |school| {
        let desk = town(&school).await;
        let (anna, bea) = (clerk(&school, "anna"), clerk(&school, "bea"));
        let base = CannedEdit { title: "Certificato".into(), body: "Gentile {nome}, per {bambino} serve il certificato. {giorno}".into() };
        let id = desk.add_canned_answer(&anna, &base).await.unwrap();
        assert!(matches!(desk.add_canned_answer(&anna, &base).await, Err(CannedError::Taken)));
        let unknown = CannedEdit { title: "x".into(), body: "{cognome}".into() };
        assert!(matches!(desk.add_canned_answer(&anna, &unknown).await, Err(CannedError::Unfit)));
        let second = desk.add_canned_answer(&anna, &CannedEdit { title: "Altra".into(), body: "Sì.".into() }).await.unwrap();
        let same = CannedEdit { title: "Altra".into(), ..base.clone() };
        assert!(matches!(desk.edit_canned_answer(&anna, id, 1, &base, &same).await, Err(CannedError::Taken)));
        let theirs = CannedEdit { title: "Certificato medico".into(), ..base.clone() };
        assert_eq!(desk.edit_canned_answer(&anna, id, 1, &base, &theirs).await.unwrap(), Edited::Saved);
        let mine = CannedEdit { body: "Serve il certificato di {bambino}.".into(), ..base.clone() };
        let Edited::Meanwhile { merged, .. } = desk.edit_canned_answer(&bea, id, 1, &base, &mine).await.unwrap() else { panic!("told") };
        assert_eq!((merged.title.as_str(), merged.body.as_str()), ("Certificato medico", "Serve il certificato di {bambino}."));
        assert!(matches!(desk.delete_canned_answer(&bea, id, 1).await, Err(CannedError::Stale)));
        desk.delete_canned_answer(&bea, second, 1).await.unwrap();
        assert_eq!(desk.canned_answers(school.ente).await.unwrap().len(), 1);
        let leo = ChildId(child(&desk, school.ente, "Rossi Leo").await);
        let ticket = desk.open_ticket(&anna, &NewTicket { child: Some(leo), ..asked("Dieta", Topic::Diet) }).await.unwrap();
        let values = desk.ticket_file(school.ente, ticket).await.unwrap().unwrap().values;
        let filled = voceguida::desk::tickets::canned::fill(&base.body, &values);
        assert_eq!(filled, "Gentile Ada Rossi, per Leo <b>Rossi</b> serve il certificato. lunedì 12 ottobre 2026");
    })
    .await;
}
