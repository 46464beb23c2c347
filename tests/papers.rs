//! What goes out on paper, as poppler reads it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::{fs, path::PathBuf, process::Command};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rand::SeedableRng;
use voceguida::{
    billing::{Cents, NoticeNumber},
    canteen::code::ChildCode,
    papers::{
        Heading, Logo,
        kitchen::{self, Class, KitchenSheet, School},
        letter::{self, Child, Credentials, Family, Letters, LineGuide, usual_keys},
        notice::{self, Notice, NoticeChild, NoticeLine, Notices},
    },
};

const LOGO: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 60"><rect width="60" height="60" rx="8" fill="navy"/><circle cx="30" cy="30" r="18" fill="white"/></svg>"#;

fn at() -> DateTime<Utc> {
    "2026-11-25T09:30:00Z".parse().unwrap()
}

fn heading() -> Heading {
    Heading {
        name: "Comune di Borgo San Lieto".into(),
        office: Some("Servizi al Cittadino – Pubblica Istruzione".into()),
        lines: vec!["Piazza Libertà 1, 17052 Borgo San Lieto".into(), "www.comune.borgosanlieto.example".into()],
        logo: Some(Logo::new(LOGO.into()).unwrap()),
    }
}

fn child(n: u64, name: &str, class: &str) -> Child {
    Child { name: name.into(), class: class.into(), code: Some(ChildCode::random(&mut rand::rngs::StdRng::seed_from_u64(n))) }
}

fn letters() -> Letters {
    let time = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap();
    Letters {
        heading: heading(),
        place: Some("Borgo San Lieto".into()),
        day: NaiveDate::from_ymd_opt(2026, 11, 25).unwrap(),
        school_year: Some("2026/2027".into()),
        line: LineGuide {
            numbers: vec![("800 123 456".into(), Some("numero verde, gratuito da telefono fisso".into())), ("0182 970000".into(), None)],
            opens: time(18),
            cutoff: time(9),
            keys: usual_keys(),
        },
        portal: Some("https://genitori.borgosanlieto.example".into()),
        contact: vec!["tel. 0182 970000".into(), "scuola@borgosanlieto.example".into()],
        signature: vec!["Il responsabile del servizio".into(), "dott.ssa Anna Neri".into()],
        families: vec![
            Family {
                guardians: vec!["Maria Grazia D'Agostino".into(), "Óscar Núñez".into()],
                address: vec!["Via Roma 1".into(), "17052 Borgo San Lieto".into()],
                children: vec![child(1, "Núñez Sofia", "Scuola primaria, 2A"), child(2, "Núñez Leo", "Scuola dell'infanzia, Girasoli")],
                credentials: vec![
                    Credentials {
                        name: "Maria Grazia D'Agostino".into(),
                        user: "dagostino.m".into(),
                        password: Some("lago-vento-73".into()),
                    },
                    Credentials { name: "Óscar Núñez".into(), user: "nunez.o".into(), password: None },
                ],
            },
            // What people type is printed as it stands: no markup, no HTML, no code. A letter that no font has is seen to be missing.
            Family {
                guardians: vec![
                    "<b>Ada</b> *x* _y_ $z$ `w` #sys.version #import \"a\" @ref // \\ Nicolò".into(),
                    "Анна Іванова".into(),
                    "王".into(),
                ],
                address: vec![],
                children: vec![child(3, "#set page(width: 1cm) [Rossi]", "<script>alert(1)</script>, 1A")],
                credentials: vec![],
            },
        ],
    }
}

fn sheet() -> KitchenSheet {
    let class = |name: &str, normal, celiac, white, cancelled, suspended| Class {
        name: name.into(),
        diets: [("normale", normal), ("senza glutine", celiac)].into_iter().filter(|(_, n)| *n > 0).map(|(d, n)| (d.into(), n)).collect(),
        white,
        cancelled,
        suspended,
    };
    let day = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
    KitchenSheet {
        heading: heading(),
        day,
        counted_at: day.and_hms_opt(9, 0, 1).unwrap(),
        is_final: true,
        schools: vec![
            School { name: "Scuola primaria".into(), classes: vec![class("1A", 18, 1, 1, 2, 0), class("2A", 20, 0, 0, 1, 1)] },
            School { name: "Scuola dell'infanzia".into(), classes: vec![class("Girasoli", 22, 2, 0, 0, 0)] },
        ],
        notes: vec!["La classe 3A non mangia: gita.".into()],
    }
}

