//! `/metrics` in the Prometheus text format: numbers only, no codes, no telephone numbers.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use tracing::warn;

use super::Web;

pub(super) async fn metrics(State(web): State<Arc<Web>>) -> Response {
    // Made anew at each scrape from counters that live where they are counted.
    let mut registry = Registry::with_prefix("voceguida");
    calls(&mut registry, &web);
    media(&mut registry, &web);
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
        ("scanner_requests", "Messages of what calls itself a scanner", stats.scanners),
        ("keys", "Keys received", stats.keys),
        ("trace_dropped", "SIP messages that the trace was too slow for", web.sip.trace().dropped()),
        ("call_records_unwritten", "Call records that are only in the log", web.unwritten_records.load(Ordering::Relaxed)),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value));
    }
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
