//! Everything that is kept, as a ZIP of CSV files to take away: of the whole ente, or of one child (GDPR, article 15).
//!
//! It is written a page of rows at a time into a channel: however much there is, a page is all that is held. Keypad codes are not in it,
//! callers' numbers are masked.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, NaiveDate, Utc};
use tokio::sync::mpsc::Sender;
use zip::{ZipWriter, write::SimpleFileOptions, write::StreamWriter};

use super::{
    Desk, DeskError,
    call_file::CallFile,
    calls::{CallAsked, masked},
    ente_of,
    export::{harmless, push_record},
    import::date,
};
use crate::{
    canteen::{ChildId, EnteId, window::Window},
    store::Span,
};

/// Rows read at once.
const PAGE: i64 = 2_000;

/// Why an archive broke off.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Nobody takes it any more.
    #[error("the receiver has gone")]
    Gone,
    /// The archive could not be written.
    #[error("the archive cannot be written: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// The same, beneath.
    #[error("the archive cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<crate::store::StoreError> for ArchiveError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// Where the ZIP writer puts its bytes until they are sent.
#[derive(Clone, Default)]
struct Outbox(Arc<Mutex<Vec<u8>>>);

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outbox {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An archive being written.
struct Archive<'a> {
    zip: ZipWriter<StreamWriter<Outbox>>,
    outbox: Outbox,
    to: &'a Sender<Vec<u8>>,
}

impl Archive<'_> {
    /// Begins a file with its headings.
    fn begin(&mut self, name: &str, headings: &[&str]) -> Result<(), ArchiveError> {
        self.zip.start_file(name, SimpleFileOptions::default())?;
        let mut csv = String::from("\u{feff}");
        push_record(&mut csv, headings);
        self.zip.write_all(csv.as_bytes())?;
        Ok(())
    }

    /// Writes rows and sends what has come together.
    async fn rows(&mut self, rows: impl Iterator<Item = Vec<String>>) -> Result<(), ArchiveError> {
        let mut csv = String::new();
        for row in rows {
            let fields: Vec<String> = row.iter().map(|field| harmless(field)).collect();
            push_record(&mut csv, &fields.iter().map(String::as_str).collect::<Vec<_>>());
        }
        self.text(&csv).await
    }

    async fn text(&mut self, csv: &str) -> Result<(), ArchiveError> {
        self.zip.write_all(csv.as_bytes())?;
        let bytes = self.outbox.take();
        if bytes.is_empty() { Ok(()) } else { self.to.send(bytes).await.map_err(|_| ArchiveError::Gone) }
    }
}

fn some(text: Option<String>) -> String {
    text.unwrap_or_default()
}

fn day(day: Option<NaiveDate>) -> String {
    day.map(date).unwrap_or_default()
}

fn instant(window: &Window, at: DateTime<Utc>) -> String {
    window.local(at).format("%d/%m/%Y %H:%M:%S").to_string()
}

fn yes(yes: bool) -> String {
    if yes { "sì" } else { "no" }.to_owned()
}

impl Desk {
    /// Writes the archive of an ente, or of one of its children, into `to`.
    pub async fn archive(&self, ente: EnteId, child: Option<ChildId>, to: &Sender<Vec<u8>>) -> Result<(), ArchiveError> {
        let window = ente_of(&mut self.db.read().await?, ente).await?.window;
        let span = child.map_or(Span { from: 0, to: i64::MAX }, |child| Span { from: child.0, to: child.0 });
        let outbox = Outbox::default();
        let mut archive = Archive { zip: ZipWriter::new_stream(outbox.clone()), outbox, to };
        self.archive_children(&mut archive, ente, span).await?;
        self.archive_adults(&mut archive, ente, span).await?;
        self.archive_operations(&mut archive, ente, span, &window).await?;
        self.archive_meals(&mut archive, ente, span).await?;
        self.archive_tickets(&mut archive, ente, span, &window).await?;
        match child {
            Some(child) => self.archive_calls_for(&mut archive, child, &window).await?,
            None => self.archive_calls(&mut archive, ente, &window).await?,
        }
        let Archive { zip, outbox, .. } = archive;
        zip.finish()?;
        to.send(outbox.take()).await.map_err(|_| ArchiveError::Gone)
    }

