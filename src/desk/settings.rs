//! The ente's settings, as the office changes them: what is wrong, what a change will do, and doing it, with a line in the trail.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Desk, DeskError, ente_of,
    mail::is_address,
    trail::{Actor, Subject, difference, record},
};
pub use crate::store::WindowChangeRow;
use crate::{
    canteen::{Choice, EnteId, offer::Offered, window::Window},
    papers::{Heading, Logo},
    store::{SettingsRow, Tx},
};

/// The most telephone numbers that letters print.
pub const MOST_NUMBERS: usize = 4;
/// The longest line of text, in characters.
pub const LONGEST_LINE: usize = 120;
/// The most lines of heading or signature.
pub const MOST_LINES: usize = 6;
/// The shortest and the longest that anything is kept, in days: a month, thirty years.
pub const KEPT_DAYS: std::ops::RangeInclusive<i64> = 30..=10_958;

/// What the office sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often they were changed: the change that is saved must come after this one.
    pub version: i64,
    /// The ente's name.
    pub name: String,
    /// The office's telephone number.
    pub office_phone: Option<String>,
    /// The office within the ente.
    pub office: Option<String>,
    /// Lines below its name.
    pub heading: Vec<String>,
    /// Where letters are signed.
    pub place: Option<String>,
    /// The office's e-mail address: answers go there.
    pub email: Option<String>,
    /// Who signs letters, lines.
    pub signature: Vec<String>,
    /// The portal's address.
    pub portal: Option<String>,
    /// Telephone numbers that letters print, each with what to say of it.
    pub numbers: Vec<(String, Option<String>)>,
    /// What the telephone offers.
    pub offered: Offered,
    /// For how many days call records are kept.
    pub keep_calls_days: i64,
    /// For how many days the audit trail and the mail log are kept.
    pub keep_audit_days: i64,
    /// For how many days children are known by name after they have left.
    pub keep_left_days: i64,
    /// For how many days tickets are kept after they were closed.
    pub keep_tickets_days: i64,
}

/// A setting that is wrong: its field, and what is wrong with it, in Italian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The field.
    pub field: &'static str,
    /// What is wrong.
    pub what: String,
}

/// Why settings were not saved.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Something is wrong with them.
    #[error("some settings are wrong")]
    Wrong(Vec<Wrong>),
    /// Somebody else has changed them meanwhile; what stands now.
    #[error("somebody else has changed the settings")]
    Changed(Box<Settings>),
    /// The desk could not do it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl From<crate::store::StoreError> for SettingsError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Desk(error.into())
    }
}

/// All that the page shows.
#[derive(Debug, Clone)]
pub struct SettingsView {
    /// The settings.
    pub settings: Settings,
    /// Window and cut-off now.
    pub window: Window,
    /// A change of them that waits for its day.
    pub change: Option<WindowChangeRow>,
    /// Is there a logo?
    pub has_logo: bool,
    /// Now.
    pub now: DateTime<Utc>,
}

/// What one does with the option.
fn option_name(option: Choice) -> &'static str {
    match option {
        Choice::Cancel => "disdire il pasto",
        Choice::White => "chiedere il pasto in bianco",
        Choice::Suspend => "sospendere il servizio",
        Choice::Resume => "riprendere il servizio",
        Choice::Undo => "annullare una disdetta",
    }
}

fn lines(text: Option<String>) -> Vec<String> {
    text.unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

fn text(lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| lines.join("\n"))
}

impl Settings {
    async fn read(tx: &mut Tx, ente: EnteId) -> Result<Self, DeskError> {
        let row = ente_of(tx, ente).await?;
        let set = tx.settings(ente).await?.unwrap_or_default();
        Ok(Self {
            version: set.version,
            name: row.name,
            office_phone: row.office_phone,
            office: set.office,
            heading: lines(set.heading),
            place: set.place,
            email: set.email,
            signature: lines(set.signature),
            portal: set.portal,
            numbers: tx.printed_numbers(ente).await?,
            offered: Offered::from_bits(set.phone_options),
            keep_calls_days: set.keep_calls_days,
            keep_audit_days: set.keep_audit_days,
            keep_left_days: set.keep_left_days,
            keep_tickets_days: set.keep_tickets_days,
        })
    }

