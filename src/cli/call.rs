//! `voceguida call URI --keys …`: a little SIP telephone.

use std::{path::PathBuf, process::ExitCode, str::FromStr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    telephony::{
        clip::Clip,
        phone::{
            CallEnd, Phone, PhoneCall, PhoneConfig, PhoneError,
            keys::KeyScript,
            transcript::{Moment, What},
        },
        rtp::srtp::Suite,
    },
    voice::prompts::PromptLibrary,
};

/// Exit code of a call that was refused or not answered.
const REFUSED: u8 = 2;
/// How often what is new is looked for and shown.
const GLANCE: Duration = Duration::from_millis(100);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whom to call: sip:NUMBER@ADDRESS:PORT, with ;transport=tcp for TCP.
    uri: String,
    /// Keys to press in turn. A comma waits until the prompt has ended; ! hangs up.
    #[arg(long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    keys: KeyScript,
    /// Press over the voice: a comma is only a short pause.
    #[arg(long)]
    barge: bool,
    /// After --keys: once this prompt is heard, press these keys. May be given several times, in order.
    #[arg(long, value_name = "PROMPT=KEYS")]
    press_on: Vec<PressOn>,
    /// Write what was heard into this WAV file (16 bit, mono, 8 kHz).
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Name the prompts that were heard, in order, recognised from the audio.
    #[arg(long)]
    heard: bool,
    /// For programs: one JSON object at the end.
    #[arg(long)]
    json: bool,
    /// The calling number; "anonymous" withholds it.
    #[arg(long, default_value = "0101234567")]
    from: String,
    /// Encrypt the audio (SRTP, keys in SDP), and take nothing else. A suite may be named, as in
    /// --srtp=AEAD_AES_128_GCM.
    #[arg(long, value_name = "SUITE", num_args = 0..=1, require_equals = true, default_missing_value = "AES_CM_128_HMAC_SHA1_80", value_parser = suite)]
    srtp: Option<Suite>,
    /// Hang up so many seconds after the last key.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    hangup_after: Option<Duration>,
    /// Hang up after so many seconds at the latest.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    timeout: Duration,
    /// The prompts to recognise.
    #[arg(long, value_name = "DIR", default_value = "prompts/it")]
    prompts: PathBuf,
}

/// `PROMPT=KEYS`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PressOn {
    prompt: String,
    keys: KeyScript,
}

impl FromStr for PressOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prompt, keys) = text.split_once('=').ok_or("PROMPT=KEYS is wanted")?;
        Ok(Self { prompt: prompt.to_owned(), keys: keys.parse().map_err(|error| format!("{error}"))? })
    }
}

/// More than a day is a slip of the hand.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    if (0.0..=86_400.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err("0 to 86400 seconds".to_owned()) }
}

fn suite(text: &str) -> Result<Suite, String> {
    Suite::named(text).ok_or_else(|| format!("one of {} is wanted", Suite::ALL.map(Suite::name).join(", ")))
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
    packets: u64,
    /// The prompts recognised.
    heard: Vec<crate::telephony::phone::Heard>,
}

/// Calls. Exit code 0 when the call was answered and ended in order (by either side, or by
/// `--timeout`), 2 when it was refused or not answered, 1 when it broke off or could not be made.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let wanted = args.heard || !args.press_on.is_empty() || args.prompts.join("manifest.toml").exists();
    let library = if wanted { Some(PromptLibrary::load(&args.prompts)?) } else { None };
    if let Some(unknown) = args.press_on.iter().find(|on| !library.as_ref().is_some_and(|library| library.contains(&on.prompt))) {
        anyhow::bail!("--press-on: there is no prompt {:?} in {}", unknown.prompt, args.prompts.display());
    }
    let clips = library.as_ref().map(PromptLibrary::clips).unwrap_or_default();
    call(args, &clips, |name| library.as_ref().and_then(|l| l.text(name)).map(str::to_owned)).await
}

