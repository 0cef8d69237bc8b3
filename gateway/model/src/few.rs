//! An ordered map and an ordered set for what nearly always has one entry: a queue's consumers, their classes, a lane,
//! what a consumer holds, the run of places that is live. One entry stands in its owner. With thousands of queues each
//! is met after the processor's cache has lost it, and a node of a tree would be two or three more lines to wait for,
//! one more pointer to follow, and memory to ask for and give back with every message.

use std::collections::BTreeMap;
use std::ops::{RangeFrom, RangeInclusive};

/// An ordered map. A tree from its second entry on, until it is empty.
#[derive(Clone, Debug)]
pub enum FewMap<K, V> {
    /// At most one entry.
    One(Option<(K, V)>),
    /// Any number.
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for FewMap<K, V> {
    fn default() -> Self {
        Self::One(None)
    }
}

impl<K: Ord, V> FewMap<K, V> {
    /// How many entries.
    pub fn len(&self) -> usize {
        match self {
            Self::One(one) => usize::from(one.is_some()),
            Self::Many(all) => all.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        match self {
            Self::One(one) => one.as_ref().filter(|(own, _)| own == key).map(|(_, value)| value),
            Self::Many(all) => all.get(key),
        }
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self {
            Self::One(one) => one.as_mut().filter(|(own, _)| own == key).map(|(_, value)| value),
            Self::Many(all) => all.get_mut(key),
        }
    }

    /// Whether there is an entry of `key`.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Sets the value of `key`. Returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self {
            Self::One(one) => match one.take() {
                None => *one = Some((key, value)),
                Some((own, before)) if own == key => {
                    *one = Some((key, value));
                    return Some(before);
                }
                Some(first) => *self = Self::Many(BTreeMap::from([first, (key, value)])),
            },
            Self::Many(all) => return all.insert(key, value),
        }
        None
    }

    /// The value of `key`, made if there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if let Self::One(one) = self
            && let Some(other) = one.take_if(|(own, _)| *own != key)
        {
            *self = Self::Many(BTreeMap::from([other]));
        }
        match self {
            Self::One(one) => &mut one.get_or_insert_with(|| (key, make())).1,
            Self::Many(all) => all.entry(key).or_insert_with(make),
        }
    }

    /// Removes the entry of `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        match self {
            Self::One(one) => one.take_if(|(own, _)| own == key).map(|(_, value)| value),
            Self::Many(all) => {
                let value = all.remove(key);
                if all.is_empty() {
                    *self = Self::default();
                }
                value
            }
        }
    }

    /// The entries in `range`, ascending.
    pub fn range(&self, range: RangeInclusive<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::One(one) => (one.as_ref().filter(|(key, _)| range.contains(key)), None),
            Self::Many(all) => (None, (!range.is_empty()).then(|| all.range(range))),
        };
        one.map(|(key, value)| (key, value)).into_iter().chain(many.into_iter().flatten())
    }

    /// The entry of `key`, or the nearest below it.
    pub fn at_or_before(&mut self, key: &K) -> Option<(&K, &mut V)> {
        match self {
            Self::One(one) => one.as_mut().filter(|(own, _)| *own <= *key).map(|(own, value)| (&*own, value)),
            Self::Many(all) => all.range_mut(..=key).next_back(),
        }
    }

    /// The entries in `range`, ascending.
    pub fn range_from(&self, range: RangeFrom<&K>) -> impl Iterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::One(one) => (one.as_ref().filter(|(key, _)| key >= range.start), None),
            Self::Many(all) => (None, Some(all.range::<K, _>(range))),
        };
        one.map(|(key, value)| (key, value)).into_iter().chain(many.into_iter().flatten())
    }

    /// All entries, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::One(one) => (one.as_ref(), None),
            Self::Many(all) => (None, Some(all)),
        };
        one.map(|(key, value)| (key, value)).into_iter().chain(many.into_iter().flatten())
    }

    /// The value of the lowest key.
    pub fn first(&self) -> Option<&V> {
        match self {
            Self::One(one) => one.as_ref().map(|(_, value)| value),
            Self::Many(all) => all.first_key_value().map(|(_, value)| value),
        }
    }

    /// All keys, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, by key ascending.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let (one, many) = match self {
            Self::One(one) => (one.as_mut(), None),
            Self::Many(all) => (None, Some(all)),
        };
        one.map(|(_, value)| value).into_iter().chain(many.into_iter().flat_map(BTreeMap::values_mut))
    }
}

/// An ordered set. Once it had several entries, it is a tree.
#[derive(Debug)]
pub struct FewSet<T>(FewMap<T, ()>);

impl<T> Default for FewSet<T> {
    fn default() -> Self {
        Self(FewMap::default())
    }
}

impl<T: Ord> FewSet<T> {
    /// How many entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a value. False: it was there.
    pub fn insert(&mut self, value: T) -> bool {
        self.0.insert(value, ()).is_none()
    }

    /// Removes a value. False: it was not there.
    pub fn remove(&mut self, value: &T) -> bool {
        self.0.remove(value).is_some()
    }

    /// The lowest.
    pub fn first(&self) -> Option<&T> {
        self.iter().next()
    }

    /// Those that are not below `first`, ascending.
    pub fn range_from(&self, first: &T) -> impl Iterator<Item = &T> {
        self.0.range_from(first..).map(|(value, ())| value)
    }

    /// All, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_ordered_map_with_one_entry_and_with_several() {
        for seed in 0..500_u64 {
            let (mut few, mut map) = (FewMap::default(), BTreeMap::new());
            let mut drawn = seed;
            for step in 0..12 {
                drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let key = drawn >> 33 & 1 | (seed & 1) << 1 & drawn >> 40;
                match drawn >> 50 & 3 {
                    0 => assert_eq!(few.insert(key, step), map.insert(key, step)),
                    1 => assert_eq!(few.get_or_insert_with(key, || step), map.entry(key).or_insert(step)),
                    _ => assert_eq!(few.remove(&key), map.remove(&key)),
                }
                few.values_mut().for_each(|value| *value += 1);
                map.values_mut().for_each(|value| *value += 1);
                assert!(few.iter().eq(map.iter()) && few.values().eq(map.values()) && few.keys().eq(map.keys()));
                assert_eq!((few.get(&key), few.len()), (map.get(&key), map.len()));
                assert_eq!(few.get_mut(&key), map.get_mut(&key));
                assert_eq!(few.is_empty(), map.is_empty());
                assert_eq!(few.at_or_before(&key), map.range_mut(..=key).next_back());
                let last = key.max(drawn >> 45 & 3);
                assert!(few.range(key..=last).eq(map.range(key..=last)));
                #[allow(clippy::reversed_empty_ranges)] // that is what is tried
                let reversed = few.range(2..=1);
                assert_eq!(reversed.count(), 0);
            }
        }
    }
}
