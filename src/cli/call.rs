//! `voceguida call`: a little SIP phone on the command line.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use tokio::time::{sleep, timeout};

use crate::telephony::{
    clip::Clip,
    phone::{CallEnd, Heard, Phone, PhoneCall, PhoneConfig, PhoneError, keys::KeyScript},
};

/// Exit code of a call that was refused or not answered.
const REFUSED: u8 = 2;
/// Exit code of a call cut short by `--timeout`.
const TIMED_OUT: u8 = 3;

/// Calls a SIP URI, presses keys, listens.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// Whom to call, for instance `sip:0182970000@127.0.0.1:5060`, with `;transport=tcp` for TCP
    pub uri: String,
    /// Keys to press: digits, * and #; a comma waits for the end of the prompt, ! hangs up
    #[arg(long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub keys: KeyScript,
    /// Do not wait at commas: press into the prompt after a pause of 300 ms
    #[arg(long)]
    pub barge: bool,
    /// Write what was heard to this WAV file (16 bit, mono, 8 kHz)
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Name the prompts that were heard, recognised from the audio alone
    #[arg(long)]
    pub heard: bool,
    /// Print the outcome as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Give up after this many seconds in all
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Hang up this many seconds after the last key
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub hangup_after: Option<Duration>,
    /// The number to call from
    #[arg(long, value_name = "NUMBER", default_value = "0182000001")]
    pub from: String,
    /// Withhold the number
    #[arg(long, conflicts_with = "from")]
    pub anonymous: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// How the call went, as `--json` tells it.
#[derive(Debug, serde::Serialize)]
struct Outcome<'a> {
    /// SIP status of the INVITE, 200 when answered; `null` when none came.
    status: Option<u16>,
    /// `they_hung_up`, `we_hung_up`, `lost`, `timeout`, `refused` or `failed`.
    end: &'a str,
    /// The error in words, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Audio packets received.
    packets_received: u64,
    /// The prompts recognised.
    heard: Vec<Heard>,
}

/// Makes the call `args` ask for; `clips` are the prompts it can name. Exit code 0 when it was
/// answered and ended in order, 2 when it was refused or not answered, 3 after `--timeout`, 1 when it broke off.
pub async fn run(args: CallArgs, clips: Vec<Arc<Clip>>) -> anyhow::Result<ExitCode> {
    let mut config = PhoneConfig::new(&clips);
    config.caller = (!args.anonymous).then(|| args.from.clone());
    config.record = args.record.is_some();
    config.barge = args.barge;
    if let Some(limit) = args.timeout {
        config.answer_timeout = config.answer_timeout.min(limit);
    }
    let say = |line: String| {
        if !args.json {
            println!("{line}");
        }
    };
    say(format!("Chiamo {}", args.uri));
    let call = match Phone::dial(&args.uri, config).await {
        Ok(call) => call,
        Err(error) => return not_answered(&args, &error),
    };
    say("Risposto".to_owned());
    if !args.keys.steps().is_empty() {
        say(format!("Tasti: {}", args.keys.masked()));
    }
    let limit = args.timeout.unwrap_or(Duration::MAX);
    let talked = tokio::select! {
        talked = timeout(limit, talk(&call, &args)) => Some(talked),
        // Ctrl-C puts the receiver down, as one does.
        signal = tokio::signal::ctrl_c() => { signal.context("Ctrl-C cannot be heard")?; None }
    };
    let (end, code) = match talked {
        Some(Ok(end)) => {
            let end = end?;
            match end {
                CallEnd::TheyHungUp => ("they_hung_up", ExitCode::SUCCESS),
                CallEnd::WeHungUp => ("we_hung_up", ExitCode::SUCCESS),
                CallEnd::Lost => ("lost", ExitCode::FAILURE),
            }
        }
        Some(Err(_)) => ("timeout", ExitCode::from(TIMED_OUT)),
        None => ("we_hung_up", ExitCode::SUCCESS),
    };
    // A BYE without an answer does not make what was heard unheard: it is told, then reported.
    let hung_up = call.hang_up().await;
    if let Some(path) = &args.record {
        write_wav(path, &call.recording()).with_context(|| format!("{} cannot be written", path.display()))?;
        say(format!("Registrato in {}", path.display()));
    }
    let heard = call.heard();
    if args.json {
        let outcome = Outcome { status: Some(200), end, error: None, packets_received: call.packets_received(), heard };
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        if args.heard {
            for heard in &heard {
                println!("{}", line(heard));
            }
        }
        println!("{}", in_words(end));
    }
    hung_up.context("hanging up")?;
    Ok(code)
}

