//! The letter with codes and credentials ("Lettera Codici e Credenziali").

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    Heading, PaperError,
    press::{Template, pdf as set},
};
use crate::canteen::{
    Choice,
    code::ChildCode,
    words::{date_in_words, time_in_words},
};

/// The most letters in one document: a large school. Some 30 ms a letter.
pub const MOST_LETTERS: usize = 1_500;

/// Letters, one a family, under one heading. No `Debug`: it holds codes.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "holds codes")]
pub struct Letters {
    /// The ente's heading.
    pub heading: Heading,
    /// Where and when it is signed.
    pub place: Option<String>,
    /// The date on the letter.
    pub day: NaiveDate,
    /// School year, e.g. `2026/2027`.
    pub school_year: Option<String>,
    /// How to use the line.
    pub line: LineGuide,
    /// The portal's address, where there is one.
    pub portal: Option<String>,
    /// Whom to ask: the office's telephone number and e-mail address.
    pub contact: Vec<String>,
    /// Who signs: role and name, a line each.
    pub signature: Vec<String>,
    /// The families.
    pub families: Vec<Family>,
}

/// How the line is used.
#[derive(Debug, Clone, Default)]
pub struct LineGuide {
    /// Numbers to call, each with what to say of it ("numero verde, gratuito da telefono fisso").
    pub numbers: Vec<(String, Option<String>)>,
    /// Local time at which the line opens.
    pub opens: NaiveTime,
    /// Local time at which it closes.
    pub cutoff: NaiveTime,
    /// What each key does.
    pub keys: Vec<MenuKey>,
}

/// A key of the menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MenuKey {
    /// The key.
    pub key: String,
    /// What it does.
    pub what: String,
    /// The option it chooses, where it chooses one.
    #[serde(skip)]
    pub option: Option<Choice>,
}

/// A family: the children who have the same guardians.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "holds codes")]
pub struct Family {
    /// Guardians' names, the first one first; where there is none, the letter goes to the parents of the child.
    pub guardians: Vec<String>,
    /// Postal address, a line each.
    pub address: Vec<String>,
    /// Children.
    pub children: Vec<Child>,
    /// User codes of the portal, where there are any.
    pub credentials: Vec<Credentials>,
}

/// A child and its code.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds the keypad code")]
pub struct Child {
    /// Given and family name.
    pub name: String,
    /// School and class.
    pub class: String,
    /// Keypad code; `None` on a specimen, where dots stand for it.
    pub code: Option<ChildCode>,
}

/// Credentials of the portal.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a password")]
pub struct Credentials {
    /// Whose.
    pub name: String,
    /// User code.
    pub user: String,
    /// The first password, where it has not been changed yet.
    pub password: Option<String>,
}

/// What the option is called where keys are listed.
pub fn option_in_words(option: Choice) -> &'static str {
    match option {
        Choice::Cancel => "disdire il pasto",
        Choice::White => "chiedere il pasto in bianco",
        Choice::Suspend => "sospendere il servizio per più giorni",
        Choice::Resume => "riprendere il servizio dopo una sospensione",
        Choice::Undo => "annullare una disdetta o un pasto in bianco",
    }
}

/// The keys of the usual dialplan.
pub fn usual_keys() -> Vec<MenuKey> {
    let options = [Choice::Cancel, Choice::White, Choice::Suspend, Choice::Resume, Choice::Undo];
    let key =
        |(n, option): (usize, Choice)| MenuKey { key: (n + 1).to_string(), what: option_in_words(option).to_owned(), option: Some(option) };
    options
        .into_iter()
        .enumerate()
        .map(key)
        .chain([MenuKey { key: "6".to_owned(), what: "ascoltare che cosa risulta per i prossimi giorni".to_owned(), option: None }])
        .collect()
}

/// A code in groups that are read and typed without slips: `482 91 53`.
pub fn grouped(code: &ChildCode) -> String {
    let digits = code.as_str();
    let group = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!("{} {} {}", group(0..3), group(3..5), group(5..digits.len()))
}

#[derive(Serialize)]
struct Values<'a> {
    heading: &'a Heading,
    place: Option<&'a str>,
    day: String,
    school_year: Option<&'a str>,
    numbers: Vec<NumberValue<'a>>,
    opens: String,
    closes: String,
    overnight: bool,
    keys: &'a [MenuKey],
    portal: Option<&'a str>,
    contact: &'a [String],
    signature: &'a [String],
    families: Vec<FamilyValue<'a>>,
}

#[derive(Serialize)]
struct NumberValue<'a> {
    number: &'a str,
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct FamilyValue<'a> {
    guardians: &'a [String],
    address: &'a [String],
    children: Vec<ChildValue<'a>>,
    credentials: Vec<CredentialsValue<'a>>,
}

#[derive(Serialize)]
struct ChildValue<'a> {
    name: &'a str,
    class: &'a str,
    code: String,
}

#[derive(Serialize)]
struct CredentialsValue<'a> {
    name: &'a str,
    user: &'a str,
    password: Option<&'a str>,
}

impl<'a> From<&'a Family> for FamilyValue<'a> {
    fn from(family: &'a Family) -> Self {
        let child = |c: &'a Child| ChildValue {
            name: &c.name,
            class: &c.class,
            code: c.code.as_ref().map_or_else(|| "••• •• ••".to_owned(), grouped),
        };
        let credentials = |c: &'a Credentials| CredentialsValue { name: &c.name, user: &c.user, password: c.password.as_deref() };
        Self {
            guardians: &family.guardians,
            address: &family.address,
            children: family.children.iter().map(child).collect(),
            credentials: family.credentials.iter().map(credentials).collect(),
        }
    }
}

/// Sets the letters: each family's begins on a page of its own. `at` becomes the document's date of creation.
pub fn pdf(letters: &Letters, at: DateTime<Utc>) -> Result<Vec<u8>, PaperError> {
    if letters.families.len() > MOST_LETTERS {
        return Err(PaperError::TooMany { count: letters.families.len(), most: MOST_LETTERS });
    }
    let values = Values {
        heading: &letters.heading,
        place: letters.place.as_deref(),
        day: date_in_words(letters.day),
        school_year: letters.school_year.as_deref(),
        numbers: letters.line.numbers.iter().map(|(number, note)| NumberValue { number, note: note.as_deref() }).collect(),
        opens: time_in_words(letters.line.opens),
        closes: time_in_words(letters.line.cutoff),
        overnight: letters.line.opens > letters.line.cutoff,
        keys: &letters.line.keys,
        portal: letters.portal.as_deref(),
        contact: &letters.contact,
        signature: &letters.signature,
        families: letters.families.iter().map(FamilyValue::from).collect(),
    };
    set(Template::LETTER, &values, letters.heading.logo.as_ref(), &identity(&letters.heading, letters.day, &letters.families), at)
}

/// The same for the same families on the same day; tells nothing of them.
fn identity(heading: &Heading, day: NaiveDate, families: &[Family]) -> String {
    let mut hash = Sha256::new();
    hash.update(heading.name.as_bytes());
    hash.update(day.to_string().as_bytes());
    for child in families.iter().flat_map(|family| &family.children) {
        hash.update(child.code.as_ref().map_or("", ChildCode::as_str).as_bytes());
    }
    format!("lettera-{:x}", u64::from_be_bytes(hash.finalize().first_chunk().copied().unwrap_or_default()))
}
