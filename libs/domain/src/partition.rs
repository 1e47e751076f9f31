//! Which partition a sink's events wait in, and which deliverer should own it.

use ring::digest;

use crate::AccountSid;

/// One shard of the queue: a number from 0 to P-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

impl Partition {
    /// The home of the sinks of `account`, among `partitions` (P, at least 1): the first 8 bytes of
    /// SHA-256 of the SID, big-endian, modulo P. Fixed for ever: queued events stand where this put them.
    pub fn home_of(account: AccountSid, partitions: u16) -> Self {
        let number = hash(&account.as_u128().to_be_bytes()) % u64::from(partitions.max(1));
        Self(u16::try_from(number).expect("a remainder is less than P, which is a u16"))
    }

    /// Picks the owner of this partition from `members` by rendezvous hashing: every process picks
    /// the same, and a member that comes or goes moves only what it gains or leaves.
    pub fn owner<'a>(self, members: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        members.into_iter().max_by_key(|member| {
            let mut key = self.0.to_be_bytes().to_vec();
            key.extend_from_slice(member.as_bytes());
            (hash(&key), *member)
        })
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let digest = digest::digest(&digest::SHA256, bytes);
    let first = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_an_account_is_fixed_for_ever() {
        let homes = [1, 2, 3].map(|n| Partition::home_of(AccountSid::from_u128(n), 64).0);
        assert_eq!(homes, [59, 40, 38]);
    }

    #[test]
    fn a_third_member_takes_only_what_it_gains() {
        let owners = |members: &[&'static str]| {
            (0..64)
                .map(|p| Partition(p).owner(members.iter().copied()).expect("somebody"))
                .collect::<Vec<_>>()
        };
        let (two, three) = (owners(&["a", "b"]), owners(&["a", "b", "c"]));
        assert!(two.iter().zip(&three).all(|(before, after)| before == after || *after == "c"));
        assert!(three.iter().filter(|owner| **owner == "c").count() > 8);
    }
}