    async fn archive_children(&self, archive: &mut Archive<'_>, ente: EnteId, span: Span) -> Result<(), ArchiveError> {
        let headings = [
            "Bambino",
            "Matricola",
            "Cognome",
            "Nome",
            "Codice fiscale",
            "Scuola",
            "Classe",
            "Anno scolastico",
            "Dieta",
            "Iscritto dal",
            "Iscritto al",
        ];
        archive.begin("bambini.csv", &headings)?;
        let mut after = 0;
        loop {
            let page = self.db.read().await?.archive_children(ente, span, after, PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = end.id;
            let row = |c: crate::store::ArchivedChild| {
                vec![
                    c.id.to_string(),
                    some(c.external_ref),
                    c.last_name,
                    c.first_name,
                    some(c.fiscal_code),
                    c.school,
                    c.class,
                    c.year,
                    c.diet,
                    day(c.enrolled_first),
                    day(c.enrolled_last),
                ]
            };
            archive.rows(page.into_iter().map(row)).await?;
        }
    }

    async fn archive_adults(&self, archive: &mut Archive<'_>, ente: EnteId, span: Span) -> Result<(), ArchiveError> {
        let headings = ["Bambino", "Adulto", "Ruolo", "Paga", "Cognome", "Nome", "Codice fiscale", "E-mail", "Telefono", "Indirizzo"];
        archive.begin("adulti.csv", &headings)?;
        let mut after = 0;
        loop {
            let mut tx = self.db.read().await?;
            let page = tx.archive_children(ente, span, after, PAGE).await?;
            let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
            after = last.id;
            let adults = tx.archive_adults(ente, first.id, last.id).await?;
            drop(tx);
            let row = |a: crate::store::ArchivedAdult| {
                vec![
                    a.child_id.to_string(),
                    a.guardian_id.to_string(),
                    if a.delegate { "delegato" } else { "genitore o tutore" }.to_owned(),
                    yes(a.payer),
                    a.last_name,
                    a.first_name,
                    some(a.fiscal_code),
                    some(a.email),
                    some(a.phone),
                    some(a.address),
                ]
            };
            archive.rows(adults.into_iter().map(row)).await?;
        }
    }

    async fn archive_operations(&self, archive: &mut Archive<'_>, ente: EnteId, span: Span, window: &Window) -> Result<(), ArchiveError> {
        let headings =
            ["Bambino", "Quando", "Canale", "Da chi", "Operazione", "Giorno", "Fino al", "Esito", "Motivo del rifiuto", "Nota", "Ricevuta"];
        archive.begin("operazioni.csv", &headings)?;
        let mut after = (0, 0);
        loop {
            let page = self.db.read().await?.archive_operations(ente, span, after, PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = (end.child_id, end.id);
            let row = |o: crate::store::ArchivedOperation| {
                let actor = if o.channel == "phone" { masked(&o.actor) } else { o.actor };
                vec![
                    o.child_id.to_string(),
                    instant(window, o.at),
                    o.channel,
                    actor,
                    o.choice,
                    day(o.day),
                    day(o.until_day),
                    o.decision,
                    some(o.reason),
                    some(o.note),
                    o.receipt,
                ]
            };
            archive.rows(page.into_iter().map(row)).await?;
        }
    }

    async fn archive_meals(&self, archive: &mut Archive<'_>, ente: EnteId, span: Span) -> Result<(), ArchiveError> {
        archive.begin("pasti.csv", &["Bambino", "Giorno", "Scuola", "Classe", "Dieta", "Al termine", "Corretto in"])?;
        let mut after = (0, NaiveDate::default());
        loop {
            let page = self.db.read().await?.archive_meals(ente, span, after, PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = (end.child_id, end.day);
            let row = |m: crate::store::ArchivedMeal| {
                vec![m.child_id.to_string(), date(m.day), m.school, m.class, m.diet, m.state, some(m.becomes)]
            };
            archive.rows(page.into_iter().map(row)).await?;
        }
    }

    async fn archive_tickets(&self, archive: &mut Archive<'_>, ente: EnteId, span: Span, window: &Window) -> Result<(), ArchiveError> {
        archive.begin("segnalazioni.csv", &["Segnalazione", "Bambino", "Adulto", "Argomento", "Titolo", "Quando", "Chi", "Da", "Testo"])?;
        let mut after = (0, 0);
        loop {
            let page = self.db.read().await?.archive_tickets(ente, span, after, PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = (end.ticket_id, end.position);
            let number = |id: Option<i64>| id.map(|id| id.to_string()).unwrap_or_default();
            let row = |m: crate::store::ArchivedMessage| {
                vec![
                    m.ticket_id.to_string(),
                    number(m.child_id),
                    number(m.guardian_id),
                    super::tickets::Topic::of(&m.topic).label().to_owned(),
                    m.title,
                    instant(window, m.at),
                    super::tickets::said_by(&m.kind).to_owned(),
                    m.author,
                    m.body,
                ]
            };
            archive.rows(page.into_iter().map(row)).await?;
        }
    }

    async fn archive_calls(&self, archive: &mut Archive<'_>, ente: EnteId, window: &Window) -> Result<(), ArchiveError> {
        archive.zip.start_file("chiamate.csv", SimpleFileOptions::default())?;
        archive.text(&CallFile::heading()).await?;
        let file = CallFile { window: *window, whole_numbers: false };
        let now = self.db.read().await?.instant(&self.clock).await?;
        let asked = CallAsked { last: window.local(now).date(), ..CallAsked::default() };
        let mut after = None;
        loop {
            let page = self.calls_page(ente, &asked, after.as_ref()).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = Some((end.row.started_at, end.row.id.clone()));
            archive.text(&file.lines(&page)).await?;
        }
    }

    async fn archive_calls_for(&self, archive: &mut Archive<'_>, child: ChildId, window: &Window) -> Result<(), ArchiveError> {
        archive.begin("chiamate.csv", &["Inizio", "Fine", "Chiamante", "Causa", "Operazioni"])?;
        let calls = self.db.read().await?.calls_for(child, i64::from(u16::MAX)).await?;
        let row = |c: crate::store::ChildCall| {
            let caller = c.caller.map_or_else(|| "riservato".to_owned(), |number| masked(&number));
            vec![instant(window, c.started_at), instant(window, c.ended_at), caller, c.cause, c.operations.to_string()]
        };
        archive.rows(calls.into_iter().map(row)).await
    }
}
