//! The line: runs a dialplan on every call that telephony answers, and asks the desk.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until, timeout},
};
use tracing::{Instrument as _, info, warn};

use super::{
    live::{LiveCall, LiveCalls},
    machine::{Input, Machine, Output, Reply, Request},
    path::Travelled,
    plan::Plan,
    prompts::{PromptLibrary, Shelf},
};
use crate::{
    canteen::EnteId,
    desk::line::{Caller, DeskUnavailable, LineDesk},
    telephony::{
        call::{Admission, Call, CallCommand, CallEvent, CallHandler, CallRecord, IncomingCall},
        clip::Clip,
    },
};

/// How long a caller waits for the desk before hearing that nothing was recorded.
const DESK_PATIENCE: Duration = Duration::from_secs(5);

/// Where a called number leads.
#[derive(Debug, Clone)]
pub struct Route {
    /// Whose canteen.
    pub ente: EnteId,
    /// Under which plan; swapped by a reload. A call keeps the one it began with.
    pub plan: Arc<ArcSwap<Plan>>,
}

/// Keeps the call detail records.
pub trait CallLog: Send + Sync + 'static {
    /// Writes a record down, with the way that the call took where it was answered.
    fn record(&self, ente: Option<EnteId>, record: CallRecord, way: Option<Travelled>) -> impl Future<Output = ()> + Send;
}

/// All that calls need.
#[derive(Debug)]
pub struct Line<D, L> {
    desk: Arc<D>,
    log: L,
    routes: HashMap<String, Route>,
    /// By trunk and called number; these go before `routes`.
    trunk_routes: HashMap<(String, String), Route>,
    prompts: Arc<Shelf>,
    live: Arc<LiveCalls>,
    /// Where the desk is asked: not on the thread that signalling runs on.
    desk_work: Handle,
}

impl<D: LineDesk, L: CallLog> Line<D, L> {
    /// A line with these called numbers. Belongs in the runtime that the desk is to be asked in.
    pub fn new(desk: Arc<D>, log: L, routes: HashMap<String, Route>, prompts: Arc<Shelf>) -> Self {
        Self { desk, log, routes, trunk_routes: HashMap::new(), prompts, live: Arc::default(), desk_work: Handle::current() }
    }

    /// With these called numbers besides, by trunk and number: the same number may lead elsewhere on
    /// another trunk, or nowhere.
    #[must_use]
    pub fn with_trunk_routes(self, trunk_routes: HashMap<(String, String), Route>) -> Self {
        Self { trunk_routes, ..self }
    }

    /// The calls under way.
    pub fn live(&self) -> Arc<LiveCalls> {
        Arc::clone(&self.live)
    }

    /// Where a call leads: by the number in the request, or, where that is none of ours (a trunk's main number), by the one
    /// that was called first and forwarded here. A trunk's own numbers go before those of all trunks.
    fn route(&self, call: &IncomingCall) -> Option<&Route> {
        let of = |number: &String| self.trunk_routes.get(&(call.trunk.clone(), number.clone())).or_else(|| self.routes.get(number));
        of(&call.called).or_else(|| of(call.diverted_from.as_ref()?))
    }
}

impl<D: LineDesk, L: CallLog> CallHandler for Line<D, L> {
    async fn admit(&self, call: &IncomingCall) -> Admission {
        match self.route(call) {
            Some(route) => {
                self.live.begin(call, route.ente);
                Admission::Answer
            }
            None => Admission::Refuse { status: 404, cause: "unknown number".to_owned() },
        }
    }

    async fn run(&self, mut call: Call) {
        let Some(route) = self.route(&call.info) else { return };
        let caller = Caller { call_id: call.info.call_id.clone(), ente: route.ente, number: call.info.caller.clone() };
        let plan = route.plan.load_full();
        // The caller may have gone in the very moment of the answer: then nobody looks any more.
        let live = self.live.get(&call.info.call_id).unwrap_or_else(|| Arc::new(LiveCall::new(&call.info, route.ente)));
        live.answered(Arc::clone(&plan), Arc::clone(&call.quality));
        let mut talk = Talk {
            machine: Machine::new(plan),
            live,
            desk: Arc::clone(&self.desk),
            desk_work: self.desk_work.clone(),
            prompts: self.prompts.library(route.ente),
            caller,
            began: Instant::now(),
        };
        talk.run(&mut call).await;
    }

    async fn finished(&self, record: CallRecord) {
        let ente = self.route(&record.call).map(|route| route.ente);
        let way = self.live.end(&record.call.call_id);
        self.log.record(ente, record, way).await;
    }
}

/// One call.
struct Talk<D> {
    machine: Machine,
    live: Arc<LiveCall>,
    desk: Arc<D>,
    desk_work: Handle,
    prompts: Arc<PromptLibrary>,
    caller: Caller,
    began: Instant,
}

