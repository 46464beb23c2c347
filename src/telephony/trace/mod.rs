//! SIP as it goes by, for whoever has to find out why a call failed: to a HEP collector (Homer) or into capture files,
//! for all calls or for chosen ones, switched while the service runs.
//!
//! Keys never get in: INFO bodies are masked ([`mask`]), and RTP, which carries the other keys (RFC 4733), is not traced.

pub mod hep;
pub mod mask;
pub mod pcap;
mod tap;
mod writer;

use std::{
    collections::{HashSet, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use serde::Deserialize;

pub use self::tap::Tap;
use self::writer::Writer;
use super::call::IncomingCall;

/// The longest message that is shown whole.
const LONGEST_PAYLOAD: usize = 60_000;
/// Calls under trace that are remembered; the oldest are forgotten.
const MOST_CALLS: usize = 20_000;

/// Where traces go, and of which calls: `[trace]`. Without a choice, all SIP is traced, also what is no call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// A collector that takes HEP version 3 over UDP.
    pub hep: Option<SocketAddr>,
    /// Our number at the collector.
    #[serde(default = "default_node")]
    pub hep_node: u32,
    /// Our key at the collector.
    pub hep_key: Option<String>,
    /// A directory for capture files.
    pub pcap: Option<PathBuf>,
    /// Only calls of these trunks.
    #[serde(default)]
    pub trunks: Vec<String>,
    /// Only calls from numbers that end like this.
    #[serde(default)]
    pub callers: Vec<String>,
    /// Only calls to numbers that end like this.
    #[serde(default)]
    pub called: Vec<String>,
}

fn default_node() -> u32 {
    2_001
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { hep: None, hep_node: default_node(), hep_key: None, pcap: None, trunks: vec![], callers: vec![], called: vec![] }
    }
}

impl TraceSettings {
    /// Is everything traced?
    fn all(&self) -> bool {
        self.trunks.is_empty() && self.callers.is_empty() && self.called.is_empty()
    }

    /// Is this call to be traced? Every list that is not empty has to name it.
    pub fn wants(&self, call: &IncomingCall) -> bool {
        let ends = |list: &[String], number: Option<&str>| list.is_empty() || number.is_some_and(|n| list.iter().any(|end| is_end(n, end)));
        let trunk = self.trunks.is_empty() || self.trunks.contains(&call.trunk);
        let first = call.diverted_from.as_deref().is_some_and(|n| ends(&self.called, Some(n)));
        trunk && ends(&self.callers, call.caller.as_deref()) && (ends(&self.called, Some(&call.called)) || first)
    }
}

/// Does the number end with these digits, however the prefix is written?
fn is_end(number: &str, end: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let end = digits(end);
    !end.is_empty() && digits(number).ends_with(&end)
}

/// One message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    at: DateTime<Utc>,
    stream: bool,
    source: SocketAddr,
    destination: SocketAddr,
    call_id: String,
    payload: Vec<u8>,
}

impl Packet {
    /// A message without its secrets; `stream` where it went over TCP or TLS.
    pub fn new(at: DateTime<Utc>, stream: bool, source: SocketAddr, destination: SocketAddr, call_id: String, message: &[u8]) -> Self {
        let mut payload = mask::masked(message);
        payload.truncate(LONGEST_PAYLOAD);
        Self { at, stream, source, destination, call_id, payload }
    }

    /// Both ends, in one family.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let six = |end: SocketAddr| match end.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        if self.source.is_ipv4() == self.destination.is_ipv4() {
            (self.source, self.destination)
        } else {
            (six(self.source), six(self.destination))
        }
    }

    /// The number of the transport in the IP header.
    fn protocol(&self) -> u8 {
        if self.stream { 6 } else { 17 }
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.at.timestamp()).unwrap_or_default()
    }

    fn micros(&self) -> u32 {
        self.at.timestamp_subsec_micros()
    }
}

/// The trace, off until it is set. Cheap to clone; all clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// A quick look for the usual case that nothing is traced.
    on: AtomicBool,
    active: ArcSwapOption<Active>,
    calls: Mutex<Calls>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Active {
    settings: TraceSettings,
    writer: Writer,
}

/// SIP Call-IDs under trace.
#[derive(Debug, Default)]
struct Calls {
    ids: HashSet<String>,
    oldest: VecDeque<String>,
}

