//! XLSX workbooks, every sheet a table; refuses what would unpack to more than a roster can be.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use calamine::{DataRef, Reader as _, SheetType, Xlsx};

use super::{
    Report, SourceFile, file_origin,
    grid::{Budget, Cell, Grid, GridRow},
    limits,
};
use crate::canteen::roster::Origin;

const DAMAGED: &str = "il file Excel è danneggiato o non è un .xlsx";

/// The tables of a workbook; what cannot be read is reported.
pub(super) fn read(file: &SourceFile<'_>, report: &mut Report) -> Vec<Grid> {
    // calamine 0.38 subtracts unchecked where a sheet says that it ends before it begins: it panics in builds that check.
    catch_unwind(AssertUnwindSafe(|| read_sheets(file, report))).unwrap_or_else(|_| {
        report.problem(&file_origin(file.name), None, DAMAGED.to_owned());
        Vec::new()
    })
}

fn read_sheets(file: &SourceFile<'_>, report: &mut Report) -> Vec<Grid> {
    let origin = file_origin(file.name);
    if let Err(reason) = check_archive(file.bytes) {
        report.problem(&origin, None, reason);
        return Vec::new();
    }
    let Ok(mut book) = Xlsx::new(Cursor::new(file.bytes)) else {
        report.problem(&origin, None, DAMAGED.to_owned());
        return Vec::new();
    };
    let sheets: Vec<String> =
        book.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).map(|sheet| sheet.name.clone()).collect();
    if sheets.len() > limits::SHEETS {
        report.problem(&origin, None, format!("il file ha più di {} fogli", limits::SHEETS));
        return Vec::new();
    }
    sheets.iter().filter_map(|sheet| read_sheet(&mut book, file.name, sheet, report)).collect()
}

/// One sheet, cell by cell: calamine's own table would make room for every cell between the first and the last, however far apart.
fn read_sheet(book: &mut Xlsx<Cursor<&[u8]>>, file: &str, sheet: &str, report: &mut Report) -> Option<Grid> {
    let name: Arc<str> = Arc::from(format!("{file}, foglio «{sheet}»"));
    let whole = Origin { file: Arc::clone(&name), line: 0 };
    let mut damaged = || report.problem(&whole, None, DAMAGED.to_owned());
    let Ok(mut cells) = book.worksheet_cells_reader(sheet) else {
        damaged();
        return None;
    };
    let mut rows: BTreeMap<u32, Vec<Cell>> = BTreeMap::new();
    let mut budget = Budget::default();
    loop {
        let (row, column, cell) = match cells.next_cell() {
            Ok(Some(found)) => (found.get_position().0, found.get_position().1 as usize, convert(found.get_value())),
            Ok(None) => break,
            Err(_) => {
                report.problem(&whole, None, DAMAGED.to_owned());
                return None;
            }
        };
        // Spreadsheets keep many empty cells for their borders and colours.
        if cell == Cell::Empty {
            continue;
        }
        let origin = Origin { file: Arc::clone(&name), line: row.saturating_add(1) };
        if !budget.allows(&cell, row as usize, column, &origin, report) {
            return None;
        }
        let cells = rows.entry(row).or_default();
        if cells.len() <= column {
            cells.resize(column + 1, Cell::Empty);
        }
        cells[column] = cell;
    }
    let rows = rows.into_iter().map(|(row, cells)| GridRow { line: row + 1, cells });
    Grid::from_rows(&name, Some(sheet), rows)
}

fn convert(value: &DataRef<'_>) -> Cell {
    match value {
        DataRef::Empty => Cell::Empty,
        DataRef::String(text) => Cell::text(text),
        DataRef::SharedString(text) => Cell::text(text),
        DataRef::Int(number) => Cell::Number(*number as f64),
        DataRef::Float(number) => Cell::Number(*number),
        DataRef::Bool(yes) => Cell::Text(if *yes { "sì" } else { "no" }.to_owned()),
        DataRef::DateTime(moment) if moment.is_datetime() => match moment.as_datetime() {
            Some(moment) => Cell::Date(moment.date()),
            None => Cell::Unusable("la data non è valida"),
        },
        DataRef::DateTimeIso(text) => match text.get(..10).and_then(|day| day.parse().ok()) {
            Some(day) => Cell::Date(day),
            None => Cell::Unusable("la data non è valida"),
        },
        DataRef::DateTime(_) | DataRef::DurationIso(_) => Cell::Unusable("contiene un orario"),
        DataRef::Error(_) => Cell::Unusable("la formula dà un errore"),
    }
}

/// Unpacks every part of the workbook into nothing, counting: the sizes written in a zip file may lie.
fn check_archive(bytes: &[u8]) -> Result<(), String> {
    let damaged = |_| DAMAGED.to_owned();
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > limits::ZIP_ENTRIES {
        return Err("il file Excel ha troppe parti".to_owned());
    }
    let mut left = limits::UNPACKED_BYTES;
    for index in 0..archive.len() {
        let part = archive.by_index(index).map_err(damaged)?;
        let unpacked = io::copy(&mut part.take(left + 1), &mut io::sink()).map_err(|_| DAMAGED.to_owned())?;
        left = left
            .checked_sub(unpacked)
            .ok_or_else(|| format!("il file Excel, una volta aperto, supera {} MB", limits::UNPACKED_BYTES / 1_000_000))?;
    }
    Ok(())
}
