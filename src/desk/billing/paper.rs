//! A notice on paper.

use chrono::NaiveDate;

use super::BillError;
use crate::{
    billing::{BasisPoints, Cents, DaySet, Month, price::Item, settings::BillingSettings, world::Reason},
    desk::{
        Desk, DeskError, ente_of,
        trail::{Actor, Subject, record},
    },
    papers::{
        PaperError,
        notice::{self, Notice, NoticeChild, NoticeLine, Notices},
    },
    store::{NoticeLineRow, NoticeRow, StoreError},
};

/// Why a notice could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The desk, or the notice itself.
    #[error(transparent)]
    Bill(#[from] BillError),
    /// The page.
    #[error(transparent)]
    Paper(#[from] PaperError),
}

impl From<DeskError> for PrintError {
    fn from(error: DeskError) -> Self {
        Self::Bill(error.into())
    }
}

impl From<StoreError> for PrintError {
    fn from(error: StoreError) -> Self {
        Self::Bill(error.into())
    }
}

impl Desk {
    /// A notice as PDF; `None` where the ente has none of that year and number.
    ///
    /// # Errors
    /// [`PrintError`]
    pub async fn print_notice(
        &self,
        actor: &Actor,
        settings: &BillingSettings,
        year: i64,
        number: i64,
    ) -> Result<Option<Vec<u8>>, PrintError> {
        let heading = self.heading(actor.ente).await?;
        let mut tx = self.db.read().await?;
        let contact = ente_of(&mut tx, actor.ente).await?.office_phone.map(|phone| format!("tel. {phone}"));
        let Some(row) = tx.notice(actor.ente, year, number).await? else { return Ok(None) };
        let lines = tx.lines_of_notice(row.id).await?;
        drop(tx);
        let id = row.id;
        let creditor = row.creditor.clone();
        let notices = Notices {
            heading,
            creditor,
            cbill: settings.cbill.clone(),
            contact,
            notices: vec![notice_of(row, lines).map_err(PrintError::Bill)?],
        };
        let now = self.clock.now();
        let set = tokio::task::spawn_blocking(move || notice::pdf(&notices, now)).await;
        let pdf = set.map_err(|_| PrintError::Bill(BillError::Broken))??;
        let mut tx = self.db.write().await?;
        let name = format!("avviso {number}/{year}");
        record(
            &mut tx,
            now,
            actor,
            "ha stampato un avviso di pagamento",
            Subject { kind: "avviso", id: Some(id), name: &name },
            None,
            None,
        )
        .await?;
        tx.commit().await?;
        Ok(Some(pdf))
    }
}

fn notice_of(row: NoticeRow, lines: Vec<NoticeLineRow>) -> Result<Notice, BillError> {
    let mut children: Vec<(i64, NoticeChild)> = Vec::new();
    for line in lines {
        if children.last().is_none_or(|(id, _)| *id != line.child_id) {
            let child = NoticeChild {
                name: format!("{} {}", line.first_name, line.last_name),
                place: format!("{}, {}", line.school, line.class),
                lines: vec![],
            };
            children.push((line.child_id, child));
        }
        if let Some((_, child)) = children.last_mut() {
            child.lines.push(line_of(&line));
        }
    }
    Ok(Notice {
        number: row.notice_number.parse()?,
        own_number: (row.number, row.year),
        subject: row.subject,
        amount: Cents(row.total_cents),
        issued_on: row.issued_on,
        due_day: row.due_day,
        debtor: row.debtor_name,
        debtor_code: row.debtor_fiscal_code,
        address: row.debtor_address.iter().flat_map(|address| address.lines().map(str::to_owned)).collect(),
        children: children.into_iter().map(|(_, child)| child).collect(),
    })
}

fn line_of(line: &NoticeLineRow) -> NoticeLine {
    let month = Month::of(line.month);
    let days: Vec<NaiveDate> = DaySet::from_bits(line.days).map(|days| days.days_of(month).collect()).unwrap_or_default();
    let what = if line.item == Item::Flat.word() { "Quota fissa" } else { "Pasti" };
    let reason = line.reason.as_deref().and_then(|word| Reason::ALL.into_iter().find(|reason| reason.word() == word));
    let mut why: Vec<String> = line.steps.as_deref().and_then(|steps| serde_json::from_str(steps).ok()).unwrap_or_default();
    if let Some(reason) = reason {
        let note = if line.note.is_empty() { String::new() } else { format!(" ({})", line.note) };
        let difference = format!("Rettifica di quanto già richiesto: {}{note}", reason.in_words());
        why.insert(0, difference);
        if line.steps.is_some() && why.len() > 1 {
            why.insert(1, "Ora vale:".to_owned());
        }
    }
    if let Ok(share) = BasisPoints::try_from(line.share_bp)
        && share != BasisPoints::WHOLE
    {
        why.push(format!("Sua quota: {share}"));
    }
    NoticeLine { what: format!("{what} di {month}"), days, unit: Cents(line.unit_cents), total: Cents(line.total_cents), why }
}
