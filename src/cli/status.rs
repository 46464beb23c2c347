//! `voceguida status`: asks a running node how it fares.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;

use crate::{
    ops::config::Config,
    telephony::sip::{
        certificates::{CertificateStatus, Role, WARN_DAYS},
        status::{Health, PeerStatus, RegistrationState, RegistrationStatus, TrunkStatus},
    },
    web::status::Status,
};

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read: some thousand trunks.
const LONGEST: u64 = 4 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's configuration file; only its `http` address is read.
    #[arg(long, value_name = "FILE", conflicts_with = "http")]
    config: Option<PathBuf>,
    /// The node's HTTP address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Asks, and shows the answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let address = match &args.config {
        Some(path) => Config::http_address(path)?,
        None => args.http,
    };
    let text = ask(reachable(address)).with_context(|| format!("the node at http://{address} does not tell how it fares"))?;
    let shown = if args.json { text } else { table(&serde_json::from_str(&text).context("this is no answer of a node")?) };
    // Whoever reads only the beginning has read enough.
    let _ = writeln!(std::io::stdout().lock(), "{}", shown.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn ask(address: SocketAddr) -> anyhow::Result<String> {
    // Straight to the node, whatever proxy the environment names for the web.
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent();
    let mut answer = agent.get(format!("http://{address}/status")).call()?;
    Ok(answer.body_mut().with_config().limit(LONGEST).read_to_string()?)
}

/// Where a node that listens on `address` can be asked on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn table(status: &Status) -> String {
    let (calls, media) = (&status.calls, &status.media);
    let state = if status.draining { "draining: takes no new calls" } else { "takes calls" };
    let head = [
        vec!["voceguida".to_owned(), format!("{}, up {}, {state}", status.version, span(status.uptime_seconds))],
        vec![
            "calls".to_owned(),
            format!("{} of {}", calls.active, calls.capacity),
            format!("answered {}, refused {}, cancelled {}, full {}", calls.answered, calls.refused, calls.cancelled, calls.full),
        ],
        vec![
            "media".to_owned(),
            format!("{} threads", media.threads),
            format!(
                "sent {}, received {}, late ticks {}, send errors {}, dropped events {}",
                media.packets_sent, media.packets_received, media.late_ticks, media.send_errors, media.dropped_events
            ),
        ],
        vec![
            "door".to_owned(),
            String::new(),
            format!("strangers {}, left unanswered {}, lost unread {}", calls.strangers, calls.dropped, calls.unread),
        ],
    ];
    let head = head.into_iter().chain(status.certificates.iter().map(certificate)).collect::<Vec<_>>();
    let titles = ["TRUNK", "STATE", "CALLS", "ANSWERED", "REFUSED", "LIMITED", "HEARD", "REGISTRATION", "OPTIONS"];
    let mut rows = vec![titles.iter().map(ToString::to_string).collect()];
    rows.extend(status.trunks.iter().map(row));
    format!("{}\n{}", aligned(&head), aligned(&rows))
}

fn certificate(certificate: &CertificateStatus) -> Vec<String> {
    let days = certificate.expires_in_days;
    let left = match days {
        ..0.0 => "EXPIRED".to_owned(),
        0.0..WARN_DAYS => format!("{days:.1} DAYS"),
        _ => format!("{days:.0} days"),
    };
    let whose = match certificate.role {
        Role::Own => "TLS",
        Role::Ca => "TLS ca",
    };
    vec![whose.to_owned(), left, format!("{} ({})", certificate.file, certificate.subject)]
}

fn row(trunk: &TrunkStatus) -> Vec<String> {
    let health = match trunk.health {
        Health::Up => "up",
        Health::Down => "DOWN",
        Health::Unknown => "?",
    };
    let heard = trunk.heard_seconds_ago.map_or_else(|| "never".to_owned(), |s| format!("{} ago", span(s)));
    vec![
        trunk.name.clone(),
        health.to_owned(),
        format!("{}/{}", trunk.calls, trunk.cap),
        trunk.answered.to_string(),
        trunk.refused.to_string(),
        trunk.limited.to_string(),
        heard,
        trunk.registration.as_ref().map_or_else(|| "-".to_owned(), registration),
        if trunk.peers.is_empty() { "-".to_owned() } else { trunk.peers.iter().map(peer).collect::<Vec<_>>().join("; ") },
    ]
}

