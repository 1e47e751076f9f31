//! A value that never shows itself.

use std::{cell::Cell, fmt};

use ring::digest;
use serde::{Deserialize, Serialize, Serializer};

/// What stands for a secret that is not shown.
const MASK: &str = "***";

thread_local! {
    /// Whether secrets that this thread serializes are masked.
    static MASKING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `write`; whatever secret it serializes on this thread, in whatever type, is masked: of an http(s) URL the host is
/// shown, of anything else nothing. So what people may read is made without a list of fields that somebody forgets to extend.
pub fn masked<T>(write: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            MASKING.set(self.0);
        }
    }
    let _before = Before(MASKING.replace(true));
    write()
}

/// A secret text: an auth token, a signing secret, a key. `Debug` says only `[redacted]`; its serde form is the text, for
/// sealing, unless it is made in [`masked`].
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if MASKING.get() {
            return serializer.serialize_str(&self.shown());
        }
        serializer.serialize_str(&self.0)
    }
}

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Shows the secret; for signing, sealing and printing it once to whom it was made for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The secret, masked.
    fn shown(&self) -> String {
        let url =
            self.0.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        let Some((scheme, rest)) = url else { return MASK.to_owned() };
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}/{MASK}")
    }

    /// SHA-256 of the secret, which is what may be stored and sent to those who only check it.
    pub fn sha256(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// SHA-256 of a secret. Enough for secrets of at least 128 random bits, which cannot be guessed.
#[derive(Clone, Copy, Deserialize)]
pub struct SecretHash([u8; 32]);

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if MASKING.get() {
            return serializer.serialize_str(MASK);
        }
        self.0.serialize(serializer)
    }
}

impl SecretHash {
    /// The hash of `secret`.
    pub fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Wraps 32 bytes that are a hash already.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hex digits.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Tells in constant time whether both are the hash of the same secret.
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(other.0.iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", secret.sha256()), "[redacted] [redacted]");
    }

    #[test]
    fn what_people_read_shows_of_a_secret_at_most_the_host() {
        let shown = |text: &str| masked(|| serde_json::to_value(Secret::new(text)).expect("JSON"));
        assert_eq!(shown("hunter2"), "***");
        assert_eq!(
            shown("https://u:p@e.example:8443/T00/secret?k=v"),
            "https://e.example:8443/***"
        );
        assert_eq!(shown("http://e.example\\@x/secret"), "http://e.example/***");
        assert_eq!(shown("token://hunter2"), "***");
        let hash = masked(|| serde_json::to_value(SecretHash::of("a")).expect("JSON"));
        assert_eq!(hash, "***");
        let kept = serde_json::to_value(Secret::new("hunter2")).expect("JSON");
        assert_eq!(kept, "hunter2", "what is to be sealed is whole again");
    }

    #[test]
    fn a_hash_survives_its_hex_and_matches_only_itself() {
        let hash = SecretHash::of("a");
        let read = SecretHash::from_hex(&hash.to_hex()).expect("64 digits");
        assert!(read.matches(&hash));
        assert!(!read.matches(&SecretHash::of("b")));
        assert!(SecretHash::from_hex(&"+f".repeat(32)).is_none());
        assert!(SecretHash::from_hex("é").is_none());
    }
}
