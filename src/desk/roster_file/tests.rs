use std::io::{Cursor, Write as _};

use chrono::{NaiveDate, Weekday};
use proptest::prelude::*;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook};

use super::*;
use crate::canteen::roster::Scope;

macro_rules! fixture {
    ($name:literal) => {
        SourceFile { name: $name, bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/roster/", $name)) }
    };
}

const FIXTURES: [SourceFile<'static>; 4] =
    [fixture!("bambini.csv"), fixture!("calendario.csv"), fixture!("classi.csv"), fixture!("scuole.csv")];

fn read_new(files: &[SourceFile<'_>]) -> Result<ReadRoster, Rejected> {
    read(files, &Known { schools: &[], classes: &[], code_is_valid: &|code| !code.ends_with('9') })
}

fn csv(text: &str) -> SourceFile<'_> {
    SourceFile { name: "prova.csv", bytes: text.as_bytes() }
}

/// What is said of a single file with mistakes.
fn said(text: &str) -> String {
    read_new(&[csv(text)]).expect_err("mistakes").to_string()
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date")
}

/// A workbook with a sheet for each of the CSV fixtures: dates as dates, numbers as numbers.
fn workbook() -> Vec<u8> {
    let mut book = Workbook::new();
    let created = ExcelDateTime::from_ymd(2026, 1, 1).expect("a date");
    book.set_properties(&DocProperties::new().set_creation_datetime(&created));
    let date = Format::new().set_num_format("dd/mm/yyyy");
    let bold = Format::new().set_bold();
    for file in FIXTURES.iter().rev() {
        let sheet = book.add_worksheet();
        sheet.set_name(file.name.trim_end_matches(".csv")).expect("a name");
        sheet.set_freeze_panes(1, 0).expect("a row");
        let mut report = Report::default();
        let grid = csv_file::read(file, &mut report).pop().expect("a table");
        for (row, line) in (0u32..).zip(std::iter::once(&grid.headings).chain(&grid.rows)) {
            for (column, cell) in (0u16..).zip(&line.cells) {
                let grid::Cell::Text(text) = cell else { continue };
                let written = match (cells::date(cell), text.parse::<f64>()) {
                    (Ok(Some(day)), _) => sheet.write_date_with_format(row, column, day, &date),
                    (_, Ok(number)) => sheet.write_number(row, column, number),
                    _ if row == 0 => sheet.write_string_with_format(row, column, text, &bold),
                    _ => sheet.write_string(row, column, text),
                };
                written.expect("written");
            }
        }
        sheet.autofit();
    }
    let sheet = book.add_worksheet();
    sheet.set_name("Istruzioni").expect("a name");
    sheet.write_string(0, 0, "Le colonne sono descritte nella guida «File dell'ufficio».").expect("written");
    book.save_to_buffer().expect("a workbook")
}

#[test]
fn the_examples_are_read() {
    let read = read_new(&FIXTURES).expect("no mistakes");
    let roster = &read.roster;
    assert_eq!(roster.schools.len(), 3);
    assert_eq!(roster.classes.len(), 4);
    let class_1b = roster.classes.iter().find(|class| class.name == "1B").expect("1B");
    assert!([Weekday::Mon, Weekday::Wed, Weekday::Thu].iter().all(|day| class_1b.weekdays.contains(*day)));
    assert_eq!(class_1b.weekdays.len(), 3);

    let [agata, tobia, zoe, luca, perla] = &roster.children[..] else { panic!("five children: {roster:?}") };
    assert_eq!(agata.guardians, tobia.guardians, "siblings share their adults");
    assert_eq!(roster.guardians.len(), 5);
    assert_eq!((agata.diet.as_str(), tobia.diet.as_str()), ("normale", "senza lattosio"));
    assert_eq!((zoe.last_name.as_str(), zoe.first_name.as_str()), ("D'Amico", "Zoè"), "Windows-1252");
    assert_eq!((luca.school.as_str(), luca.enrolled_from), ("SEC-GALILEI", Some(day(2026, 11, 9))), "school by its name");
    assert_eq!((perla.diet.as_str(), perla.enrolled_to), ("senza glutine", Some(day(2027, 1, 29))));
    assert!(perla.guardians[0].payer);
    assert_eq!(roster.guardians[agata.guardians[0].guardian].phone.as_deref(), Some("+393990100201"));
    assert_eq!(agata.origin.as_ref().map(ToString::to_string).as_deref(), Some("bambini.csv, riga 2"));

    assert_eq!(roster.calendar.school_year.as_deref(), Some("2026/2027"));
    assert_eq!(roster.calendar.terms.len(), 2);
    let trip = roster.calendar.closures.iter().find(|closure| matches!(closure.scope, Scope::Class { .. })).expect("the trip");
    assert_eq!((trip.first, trip.last, trip.reason.as_str()), (day(2027, 4, 15), day(2027, 4, 15), "Uscita didattica"));
    assert!(roster.calendar.closures.iter().any(|closure| closure.first == day(2026, 12, 8)), "national holidays come by themselves");
    assert_eq!(read.notices, []);
}

#[test]
fn the_workbook_says_the_same_as_the_csv_files() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/roster/mensa.xlsx");
    let expected = workbook();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(path, &expected).expect("written");
    }
    let bytes = std::fs::read(path).expect("the committed example");
    assert!(bytes == expected, "mensa.xlsx is not what the CSV examples say: run the tests with UPDATE_FIXTURES=1");
    let from_csv = read_new(&FIXTURES).expect("no mistakes");
    let mut from_xlsx = read_new(&[SourceFile { name: "mensa.xlsx", bytes: &bytes }]).expect("no mistakes");
    assert_eq!(from_xlsx.notices, []);
    assert_eq!(
        from_xlsx.roster.children[0].origin.as_ref().map(ToString::to_string).as_deref(),
        Some("mensa.xlsx, foglio «bambini», riga 2")
    );
    for (one, other) in from_xlsx.roster.children.iter_mut().zip(&from_csv.roster.children) {
        one.origin.clone_from(&other.origin);
    }
    assert_eq!(from_xlsx.roster, from_csv.roster);
}

