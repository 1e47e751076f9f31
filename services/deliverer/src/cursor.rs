//! How far a partition is read.
//!
//! Ids ascend, but not for ever: a Redis that failed over may have lost its last entries, and go on below them. So what
//! stands behind the cursor is looked for again: whenever nothing is open, for then all that stands in `ready` is unread,
//! and after every read that failed. What is open already is passed over.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use millrace_queue::EntryId;

/// The cursor of one tenure.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    after: EntryId,
    /// Taken and not settled.
    open: HashSet<EntryId>,
    /// Were open at a rewind: what a read gives of them may be settled meanwhile.
    known: HashSet<EntryId>,
}

impl Cursor {
    /// After which entry to read.
    pub(crate) fn next(&self) -> EntryId {
        let mut state = self.lock();
        if state.open.is_empty() {
            // `known` stays: a read that outlived its call may still bring what was settled since.
            state.after = EntryId::default();
        }
        state.after
    }

    /// Takes what was read; false: it is in hand already.
    pub(crate) fn take(&self, id: EntryId) -> bool {
        let mut state = self.lock();
        state.after = id;
        if state.known.iter().all(|known| *known < id) {
            state.known.clear();
        }
        !state.known.contains(&id) && state.open.insert(id)
    }

    /// These are settled.
    pub(crate) fn settled(&self, ids: impl IntoIterator<Item = EntryId>) {
        let mut state = self.lock();
        for id in ids {
            state.open.remove(&id);
        }
    }

    /// The oldest entry that is taken and not settled.
    pub(crate) fn oldest(&self) -> Option<EntryId> {
        self.lock().open.iter().min().copied()
    }

    /// Starts from the beginning.
    pub(crate) fn rewind(&self) {
        let state = &mut *self.lock();
        state.known.extend(&state.open);
        state.after = EntryId::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    #[test]
    fn reads_on_while_something_is_open_and_from_the_start_when_nothing_is() {
        let cursor = Cursor::default();
        assert!(cursor.take(id(1)) && cursor.take(id(2)));
        assert_eq!(cursor.next(), id(2));
        cursor.settled([id(1)]);
        assert_eq!(cursor.next(), id(2));
        cursor.settled([id(2)]);
        assert_eq!(cursor.next(), EntryId::default());
        assert!(cursor.take(id(1)), "an id may come again below the last");
    }

    #[test]
    fn after_a_rewind_what_was_open_is_passed_over_and_what_was_missed_is_taken() {
        let cursor = Cursor::default();
        assert!(cursor.take(id(5)) && cursor.take(id(7)));
        cursor.rewind();
        assert_eq!(cursor.next(), EntryId::default());
        cursor.settled([id(7)]);
        assert!(cursor.take(id(3)), "came below the cursor");
        assert!(!cursor.take(id(5)), "is open");
        assert!(!cursor.take(id(7)), "was settled since the read began");
        assert!(cursor.take(id(8)));
        cursor.settled([id(3), id(5)]);
        assert_eq!(cursor.next(), id(8));
    }

    #[test]
    fn what_was_settled_while_a_read_was_under_way_is_not_taken_again() {
        let cursor = Cursor::default();
        assert!(cursor.take(id(5)));
        cursor.rewind();
        cursor.settled([id(5)]);
        assert_eq!(cursor.next(), EntryId::default());
        assert!(!cursor.take(id(5)), "the read began when it stood there");
        assert!(cursor.take(id(6)));
    }
}
