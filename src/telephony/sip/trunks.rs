//! The trunks of a running endpoint: whose packet this is, whether one more call may come, and how
//! each trunk fares.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    config::{SipConfig, Trunk, User},
    digest::{Gate, Verdict},
    keepalive::Pulse,
    limits::{Rate, RateLimits},
    proven::Proven,
    registrar::{State, Target},
};
use crate::telephony::call::{Admission, Call, CallHandler, CallRecord, IncomingCall};

/// Every source of a trunk draws on the trunk's one rate.
const ONE_BUCKET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// A trunk at work.
#[derive(Debug)]
pub(super) struct TrunkState {
    /// As configured.
    pub config: Trunk,
    /// Where its registrars are, as DNS said last: its calls come from there too.
    registrars: ArcSwap<Vec<IpAddr>>,
    cap: usize,
    places: Arc<Semaphore>,
    rate: Mutex<RateLimits>,
    /// What has become of its calls.
    pub counters: TrunkCounters,
    /// The registrar that has us now.
    registered_at: ArcSwapOption<Target>,
    /// How its registration stands; `None` where it has none.
    pub registration: Mutex<Option<RegistrationView>>,
    /// The peers that are asked whether they live.
    pub pulses: Mutex<Vec<(String, Pulse)>>,
    /// Milliseconds from the start to the last request of it, and one; 0 for never.
    heard: AtomicU64,
}

/// Counters of a trunk; they only grow.
#[derive(Debug, Default)]
pub(super) struct TrunkCounters {
    /// INVITEs outside a call.
    pub invites: AtomicU64,
    /// Calls answered.
    pub answered: AtomicU64,
    /// Calls refused or given up.
    pub refused: AtomicU64,
    /// INVITEs refused with 503: too many at once or in a second, or no room at all.
    pub limited: AtomicU64,
}

/// How a registration stands, for the operator.
#[derive(Debug, Clone)]
pub(super) struct RegistrationView {
    pub state: State,
    /// Who has registered us, until when.
    pub granted: Option<(String, Instant)>,
    pub last_error: Option<String>,
    /// When the next REGISTER goes out.
    pub next: Option<Instant>,
    /// Our address as the registrar sees it.
    pub seen_as: Option<SocketAddr>,
}

/// A call's place, of its trunk's and of all: free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _trunk: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl TrunkState {
    fn new(config: Trunk, most_calls: usize, now: Instant) -> Self {
        let cap = config.max_calls.unwrap_or(most_calls).min(most_calls);
        Self {
            registrars: ArcSwap::default(),
            registered_at: ArcSwapOption::empty(),
            cap,
            places: Arc::new(Semaphore::new(cap)),
            rate: Mutex::new(RateLimits::new(1, now)),
            counters: TrunkCounters::default(),
            registration: Mutex::default(),
            pulses: Mutex::default(),
            heard: AtomicU64::new(0),
            config,
        }
    }

    /// A place for one more call, if the trunk may have one now and there is room.
    pub fn place(&self, all: &Arc<Semaphore>, now: Instant) -> Option<Place> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if !rate.allow(ONE_BUCKET, Rate::per_second(self.config.calls_per_second, self.config.calls_per_second.saturating_mul(2)), now) {
            return None;
        }
        drop(rate);
        let trunk = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let all = Arc::clone(all).try_acquire_owned().ok()?;
        Some(Place { _trunk: trunk, _all: all })
    }

    /// Calls now.
    pub fn calls(&self) -> usize {
        self.cap - self.places.available_permits()
    }

    /// Calls that it may have at once.
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// Its registrars are there now.
    pub fn set_registrars(&self, addresses: impl Iterator<Item = IpAddr>) {
        self.registrars.store(Arc::new(addresses.map(|ip| ip.to_canonical()).collect()));
    }

    /// The registrar that has us now.
    pub fn set_registered_at(&self, target: Option<Target>) {
        self.registered_at.store(target.map(Arc::new));
    }

    /// The registrar that has us now.
    pub fn registered_at(&self) -> Option<Arc<Target>> {
        self.registered_at.load_full()
    }

    /// Does `source` (canonical) belong to it?
    fn has_source(&self, source: IpAddr) -> bool {
        self.config.sources.iter().any(|net| net.contains(&source)) || self.registrars.load().contains(&source)
    }

    fn needs_password(&self) -> bool {
        !self.config.users.is_empty()
    }

    /// May `source` (canonical) try a password here? From everywhere, where no sources are named.
    fn may_prove(&self, source: IpAddr) -> bool {
        self.needs_password() && (self.config.sources.is_empty() || self.has_source(source))
    }
}

