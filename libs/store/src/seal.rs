//! Seals what must not be read from a stolen database: auth tokens, signing secrets, sink configurations.
//!
//! ChaCha20-Poly1305 (RFC 8439) with a random nonce; the associated data is the place (table and row), so
//! that a sealed text opens nowhere else. A sealed text is
//! `1 | length of key id | key id | nonce (12 bytes) | ciphertext and tag (16 bytes)`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use millrace_domain::Secret;
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use crate::Error;

/// The first byte of every sealed text: the format above.
const FORMAT: u8 = 1;
/// Length of a key, in bytes.
const KEY_BYTES: usize = 32;
/// Longest id of a key, in bytes.
const KEY_ID_MAX_BYTES: usize = 64;

/// Keys to seal with: the first seals, all open. So a key is rotated by putting a new one in front.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    key: LessSafeKey,
}

/// Why a text is no keyring. Never shows the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyring {
    /// There must be a key to seal with.
    #[error("a keyring needs at least one key, such as `2026-01:<Base64 of 32 bytes>`")]
    Empty,
    /// One of the keys is not well-formed.
    #[error(
        "key {position} is not `<id>:<Base64 of 32 bytes>` with an id of 1 to 64 letters, digits, `-`, `_` and `.`"
    )]
    Key {
        /// Which key, from 1.
        position: usize,
    },
    /// Two keys go by one id.
    #[error("two keys have the id `{id}`")]
    Twice {
        /// The id.
        id: String,
    },
}

impl Keyring {
    /// Reads keys of the form `id:Base64 of 32 bytes`, separated by commas or white space.
    ///
    /// # Errors
    /// [`InvalidKeyring`], by what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyring> {
        let mut keys: Vec<Key> = Vec::new();
        let words = text.split([',', ' ', '\t', '\n', '\r']).filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            let key = Key::parse(word).ok_or(InvalidKeyring::Key { position: index + 1 })?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(InvalidKeyring::Twice { id: key.id });
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(InvalidKeyring::Empty);
        }
        Ok(Self { keys })
    }

    /// Makes a new random key, as settings text for [`Keyring::parse`].
    pub fn generate(id: &str) -> Secret {
        Secret::new(format!("{id}:{}", STANDARD.encode(random::<KEY_BYTES>())))
    }

    /// Seals `plain` for one place, such as `sinks/DG…`. With random nonces a key is good for 2³² seals
    /// (RFC 8439 §2.8, NIST SP 800-38D §8.3 on random nonces).
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let key = self.keys.first().expect("a keyring has a key");
        let nonce = random::<NONCE_LEN>();
        let mut text = plain.to_vec();
        key.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut text,
            )
            .expect("a resource is far shorter than what one nonce may seal");
        let id_length = u8::try_from(key.id.len()).expect("an id has at most 64 bytes");
        [&[FORMAT, id_length], key.id.as_bytes(), &nonce, &text].concat()
    }

    /// Opens what [`Keyring::seal`] sealed for the same place.
    ///
    /// # Errors
    /// [`Error::Unsealable`] for a key that is not here, another place, or changed bytes.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.try_open(place, sealed).ok_or_else(|| Error::Unsealable { what: place.to_owned() })
    }

    fn try_open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&[format, id_length], rest) = sealed.split_first_chunk::<2>()?;
        let (id, rest) = rest.split_at_checked(usize::from(id_length))?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.iter().find(|key| format == FORMAT && key.id.as_bytes() == id)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length =
            key.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl Key {
    fn parse(word: &str) -> Option<Self> {
        let (id, key) = word.split_once(':')?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > KEY_ID_MAX_BYTES || !id.bytes().all(legal) {
            return None;
        }
        let key = STANDARD.decode(key).ok().filter(|key| key.len() == KEY_BYTES)?;
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?);
        Some(Self { id: id.to_owned(), key })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

/// Bytes of the system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(ids: &[&Secret]) -> Keyring {
        let text = ids.iter().map(|key| key.reveal()).collect::<Vec<_>>().join(", ");
        Keyring::parse(&text).expect("valid")
    }

    #[test]
    fn opens_what_it_sealed_in_the_same_place_only() {
        let ring = keyring(&[&Keyring::generate("a")]);
        let sealed = ring.seal("sinks/1", b"secret");
        assert_eq!(ring.open("sinks/1", &sealed).expect("opens"), b"secret");
        assert!(matches!(ring.open("sinks/2", &sealed), Err(Error::Unsealable { .. })));
        assert_ne!(ring.seal("sinks/1", b"secret"), sealed, "the nonce is another each time");
    }

    #[test]
    fn no_changed_cut_or_empty_text_opens() {
        let ring = keyring(&[&Keyring::generate("a")]);
        let sealed = ring.seal("p", b"secret");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ring.open("p", &changed).is_err(), "byte {at} changed");
            assert!(ring.open("p", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_new_key_in_front_seals_and_the_old_one_still_opens() {
        let (old, new) = (Keyring::generate("old"), Keyring::generate("new"));
        let before = keyring(&[&old]).seal("p", b"secret");
        let both = keyring(&[&new, &old]);
        assert_eq!(both.open("p", &before).expect("opens"), b"secret");
        let after = both.seal("p", b"secret");
        assert!(keyring(&[&new]).open("p", &after).is_ok());
        assert!(keyring(&[&old]).open("p", &after).is_err());
    }

    #[test]
    fn says_what_is_wrong_with_a_keyring_and_never_shows_a_key() {
        let refused = |text: &str| Keyring::parse(text).expect_err("refused");
        let key = Keyring::generate("k");
        assert_eq!(refused(" ,\n"), InvalidKeyring::Empty);
        let short = format!("{} k2:c2hvcnQ=", key.reveal());
        assert_eq!(refused(&short), InvalidKeyring::Key { position: 2 });
        assert_eq!(refused("no-colon"), InvalidKeyring::Key { position: 1 });
        let twice = format!("{0},{0}", key.reveal());
        assert_eq!(refused(&twice), InvalidKeyring::Twice { id: "k".to_owned() });
        assert_eq!(format!("{:?}", keyring(&[&key])), r#"["k"]"#);
    }
}
