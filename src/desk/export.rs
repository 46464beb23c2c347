//! Head counts for the kitchen, as files a spreadsheet in an Italian office opens with a double click.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Formula, Workbook, XlsxError};

/// Meals of one kind to cook (O5, R9).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadCountRow {
    /// The day.
    pub day: NaiveDate,
    /// Name of the school.
    pub school: String,
    /// Name of the class.
    pub class: String,
    /// Diet, in the kitchen's words.
    pub diet: String,
    /// A plain white meal ("pasto in bianco").
    pub white: bool,
    /// How many.
    pub meals: u32,
}

/// The workbook could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// More rows than a sheet has, or a text longer than a cell takes.
    #[error("the workbook cannot be written: {0}")]
    Workbook(#[from] XlsxError),
}

const HEADINGS: [&str; 6] = ["Giorno", "Scuola", "Classe", "Dieta", "Tipo di pasto", "Pasti"];

impl HeadCountRow {
    fn kind(&self) -> &'static str {
        if self.white { "in bianco" } else { "normale" }
    }
}

/// The rows as CSV: UTF-8 with a byte order mark and semicolons, as an Italian Excel expects; `gg/mm/aaaa`; no totals, so
/// that other programs can read it. Texts that a spreadsheet would take for a formula are made harmless.
pub fn head_counts_csv(rows: &[HeadCountRow]) -> Vec<u8> {
    let mut csv = String::from("\u{feff}");
    push_record(&mut csv, &HEADINGS);
    for row in rows {
        let (day, meals) = (row.day.format("%d/%m/%Y").to_string(), row.meals.to_string());
        push_record(&mut csv, &[day.as_str(), &harmless(&row.school), &harmless(&row.class), &harmless(&row.diet), row.kind(), &meals]);
    }
    csv.into_bytes()
}

/// One line (RFC 4180, with semicolons).
pub(super) fn push_record(csv: &mut String, fields: &[&str]) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            csv.push(';');
        }
        if field.contains([';', '"', '\n', '\r', ',', '\t']) {
            csv.push('"');
            csv.push_str(&field.replace('"', "\"\""));
            csv.push('"');
        } else {
            csv.push_str(field);
        }
    }
    csv.push_str("\r\n");
}

