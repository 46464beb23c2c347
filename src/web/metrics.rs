//! `/metrics` in the Prometheus text format: numbers only, no codes, no telephone numbers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::{Registry, Unit},
};
use tracing::warn;

use super::Web;
use crate::telephony::sip::{
    certificates::CertificateStatus,
    status::{Health, RegistrationState, TrunkStatus},
};

pub(super) async fn metrics(State(web): State<Arc<Web>>) -> Response {
    // Made anew at each scrape from counters that live where they are counted.
    let mut registry = Registry::with_prefix("voceguida");
    calls(&mut registry, &web);
    media(&mut registry, &web);
    trunks(&mut registry, &web.sip.trunks());
    certificates(&mut registry, &web.sip.certificates());
    desk(&mut registry, &web).await;
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        warn!(%error, "metrics");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

fn calls(registry: &mut Registry, web: &Web) {
    let stats = web.sip.stats();
    registry.register("calls_active", "Calls now", ConstGauge::new(stats.active));
    registry.register("calls_capacity", "Calls that there is room for", ConstGauge::new(stats.capacity));
    registry.register("sip_connections", "TCP connections now", ConstGauge::new(stats.connections));
    registry.register("draining", "1 while no new calls are taken before a stop", ConstGauge::new(u64::from(stats.draining)));
    let counters = [
        ("invites", "INVITEs looked at", stats.invites),
        ("calls_answered", "Calls answered", stats.answered),
        ("calls_full", "INVITEs answered 503 for want of room", stats.full),
        ("calls_refused", "INVITEs refused otherwise", stats.refused),
        ("calls_cancelled", "INVITEs cancelled before they were answered", stats.cancelled),
        ("stranger_requests", "Requests from no trunk", stats.strangers),
        ("dropped_requests", "Messages left unanswered: too many from one source, scanners, noise", stats.dropped),
        ("malformed_requests", "Requests of trunks refused at the door", stats.malformed),
        ("sip_unread_datagrams", "Datagrams that the system dropped unread: the SIP sockets' buffers were full", web.sip.unread()),
        ("scanner_requests", "Messages of what calls itself a scanner", stats.scanners),
        ("keys", "Keys received", stats.keys),
        ("trace_dropped", "SIP messages that the trace was too slow for", web.sip.trace().dropped()),
        ("call_records_unwritten", "Call records that are only in the log", web.unwritten_records.load(Ordering::Relaxed)),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value));
    }
}

/// Which trunk a number is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTrunk {
    trunk: String,
}

/// Which peer of a trunk a number is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPeer {
    trunk: String,
    peer: String,
}

fn trunks(registry: &mut Registry, trunks: &[TrunkStatus]) {
    gauges(registry, trunks, "trunk_up", "1 when calls can come in, as far as is known, 0 when not", |t| match t.health {
        Health::Up => Some(1),
        Health::Down => Some(0),
        Health::Unknown => None,
    });
    gauges(registry, trunks, "trunk_calls_active", "Calls now", |t| Some(t.calls));
    gauges(registry, trunks, "trunk_calls_capacity", "Calls that the trunk may have at once", |t| Some(t.cap));
    gauges(registry, trunks, "trunk_registered", "1 when registered, 0 when not", |t| {
        t.registration.as_ref().map(|r| u64::from(r.state == RegistrationState::Registered))
    });
    gauges(registry, trunks, "trunk_registration_expires_seconds", "Seconds until the registration runs out", |t| {
        t.registration.as_ref().and_then(|r| r.expires_in_seconds)
    });
    gauges(registry, trunks, "trunk_silent_seconds", "Seconds since the last request", |t| t.heard_seconds_ago);
    counters(registry, trunks, "trunk_invites", "INVITEs outside a call", |t| t.invites);
    counters(registry, trunks, "trunk_calls_answered", "Calls answered", |t| t.answered);
    counters(registry, trunks, "trunk_calls_refused", "Calls refused or given up", |t| t.refused);
    counters(registry, trunks, "trunk_calls_limited", "INVITEs answered 503: too many, or no room", |t| t.limited);
    let alive = Family::<OfPeer, Gauge>::default();
    let round_trip = Family::<OfPeer, Gauge<f64, AtomicU64>>::default();
    for trunk in trunks {
        for peer in &trunk.peers {
            let labels = OfPeer { trunk: trunk.name.clone(), peer: peer.peer.clone() };
            if let Some(lives) = peer.alive {
                alive.get_or_create(&labels).set(i64::from(lives));
            }
            if let Some(ms) = peer.round_trip_ms {
                round_trip.get_or_create(&labels).set(ms / 1_000.0);
            }
        }
    }
    registry.register("trunk_peer_up", "1 when the peer answers OPTIONS, 0 when it counts as dead", alive);
    registry.register("trunk_peer_round_trip_seconds", "How long the last answer to OPTIONS took", round_trip);
}

