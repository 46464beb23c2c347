//! A table as read from any format, before its columns mean anything.

use std::sync::Arc;

use chrono::NaiveDate;

use super::{Report, limits};
use crate::canteen::roster::Origin;

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Empty,
    /// Text without blanks around it, never empty.
    Text(String),
    /// A number of a workbook.
    Number(f64),
    /// A date of a workbook.
    Date(NaiveDate),
    /// A cell that cannot be used, and why.
    Unusable(&'static str),
}

impl Cell {
    /// A cell with this text: cleaned of control characters and of blanks around and doubled.
    pub(super) fn text(text: &str) -> Self {
        if text.chars().take(limits::CELL_CHARS + 1).count() > limits::CELL_CHARS {
            return Self::Unusable("il testo è troppo lungo (virgolette non chiuse?)");
        }
        let spaced: String = text.chars().map(|c| if c.is_control() || c == '\u{feff}' { ' ' } else { c }).collect();
        let clean = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
        if clean.is_empty() { Self::Empty } else { Self::Text(clean) }
    }
}

/// A row and its line in the file, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GridRow {
    pub(super) line: u32,
    pub(super) cells: Vec<Cell>,
}

/// A table: its headings and the rows below them that are not empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    /// File name, and the sheet's.
    pub(super) name: Arc<str>,
    /// The sheet's own name.
    pub(super) sheet: Option<String>,
    pub(super) headings: GridRow,
    pub(super) rows: Vec<GridRow>,
}

impl Grid {
    /// The table made of these rows, of which the first that is not empty holds the headings; `None` if there is none.
    pub(super) fn from_rows(name: &Arc<str>, sheet: Option<&str>, rows: impl IntoIterator<Item = GridRow>) -> Option<Self> {
        let mut rows = rows.into_iter().filter(|row| row.cells.iter().any(|cell| *cell != Cell::Empty));
        let headings = rows.next()?;
        Some(Self { name: Arc::clone(name), sheet: sheet.map(str::to_owned), headings, rows: rows.collect() })
    }

    /// Place of a line of this table.
    pub(super) fn origin(&self, line: u32) -> Origin {
        Origin { file: Arc::clone(&self.name), line }
    }
}

/// Gathers the cells of a table within the [`limits`].
#[derive(Debug, Default)]
pub(super) struct Budget {
    chars: usize,
}

impl Budget {
    /// Accounts for a cell; reports and says `false` where the table is too large to go on.
    pub(super) fn allows(&mut self, cell: &Cell, row: usize, column: usize, origin: &Origin, report: &mut Report) -> bool {
        let reason = if row >= limits::ROWS {
            format!("la tabella supera {} righe", limits::ROWS)
        } else if column >= limits::COLUMNS {
            format!("la tabella supera {} colonne", limits::COLUMNS)
        } else {
            if let Cell::Text(text) = cell {
                self.chars += text.len();
            }
            if self.chars <= limits::TABLE_CHARS {
                return true;
            }
            "la tabella contiene troppo testo".to_owned()
        };
        report.problem(origin, None, reason);
        false
    }
}
