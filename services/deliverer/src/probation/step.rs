//! The ladder that a suspect climbs by deaths: how it is run on each step, until it is not run again.

/// Suspects of a process that are run together on the second step.
pub(super) const MANY: usize = 256;
/// Suspects of a process that are run together on the third step.
pub(super) const FEW: usize = 8;
/// The step of one that nobody is to survive again.
const LAST: u32 = 5;
/// The first step on which a suspect is run alone.
const ALONE_FROM: u32 = 3;

/// How a suspect is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Course {
    /// With others of its partition; nothing is held against it.
    Together,
    /// With at most [`MANY`] of the process.
    Many,
    /// With at most [`FEW`] of the process.
    Few,
    /// As the only one of the process, once that lived a while without it.
    Alone,
    /// Not again.
    Quarantine,
}

/// How a suspect on `step` is run.
pub(super) fn course(step: u32) -> Course {
    match step {
        0 => Course::Together,
        1 => Course::Many,
        2 => Course::Few,
        ALONE_FROM..LAST => Course::Alone,
        _ => Course::Quarantine,
    }
}

/// The step that a suspect on `step` is on after a death with at most `in_hand` suspects of the process in hand, itself
/// included. What was as few as the next step would make it is spared that.
pub(super) fn after_death(step: u32, in_hand: usize) -> u32 {
    if course(step) == Course::Many && in_hand <= FEW { ALONE_FROM } else { step + 1 }
}

/// Why a suspect is not run again.
pub(super) fn reason() -> String {
    "its owners died with it in hand time and again, the last two with no other suspect, and lived without it"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deaths from the first one, which nobody expected, with so many in hand each time.
    fn deaths(in_hand: usize) -> u32 {
        let (mut step, mut deaths) = (0, 1);
        while course(step) != Course::Quarantine {
            let most = if course(step) == Course::Alone { 1 } else { in_hand };
            (step, deaths) = (after_death(step, most), deaths + 1);
        }
        deaths
    }

    #[test]
    fn what_kills_is_found_after_five_deaths_and_among_many_after_six() {
        assert_eq!((deaths(1), deaths(FEW)), (5, 5));
        assert_eq!(deaths(FEW + 1), 6);
    }

    #[test]
    fn nothing_goes_to_quarantine_that_was_not_alone_at_two_deaths() {
        let alone = (0..LAST).filter(|step| course(*step) == Course::Alone).count();
        assert_eq!(alone, 2);
        assert!((0..ALONE_FROM).all(|step| after_death(step, 1) <= ALONE_FROM));
    }
}
