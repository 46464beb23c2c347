//! What the kitchen cooks: counts of a day before and after its cut-off, the sheet as a file, and the mail that brings it at the cut-off (O5, R9).

use std::{collections::BTreeMap, fmt::Write as _};

use chrono::{DateTime, NaiveDate, Utc};
use rust_xlsxwriter::{Format, Workbook};
use serde_json::json;
use tracing::warn;

use super::{
    Desk, DeskError, ente_of,
    mail::{self, Attachment, MailError, MailKind, NewMail, is_address},
    trail::{Actor, Subject, record},
};
pub use crate::store::KitchenRecipient;
use crate::{
    canteen::{
        DayState, EnteId,
        book::{Book, BookClass},
        roster::NORMAL_DIET,
        window::Window,
        words::{day_in_words, time_in_words},
    },
    papers::{
        Heading,
        kitchen::{Class as PaperClass, KitchenSheet, School as PaperSchool},
    },
    store::{MealSum, Tx},
};

/// The most addresses to which an ente's counts go.
pub const MOST_RECIPIENTS: usize = 50;

/// The counts of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayCount {
    /// The day.
    pub day: NaiveDate,
    /// Schools that have classes.
    pub schools: Vec<SchoolCount>,
}

/// A school's counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchoolCount {
    /// Row.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Is it the count of the cut-off, which nothing changes any more?
    pub is_final: bool,
    /// Why some class does not eat though it is a day of return: reasons of closures.
    pub closed: Vec<String>,
    /// Classes that eat on that day.
    pub classes: Vec<ClassCount>,
    /// What changed after the cut-off.
    pub changes: Vec<LateChange>,
}

/// A class's counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassCount {
    /// Row.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Meals by diet without white ones, the normal diet first.
    pub diets: Vec<(String, u32)>,
    /// White meals.
    pub white: u32,
    /// Cancelled.
    pub cancelled: u32,
    /// Suspended.
    pub suspended: u32,
}

/// Meals that changed after the cut-off, together where they changed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateChange {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// Meals more (positive) or less.
    pub meals: i64,
}

impl ClassCount {
    /// Meals to be cooked.
    pub fn meals(&self) -> u32 {
        self.white + self.diets.iter().map(|(_, n)| n).sum::<u32>()
    }

    fn add(&mut self, sum: &MealSum) {
        let children = u32::try_from(sum.children).unwrap_or(u32::MAX);
        match sum.state {
            DayState::Served => self.diets.push((sum.diet.clone(), children)),
            DayState::White => self.white += children,
            DayState::Cancelled => self.cancelled += children,
            DayState::Suspended => self.suspended += children,
            DayState::NoService => {}
        }
    }
}

impl SchoolCount {
    /// Meals to be cooked, as counted at the cut-off.
    pub fn meals(&self) -> u32 {
        self.classes.iter().map(ClassCount::meals).sum()
    }

    /// Cancelled meals.
    pub fn cancelled(&self) -> u32 {
        self.classes.iter().map(|c| c.cancelled).sum()
    }

    /// Suspended children.
    pub fn suspended(&self) -> u32 {
        self.classes.iter().map(|c| c.suspended).sum()
    }

    /// White meals.
    pub fn white(&self) -> u32 {
        self.classes.iter().map(|c| c.white).sum()
    }

    /// Meals by diet, the normal one first.
    pub fn diets(&self) -> Vec<(String, u32)> {
        let mut sums: BTreeMap<(bool, &str), u32> = BTreeMap::new();
        for (diet, n) in self.classes.iter().flat_map(|c| &c.diets) {
            *sums.entry((diet != NORMAL_DIET, diet)).or_default() += n;
        }
        sums.into_iter().map(|((_, diet), n)| (diet.to_owned(), n)).collect()
    }

    /// Meals more or less since the cut-off.
    pub fn changed(&self) -> i64 {
        self.changes.iter().map(|c| c.meals).sum()
    }
}

impl DayCount {
    /// Meals of all schools.
    pub fn meals(&self) -> u32 {
        self.schools.iter().map(SchoolCount::meals).sum()
    }

    /// Are all schools counted for good?
    pub fn is_final(&self) -> bool {
        !self.schools.is_empty() && self.schools.iter().all(|s| s.is_final)
    }
}

