//! What an office uploads: one to three files, cut at form feeds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voceguida::{
    canteen::code::has_valid_check_digit,
    desk::roster_file::{Known, SourceFile, read},
};

fuzz_target!(|bytes: &[u8]| {
    let files: Vec<_> = bytes.splitn(3, |b| *b == 0x0c).map(|bytes| SourceFile { name: "f.csv", bytes }).collect();
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
