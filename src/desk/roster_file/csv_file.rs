//! CSV as spreadsheets in Italy write it: semicolons, commas or tabs; UTF-8, UTF-16 or Windows-1252.

use std::{borrow::Cow, sync::Arc};

use super::{
    Report, SourceFile, file_origin,
    grid::{Budget, Cell, Grid, GridRow},
};
use crate::canteen::roster::Origin;

/// The table of a CSV file; none where it is empty or cannot be read, which is then reported.
pub(super) fn read(file: &SourceFile<'_>, report: &mut Report) -> Vec<Grid> {
    let name: Arc<str> = Arc::from(file.name);
    let text = decode(file.bytes);
    if text.contains('\0') {
        report.problem(&file_origin(file.name), None, "non è un file CSV né XLSX".to_owned());
        return Vec::new();
    }
    let (text, first_line) = match text.split_once('\n') {
        // Excel's own hint, as a line of its own.
        Some((hint, rest)) if hint.trim_end().to_ascii_lowercase().starts_with("sep=") => (rest, 2),
        _ => (text.as_ref(), 1),
    };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter(text)).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    let mut budget = Budget::default();
    let mut record = csv::StringRecord::new();
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: first_line };
    loop {
        let read = reader.read_record(&mut record);
        let origin = Origin { file: Arc::clone(&name), line: lines.of(record.position()) };
        match read {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                report.problem(&origin, None, "riga illeggibile".to_owned());
                break;
            }
        }
        let mut cells = Vec::with_capacity(record.len().min(super::limits::COLUMNS));
        for (column, field) in record.iter().enumerate() {
            let cell = Cell::text(field);
            // Trailing separators beyond the headings are common and harmless.
            if cell == Cell::Empty && column >= super::limits::COLUMNS {
                continue;
            }
            if !budget.allows(&cell, rows.len(), column, &origin, report) {
                return Vec::new();
            }
            cells.push(cell);
        }
        rows.push(GridRow { line: origin.line, cells });
    }
    Grid::from_rows(&name, None, rows).into_iter().collect()
}

/// Counts the lines of the file. The csv crate's own count is of the line where it began to look for a record, which with
/// CR LF or empty lines is one before the record.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl Lines<'_> {
    /// Line of the record that begins at this position, or after the line ends there. Positions must not go back.
    fn of(&mut self, position: Option<&csv::Position>) -> u32 {
        let start = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(self.at);
        while let Some(&byte) = self.text.get(self.at) {
            let line_end = matches!(byte, b'\n' | b'\r');
            if self.at >= start && !line_end {
                break;
            }
            self.at += 1;
            // CR LF is one end of line.
            if line_end && !(byte == b'\r' && self.text.get(self.at) == Some(&b'\n')) {
                self.line += 1;
            }
        }
        self.line
    }
}

/// The text, whatever its encoding. Windows-1252 gives every byte a meaning, so this always succeeds.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// The separator that stands most often, outside quotes, in the first line with content.
fn delimiter(text: &str) -> u8 {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut counts = [(b';', 0usize), (b'\t', 0), (b',', 0)];
    let mut quoted = false;
    for byte in line.bytes() {
        if byte == b'"' {
            quoted = !quoted;
        }
        if let Some((_, count)) = counts.iter_mut().find(|(separator, _)| !quoted && *separator == byte) {
            *count += 1;
        }
    }
    // `max_by_key` keeps the last of equals; the list reversed prefers the semicolon.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b';', |(separator, _)| *separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_is_found() {
        assert_eq!(delimiter("Cognome;Nome;Classe\nRossi;Ada, Eva;1A"), b';');
        assert_eq!(delimiter("\n\nCognome,Nome\n"), b',');
        assert_eq!(delimiter("Cognome\tNome"), b'\t');
        assert_eq!(delimiter("\"a,b,c\";d"), b';');
        assert_eq!(delimiter("Cognome"), b';');
        assert_eq!(delimiter(""), b';');
    }

    #[test]
    fn every_usual_encoding_is_read() {
        let utf16: Vec<u8> = [0xFEFFu16].into_iter().chain("Nicolò".encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for bytes in ["Nicolò".as_bytes(), b"\xEF\xBB\xBFNicol\xC3\xB2", b"Nicol\xF2", &utf16] {
            assert_eq!(decode(bytes), "Nicolò");
        }
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let text = "sep=;\n\nCognome;Nome\r\n\r\nRossi;\"Ada\nMaria\"\nBianchi;Eva\n;;\nVerdi;Ugo";
        let mut report = Report::default();
        let grids = read(&SourceFile { name: "f.csv", bytes: text.as_bytes() }, &mut report);
        assert!(report.problems.is_empty(), "{report:?}");
        let grid = &grids[0];
        assert_eq!(grid.headings.line, 3);
        let rows: Vec<_> = grid.rows.iter().map(|row| (row.line, row.cells.clone())).collect();
        let text = |text: &str| Cell::Text(text.to_owned());
        assert_eq!(
            rows,
            [(5, vec![text("Rossi"), text("Ada Maria")]), (7, vec![text("Bianchi"), text("Eva")]), (9, vec![text("Verdi"), text("Ugo")]),]
        );
    }
}