/// Calls, with these prompts to recognise and their texts.
pub async fn call(args: Args, clips: &[Arc<Clip>], text: impl Fn(&str) -> Option<String>) -> anyhow::Result<ExitCode> {
    let config = PhoneConfig {
        clips: clips.to_vec(),
        caller: if args.from == "anonymous" { String::new() } else { args.from.clone() },
        record: args.record.is_some(),
        barge: args.barge,
        srtp: args.srtp,
        answer_timeout: args.timeout.min(Duration::from_mins(1)),
        ..PhoneConfig::default()
    };
    let until = Instant::now() + args.timeout;
    let call = match Phone::dial(&args.uri, config).await {
        Ok(call) => call,
        Err(error) => return not_answered(&args, &error),
    };
    if !args.json {
        println!("00:00.0 answered by {}", args.uri);
    }
    let mut shown = Shown::new(args.json);
    let talking = timeout_at(until, talk(&call, &args));
    tokio::pin!(talking);
    let talked = loop {
        tokio::select! {
            talked = &mut talking => break Some(talked),
            // Ctrl-C puts the receiver down, as one does.
            signal = tokio::signal::ctrl_c() => { signal.context("listening for Ctrl-C")?; break None }
            () = sleep(GLANCE) => shown.show(&call, false),
        }
    };
    let end = match talked {
        Some(Ok(end)) => Some(end?),
        Some(Err(_)) => None,
        None => Some(CallEnd::WeHungUp),
    };
    // A BYE without an answer does not make what was heard unheard: it is told all the same.
    let hung_up = call.hang_up().await;
    shown.show(&call, true);
    if let Some(path) = &args.record {
        call.save(path).with_context(|| path.display().to_string())?;
    }
    report(&args, &call, end, text)?;
    anyhow::ensure!(hung_up, "our BYE was not answered");
    Ok(if end == Some(CallEnd::Lost) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Presses the keys and stays to the end of the call.
async fn talk(call: &PhoneCall, args: &Args) -> Result<CallEnd, PhoneError> {
    match press(call, args).await {
        Ok(()) => {}
        // The line may hang up with keys still to press: that is an end like any other.
        Err(PhoneError::Over) => return Ok(call.end().unwrap_or(CallEnd::Lost)),
        Err(error) => return Err(error),
    }
    if let Some(after) = args.hangup_after {
        tokio::select! {
            () = sleep(after) => drop(call.hang_up().await),
            _ = call.wait_ended(Duration::MAX) => {}
        }
    }
    call.wait_ended(Duration::MAX).await;
    Ok(call.end().unwrap_or(CallEnd::Lost))
}

async fn press(call: &PhoneCall, args: &Args) -> Result<(), PhoneError> {
    call.run(&args.keys).await?;
    let mut seen = 0;
    for step in &args.press_on {
        seen = call.wait_heard_after(seen, &step.prompt, Duration::MAX).await.ok_or(PhoneError::Over)?;
        call.run(&step.keys).await?;
    }
    Ok(())
}

/// How much of the call was printed while it ran.
struct Shown {
    heard: usize,
    others: usize,
    silent: bool,
}

impl Shown {
    fn new(silent: bool) -> Self {
        Self { heard: 0, others: 0, silent }
    }

    /// Prints what is new. A prompt is told when nothing can change what it is any more: it has
    /// ended, another follows it, or the call is over.
    fn show(&mut self, call: &PhoneCall, over: bool) {
        if self.silent {
            return;
        }
        let (heard, others): (Vec<_>, Vec<_>) = call.transcript().into_iter().partition(|moment| matches!(moment.what, What::Heard(_)));
        let is_settled = |&(index, moment): &(usize, &Moment)| {
            over || index + 1 < heard.len() || matches!(&moment.what, What::Heard(prompt) if prompt.complete)
        };
        let settled = heard.iter().enumerate().take_while(is_settled).count();
        let mut new: Vec<_> = heard.iter().take(settled).skip(self.heard).chain(others.iter().skip(self.others)).collect();
        new.sort_by_key(|moment| moment.at_ms);
        for moment in new {
            println!("{moment}");
        }
        (self.heard, self.others) = (settled.max(self.heard), others.len());
    }
}

fn not_answered(args: &Args, error: &PhoneError) -> anyhow::Result<ExitCode> {
    let status = if let PhoneError::Refused { status, .. } = error { Some(*status) } else { None };
    if args.json {
        let end = if status.is_some() { "refused" } else { "failed" };
        let outcome = Outcome { status, end, error: Some(error.to_string()), packets: 0, heard: Vec::new() };
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        eprintln!("voceguida: {}: {error}", args.uri);
    }
    Ok(ExitCode::from(REFUSED))
}

/// What is told after the call; `end` is `None` when the time was up.
fn report(args: &Args, call: &PhoneCall, end: Option<CallEnd>, text: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    let heard = call.heard();
    if args.json {
        let end = match end {
            Some(CallEnd::TheyHungUp) => "they_hung_up",
            Some(CallEnd::WeHungUp) => "we_hung_up",
            Some(CallEnd::Lost) => "lost",
            None => "timeout",
        };
        println!("{}", serde_json::to_string(&Outcome { status: Some(200), end, error: None, packets: call.packets(), heard })?);
        return Ok(());
    }
    if end.is_none() {
        println!("{} s are up: we hung up", args.timeout.as_secs_f64());
    }
    if args.heard {
        println!("\nHeard:");
        for heard in &heard {
            println!("  {heard}: {}", text(&heard.name).unwrap_or_default());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        call: Args,
    }

    fn read(words: &[&str]) -> Result<Args, clap::Error> {
        Program::try_parse_from(["call", "sip:1@h"].iter().chain(words)).map(|program| program.call)
    }

    #[test]
    fn the_arguments_read_as_written_and_a_code_is_not_shown() {
        let args = read(&["--keys", "3456781#,1,1!", "--heard", "--timeout", "2.5", "--press-on", "codice=7654321#"]).unwrap();
        assert_eq!(args.keys.masked(), "•••••••#,1,1!");
        assert_eq!(args.timeout, Duration::from_millis(2_500));
        assert_eq!(args.press_on[0].prompt, "codice");
        let shown = format!("{args:?}");
        assert!(!shown.contains("3456781") && !shown.contains("7654321"), "{shown}");
    }

    #[test]
    fn slips_of_the_hand_are_told() {
        for bad in [["--keys", "12x"], ["--timeout", "-1"], ["--timeout", "soon"], ["--timeout", "1e9"], ["--press-on", "12"]] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
    }
}
