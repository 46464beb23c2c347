//! Passkeys (WebAuthn level 2): what a browser answers is checked here, without I/O.
//!
//! Only what passkeys without attestation need, over ring's signatures: the ready crates bring OpenSSL, or an RSA with an open advisory
//! (RUSTSEC-2023-0071), both kept out by deny.toml. Two kinds of key, which all authenticators have between them: ES256, and RS256 of older
//! Windows computers. Browsers hand the public key over as SubjectPublicKeyInfo, so no CBOR is read.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Where passkeys hold: the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `https://mensa.comune.example`, without a path.
    pub origin: String,
}

impl Site {
    /// The origin's name: what passkeys are tied to.
    pub fn name(&self) -> &str {
        let rest = self.origin.split_once("://").map_or(self.origin.as_str(), |(_, rest)| rest);
        rest.split(':').next().unwrap_or_default()
    }
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// COSE algorithm: −7 (ES256) or −257 (RS256).
    pub algorithm: i32,
    /// SubjectPublicKeyInfo, base64url.
    pub key: String,
    /// The authenticator's counter at its last use; 0 where it has none.
    pub counter: u32,
}

/// What the browser answers when a key has been made (base64url each).
#[derive(Debug, Clone, Deserialize)]
pub struct Made {
    /// The key's id.
    pub id: String,
    /// Client data.
    pub client: String,
    /// Authenticator data.
    pub authenticator: String,
    /// SubjectPublicKeyInfo.
    pub key: String,
    /// COSE algorithm.
    pub algorithm: i32,
}

/// What the browser answers when a key is shown (base64url each).
#[derive(Debug, Clone, Deserialize)]
pub struct Shown {
    /// The key's id.
    pub id: String,
    /// Client data.
    pub client: String,
    /// Authenticator data.
    pub authenticator: String,
    /// Signature over authenticator data and the client data's SHA-256.
    pub signature: String,
}

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// Not what a browser sends.
    #[error("this is no answer of an authenticator")]
    Malformed,
    /// Of another challenge, site or kind.
    #[error("the answer is to another question")]
    OtherQuestion,
    /// The person did not touch it, or was not recognised by it.
    #[error("the authenticator did not check who is there")]
    NobodyThere,
    /// A kind of key that we do not take.
    #[error("a kind of key that is not taken here")]
    Algorithm,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    Signature,
    /// The counter went back: the key may have been copied.
    #[error("the authenticator's counter went back")]
    Copied,
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

/// SubjectPublicKeyInfo of a P-256 key up to the point (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00,
];
/// SubjectPublicKeyInfo of an RSA key of 2048 bits up to the `RSAPublicKey` (RFC 8017).
const RSA2048: [u8; 24] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01,
    0x0f, 0x00,
];
const ES256: i32 = -7;
const RS256: i32 = -257;
/// Flags of authenticator data: somebody touched it, and it knew who.
const PRESENT: u8 = 1;
const VERIFIED: u8 = 4;
/// Longest part of an answer, in base64url characters.
const LONGEST: usize = 8 * 1024;

fn decoded(text: &str) -> Result<Vec<u8>, PasskeyError> {
    if text.len() > LONGEST {
        return Err(PasskeyError::Malformed);
    }
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| PasskeyError::Malformed)
}

/// Checks the client data: our question, our site; gives its bytes.
fn client(site: &Site, kind: &str, challenge: &str, text: &str) -> Result<Vec<u8>, PasskeyError> {
    let bytes = decoded(text)?;
    let data: ClientData = serde_json::from_slice(&bytes).map_err(|_| PasskeyError::Malformed)?;
    let same = bool::from(data.challenge.as_bytes().ct_eq(challenge.as_bytes()));
    if data.kind != kind || !same || data.origin != site.origin || data.cross_origin {
        return Err(PasskeyError::OtherQuestion);
    }
    Ok(bytes)
}

