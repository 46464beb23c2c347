//! The pages of news and tickets, as a clerk meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;
mod support;

use axum::http::StatusCode;
use office_support::{Browser, Seen, World};
use support::families::{adult, child, roster};
use voceguida::{
    canteen::book::{Change, ClosureKind, Place},
    desk::{
        mail::MailFilter,
        news::{NewsEdit, NewsFilter},
        people::Role,
        tickets::{NewTicket, Origin, Topic},
        trail::{Actor, MOST_COUNTED},
    },
    store::{TrailAsked, TrailSort},
    web::office::{self, Office, OfficeSettings},
};

/// An office with families and mail.
async fn world() -> World {
    let mut world = World::new().await;
    world.desk = world.desk.clone().with_mail(true);
    world.router = office::router(&Office::new(world.desk.clone(), None, OfficeSettings::default()).await.unwrap());
    world.desk.import(world.ente, &roster()).await.unwrap();
    world
}

/// Sends the form of a page that holds a version and what it showed.
async fn save(browser: &mut Browser, shown: &Seen, path: &str, fields: &[(&str, &str)]) -> Seen {
    let hidden: Vec<_> = ["_csrf", "_version", "_prima"].map(|name| (name, shown.hidden(name))).into();
    let mut all: Vec<_> = hidden.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend_from_slice(fields);
    browser.post(path, &all).await
}