/// What an address is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A trunk's.
    Known,
    /// Whoever it is may show a password, and is answered at most so often a second.
    MayProve {
        /// New calls a second that are looked at; of whoever has not shown one yet, requests of all kinds.
        per_second: u32,
        /// It has shown one, not too long ago: what belongs to its calls needs none.
        proven: bool,
    },
    /// Nobody's.
    Stranger,
}

/// Why an INVITE is of no trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTrunk {
    /// It comes from nowhere.
    Stranger,
    /// Its sender has to show a password first.
    Unproven {
        /// The password was right, the nonce too old.
        stale: bool,
    },
}

/// All trunks.
#[derive(Debug)]
pub(super) struct Trunks {
    list: Vec<Arc<TrunkState>>,
    gate: Gate,
    /// All users, and each one's trunk.
    users: Vec<User>,
    trunk_of_user: Vec<usize>,
    /// Sources that have shown a password.
    proven: Mutex<Proven>,
    proof_lasts: Duration,
    started: Instant,
}

impl Trunks {
    /// The trunks of `config`; `key` seals the nonces.
    pub fn new(config: &SipConfig, key: &[u8; 64], now: Instant) -> Self {
        let users = config.trunks.iter().enumerate().flat_map(|(at, trunk)| trunk.users.iter().map(move |user| (user.clone(), at)));
        let (users, trunk_of_user) = users.unzip();
        Self {
            list: config.trunks.iter().map(|t| Arc::new(TrunkState::new(t.clone(), config.max_calls, now))).collect(),
            gate: Gate::new(config.realm.clone(), &config.digests, key),
            users,
            trunk_of_user,
            proven: Mutex::new(Proven::default()),
            // The longest call and its last requests.
            proof_lasts: config.max_call + Duration::from_mins(2),
            started: now,
        }
    }

    /// The trunks, in the order of the configuration.
    pub fn list(&self) -> &[Arc<TrunkState>] {
        &self.list
    }

    /// What is `peer` to us?
    pub fn standing(&self, peer: SocketAddr, now: Instant) -> Standing {
        let source = peer.ip().to_canonical();
        if self.list.iter().any(|t| !t.needs_password() && t.has_source(source)) {
            return Standing::Known;
        }
        if !self.list.iter().any(|t| t.may_prove(source)) {
            return Standing::Stranger;
        }
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner).trunk_of(peer, now);
        // A call is two INVITEs: one that is challenged, one with the password.
        let of_trunk = proven.and_then(|at| self.list.get(at)).map(|t| t.config.calls_per_second.saturating_mul(2));
        Standing::MayProve { per_second: of_trunk.unwrap_or(super::server::STRANGER_ANSWERS), proven: proven.is_some() }
    }

    /// What the door has to know of whoever needs no password: a name, and new calls a second of all trunks there.
    pub fn at_the_door(&self, peer: SocketAddr) -> Option<(&str, u32)> {
        let source = peer.ip().to_canonical();
        let mut here = self.list.iter().filter(|t| !t.needs_password() && t.has_source(source)).peekable();
        let name = here.peek()?.config.name.as_str();
        Some((name, here.fold(0, |sum, t| sum.saturating_add(t.config.calls_per_second))))
    }

    /// Has `peer` shown a password, not too long ago?
    pub fn has_proven(&self, peer: SocketAddr, now: Instant) -> bool {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).trunk_of(peer, now).is_some()
    }

    /// The trunk of a new call from `peer` to `called` with these `Authorization` headers.
    pub fn of_call<'a>(
        &self,
        peer: SocketAddr,
        called: Option<&str>,
        authorizations: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> Result<&Arc<TrunkState>, NoTrunk> {
        let source = peer.ip().to_canonical();
        let mut known = self.list.iter().filter(|t| !t.needs_password() && t.has_source(source)).peekable();
        if let Some(first) = known.peek().copied() {
            let own = called.and_then(|called| known.find(|t| t.config.is_own_number(called)));
            return Ok(own.unwrap_or(first));
        }
        let verdict = self.judge(peer, authorizations, now).ok_or(NoTrunk::Stranger)?;
        let at = verdict.map_err(|stale| NoTrunk::Unproven { stale })?;
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).admit(peer, at, now, self.proof_lasts);
        let trunk = self.list.get(at).ok_or(NoTrunk::Stranger)?;
        trunk.heard.store(self.millisecond(now), Ordering::Relaxed);
        Ok(trunk)
    }

    /// Judges what `peer` shows: its trunk, or whether its nonce was merely old; `None` where it may
    /// not call at all.
    pub fn judge<'a>(&self, peer: SocketAddr, authorizations: impl Iterator<Item = &'a str>, now: Instant) -> Option<Result<usize, bool>> {
        let source = peer.ip().to_canonical();
        self.list.iter().any(|t| t.may_prove(source)).then_some(())?;
        let mut stale = false;
        for value in authorizations.take(4) {
            match self.gate.judge(value, "INVITE", source, self.second(now), &self.users) {
                Some(Verdict::Right(user)) => {
                    let at = self.trunk_of_user[user];
                    if self.list[at].may_prove(source) {
                        return Some(Ok(at));
                    }
                }
                Some(Verdict::Stale) => stale = true,
                Some(Verdict::Wrong) | None => {}
            }
        }
        Some(Err(stale))
    }

    /// The values of the `WWW-Authenticate` headers for `source`.
    pub fn challenges(&self, source: IpAddr, stale: bool, now: Instant) -> Vec<String> {
        self.gate.challenges(source.to_canonical(), self.second(now), stale)
    }

    fn second(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.started).as_secs() as u32
    }

    /// Never 0: that stands for never.
    fn millisecond(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64 + 1
    }

    /// A request of `peer` has come in: its trunks live.
    pub fn heard(&self, peer: SocketAddr, now: Instant) {
        let source = peer.ip().to_canonical();
        let at = self.millisecond(now);
        for trunk in self.list.iter().filter(|t| t.has_source(source)) {
            trunk.heard.store(at, Ordering::Relaxed);
        }
    }

    /// How long ago `trunk` sent a request; `None` for never.
    pub fn silent_for(&self, trunk: &TrunkState, now: Instant) -> Option<Duration> {
        let at = trunk.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.saturating_duration_since(self.started + Duration::from_millis(at)))
    }
}