/// Checks the authenticator data: our site, somebody there and known; gives the counter.
fn authenticator(site: &Site, bytes: &[u8]) -> Result<u32, PasskeyError> {
    let (hash, rest) = bytes.split_first_chunk::<32>().ok_or(PasskeyError::Malformed)?;
    let (flags, rest) = rest.split_first().ok_or(PasskeyError::Malformed)?;
    let (counter, _) = rest.split_first_chunk::<4>().ok_or(PasskeyError::Malformed)?;
    if *hash != <[u8; 32]>::from(Sha256::digest(site.name().as_bytes())) {
        return Err(PasskeyError::OtherQuestion);
    }
    if flags & PRESENT == 0 || flags & VERIFIED == 0 {
        return Err(PasskeyError::NobodyThere);
    }
    Ok(u32::from_be_bytes(*counter))
}

/// The key that was made: its id and what is kept of it.
pub fn made(site: &Site, challenge: &str, answer: &Made) -> Result<(String, StoredKey), PasskeyError> {
    client(site, "webauthn.create", challenge, &answer.client)?;
    let data = decoded(&answer.authenticator)?;
    let counter = authenticator(site, &data)?;
    let id = decoded(&answer.id)?;
    // Attested credential data: AAGUID (16), length of the id (2), id. What the browser says apart must be what stands there.
    let attested = data.get(37..).ok_or(PasskeyError::Malformed)?;
    let length = attested.get(16..18).and_then(|b| <[u8; 2]>::try_from(b).ok()).map(u16::from_be_bytes).ok_or(PasskeyError::Malformed)?;
    if id.is_empty() || id.len() > 1023 || attested.get(18..18 + usize::from(length)) != Some(id.as_slice()) {
        return Err(PasskeyError::Malformed);
    }
    let key = decoded(&answer.key)?;
    let known = match answer.algorithm {
        ES256 => key.len() == P256.len() + 65 && key.starts_with(&P256),
        RS256 => key.len() == RSA2048.len() + 270 && key.starts_with(&RSA2048),
        _ => false,
    };
    if !known {
        return Err(PasskeyError::Algorithm);
    }
    Ok((URL_SAFE_NO_PAD.encode(id), StoredKey { algorithm: answer.algorithm, key: URL_SAFE_NO_PAD.encode(key), counter }))
}

