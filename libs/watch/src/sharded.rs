//! A map that is cheap to copy and to change: a change copies one shard, the rest is shared with the copies before.

use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

const SHARDS: usize = 256;
/// Which bits of a hash choose the shard: a table goes by the lowest and the highest ones, which have to differ within a shard.
const SHARD_SHIFT: u32 = 40;

/// A map in 256 shards, each copied when it is first changed after the map was cloned. One hash of a key finds shard and place: what
/// publishing an event looks up is in such maps. Who publishes chooses none of the keys in them, so the hash need not withstand chosen ones.
#[derive(Clone, Debug)]
pub(crate) struct Sharded<K, V> {
    hasher: DefaultHashBuilder,
    shards: Vec<Arc<HashTable<(K, V)>>>,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { hasher: DefaultHashBuilder::default(), shards: vec![Arc::default(); SHARDS] }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let hash = self.hasher.hash_one(key);
        let found = self.shards[shard_of(hash)].find(hash, |(known, _)| known == key);
        found.map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(&mut self.shards[shard_of(hash)]);
        let rehash = |(known, _): &(K, V)| self.hasher.hash_one(known);
        match shard.entry(hash, |(known, _)| *known == key, rehash) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(&mut entry.get_mut().1, value)),
            Entry::Vacant(entry) => {
                entry.insert((key, value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let shard = Arc::make_mut(&mut self.shards[shard_of(hash)]);
        let found = shard.find_entry(hash, |(known, _)| known == key).ok()?;
        let ((_, value), _) = found.remove();
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(key, value)| (key, value)))
    }
}

fn shard_of(hash: u64) -> usize {
    usize::try_from((hash >> SHARD_SHIFT) % SHARDS as u64).expect("less than 256")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_copies_one_shard_and_leaves_the_copy_before_alone() {
        let mut map = Sharded::default();
        for key in 0..10_000_u32 {
            map.insert(key, key);
        }
        let before = map.clone();
        map.insert(7, 70);
        map.remove(&7_000);
        assert_eq!((map.get(&7), map.get(&7_000)), (Some(&70), None));
        assert_eq!((before.get(&7), before.get(&7_000)), (Some(&7), Some(&7_000)));
        assert_eq!((map.insert(7, 71), map.remove(&7_000)), (Some(70), None));
        let shared = map.shards.iter().zip(&before.shards).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert!(shared.count() >= SHARDS - 2);
        assert_eq!(map.iter().count(), 9_999);
    }
}