impl<D: LineDesk> Talk<D> {
    async fn run(&mut self, call: &mut Call) {
        let (replies, mut reply) = tokio::sync::mpsc::channel(1);
        self.machine.handle(0, Input::Start);
        loop {
            self.live.follow(&mut self.machine);
            while let Some(output) = self.machine.poll() {
                if !self.obey(call, output, &replies).await {
                    return;
                }
            }
            let deadline = self.machine.deadline().map(|ms| self.began + Duration::from_millis(ms));
            let input = tokio::select! {
                event = call.events.recv() => match event {
                    Some(CallEvent::Digit(key)) => Input::Digit(key),
                    Some(CallEvent::Played { id }) => Input::Played(id),
                    Some(CallEvent::Ended(_)) | None => Input::Ended,
                },
                Some((id, answer)) = reply.recv() => Input::Reply(id, answer),
                () = async { match deadline { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => Input::Tick,
            };
            let ended = input == Input::Ended;
            self.machine.handle(self.began.elapsed().as_millis() as u64, input);
            if ended {
                return;
            }
        }
    }

    /// Does what the machine asks; `false` once the call is over.
    async fn obey(&self, call: &Call, output: Output, replies: &tokio::sync::mpsc::Sender<(u64, Reply)>) -> bool {
        let command = match output {
            Output::Play { id, prompts } => CallCommand::Play { id, clips: self.clips(&prompts) },
            Output::Stop => CallCommand::Stop,
            Output::HangUp => CallCommand::HangUp,
            Output::Ask { id, request } => {
                let (desk, caller, replies) = (Arc::clone(&self.desk), self.caller.clone(), replies.clone());
                // On its own: the caller goes on being heard meanwhile, and an operation that has
                // begun is brought to its end even if the caller hangs up.
                let asking = async move {
                    let answer = ask(desk.as_ref(), &caller, request).await;
                    // Nobody waits any more where the call has ended.
                    let _ = replies.send((id, answer)).await;
                };
                self.desk_work.spawn(asking.in_current_span());
                return true;
            }
        };
        let last = matches!(command, CallCommand::HangUp);
        call.commands.send(command).await.is_ok() && !last
    }

    /// A prompt that has gone missing since the check is passed over: better a gap than silence.
    fn clips(&self, names: &[String]) -> Vec<Arc<Clip>> {
        names
            .iter()
            .filter_map(|name| {
                let clip = self.prompts.clip(name);
                if clip.is_none() {
                    warn!(prompt = name, "there is no such prompt");
                }
                clip
            })
            .collect()
    }
}

/// Asks the desk, and takes no answer in time for none.
pub async fn ask<D: LineDesk>(desk: &D, caller: &Caller, request: Request) -> Reply {
    let operating = matches!(request, Request::Operate { .. });
    let answer = async {
        Ok::<_, DeskUnavailable>(match request {
            Request::Hours => Reply::Hours(desk.hours(caller.ente).await?),
            Request::Identify { code } => Reply::Identified(desk.identify(caller, &code).await?),
            Request::Preview { child, choice } => Reply::Outcome(desk.preview(caller, child, choice).await?),
            Request::Operate { child, choice, expected, sequence } => {
                Reply::Outcome(desk.operate(caller, child, choice, expected, sequence).await?)
            }
            Request::Outlook { child, days } => Reply::Outlook(desk.outlook(caller, child, days).await?),
        })
    };
    match timeout(DESK_PATIENCE, answer).await {
        Ok(Ok(reply)) => {
            if operating {
                info!("operation answered");
            }
            reply
        }
        Ok(Err(error)) => {
            warn!(%error, "the desk is unavailable");
            Reply::Unavailable
        }
        Err(_) => {
            warn!("the desk did not answer in time");
            Reply::Unavailable
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};

    use super::*;
    use crate::{
        canteen::{ChildId, Choice},
        desk::line::{DayOutlook, Identification, LineHours, LineOutcome},
    };

    /// A desk that is never there, and a log that forgets.
    struct Nobody;

    impl LineDesk for Nobody {
        async fn hours(&self, _: EnteId) -> Result<LineHours, DeskUnavailable> {
            Err(DeskUnavailable("nobody".into()))
        }
        async fn identify(&self, _: &Caller, _: &str) -> Result<Identification, DeskUnavailable> {
            Err(DeskUnavailable("nobody".into()))
        }
        async fn preview(&self, _: &Caller, _: ChildId, _: Choice) -> Result<LineOutcome, DeskUnavailable> {
            Err(DeskUnavailable("nobody".into()))
        }
        async fn operate(&self, _: &Caller, _: ChildId, _: Choice, _: Option<NaiveDate>, _: u32) -> Result<LineOutcome, DeskUnavailable> {
            Err(DeskUnavailable("nobody".into()))
        }
        async fn outlook(&self, _: &Caller, _: ChildId, _: usize) -> Result<Vec<DayOutlook>, DeskUnavailable> {
            Err(DeskUnavailable("nobody".into()))
        }
    }

    impl CallLog for Nobody {
        async fn record(&self, _: Option<EnteId>, _: CallRecord, _: Option<Travelled>) {}
    }

    #[tokio::test]
    async fn a_forwarded_call_is_known_by_the_number_called_first() {
        let plan: Plan = Plan::load(std::path::Path::new("dialplans/mensa.toml")).unwrap();
        let plan = Arc::new(ArcSwap::from_pointee(plan));
        let route = |ente| Route { ente: EnteId(ente), plan: Arc::clone(&plan) };
        let routes = HashMap::from([("800123456".to_owned(), route(1)), ("0182971111".to_owned(), route(2))]);
        let prompts = PromptLibrary::load(std::path::Path::new("prompts/it")).unwrap();
        let line = Line::new(Arc::new(Nobody), Nobody, routes, Arc::new(Shelf::new(prompts, false)));
        let ente = |called: &str, diverted_from: Option<&str>| {
            let call = IncomingCall {
                call_id: String::new(),
                sip_call_id: String::new(),
                trunk: String::new(),
                caller: None,
                called: called.into(),
                diverted_from: diverted_from.map(Into::into),
                user_agent: None,
                peer: ([127, 0, 0, 1], 5_060).into(),
                at: DateTime::UNIX_EPOCH,
            };
            line.route(&call).map(|route| route.ente.0)
        };
        assert_eq!(ente("800123456", None), Some(1));
        assert_eq!(ente("800123456", Some("0182971111")), Some(1), "the number in the request goes before");
        assert_eq!(ente("0110000001", Some("0182971111")), Some(2), "the trunk's main number is none of ours");
        assert_eq!((ente("0110000001", None), ente("0110000001", Some("0110000002"))), (None, None));
    }
}
