//! The office's pages of children and families, as a clerk's browser sees them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod office_support;

use std::io::Write as _;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use office_support::{Browser, Seen, World};
use voceguida::{
    canteen::{
        ChildId, EnteId,
        roster::{CalendarRows, ChildRow, ClassRow, GuardianRow, Guardianship, Roster, SchoolRow, TermRow},
        window::Window,
    },
    desk::people::Role,
    store::{ChildFilter, Order, Page},
};

fn day(text: &str) -> chrono::NaiveDate {
    text.parse().unwrap()
}

fn roster() -> Roster {
    let child = |number: &str, last: &str, first: &str| ChildRow {
        origin: None,
        external_id: Some(number.into()),
        last_name: last.into(),
        first_name: first.into(),
        fiscal_code: None,
        school: "PRIM".into(),
        class: "1A".into(),
        diet: "normale".into(),
        code: None,
        enrolled_from: None,
        enrolled_to: None,
        guardians: vec![Guardianship { guardian: 0, payer: true }],
    };
    Roster {
        schools: vec![SchoolRow { code: "PRIM".into(), name: "Scuola primaria".into() }],
        classes: vec![ClassRow {
            school: "PRIM".into(),
            name: "1A".into(),
            weekdays: (0u8..5).filter_map(|d| chrono::Weekday::try_from(d).ok()).collect(),
        }],
        guardians: vec![GuardianRow {
            last_name: "Bianchi".into(),
            first_name: "Niccolò".into(),
            fiscal_code: None,
            email: Some("n.bianchi@esempio.it".into()),
            phone: Some("3331234567".into()),
        }],
        children: vec![child("M1", "Rossi", "Zoë"), child("M2", "<script>alert(1)</script>", "Ugo")],
        calendar: CalendarRows {
            school_year: Some("2026/2027".into()),
            terms: vec![TermRow { school: None, first: day("2026-09-14"), last: day("2027-06-08") }],
            closures: vec![],
        },
    }
}

async fn world() -> (World, ChildId) {
    let world = World::new().await;
    world.desk.import(world.ente, &roster()).await.unwrap();
    let child = find(&world, world.ente, "rossi").await;
    (world, child)
}

async fn find(world: &World, ente: EnteId, text: &str) -> ChildId {
    let filter = ChildFilter { text: text.into(), ..ChildFilter::default() };
    let page = Page { offset: 0, limit: 9, descending: false };
    ChildId(world.desk.list_children(ente, &filter, Order::Name, page).await.unwrap().0[0].id)
}

