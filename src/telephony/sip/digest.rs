//! Digest authentication (RFC 7616, in SIP by RFC 3261 §22 and RFC 8760), both ways: answering a
//! registrar's challenge, and challenging callers. Pure: time and chance are arguments.
//!
//! Our own nonces need no memory: each holds the second of its making and a seal over it and the
//! source that it was made for. However many are asked for, nothing is kept.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512_256};

use super::config::{Secret, User};

/// The longest header that is looked at; real ones have a few hundred bytes.
const LONGEST: usize = 2_048;
/// The most parameters in one header.
const MOST_PARAMETERS: usize = 24;
/// How long a nonce of ours may be used, in seconds. Long enough for an INVITE that is sent again
/// with it, short enough that what was overheard is soon worth nothing.
pub const NONCE_SECONDS: u32 = 60;

/// A hash that digests are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// MD5: broken, and all that many registrars know.
    #[serde(rename = "md5")]
    Md5,
    /// SHA-256 (RFC 8760).
    #[serde(rename = "sha-256")]
    Sha256,
    /// SHA-512/256 (RFC 8760).
    #[serde(rename = "sha-512-256")]
    Sha512_256,
}

impl Algorithm {
    /// As it stands in a header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// The algorithm of a header, and whether it is a session's (`-sess`); MD5 where none is named.
    fn parse(name: Option<&str>) -> Option<(Self, bool)> {
        let Some(name) = name else { return Some((Self::Md5, false)) };
        let name = name.to_ascii_uppercase();
        let (plain, session) = name.strip_suffix("-SESS").map_or((name.as_str(), false), |plain| (plain, true));
        let known = [Self::Md5, Self::Sha256, Self::Sha512_256].into_iter().find(|a| a.name() == plain)?;
        Some((known, session))
    }

    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Sha512_256 => hex(&Sha512_256::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The parameters of a header `Digest name=value, name="value"`.
fn parameters(value: &str) -> Option<Vec<(String, String)>> {
    let value = value.trim();
    let scheme = value.get(..7).filter(|s| s.eq_ignore_ascii_case("digest "))?;
    if value.len() > LONGEST {
        return None;
    }
    let mut rest = value.strip_prefix(scheme)?.trim_start();
    let mut list = Vec::new();
    while !rest.is_empty() && list.len() < MOST_PARAMETERS {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (text, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => after.split_once(',').map_or((after.trim().to_owned(), ""), |(text, _)| (text.trim().to_owned(), &after[text.len()..])),
        };
        list.push((name.trim().to_ascii_lowercase(), text));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(list)
}

/// The text up to its closing quotation mark, and what follows.
fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                text.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((text, &quoted[at + 1..])),
            _ => text.push(c),
        }
    }
    None
}

/// A text between quotation marks.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What a registrar asks for (`WWW-Authenticate`, `Proxy-Authenticate`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    session: bool,
    /// `auth` was offered; without it the digest is that of RFC 2069.
    qop: bool,
    /// Our password was right, only the nonce too old.
    pub stale: bool,
}

impl Challenge {
    /// Reads a challenge; `None` where it is none that we could answer.
    pub fn parse(value: &str) -> Option<Self> {
        let list = parameters(value)?;
        let get = |name: &str| list.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str());
        let (algorithm, session) = Algorithm::parse(get("algorithm"))?;
        let qop = match get("qop") {
            // `auth-int` alone is nothing that we do.
            Some(offered) if !offered.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth")) => return None,
            offered => offered.is_some(),
        };
        Some(Self {
            realm: get("realm")?.to_owned(),
            nonce: get("nonce")?.to_owned(),
            opaque: get("opaque").map(ToOwned::to_owned),
            algorithm,
            session,
            qop,
            stale: get("stale").is_some_and(|word| word.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of the `Authorization` header that answers it.
    pub fn answer(&self, user: &str, password: &Secret, method: &str, uri: &str, cnonce: &str) -> String {
        let given = Given {
            user,
            realm: &self.realm,
            nonce: &self.nonce,
            uri,
            algorithm: self.algorithm,
            session: self.session,
            qop: self.qop.then_some(("00000001", cnonce, "auth")),
        };
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\", algorithm={}{}",
            quoted(user),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(uri),
            given.response(password, method),
            self.algorithm.name(),
            if self.session { "-sess" } else { "" },
        );
        if self.qop || self.session {
            let _ = write!(value, ", cnonce={}", quoted(cnonce));
        }
        if self.qop {
            value.push_str(", qop=auth, nc=00000001");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(value, ", opaque={}", quoted(opaque));
        }
        value
    }
}

/// What a digest is made of, but for the password.
struct Given<'a> {
    user: &'a str,
    realm: &'a str,
    nonce: &'a str,
    uri: &'a str,
    algorithm: Algorithm,
    session: bool,
    /// Nonce count, the other side's nonce, and `auth`.
    qop: Option<(&'a str, &'a str, &'a str)>,
}

impl Given<'_> {
    /// RFC 7616 §3.4.1.
    fn response(&self, password: &Secret, method: &str) -> String {
        let hash = |parts: &[&str]| self.algorithm.hash(parts);
        let mut secret = hash(&[self.user, self.realm, password.reveal()]);
        if self.session {
            secret = hash(&[&secret, self.nonce, self.qop.map_or("", |(_, cnonce, _)| cnonce)]);
        }
        let request = hash(&[method, self.uri]);
        match self.qop {
            Some((count, cnonce, qop)) => hash(&[&secret, self.nonce, count, cnonce, qop, &request]),
            None => hash(&[&secret, self.nonce, &request]),
        }
    }
}

/// What a caller's `Authorization` is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is this user.
    Right(usize),
    /// The password is right, the nonce no more: to be challenged with `stale=true`.
    Stale,
    /// Unknown user, wrong password, or nothing that could be read.
    Wrong,
}

