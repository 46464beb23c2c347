//! The payment notice ("avviso di pagamento"), as pagoPA's guide wants it (L'avviso di pagamento pagoPA, version 3), with what is asked for
//! explained behind it.
//!
//! The QR code is version 4 with error correction M, 25 mm wide, drawn, not a picture of pixels. The platform's own logos are not ours to
//! give away and are left out.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::{
    Heading, PaperError,
    press::{Template, pdf as set},
};
use crate::{
    billing::{Cents, NoticeNumber},
    canteen::words::date_in_words,
};

/// The most notices in one document.
pub const MOST_NOTICES: usize = 1_000;
/// The QR code's size that the guide asks for: 33 × 33 modules.
const QR_VERSION: i16 = 4;

/// Notices under one heading.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    /// The ente's heading.
    pub heading: Heading,
    /// Creditor's fiscal code.
    pub creditor: String,
    /// Creditor's code in the CBILL circuit.
    pub cbill: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// The notices, each beginning on a page of its own.
    pub notices: Vec<Notice>,
}

/// A notice.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Notice number.
    pub number: NoticeNumber,
    /// The ente's own number and year.
    pub own_number: (i64, i64),
    /// What for, at most 60 characters.
    pub subject: String,
    /// How much.
    pub amount: Cents,
    /// Date.
    pub issued_on: NaiveDate,
    /// Until when it is to be paid.
    pub due_day: NaiveDate,
    /// Debtor's name.
    pub debtor: String,
    /// Debtor's fiscal code.
    pub debtor_code: String,
    /// Debtor's address, a line each.
    pub address: Vec<String>,
    /// What is asked for, by child.
    pub children: Vec<NoticeChild>,
}

/// A child's part of a notice.
#[derive(Debug, Clone)]
pub struct NoticeChild {
    /// Name.
    pub name: String,
    /// School and class.
    pub place: String,
    /// Lines.
    pub lines: Vec<NoticeLine>,
}

/// A line.
#[derive(Debug, Clone)]
pub struct NoticeLine {
    /// "Pasti di ottobre 2026".
    pub what: String,
    /// The days.
    pub days: Vec<NaiveDate>,
    /// Price of a day, or the difference.
    pub unit: Cents,
    /// All of them.
    pub total: Cents,
    /// How the price came about, a sentence each.
    pub why: Vec<String>,
}

#[derive(Serialize)]
struct Values<'a> {
    heading: &'a Heading,
    creditor: &'a str,
    cbill: Option<&'a str>,
    contact: Option<&'a str>,
    notices: Vec<NoticeValue<'a>>,
}

#[derive(Serialize)]
struct NoticeValue<'a> {
    number: String,
    own_number: String,
    subject: &'a str,
    amount: String,
    issued: String,
    due: String,
    debtor: &'a str,
    debtor_code: &'a str,
    address: &'a [String],
    qr: String,
    children: Vec<ChildValue<'a>>,
}

#[derive(Serialize)]
struct ChildValue<'a> {
    name: &'a str,
    place: &'a str,
    total: String,
    lines: Vec<LineValue<'a>>,
}

#[derive(Serialize)]
struct LineValue<'a> {
    what: &'a str,
    days: String,
    quantity: usize,
    unit: String,
    total: String,
    why: &'a [String],
}

/// `46,80 Euro`: the guide writes the currency out.
fn euro(amount: Cents) -> String {
    amount.to_string().replace('€', "Euro")
}

/// The QR code of a notice as SVG, without the quiet zone, which the page leaves.
fn qr(notice: &Notice, creditor: &str) -> Result<String, PaperError> {
    let unset = |error: &dyn std::fmt::Display| PaperError::Setting(error.to_string());
    let text = notice.number.qr_text(creditor, notice.amount).map_err(|e| unset(&e))?;
    let code = qrcode::QrCode::with_version(text, qrcode::Version::Normal(QR_VERSION), qrcode::EcLevel::M).map_err(|e| unset(&e))?;
    Ok(code.render::<qrcode::render::svg::Color<'_>>().quiet_zone(false).module_dimensions(10, 10).build())
}

fn child(child: &NoticeChild) -> Result<ChildValue<'_>, PaperError> {
    let total = Cents::sum(child.lines.iter().map(|line| line.total)).map_err(|error| PaperError::Setting(error.to_string()))?;
    let line = |line: &'_ NoticeLine| {
        use chrono::Datelike as _;
        line.days.iter().map(|day| day.day().to_string()).collect::<Vec<_>>().join(", ")
    };
    let lines = child.lines.iter().map(|l| LineValue {
        what: &l.what,
        days: line(l),
        quantity: l.days.len(),
        unit: l.unit.to_string(),
        total: l.total.to_string(),
        why: &l.why,
    });
    Ok(ChildValue { name: &child.name, place: &child.place, total: total.to_string(), lines: lines.collect() })
}

/// Sets the notices. `at` becomes the document's date of creation.
///
/// # Errors
/// [`PaperError`]
pub fn pdf(notices: &Notices, at: DateTime<Utc>) -> Result<Vec<u8>, PaperError> {
    if notices.notices.len() > MOST_NOTICES {
        return Err(PaperError::TooMany { count: notices.notices.len(), most: MOST_NOTICES });
    }
    let mut values = Vec::with_capacity(notices.notices.len());
    for n in &notices.notices {
        values.push(NoticeValue {
            number: n.number.grouped(),
            own_number: format!("{}/{}", n.own_number.0, n.own_number.1),
            subject: &n.subject,
            amount: euro(n.amount),
            issued: date_in_words(n.issued_on),
            due: n.due_day.format("%d/%m/%Y").to_string(),
            debtor: &n.debtor,
            debtor_code: &n.debtor_code,
            address: &n.address,
            qr: qr(n, &notices.creditor)?,
            children: n.children.iter().map(child).collect::<Result<_, _>>()?,
        });
    }
    let values = Values {
        heading: &notices.heading,
        creditor: &notices.creditor,
        cbill: notices.cbill.as_deref(),
        contact: notices.contact.as_deref(),
        notices: values,
    };
    let first = notices.notices.first().map_or_else(String::new, |n| n.number.to_string());
    set(Template::NOTICE, &values, notices.heading.logo.as_ref(), &format!("avviso-{first}-{}", notices.notices.len()), at)
}
