//! `voceguida rule --jsonl`: the rule for providers and auditors (design §3).

use std::{
    io::{self, BufRead, BufReader, BufWriter, Write},
    process::ExitCode,
};

use crate::canteen::case;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read a JSON case a line from standard input, write an answer a line, in order.
    #[arg(long, required = true)]
    jsonl: bool,
}

/// The longest line: a case with years of marks is some ten kilobytes.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// Answers every line.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than the longest, so that a longer one shows.
        let read = io::Read::take(&mut input, LONGEST_LINE + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let answer = if line.len() as u64 > LONGEST_LINE {
            input.skip_until(b'\n')?;
            r#"{"id":null,"error":"the line is too long"}"#.to_owned()
        } else {
            let text = String::from_utf8_lossy(&line);
            case::answer(text.trim_end_matches(['\n', '\r']))
        };
        output.write_all(answer.as_bytes())?;
        output.write_all(b"\n")?;
        // Someone at a terminal, or a program that asks and waits, gets its answer at once.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