#[tokio::test]
async fn news_from_the_first_word_to_the_families() {
    let world = world().await;
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get("/ufficio/avvisi").await.says("Non c'è ancora nessun avviso");
    let new = "/ufficio/avvisi/nuovo";
    let page = clerk.get(new).await;
    page.says("Scuola primaria *Verdi*");
    // What is wrong is told, and nothing typed is lost.
    let seen = clerk.fill(new, new, &[("titolo", ""), ("testo", "Ciao"), ("dalle", "9:00"), ("al", "31/2/2026")]).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    for what in ["Titolo: Scriva qualcosa", "Scelga per chi è.", "Scelga anche il giorno.", "Scriva il giorno così", ">\nCiao</textarea>"]
    {
        seen.says(what);
    }
    let text = "Domani **pesce** <img src=x onerror=alert(1)> [qui](javascript:alert(1))";
    let fields = [("titolo", "Pesce <b>"), ("testo", text), ("per", "tutte"), ("posta", "1"), ("al", "2026-10-12"), ("alle", "23:30")];
    let preview = clerk.fill(new, new, &[&fields[..], &[("fai", "anteprima")]].concat()).await;
    assert_eq!(preview.status, StatusCode::OK);
    for what in ["Anteprima", "<strong>pesce</strong>", "&lt;img src=x onerror=alert(1)&gt;", "Pesce &#60;b&#62;"] {
        preview.says(what);
    }
    assert!(!preview.text.contains("<img") && !preview.text.contains("href=\"javascript"), "{}", preview.text);
    assert_eq!(world.desk.list_news(world.ente, NewsFilter::default(), 0, 9).await.unwrap().1, 0, "a preview saves nothing");
    let saved = clerk.fill(new, new, &[&fields[..], &[("fai", "salva")]].concat()).await;
    let path = saved.location().to_owned();
    clerk.get(&path).await.says("bozza");
    let ask = format!("{path}/pubblica");
    let asked = clerk.get(&ask).await;
    for what in [
        "tutte le famiglie (le famiglie di 4 bambini)",
        "Diventa pubblico subito",
        "fino a lunedì 12 ottobre 2026, ore 23:30",
        "Parte per posta a 2 indirizzi, una volta sola",
        "La famiglia di un bambino non ha un indirizzo",
    ] {
        asked.says(what);
    }
    let stale = clerk.fill(&ask, &ask, &[("_version", "7")]).await;
    clerk.get(stale.location()).await.says("Lo guardi di nuovo, poi decida");
    let done = clerk.fill(&ask, &ask, &[("_version", &asked.hidden("_version"))]).await;
    clerk.get(done.location()).await.says("avviso è pubblicato.");
    let ada = adult(&world.desk, world.ente, "Rossi Ada").await;
    assert_eq!(world.desk.news_for_adult(world.ente, ada).await.unwrap().len(), 1);
    assert_eq!(world.desk.mail_news(world.ente).await.unwrap(), 2);
    clerk.get(&path).await.says("2 indirizzi");
    clerk.get("/ufficio/avvisi?stato=pubblicato&ordine=titolo").await.says("Pesce &#60;b&#62;");
    clerk.get("/ufficio/avvisi?stato=scaduto").await.says("Nessun avviso in questo stato");
    // What nobody touched stays to the second: nothing has changed.
    let edit = format!("{path}/modifica");
    let shown = clerk.get(&edit).await;
    let version = shown.hidden("_version");
    let since = shown.hidden("dalle");
    let same = [("titolo", "Pesce <b>"), ("testo", text), ("per", "tutte"), ("dal", "2026-10-12"), ("dalle", &since), ("al", "2026-10-12")];
    let same = [&same[..], &[("alle", "23:30"), ("posta", "1")]].concat();
    assert_eq!(save(&mut clerk, &shown, &edit, &same).await.location(), path);
    assert_eq!(clerk.get(&edit).await.hidden("_version"), version);
    // Two clerks: the second is shown both.
    let mut other = world.logged_in(Role::Admin).await;
    let theirs = other.get(&edit).await;
    let changed: Vec<_> = same.iter().map(|(n, v)| if *n == "titolo" { (*n, "Pesce fresco") } else { (*n, *v) }).collect();
    assert_eq!(save(&mut clerk, &shown, &edit, &changed).await.status, StatusCode::SEE_OTHER);
    let changed: Vec<_> = same.iter().map(|(n, v)| if *n == "testo" { (*n, "Testo mio") } else { (*n, *v) }).collect();
    let told = save(&mut other, &theirs, &edit, &changed).await;
    told.says("titolo: da «Pesce &#60;b&#62;» a «Pesce fresco»");
    told.says("value=\"Pesce fresco\"");
    told.says(">\nTesto mio</textarea>");
    let withdraw = format!("{path}/ritira");
    clerk.get(&withdraw).await.says("non si possono richiamare");
    let version = clerk.get(&withdraw).await.hidden("_version");
    assert_eq!(clerk.fill(&withdraw, &withdraw, &[("_version", &version)]).await.location(), path);
    assert!(world.desk.news_for_adult(world.ente, ada).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_closure_leads_to_its_news() {
    let world = world().await;
    let day = support::day("2026-10-20");
    let change = Change::Close { place: Place::Ente, first: day, last: day, kind: ClosureKind::Strike, reason: String::new() };
    world.desk.change_calendar(&Actor::system(world.ente), &[change], None).await.unwrap();
    let closure = world.desk.calendar_book(world.ente).await.unwrap().closures[0].id;
    let page = format!("/ufficio/calendario/chiusure/{closure}/avviso");
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get(&page).await.says("Prepara l'avviso");
    let made = clerk.fill(&page, &format!("/ufficio/avvisi/chiusura/{closure}"), &[]).await;
    let shown = clerk.get(made.location()).await;
    shown.says("Mensa sospesa: 20 ottobre 2026");
    shown.says("sì, quando diventa pubblico");
    assert_eq!(clerk.fill(&page, "/ufficio/avvisi/chiusura/99", &[]).await.status, StatusCode::NOT_FOUND);
    let kitchen = world.logged_in(Role::Kitchen).await.get(&page).await;
    assert!(!kitchen.text.contains("Prepara l'avviso"));
}

#[tokio::test]
async fn a_call_becomes_a_ticket_and_the_ticket_an_answer() {
    let world = world().await;
    let (leo, ada) = (child(&world.desk, world.ente, "Rossi Leo").await, adult(&world.desk, world.ente, "Rossi Ada").await);
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get("/ufficio/segnalazioni").await.says("Nessuna segnalazione da chiudere");
    let of_child = format!("/ufficio/segnalazioni/nuova?bambino={leo}");
    clerk.get(&format!("/ufficio/bambini/{leo}")).await.says(&format!("href=\"{of_child}\""));
    clerk.get(&format!("/ufficio/famiglie/{ada}")).await.says(&format!("/ufficio/segnalazioni/nuova?adulto={ada}"));
    let new = "/ufficio/segnalazioni/nuova";
    // Found by name, without the name in any address.
    let found = clerk.fill(new, "/ufficio/segnalazioni/nuova/bambino", &[("cerca", "rossi leo")]).await;
    found.says(&format!("href=\"{of_child}\""));
    assert!(!found.text.contains("<b>Rossi</b>"), "markup in a name stays text");
    clerk.get(&of_child).await.says(&format!("value=\"{ada}\" selected>Ada Rossi"));
    let (leo, ada) = (leo.to_string(), ada.to_string());
    let fields =
        [("bambino", leo.as_str()), ("adulto", &ada), ("argomento", "diete"), ("titolo", "Celiachia <i>"), ("testo", "Serve\n<b>oggi</b>")];
    let opened = clerk.fill(&of_child, new, &fields).await;
    let path = opened.location().to_owned();
    let shown = clerk.get(&path).await;
    for what in ["Celiachia &#60;i&#62;", "Serve\n&#60;b&#62;oggi&#60;/b&#62;", "Ada Rossi, ada@famiglia.example", "aperta", "Diete"] {
        shown.says(what);
    }
    clerk.get("/ufficio/").await.says("Una segnalazione aspetta");
    clerk.get(&format!("/ufficio/bambini/{leo}")).await.says("Celiachia &#60;i&#62;");
    clerk.get("/ufficio/segnalazioni?stato=aperta&argomento=diete&di=nessuno").await.says("Celiachia &#60;i&#62;");
    clerk.get("/ufficio/segnalazioni?di=me").await.says("Nessuna segnalazione con questi filtri");
    clerk.fill("/ufficio/segnalazioni", "/ufficio/segnalazioni/cerca", &[("testo", "celia")]).await.says("Una segnalazione trovata");

    // A canned answer, its places filled.
    let canned = "/ufficio/segnalazioni/risposte/nuova";
    let wrong = clerk.fill(canned, canned, &[("titolo", "Certificato"), ("testo", "Gentile {cognome}")]).await;
    wrong.says("Il segnaposto {cognome} non esiste.");
    let text = "Gentile {nome}, per {bambino} serve il certificato.";
    assert_eq!(clerk.fill(canned, canned, &[("titolo", "Certificato"), ("testo", text)]).await.status, StatusCode::SEE_OTHER);
    let id = world.desk.canned_answers(world.ente).await.unwrap()[0].id;
    let begun = clerk.get(&format!("{path}?risposta={id}")).await;
    begun.says("Gentile Ada Rossi, per Leo &lt;b&gt;Rossi&lt;/b&gt; serve il certificato.");
    let version = begun.hidden("_version");
    let mut other = world.logged_in(Role::Admin).await;
    let answer = format!("{path}/rispondi");
    let fields = [("_version", version.as_str()), ("testo", "Serve il certificato."), ("a", &ada), ("poi", "attesa")];
    let done = clerk.fill(&path, &answer, &fields).await;
    assert_eq!(done.location(), path);
    clerk.get(&path).await.says("Il messaggio parte per ada@famiglia.example.");
    // Another clerk had the page open: told, with what they typed and what is new.
    let told = other.fill(&path, &answer, &[("_version", &version), ("testo", "Il mio testo"), ("poi", "chiusa"), ("a", "")]).await;
    assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
    for what in ["c'è qualcosa di nuovo", ">\nIl mio testo</textarea>", "Serve il certificato."] {
        told.says(what);
    }
    assert_eq!(world.desk.mails(world.ente, MailFilter::default(), 0, 9).await.unwrap().1, 1, "one mail");
    let noted = other.fill(&path, &format!("{path}/nota"), &[("_version", &told.hidden("_version")), ("nota", "Sentire la cuoca")]).await;
    assert_eq!(noted.location(), path);
    let said = clerk.fill(&path, &format!("{path}/famiglia"), &[("detto", "Eccolo")]).await;
    clerk.get(said.location()).await.says("la segnalazione è aperta e aspetta una risposta");
    let shown = clerk.get(&path).await;
    let fields = [("titolo", "Celiachia"), ("argomento", "diete"), ("stato", "chiusa"), ("di", "")];
    assert_eq!(save(&mut clerk, &shown, &path, &fields).await.location(), path);
    clerk.get("/ufficio/segnalazioni").await.says("Nessuna segnalazione da chiudere");
    clerk.get("/ufficio/segnalazioni?stato=tutte").await.says("Celiachia");

    // Who reads, is written down; who may only read, is offered nothing else.
    let mut reader = world.logged_in(Role::ReadOnly).await;
    let read = reader.get(&path).await;
    read.says("Sentire la cuoca");
    assert!(!read.text.contains("Rispondi</button>"), "{}", read.text);
    let asked = TrailAsked {
        from: support::at("2020-01-01T00:00:00Z"),
        to: support::at("2030-01-01T00:00:00Z"),
        actor: Role::ReadOnly.word(),
        action: "ha guardato una segnalazione",
        subject: "",
        sort: TrailSort::At,
        descending: false,
        limit: MOST_COUNTED,
        offset: 0,
    };
    let (lines, _) = world.desk.trail(world.ente, &asked).await.unwrap();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].subject.contains("Rossi"), "{}", lines[0].subject);
}