    fn row(&self) -> SettingsRow {
        SettingsRow {
            version: self.version,
            office: self.office.clone(),
            heading: text(&self.heading),
            place: self.place.clone(),
            email: self.email.clone(),
            signature: text(&self.signature),
            portal: self.portal.clone(),
            phone_options: self.offered.bits(),
            keep_calls_days: self.keep_calls_days,
            keep_audit_days: self.keep_audit_days,
            keep_left_days: self.keep_left_days,
            keep_tickets_days: self.keep_tickets_days,
        }
    }

    /// For the trail.
    fn told(&self) -> Value {
        let offered: Vec<&str> = self.offered.iter().map(option_name).collect();
        json!({
            "nome": self.name, "telefono": self.office_phone, "ufficio": self.office, "intestazione": self.heading,
            "luogo": self.place, "e-mail": self.email, "firma": self.signature, "portale": self.portal,
            "numeri": self.numbers.iter().map(|(number, _)| number).collect::<Vec<_>>(),
            "opzioni al telefono": offered, "giorni chiamate": self.keep_calls_days, "giorni registro": self.keep_audit_days,
            "giorni bambini usciti": self.keep_left_days, "giorni segnalazioni chiuse": self.keep_tickets_days,
        })
    }

    /// Everything that is wrong with them.
    pub fn wrong(&self) -> Vec<Wrong> {
        let mut list = Vec::new();
        let mut wrong = |field, what: &str| list.push(Wrong { field, what: what.to_owned() });
        let too_long = |text: &str| text.chars().count() > LONGEST_LINE;
        let long = format!("Al massimo {LONGEST_LINE} caratteri.");
        if self.name.trim().is_empty() {
            wrong("name", "Scriva il nome dell'ente.");
        }
        for (field, value) in [
            ("name", Some(&self.name)),
            ("office_phone", self.office_phone.as_ref()),
            ("office", self.office.as_ref()),
            ("place", self.place.as_ref()),
            ("email", self.email.as_ref()),
            ("portal", self.portal.as_ref()),
        ] {
            if value.is_some_and(|value| too_long(value)) {
                wrong(field, &long);
            }
        }
        for (field, block) in [("heading", &self.heading), ("signature", &self.signature)] {
            if block.len() > MOST_LINES || block.iter().any(|line| too_long(line)) {
                wrong(field, &format!("Al massimo {MOST_LINES} righe di {LONGEST_LINE} caratteri."));
            }
        }
        if self.email.as_ref().is_some_and(|email| !is_address(email)) {
            wrong("email", "Non è un indirizzo di posta elettronica.");
        }
        if self.portal.as_ref().is_some_and(|portal| !portal.starts_with("https://")) {
            wrong("portal", "L'indirizzo del portale comincia con https://");
        }
        let is_number = |text: &str| {
            let digits = text.chars().filter(char::is_ascii_digit).count();
            (3..=15).contains(&digits) && text.chars().all(|c| c.is_ascii_digit() || " +/-.()".contains(c))
        };
        if self.office_phone.as_ref().is_some_and(|phone| !phone.chars().any(|c| c.is_ascii_digit())) {
            wrong("office_phone", "Non è un numero di telefono.");
        }
        if self.numbers.len() > MOST_NUMBERS {
            wrong("numbers", &format!("Al massimo {MOST_NUMBERS} numeri."));
        }
        if self.numbers.iter().any(|(number, note)| !is_number(number) || note.as_deref().is_some_and(too_long)) {
            wrong("numbers", "Uno dei numeri di telefono non è valido.");
        }
        if self.offered.contains(Choice::Suspend) && !self.offered.contains(Choice::Resume) {
            wrong("offered", "Chi sospende deve poter riprendere: offra anche la ripresa, o non offra la sospensione.");
        }
        for (field, days) in [
            ("keep_calls_days", self.keep_calls_days),
            ("keep_audit_days", self.keep_audit_days),
            ("keep_left_days", self.keep_left_days),
            ("keep_tickets_days", self.keep_tickets_days),
        ] {
            if !KEPT_DAYS.contains(&days) {
                wrong(field, &format!("Da {} a {} giorni.", KEPT_DAYS.start(), KEPT_DAYS.end()));
            }
        }
        list
    }