/// Presses the keys and stays to the end of the call.
async fn talk(call: &PhoneCall, args: &CallArgs) -> Result<CallEnd, PhoneError> {
    match call.run(&args.keys).await {
        Ok(()) => {}
        // The server may hang up with keys still to press: that is an end like any other.
        Err(PhoneError::Over) => return Ok(call.end().unwrap_or(CallEnd::Lost)),
        Err(error) => return Err(error),
    }
    if let Some(after) = args.hangup_after {
        tokio::select! {
            () = sleep(after) => {}
            end = call.wait_ended(Duration::MAX) => return Ok(end.unwrap_or(CallEnd::Lost)),
        }
        call.hang_up().await?;
        return Ok(CallEnd::WeHungUp);
    }
    Ok(call.wait_ended(Duration::MAX).await.unwrap_or(CallEnd::Lost))
}

fn not_answered(args: &CallArgs, error: &PhoneError) -> anyhow::Result<ExitCode> {
    let status = if let PhoneError::Refused { status, .. } = error { Some(*status) } else { None };
    if args.json {
        let end = if status.is_some() { "refused" } else { "failed" };
        let outcome = Outcome { status, end, error: Some(error.to_string()), packets_received: 0, heard: Vec::new() };
        println!("{}", serde_json::to_string(&outcome)?);
    } else if let PhoneError::Refused { status, reason } = error {
        eprintln!("Chiamata rifiutata: {status} {reason}");
    } else {
        eprintln!("Chiamata non riuscita: {error}");
    }
    Ok(ExitCode::from(REFUSED))
}

/// `00:03.240  welcome`, with what is uncertain about it.
fn line(heard: &Heard) -> String {
    let (minutes, seconds, ms) = (heard.start_ms / 60_000, heard.start_ms / 1_000 % 60, heard.start_ms % 1_000);
    let also = if heard.also.is_empty() { String::new() } else { format!(" (oppure {})", heard.also.join(", ")) };
    let broken_off = if heard.complete { "" } else { " (interrotto)" };
    format!("{minutes:02}:{seconds:02}.{ms:03}  {}{also}{broken_off}", heard.name)
}

fn in_words(end: &str) -> &'static str {
    match end {
        "they_hung_up" => "La linea ha chiuso la chiamata",
        "we_hung_up" => "Chiamata chiusa",
        "timeout" => "Tempo scaduto, chiamata chiusa",
        _ => "Chiamata caduta",
    }
}

fn write_wav(path: &Path, samples: &[i16]) -> hound::Result<()> {
    let spec = hound::WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for &sample in samples {
        writer.write_sample(sample)?;
    }
    writer.finalize()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        call: CallArgs,
    }

    #[test]
    fn the_arguments_read_as_written_and_a_code_is_not_shown() {
        let args = Program::try_parse_from(["call", "sip:1@h", "--keys", "1234567#,1,1!", "--heard", "--timeout", "2.5"]).unwrap().call;
        assert_eq!(args.keys.masked(), "•••••••#,1,1!");
        assert_eq!(args.timeout, Some(Duration::from_millis(2_500)));
        assert!(!format!("{args:?}").contains("1234567"));
        for bad in [vec!["--keys", "12x"], vec!["--timeout", "-1"], vec!["--timeout", "soon"]] {
            let words = ["call", "sip:1@h"].into_iter().chain(bad);
            assert!(Program::try_parse_from(words).is_err());
        }
    }

    #[test]
    fn a_prompt_is_told_on_a_line() {
        let heard = Heard { name: "benvenuto".into(), also: vec![], complete: true, start_ms: 63_240, frames_matched: 9 };
        assert_eq!(line(&heard), "01:03.240  benvenuto");
        let heard = Heard { also: vec!["saluto".into()], complete: false, start_ms: 20, ..heard };
        assert_eq!(line(&heard), "00:00.020  benvenuto (oppure saluto) (interrotto)");
    }
}
