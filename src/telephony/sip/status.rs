//! How trunks fare, for `/status`, `/metrics` and `voceguida status`.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{registrar::State, trunks::TrunkState};

/// Can calls come in on a trunk, as far as is known?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Registered where it has to be, and its peers answer.
    Up,
    /// Not registered, or no peer answers.
    Down,
    /// There is nothing to tell by: it neither registers nor is asked, or not for long enough.
    Unknown,
}

/// A trunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrunkStatus {
    /// Name.
    pub name: String,
    /// Can calls come in?
    pub health: Health,
    /// Calls now.
    pub calls: u64,
    /// Calls that it may have at once.
    pub cap: u64,
    /// INVITEs outside a call since the start.
    pub invites: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls refused, or given up before they were answered.
    pub refused: u64,
    /// INVITEs answered 503: too many at once or in a second, or no room.
    pub limited: u64,
    /// Seconds since its last request, of whatever kind; `None` for never.
    pub heard_seconds_ago: Option<u64>,
    /// Its registration, where it registers.
    pub registration: Option<RegistrationStatus>,
    /// The peers that are asked whether they live.
    pub peers: Vec<PeerStatus>,
}

/// A registration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegistrationStatus {
    /// `registered`, `trying`, `failed` or `left`.
    pub state: RegistrationState,
    /// The registrar that has us.
    pub registrar: Option<String>,
    /// For how long yet, in seconds.
    pub expires_in_seconds: Option<u64>,
    /// When the next REGISTER goes out, in seconds.
    pub next_in_seconds: Option<u64>,
    /// What was wrong with the last one.
    pub last_error: Option<String>,
    /// Our address as the registrar sees it.
    pub seen_as: Option<String>,
}

/// See [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationState {
    /// The provider knows where we are.
    Registered,
    /// The first round is under way.
    Trying,
    /// No registrar has us, for now.
    Failed,
    /// Taken back, at our end.
    Left,
}

impl From<State> for RegistrationState {
    fn from(state: State) -> Self {
        match state {
            State::Registered => Self::Registered,
            State::Trying => Self::Trying,
            State::Failed => Self::Failed,
            State::Left => Self::Left,
        }
    }
}

/// A peer that is asked by OPTIONS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Name.
    pub peer: String,
    /// Does it answer? `None` while it has not been asked often enough.
    pub alive: Option<bool>,
    /// Questions in a row that were not answered.
    pub missed: u32,
    /// How long the last answer took, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Seconds since the last answer.
    pub answered_seconds_ago: Option<u64>,
}

/// How `trunk`, silent for so long, fares at `now`.
pub(super) fn trunk_status(trunk: &TrunkState, silent_for: Option<Duration>, now: Instant) -> TrunkStatus {
    let seconds_to = |instant: Instant| instant.saturating_duration_since(now).as_secs();
    let registration = trunk.registration.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let registration = registration.map(|view| RegistrationStatus {
        state: view.state.into(),
        expires_in_seconds: view.granted.as_ref().map(|(_, until)| seconds_to(*until)),
        registrar: view.granted.map(|(registrar, _)| registrar),
        next_in_seconds: view.next.map(seconds_to),
        last_error: view.last_error,
        seen_as: view.seen_as.map(|a| a.to_string()),
    });
    let pulses = trunk.pulses.lock().unwrap_or_else(PoisonError::into_inner);
    let peers = pulses.iter().map(|(peer, pulse)| PeerStatus {
        peer: peer.clone(),
        alive: pulse.alive(),
        missed: pulse.missed(),
        round_trip_ms: pulse.last_answer().map(|(_, took)| took.as_micros() as f64 / 1_000.0),
        answered_seconds_ago: pulse.last_answer().map(|(at, _)| now.saturating_duration_since(at).as_secs()),
    });
    let peers: Vec<_> = peers.collect();
    drop(pulses);
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    TrunkStatus {
        name: trunk.config.name.clone(),
        health: health(registration.as_ref().map(|r| r.state), &peers),
        calls: trunk.calls() as u64,
        cap: trunk.cap() as u64,
        invites: read(&trunk.counters.invites),
        answered: read(&trunk.counters.answered),
        refused: read(&trunk.counters.refused),
        limited: read(&trunk.counters.limited),
        heard_seconds_ago: silent_for.map(|d| d.as_secs()),
        registration,
        peers,
    }
}

fn health(registration: Option<RegistrationState>, peers: &[PeerStatus]) -> Health {
    let of_registration = registration.map(|state| match state {
        RegistrationState::Registered => Health::Up,
        RegistrationState::Trying => Health::Unknown,
        RegistrationState::Failed | RegistrationState::Left => Health::Down,
    });
    // Of several peers one that lives is enough.
    let of_peers = if peers.iter().any(|p| p.alive == Some(true)) {
        Some(Health::Up)
    } else if !peers.is_empty() && peers.iter().all(|p| p.alive == Some(false)) {
        Some(Health::Down)
    } else {
        None
    };
    match (of_registration, of_peers) {
        (Some(Health::Down), _) | (_, Some(Health::Down)) => Health::Down,
        (Some(Health::Unknown), _) | (None, None) => Health::Unknown,
        _ => Health::Up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_is_up_when_all_that_is_known_of_it_is_good() {
        use RegistrationState::{Failed, Registered, Trying};
        let peer = |alive| PeerStatus { peer: "p".into(), alive, missed: 0, round_trip_ms: None, answered_seconds_ago: None };
        let of = |registration, alive: &[Option<bool>]| health(registration, &alive.iter().map(|a| peer(*a)).collect::<Vec<_>>());
        assert_eq!(of(None, &[]), Health::Unknown);
        assert_eq!(of(None, &[None]), Health::Unknown);
        assert_eq!(of(None, &[Some(true), Some(false)]), Health::Up);
        assert_eq!(of(None, &[Some(false), Some(false)]), Health::Down);
        assert_eq!(of(None, &[Some(false), None]), Health::Unknown);
        assert_eq!(of(Some(Registered), &[]), Health::Up);
        assert_eq!(of(Some(Trying), &[Some(true)]), Health::Unknown);
        assert_eq!(of(Some(Failed), &[Some(true)]), Health::Down);
        assert_eq!(of(Some(Registered), &[Some(false)]), Health::Down, "it has us, and does not answer");
    }
}
