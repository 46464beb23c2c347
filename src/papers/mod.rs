//! What goes out on paper: letters with codes and credentials, payment notices, the kitchen's sheet of a day. Pure: values in, a PDF out.
//!
//! Typst sets the page from the templates beside this file. What people have typed (names, reasons, the ente's heading) goes to it as
//! values in a JSON file that only exists in memory, and is never pasted into markup: whatever a name holds is printed as it stands.
//! The documents are PDF/A-2a and PDF/UA-1: they can be kept for ever and be read aloud. The same values and the same instant give
//! the same octets.

mod glyphs;
pub mod kitchen;
pub mod letter;
pub mod logo;
pub mod notice;
mod press;

use serde::Serialize;

pub use self::{logo::Logo, press::PaperError};

/// An ente's heading, as it stands on everything that goes out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Heading {
    /// The ente's name.
    pub name: String,
    /// The office within it, e.g. "Ufficio Pubblica Istruzione".
    pub office: Option<String>,
    /// Address and whatever else stands below, a line each.
    pub lines: Vec<String>,
    /// The logo; not among the values, it is a file of its own.
    #[serde(skip)]
    pub logo: Option<Logo>,
}
