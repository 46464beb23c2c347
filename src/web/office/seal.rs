//! What a browser keeps for us: sealed, so that it can be neither read nor made up.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::ops::chance;

/// Seals and opens. All nodes have the same key.
pub struct Sealer {
    key: LessSafeKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// With this key; `None` only where ring refuses it, which it does not for 32 bytes.
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        Some(Self { key: LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?) })
    }

    /// Seals for a purpose: what was sealed for one does not open for another.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        chance::fresh().fill_bytes(&mut nonce);
        let mut sealed = plain.to_vec();
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose), &mut sealed).ok()?;
        let mut all = nonce.to_vec();
        all.append(&mut sealed);
        Some(URL_SAFE_NO_PAD.encode(all))
    }

    /// Opens what was sealed for that purpose; `None` for everything else.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let all = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, rest) = all.split_first_chunk::<NONCE_LEN>()?;
        let mut rest = rest.to_vec();
        let plain = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose), &mut rest).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_for_it_opens() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let sealed = sealer.seal("modulo", b"nome=Anna").unwrap();
        assert_eq!(sealer.open("modulo", &sealed).as_deref(), Some(b"nome=Anna".as_slice()));
        assert_eq!(sealer.open("avviso", &sealed), None);
        assert_eq!(sealer.open("modulo", &sealed.replace(char::is_lowercase, "A")), None);
        assert_eq!(sealer.open("modulo", ""), None);
        assert_eq!(Sealer::new(&[8; 32]).unwrap().open("modulo", &sealed), None);
    }
}