#[test]
fn every_bad_row_is_reported_and_nothing_comes_back() {
    insta::assert_snapshot!(said(
        "Cognome;Nome;Codice fiscale;Scuola;Classe;Rientri;Codice disdetta;Iscritto dal;Iscritto al;Cognome genitore 1;Nome genitore 1;E-mail genitore 1;Telefono genitore 1;Pagante;Hobby
Verdi;Ugo;VRDGUO18A01Y042A;Primaria;1A;lun mar;1234567;;;;;;;;
;Ada;;Primaria;1A;lun mar;1234568;;;Verdi;;;;;
Verdi;Ivo;;Primaria;1A;lun gio;12345679;31/02/2026;;;;;;;
Verdi;Eva;;Primaria;1A;lun mar;7654329;01/02/2027;01/01/2027;;;;;;
Neri;Leo;;Primaria;;;1234560;;;Neri;Pia;pia@;12;2;
Neri;Zoe;;Primaria;1A;lun-mar;1234560;;;;;;;;
Neri;Zoe;;Primaria;1A;;;;;;;;;;"
    ));
}

#[test]
fn bad_rows_of_the_calendar_and_the_classes_are_reported() {
    let classes = "Scuola;Classe;Rientri\nPrimaria;1A;lun\nPrimaria;1a;mar\nPrimaria;2A;\nPrimaria;3A;ogni tanto\n;4A;lun";
    let calendar = "Tipo;Scuola;Classe;Dal;Al;Motivo
servizio;;;14/09/2026;;
servizio;;1A;14/09/2026;08/06/2027;
servizio;Primaria;;08/06/2027;14/09/2026;
servizio;Primaria;;14/09/2026;08/06/2027;
servizio;Primaria;;14/09/2026;08/06/2027;
servizio;;;14/09/2027;08/06/2028;
chiusura;;;02/11/2026;;
chiusura;;1A;02/11/2026;;Gita
chiusura;Primaria;9Z;02/11/2026;;Gita
chiusura;Liceo;;02/11/2026;;Neve
gita;Primaria;1A;02/11/2026;;
gita;Primaria;1A;02/11/2026;;
chiusura;;;;;Neve
chiusura;;;01/01/2026;31/12/2027;Lavori
picnic;;;02/11/2026;;";
    let files =
        [SourceFile { name: "classi.csv", bytes: classes.as_bytes() }, SourceFile { name: "calendario.csv", bytes: calendar.as_bytes() }];
    insta::assert_snapshot!(read_new(&files).expect_err("mistakes").to_string());
}

