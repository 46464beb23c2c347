//! The ten daily jobs of docs/manuale-ufficio.md, done in a real browser on the demo's school: the manual's clicks are those that were needed.
//!
//! A click is a press on a link, a button or a choice; writing into a field is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "office_support/browser.rs"]
mod browser;
mod office_support;

use std::path::PathBuf;

use browser::{Chromium, Size};
use chrono::{DateTime, TimeDelta, Utc};
use fantoccini::Locator;
use office_support::World;
use voceguida::canteen::{ChildId, demo::past::CLERK};

/// A job under way: counts its clicks.
struct Job<'a> {
    browser: &'a Chromium,
    clicks: u32,
}

impl Job<'_> {
    async fn menu(&mut self, label: &str) {
        self.clicks += 1;
        self.browser.press_in_menu(label).await;
    }

    async fn press(&mut self, label: &str) {
        self.clicks += 1;
        self.browser.press(label).await;
    }

    async fn press_beginning(&mut self, label: &str) {
        self.clicks += 1;
        self.browser.press_beginning(label).await;
    }

    async fn tick(&mut self, label: &str) {
        self.clicks += 1;
        self.browser.tick(label).await;
    }

    async fn choose(&mut self, name: &str, entry: &str) {
        self.clicks += 1;
        self.browser.choose(name, entry).await;
    }

    /// Looks a child up by the menu and what is typed, and opens its page.
    async fn find_child(&mut self, typed: &str, name: &str) {
        self.menu("Bambini").await;
        self.browser.until_it_says("Elenco dei bambini").await;
        self.browser.fill("testo", typed).await;
        self.browser.until_it_says("Un bambino trovato").await;
        self.press(name).await;
        self.browser.until_it_says("Codice disdetta").await;
    }
}

/// Title and clicks of each job, as the manual has them: `## 2. Disdire …` and, below it, `Clic: **6**`.
fn manual() -> Vec<(u32, String, u32)> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/manuale-ufficio.md");
    let text = std::fs::read_to_string(file).expect("the manual");
    let mut jobs: Vec<(u32, String, Option<u32>)> = Vec::new();
    for line in text.lines() {
        if let Some((number, title)) = line.strip_prefix("## ").and_then(|line| line.split_once(". ")) {
            if let Ok(number) = number.parse() {
                jobs.push((number, title.to_owned(), None));
            }
        } else if let Some(clicks) = line.strip_prefix("Clic: **").and_then(|rest| rest.split("**").next()) {
            jobs.last_mut().expect("a job before its clicks").2 = clicks.parse().ok();
        }
    }
    for line in text.lines().filter_map(|line| line.split_once("](images/ufficio/")) {
        let name = line.1.split(')').next().unwrap_or_default();
        let picture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/images/ufficio").join(name);
        assert!(picture.is_file(), "the manual shows {name}, which is not there: make screenshots");
    }
    jobs.into_iter().map(|(number, title, clicks)| (number, title, clicks.expect("the clicks of a job"))).collect()
}