fn registration(registration: &RegistrationStatus) -> String {
    let error = registration.last_error.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    let again = registration.next_in_seconds.map(|s| format!(", again in {}", span(s))).unwrap_or_default();
    match registration.state {
        RegistrationState::Registered => {
            let registrar = registration.registrar.as_deref().unwrap_or_default();
            let yet = registration.expires_in_seconds.map(|s| format!(", {} yet", span(s))).unwrap_or_default();
            format!("{registrar}{yet}{error}")
        }
        RegistrationState::Trying => "trying".to_owned(),
        RegistrationState::Failed => format!("not registered{error}{again}"),
        RegistrationState::Left => "taken back".to_owned(),
    }
}

fn peer(peer: &PeerStatus) -> String {
    let name = &peer.peer;
    match (peer.alive, peer.round_trip_ms) {
        (Some(false), _) => format!("{name} DEAD, {} missed", peer.missed),
        (_, Some(ms)) if peer.missed > 0 => format!("{name} {ms:.1} ms, {} missed", peer.missed),
        (_, Some(ms)) => format!("{name} {ms:.1} ms"),
        (_, None) => format!("{name} ?"),
    }
}

/// Seconds as people say them.
fn span(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest:02} s"),
        (0, ..) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Rows in columns. The last cell of a row takes what room it needs.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, at: usize| row.get(at).filter(|_| at + 1 < row.len()).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = (0..columns).map(|at| rows.iter().map(|row| cell(row, at)).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::status::{CallsStatus, MediaStatus};

    #[test]
    fn what_a_node_tells_is_shown_as_a_table() {
        let trunk = |name: &str, health| TrunkStatus {
            name: name.into(),
            health,
            calls: 3,
            cap: 200,
            invites: 5_000,
            answered: 4_711,
            refused: 12,
            limited: 0,
            heard_seconds_ago: Some(61),
            registration: None,
            peers: vec![],
        };
        let registration = |state| RegistrationStatus {
            state,
            registrar: Some("203.0.113.4:5060/udp".into()),
            expires_in_seconds: Some(410),
            next_in_seconds: Some(55),
            last_error: Some("answered 403".into()),
            seen_as: None,
        };
        let certificate = |file: &str, role, expires_in_days| CertificateStatus {
            file: format!("/etc/voceguida/{file}"),
            role,
            subject: "CN=sip.example.it".into(),
            expires_in_days,
        };
        let peer = |alive, missed| PeerStatus {
            peer: "203.0.113.4/udp".into(),
            alive,
            missed,
            round_trip_ms: Some(12.34),
            answered_seconds_ago: Some(7),
        };
        let status = Status {
            version: "0.1.0".into(),
            uptime_seconds: 273_000,
            draining: false,
            calls: CallsStatus {
                active: 12,
                capacity: 1_000,
                answered: 9_000,
                full: 1,
                refused: 20,
                cancelled: 3,
                strangers: 400,
                dropped: 390,
                unread: 17,
            },
            media: MediaStatus {
                threads: 2,
                packets_sent: 1_000_000,
                packets_received: 999_000,
                late_ticks: 1,
                send_errors: 0,
                dropped_events: 0,
            },
            trunks: vec![
                TrunkStatus { heard_seconds_ago: None, ..trunk("operatore", Health::Unknown) },
                TrunkStatus {
                    registration: Some(RegistrationStatus { last_error: None, ..registration(RegistrationState::Registered) }),
                    peers: vec![peer(Some(true), 0), peer(Some(true), 1)],
                    ..trunk("registrato", Health::Up)
                },
                TrunkStatus {
                    registration: Some(registration(RegistrationState::Failed)),
                    peers: vec![peer(Some(false), 4), PeerStatus { round_trip_ms: None, ..peer(None, 0) }],
                    ..trunk("altro", Health::Down)
                },
            ],
            certificates: vec![
                certificate("tls.pem", Role::Own, 12.46),
                certificate("old.pem", Role::Own, -1.0),
                certificate("ca.pem", Role::Ca, 199.7),
            ],
        };
        insta::assert_snapshot!(table(&status));
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }

    #[test]
    fn spans_as_people_say_them() {
        assert_eq!(
            [0, 59, 60, 3_599, 3_600, 86_399, 90_000].map(span),
            ["0 s", "59 s", "1 min 00 s", "59 min 59 s", "1 h 00 min", "23 h 59 min", "1 d 1 h"]
        );
    }

    #[test]
    fn a_node_that_listens_everywhere_is_asked_here() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!([at("0.0.0.0:80"), at("[::]:80"), at("192.0.2.1:80")], ["127.0.0.1:80", "[::1]:80", "192.0.2.1:80"]);
    }
}