/// Sends files as the import's form does.
async fn upload(browser: &mut Browser, files: &[(&str, &str, &[u8])]) -> Seen {
    const PAGE: &str = "/ufficio/bambini/importazioni";
    let csrf = browser.get(PAGE).await.hidden("_csrf");
    let mut body = Vec::new();
    let mut part = |head: String, content: &[u8]| {
        body.extend(format!("--confine\r\nContent-Disposition: form-data; {head}\r\n\r\n").into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    };
    part(r#"name="_csrf""#.into(), csrf.as_bytes());
    for (field, name, content) in files {
        part(format!(r#"name="{field}"; filename="{name}""#), content);
    }
    body.extend(b"--confine--\r\n");
    let request = Request::post(PAGE)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=confine")
        .header("origin", "http://ufficio.example")
        .header("sec-fetch-site", "same-origin");
    browser.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_file_is_shown_done_and_undone() {
    let world = World::new().await;
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get("/ufficio/bambini").await.says("Importi l'elenco degli iscritti");
    world.desk.import(world.ente, &Roster { children: vec![], ..roster() }).await.unwrap();

    let wrong = upload(&mut clerk, &[("file", "elenco.csv", "Cognome;Nome;Scuola;Classe\nRossi;Ada;PRIM;9Z\n".as_bytes())]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.says("elenco.csv, riga 2");

    let file = "Cognome;Nome;Scuola;Classe;Dieta\nRossi;Ada;PRIM;1A;celiaco\nVerdi;Eva;PRIM;1A;\n";
    let shown = upload(&mut clerk, &[("file", "elenco.csv", file.as_bytes())]).await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    shown.says("Bambini nuovi: 2");
    shown.says("senza glutine");
    let fields = ["_csrf", "caricamento", "impronta", "escono"].map(|name| (name, shown.hidden(name)));
    let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let done = clerk.post("/ufficio/bambini/importazioni/esegui", &fields).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    let list = clerk.get("/ufficio/bambini/importazioni").await;
    list.says("2 bambini nuovi, 0 cambiati");
    list.says("elenco.csv");
    // The preview is gone: pressing again does nothing.
    let again = clerk.post("/ufficio/bambini/importazioni/esegui", &fields).await;
    assert_eq!(again.location(), "/ufficio/bambini/importazioni");

    let id = world.desk.batches(world.ente, 1).await.unwrap()[0].id;
    let path = format!("/ufficio/bambini/importazioni/{id}/annulla");
    clerk.fill(&path, &path, &[]).await;
    clerk.get("/ufficio/bambini/importazioni").await.says("annullata il");
    clerk.get("/ufficio/bambini").await.says("Non c'è ancora nessun bambino");
}

#[tokio::test]
async fn a_workbook_that_would_burst_is_refused() {
    let (world, _) = world().await;
    let mut clerk = world.logged_in(Role::Office).await;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("xl/worksheets/sheet1.xml", options).unwrap();
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..120 {
        zip.write_all(&zeros).unwrap();
    }
    let bomb = zip.finish().unwrap().into_inner();
    assert!(bomb.len() < 1 << 20);
    let seen = upload(&mut clerk, &[("file", "elenco.xlsx", &bomb)]).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    seen.says("supera 100 MB");
    let large = vec![b'x'; 11 << 20];
    let seen = upload(&mut clerk, &[("file", "elenco.csv", &large)]).await;
    assert_eq!(seen.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn children_are_found_without_a_name_in_any_address() {
    let (world, child) = world().await;
    let mut clerk = world.logged_in(Role::Office).await;
    let seen = clerk.fill("/ufficio/bambini", "/ufficio/bambini/cerca", &[("testo", "zoe bian")]).await;
    seen.says(&format!("/ufficio/bambini/{}", child.0));
    seen.says("Un bambino trovato");
    clerk.fill("/ufficio/bambini", "/ufficio/bambini/cerca", &[("testo", "nessuno")]).await.says("Nessun bambino corrisponde");
    let code = world.desk.children_with_codes(world.ente).await.unwrap()[0].code.clone();
    let seen = clerk.fill("/ufficio/bambini", "/ufficio/bambini/cerca", &[("testo", &code)]).await;
    seen.says(&format!("/ufficio/bambini/{}", child.0));
    // What is a name to us is text to the browser.
    let all = clerk.get("/ufficio/bambini?ordine=-nome").await;
    assert!(!all.text.contains("<script>alert"), "{}", all.text);
    all.says("&#60;script&#62;alert");
    clerk.fill("/ufficio/famiglie", "/ufficio/famiglie/cerca", &[("testo", "bianchi")]).await.says("n.bianchi@esempio.it");
}

#[tokio::test]
async fn the_code_is_shown_on_request_and_that_is_written_down() {
    let (world, child) = world().await;
    let code = world.desk.children_with_codes(world.ente).await.unwrap()[0].code.clone();
    let path = format!("/ufficio/bambini/{}", child.0);
    let mut clerk = world.logged_in(Role::Office).await;
    let seen = clerk.get(&path).await;
    seen.says("Rossi Zoë");
    assert!(!seen.text.contains(&code));
    clerk.fill(&path, &format!("{path}/codice"), &[]).await.says(&code);
    // Whoever may only read sees the page and not the code.
    let mut reader = world.logged_in(Role::ReadOnly).await;
    let seen = reader.get(&path).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert!(!seen.text.contains("Mostra il codice") && !seen.text.contains("Cambia i dati"));
    assert_eq!(reader.fill(&path, &format!("{path}/codice"), &[]).await.status, StatusCode::FORBIDDEN);
    let mut kitchen = world.logged_in(Role::Kitchen).await;
    assert_eq!(kitchen.get(&path).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn another_offices_rows_are_not_there() {
    let (world, child) = world().await;
    let other = world.desk.put_ente("altro", "Comune di Altrove", None, &Window::default()).await.unwrap();
    world.desk.import(other, &roster()).await.unwrap();
    let theirs = find(&world, other, "rossi").await;
    assert_ne!(theirs, child);
    let mut clerk = world.logged_in(Role::Admin).await;
    for path in ["", "/dati", "/adulti", "/operazione", "/archivio"] {
        let seen = clerk.get(&format!("/ufficio/bambini/{}{path}", theirs.0)).await;
        assert_eq!(seen.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_operation_is_shown_confirmed_and_receipted() {
    let (world, child) = world().await;
    let mut clerk = world.logged_in(Role::Office).await;
    let path = format!("/ufficio/bambini/{}/operazione", child.0);
    let tomorrow = [("operazione", "disdetta"), ("giorno", "2026-10-13")];
    let shown = clerk.fill(&path, &path, &tomorrow).await;
    shown.says("Disdetta del pasto per martedì 13 ottobre 2026");
    let key = shown.hidden("chiave");
    let csrf = shown.hidden("_csrf");
    let fields = [("_csrf", csrf.as_str()), tomorrow[0], tomorrow[1], ("chiave", &key)];
    let done = clerk.post(&format!("{path}/conferma"), &fields).await;
    assert_eq!(done.location(), format!("/ufficio/bambini/{}?mese=2026-10", child.0));
    // Pressed twice, done once.
    clerk.post(&format!("{path}/conferma"), &fields).await;
    let page = clerk.get(done.location()).await;
    page.says("Ricevuta");
    page.says("martedì 13 ottobre 2026: disdetto");
    assert_eq!(page.text.matches("Accolta per martedì").count(), 1);

    // Asked again it is refused before it is done; today needs a reason.
    clerk.fill(&path, &path, &tomorrow).await.says("il pasto è già disdetto per martedì 13 ottobre 2026");
    let today = [("operazione", "disdetta"), ("giorno", "2026-10-12")];
    let asked = clerk.fill(&path, &path, &today).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    asked.says("scriva perché lo si cambia");
    let shown = clerk.fill(&path, &path, &[today[0], today[1], ("motivo", "Telefonata alle 8:50")]).await;
    shown.says("Conferma");
    let (csrf, key) = (shown.hidden("_csrf"), shown.hidden("chiave"));
    let fields = [("_csrf", csrf.as_str()), today[0], today[1], ("motivo", "Telefonata alle 8:50"), ("chiave", &key)];
    let done = clerk.post(&format!("{path}/conferma"), &fields).await;
    let page = clerk.get(done.location()).await;
    page.says("Motivo: Telefonata alle 8:50");
    page.says("corretto dopo il termine");
    let (_, rest) = page.text.split_once("/perche/").unwrap();
    let id = rest.split('"').next().unwrap();
    clerk.get(&format!("/ufficio/bambini/{}/perche/{id}", child.0)).await.says("Passo per passo");
}

#[tokio::test]
async fn the_second_of_two_clerks_is_shown_the_difference() {
    let (world, child) = world().await;
    let path = format!("/ufficio/bambini/{}/dati", child.0);
    let mut anna = world.logged_in(Role::Office).await;
    let mut bruno = world.logged_in(Role::Admin).await;
    let annas = anna.get(&path).await;
    let brunos = bruno.get(&path).await;
    let class = brunos.text.split_once(r#"<option value=""#).unwrap().1;
    let class = class.split_once(r#"<option value=""#).unwrap().1.split('"').next().unwrap().to_owned();
    let form = |seen: &Seen| ["_csrf", "_version", "_prima"].map(|name| (name, seen.hidden(name)));
    let typed = |seen: &Seen, name: &str, diet: &str| {
        let mut fields: Vec<(String, String)> = form(seen).into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        for (n, v) in [("cognome", "Rossi"), ("nome", name), ("matricola", "M1"), ("classe", class.as_str()), ("dieta", diet)] {
            fields.push((n.to_owned(), v.to_owned()));
        }
        fields
    };
    let first = typed(&brunos, "Zoë", "vegetariana");
    let first: Vec<_> = first.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(bruno.post(&path, &first).await.status, StatusCode::SEE_OTHER);
    let second = typed(&annas, "Zoë Maria", "normale");
    let second: Vec<_> = second.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let told = anna.post(&path, &second).await;
    assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
    told.says("Nel frattempo un'altra persona ha salvato questa scheda");
    told.says("dieta: da «normale» a «vegetariana»");
    assert_eq!((told.hidden("nome"), told.hidden("dieta")), ("Zoë Maria".into(), "vegetariana".into()), "both changes are in the form");
}

#[tokio::test]
async fn everything_comes_as_one_file() {
    let (world, child) = world().await;
    let mut auditor = world.logged_in(Role::Auditor).await;
    for path in ["/ufficio/bambini/archivio".to_owned(), format!("/ufficio/bambini/{}/archivio", child.0)] {
        let seen = auditor.get(&path).await;
        assert_eq!((seen.status, seen.header("content-type")), (StatusCode::OK, "application/zip"));
        assert!(seen.header("content-disposition").contains("attachment"));
    }
    let mut clerk = world.logged_in(Role::Office).await;
    clerk.get("/ufficio/bambini/anno").await.says("il passaggio si può fare dal giorno dopo");
}
