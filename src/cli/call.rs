//! `voceguida call URI --keys …`: a little SIP telephone.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    telephony::phone::{PhoneCall, PhoneConfig, dial, recogniser::Heard},
    voice::prompts::PromptLibrary,
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whom to call: sip:NUMBER@ADDRESS:PORT, with ;transport=tcp for TCP.
    uri: String,
    /// Keys to press in turn. A comma waits until the prompt has ended; ! hangs up.
    #[arg(long, default_value = "")]
    keys: String,
    /// Press over the voice: a comma is only a short pause.
    #[arg(long)]
    barge: bool,
    /// Write what was heard into this WAV file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Name the prompts that were heard, in order, recognised from the audio.
    #[arg(long)]
    heard: bool,
    /// For programs: one JSON object at the end.
    #[arg(long)]
    json: bool,
    /// The calling number.
    #[arg(long, default_value = "0101234567")]
    from: String,
    /// Hang up after so many seconds at the latest.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The prompts to recognise.
    #[arg(long, value_name = "DIR", default_value = "prompts/it")]
    prompts: PathBuf,
}

/// How long a comma waits for the prompt's end.
const COMMA: Duration = Duration::from_secs(60);
/// A comma while pressing over the voice.
const BARGE_PAUSE: Duration = Duration::from_millis(300);

/// Calls.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let library = if args.heard || args.prompts.join("manifest.toml").exists() { Some(PromptLibrary::load(&args.prompts)?) } else { None };
    let config = PhoneConfig {
        clips: library.as_ref().map(PromptLibrary::clips).unwrap_or_default(),
        caller: args.from.clone(),
        record: args.record.is_some(),
        ..PhoneConfig::default()
    };
    let began = Instant::now();
    let end = began + Duration::from_secs(args.timeout);
    let call = dial(&args.uri, config).await?;
    let told = |what: String| {
        if !args.json {
            println!("{:>6.1} s  {what}", began.elapsed().as_secs_f64());
        }
    };
    told(format!("answered by {}", args.uri));
    let outcome = timeout_at(end, follow(&call, &args, &told)).await;
    let ending = match outcome {
        Ok(ending) => ending,
        Err(_) => "time is up: we hang up",
    };
    if !call.is_over() {
        call.hang_up().await;
        sleep(Duration::from_millis(100)).await;
    }
    told(ending.to_owned());
    let heard = call.heard();
    if let Some(path) = &args.record {
        call.save(path).with_context(|| path.display().to_string())?;
    }
    report(&args, &call, &heard, library.as_ref(), ending);
    Ok(ExitCode::SUCCESS)
}

/// Presses the keys and waits for the end.
async fn follow(call: &PhoneCall, args: &Args, told: &impl Fn(String)) -> &'static str {
    let mut keys = String::new();
    for key in args.keys.chars().chain([',']) {
        match key {
            ',' | '!' => {
                // The line speaks first; keys before the first comma are pressed into its greeting's end.
                if !keys.is_empty() {
                    if !args.barge {
                        call.wait_quiet(COMMA).await;
                    } else {
                        sleep(BARGE_PAUSE).await;
                    }
                    told(format!("pressed {}", covered(&keys)));
                    call.press(&std::mem::take(&mut keys)).await;
                }
                if key == '!' {
                    return "we hang up";
                }
            }
            _ => keys.push(key),
        }
        if call.is_over() {
            return "the line hung up";
        }
    }
    call.wait_ended(Duration::from_secs(args.timeout)).await;
    "the line hung up"
}

/// A code is not shown: what is printed gets into logs and onto screens.
fn covered(keys: &str) -> String {
    if keys.chars().filter(char::is_ascii_digit).count() < 5 { keys.to_owned() } else { keys.replace(|c: char| c.is_ascii_digit(), "•") }
}

fn report(args: &Args, call: &PhoneCall, heard: &[Heard], library: Option<&PromptLibrary>, ending: &str) {
    if args.json {
        let list: Vec<_> = heard.iter().map(|h| json!({ "name": h.name, "complete": h.complete, "start_ms": h.start_ms })).collect();
        println!("{}", json!({ "heard": list, "packets": call.packets(), "end": ending }));
    } else if args.heard {
        println!("\nHeard:");
        for h in heard {
            let cut = if h.complete { "" } else { " (cut short)" };
            let text = library.and_then(|l| l.text(&h.name)).unwrap_or_default();
            println!("{:>6.1} s  {}{cut}: {text}", h.start_ms as f64 / 1000.0, h.name);
        }
    }
}