/// Keeps a spreadsheet from running a text as a formula (OWASP, "CSV Injection"): a leading apostrophe makes it text.
pub(super) fn harmless(text: &str) -> String {
    if text.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']) || text.starts_with(['\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// The rows as a workbook: a sheet with every row and their total, and one with the totals of each day, school and diet.
///
/// # Errors
/// [`ExportError::Workbook`] where a sheet cannot hold it.
pub fn head_counts_xlsx(rows: &[HeadCountRow]) -> Result<Vec<u8>, ExportError> {
    let mut book = Workbook::new();
    // The library would put the machine's time there: the same rows are to give the same file.
    let created = ExcelDateTime::from_ymd(2026, 1, 1)?;
    book.set_properties(&DocProperties::new().set_title("Prenotazioni mensa").set_creation_datetime(&created));

    let details: Vec<_> =
        rows.iter().map(|row| (row.day, vec![row.school.as_str(), &row.class, &row.diet, row.kind()], row.meals)).collect();
    write_sheet(&mut book, "Prenotazioni", &HEADINGS, &details)?;

    let mut totals: BTreeMap<(NaiveDate, &str, &str, &str), u32> = BTreeMap::new();
    for row in rows {
        let total = totals.entry((row.day, &row.school, &row.diet, row.kind())).or_default();
        *total = total.saturating_add(row.meals);
    }
    let totals: Vec<_> = totals.into_iter().map(|((day, school, diet, kind), meals)| (day, vec![school, diet, kind], meals)).collect();
    write_sheet(&mut book, "Totali per scuola", &["Giorno", "Scuola", "Dieta", "Tipo di pasto", "Pasti"], &totals)?;
    Ok(book.save_to_buffer()?)
}

/// A sheet with a date, texts and a number a row, and the sum of the numbers below.
fn write_sheet(book: &mut Workbook, name: &str, headings: &[&str], rows: &[(NaiveDate, Vec<&str>, u32)]) -> Result<(), XlsxError> {
    let heading = Format::new().set_bold().set_border_bottom(FormatBorder::Thin);
    let date = Format::new().set_num_format("dd/mm/yyyy").set_align(FormatAlign::Left);
    let bold = Format::new().set_bold().set_border_top(FormatBorder::Thin);
    let sheet = book.add_worksheet();
    sheet.set_name(name)?;
    sheet.set_freeze_panes(1, 0)?;
    for (column, text) in (0u16..).zip(headings) {
        sheet.write_string_with_format(0, column, *text, &heading)?;
    }
    let mut line = 1u32;
    let last_column = (headings.len() as u16).saturating_sub(1);
    let mut sum = 0u64;
    for (day, texts, meals) in rows {
        sheet.write_date_with_format(line, 0, *day, &date)?;
        for (column, text) in (1u16..).zip(texts) {
            // `write_string` never makes a formula of it.
            sheet.write_string(line, column, *text)?;
        }
        sheet.write_number(line, last_column, *meals)?;
        sum += u64::from(*meals);
        line += 1;
    }
    if !rows.is_empty() {
        sheet.set_column_width(0, 12)?;
        let letter = char::from(b'A' + last_column as u8);
        sheet.write_string_with_format(line, 0, "Totale", &bold)?;
        let formula = Formula::new(format!("=SUM({letter}2:{letter}{line})")).set_result(sum.to_string());
        sheet.write_formula_with_format(line, last_column, formula, &bold)?;
    }
    sheet.autofit();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use calamine::{Data, DataType, Reader as _, Xlsx};
    use proptest::prelude::*;

    use super::*;

    fn row(day: u32, class: &str, diet: &str, white: bool, meals: u32) -> HeadCountRow {
        let day = NaiveDate::from_ymd_opt(2026, 10, day).expect("a date");
        HeadCountRow { day, school: "Scuola primaria Gianni Rodari".into(), class: class.into(), diet: diet.into(), white, meals }
    }

    #[test]
    fn csv_as_excel_opens_it() {
        let csv = head_counts_csv(&[row(15, "3A", "normale", false, 19), row(15, "3A", "senza \"glutine\"; età", true, 1)]);
        insta::assert_snapshot!(String::from_utf8(csv).expect("UTF-8").replace('\r', "␍").replace('\u{feff}', "<BOM>"), @r#"
        <BOM>Giorno;Scuola;Classe;Dieta;Tipo di pasto;Pasti␍
        15/10/2026;Scuola primaria Gianni Rodari;3A;normale;normale;19␍
        15/10/2026;Scuola primaria Gianni Rodari;3A;"senza ""glutine""; età";in bianco;1␍
        "#);
    }

    #[test]
    fn the_workbook_has_every_row_and_its_totals() {
        let rows = [row(15, "3A", "normale", false, 19), row(15, "3B", "normale", false, 7), row(16, "3A", "normale", true, 2)];
        let bytes = head_counts_xlsx(&rows).expect("written");
        assert_eq!(bytes, head_counts_xlsx(&rows).expect("written"), "the same rows give the same file");
        let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).expect("a workbook");
        let detail = book.worksheet_range("Prenotazioni").expect("a sheet");
        assert_eq!(detail.get_value((1, 0)).and_then(DataType::as_date), Some(rows[0].day));
        assert_eq!(detail.get_value((3, 4)), Some(&Data::String("in bianco".into())));
        assert_eq!(detail.get_value((4, 5)).and_then(DataType::as_i64), Some(28));
        let totals = book.worksheet_range("Totali per scuola").expect("a sheet");
        assert_eq!(totals.get_value((1, 4)).and_then(DataType::as_i64), Some(26));
        assert_eq!(totals.height(), 4);
    }

    #[test]
    fn no_rows_give_files_with_headings_only() {
        assert_eq!(String::from_utf8(head_counts_csv(&[])).expect("UTF-8").lines().count(), 1);
        assert!(head_counts_xlsx(&[]).is_ok());
    }

    proptest! {
        #[test]
        fn no_cell_of_the_csv_begins_as_a_formula(text in "[=+@\\-\t\r\n ;\",a-z]{0,12}") {
            let csv = head_counts_csv(&[row(15, &text, &text, false, 1)]);
            let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(&csv[3..]);
            let record = reader.records().next().expect("a record").expect("well formed");
            prop_assert_eq!(record.len(), 6);
            for field in &record {
                prop_assert!(!field.trim_start().starts_with(['=', '+', '-', '@']), "{:?}", field);
            }
            prop_assert_eq!(record[2].strip_prefix('\'').unwrap_or(&record[2]), &text);
        }

        #[test]
        fn no_cell_of_the_workbook_is_a_formula(text in "[=+@\\-a-z]{1,12}") {
            let bytes = head_counts_xlsx(&[row(15, &text, &text, false, 1)]).expect("written");
            let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).expect("a workbook");
            let detail = book.worksheet_range("Prenotazioni").expect("a sheet");
            prop_assert_eq!(detail.get_value((1, 2)), Some(&Data::String(text)));
        }
    }
}