#[test]
fn secrets_are_not_repeated_in_messages() {
    let message = said(
        "Cognome;Nome;Codice fiscale;Scuola;Classe;Rientri;Codice disdetta
Verdi;Ugo;RSSMRA85T10A562T;Primaria;1A;lun;7654329
Rossi;Ugo;RSSMRA85T10A562S;Primaria;1A;lun;7654321
Bianchi;Ugo;RSSMRA85T10A562S;Primaria;1A;lun;7654321",
    );
    assert!(!message.contains("76543") && !message.contains("RSSMRA"), "{message}");
    assert_eq!(message.lines().count(), 5, "{message}");
}

#[test]
fn what_is_no_table_is_refused() {
    for (bytes, reason) in [
        (&b""[..], "i file non contengono righe"),
        (b"\n\n;;\n", "i file non contengono righe"),
        (b"pippo;pluto\n1;2", "non si capisce"),
        (b"Cognome;Nome\nRossi;Ada", "mancano le colonne «Scuola», «Classe»"),
        (b"Cognome;Nome;Nome;Scuola;Classe\n", "ripete la colonna «Nome»"),
        (b"Scuola;Classe;Rientri;\nP;1A;lun;mar", "colonna senza intestazione"),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", ".xls"),
        (b"PK\x03\x04 but no zip", "danneggiato"),
        (b"%PDF-1.7\0", "non è un file CSV"),
    ] {
        let message = read_new(&[SourceFile { name: "x", bytes }]).expect_err(reason).to_string();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn unknown_columns_and_new_diets_are_told_not_refused() {
    let read =
        read_new(&[csv("Cognome;Nome;Scuola;Classe;Rientri;Dieta;Hobby\nRossi;Ada;Primaria;1A;lun;senza kiwi;scacchi")]).expect("read");
    let told: Vec<String> = read.notices.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    prova.csv, riga 1, colonna «Hobby»: colonna non riconosciuta: ignorata
    prova.csv, riga 2, colonna «Dieta»: la dieta «senza kiwi» non è tra quelle abituali: accettata così com'è
    prova.csv, riga 2: il bambino non ha adulti di riferimento: nessuno potrà ricevere avvisi
    ");
    assert_eq!(read.roster.schools, [SchoolRow { code: "Primaria".into(), name: "Primaria".into() }]);
}

#[test]
fn what_the_database_knows_need_not_be_repeated() {
    let schools = [SchoolRow { code: "PRI".into(), name: "Scuola primaria".into() }];
    let classes = [ClassRow { school: "PRI".into(), name: "1A".into(), weekdays: [Weekday::Mon].into_iter().collect() }];
    let known = Known { schools: &schools, classes: &classes, code_is_valid: &|_| true };
    let read_known = |text: &str| read(&[csv(text)], &known);
    let read = read_known("Cognome;Nome;Scuola;Classe\nRossi;Ada;scuola PRIMARIA;1a").expect("read");
    assert_eq!((read.roster.children[0].school.as_str(), read.roster.children[0].class.as_str()), ("PRI", "1A"));
    assert!(read.roster.schools.is_empty() && read.roster.classes.is_empty());
    let typo = read_known("Scuola;Classe;Rientri\nScuola primria;1A;lun").expect_err("a slip makes no new school");
    assert!(typo.to_string().contains("non è conosciuta"), "{typo}");
    let days = read_known("Scuola;Classe;Rientri\nPRI;1a;lun mar").expect("new days for a known class");
    assert_eq!(days.roster.classes[0].name, "1A");
}

#[test]
fn adults_are_one_where_they_are_the_same_person() {
    let head = "Cognome;Nome;Scuola;Classe;Rientri;Cognome genitore 1;Nome genitore 1;Codice fiscale genitore 1;Telefono genitore 1\n";
    let guardians = |rows: &str| read_new(&[csv(&format!("{head}{rows}"))]).expect("read").roster.guardians.len();
    assert_eq!(guardians("A;A;P;1A;lun;Rossi;Pia;;3331234567\nA;B;P;1A;lun;ROSSI;Pia;;333 123 45 67"), 1, "name and telephone");
    assert_eq!(guardians("A;A;P;1A;lun;Rossi;Pia;;\nA;B;P;1A;lun;Rossi;Pia;;"), 2, "a name alone is not enough");
    assert_eq!(guardians("A;A;P;1A;lun;Rossi;Mario;RSSMRA85T10A562S;3331234567\nA;B;P;1A;lun;Rossi;Mario;;3331234567"), 1);
    let other =
        crate::canteen::fiscal_code::FiscalCode::compose("Rossi", "Mario", day(1990, 1, 1), crate::canteen::fiscal_code::Sex::Male, "A562");
    let other = other.expect("a code");
    let rows = format!("A;A;P;1A;lun;Rossi;Mario;RSSMRA85T10A562S;3331234567\nA;B;P;1A;lun;Rossi;Mario;{};3331234567", other.as_str());
    assert_eq!(guardians(&rows), 2, "two fiscal codes are two persons");
}

/// The demo's school written as an office would, and read back: nothing is lost, siblings find their adults again.
#[test]
fn a_whole_school_comes_back_as_it_was_written() {
    let demo = crate::canteen::demo::demo_roster(2026, |index| format!("{index:06}0")).expect("a roster");
    let mut text = String::from(
        "Matricola;Cognome;Nome;Codice fiscale;Scuola;Classe;Dieta;Codice disdetta;Iscritto dal;Iscritto al;Pagante;Cognome genitore 1;\
         Nome genitore 1;Codice fiscale genitore 1;E-mail genitore 1;Telefono genitore 1;Cognome genitore 2;Nome genitore 2;\
         Codice fiscale genitore 2;E-mail genitore 2;Telefono genitore 2\n",
    );
    let day = |day: Option<NaiveDate>| day.map(|day| day.format("%d/%m/%Y").to_string()).unwrap_or_default();
    let secret =
        |code: &Option<crate::canteen::fiscal_code::FiscalCode>| code.as_ref().map(|code| code.as_str().to_owned()).unwrap_or_default();
    for child in &demo.children {
        let payer = child.guardians.iter().position(|one| one.payer).expect("a payer") + 1;
        let mut fields = vec![
            child.external_id.clone().unwrap_or_default(),
            child.last_name.clone(),
            child.first_name.clone(),
            secret(&child.fiscal_code),
            child.school.clone(),
            child.class.clone(),
            child.diet.clone(),
            child.code.clone().unwrap_or_default(),
            day(child.enrolled_from),
            day(child.enrolled_to),
            payer.to_string(),
        ];
        for one in &child.guardians {
            let adult = &demo.guardians[one.guardian];
            let contact = |text: &Option<String>| text.clone().unwrap_or_default();
            fields.extend([
                adult.last_name.clone(),
                adult.first_name.clone(),
                secret(&adult.fiscal_code),
                contact(&adult.email),
                contact(&adult.phone),
            ]);
        }
        text.push_str(&fields.join(";"));
        text.push('\n');
    }
    let known = Known { schools: &demo.schools, classes: &demo.classes, code_is_valid: &|_| true };
    let mut read = read(&[csv(&text)], &known).expect("no mistakes").roster;
    for child in &mut read.children {
        child.origin = None;
    }
    assert_eq!(read.children, demo.children);
    assert_eq!(read.guardians, demo.guardians);
}

/// A workbook made of these parts, as they are.
fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("started");
        zip.write_all(content).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}

#[test]
fn a_workbook_that_unpacks_to_too_much_is_refused() {
    let zeros = vec![0u8; 30_000_000];
    let bomb = zipped(&[("xl/a.xml", &zeros), ("xl/b.xml", &zeros), ("xl/c.xml", &zeros), ("xl/d.xml", &zeros)]);
    assert!(bomb.len() < 1_000_000, "small outside");
    let message = read_new(&[SourceFile { name: "b.xlsx", bytes: &bomb }]).expect_err("refused").to_string();
    assert!(message.contains("una volta aperto, supera 100 MB"), "{message}");

    let parts: Vec<(String, &[u8])> = (0..=limits::ZIP_ENTRIES).map(|index| (format!("xl/{index}"), &b""[..])).collect();
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|(name, content)| (name.as_str(), *content)).collect();
    let message = read_new(&[SourceFile { name: "b.xlsx", bytes: &zipped(&parts) }]).expect_err("refused").to_string();
    assert!(message.contains("troppe parti"), "{message}");
}

