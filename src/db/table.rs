//! A table's rows that one transaction touches: read once, changed in memory, written once.
//!
//! A group of batches costs a few statements however many batches it has; a batch that is refused is undone in
//! memory; a row that ends as it began is not written.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Iterable, ModelTrait,
    PrimaryKeyToColumn, QueryFilter,
};

/// Values in one statement; both engines allow more.
const MAX_VALUES: usize = 16_000;
/// Keys in one condition; SQLite allows expressions 1,000 deep.
const MAX_KEYS: usize = 400;

/// A row that a [`Table`] can hold.
pub(super) trait Row: ModelTrait + Clone + PartialEq + Sync + 'static {
    /// What tells rows apart.
    type Key: Ord + Clone + Debug + Send + Sync;

    /// Returns the row's key.
    fn key(&self) -> Self::Key;

    /// Names exactly the rows with these keys.
    fn among(keys: &[Self::Key]) -> Condition;
}

/// Implements [`Row`] for the entity in module `$of`.
macro_rules! row {
    ($of:ident, $field:ident: $type:ty as $column:ident) => {
        impl Row for $of::Model {
            type Key = $type;

            fn key(&self) -> $type {
                self.$field.clone()
            }

            fn among(keys: &[$type]) -> Condition {
                Condition::any().add($of::Column::$column.is_in(keys.iter().cloned()))
            }
        }
    };
    ($of:ident, $(($field:ident: $type:ty as $column:ident)),+) => {
        impl Row for $of::Model {
            type Key = ($($type),+);

            fn key(&self) -> Self::Key {
                ($(self.$field.clone()),+)
            }

            fn among(keys: &[Self::Key]) -> Condition {
                keys.iter().fold(Condition::any(), |any, ($($field),+)| {
                    any.add(Condition::all()$(.add($of::Column::$column.eq($field.clone())))+)
                })
            }
        }
    };
}
pub(super) use row;

/// What the database holds for a key.
#[derive(Debug, Clone, PartialEq)]
enum Stored<M> {
    Unknown,
    Absent,
    Row(M),
}

#[derive(Debug, Clone)]
struct Slot<M> {
    stored: Stored<M>,
    now: Option<M>,
}

/// The touched rows of one table.
#[derive(Debug)]
pub(super) struct Table<M: Row> {
    slots: BTreeMap<M::Key, Slot<M>>,
    /// What the current batch changed: the key, and what was known of it before: nothing, that it is gone, or a row.
    journal: Vec<(M::Key, Option<Option<M>>)>,
}

impl<M: Row> Default for Table<M> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), journal: Vec::new() }
    }
}

impl<M: Row> Table<M> {
    /// Returns a row that was loaded or put.
    pub(super) fn get(&self, key: &M::Key) -> Option<&M> {
        self.slots.get(key)?.now.as_ref()
    }

    /// Returns the loaded rows that `fits`, in the order of their keys.
    pub(super) fn all(&self, fits: impl Fn(&M) -> bool) -> Vec<M> {
        self.slots.values().filter_map(|slot| slot.now.as_ref()).filter(|row| fits(row)).cloned().collect()
    }

    /// Returns the loaded rows from `first` on, in the order of their keys.
    pub(super) fn from(&self, first: &M::Key) -> impl Iterator<Item = &M> {
        let range = (Bound::Included(first), Bound::Unbounded);
        self.slots.range::<M::Key, _>(range).filter_map(|(_, slot)| slot.now.as_ref())
    }

    /// Stores a row.
    pub(super) fn put(&mut self, row: M) {
        self.set(row.key(), Some(row));
    }

    /// Removes a row.
    pub(super) fn delete(&mut self, key: &M::Key) {
        self.set(key.clone(), None);
    }

    /// Changes a row if it is there.
    pub(super) fn change(&mut self, key: &M::Key, change: impl FnOnce(&mut M)) {
        if let Some(mut row) = self.get(key).cloned() {
            change(&mut row);
            self.put(row);
        }
    }

