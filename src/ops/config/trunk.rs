//! `[[trunk]]`: a provider's trunk, and what is wrong with one.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;
use serde_spanned::Spanned;

use super::{NumberSection, Problems};
use crate::telephony::sip::{
    Trunk,
    config::{KeepAlive, Peer, Register, Secret, Transport, User},
    sdp::{Codec, SrtpPolicy},
};

/// `[[trunk]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkSection {
    /// Name, for logs, metrics and CDRs.
    pub name: String,
    /// Addresses and networks that its calls come from.
    #[serde(default)]
    pub sources: Vec<IpNet>,
    /// New calls a second.
    #[serde(default = "default_rate")]
    pub calls_per_second: u32,
    /// Calls at once.
    pub max_calls: Option<usize>,
    /// Does NAT stand between it and us?
    #[serde(default = "yes")]
    pub nat: bool,
    /// Codecs, the preferred one first.
    #[serde(default = "default_codecs")]
    pub codecs: Vec<Codec>,
    /// Is its media encrypted?
    #[serde(default)]
    pub srtp: SrtpPolicy,
    /// The account that we register with it.
    pub register: Option<RegisterSection>,
    /// Who may call with a password.
    pub auth: Option<AuthSection>,
    /// How often we ask whether its peers live, in seconds.
    pub options_every: Option<u64>,
    /// Whom we ask.
    #[serde(default)]
    pub options_to: Vec<String>,
    /// After so many unanswered questions a peer counts as dead.
    #[serde(default = "default_misses")]
    pub options_missed: u32,
    /// Called numbers of its own.
    #[serde(default)]
    pub number: Vec<Spanned<NumberSection>>,
}

/// `[trunk.register]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterSection {
    /// Registrars, the preferred one first: `host`, `host:port` or a SIP URI.
    pub registrars: Vec<String>,
    /// The domain of the account; the first registrar's name where not told.
    pub domain: Option<String>,
    /// The user part of the account.
    pub user: String,
    /// The user part of our Contact, where it is another: the number that calls come to.
    pub contact_user: Option<String>,
    /// The name for the password, where it is another.
    pub auth_user: Option<String>,
    /// The environment variable that the password is in.
    pub password_env: Option<String>,
    /// The file whose first line it is.
    pub password_file: Option<PathBuf>,
    /// For how long we ask to be registered, in seconds.
    #[serde(default = "default_expires")]
    pub expires: u64,
    /// How we reach the registrars.
    #[serde(default)]
    pub transport: Transport,
}

/// `[trunk.auth]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSection {
    /// Callers.
    pub users: Vec<UserSection>,
}

/// One of `users`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSection {
    /// Name.
    pub name: String,
    /// The environment variable that the password is in.
    pub password_env: Option<String>,
    /// The file whose first line it is.
    pub password_file: Option<PathBuf>,
}

fn default_rate() -> u32 {
    100
}

fn default_codecs() -> Vec<Codec> {
    Trunk::default().codecs
}

fn default_misses() -> u32 {
    3
}

fn default_expires() -> u64 {
    600
}

fn yes() -> bool {
    true
}

/// Reads an environment variable; the real one's, or a test's.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The trunk of a section; what is wrong with it goes into `problems`, at its line.
pub(super) fn read(section: &TrunkSection, line: usize, environment: Environment<'_>, problems: &mut Problems<'_>) -> Trunk {
    let name = &section.name;
    let mut wrong = |what: String| problems.at(line, format!("trunk {name}: {what}"));
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        wrong("the name must have 1 to 64 characters".to_owned());
    }
    if section.sources.is_empty() && section.register.is_none() && section.auth.is_none() {
        wrong("nobody could be recognised: give `sources`, [trunk.register] or [trunk.auth]".to_owned());
    }
    if section.register.is_some() && section.auth.is_some() {
        wrong("[trunk.register] and [trunk.auth] are two trunks: a registrar's calls come without password".to_owned());
    }
    if section.calls_per_second == 0 || section.max_calls == Some(0) {
        wrong("calls_per_second and max_calls must be at least 1".to_owned());
    }
    if section.codecs.is_empty() || section.codecs.iter().enumerate().any(|(at, codec)| section.codecs[..at].contains(codec)) {
        wrong("codecs must name at least one codec, and none twice".to_owned());
    }
    let register = section.register.as_ref().map(|r| registration(r, environment, &mut wrong));
    let users = section.auth.as_ref().map(|auth| users(auth, environment, &mut wrong)).unwrap_or_default();
    let keepalive = keepalive(section, &mut wrong);
    Trunk {
        name: name.clone(),
        sources: section.sources.clone(),
        numbers: section.number.iter().map(|n| n.get_ref().called.clone()).collect(),
        calls_per_second: section.calls_per_second,
        max_calls: section.max_calls,
        nat: section.nat,
        codecs: section.codecs.clone(),
        srtp: section.srtp,
        register,
        users,
        keepalive,
    }
}