/// Keeps a document for whoever wants to look at it, and has a program of poppler's read it.
fn read(name: &str, pdf: &[u8], program: &str, arguments: &[&str]) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("papers");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{name}.pdf"));
    fs::write(&file, pdf).unwrap();
    let to_stdout: &[&str] = if program == "pdftotext" { &["-"] } else { &[] };
    let out = Command::new(program).args(arguments).arg(&file).args(to_stdout).output().expect("poppler-utils (tests/install.sh)");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // What pdfinfo tells of a document's structure is not UTF-8 throughout.
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_letter_as_families_read_it() {
    let pdf = letter::pdf(&letters(), at()).unwrap();
    insta::assert_snapshot!(read("lettera", &pdf, "pdftotext", &["-layout"]));
    assert_eq!(pdf, letter::pdf(&letters(), at()).unwrap(), "the same values and the same instant, the same octets");
}

#[test]
fn the_kitchens_sheet() {
    let pdf = kitchen::pdf(&sheet(), at()).unwrap();
    insta::assert_snapshot!(read("cucina", &pdf, "pdftotext", &["-layout"]));
    let empty = KitchenSheet { schools: vec![], is_final: false, notes: vec![], ..sheet() };
    insta::assert_snapshot!(read("cucina-vuota", &kitchen::pdf(&empty, at()).unwrap(), "pdftotext", &["-layout"]));
}

#[test]
fn documents_can_be_read_aloud_and_kept() {
    for (name, pdf) in [("lettera-ua", letter::pdf(&letters(), at()).unwrap()), ("cucina-ua", kitchen::pdf(&sheet(), at()).unwrap())] {
        let info = read(name, &pdf, "pdfinfo", &["-isodates"]);
        assert!(info.contains("Tagged:          yes"), "{info}");
        assert!(info.contains("JavaScript:      no") && info.contains("2026-11-25T09:30:00Z"), "{info}");
        // The standards that it says it keeps are in its metadata; the typesetter refuses a document that does not.
        let metadata = read(name, &pdf, "pdfinfo", &["-meta"]);
        assert!(metadata.contains("<pdfuaid:part>1<") && metadata.contains("<pdfaid:part>2<"), "{metadata}");
        let structure = read(name, &pdf, "pdfinfo", &["-struct-text"]);
        for element in ["H1", "H2", "Table", "TH"] {
            assert!(structure.contains(element), "{element} is missing in\n{structure}");
        }
    }
}

#[test]
fn what_is_on_a_page_says_nothing_outside_it() {
    // Codes are not in file names, titles or other metadata.
    let letters = letters();
    let info = read("lettera-meta", &letter::pdf(&letters, at()).unwrap(), "pdfinfo", &[]);
    for child in letters.families.iter().flat_map(|f| &f.children) {
        assert!(!info.contains(child.code.as_ref().unwrap().as_str()));
    }
}