/// Is this the key's answer to the challenge? Gives the counter to keep.
pub fn shown(site: &Site, challenge: &str, key: &StoredKey, answer: &Shown) -> Result<u32, PasskeyError> {
    let client = client(site, "webauthn.get", challenge, &answer.client)?;
    let mut signed = decoded(&answer.authenticator)?;
    let counter = authenticator(site, &signed)?;
    signed.extend_from_slice(&Sha256::digest(&client));
    let info = decoded(&key.key)?;
    let signature = decoded(&answer.signature)?;
    let right = match key.algorithm {
        ES256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, info.strip_prefix(&P256).ok_or(PasskeyError::Algorithm)?)
            .verify(&signed, &signature),
        RS256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, info.strip_prefix(&RSA2048).ok_or(PasskeyError::Algorithm)?)
            .verify(&signed, &signature),
        _ => return Err(PasskeyError::Algorithm),
    };
    right.map_err(|_| PasskeyError::Signature)?;
    if counter <= key.counter && (counter, key.counter) != (0, 0) {
        return Err(PasskeyError::Copied);
    }
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
    };

    use super::*;

    fn site() -> Site {
        Site { origin: "https://mensa.example:8443".into() }
    }

    fn b64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// An authenticator.
    struct Device {
        pair: EcdsaKeyPair,
        counter: u32,
        flags: u8,
    }

    impl Device {
        fn new() -> Self {
            let rng = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &rng).unwrap();
            Self { pair, counter: 1, flags: PRESENT | VERIFIED }
        }

        fn data(&self, name: &str) -> Vec<u8> {
            let mut data = Sha256::digest(name.as_bytes()).to_vec();
            data.push(self.flags);
            data.extend_from_slice(&self.counter.to_be_bytes());
            data
        }

        fn make(&self, name: &str, client: &str) -> Made {
            let mut data = self.data(name);
            data.extend_from_slice(&[0; 16]);
            data.extend_from_slice(&[0, 3, 1, 2, 3, 0xa5]);
            let key = [P256.as_slice(), self.pair.public_key().as_ref()].concat();
            Made { id: b64([1, 2, 3]), client: b64(client), authenticator: b64(data), key: b64(key), algorithm: ES256 }
        }

        fn show(&self, name: &str, client: &str) -> Shown {
            let data = self.data(name);
            let signed = [data.as_slice(), Sha256::digest(client.as_bytes()).as_slice()].concat();
            let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
            Shown { id: b64([1, 2, 3]), client: b64(client), authenticator: b64(data), signature: b64(signature) }
        }
    }

    fn client_data(kind: &str, challenge: &str, origin: &str) -> String {
        format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#)
    }

    #[test]
    fn a_key_that_was_made_is_known_when_it_is_shown() {
        let mut device = Device::new();
        let (id, mut key) =
            made(&site(), "abc", &device.make("mensa.example", &client_data("webauthn.create", "abc", &site().origin))).unwrap();
        assert_eq!(id, b64([1, 2, 3]));
        device.counter = 2;
        let answer = device.show("mensa.example", &client_data("webauthn.get", "def", &site().origin));
        key.counter = shown(&site(), "def", &key, &answer).unwrap();
        // The same answer again, to another challenge, or with a counter that stood still.
        assert_eq!(shown(&site(), "ghi", &key, &answer), Err(PasskeyError::OtherQuestion));
        assert_eq!(shown(&site(), "def", &key, &answer), Err(PasskeyError::Copied));
    }

    #[test]
    fn what_is_of_elsewhere_or_of_nobody_does_not_count() {
        let mut device = Device::new();
        let ours = client_data("webauthn.create", "abc", &site().origin);
        let elsewhere = client_data("webauthn.create", "abc", "https://altrove.example");
        assert_eq!(made(&site(), "abc", &device.make("mensa.example", &elsewhere)), Err(PasskeyError::OtherQuestion));
        assert_eq!(made(&site(), "abc", &device.make("altrove.example", &ours)), Err(PasskeyError::OtherQuestion));
        let get = client_data("webauthn.get", "abc", &site().origin);
        assert_eq!(made(&site(), "abc", &device.make("mensa.example", &get)), Err(PasskeyError::OtherQuestion));
        device.flags = PRESENT;
        assert_eq!(made(&site(), "abc", &device.make("mensa.example", &ours)), Err(PasskeyError::NobodyThere));
        device.flags = PRESENT | VERIFIED;
        let mut other = device.make("mensa.example", &ours);
        other.id = b64([9, 9, 9]);
        assert_eq!(made(&site(), "abc", &other), Err(PasskeyError::Malformed));
        other = device.make("mensa.example", &ours);
        other.algorithm = -8;
        assert_eq!(made(&site(), "abc", &other), Err(PasskeyError::Algorithm));
    }

    #[test]
    fn another_keys_signature_does_not_count() {
        let (mut device, mut thief) = (Device::new(), Device::new());
        let (_, key) = made(&site(), "abc", &device.make("mensa.example", &client_data("webauthn.create", "abc", &site().origin))).unwrap();
        (device.counter, thief.counter) = (5, 5);
        let client = client_data("webauthn.get", "def", &site().origin);
        assert_eq!(shown(&site(), "def", &key, &thief.show("mensa.example", &client)), Err(PasskeyError::Signature));
        assert!(shown(&site(), "def", &key, &device.show("mensa.example", &client)).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn nonsense_is_refused(id in ".{0,40}", client in ".{0,80}", authenticator in "[A-Za-z0-9_-]{0,120}", signature in ".{0,40}") {
            let key = StoredKey { algorithm: ES256, key: b64([0; 91]), counter: 0 };
            let answer = Shown { id, client, authenticator, signature };
            proptest::prop_assert!(shown(&site(), "abc", &key, &answer).is_err());
        }
    }
}
