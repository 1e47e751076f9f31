//! Messages put together: parts to a snapshot, changes to the version that is known.

use millrace_domain::ConfigVersion;
use millrace_proto::internal::{SnapshotPart, WatchResponse};

use crate::Configuration;

/// A message that cannot stand where it stands: the stream must be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misplaced(&'static str);

/// What is known, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    known: Option<Configuration>,
    /// A snapshot whose last part has not come.
    unfinished: Option<Configuration>,
}

impl Assembly {
    /// The newest whole version.
    pub(crate) fn known(&self) -> Option<&Configuration> {
        self.known.as_ref()
    }

    /// Forgets a snapshot that is not whole: its stream broke.
    pub(crate) fn interrupt(&mut self) {
        self.unfinished = None;
    }

    /// Takes a message in; tells whether that made a new version.
    pub(crate) fn take(&mut self, message: WatchResponse) -> Result<bool, Misplaced> {
        let part = SnapshotPart::try_from(message.part)
            .map_err(|_| Misplaced("a part of a snapshot of an unknown kind"))?;
        if part == SnapshotPart::Unspecified {
            return self.change(message);
        }
        let version = ConfigVersion { epoch: message.epoch, seq: message.seq };
        if matches!(part, SnapshotPart::First | SnapshotPart::Whole) {
            self.unfinished = Some(Configuration::empty(version));
        }
        let mut unfinished = self
            .unfinished
            .take()
            .ok_or(Misplaced("a later part of a snapshot before its first"))?;
        if unfinished.version().epoch != version.epoch {
            return Err(Misplaced("parts of a snapshot of several epochs"));
        }
        unfinished.apply(message.upserts, &message.deletes);
        let whole = matches!(part, SnapshotPart::Last | SnapshotPart::Whole);
        if whole {
            unfinished.advance(version);
            self.known = Some(unfinished);
        } else {
            self.unfinished = Some(unfinished);
        }
        Ok(whole)
    }

    /// Takes changes in. An empty message is a sign of life, and may tell of changes that this view does not show.
    fn change(&mut self, message: WatchResponse) -> Result<bool, Misplaced> {
        let empty = message.upserts.is_empty() && message.deletes.is_empty();
        let version = ConfigVersion { epoch: message.epoch, seq: message.seq };
        let Some(known) =
            self.known.as_mut().filter(|known| known.version().epoch == version.epoch)
        else {
            return if empty {
                Ok(false)
            } else {
                Err(Misplaced("changes of nothing that is known"))
            };
        };
        let told_again = version.seq < known.version().seq;
        if told_again || (empty && version == known.version()) {
            return Ok(false);
        }
        known.apply(message.upserts, &message.deletes);
        known.advance(version);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::internal::{ConfigEventType, Resource, resource::Resource as Kind};

    use super::*;

    fn message(part: SnapshotPart, seq: u64, types: &[&str]) -> WatchResponse {
        let event_type = |name: &&str| Resource {
            resource: Some(Kind::EventType(ConfigEventType {
                r#type: (*name).to_owned(),
                schema_id: "S".to_owned(),
                status: "available".to_owned(),
                ..ConfigEventType::default()
            })),
        };
        WatchResponse {
            epoch: 7,
            seq,
            part: part.into(),
            upserts: types.iter().map(event_type).collect(),
            deletes: Vec::new(),
        }
    }

    fn known(assembly: &Assembly) -> (u64, Vec<bool>) {
        let known = assembly.known().expect("known");
        (known.version().seq, ["a", "b", "c"].map(|t| known.event_type(t).is_some()).to_vec())
    }

    #[test]
    fn a_snapshot_counts_once_it_is_whole() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(message(SnapshotPart::First, 3, &["a"])), Ok(false));
        assert_eq!(assembly.take(message(SnapshotPart::Unspecified, 0, &[])), Ok(false));
        assert_eq!(assembly.take(message(SnapshotPart::Middle, 3, &["b"])), Ok(false));
        assert!(assembly.known().is_none());
        assert_eq!(assembly.take(message(SnapshotPart::Last, 3, &["c"])), Ok(true));
        assert_eq!(known(&assembly), (3, vec![true, true, true]));
    }

    #[test]
    fn an_interrupted_snapshot_leaves_what_was_known() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(message(SnapshotPart::Whole, 3, &["a"])), Ok(true));
        assert_eq!(assembly.take(message(SnapshotPart::First, 9, &["b"])), Ok(false));
        assembly.interrupt();
        assert!(assembly.take(message(SnapshotPart::Last, 9, &["c"])).is_err());
        assert_eq!(known(&assembly), (3, vec![true, false, false]));
    }

    #[test]
    fn changes_advance_and_are_not_undone_by_a_repeat() {
        let mut assembly = Assembly::default();
        assert!(assembly.take(message(SnapshotPart::Unspecified, 1, &["a"])).is_err());
        assert_eq!(assembly.take(message(SnapshotPart::Whole, 3, &[])), Ok(true));
        assert_eq!(assembly.take(message(SnapshotPart::Unspecified, 5, &["a"])), Ok(true));
        assert_eq!(assembly.take(message(SnapshotPart::Unspecified, 4, &["b"])), Ok(false));
        assert_eq!(assembly.take(message(SnapshotPart::Unspecified, 5, &[])), Ok(false));
        assert_eq!(assembly.take(message(SnapshotPart::Unspecified, 8, &[])), Ok(true));
        assert_eq!(known(&assembly), (8, vec![true, false, false]));
        let other_epoch =
            WatchResponse { epoch: 8, ..message(SnapshotPart::Unspecified, 9, &["c"]) };
        assert!(assembly.take(other_epoch).is_err());
    }

    #[test]
    fn a_part_of_an_unknown_kind_is_refused() {
        let odd = WatchResponse { part: 99, ..WatchResponse::default() };
        assert!(Assembly::default().take(odd).is_err());
    }
}