/// What the school has sent.
fn class_file(folder: &tempfile::TempDir) -> PathBuf {
    let file = folder.path().join("iscritti-1A.csv");
    let rows = "cognome;nome;scuola;classe;dieta;matricola\n\
        Bellini;Tommaso;PRI-RODARI;1A;normale;2001\n\
        Sartori;Camilla;PRI-RODARI;1A;senza lattosio;2002\n\
        Vitale;Edoardo;PRI-RODARI;1A;normale;2003\n";
    std::fs::write(&file, rows).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ten_jobs_need_the_clicks_that_the_manual_says() {
    let mut world = World::lifelike().await;
    let mut done: Vec<(u32, u32)> = Vec::new();
    let browser = Chromium::start(&world).await;
    browser.log_in(CLERK).await;
    browser.until_it_says("Pasti per scuola").await;
    // From today's page on, each of them.
    macro_rules! job {
        ($number:expr, |$job:ident| $what:block) => {{
            browser.open("/ufficio/").await;
            let mut $job = Job { browser: &browser, clicks: 0 };
            $what
            done.push(($number, $job.clicks));
        }};
    }

    job!(1, |_job| {
        let text = browser.text().await;
        for told in ["Aperta", "Telefonate", "Termine per disdire", "minuti", "Disdette", "Pasti per scuola"] {
            assert!(text.contains(told), "{told} is not in\n{text}");
        }
        browser.look_here("lavoro-01-mattina", Size::Desktop).await;
    });

    job!(2, |job| {
        job.find_child("rossi giulia", "Rossi Giulia").await;
        job.press_beginning("giovedì 26 novembre").await;
        browser.until_it_says("Prima di eseguire").await;
        job.tick("Disdetta").await;
        job.press("Avanti").await;
        browser.until_it_says("Che cosa cambia").await;
        browser.look_here("lavoro-02-disdetta", Size::Desktop).await;
        job.press("Esegui").await;
        browser.until_it_says("icevuta").await;
    });

    job!(4, |job| {
        let refused = refused_child(&world).await;
        job.find_child(&refused.0, &refused.1).await;
        job.press_beginning("Perché è stata rifiutata?").await;
        browser.until_it_says("Passo per passo").await;
        browser.look_here("lavoro-04-rifiuto", Size::Desktop).await;
    });

    job!(5, |job| {
        job.menu("Calendario").await;
        browser.until_it_says("Chiusure da oggi in poi").await;
        job.press("Inserisci una chiusura").await;
        browser.until_it_says("Lo leggono le famiglie").await;
        job.choose("luogo", "Scuola dell'infanzia").await;
        browser.set("dal", "2026-11-25").await;
        job.choose("tipo", "Lavori o guasto").await;
        browser.fill("motivo", "Manca l'acqua").await;
        job.press("Vedi che cosa succede").await;
        browser.until_it_says("Conferma").await;
        browser.look_here("lavoro-05-chiusura", Size::Desktop).await;
        job.press("Conferma").await;
        browser.until_it_says("Il calendario è aggiornato").await;
    });

    job!(6, |job| {
        job.find_child("bianchi matteo", "Bianchi Matteo").await;
        job.press("Cambia i dati").await;
        browser.until_it_says("Iscritto dal").await;
        browser.fill("dieta", "senza lattosio").await;
        browser.look_here("lavoro-06-bambino", Size::Desktop).await;
        job.press("Salva").await;
        browser.until_it_says("senza lattosio").await;
    });

    let folder = tempfile::tempdir().unwrap();
    let file = class_file(&folder);
    job!(7, |job| {
        job.menu("Bambini").await;
        browser.until_it_says("Elenco dei bambini").await;
        job.press("Importa un elenco").await;
        browser.until_it_says("Fatte finora").await;
        // The click that opens the dialog of the operating system.
        job.clicks += 1;
        let field = browser.client.find(Locator::Css("main [name=file]")).await.unwrap();
        field.send_keys(file.to_str().unwrap()).await.unwrap();
        job.press("Mostra che cosa cambia").await;
        browser.until_it_says("Bambini nuovi: 3").await;
        browser.look_here("lavoro-07-importazione", Size::Desktop).await;
        job.press("Importa").await;
        browser.until_it_says("Fatte finora").await;
    });

    job!(8, |job| {
        job.menu("Lettere").await;
        browser.until_it_says("Lettere con codici e credenziali").await;
        job.press_beginning("Prepara le lettere della classe 1A, Scuola primaria").await;
        browser.until_it_says("A chi vanno").await;
        browser.look_here("lavoro-08-lettere", Size::Desktop).await;
        let before = letters(&world).await;
        job.press_beginning("Stampa").await;
        until("the letters are printed", async || letters(&world).await > before).await;
        // A PDF that is shown asks for an icon of its own.
        browser.console_errors().await;
    });

    job!(9, |job| {
        let child = child(&world, "Giulia", "Rossi").await;
        let code = code(&world, child).await;
        job.find_child("rossi giulia", "Rossi Giulia").await;
        job.press("Sostituisci il codice").await;
        browser.until_it_says("smette di valere subito").await;
        browser.look_here("lavoro-09-codice", Size::Desktop).await;
        job.press("Sostituisci il codice").await;
        browser.until_it_says("A chi vanno").await;
        assert_ne!(self::code(&world, child).await, code);
        let before = letters(&world).await;
        job.press_beginning("Stampa").await;
        until("the letter is printed", async || letters(&world).await > before).await;
    });
    browser.close().await;

    // An hour later the cut-off has passed.
    world.later(TimeDelta::minutes(65)).await;
    world.desk.close_days(world.ente, None, |_, _| {}).await.unwrap();
    let browser = Chromium::start(&world).await;
    browser.log_in(CLERK).await;
    browser.until_it_says("definitivi").await;
    macro_rules! late_job {
        ($number:expr, |$job:ident| $what:block) => {{
            browser.open("/ufficio/").await;
            let mut $job = Job { browser: &browser, clicks: 0 };
            $what
            done.push(($number, $job.clicks));
        }};
    }

    late_job!(3, |job| {
        job.find_child("rossi giulia", "Rossi Giulia").await;
        job.press_beginning("mercoledì 25 novembre").await;
        browser.until_it_says("soltanto scrivendo il motivo").await;
        job.tick("Disdetta").await;
        browser.fill("motivo", "La mamma ha telefonato alle 9:10: febbre nella notte.").await;
        job.press("Avanti").await;
        browser.until_it_says("Che cosa cambia").await;
        browser.look_here("lavoro-03-dopo-il-termine", Size::Desktop).await;
        job.press("Esegui").await;
        browser.until_it_says("Corretto dopo il termine").await;
    });

    late_job!(10, |job| {
        job.press("Foglio per la cucina").await;
        browser.until_it_says("Giorno prima").await;
        browser.look_here("lavoro-10-cucina", Size::Desktop).await;
        job.press("PDF").await;
    });
    browser.close().await;

    done.sort_unstable();
    let manual: Vec<_> = manual().into_iter().map(|(number, title, clicks)| ((number, clicks), title)).collect();
    let said: Vec<_> = manual.iter().map(|(job, _)| *job).collect();
    assert_eq!(said, done, "the manual's jobs (number, clicks) and what was needed: {manual:#?}");
}

/// What to type, and the name, of a child of whom a call was refused.
async fn refused_child(world: &World) -> (String, String) {
    use voceguida::store::Verdict;
    let term = "2026-09-14T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
    let mut tx = world.desk.db().read().await.unwrap();
    for id in tx.child_ids().await.unwrap() {
        let operations = tx.operations_of(id).await.unwrap();
        // Of this school year: the steps of an older one cannot be told any more.
        if operations.iter().any(|o| matches!(o.verdict, Verdict::Refused(_, Some(_))) && o.at > term) {
            let child = tx.child(id).await.unwrap().unwrap();
            let name = format!("{} {}", child.last_name, child.first_name);
            return (name.to_lowercase(), name);
        }
    }
    panic!("nobody was refused anything");
}

async fn child(world: &World, first: &str, last: &str) -> ChildId {
    let mut tx = world.desk.db().read().await.unwrap();
    for id in tx.child_ids().await.unwrap() {
        let child = tx.child(id).await.unwrap().unwrap();
        if child.first_name == first && child.last_name == last {
            return id;
        }
    }
    panic!("no {first} {last}");
}

async fn code(world: &World, id: ChildId) -> String {
    let mut tx = world.desk.db().read().await.unwrap();
    tx.child_state(world.ente, id).await.unwrap().unwrap().state.code
}

async fn letters(world: &World) -> i64 {
    world.desk.letters(world.ente, None, 0, 1).await.unwrap().1
}

/// Waits, patiently.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("not in a minute: {what}");
}
