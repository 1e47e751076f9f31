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
        Self::hash(&[&account.as_u128().to_be_bytes(), event_id.as_bytes()])
    }

    /// The mark of a subaccount's event where it waits for the sinks of its `parent`: another than where it waits for its own,
    /// as both may be one partition.
    pub fn rolled_up(parent: AccountSid, account: AccountSid, event_id: &str) -> Self {
        let sids = [parent, account].map(|sid| sid.as_u128().to_be_bytes());
        Self::hash(&[b"rolled up", &sids[0], &sids[1], event_id.as_bytes()])
    }

    fn hash(parts: &[&[u8]]) -> Self {
        let mut hashing = digest::Context::new(&digest::SHA256);
        parts.iter().for_each(|part| hashing.update(part));
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
        let (parent, account) = (AccountSid::from_u128(9), AccountSid::from_u128(1));
        assert_ne!(Mark::rolled_up(parent, account, "a"), mark(1, "a"));
        // Stored for as long as a window: another way to count it would forget what was marked before.
        assert_eq!(mark(1, "a").to_string(), "ee9273da54f2dc9e4a125eff796dbbe7");
    }
}