/// Counts a day, of one school or of all.
pub(super) async fn count(tx: &mut Tx, ente: EnteId, day: NaiveDate, only: Option<i64>) -> Result<DayCount, DeskError> {
    let book = tx.calendar_book(ente, None).await?;
    let closed = tx.closed_days(ente, day, day).await?;
    let corrections = tx.corrections(ente, day, day).await?;
    let expected = tx.expected_sums(ente, day).await?;
    let mut schools: Vec<SchoolCount> = Vec::new();
    for class in &book.classes {
        if only.is_none_or(|id| id == class.school) && schools.iter().all(|s| s.id != class.school) {
            let is_final = closed.contains(&(class.school, day));
            let (id, name) = (class.school, class.school_name.clone());
            schools.push(SchoolCount { id, name, is_final, closed: vec![], classes: vec![], changes: vec![] });
        }
    }
    for school in &mut schools {
        let sums = if school.is_final { tx.recorded_sums(school.id, day).await? } else { expected.clone() };
        for class in book.classes.iter().filter(|c| c.school == school.id) {
            reasons(&book, class, day, &mut school.closed);
            if !school.is_final && !book.calendar_of(class).is_some_and(|c| c.is_service_day(day)) {
                continue;
            }
            let mut counted = ClassCount { id: class.id, name: class.name.clone(), ..ClassCount::default() };
            let of_class: Vec<&MealSum> = sums.iter().filter(|s| s.class_id == class.id).collect();
            if of_class.is_empty() {
                continue;
            }
            for sum in of_class {
                counted.add(sum);
            }
            counted.diets.sort_by(|(a, _), (b, _)| (a != NORMAL_DIET, a).cmp(&(b != NORMAL_DIET, b)));
            school.classes.push(counted);
        }
        let eaten = |state| i64::from(matches!(state, DayState::Served | DayState::White));
        for c in corrections.iter().filter(|c| book.classes.iter().any(|k| k.id == c.class_id && k.school == school.id)) {
            let meals = eaten(c.becomes) - eaten(c.was);
            match school.changes.iter_mut().find(|l| l.at == c.at && l.reason == c.reason) {
                Some(late) => late.meals += meals,
                None => school.changes.push(LateChange { at: c.at, reason: c.reason.clone(), meals }),
            }
        }
    }
    Ok(DayCount { day, schools })
}

fn reasons(book: &Book, class: &BookClass, day: NaiveDate, reasons: &mut Vec<String>) {
    let returns = book
        .calendar_of(class)
        .is_some_and(|c| c.first <= day && day <= c.last && c.weekdays_on(day).contains(chrono::Datelike::weekday(&day)));
    for closure in book.closures_on(class, day).filter(|_| returns) {
        let whom = if closure.place.class().is_some() { format!(" ({})", class.name) } else { String::new() };
        let why = if closure.reason.is_empty() { closure.kind.label() } else { &closure.reason };
        let reason = format!("{why}{whom}");
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

/// The sheet as it is printed.
pub fn sheet(count: &DayCount, heading: Heading, at: DateTime<Utc>, window: &Window) -> KitchenSheet {
    let local = |at| window.local(at);
    let late = |c: &LateChange| {
        let sign = if c.meals > 0 { "+" } else { "" };
        format!("Dopo il termine, alle {}: {sign}{} pasti. {}", time_in_words(local(c.at).time()), c.meals, c.reason)
    };
    let school = |s: &SchoolCount| PaperSchool {
        name: s.name.clone(),
        classes: s
            .classes
            .iter()
            .map(|c| PaperClass {
                name: c.name.clone(),
                diets: c.diets.clone(),
                white: c.white,
                cancelled: c.cancelled,
                suspended: c.suspended,
            })
            .collect(),
    };
    let notes = count.schools.iter().flat_map(|s| {
        let closed = s.closed.iter().map(move |why| format!("{}: {why}.", s.name));
        let changed = s.changes.iter().map(move |c| format!("{}. {}", s.name, late(c)));
        closed.chain(changed)
    });
    KitchenSheet {
        heading,
        day: count.day,
        counted_at: local(at),
        is_final: count.is_final(),
        schools: count.schools.iter().map(school).collect(),
        notes: notes.collect(),
    }
}

const COLUMNS: [&str; 5] = ["Giorno", "Scuola", "Classe", "Dieta", "Pasti"];

/// The lines of the file: school, class, diet (or "in bianco"), meals.
fn lines(count: &DayCount) -> impl Iterator<Item = (&str, &str, &str, u32)> {
    count.schools.iter().flat_map(|s| {
        s.classes.iter().flat_map(move |c| {
            let diets = c.diets.iter().map(move |(diet, n)| (s.name.as_str(), c.name.as_str(), diet.as_str(), *n));
            diets.chain((c.white > 0).then_some((s.name.as_str(), c.name.as_str(), "in bianco", c.white)))
        })
    })
}

/// As CSV: semicolons and a byte order mark, as Italian Excel reads it.
pub fn csv(count: &DayCount) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer(vec![0xef, 0xbb, 0xbf]);
    writer.write_record(COLUMNS)?;
    let day = count.day.format("%d/%m/%Y").to_string();
    for (school, class, diet, meals) in lines(count) {
        writer.write_record([&day, &harmless(school), &harmless(class), &harmless(diet), &meals.to_string()])?;
    }
    writer.into_inner().map_err(|e| anyhow::anyhow!("{}", e.error()))
}

/// A text that a spreadsheet would take for a formula is marked as text.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

/// As XLSX.
pub fn xlsx(count: &DayCount) -> anyhow::Result<Vec<u8>> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.set_name("Pasti")?;
    let (bold, date) = (Format::new().set_bold(), Format::new().set_num_format("dd/mm/yyyy"));
    for (column, name) in (0u16..).zip(COLUMNS) {
        sheet.write_with_format(0, column, name, &bold)?;
    }
    for (row, (school, class, diet, meals)) in (1u32..).zip(lines(count)) {
        sheet.write_with_format(row, 0, &count.day, &date)?;
        sheet.write_string(row, 1, school)?;
        sheet.write_string(row, 2, class)?;
        sheet.write_string(row, 3, diet)?;
        sheet.write_number(row, 4, f64::from(meals))?;
    }
    sheet.autofit();
    Ok(book.save_to_buffer()?)
}