/// Challenges callers, and judges their answers.
pub struct Gate {
    realm: String,
    /// What is offered, the preferred one first.
    algorithms: Vec<Algorithm>,
    seal: Hmac<Sha256>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("realm", &self.realm).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate of this realm that offers these algorithms, the preferred one first (RFC 8760 §2.4), and
    /// whose nonces nobody can forge who does not know `key`.
    pub fn new(realm: impl Into<String>, algorithms: &[Algorithm], key: &[u8; 64]) -> Self {
        Self { realm: realm.into(), algorithms: algorithms.to_owned(), seal: Hmac::<Sha256>::new(&(*key).into()) }
    }

    /// A nonce for `source` at `second` (of any clock that the gate is always asked with).
    fn nonce(&self, source: IpAddr, second: u32) -> String {
        let mut seal = self.seal.clone();
        seal.update(&second.to_be_bytes());
        match source.to_canonical() {
            IpAddr::V4(v4) => seal.update(&v4.octets()),
            IpAddr::V6(v6) => seal.update(&v6.octets()),
        }
        format!("{second:08x}{}", hex(&seal.finalize().into_bytes()[..12]))
    }

    fn is_fresh(&self, nonce: &str, source: IpAddr, second: u32) -> bool {
        let made = nonce.get(..8).and_then(|text| u32::from_str_radix(text, 16).ok());
        made.is_some_and(|made| {
            made <= second && second - made <= NONCE_SECONDS && same(nonce.as_bytes(), self.nonce(source, made).as_bytes())
        })
    }

    /// The values of the `WWW-Authenticate` headers, the preferred one first.
    pub fn challenges(&self, source: IpAddr, second: u32, stale: bool) -> Vec<String> {
        let nonce = self.nonce(source, second);
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm| {
            format!("Digest realm={}, nonce=\"{nonce}\", qop=\"auth\", algorithm={}{stale}", quoted(&self.realm), algorithm.name())
        };
        self.algorithms.iter().map(challenge).collect()
    }

    /// Judges the value of an `Authorization` header; `None` where it is for another realm than ours.
    pub fn judge(&self, value: &str, method: &str, source: IpAddr, second: u32, users: &[User]) -> Option<Verdict> {
        let Some(list) = parameters(value) else { return Some(Verdict::Wrong) };
        let get = |name: &str| list.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str());
        if get("realm") != Some(&self.realm) {
            return None;
        }
        Some(self.judge_parameters(&get, method, source, second, users).unwrap_or(Verdict::Wrong))
    }

    fn judge_parameters<'a>(
        &self,
        get: &impl Fn(&str) -> Option<&'a str>,
        method: &str,
        source: IpAddr,
        second: u32,
        users: &[User],
    ) -> Option<Verdict> {
        let (algorithm, session) = Algorithm::parse(get("algorithm"))?;
        if !self.algorithms.contains(&algorithm) {
            return None;
        }
        let qop = match get("qop") {
            Some(word) if word.eq_ignore_ascii_case("auth") => Some((get("nc")?, get("cnonce")?, word)),
            Some(_) => return None,
            None => None,
        };
        let user = get("username")?;
        let nonce = get("nonce")?;
        let given = Given { user, realm: &self.realm, nonce, uri: get("uri")?, algorithm, session, qop };
        let known = users.iter().position(|u| u.name == user);
        let nobody = Secret::new("");
        // For nobody as much work as for a user: the time does not tell who exists.
        let expected = given.response(known.map_or(&nobody, |at| &users[at].password), method);
        let right = same(expected.as_bytes(), get("response")?.to_ascii_lowercase().as_bytes());
        let at = known.filter(|_| right)?;
        Some(if self.is_fresh(nonce, source, second) { Verdict::Right(at) } else { Verdict::Stale })
    }
}