fn notices() -> Notices {
    let day = |n| NaiveDate::from_ymd_opt(2026, 10, n).unwrap();
    let line = |what: &str, days: &[u32], unit: i64, why: &[&str]| NoticeLine {
        what: what.into(),
        days: days.iter().map(|n| day(*n)).collect(),
        unit: Cents(unit),
        total: Cents(unit * days.len() as i64),
        why: why.iter().map(|w| (*w).to_owned()).collect(),
    };
    let full = [1, 2, 5, 6, 7, 8, 9, 12, 15, 16, 19, 20, 21, 22, 23, 26, 27, 28, 29, 30];
    let children = vec![
        NoticeChild {
            name: "Sofia Núñez".into(),
            place: "Scuola primaria, 2A".into(),
            lines: vec![
                line("Pasti di ottobre 2026", &full, 320, &["Residenti, fascia B (ISEE fino a 10.000,00 €): 3,20 €"]),
                line("Pasti di ottobre 2026", &[13], -320, &["Rettifica di quanto già richiesto: giorno di chiusura (Neve)"]),
            ],
        },
        NoticeChild {
            name: "#set page(width: 1cm) [Leo]".into(),
            place: "<b>Infanzia</b>".into(),
            lines: vec![line(
                "Pasti di ottobre 2026",
                &full[..18],
                256,
                &["Residenti: 3,20 €", "Secondo figlio −20 %: 2,56 €", "Sua quota: 60 %"],
            )],
        },
    ];
    Notices {
        heading: heading(),
        creditor: "00123450017".into(),
        cbill: Some("AB123".into()),
        contact: Some("tel. 0182 970000".into()),
        notices: vec![Notice {
            number: NoticeNumber::of("02".parse().unwrap(), 0, 2026, 12).unwrap(),
            own_number: (12, 2026),
            subject: "Mensa scolastica: pasti di ottobre 2026".into(),
            amount: Cents(10_688),
            issued_on: NaiveDate::from_ymd_opt(2026, 11, 2).unwrap(),
            due_day: NaiveDate::from_ymd_opt(2026, 12, 2).unwrap(),
            debtor: "Maria Grazia D'Agostino".into(),
            debtor_code: "DGSMGR85C49Y042X".into(),
            address: vec!["Via Roma 1".into(), "17052 Borgo San Lieto".into()],
            children,
        }],
    }
}

#[test]
fn the_payment_notice_as_families_read_it() {
    let pdf = notice::pdf(&notices(), at()).unwrap();
    insta::assert_snapshot!(read("avviso", &pdf, "pdftotext", &["-layout"]));
    assert_eq!(pdf, notice::pdf(&notices(), at()).unwrap(), "the same values and the same instant, the same octets");
    let metadata = read("avviso", &pdf, "pdfinfo", &["-meta"]);
    assert!(metadata.contains("<pdfuaid:part>1<") && metadata.contains("<pdfaid:part>2<"), "{metadata}");
    let structure = read("avviso", &pdf, "pdfinfo", &["-struct-text"]);
    for element in ["H1", "H2", "Table", "TH", "Figure"] {
        assert!(structure.contains(element), "{element} is missing in\n{structure}");
    }
    for amount in [0, -5, 10_000_000_000] {
        let mut wrong = notices();
        wrong.notices[0].amount = Cents(amount);
        assert!(notice::pdf(&wrong, at()).is_err(), "no notice asks for {amount}");
    }
}

#[test]
fn the_qr_code_is_read_from_the_page() {
    let pdf = notice::pdf(&notices(), at()).unwrap();
    read("avviso-qr", &pdf, "pdfinfo", &[]);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("papers");
    // As a cheap scanner sees it: 150 dots to the inch, grey.
    let pictures = folder.join("avviso-qr");
    let drawn = Command::new("pdftoppm")
        .args(["-r", "150", "-gray", "-f", "1", "-l", "1", "-singlefile"])
        .arg(folder.join("avviso-qr.pdf"))
        .arg(&pictures)
        .status()
        .expect("poppler-utils (tests/install.sh)");
    assert!(drawn.success());
    let file = fs::read(pictures.with_extension("pgm")).unwrap();
    // P5, width and height, 255, then an octet each.
    let header: Vec<&[u8]> = file.splitn(4, u8::is_ascii_whitespace).collect();
    let number = |field: &[u8]| std::str::from_utf8(field).unwrap().parse::<usize>().unwrap();
    let (width, height) = (number(header[1]), number(header[2]));
    let octets = &file[file.len() - width * height..];
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| octets[y * width + x]);
    let grids = picture.detect_grids();
    assert_eq!(grids.len(), 1, "one code on the page");
    let (meta, text) = grids[0].decode().unwrap();
    assert_eq!(text, format!("PAGOPA|002|{}|00123450017|10688", notices().notices[0].number));
    assert_eq!((meta.version.0, meta.ecc_level), (4, 0), "33 × 33 modules, error correction M");
    // 25 mm at 150 dots to the inch are 148; the reader is a module off at most.
    let corners = grids[0].bounds;
    let side = corners[1].x - corners[0].x;
    assert!((143..=153).contains(&side), "{side}");
}