/// Queues the sheet for those who are told of this school, within the closing's transaction: so it is sent once, whichever node closes the
/// day. Only on the day itself: what a server that was down counts afterwards is no news to the kitchen.
pub(super) async fn queue_sheet(
    tx: &mut Tx,
    ente: EnteId,
    school: i64,
    day: NaiveDate,
    at: DateTime<Utc>,
    window: &Window,
    heading: &Heading,
) -> Result<(), DeskError> {
    if window.local(at).date() != day {
        return Ok(());
    }
    let recipients = recipients_of(tx, ente, school).await?;
    if recipients.is_empty() {
        return Ok(());
    }
    let counted = count(tx, ente, day, Some(school)).await?;
    let Some(of_school) = counted.schools.first().filter(|s| !s.classes.is_empty() || !s.closed.is_empty()) else { return Ok(()) };
    let mut attachments = Vec::new();
    let name = format!("pasti-{day}");
    let files = [
        (
            "pdf",
            "application/pdf",
            crate::papers::kitchen::pdf(&sheet(&counted, heading.clone(), at, window), at).map_err(anyhow::Error::from),
        ),
        ("csv", "text/csv; charset=utf-8", csv(&counted)),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", xlsx(&counted)),
    ];
    for (ending, media_type, made) in files {
        match made {
            Ok(content) => attachments.push(Attachment { name: format!("{name}.{ending}"), media_type: media_type.to_owned(), content }),
            // The numbers are in the text too: the day is closed and told all the same.
            Err(error) => warn!(%error, ending, "the kitchen's sheet"),
        }
    }
    let subject = format!("Pasti di {}: {} ({})", day_in_words(day), of_school.meals(), of_school.name);
    for recipient in recipients {
        let mail = NewMail {
            kind: MailKind::Kitchen,
            cause: Some(format!("cucina/{school}/{day}/{}", recipient.email)),
            recipient: recipient.email,
            recipient_name: recipient.name,
            subject: subject.chars().take(mail::LONGEST_SUBJECT).collect(),
            body: text(of_school, day, &heading.name).chars().take(mail::LONGEST_BODY).collect(),
            attachments: attachments.clone(),
        };
        send(tx, at, ente, &mail).await?;
    }
    Ok(())
}

/// Tells those who were sent the count of a school what has changed since, within the transaction that changes it.
pub(super) async fn queue_change(
    tx: &mut Tx,
    ente: EnteId,
    day: NaiveDate,
    at: DateTime<Utc>,
    changes: &BTreeMap<i64, i64>,
    reason: &str,
) -> Result<usize, DeskError> {
    let mut queued = 0;
    let schools = tx.schools(ente).await?;
    for (school, meals) in changes.iter().filter(|(_, meals)| **meals != 0) {
        let name = schools.iter().find(|s| s.id == *school).map_or("", |s| s.name.as_str());
        let (number, what) = (meals.abs(), if *meals < 0 { "in meno" } else { "in più" });
        for recipient in recipients_of(tx, ente, *school).await? {
            let mail = NewMail {
                kind: MailKind::Kitchen,
                cause: None,
                recipient: recipient.email,
                recipient_name: recipient.name,
                subject: format!("Variazione dopo il termine: {number} pasti {what}, {}", day_in_words(day))
                    .chars()
                    .take(mail::LONGEST_SUBJECT)
                    .collect(),
                body: format!(
                    "Buongiorno,\n\nper {} ({name}) dopo il termine il conteggio è cambiato: {number} pasti {what}.\nMotivo: {reason}\n\n\
                     Il foglio già inviato resta quello delle disdette in tempo; questa è la variazione.\n",
                    day_in_words(day)
                ),
                attachments: vec![],
            };
            queued += usize::from(send(tx, at, ente, &mail).await?);
        }
    }
    Ok(queued)
}