impl Trace {
    /// Begins, changes or (`None`) ends the trace. What has been traced before is still written.
    ///
    /// # Errors
    /// Where the collector's socket or the directory cannot be used; everything is as before then.
    pub fn set(&self, settings: Option<TraceSettings>) -> io::Result<()> {
        let Some(settings) = settings.filter(|s| s.hep.is_some() || s.pcap.is_some()) else {
            self.0.on.store(false, Ordering::Relaxed);
            self.0.active.store(None);
            return Ok(());
        };
        if self.0.active.load().as_ref().is_some_and(|active| active.settings == settings) {
            return Ok(());
        }
        let writer = writer::start(&settings)?;
        self.0.active.store(Some(Arc::new(Active { settings, writer })));
        self.0.on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the trace and waits until all is written.
    pub fn finish(&self) {
        self.0.on.store(false, Ordering::Relaxed);
        // Whoever is just tracing a message holds it for a moment longer: then its thread ends by itself.
        if let Some(active) = self.0.active.swap(None).and_then(Arc::into_inner) {
            drop(active.writer.queue);
            // A thread that has failed has nothing left to write.
            let _ = active.writer.thread.join();
        }
    }

    /// Messages that were to be traced and were not, because the writer was too slow.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// From here on this call is traced, where it is to be; `true` where it has been chosen, and its INVITE
    /// has gone by untraced.
    fn choose(&self, call: &IncomingCall) -> bool {
        let active = self.0.active.load();
        if !active.as_ref().is_some_and(|active| !active.settings.all() && active.settings.wants(call)) {
            return false;
        }
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.ids.insert(call.sip_call_id.clone()) {
            calls.oldest.push_back(call.sip_call_id.clone());
        }
        while calls.oldest.len() > MOST_CALLS {
            if let Some(oldest) = calls.oldest.pop_front() {
                calls.ids.remove(&oldest);
            }
        }
        true
    }

    /// Is a message of this Call-ID to be traced?
    fn traces(&self, call_id: &str) -> bool {
        self.0.active.load().as_ref().is_some_and(|active| {
            active.settings.all() || self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).ids.contains(call_id)
        })
    }

    fn write(&self, packet: Packet) {
        if let Some(active) = self.0.active.load().as_ref()
            && active.writer.queue.try_send(packet).is_err()
        {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(trunk: &str, caller: Option<&str>, called: &str) -> IncomingCall {
        IncomingCall {
            call_id: "1".into(),
            sip_call_id: format!("{trunk}-{called}"),
            trunk: trunk.into(),
            caller: caller.map(Into::into),
            called: called.into(),
            diverted_from: Some("0182970000".into()),
            user_agent: None,
            peer: "192.0.2.9:5060".parse().unwrap(),
            at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn calls_are_chosen_by_trunk_and_numbers() {
        let list = |text: &str| text.split_whitespace().map(Into::into).collect::<Vec<String>>();
        let parent = call("operatore", Some("+393471234567"), "800123456");
        for (trunks, callers, called, wanted) in [
            ("", "", "", true),
            ("operatore", "", "", true),
            ("altro", "", "", false),
            ("altro operatore", "347-1234567", "", true),
            ("operatore", "3471234568", "", false),
            ("", "", "800123456", true),
            ("", "", "0182970000", true),
            ("", "4567", "999", false),
            ("", "x", "", false),
        ] {
            let settings = TraceSettings { trunks: list(trunks), callers: list(callers), called: list(called), ..TraceSettings::default() };
            assert_eq!(settings.wants(&parent), wanted, "{trunks}/{callers}/{called}");
        }
        let by_caller = TraceSettings { callers: list("4567"), ..TraceSettings::default() };
        assert!(!by_caller.wants(&call("operatore", None, "800123456")), "a withheld number is nobody's");
    }

    #[test]
    fn a_trace_is_switched_and_remembers_its_calls() {
        let dir = tempfile::tempdir().unwrap();
        let trace = Trace::default();
        assert!(!trace.is_on() && !trace.choose(&call("a", None, "1")) && !trace.traces("a-1"));
        let some = TraceSettings { pcap: Some(dir.path().into()), trunks: vec!["a".into()], ..TraceSettings::default() };
        trace.set(Some(some)).unwrap();
        assert!(trace.choose(&call("a", None, "1")) && !trace.choose(&call("b", None, "1")));
        assert!(trace.traces("a-1") && !trace.traces("b-1"));
        for n in 0..MOST_CALLS {
            trace.choose(&call("a", None, &format!("9{n}")));
        }
        assert!(!trace.traces("a-1") && trace.traces("a-90"));
        let all = TraceSettings { pcap: Some(dir.path().into()), ..TraceSettings::default() };
        trace.set(Some(all)).unwrap();
        assert!(trace.traces("anything") && !trace.choose(&call("a", None, "1")));
        trace.set(None).unwrap();
        assert!(!trace.is_on() && !trace.traces("anything"));
        trace.finish();
    }
}
