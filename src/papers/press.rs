//! Setting a page: typst over templates that are part of the program and values that come in memory. It reads no file, no clock
//! and no network.

use std::sync::LazyLock;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::Serialize;
use typst::{
    Library, LibraryExt, World, comemo,
    diag::{FileError, FileResult, SourceDiagnostic},
    foundations::{Bytes, Datetime, Duration, Smart},
    syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot},
    text::{Font, FontBook},
    utils::LazyHash,
};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards, Timestamp};

use super::{Logo, glyphs::make_printable};

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum PaperError {
    /// The page could not be set: a fault of ours, or a logo that cannot be drawn.
    #[error("the page could not be set: {0}")]
    Setting(String),
    /// More letters or notices than fit one document.
    #[error("{count} are more than the {most} that fit one document")]
    TooMany {
        /// How many were asked for.
        count: usize,
        /// The most.
        most: usize,
    },
}

/// A template of this program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Template(&'static str);

impl Template {
    pub(super) const LETTER: Self = Self("/lettera.typ");
    pub(super) const KITCHEN: Self = Self("/cucina.typ");
    pub(super) const NOTICE: Self = Self("/avviso.typ");
}

/// Every file that templates can see, beside the values and the logo.
const SOURCES: [(&str, &str); 4] = [
    ("/carta.typ", include_str!("templates/carta.typ")),
    ("/lettera.typ", include_str!("templates/lettera.typ")),
    ("/cucina.typ", include_str!("templates/cucina.typ")),
    ("/avviso.typ", include_str!("templates/avviso.typ")),
];
/// The values.
const VALUES: &str = "/valori.json";

/// Titillium Web is the typeface of the Italian public administration; Noto Sans has the letters that it lacks (SIL OFL 1.1 both).
const FONTS: [&[u8]; 4] = [
    include_bytes!("fonts/TitilliumWeb_400Regular.ttf"),
    include_bytes!("fonts/TitilliumWeb_600SemiBold.ttf"),
    include_bytes!("fonts/TitilliumWeb_700Bold.ttf"),
    include_bytes!("fonts/NotoSans_400Regular.ttf"),
];

/// What all documents share.
struct Case {
    library: LazyHash<Library>,
    book: LazyHash<FontBook>,
    fonts: Vec<Font>,
    sources: Vec<Source>,
}

static CASE: LazyLock<Case> = LazyLock::new(|| {
    let fonts: Vec<Font> = FONTS.iter().flat_map(|font| Font::iter(Bytes::new(*font))).collect();
    Case {
        library: LazyHash::new(Library::default()),
        book: LazyHash::new(FontBook::from_fonts(&fonts)),
        fonts,
        sources: SOURCES.iter().filter_map(|(path, text)| Some(Source::new(file(path)?, (*text).to_owned()))).collect(),
    }
});

fn file(path: &str) -> Option<FileId> {
    Some(RootedPath::new(VirtualRoot::Project, VirtualPath::new(path).ok()?).intern())
}

fn prints(c: char) -> bool {
    CASE.fonts.iter().any(|font| font.info().coverage.contains(u32::from(c)))
}

/// One document under way.
struct Sheet {
    main: FileId,
    /// Values and logo.
    files: Vec<(FileId, Bytes)>,
}

impl World for Sheet {
    fn library(&self) -> &LazyHash<Library> {
        &CASE.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &CASE.book
    }

    fn main(&self) -> FileId {
        self.main
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        CASE.sources.iter().find(|source| source.id() == id).cloned().ok_or_else(|| missing(id))
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        self.files.iter().find(|(known, _)| *known == id).map(|(_, bytes)| bytes.clone()).ok_or_else(|| missing(id))
    }

    fn font(&self, index: usize) -> Option<Font> {
        CASE.fonts.get(index).cloned()
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

fn missing(id: FileId) -> FileError {
    FileError::NotFound(id.get().vpath().get_without_slash().into())
}

fn told(diagnostics: impl IntoIterator<Item = SourceDiagnostic>) -> PaperError {
    PaperError::Setting(diagnostics.into_iter().map(|d| d.message.to_string()).collect::<Vec<_>>().join("; "))
}

/// Sets `values` by the template; `at` is the document's date. `identity` names the document for good: the same for the same values
/// printed again.
///
/// Takes a processor for as long as it lasts (some ms a page): belongs on a thread of its own.
pub(super) fn pdf(
    template: Template,
    values: &impl Serialize,
    logo: Option<&Logo>,
    identity: &str,
    at: DateTime<Utc>,
) -> Result<Vec<u8>, PaperError> {
    let mut values = serde_json::to_value(values).map_err(|error| PaperError::Setting(error.to_string()))?;
    make_printable(&mut values, &prints);
    if let Some(fields) = values.as_object_mut() {
        fields.insert("logo".to_owned(), logo.map(|logo| logo.file_name().to_owned()).into());
    }
    let no_such = || PaperError::Setting(format!("no template {}", template.0));
    let mut files = vec![(file(VALUES).ok_or_else(no_such)?, Bytes::new(values.to_string().into_bytes()))];
    if let Some(logo) = logo {
        files.push((file(logo.file_name()).ok_or_else(no_such)?, Bytes::new(logo.bytes().to_vec())));
    }
    let sheet = Sheet { main: file(template.0).ok_or_else(no_such)?, files };
    let set = typst::compile::<PagedDocument>(&sheet).output.map_err(told).and_then(|document| {
        let standards =
            PdfStandards::new(&[PdfStandard::A_2a, PdfStandard::Ua_1]).map_err(|error| PaperError::Setting(error.message().to_string()))?;
        let options = PdfOptions {
            ident: Smart::Custom(identity.to_owned()),
            creator: Smart::Custom(Some("Voce Guida".to_owned())),
            timestamp: timestamp(at),
            standards,
            ..PdfOptions::default()
        };
        typst_pdf::pdf(&document, &options).map_err(told)
    });
    // What typst remembers between documents would grow for ever, and hold codes.
    comemo::evict(0);
    set
}

fn timestamp(at: DateTime<Utc>) -> Option<Timestamp> {
    let (day, time) = (at.date_naive(), at.time());
    let octet = |n: u32| u8::try_from(n).ok();
    let datetime = Datetime::from_ymd_hms(
        day.year(),
        octet(day.month())?,
        octet(day.day())?,
        octet(time.hour())?,
        octet(time.minute())?,
        octet(time.second())?,
    )?;
    Some(Timestamp::new_utc(datetime))
}