    /// What changing `self` into `new` will do, a sentence each; nothing where it changes nothing.
    pub fn effects(&self, new: &Self) -> Vec<String> {
        let mut list = Vec::new();
        if (&self.name, &self.office, &self.heading, &self.place, &self.signature)
            != (&new.name, &new.office, &new.heading, &new.place, &new.signature)
        {
            list.push("Le lettere e i fogli stampati da ora in poi avranno la nuova intestazione.".to_owned());
        }
        if self.office_phone != new.office_phone {
            list.push(match &new.office_phone {
                Some(phone) => format!("Le lettere inviteranno a chiamare l'ufficio al numero {phone}."),
                None => "Le lettere non indicheranno più il telefono dell'ufficio.".to_owned(),
            });
        }
        if self.email != new.email {
            list.push(match &new.email {
                Some(email) => format!("Le risposte ai messaggi del sistema arriveranno a {email}."),
                None => "Le risposte ai messaggi del sistema non arriveranno più all'ufficio.".to_owned(),
            });
        }
        if self.numbers != new.numbers {
            list.push(if new.numbers.is_empty() {
                "Le lettere non indicheranno nessun numero da chiamare.".to_owned()
            } else {
                let numbers: Vec<&str> = new.numbers.iter().map(|(number, _)| number.as_str()).collect();
                format!("Le lettere inviteranno a disdire chiamando {}.", numbers.join(", "))
            });
        }
        if self.portal != new.portal {
            list.push(match &new.portal {
                Some(portal) => format!("Le lettere indicheranno il portale {portal}."),
                None => "Le lettere non indicheranno il portale.".to_owned(),
            });
        }
        for option in Offered::ALL.iter() {
            match (self.offered.contains(option), new.offered.contains(option)) {
                (true, false) => list.push(format!(
                    "Dalla prossima telefonata non si potrà più {} per telefono; le chiamate in corso finiscono come sono cominciate.",
                    option_name(option)
                )),
                (false, true) => list.push(format!("Dalla prossima telefonata si potrà {} per telefono.", option_name(option))),
                _ => {}
            }
        }
        for (what, was, is) in [
            ("Le registrazioni delle chiamate", self.keep_calls_days, new.keep_calls_days),
            ("Il registro delle attività e quello della posta", self.keep_audit_days, new.keep_audit_days),
            ("I nomi dei bambini usciti dal servizio", self.keep_left_days, new.keep_left_days),
            ("Le segnalazioni chiuse", self.keep_tickets_days, new.keep_tickets_days),
        ] {
            if is < was {
                list.push(format!("{what}: stanotte sarà cancellato per sempre ciò che ha più di {is} giorni (finora {was})."));
            } else if is > was {
                list.push(format!("{what}: si conservano per {is} giorni (finora {was})."));
            }
        }
        list
    }
}

impl Desk {
    /// The settings, and what goes with them.
    pub async fn settings(&self, ente: EnteId) -> Result<SettingsView, DeskError> {
        let mut tx = self.db.read().await?;
        Ok(SettingsView {
            settings: Settings::read(&mut tx, ente).await?,
            window: ente_of(&mut tx, ente).await?.window,
            change: tx.window_change(ente).await?,
            has_logo: tx.logo(ente).await?.is_some(),
            now: tx.instant(&self.clock).await?,
        })
    }

