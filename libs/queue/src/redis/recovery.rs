//! What outlives an owner: that it did not release, and what it noted of chunks.

use millrace_domain::Partition;

use super::{RedisQueue, entries, owner::text, script::SCRIPTS};
use crate::{Error, Inheritance, Place, Result, Token};

impl RedisQueue {
    pub(super) async fn inherited(&self, partition: Partition) -> Result<Inheritance> {
        let mut call = SCRIPTS.inherit.call();
        call.key(self.keys.suspects(partition)).key(self.keys.ready(partition));
        let (last, fields): (String, Vec<String>) =
            self.link.call(&call).await.map_err(|failure| {
                failure.during(|| format!("read what was noted of {}", partition.0))
            })?;
        let mut inheritance = Inheritance { last: entries::id(&last), ..Inheritance::default() };
        for field in fields.as_chunks::<2>().0 {
            let [name, value] = field;
            match name.as_str() {
                "owner" => {}
                "unclean" => inheritance.unclean = true,
                place => {
                    let note = place.parse::<Place>().ok().zip(value.parse().ok());
                    inheritance.notes.extend(note);
                }
            }
        }
        Ok(inheritance)
    }

    pub(super) async fn note_places(
        &self,
        partition: Partition,
        token: Token,
        notes: &[(Place, u32)],
    ) -> Result<()> {
        let mut call = SCRIPTS.note.call();
        call.key(self.keys.owner(partition)).key(self.keys.suspects(partition)).arg(text(token));
        for (place, number) in notes {
            call.arg(place).arg(number);
        }
        let noted: i64 =
            self.link.call(&call).await.map_err(|failure| {
                failure.during(|| format!("note suspects of {}", partition.0))
            })?;
        if noted == 1 { Ok(()) } else { Err(Error::Stale) }
    }
}