    fn set(&mut self, key: M::Key, now: Option<M>) {
        let before = match self.slots.get_mut(&key) {
            Some(slot) => Some(std::mem::replace(&mut slot.now, now)),
            None => {
                self.slots.insert(key.clone(), Slot { stored: Stored::Unknown, now });
                None
            }
        };
        self.journal.push((key, before));
    }

    /// Keeps what was changed since the last call.
    pub(super) fn keep(&mut self) {
        self.journal.clear();
    }

    /// Takes back what was changed since [`Table::keep`].
    pub(super) fn undo(&mut self) {
        for (key, before) in self.journal.drain(..).rev() {
            match (before, self.slots.get_mut(&key)) {
                (Some(before), Some(slot)) => slot.now = before,
                // Nobody looked whether there is a row: one that is there stays.
                (None, _) => drop(self.slots.remove(&key)),
                (Some(_), None) => {}
            }
        }
    }
}

impl<M, E> Table<M>
where
    M: Row + ModelTrait<Entity = E> + IntoActiveModel<E::ActiveModel>,
    E: EntityTrait<Model = M>,
    E::ActiveModel: Send + ActiveModelTrait<Entity = E>,
{
    /// Reads the rows with these keys.
    pub(super) async fn load(
        &mut self,
        conn: &impl ConnectionTrait,
        keys: impl IntoIterator<Item = M::Key>,
    ) -> Result<(), DbErr> {
        let keys: Vec<M::Key> = keys.into_iter().filter(|key| !self.slots.contains_key(key)).collect();
        for chunk in keys.chunks(MAX_KEYS) {
            self.load_where(conn, M::among(chunk)).await?;
            for key in chunk {
                self.slots.entry(key.clone()).or_insert(Slot { stored: Stored::Absent, now: None });
            }
        }
        Ok(())
    }

    /// Reads the rows that fit `condition`.
    pub(super) async fn load_where(
        &mut self,
        conn: &impl ConnectionTrait,
        condition: Condition,
    ) -> Result<(), DbErr> {
        for row in E::find().filter(condition).all(conn).await? {
            self.slots
                .entry(row.key())
                .or_insert_with(|| Slot { stored: Stored::Row(row.clone()), now: Some(row) });
        }
        Ok(())
    }

    /// Writes what differs from the database.
    pub(super) async fn write(&self, conn: &impl ConnectionTrait) -> Result<(), DbErr> {
        let gone: Vec<M::Key> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.now.is_none() && slot.stored != Stored::Absent)
            .map(|(key, _)| key.clone())
            .collect();
        for chunk in gone.chunks(MAX_KEYS) {
            E::delete_many().filter(M::among(chunk)).exec(conn).await?;
        }
        let changed: Vec<&M> = self.slots.values().filter_map(changed_row).collect();
        let columns = E::Column::iter().count().max(1);
        for chunk in changed.chunks(MAX_VALUES / columns) {
            let rows = chunk.iter().map(|row| (*row).clone().into_active_model());
            E::insert_many(rows).on_conflict(overwrite::<E>()).exec_without_returning(conn).await?;
        }
        Ok(())
    }
}

fn changed_row<M: Row>(slot: &Slot<M>) -> Option<&M> {
    let now = slot.now.as_ref()?;
    match &slot.stored {
        Stored::Row(stored) if stored == now => None,
        _ => Some(now),
    }
}

fn overwrite<E: EntityTrait>() -> OnConflict {
    let keys: Vec<E::Column> = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect();
    let is_key = |column: &E::Column| keys.iter().any(|key| format!("{key:?}") == format!("{column:?}"));
    let rest: Vec<E::Column> = E::Column::iter().filter(|column| !is_key(column)).collect();
    let mut conflict = OnConflict::columns(keys.clone());
    if rest.is_empty() {
        // A row that is all key is there already.
        return conflict.do_nothing().to_owned();
    }
    conflict.update_columns(rest).to_owned()
}
