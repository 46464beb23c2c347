//! The line: runs a dialplan on every call that telephony answers, and asks the desk.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::{
    machine::{Input, Machine, Output, Reply, Request},
    plan::Plan,
    prompts::PromptLibrary,
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
    /// Writes a record down.
    fn record(&self, ente: Option<EnteId>, record: CallRecord) -> impl Future<Output = ()> + Send;
}

/// All that calls need.
#[derive(Debug)]
pub struct Line<D, L> {
    desk: Arc<D>,
    log: L,
    routes: HashMap<String, Route>,
    /// By trunk and called number; these go before `routes`.
    trunk_routes: HashMap<(String, String), Route>,
    prompts: Arc<ArcSwap<PromptLibrary>>,
}

impl<D: LineDesk, L: CallLog> Line<D, L> {
    /// A line with these called numbers.
    pub fn new(desk: Arc<D>, log: L, routes: HashMap<String, Route>, prompts: Arc<ArcSwap<PromptLibrary>>) -> Self {
        Self { desk, log, routes, trunk_routes: HashMap::new(), prompts }
    }

    /// With these called numbers besides, by trunk and number: the same number may lead elsewhere on
    /// another trunk, or nowhere.
    #[must_use]
    pub fn with_trunk_routes(self, trunk_routes: HashMap<(String, String), Route>) -> Self {
        Self { trunk_routes, ..self }
    }

    fn route(&self, call: &IncomingCall) -> Option<&Route> {
        let own = self.trunk_routes.get(&(call.trunk.clone(), call.called.clone()));
        own.or_else(|| self.routes.get(&call.called))
    }
}

impl<D: LineDesk, L: CallLog> CallHandler for Line<D, L> {
    async fn admit(&self, call: &IncomingCall) -> Admission {
        match self.route(call) {
            Some(_) => Admission::Answer,
            None => Admission::Refuse { status: 404, cause: "unknown number".to_owned() },
        }
    }

    async fn run(&self, mut call: Call) {
        let Some(route) = self.route(&call.info) else { return };
        let caller = Caller { call_id: call.info.call_id.clone(), ente: route.ente, number: call.info.caller.clone() };
        let mut talk = Talk {
            machine: Machine::new(route.plan.load_full()),
            desk: Arc::clone(&self.desk),
            prompts: self.prompts.load_full(),
            caller,
            began: Instant::now(),
        };
        talk.run(&mut call).await;
    }

    async fn finished(&self, record: CallRecord) {
        let ente = self.route(&record.call).map(|route| route.ente);
        self.log.record(ente, record).await;
    }
}

/// One call.
struct Talk<D> {
    machine: Machine,
    desk: Arc<D>,
    prompts: Arc<PromptLibrary>,
    caller: Caller,
    began: Instant,
}

impl<D: LineDesk> Talk<D> {
    async fn run(&mut self, call: &mut Call) {
        let (replies, mut reply) = tokio::sync::mpsc::channel(1);
        self.machine.handle(0, Input::Start);
        loop {
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
                tokio::spawn(async move {
                    let answer = ask(desk.as_ref(), &caller, request).await;
                    // Nobody waits any more where the call has ended.
                    let _ = replies.send((id, answer)).await;
                });
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
pub(super) async fn ask<D: LineDesk>(desk: &D, caller: &Caller, request: Request) -> Reply {
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
                info!(call = caller.call_id, "operation answered");
            }
            reply
        }
        Ok(Err(error)) => {
            warn!(call = caller.call_id, %error, "the desk is unavailable");
            Reply::Unavailable
        }
        Err(_) => {
            warn!(call = caller.call_id, "the desk did not answer in time");
            Reply::Unavailable
        }
    }
}
