//! A line in which each stands once: joining, jumping it and leaving cost the same however long it is.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::Hash;

/// Those who wait, in order.
#[derive(Debug)]
pub struct Line<T> {
    order: BTreeMap<i64, T>,
    places: HashMap<T, i64>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), places: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Line<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True if nobody waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Joins at the end; who stands in the line already keeps its place.
    pub fn join(&mut self, one: T) {
        if !self.places.contains_key(&one) {
            let place = self.order.last_key_value().map_or(0, |(last, _)| last + 1);
            self.put(place, one);
        }
    }

    /// Goes to the front, from wherever it stood.
    pub fn jump(&mut self, one: T) {
        self.leave(&one);
        let place = self.order.first_key_value().map_or(0, |(first, _)| first - 1);
        self.put(place, one);
    }

    /// Leaves the line; says whether it stood in it.
    pub fn leave(&mut self, one: &T) -> bool {
        self.places.remove(one).is_some_and(|place| self.order.remove(&place).is_some())
    }

    /// Takes the first one.
    pub fn take_first(&mut self) -> Option<T> {
        self.take_first_who(|_| true)
    }

    /// Takes the first one who `may` go; the others keep their places.
    pub fn take_first_who(&mut self, may: impl Fn(&T) -> bool) -> Option<T> {
        let one = self.order.values().find(|one| may(one))?.clone();
        self.leave(&one);
        Some(one)
    }

    fn put(&mut self, place: i64, one: T) {
        self.order.insert(place, one.clone());
        self.places.insert(one, place);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_list_in_which_each_stands_once(steps in prop::collection::vec((0_u8..5, 0_u8..6), 0..60)) {
            let (mut line, mut list) = (Line::default(), VecDeque::new());
            for (step, one) in steps {
                match step {
                    0 => {
                        line.join(one);
                        if !list.contains(&one) {
                            list.push_back(one);
                        }
                    }
                    1 => {
                        line.jump(one);
                        list.retain(|other| *other != one);
                        list.push_front(one);
                    }
                    2 => {
                        prop_assert_eq!(line.leave(&one), list.contains(&one));
                        list.retain(|other| *other != one);
                    }
                    3 => prop_assert_eq!(line.take_first(), list.pop_front()),
                    _ => {
                        let at = list.iter().position(|other| *other > one);
                        prop_assert_eq!(line.take_first_who(|other| *other > one), at.and_then(|at| list.remove(at)));
                    }
                }
                prop_assert_eq!((line.len(), line.is_empty()), (list.len(), list.is_empty()));
            }
        }
    }
}
