//! What an event is known again by, where its producer asks for that.

use std::fmt;

use ring::digest;

use crate::AccountSid;

/// The mark of an event: the same for two events of one account with the same id, and for no others. 128 bits of the
/// SHA-256 of both, so that its size does not follow the id's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark([u8; 16]);

impl Mark {
    /// The mark of an account's event.
    pub fn of(account: AccountSid, event_id: &str) -> Self {
        let mut hashing = digest::Context::new(&digest::SHA256);
        hashing.update(&account.as_u128().to_be_bytes());
        hashing.update(event_id.as_bytes());
        let mut mark = [0; 16];
        mark.copy_from_slice(hashing.finish().as_ref().split_at(16).0);
        Self(mark)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 lower-case hex digits.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_of_an_account_and_an_id() {
        let mark = |account, id| Mark::of(AccountSid::from_u128(account), id);
        assert_eq!(mark(1, "a"), mark(1, "a"));
        assert_ne!(mark(1, "a"), mark(2, "a"));
        assert_ne!(mark(1, "a"), mark(1, "b"));
        // Stored for as long as a window: another way to count it would forget what was marked before.
        assert_eq!(mark(1, "a").to_string(), "ee9273da54f2dc9e4a125eff796dbbe7");
    }
}
