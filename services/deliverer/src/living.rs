//! Who lives. A process that lost a partition and lives on did not die of what it had in hand there.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use millrace_queue::{Member, Token};
use tokio::time::Instant;
use uuid::Uuid;

/// How long after its leases ended a dead process may still be listed: it announced itself as it renewed them.
const LISTED_AFTER_DEATH: Duration = Duration::from_secs(1);
/// Bits of a process's id that a [`Mark`] keeps.
const MARK_BITS: u64 = 0xff_ffff;

/// What is written of a process beside a suspect: part of its id.
pub(crate) type Mark = u32;

/// This process, and those that it heard of last.
#[derive(Debug)]
pub(crate) struct Living {
    process: u64,
    heard: Mutex<Option<Heard>>,
}

#[derive(Debug)]
struct Heard {
    /// When the queue was asked.
    asked: Instant,
    marks: HashSet<Mark>,
}

impl Living {
    pub(crate) fn new(id: Uuid) -> Self {
        Self { process: id.as_u64_pair().1, heard: Mutex::default() }
    }

    /// A new token of this process.
    pub(crate) fn token(&self) -> Token {
        Token(Uuid::from_u64_pair(Uuid::new_v4().as_u64_pair().0, self.process))
    }

    /// The mark of this process.
    pub(crate) fn mark(&self) -> Mark {
        mark(self.process)
    }

    /// Says who was listed when the queue was asked.
    pub(crate) fn heard(&self, asked: Instant, members: &[Member]) {
        let ids = members.iter().filter_map(|member| Uuid::try_parse(&member.id).ok());
        let marks = ids.map(|id| mark(id.as_u64_pair().1)).collect();
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { asked, marks });
    }

    /// Tells whether a process is known to live, that at `since` had lost what another took then.
    pub(crate) fn lives(&self, process: Mark, since: Instant) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        process == self.mark()
            || heard.as_ref().is_some_and(|heard| {
                heard.asked >= since + LISTED_AFTER_DEATH && heard.marks.contains(&process)
            })
    }
}

/// Never 0, which no process has.
fn mark(process: u64) -> Mark {
    u32::try_from(process & MARK_BITS).unwrap_or_default().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: Uuid) -> Member {
        Member { id: id.to_string(), address: String::new() }
    }

    #[tokio::test]
    async fn a_process_lives_where_it_is_listed_after_a_dead_one_would_not_be_any_more() {
        let (me, other) = (Uuid::now_v7(), Uuid::now_v7());
        let (living, since) = (Living::new(me), Instant::now());
        let its = mark(other.as_u64_pair().1);
        assert!(living.lives(living.mark(), since), "whoever asks lives");
        assert!(!living.lives(its, since), "nobody was heard of");
        living.heard(since, &[member(me), member(other)]);
        assert!(!living.lives(its, since), "it may have died just before");
        living.heard(since + LISTED_AFTER_DEATH, &[member(me), member(other)]);
        assert!(living.lives(its, since));
        living.heard(since + LISTED_AFTER_DEATH * 2, &[member(me)]);
        assert!(!living.lives(its, since), "it is not listed any more");
        assert!(!living.lives(0, since), "of what a release before wrote nothing is known");
    }

    #[test]
    fn tokens_of_a_process_differ_and_name_it() {
        let living = Living::new(Uuid::now_v7());
        let (Token(a), Token(b)) = (living.token(), living.token());
        assert_ne!(a, b);
        assert_eq!(a.as_u64_pair().1, b.as_u64_pair().1);
    }
}