#[tokio::test]
async fn another_offices_news_and_tickets_are_not_there() {
    let world = world().await;
    let other = world.desk.put_ente("altro", "Altro", None, &voceguida::canteen::window::Window::default()).await.unwrap();
    let actor = Actor::system(other);
    let news = world.desk.draft_news(&actor, &NewsEdit { title: "Loro".into(), ..NewsEdit::default() }).await.unwrap();
    let ticket = NewTicket {
        origin: Origin::Portal,
        topic: Topic::Other,
        title: "Loro".into(),
        body: "x".into(),
        author: "x".into(),
        child: None,
        adult: None,
        assigned: None,
    };
    let ticket = world.desk.open_ticket(&actor, &ticket).await.unwrap();
    let mut clerk = world.logged_in(Role::Admin).await;
    for path in [
        format!("/ufficio/avvisi/{news}"),
        format!("/ufficio/avvisi/{news}/modifica"),
        format!("/ufficio/avvisi/{news}/pubblica"),
        format!("/ufficio/segnalazioni/{ticket}"),
    ] {
        assert_eq!(clerk.get(&path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [format!("/ufficio/avvisi/{news}/pubblica"), format!("/ufficio/segnalazioni/{ticket}/famiglia")] {
        let fields = [("_version", "1"), ("detto", "x")];
        assert_eq!(clerk.fill("/ufficio/avvisi/nuovo", &path, &fields).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(!clerk.get("/ufficio/segnalazioni?stato=tutte").await.text.contains("Loro"));
}
