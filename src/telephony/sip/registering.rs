//! Keeps a trunk registered: sends what [`super::registrar`] says, and tells it what came back.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use rsipstack::{
    sip::{CallId, Header, HeadersExt, Method, Response, headers::Expires, param::Tag},
    transaction::{make_call_id, make_tag},
    transport::{SipAddr, SipConnection},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    config::Transport,
    outbound::{Outbound, Outline, Way, is_gone},
    registrar::{Attempt, News, Registration, State, Step, Target},
    server::ALLOW,
    trunks::{RegistrationView, TrunkState},
};
use crate::ops::chance;

/// How long a registrar may take to answer: five sendings over UDP. Then the next one is asked.
const REGISTER_PATIENCE: Duration = Duration::from_secs(8);
/// The same at our end, when taking the registration back.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// A trunk's account, kept registered until `leave`; then the registration is taken back.
pub(super) struct Registering {
    pub trunk: Arc<TrunkState>,
    pub outbound: Arc<Outbound>,
    pub leave: CancellationToken,
}

/// What stays the same from one REGISTER to the next (RFC 3261 §10.2.4).
struct Identity {
    call_id: CallId,
    tag: Tag,
}

impl Registering {
    /// Until the registration has been taken back.
    pub async fn run(self) {
        let Some(account) = self.trunk.config.register.clone() else { return };
        let mut machine = Registration::new(account);
        let mut dice = chance::fresh();
        let identity = Identity { call_id: make_call_id(None, self.outbound.endpoint.option.callid_format), tag: make_tag() };
        let mut last_way: Option<Way> = None;
        let mut seen_as = None;
        let mut leaving = false;
        loop {
            let step = machine.step(Instant::now());
            self.tell(&mut machine, seen_as);
            let left = async {
                if leaving {
                    std::future::pending::<()>().await;
                } else {
                    self.leave.cancelled().await;
                }
            };
            match step {
                Step::Done => break,
                Step::Resolve => tokio::select! {
                    () = left => leave(&mut machine, &mut leaving),
                    found = self.resolve(&machine) => machine.resolved(found, Instant::now(), &mut dice),
                },
                Step::Wait(until) => tokio::select! {
                    () = left => leave(&mut machine, &mut leaving),
                    () = tokio::time::sleep_until(until.into()) => {}
                    () = lost(last_way.as_ref()) => {
                        last_way = None;
                        machine.connection_lost(Instant::now(), &mut dice);
                    }
                },
                Step::Send(attempt) => tokio::select! {
                    () = left => leave(&mut machine, &mut leaving),
                    answer = self.register(&machine, &identity, &attempt) => match answer {
                        Ok((response, contact, way)) => {
                            seen_as = self.seen_as(&response, &way, seen_as);
                            machine.answered(&response, &contact, Instant::now(), &mut dice);
                            last_way = Some(way);
                            // DNS may have changed since: its calls may come from other addresses now.
                            if matches!(machine.state(Instant::now()), State::Registered) && attempt.credentials.is_some() {
                                let _ = self.resolve(&machine).await;
                            }
                        }
                        Err(why) => machine.unanswered(&why, Instant::now(), &mut dice),
                    },
                },
            }
        }
        self.tell(&mut machine, seen_as);
    }

    async fn resolve(&self, machine: &Registration) -> Result<Vec<Target>, String> {
        let found = self.outbound.resolve(machine.registrars()).await;
        if let Ok(targets) = &found {
            self.trunk.set_registrars(targets.iter().map(|t| t.address.ip()));
        }
        found
    }

    /// Log, `/metrics` and status.
    fn tell(&self, machine: &mut Registration, seen_as: Option<SocketAddr>) {
        let trunk = &self.trunk.config.name;
        for news in machine.news() {
            match news {
                News::Registered { target, expires } => info!(trunk, registrar = %target, seconds = expires.as_secs(), "registered"),
                News::Lost => warn!(trunk, "the registration has run out: no calls reach us"),
                News::Failed { target, why, wait } => {
                    let registrar = target.map_or_else(|| "DNS".to_owned(), |t| t.to_string());
                    if let Some(wait) = wait {
                        warn!(trunk, registrar, why, again_in_seconds = wait.as_secs(), "not registered");
                    } else {
                        warn!(trunk, registrar, why, "not registered here; trying the next registrar");
                    }
                }
            }
        }
        let state = machine.state(Instant::now());
        let view = RegistrationView {
            state,
            granted: machine.granted().map(|(target, until)| (target.to_string(), until)),
            last_error: machine.last_error().map(ToOwned::to_owned),
            next: machine.waits_until(),
            seen_as,
        };
        *self.trunk.registration.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
        let registrar = machine.granted().filter(|_| state == State::Registered).map(|(target, _)| target.clone());
        self.trunk.set_registered_at(registrar);
    }

    /// Our address as the registrar sees it; told once where it is not the one that we tell.
    fn seen_as(&self, response: &Response, way: &Way, before: Option<SocketAddr>) -> Option<SocketAddr> {
        let (_, place) = response.via_header().ok().and_then(|via| SipConnection::parse_target_from_via(via).ok())?;
        let seen = SipAddr::from(place).get_socketaddr().ok()?;
        if before != Some(seen) && seen.ip() != way.told.ip() {
            let trunk = &self.trunk.config.name;
            warn!(trunk, %seen, told = %way.told, "NAT: the registrar sees us at another address than we tell; see `external_address`");
        }
        Some(seen)
    }

    async fn register(&self, machine: &Registration, identity: &Identity, attempt: &Attempt) -> Result<(Response, String, Way), String> {
        let way = self.outbound.way(&attempt.target, &self.trunk.config).await?;
        let account = machine.account();
        let contact = contact(account.contact_user(), way.told, attempt.target.transport);
        let of_account = format!("sip:{}@{}", account.user, account.domain);
        let outline = Outline {
            method: Method::Register,
            uri: &machine.request_uri(),
            from: &of_account,
            to: &of_account,
            cseq: attempt.cseq,
            call_id: identity.call_id.clone(),
            tag: identity.tag.clone(),
        };
        let mut request = self.outbound.request(outline, &way)?;
        request.headers.push(Header::Contact(format!("<{contact}>").into()));
        request.headers.push(Expires::from(attempt.expires).into());
        request.headers.push(Header::Allow(ALLOW.into()));
        if let Some((name, value)) = &attempt.credentials {
            request.headers.push(match *name {
                "Authorization" => Header::Authorization(value.clone().into()),
                _ => Header::ProxyAuthorization(value.clone().into()),
            });
        }
        let patience = if attempt.expires == 0 { LEAVE_PATIENCE } else { REGISTER_PATIENCE };
        let response = self.outbound.ask(request, &attempt.target, &way, patience).await?;
        Ok((response, contact, way))
    }
}

fn leave(machine: &mut Registration, leaving: &mut bool) {
    *leaving = true;
    machine.leave();
}

/// Until the connection that we are registered over is gone; never over UDP.
async fn lost(way: Option<&Way>) {
    match way {
        Some(way) if way.connection.is_reliable() && !is_gone(&way.connection) => match way.connection.cancel_token() {
            Some(token) => token.cancelled().await,
            None => std::future::pending().await,
        },
        _ => std::future::pending().await,
    }
}

/// Where calls reach us.
fn contact(user: &str, told: SocketAddr, transport: Transport) -> String {
    match transport {
        Transport::Udp => format!("sip:{user}@{told}"),
        Transport::Tcp => format!("sip:{user}@{told};transport=tcp"),
        Transport::Tls => format!("sip:{user}@{told};transport=tls"),
    }
}