fn registration(section: &RegisterSection, environment: Environment<'_>, wrong: &mut impl FnMut(String)) -> Register {
    let registrars = peers(&section.registrars, section.transport, wrong);
    if section.registrars.is_empty() {
        wrong("registrars must name at least one".to_owned());
    }
    let domain = section.domain.clone().or_else(|| registrars.first().map(|r| r.host.clone())).unwrap_or_default();
    let of_user = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()+%&=$".contains(c);
    let is_user = |user: &str| !user.is_empty() && user.chars().all(of_user);
    if !is_user(&section.user) || Peer::parse(&domain, section.transport).is_err() {
        wrong(format!("sip:{}@{domain} is no account", section.user));
    }
    if let Some(user) = section.contact_user.as_ref().filter(|user| !is_user(user)) {
        wrong(format!("contact_user \"{user}\" cannot stand in a SIP address"));
    }
    if !(60..=86_400).contains(&section.expires) {
        wrong("expires must be from 60 to 86400 seconds".to_owned());
    }
    let domain =
        if domain.contains(':') && !domain.starts_with('[') && domain.parse::<IpAddr>().is_ok() { format!("[{domain}]") } else { domain };
    Register {
        registrars,
        domain,
        user: section.user.clone(),
        contact_user: section.contact_user.clone(),
        auth_user: section.auth_user.clone(),
        password: password((&section.password_env, &section.password_file), "register", environment, wrong),
        expires: Duration::from_secs(section.expires),
    }
}

fn users(section: &AuthSection, environment: Environment<'_>, wrong: &mut impl FnMut(String)) -> Vec<User> {
    if section.users.is_empty() {
        wrong("[trunk.auth] has no users".to_owned());
    }
    let user = |user: &UserSection| {
        if user.name.is_empty() || user.name.len() > 64 {
            wrong("a user's name must have 1 to 64 characters".to_owned());
        }
        let password = password((&user.password_env, &user.password_file), &format!("user {}", user.name), environment, wrong);
        User { name: user.name.clone(), password }
    };
    section.users.iter().map(user).collect()
}

fn keepalive(section: &TrunkSection, wrong: &mut impl FnMut(String)) -> Option<KeepAlive> {
    let usual = section.register.as_ref().map_or(Transport::Udp, |r| r.transport);
    let mut peers = peers(&section.options_to, usual, wrong);
    let Some(every) = section.options_every else {
        if !section.options_to.is_empty() {
            wrong("options_to without options_every".to_owned());
        }
        return None;
    };
    if !(5..=3_600).contains(&every) || section.options_missed == 0 {
        wrong("options_every must be from 5 to 3600 seconds, options_missed at least 1".to_owned());
    }
    if section.options_to.is_empty() && section.register.is_none() {
        // Whoever stands there as a single address can be asked where it is.
        let single = section.sources.iter().filter(|net| net.prefix_len() == net.max_prefix_len());
        peers = single.map(|net| Peer { host: net.addr().to_string(), port: None, transport: usual }).collect();
        if peers.is_empty() {
            wrong("options_every: say whom to ask (options_to), as no source is a single address".to_owned());
        }
    }
    Some(KeepAlive { every: Duration::from_secs(every), misses: section.options_missed, peers })
}

fn peers(list: &[String], usual: Transport, wrong: &mut impl FnMut(String)) -> Vec<Peer> {
    let read = list.iter().map(|text| Peer::parse(text, usual));
    read.filter_map(|peer| peer.map_err(&mut *wrong).ok()).collect()
}

/// The password, from an environment variable or a file: never from the configuration itself.
pub(super) fn password(
    place: (&Option<String>, &Option<PathBuf>),
    whose: &str,
    environment: Environment<'_>,
    wrong: &mut impl FnMut(String),
) -> Secret {
    let found = match place {
        (Some(variable), None) => environment(variable).ok_or_else(|| format!("the environment has no {variable}")),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display())),
        _ => Err("say where the password is, by password_env or by password_file".to_owned()),
    };
    match found.map(|text| text.lines().next().unwrap_or_default().to_owned()) {
        Ok(password) if !password.is_empty() => return Secret::new(password),
        Ok(_) => wrong(format!("{whose}: the password is empty")),
        Err(why) => wrong(format!("{whose}: {why}")),
    }
    Secret::new("")
}
