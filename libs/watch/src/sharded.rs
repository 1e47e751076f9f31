//! A map that is cheap to copy and to change: a change copies one shard, the rest is shared with the copies before.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

const SHARDS: usize = 256;

/// A map in 256 shards, each copied when it is first changed after the map was cloned.
#[derive(Clone, Debug)]
pub(crate) struct Sharded<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<K, V>>>,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: vec![Arc::default(); SHARDS] }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Sharded<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.shards[self.shard_of(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let shard = self.shard_of(&key);
        Arc::make_mut(&mut self.shards[shard]).insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let shard = self.shard_of(key);
        Arc::make_mut(&mut self.shards[shard]).remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    fn shard_of(&self, key: &K) -> usize {
        let hash = self.hasher.hash_one(key) % SHARDS as u64;
        usize::try_from(hash).expect("less than 256")
    }
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
        let shared = map.shards.iter().zip(&before.shards).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert!(shared.count() >= SHARDS - 2);
        assert_eq!(map.iter().count(), 9_999);
    }
}
