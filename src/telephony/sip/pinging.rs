//! Asks the peers of a trunk whether they live: sends what [`super::keepalive`] says, and tells it
//! what came back.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use rsipstack::{
    sip::{Header, Method},
    transaction::{make_call_id, make_tag},
};
use tracing::{debug, info, warn};

use super::{
    config::{Peer, Transport},
    keepalive::{Change, Pulse},
    outbound::{Outbound, Outline},
    registrar::Target,
    trunks::TrunkState,
};

/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Whom to ask.
#[derive(Debug, Clone)]
pub(super) enum Whom {
    /// Somebody by name.
    Peer(Peer),
    /// The registrar that has us.
    Registrar,
}

/// One peer of a trunk that is asked.
pub(super) struct Pinging {
    pub trunk: Arc<TrunkState>,
    pub outbound: Arc<Outbound>,
    pub whom: Whom,
    /// Its place among the trunk's pulses.
    pub at: usize,
}

impl Pinging {
    /// For ever.
    pub async fn run(self) {
        let name = match &self.whom {
            Whom::Peer(peer) => peer.to_string(),
            Whom::Registrar => "registrar".to_owned(),
        };
        loop {
            let Some(next) = self.pulse(|pulse| pulse.next()) else { return };
            tokio::time::sleep_until(next.into()).await;
            let asked = Instant::now();
            let targets = match &self.whom {
                Whom::Peer(peer) => self.outbound.resolve(std::slice::from_ref(peer)).await,
                Whom::Registrar => {
                    let Some(target) = self.trunk.registered_at() else {
                        // Nobody to ask: the registration tells how things are.
                        tokio::time::sleep(PATIENCE).await;
                        continue;
                    };
                    Ok(vec![target.as_ref().clone()])
                }
            };
            let status = self.ask_any(targets, &name).await;
            let change = self.pulse(|pulse| pulse.asked(status, asked, Instant::now())).flatten();
            let trunk = &self.trunk.config.name;
            match change {
                Some(Change::Alive) => info!(trunk, peer = name, "the peer answers"),
                Some(Change::Dead) => warn!(trunk, peer = name, "the peer does not answer: it counts as dead"),
                None => {}
            }
        }
    }

    fn pulse<T>(&self, look: impl FnOnce(&mut Pulse) -> T) -> Option<T> {
        let mut pulses = self.trunk.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.get_mut(self.at).map(|(_, pulse)| look(pulse))
    }

    /// The status of the first target that answers; of several addresses one that lives is enough.
    async fn ask_any(&self, targets: Result<Vec<Target>, String>, name: &str) -> Option<u16> {
        let targets = targets.inspect_err(|why| debug!(peer = name, why, "OPTIONS")).unwrap_or_default();
        let mut last = None;
        for target in &targets {
            match self.ask(target).await {
                Ok(status) if status != 408 && status != 503 => return Some(status),
                Ok(status) => last = Some(status),
                Err(why) => debug!(peer = name, %target, why, "OPTIONS"),
            }
        }
        last
    }

    async fn ask(&self, target: &Target) -> Result<u16, String> {
        let way = self.outbound.way(target, &self.trunk.config).await?;
        let transport = match target.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        let to = format!("sip:{}{transport}", target.address);
        let user = self.trunk.config.register.as_ref().map_or("voceguida", |account| &account.user);
        let outline = Outline {
            method: Method::Options,
            uri: &to,
            from: &format!("sip:{user}@{}", way.told),
            to: &to,
            cseq: 1,
            call_id: make_call_id(None, self.outbound.endpoint.option.callid_format),
            tag: make_tag(),
        };
        let mut request = self.outbound.request(outline, &way)?;
        request.headers.push(Header::Contact(format!("<sip:{user}@{}{transport}>", way.told).into()));
        request.headers.push(Header::Accept("application/sdp".into()));
        let response = self.outbound.ask(request, target, &way, PATIENCE).await?;
        Ok(response.status_code.code())
    }
}
