//! The calls under way on this node, for whoever looks at the line, and for their records.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;

use super::{
    machine::Machine,
    path::{Path, Travelled},
    plan::Plan,
};
use crate::{
    canteen::EnteId,
    desk::{
        calls::masked,
        live::{LiveLine, LivePicture, MOST_SHOWN},
    },
    telephony::call::{IncomingCall, LiveQuality},
};

/// A call under way.
#[derive(Debug)]
pub struct LiveCall {
    ente: EnteId,
    trunk: String,
    caller: Option<String>,
    at: chrono::DateTime<chrono::Utc>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Since it was answered.
    talk: Option<(Arc<Plan>, Arc<LiveQuality>)>,
    path: Path,
}

impl LiveCall {
    /// A call that is about to be answered.
    pub fn new(call: &IncomingCall, ente: EnteId) -> Self {
        let (trunk, caller) = (call.trunk.clone(), call.caller.clone());
        Self { ente, trunk, caller, at: call.at, progress: Mutex::default() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has been answered, under this plan.
    pub fn answered(&self, plan: Arc<Plan>, quality: Arc<LiveQuality>) {
        self.progress().talk = Some((plan, quality));
    }

    /// Takes over the steps that the machine has made.
    pub fn follow(&self, machine: &mut Machine) {
        let Some(first) = machine.step() else { return };
        let mut progress = self.progress();
        progress.path.push(first);
        while let Some(step) = machine.step() {
            progress.path.push(step);
        }
    }

    /// Its way, once it is over; `None` where it was never answered.
    fn travelled(&self) -> Option<Travelled> {
        let mut progress = self.progress();
        let (plan, _) = progress.talk.clone()?;
        Some(Travelled { plan, path: std::mem::take(&mut progress.path) })
    }
}

/// The calls under way. Bounded by the places for calls: whoever is in here holds one.
#[derive(Debug, Default)]
pub struct LiveCalls {
    calls: Mutex<HashMap<String, Arc<LiveCall>>>,
}

impl LiveCalls {
    fn calls(&self) -> MutexGuard<'_, HashMap<String, Arc<LiveCall>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is about to be answered. [`LiveCalls::end`] follows for every one.
    pub fn begin(&self, call: &IncomingCall, ente: EnteId) {
        self.calls().insert(call.call_id.clone(), Arc::new(LiveCall::new(call, ente)));
    }

    /// The call with this id of ours.
    pub fn get(&self, call_id: &str) -> Option<Arc<LiveCall>> {
        self.calls().get(call_id).cloned()
    }

    /// It is over: the way that it took.
    pub fn end(&self, call_id: &str) -> Option<Travelled> {
        let call = self.calls().remove(call_id)?;
        call.travelled()
    }

    /// An ente's calls now: the longest ones one by one, callers' numbers masked, and how many in each place of all.
    pub fn picture(&self, ente: EnteId) -> LivePicture {
        // The lock is held only to copy pointers: answering calls waits for it.
        let mut calls: Vec<_> = self.calls().values().filter(|call| call.ente == ente).cloned().collect();
        let mut picture = LivePicture { calls: calls.len() as u64, ..LivePicture::default() };
        let mut steps: BTreeMap<String, u64> = BTreeMap::new();
        let mut trunks: BTreeMap<&str, u64> = BTreeMap::new();
        for call in &calls {
            *trunks.entry(&call.trunk).or_default() += 1;
            let progress = call.progress();
            let title = title(&progress).unwrap_or(RINGING);
            match steps.get_mut(title) {
                Some(n) => *n += 1,
                None => drop(steps.insert(title.to_owned(), 1)),
            }
        }
        picture.steps = steps.into_iter().collect();
        picture.trunks = trunks.into_iter().map(|(trunk, n)| (trunk.to_owned(), n)).collect();
        if calls.len() > MOST_SHOWN {
            calls.select_nth_unstable_by_key(MOST_SHOWN, |call| call.at);
            calls.truncate(MOST_SHOWN);
        }
        calls.sort_by_key(|call| call.at);
        picture.lines = calls.iter().map(|call| line(call)).collect();
        picture
    }
}

const RINGING: &str = "sta per essere risposta";

fn title(progress: &Progress) -> Option<&str> {
    let (plan, _) = progress.talk.as_ref()?;
    let state = progress.path.state().map_or(plan.start, usize::from);
    plan.states.get(state).map(|s| s.title.as_str())
}

fn line(call: &LiveCall) -> LiveLine {
    let progress = call.progress();
    let quality = progress.talk.as_ref().and_then(|(_, quality)| quality.get());
    LiveLine {
        caller: call.caller.as_deref().map(masked),
        trunk: call.trunk.clone(),
        at: call.at,
        step: title(&progress).unwrap_or(RINGING).to_owned(),
        loss: quality.map(|q| q.loss_per_10k),
        jitter_us: quality.map(|q| q.jitter_micros),
        mos: quality.map(|q| q.mos_x100),
    }
}

/// The line as the office sees it: this node's calls, and the plans in use.
#[derive(Debug, Clone)]
pub struct LineWatch {
    /// Calls under way.
    pub live: Arc<LiveCalls>,
    /// What this node is called among those that share a database: drawn at its start.
    pub node: String,
    /// Called numbers with whose they are and where they lead.
    pub plans: Vec<(EnteId, String, Arc<ArcSwap<Plan>>)>,
}

impl LineWatch {
    /// The plans in use for an ente, each once, with the numbers that lead there.
    pub fn plans_of(&self, ente: EnteId) -> Vec<(Arc<Plan>, Vec<String>)> {
        let mut plans: Vec<(Arc<Plan>, Vec<String>)> = Vec::new();
        for (_, number, plan) in self.plans.iter().filter(|(of, ..)| *of == ente) {
            let plan = plan.load_full();
            match plans.iter_mut().find(|(other, _)| other.source.fingerprint == plan.source.fingerprint) {
                Some((_, numbers)) => numbers.push(number.clone()),
                None => plans.push((plan, vec![number.clone()])),
            }
        }
        plans
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::voice::machine::Input;

    fn call(n: i64) -> IncomingCall {
        IncomingCall {
            call_id: n.to_string(),
            sip_call_id: String::new(),
            trunk: if n % 4 == 0 { "b" } else { "a" }.into(),
            caller: Some("3471234567".into()),
            called: "800123456".into(),
            diverted_from: None,
            user_agent: None,
            peer: ([127, 0, 0, 1], 5_060).into(),
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(n),
        }
    }

    #[test]
    fn of_many_calls_some_are_shown_and_all_are_counted() {
        let plan = Arc::new(Plan::load(std::path::Path::new("dialplans/mensa.toml")).unwrap());
        let live = LiveCalls::default();
        for n in 0..6_400 {
            live.begin(&call(n), EnteId(1 + n % 2));
        }
        let quality = Arc::new(LiveQuality::default());
        let one = live.get("100").unwrap();
        one.answered(Arc::clone(&plan), Arc::clone(&quality));
        let mut machine = Machine::new(Arc::clone(&plan));
        machine.handle(0, Input::Start);
        one.follow(&mut machine);
        let picture = live.picture(EnteId(1));
        assert_eq!((picture.calls, picture.lines.len()), (3_200, MOST_SHOWN));
        assert_eq!(picture.trunks, [("a".to_owned(), 1_600), ("b".to_owned(), 1_600)]);
        let of_step = |picture: &LivePicture, title: &str| picture.steps.iter().find(|(t, _)| t == title).map(|(_, n)| *n);
        assert_eq!((of_step(&picture, RINGING), of_step(&picture, &plan.states[0].title)), (Some(3_199), Some(1)));
        assert!(picture.lines.is_sorted_by_key(|l| l.at), "the longest first");
        let shown = &picture.lines[50];
        assert_eq!((shown.caller.as_deref(), shown.step.as_str(), shown.mos), (Some("3471******"), plan.states[0].title.as_str(), None));
        assert_eq!(live.end("100").and_then(|t| t.path.state()), Some(0));
        assert!(live.end("100").is_none() && live.end("102").is_none(), "the one is over, the other was never answered");
        assert_eq!(live.picture(EnteId(1)).calls, 3_198);
    }
}