    /// Saves settings that were made from version `new.version`.
    pub async fn save_settings(&self, actor: &Actor, new: &Settings) -> Result<(), SettingsError> {
        let wrong = new.wrong();
        if !wrong.is_empty() {
            return Err(SettingsError::Wrong(wrong));
        }
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let old = Settings::read(&mut tx, actor.ente).await?;
        if old.version != new.version || !tx.put_settings(actor.ente, &new.row()).await? {
            return Err(SettingsError::Changed(Box::new(old)));
        }
        tx.put_ente_name(actor.ente, &new.name, new.office_phone.as_deref()).await?;
        tx.put_printed_numbers(actor.ente, &new.numbers).await?;
        let (before, after) = difference(&old.told(), &new.told());
        record(&mut tx, at, actor, "ha cambiato le impostazioni", subject(&new.name), before, after).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Keeps a logo, or takes it away.
    pub async fn save_logo(&self, actor: &Actor, logo: Option<&Logo>) -> Result<(), DeskError> {
        let mut tx = self.db.write().await?;
        let at = tx.instant(&self.clock).await?;
        let name = ente_of(&mut tx, actor.ente).await?.name;
        tx.put_logo(actor.ente, logo.map(|logo| (logo.kind().media_type(), logo.bytes()))).await?;
        let action = if logo.is_some() { "ha cambiato il logo" } else { "ha tolto il logo" };
        record(&mut tx, at, actor, action, subject(&name), None, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The logo.
    pub async fn logo(&self, ente: EnteId) -> Result<Option<Logo>, DeskError> {
        Ok(self.db.read().await?.logo(ente).await?.and_then(|(media_type, picture)| Logo::kept(&media_type, picture)))
    }

    /// The ente's heading, for whatever is printed.
    pub async fn heading(&self, ente: EnteId) -> Result<Heading, DeskError> {
        let mut tx = self.db.read().await?;
        let set = Settings::read(&mut tx, ente).await?;
        let logo = tx.logo(ente).await?.and_then(|(media_type, picture)| Logo::kept(&media_type, picture));
        Ok(Heading { name: set.name, office: set.office, lines: set.heading, logo })
    }

    /// What the telephone offers.
    pub async fn offered(&self, ente: EnteId) -> Result<Offered, DeskError> {
        Ok(Offered::from_bits(self.db.read().await?.phone_options(ente).await?))
    }
}

pub(super) fn subject(name: &str) -> Subject<'_> {
    Subject { kind: "impostazioni", id: None, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn some() -> Settings {
        Settings {
            version: 3,
            name: "Comune di Prova".into(),
            office_phone: Some("0182 970000".into()),
            office: Some("Ufficio scuola".into()),
            heading: vec!["Piazza Libertà 1".into()],
            place: Some("Prova".into()),
            email: Some("scuola@prova.example".into()),
            signature: vec!["Il responsabile".into()],
            portal: None,
            numbers: vec![("800 123 456".into(), Some("numero verde".into()))],
            offered: Offered::ALL,
            keep_calls_days: 730,
            keep_audit_days: 730,
            keep_left_days: 3_650,
            keep_tickets_days: 730,
        }
    }

    #[test]
    fn what_a_change_will_do_is_said_beforehand() {
        assert_eq!((some().wrong(), some().effects(&some())), (vec![], vec![]));
        let offered = Offered::ALL.iter().filter(|option| *option != Choice::White).collect();
        let new = Settings {
            office: None,
            office_phone: None,
            email: Some("mensa@prova.example".into()),
            numbers: vec![],
            portal: Some("https://genitori.prova.example".into()),
            offered,
            keep_calls_days: 365,
            keep_left_days: 4_000,
            ..some()
        };
        insta::assert_snapshot!([some().effects(&new).join("\n"), new.effects(&some()).join("\n")].join("\n\n"));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        let wrong = Settings {
            name: " ".into(),
            office_phone: Some("chiamare l'ufficio".into()),
            email: Some("scuola".into()),
            portal: Some("javascript:alert(1)".into()),
            numbers: vec![("uno".into(), None)],
            heading: vec![String::new(); 7],
            offered: [Choice::Cancel, Choice::Suspend].into_iter().collect(),
            keep_calls_days: 1,
            ..some()
        };
        let fields: Vec<_> = wrong.wrong().into_iter().map(|w| w.field).collect();
        assert_eq!(fields, ["name", "heading", "email", "portal", "office_phone", "numbers", "offered", "keep_calls_days"]);
    }
}