#[test]
fn far_away_cells_and_endless_tables_are_refused() {
    for (row, column, reason) in [(1_048_575, 0, "righe"), (1, 16_383, "colonne")] {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        sheet.write_string(0, 0, "Cognome").expect("written");
        sheet.write_string(row, column, "x").expect("written");
        let bytes = book.save_to_buffer().expect("a workbook");
        let message = read_new(&[SourceFile { name: "far.xlsx", bytes: &bytes }]).expect_err("refused").to_string();
        assert!(message.contains(reason), "{message}");
    }
    let long = format!("Cognome;Nome\n{}", "a;b\n".repeat(limits::ROWS));
    assert!(said(&long).contains("righe"));
    let wide = ["x"; limits::COLUMNS + 1].join(";");
    assert!(said(&wide).contains("colonne"));
    let unclosed = format!("Cognome;Nome;Scuola;Classe\nRossi;\"{}", "Ada;P;1A\n".repeat(100));
    assert!(said(&unclosed).contains("virgolette"));
    let large = vec![b'a'; limits::FILE_BYTES + 1];
    let message = read_new(&[SourceFile { name: "large.csv", bytes: &large }]).expect_err("refused").to_string();
    assert!(message.contains("supera 20 MB"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_new(&[SourceFile { name: "x", bytes: &bytes }]);
    }

    #[test]
    fn any_text_under_good_headings_is_answered(text in "(\\PC|[;\n\",]){0,200}") {
        let _ = read_new(&[csv(&format!("Cognome;Nome;Scuola;Classe;Rientri;Codice fiscale;Iscritto dal\n{text}"))]);
    }

    /// Any byte of any XML part of a good workbook changed: read or refused, never a panic.
    #[test]
    fn a_damaged_workbook_is_answered(part: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut parts = parts_of_workbook();
        let damaged = part.index(parts.len());
        for (place, byte) in changes {
            let content = &mut parts[damaged].1;
            let place = place.index(content.len());
            content[place] = byte;
        }
        let parts: Vec<(&str, &[u8])> = parts.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        let _ = read_new(&[SourceFile { name: "x.xlsx", bytes: &zipped(&parts) }]);
    }
}

/// A good workbook's parts: name and content.
fn parts_of_workbook() -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(workbook())).expect("a zip");
    let count = archive.len();
    let part = |index| {
        let mut entry = archive.by_index(index).expect("a part");
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).expect("unpacked");
        (entry.name().expect("a name").into_owned(), content)
    };
    (0..count).map(part).collect()
}

#[test]
fn a_sheet_that_ends_before_it_begins_is_answered() {
    let mut parts = parts_of_workbook();
    let sheet = &mut parts.iter_mut().find(|(name, _)| name == "xl/worksheets/sheet1.xml").expect("a sheet").1;
    let text = String::from_utf8(sheet.clone()).expect("UTF-8");
    assert!(text.contains("<dimension ref=\"A1:"));
    *sheet = text.replacen("<dimension ref=\"A1:", "<dimension ref=\"ZZ99:", 1).into_bytes();
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let report = read_new(&[SourceFile { name: "x.xlsx", bytes: &zipped(&parts) }]).expect_err("is refused");
    insta::assert_snapshot!(report, @r"
    1 errore; non è stato importato nulla.
    x.xlsx: il file Excel è danneggiato o non è un .xlsx
    ");
}
