//! What is noted of a suspect, so that the next owner knows how this one ended.

use crate::living::Mark;

/// Bits of [`Note::number`] that tell the step.
const STEP_BITS: u32 = 0xf;
/// The bit that says that it was held back.
const HELD_BACK: u32 = 1 << 4;
/// Where the mark of the process begins.
const MARK_FROM: u32 = 8;

/// A note beside a suspect; for the queue, a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// The step ([`super::step`]) that it is on, should the process die that noted this.
    pub(crate) step: u32,
    /// The process kept it back, to see whether it lives without it.
    pub(crate) held_back: bool,
    /// Who noted it; 0: not known.
    pub(crate) by: Mark,
}

impl Note {
    /// It is in hand.
    pub(crate) fn in_hand(step: u32, by: Mark) -> Self {
        Self { step, held_back: false, by }
    }

    /// It is held back.
    pub(crate) fn held_back(step: u32, by: Mark) -> Self {
        Self { step, held_back: true, by }
    }

    /// As the queue keeps it.
    pub(crate) fn number(self) -> u32 {
        let held_back = if self.held_back { HELD_BACK } else { 0 };
        self.step.min(STEP_BITS) | held_back | self.by << MARK_FROM
    }

    /// What the queue has kept.
    pub(crate) fn of(number: u32) -> Self {
        Self {
            step: number & STEP_BITS,
            held_back: number & HELD_BACK != 0,
            by: number >> MARK_FROM,
        }
    }

    /// The step that the chunk is on, now that the process that noted it lost it. A process that `lives` did not die of it; one
    /// that died while it held it back died of something else, and so may those before have done.
    pub(crate) fn step_now(self, lives: bool) -> u32 {
        match (self.held_back, lives) {
            (false, false) | (true, true) => self.step,
            (false, true) => self.step.saturating_sub(1),
            (true, false) => self.step.min(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_is_written() {
        for step in 0..=5 {
            for by in [0, 1, 0xff_ffff] {
                for note in [Note::in_hand(step, by), Note::held_back(step, by)] {
                    assert_eq!(Note::of(note.number()), note);
                }
            }
        }
        assert_eq!(Note::of(3), Note::in_hand(3, 0), "as releases before wrote it");
    }

    #[test]
    fn only_a_death_with_it_in_hand_counts() {
        assert_eq!(Note::in_hand(3, 7).step_now(false), 3);
        assert_eq!(Note::in_hand(3, 7).step_now(true), 2, "nobody died the third time");
        assert_eq!(Note::held_back(3, 7).step_now(true), 3, "nothing is known of it now");
        assert_eq!(Note::held_back(3, 7).step_now(false), 1, "something else kills");
        assert_eq!(Note::in_hand(0, 7).step_now(true), 0);
    }
}