async fn recipients_of(tx: &mut Tx, ente: EnteId, school: i64) -> Result<Vec<KitchenRecipient>, DeskError> {
    let mut recipients = tx.kitchen_recipients(ente).await?;
    recipients.retain(|r| r.school_id.is_none_or(|id| id == school));
    recipients.sort_by(|a, b| a.email.cmp(&b.email));
    recipients.dedup_by(|a, b| a.email == b.email);
    Ok(recipients)
}

async fn send(tx: &mut Tx, at: DateTime<Utc>, ente: EnteId, new: &NewMail) -> Result<bool, DeskError> {
    match mail::queue(tx, at, &Actor::system(ente), new).await {
        Ok(id) => Ok(id.is_some()),
        Err(MailError::Desk(error)) => Err(error),
        // The day must be closed whatever becomes of the mail.
        Err(error) => {
            warn!(%error, "the kitchen's mail");
            Ok(false)
        }
    }
}

fn text(school: &SchoolCount, day: NaiveDate, ente: &str) -> String {
    let mut text = format!("Buongiorno,\n\necco i pasti di {} per {}.\n\nTotale: {}\n", school.name, day_in_words(day), school.meals());
    for (diet, n) in school.diets() {
        let _ = writeln!(text, "  dieta {diet}: {n}");
    }
    let _ = write!(text, "  in bianco: {}\n\n", school.white());
    for class in &school.classes {
        let diets: Vec<String> = class.diets.iter().map(|(diet, n)| format!("{diet} {n}")).collect();
        let white = if class.white > 0 { format!(", in bianco {}", class.white) } else { String::new() };
        let _ = writeln!(text, "{}: {} ({}{white})", class.name, class.meals(), diets.join(", "));
    }
    for why in &school.closed {
        let _ = writeln!(text, "Senza mensa: {why}");
    }
    let _ = writeln!(text, "\nIl conteggio è definitivo. In allegato il foglio (PDF) e i numeri (CSV, Excel).\n{ente}");
    text
}

impl Desk {
    /// The counts of a day, and the instant of counting.
    pub async fn count_day(&self, ente: EnteId, day: NaiveDate) -> Result<(DayCount, DateTime<Utc>), DeskError> {
        let mut tx = self.db.read().await?;
        let at = tx.instant(&self.clock).await?;
        Ok((count(&mut tx, ente, day, None).await?, at))
    }

    /// Who is sent the counts at the cut-off.
    pub async fn kitchen_recipients(&self, ente: EnteId) -> Result<Vec<KitchenRecipient>, DeskError> {
        Ok(self.db.read().await?.kitchen_recipients(ente).await?)
    }

    /// Adds an address to which counts are sent; `false` where it is none, or there are too many, or it is there already.
    pub async fn add_kitchen_recipient(&self, actor: &Actor, school: Option<i64>, name: &str, email: &str) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let known = school.is_none() || tx.schools(actor.ente).await?.iter().any(|s| Some(s.id) == school);
        if !known || !is_address(email) || tx.kitchen_recipients(actor.ente).await?.len() >= MOST_RECIPIENTS {
            return Ok(false);
        }
        let new = tx.add_kitchen_recipient(actor.ente, school, name, email).await?;
        if new {
            let subject = Subject { kind: "cucina", id: school, name };
            record(&mut tx, at, actor, "ha aggiunto un indirizzo della cucina", subject, None, Some(json!({ "e-mail": email }))).await?;
            tx.commit().await?;
        }
        Ok(new)
    }

    /// Takes an address out; `false` where there is none.
    pub async fn drop_kitchen_recipient(&self, actor: &Actor, id: i64) -> Result<bool, DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let Some(row) = tx.kitchen_recipients(actor.ente).await?.into_iter().find(|r| r.id == id) else { return Ok(false) };
        tx.drop_kitchen_recipient(actor.ente, id).await?;
        let subject = Subject { kind: "cucina", id: row.school_id, name: &row.name };
        record(&mut tx, at, actor, "ha tolto un indirizzo della cucina", subject, Some(json!({ "e-mail": row.email })), None).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The ente's window and the heading of what is printed.
    pub async fn sheet_frame(&self, ente: EnteId) -> Result<(Window, Heading), DeskError> {
        let window = ente_of(&mut self.db.read().await?, ente).await?.window;
        Ok((window, self.heading(ente).await?))
    }
}
