//! One row under reading: gives the cells their meaning and reports those that have none.

use super::{
    Report,
    cells::{self, Reason},
    columns::{Columns, Field},
    grid::{Cell, Grid, GridRow},
};
use crate::canteen::roster::Origin;

/// A row of a table.
pub(super) struct Row<'a> {
    grid: &'a Grid,
    columns: &'a Columns,
    cells: &'a [Cell],
    /// Its place.
    pub(super) origin: Origin,
    sound: bool,
}

/// The longest name of a person, school or class.
const NAME_CHARS: usize = 100;

impl<'a> Row<'a> {
    pub(super) fn new(grid: &'a Grid, columns: &'a Columns, row: &'a GridRow) -> Self {
        Self { grid, columns, cells: &row.cells, origin: grid.origin(row.line), sound: true }
    }

    /// Has nothing been reported of this row?
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    /// Has the table this column?
    pub(super) fn has(&self, field: Field) -> bool {
        self.columns.has(field)
    }

    /// Reports a mistake of the row, or of one of its columns.
    pub(super) fn problem(&mut self, field: Option<Field>, reason: impl Into<String>, report: &mut Report) {
        self.sound = false;
        report.problem(&self.origin, field.and_then(|field| self.heading(field)).as_deref(), reason.into());
    }

    /// Tells the office something of the row.
    pub(super) fn notice(&self, field: Option<Field>, reason: impl Into<String>, report: &mut Report) {
        report.notice(&self.origin, field.and_then(|field| self.heading(field)).as_deref(), reason.into());
    }

    /// A cell through one of the readers of [`cells`]; a mistake is reported, and gives the default, as an empty cell does.
    pub(super) fn read<T: Default>(&mut self, field: Field, reader: impl FnOnce(&Cell) -> Result<T, Reason>, report: &mut Report) -> T {
        let cell = self.columns.place(field).and_then(|place| self.cells.get(place)).unwrap_or(&Cell::Empty);
        reader(cell).unwrap_or_else(|reason| {
            self.problem(Some(field), reason, report);
            T::default()
        })
    }

    /// Text of at most a name's length.
    pub(super) fn text(&mut self, field: Field, report: &mut Report) -> Option<String> {
        self.read(field, cells::text, report).filter(|text| {
            let fits = text.chars().count() <= NAME_CHARS;
            if !fits {
                self.problem(Some(field), format!("il testo supera {NAME_CHARS} caratteri"), report);
            }
            fits
        })
    }

    /// Text that must be there; an empty one has been reported.
    pub(super) fn required(&mut self, field: Field, report: &mut Report) -> String {
        let sound = self.sound;
        let text = self.text(field, report);
        if text.is_none() && self.sound == sound {
            self.problem(Some(field), "manca", report);
        }
        text.unwrap_or_default()
    }

    fn heading(&self, field: Field) -> Option<String> {
        match self.grid.headings.cells.get(self.columns.place(field)?)? {
            Cell::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}