/// Counts by trunk what becomes of calls, and passes everything on.
#[derive(Debug)]
pub(super) struct Counted<H> {
    pub inner: Arc<H>,
    pub trunks: Arc<Trunks>,
}

impl<H: CallHandler> CallHandler for Counted<H> {
    async fn admit(&self, call: &IncomingCall) -> Admission {
        self.inner.admit(call).await
    }

    async fn run(&self, call: Call) {
        self.inner.run(call).await;
    }

    async fn finished(&self, record: CallRecord) {
        if let Some(trunk) = self.trunks.list.iter().find(|t| t.config.name == record.call.trunk) {
            let counter = if record.status < 300 { &trunk.counters.answered } else { &trunk.counters.refused };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.finished(record).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telephony::sip::{config::Secret, digest::Challenge};

    fn trunk(name: &str, sources: &[&str]) -> Trunk {
        Trunk { name: name.into(), sources: sources.iter().map(|s| s.parse().unwrap()).collect(), ..Trunk::default() }
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn trunks(list: Vec<Trunk>, now: Instant) -> Trunks {
        Trunks::new(&SipConfig { trunks: list, max_calls: 10, ..SipConfig::default() }, &[1; 64], now)
    }

    #[test]
    fn a_trunk_is_known_by_its_addresses_and_its_registrars() {
        let now = Instant::now();
        let trunks = trunks(vec![trunk("a", &["203.0.113.0/28", "2001:db8::/64"]), trunk("b", &[])], now);
        let standing = |text: &str| trunks.standing(peer(text), now);
        assert_eq!(standing("203.0.113.9:5060"), Standing::Known);
        assert_eq!(standing("[2001:db8::9]:5060"), Standing::Known);
        assert_eq!(standing("[::ffff:203.0.113.9]:5060"), Standing::Known, "IPv4 in IPv6 clothes");
        assert_eq!(standing("203.0.113.99:5060"), Standing::Stranger);
        trunks.list()[1].set_registrars(["203.0.113.99".parse().unwrap()].into_iter());
        assert_eq!(standing("203.0.113.99:5060"), Standing::Known);
        let of = |text: &str| trunks.of_call(peer(text), None, std::iter::empty(), now).map(|t| t.config.name.as_str());
        assert_eq!((of("203.0.113.9:5060"), of("203.0.113.99:1")), (Ok("a"), Ok("b")));
        assert_eq!(of("198.51.100.1:5060"), Err(NoTrunk::Stranger));
    }

    #[test]
    fn of_two_trunks_at_one_address_the_number_decides() {
        let now = Instant::now();
        let with = |name: &str, numbers: &[&str]| Trunk {
            numbers: numbers.iter().map(ToString::to_string).collect(),
            ..trunk(name, &["203.0.113.1/32"])
        };
        let trunks = trunks(vec![with("a", &["800111111"]), with("b", &["800222222"])], now);
        let of =
            |called: Option<&str>| trunks.of_call(peer("203.0.113.1:5060"), called, std::iter::empty(), now).unwrap().config.name.clone();
        assert_eq!([of(Some("800222222")), of(Some("800111111")), of(Some("800333333")), of(None)], ["b", "a", "a", "a"]);
    }

    #[test]
    fn a_password_opens_the_door_from_everywhere_or_from_where_it_may() {
        let now = Instant::now();
        let with_password = |name: &str, user: &str, sources: &[&str]| Trunk {
            users: vec![User { name: user.into(), password: Secret::new("geheim") }],
            ..trunk(name, sources)
        };
        let list =
            vec![with_password("pbx", "pbx", &[]), with_password("office", "office", &["192.0.2.0/24"]), trunk("ip", &["203.0.113.1/32"])];
        let trunks = trunks(list, now);
        let from = peer("198.51.100.1:6000");
        assert_eq!(trunks.standing(from, now), Standing::MayProve { per_second: super::super::server::STRANGER_ANSWERS, proven: false });
        let call = |from: SocketAddr, user: &str, password: &str, now| {
            let challenge = Challenge::parse(&trunks.challenges(from.ip(), false, now)[0]).unwrap();
            let said = challenge.answer(user, &Secret::new(password), "INVITE", "sip:1@h", "c");
            trunks.of_call(from, None, [said.as_str()].into_iter(), now).map(|t| t.config.name.clone())
        };
        assert_eq!(call(from, "pbx", "wrong", now), Err(NoTrunk::Unproven { stale: false }));
        assert!(!trunks.has_proven(from, now));
        assert_eq!(call(from, "pbx", "geheim", now), Ok("pbx".to_owned()));
        assert!(trunks.has_proven(from, now) && !trunks.has_proven(peer("198.51.100.1:6001"), now));
        assert_eq!(trunks.standing(from, now), Standing::MayProve { per_second: 200, proven: true });
        assert_eq!(call(from, "office", "geheim", now), Err(NoTrunk::Unproven { stale: false }), "not from here");
        assert_eq!(call(peer("192.0.2.7:5060"), "office", "geheim", now), Ok("office".to_owned()));
        assert_eq!(call(peer("203.0.113.1:5060"), "pbx", "wrong", now), Ok("ip".to_owned()), "known without a password");
        assert!(!trunks.has_proven(from, now + Duration::from_hours(1)), "proofs fade");
    }

    #[test]
    fn places_and_rates_are_the_trunks_own() {
        let now = Instant::now();
        let small = Trunk { max_calls: Some(2), ..trunk("small", &[]) };
        let slow = Trunk { calls_per_second: 1, ..trunk("slow", &[]) };
        let trunks = trunks(vec![small, slow], now);
        let all = Arc::new(Semaphore::new(10));
        let [small, slow] = trunks.list() else { panic!("two trunks") };
        let places: Vec<_> = (0..5).filter_map(|_| small.place(&all, now)).collect();
        assert_eq!((places.len(), small.calls(), small.cap(), all.available_permits()), (2, 2, 2, 8));
        drop(places);
        assert_eq!((small.calls(), all.available_permits()), (0, 10));
        assert_eq!((0..5).filter(|_| slow.place(&all, now).is_some()).count(), 2, "a burst of two seconds' worth");
        assert_eq!(slow.cap(), 10);
    }

    #[test]
    fn who_was_heard_is_remembered() {
        let now = Instant::now();
        let trunks = trunks(vec![trunk("a", &["203.0.113.1/32"])], now);
        let a = &trunks.list()[0];
        assert_eq!(trunks.silent_for(a, now), None);
        trunks.heard(peer("203.0.113.1:5060"), now + Duration::from_secs(5));
        trunks.heard(peer("203.0.113.2:5060"), now + Duration::from_secs(6));
        assert_eq!(trunks.silent_for(a, now + Duration::from_secs(8)), Some(Duration::from_secs(3)));
    }
}