/// Compares without telling by its time where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

    #[test]
    fn the_examples_of_rfc_7616() {
        let challenge = |algorithm: &str| {
            Challenge::parse(&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            ))
            .unwrap()
        };
        let answer = |algorithm: &str| {
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            challenge(algorithm).answer("Mufasa", &Secret::new("Circle of Life"), "GET", "/dir/index.html", cnonce)
        };
        assert!(answer("MD5").contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{}", answer("MD5"));
        assert!(answer("SHA-256").contains("response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\""));
        insta::assert_snapshot!(answer("SHA-256"));
    }

    #[test]
    fn the_example_of_rfc_2617_without_qop() {
        // RFC 2069 §2.4 as corrected: no qop, no nonce count.
        let challenge = Challenge::parse(
            "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        )
        .unwrap();
        let answer = challenge.answer("Mufasa", &Secret::new("CircleOfLife"), "GET", "/dir/index.html", "unused");
        assert!(answer.contains("response=\"1949323746fe6a43ef61f9606e7febea\""), "{answer}");
        assert!(!answer.contains("cnonce") && !answer.contains("qop"));
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        for value in [
            "Basic realm=\"x\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"x\"",
            "Digest realm=\"x\", nonce=\"n\", algorithm=SHA-3",
            "Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"x, nonce=\"n",
            "Digest",
            "",
        ] {
            assert_eq!(Challenge::parse(value), None, "{value}");
        }
    }

    fn users() -> Vec<User> {
        vec![
            User { name: "centralino".into(), password: Secret::new("una \"parola\" d'ordine") },
            User { name: "pbx".into(), password: Secret::new("2") },
        ]
    }

    #[test]
    fn a_caller_is_known_by_its_password_and_a_fresh_nonce() {
        let gate = Gate::new("voceguida", &BOTH, &[7; 64]);
        let uri = "sip:800123456@192.0.2.1";
        let users = users();
        for offered in gate.challenges(HERE, 1_000, false) {
            let challenge = Challenge::parse(&offered).unwrap();
            let said = challenge.answer("pbx", &Secret::new("2"), "INVITE", uri, "c");
            let judge = |said: &str, method: &str, source, second| gate.judge(said, method, source, second, &users).unwrap();
            assert_eq!(judge(&said, "INVITE", HERE, 1_000), Verdict::Right(1), "{said}");
            assert_eq!(judge(&said, "INVITE", HERE, 1_000 + NONCE_SECONDS), Verdict::Right(1));
            assert_eq!(judge(&said, "INVITE", HERE, 1_001 + NONCE_SECONDS), Verdict::Stale);
            assert_eq!(judge(&said, "INVITE", HERE, 999), Verdict::Stale, "a nonce from the future is none of ours");
            assert_eq!(judge(&said, "INVITE", "192.0.2.10".parse().unwrap(), 1_000), Verdict::Stale, "overheard elsewhere");
            assert_eq!(judge(&said, "BYE", HERE, 1_000), Verdict::Wrong);
            let wrong = challenge.answer("pbx", &Secret::new("3"), "INVITE", uri, "c");
            assert_eq!(judge(&wrong, "INVITE", HERE, 1_000), Verdict::Wrong);
            let nobody = challenge.answer("nessuno", &Secret::new(""), "INVITE", uri, "c");
            assert_eq!(judge(&nobody, "INVITE", HERE, 1_000), Verdict::Wrong, "nobody's password is not the empty one");
            let first = challenge.answer("centralino", &users[0].password, "INVITE", uri, "c");
            assert_eq!(judge(&first, "INVITE", HERE, 1_000), Verdict::Right(0));
            let other_realm = said.replace("\"voceguida\"", "\"altrove\"");
            assert_eq!(gate.judge(&other_realm, "INVITE", HERE, 1_000, &users), None);
            let other_key = Gate::new("voceguida", &BOTH, &[8; 64]);
            assert_eq!(other_key.judge(&said, "INVITE", HERE, 1_000, &users), Some(Verdict::Stale), "a nonce of before the restart");
        }
        assert!(gate.challenges(HERE, 1_000, true)[0].ends_with("stale=true"));
        let strict = Gate::new("voceguida", &BOTH[..1], &[7; 64]);
        let weak = Challenge::parse(&gate.challenges(HERE, 1_000, false)[1]).unwrap();
        let said = weak.answer("pbx", &Secret::new("2"), "INVITE", uri, "c");
        assert_eq!(strict.judge(&said, "INVITE", HERE, 1_000, &users), Some(Verdict::Wrong), "MD5 was not offered");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_judged(value in ".{0,200}", second: u32) {
            let gate = Gate::new("voceguida", &BOTH, &[7; 64]);
            let value = format!("Digest {value}");
            let _ = Challenge::parse(&value);
            prop_assert!(!matches!(gate.judge(&value, "INVITE", HERE, second, &users()), Some(Verdict::Right(_))));
        }

        #[test]
        fn what_is_written_can_be_read(realm in ".{0,40}", nonce in ".{1,40}", stale: bool) {
            let value = format!("Digest realm={}, nonce={}, stale={stale}", quoted(&realm), quoted(&nonce));
            let challenge = Challenge::parse(&value).unwrap();
            prop_assert_eq!((challenge.realm, challenge.nonce, challenge.stale), (realm, nonce, stale));
        }
    }
}
