//! What is noted of a suspect, so that the next owner knows how this one ended.

use crate::living::Mark;

/// Bits of [`Note::number`] that count.
const STRIKE_BITS: u32 = 0xf;
/// The bit that says that it was held back.
const HELD_BACK: u32 = 1 << 4;
/// Where the mark of the process begins.
const MARK_FROM: u32 = 8;

/// A note beside a suspect; for the queue, a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// Deaths that it was in hand at, should the process die that noted this.
    pub(crate) strikes: u32,
    /// The process kept it back, to see whether it lives without it.
    pub(crate) held_back: bool,
    /// Who noted it; 0: not known.
    pub(crate) by: Mark,
}

impl Note {
    /// It is in hand.
    pub(crate) fn in_hand(strikes: u32, by: Mark) -> Self {
        Self { strikes, held_back: false, by }
    }

    /// It is held back.
    pub(crate) fn held_back(strikes: u32, by: Mark) -> Self {
        Self { strikes, held_back: true, by }
    }

    /// As the queue keeps it.
    pub(crate) fn number(self) -> u32 {
        let held_back = if self.held_back { HELD_BACK } else { 0 };
        self.strikes.min(STRIKE_BITS) | held_back | self.by << MARK_FROM
    }

    /// What the queue has kept.
    pub(crate) fn of(number: u32) -> Self {
        Self {
            strikes: number & STRIKE_BITS,
            held_back: number & HELD_BACK != 0,
            by: number >> MARK_FROM,
        }
    }

    /// The deaths that are held against the chunk, now that the process that noted it lost it: those that it was in hand at. A
    /// process that `lives` did not die of it; one that died while it held it back died of something else, and so may those
    /// before have done.
    pub(crate) fn deaths(self, lives: bool) -> u32 {
        match (self.held_back, lives) {
            (false, false) | (true, true) => self.strikes,
            (false, true) => self.strikes.saturating_sub(1),
            (true, false) => self.strikes.min(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_is_written() {
        for strikes in 0..=5 {
            for by in [0, 1, 0xff_ffff] {
                for note in [Note::in_hand(strikes, by), Note::held_back(strikes, by)] {
                    assert_eq!(Note::of(note.number()), note);
                }
            }
        }
        assert_eq!(Note::of(3), Note::in_hand(3, 0), "as releases before wrote it");
    }

    #[test]
    fn only_a_death_with_it_in_hand_counts() {
        assert_eq!(Note::in_hand(3, 7).deaths(false), 3);
        assert_eq!(Note::in_hand(3, 7).deaths(true), 2, "nobody died the third time");
        assert_eq!(Note::held_back(3, 7).deaths(true), 3, "nothing is known of it now");
        assert_eq!(Note::held_back(3, 7).deaths(false), 1, "something else kills");
        assert_eq!(Note::in_hand(0, 7).deaths(true), 0);
    }
}