fn gauges(registry: &mut Registry, trunks: &[TrunkStatus], name: &str, help: &str, value: impl Fn(&TrunkStatus) -> Option<u64>) {
    let family = Family::<OfTrunk, Gauge>::default();
    for (trunk, value) in trunks.iter().filter_map(|t| value(t).map(|v| (t, v))) {
        family.get_or_create(&OfTrunk { trunk: trunk.name.clone() }).set(value as i64);
    }
    registry.register(name, help, family);
}

fn counters(registry: &mut Registry, trunks: &[TrunkStatus], name: &str, help: &str, value: impl Fn(&TrunkStatus) -> u64) {
    let family = Family::<OfTrunk, Counter>::default();
    for trunk in trunks {
        family.get_or_create(&OfTrunk { trunk: trunk.name.clone() }).inc_by(value(trunk));
    }
    registry.register(name, help, family);
}

/// Which file of certificates a number is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFile {
    file: String,
    role: &'static str,
}

fn certificates(registry: &mut Registry, certificates: &[CertificateStatus]) {
    let family = Family::<OfFile, Gauge<f64, AtomicU64>>::default();
    for certificate in certificates {
        let labels = OfFile { file: certificate.file.clone(), role: certificate.role.name() };
        family.get_or_create(&labels).set(certificate.expires_in_days);
    }
    registry.register("tls_certificate_expires_days", "Days until a TLS certificate expires; negative afterwards", family);
}

fn media(registry: &mut Registry, web: &Web) {
    let media = web.sip.media();
    let counters = [
        ("rtp_packets_sent", "RTP packets sent", &media.sent),
        ("rtp_packets_received", "RTP packets received from callers", &media.received),
        ("rtp_stranger_packets", "Datagrams that were of no call", &media.strangers),
        ("rtp_late_ticks", "Ticks of the media clock that came more than 20 ms late", &media.late_ticks),
        ("rtp_send_errors", "RTP packets that could not be sent", &media.send_errors),
        ("rtp_dropped_events", "Keys and other events that nobody took", &media.dropped_events),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value.load(Ordering::Relaxed)));
    }
}

async fn desk(registry: &mut Registry, web: &Web) {
    let mut up = true;
    let (mut guesses, mut shut_out) = (0, 0);
    for (ente, _) in &web.enti {
        match web.desk.wrong_callers(*ente, TimeDelta::hours(1)).await {
            Ok(list) => {
                guesses += list.iter().map(|(w, _)| w.guesses).sum::<i64>();
                shut_out += list.iter().filter(|(_, out)| *out).count() as i64;
            }
            Err(error) => {
                warn!(%error, "metrics");
                up = false;
            }
        }
    }
    registry.register("database_up", "1 when the database answers", ConstGauge::new(u64::from(up)));
    registry.register("code_guesses_last_hour", "Wrong codes whose check digit fitted, in the last hour", ConstGauge::new(guesses));
    registry.register("callers_shut_out", "Callers shut out for wrong codes", ConstGauge::new(shut_out));
    let uptime = web.started.elapsed().as_secs();
    registry.register_with_unit("uptime", "Time since the start", Unit::Seconds, ConstGauge::new(uptime));
}
