//! What an office uploads: one to three files, cut at form feeds. What begins with `PK` is the inside of a workbook: a sheet, the texts of its
//! cells and the list of sheets, cut at vertical tabs; packed here, as no mutation of a packed file would be one.
#![no_main]

use std::io::{Cursor, Write as _};

use libfuzzer_sys::fuzz_target;
use voceguida::{
    canteen::code::has_valid_check_digit,
    desk::roster_file::{Known, SourceFile, read},
};

const TYPES: &str = r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#;
const BOOK: &str = r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="bambini" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
const RELATIONS: &str = r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>"#;

fuzz_target!(|bytes: &[u8]| {
    let contents: Vec<Vec<u8>> = bytes.splitn(3, |b| *b == 0x0c).map(|part| workbook(part).unwrap_or_else(|| part.to_vec())).collect();
    let files: Vec<_> = contents.iter().map(|bytes| SourceFile { name: "f.csv", bytes }).collect();
    let known = Known { schools: &[], classes: &[], code_is_valid: &|code| has_valid_check_digit(code) };
    match read(&files, &known) {
        Ok(done) => {
            // What was read can be told, and read once more to the same.
            done.notices.iter().for_each(|notice| assert!(!notice.to_string().is_empty()));
            assert_eq!(read(&files, &known).as_ref(), Ok(&done));
        }
        Err(rejected) => assert!(!rejected.problems.is_empty() && !rejected.to_string().is_empty()),
    }
});

/// The workbook whose inside this is.
fn workbook(inside: &[u8]) -> Option<Vec<u8>> {
    let mut parts = inside.strip_prefix(b"PK")?.splitn(3, |b| *b == 0x0b);
    let (sheet, texts, book) = (parts.next()?, parts.next().unwrap_or_default(), parts.next().unwrap_or(BOOK.as_bytes()));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in [
        ("[Content_Types].xml", TYPES.as_bytes()),
        ("xl/workbook.xml", book),
        ("xl/_rels/workbook.xml.rels", RELATIONS.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet),
        ("xl/sharedStrings.xml", texts),
    ] {
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(name, stored).ok()?;
        zip.write_all(content).ok()?;
    }
    Some(zip.finish().ok()?.into_inner())
}
