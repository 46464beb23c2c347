//! Forms: what was typed is read into types; what is wrong is told at its field and in a summary, and nothing typed is lost.
//!
//! A handler takes the [`Form`] that the guard has read and checked, asks it for each field with `take_…`, and where [`Form::is_bad`] shows the
//! page again with `page.show_again`, the same form in the template. The `take_…` of a field that is wrong gives a stand-in value, so a handler reads
//! all fields first and asks once.

use std::str::FromStr;

use axum::{
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse, Response},
};
use chrono::{NaiveDate, NaiveTime};
use subtle::ConstantTimeEq;

use super::{Oops, files::Upload};

/// The largest form without files, in bytes.
pub const LARGEST: usize = 256 * 1024;
/// The most fields of a form.
const MOST_FIELDS: usize = 5_000;
/// The field that says that the form comes back after a session had ended.
pub(super) const RESUMED: &str = "_ripresa";

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field; empty for the whole form.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// What is wrong, a sentence.
    pub message: String,
}

/// A form as it was sent, or as it is shown for the first time.
#[derive(Debug, Clone, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    errors: Vec<FieldError>,
    uploads: Vec<Upload>,
    resumed: bool,
}

impl Form {
    /// An empty form, to be shown.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A form that shows these values.
    pub fn showing<'a>(values: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        Self { fields: values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(), ..Self::default() }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Oops> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(bytes) {
            form.add(name.into_owned(), &value)?;
        }
        Ok(form)
    }

    pub(super) fn add(&mut self, name: String, value: &str) -> Result<(), Oops> {
        if self.fields.len() >= MOST_FIELDS {
            return Err(Oops::Bad("too many fields"));
        }
        if name == RESUMED {
            self.resumed = true;
            return Ok(());
        }
        // Browsers send line ends as CR LF; NUL is in no text, and PostgreSQL refuses it.
        self.fields.push((name, value.replace("\r\n", "\n").replace('\0', "")));
        Ok(())
    }

    pub(super) fn add_upload(&mut self, upload: Upload) {
        self.uploads.push(upload);
    }

    pub(super) fn is_ours(&self, csrf: &str) -> bool {
        self.value("_csrf").as_bytes().ct_eq(csrf.as_bytes()).into()
    }

    pub(super) fn into_fields(self) -> Vec<(String, String)> {
        self.fields
    }

    /// What stands in a field, as it was typed; empty where there is none.
    pub fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }

    /// All values of a field that may occur several times.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Is this value of the field there? For boxes and choices.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.values(name).any(|v| v == value)
    }

    /// Is the box ticked?
    pub fn ticked(&self, name: &str) -> bool {
        self.fields.iter().any(|(n, _)| n == name)
    }

    /// Shows another value in a field.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.fields.retain(|(n, _)| n != name);
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Is something wrong, so that the page must be shown again and nothing done? True too for a form that comes back after its session had
    /// ended: whoever typed it looks at it once more and sends it.
    pub fn is_bad(&self) -> bool {
        self.resumed || !self.errors.is_empty()
    }

    /// Has it come back after its session had ended?
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// What is wrong, field by field.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What is wrong with that field.
    pub fn error_of(&self, name: &str) -> Option<&str> {
        self.errors.iter().find(|e| e.name == name).map(|e| e.message.as_str())
    }

    /// Says what is wrong with a field.
    pub fn wrong(&mut self, name: &str, label: &str, message: impl Into<String>) {
        // One thing at a time: the first is told.
        if self.error_of(name).is_none() {
            self.errors.push(FieldError { name: name.to_owned(), label: label.to_owned(), message: message.into() });
        }
    }

    /// Says what is wrong with the whole.
    pub fn wrong_whole(&mut self, message: impl Into<String>) {
        self.errors.push(FieldError { name: String::new(), label: String::new(), message: message.into() });
    }

    /// A text that must be there, of at most `longest` characters.
    pub fn take_text(&mut self, name: &str, label: &str, longest: usize) -> String {
        let text = self.take_optional_text(name, label, longest);
        if text.is_none() {
            self.wrong(name, label, "Scriva qualcosa: questo campo è obbligatorio.");
        }
        text.unwrap_or_default()
    }

    /// A text that may be missing: `None` where nothing but blanks was typed.
    pub fn take_optional_text(&mut self, name: &str, label: &str, longest: usize) -> Option<String> {
        let text = self.value(name).trim().to_owned();
        let length = text.chars().count();
        if length > longest {
            self.wrong(name, label, format!("È troppo lungo: {length} caratteri, al massimo {longest}."));
        } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.wrong(name, label, "Contiene caratteri che non si possono usare.");
        }
        (!text.is_empty()).then_some(text)
    }

    /// A secret as it was typed, blanks and all.
    pub fn take_secret(&mut self, name: &str, label: &str, longest: usize) -> String {
        let secret = self.value(name).to_owned();
        if secret.is_empty() {
            self.wrong(name, label, "Questo campo è obbligatorio.");
        } else if secret.chars().count() > longest {
            self.wrong(name, label, format!("È troppo lungo: al massimo {longest} caratteri."));
        }
        secret
    }

    /// A whole number between two others, both included.
    pub fn take_number(&mut self, name: &str, label: &str, least: i64, most: i64) -> i64 {
        let typed = self.value(name).trim().replace(['.', ' ', '\u{a0}'], "");
        match typed.parse::<i64>() {
            Ok(n) if (least..=most).contains(&n) => n,
            Ok(_) => {
                self.wrong(name, label, format!("Scriva un numero da {least} a {most}."));
                least
            }
            Err(_) => {
                self.wrong(name, label, format!("Scriva un numero intero, da {least} a {most}."));
                least
            }
        }
    }

    /// A day: what a date field sends (2026-10-12), or what people type where there is none (12/10/2026).
    pub fn take_day(&mut self, name: &str, label: &str) -> NaiveDate {
        let day = self.take_optional_day(name, label);
        if day.is_none() {
            self.wrong(name, label, "Scelga un giorno.");
        }
        day.unwrap_or_default()
    }

    /// A day that may be missing.
    pub fn take_optional_day(&mut self, name: &str, label: &str) -> Option<NaiveDate> {
        let typed = self.value(name).trim().to_owned();
        if typed.is_empty() {
            return None;
        }
        let day = ["%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y"].iter().find_map(|format| NaiveDate::parse_from_str(&typed, format).ok());
        let plausible = day.filter(|d| (1900..=2200).contains(&chrono::Datelike::year(d)));
        if plausible.is_none() {
            self.wrong(name, label, "Scriva il giorno così: 12/10/2026.");
            return Some(NaiveDate::default());
        }
        plausible
    }

    /// A time of day: 8:55, 08:55.
    pub fn take_time(&mut self, name: &str, label: &str) -> NaiveTime {
        let typed = self.value(name).trim().replace('.', ":");
        let time = NaiveTime::parse_from_str(&typed, "%H:%M").or_else(|_| NaiveTime::parse_from_str(&typed, "%H:%M:%S"));
        if time.is_err() {
            self.wrong(name, label, "Scriva l\'ora così: 8:55.");
        }
        time.unwrap_or(NaiveTime::MIN)
    }

    /// One of some choices, by its word; `None`, and told, where it is none of them.
    pub fn take_choice<T: FromStr>(&mut self, name: &str, label: &str) -> Option<T> {
        let choice = self.value(name).parse().ok();
        if choice.is_none() {
            self.wrong(name, label, "Scelga una voce dell'elenco.");
        }
        choice
    }

    /// A mail address that may be missing.
    pub fn take_optional_email(&mut self, name: &str, label: &str) -> Option<String> {
        let address = self.take_optional_text(name, label, 254)?;
        let plausible = address.split_once('@').is_some_and(|(who, domain)| {
            !who.is_empty()
                && who.len() <= 64
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.contains('@')
        });
        if !plausible || address.chars().any(char::is_whitespace) {
            self.wrong(name, label, "Scriva un indirizzo come nome@esempio.it.");
        }
        Some(address)
    }

    /// The version of the row that the form was made from, for `… WHERE version = $n`.
    pub fn take_version(&mut self) -> i64 {
        self.value("_version").parse().unwrap_or(-1)
    }

    /// The file of that field; `None` where none was chosen.
    pub fn take_optional_file(&mut self, name: &str) -> Option<Upload> {
        let at = self.uploads.iter().position(|u| u.field == name && !u.bytes.is_empty())?;
        Some(self.uploads.swap_remove(at))
    }

    /// The file of that field; told where none was chosen.
    pub fn take_file(&mut self, name: &str, label: &str) -> Option<Upload> {
        let file = self.take_optional_file(name);
        if file.is_none() {
            let again = if self.resumed { "La sessione era finita: scelga di nuovo il file." } else { "Scelga un file." };
            self.wrong(name, label, again);
        }
        file
    }
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.remove::<Self>().ok_or_else(|| Oops::Bad("no form was read").into_response())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        Form::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_typed_becomes_types() {
        let mut form = form("nome=+Anna+&giorno=12%2F10%2F2026&ora=8.55&numero=1.250&mail=anna%40esempio.it&note=");
        assert_eq!(form.take_text("nome", "Nome", 20), "Anna");
        assert_eq!(form.take_day("giorno", "Giorno"), NaiveDate::from_ymd_opt(2026, 10, 12).unwrap());
        assert_eq!(form.take_time("ora", "Ora"), NaiveTime::from_hms_opt(8, 55, 0).unwrap());
        assert_eq!(form.take_number("numero", "Numero", 0, 2_000), 1_250);
        assert_eq!(form.take_optional_email("mail", "E-mail").as_deref(), Some("anna@esempio.it"));
        assert_eq!(form.take_optional_text("note", "Note", 10), None);
        assert!(!form.is_bad());
    }

    #[test]
    fn what_is_wrong_is_told_once_a_field_and_nothing_is_lost() {
        let mut form = form("nome=&giorno=31%2F2%2F2026&ora=25%3A00&numero=x&mail=anna&lungo=abcdef");
        form.take_text("nome", "Nome", 20);
        form.take_day("giorno", "Giorno");
        form.take_time("ora", "Ora");
        form.take_number("numero", "Numero", 1, 9);
        form.take_optional_email("mail", "E-mail");
        form.take_text("lungo", "Lungo", 5);
        form.wrong("nome", "Nome", "Un'altra cosa.");
        let told: Vec<_> = form.errors().iter().map(|e| format!("{}: {}", e.label, e.message)).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        Nome: Scriva qualcosa: questo campo è obbligatorio.
        Giorno: Scriva il giorno così: 12/10/2026.
        Ora: Scriva l'ora così: 8:55.
        Numero: Scriva un numero intero, da 1 a 9.
        E-mail: Scriva un indirizzo come nome@esempio.it.
        Lungo: È troppo lungo: 6 caratteri, al massimo 5.
        ");
        assert_eq!(form.value("giorno"), "31/2/2026");
    }

    #[test]
    fn a_form_that_comes_back_is_shown_before_it_is_done() {
        assert!(form("nome=Anna&_ripresa=1").is_bad());
    }
}
