//! What we own at Cloudflare, whatever its kind: a DNS record, an application or a policy of Access.
//!
//! A thing is ours if it carries our marker ([`Shared::marker`]) and has a row. Its row says "not settled" before a call
//! that makes, changes or removes it, and goes on saying so until the outcome is known: after a cut, a time-out or an
//! error of Cloudflare's, or after an end of the process, the next one looks before anything is said of it. What others
//! made is used or in the way, and never changed.

#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};

use super::shared::{Shared, StoreFailed};
use super::words::Stop;
use crate::cloudflare::CfError;
use crate::db::{DbError, RowChange};
use crate::domain::drift::{Drift, Remedy};

/// Calls about things of one kind that run side by side.
pub(super) const SIDE_BY_SIDE: usize = 8;

/// A kind of thing that we own; one file each.
///
/// What protects a name is ensured and looked at in `Pass::protect`, what makes it reachable in `Pass::publish`.
pub(super) trait Owned {
    /// One that is wanted, with its row as it was before this piece of work.
    type Wanted;
    /// By what one of ours is found that nobody wants any more.
    type Key;

    /// What it is called among its kind.
    fn name(wanted: &Self::Wanted) -> &str;

    /// The row that is written before [`ensure`](Self::ensure): not settled. None if it says so already, or if `ensure`
    /// writes it itself.
    fn row_before(&self, wanted: &Self::Wanted) -> Option<RowChange>;

    /// Says how a thing stands, and what others changed of it; changes nothing at Cloudflare.
    async fn look(&self, wanted: &Self::Wanted) -> Result<Looked, OwnedError>;

    /// Makes or changes it, so that it is as wanted. Its row must be written already.
    async fn ensure(&self, wanted: &Self::Wanted) -> Result<Standing, OwnedError>;

    /// Removes it if it is still ours, and its row; writes before that call that the row is not settled.
    async fn remove(&self, key: &Self::Key) -> Result<(), OwnedError>;
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// How the thing stands; none if something is to be done for it.
    pub standing: Option<Standing>,
    /// What somebody changed of it since it was known to be as it should.
    pub drift: Option<Drift>,
}

impl Looked {
    /// What can be done about what was changed: what is somebody else's by now is left to people.
    pub fn remedy(&self) -> Remedy {
        match self.standing {
            Some(Standing::Theirs | Standing::Blocked(_)) => Remedy::ByPerson,
            Some(Standing::Ours) | None => Remedy::Either,
        }
    }
}

impl From<Option<Standing>> for Looked {
    fn from(standing: Option<Standing>) -> Self {
        Self { standing, drift: None }
    }
}

/// How a thing stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// It is as wanted, and ours.
    Ours,
    /// It is as wanted, and somebody else's; we use it and leave it.
    Theirs,
    /// Something of somebody else's is in its place.
    Blocked(String),
}

/// Why a thing could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnedError {
    #[error(transparent)]
    Cloudflare(#[from] CfError),
    #[error(transparent)]
    Store(#[from] StoreFailed),
    #[error("the database could not be read")]
    Db(#[from] DbError),
    #[error("nothing could be planned for `{0}`")]
    Unplanned(String),
    /// Nothing was sent.
    #[error("a change came first")]
    Overtaken,
}

/// What became of a thing, by its name.
pub(super) type Ended = (String, Result<Standing, OwnedError>);

impl From<OwnedError> for Stop {
    fn from(error: OwnedError) -> Self {
        match error {
            OwnedError::Cloudflare(error) => Self::Cloudflare(error),
            OwnedError::Store(error) => Self::Store(error),
            OwnedError::Db(error) => Self::Db(error),
            OwnedError::Unplanned(name) => Self::Unplanned(name),
            OwnedError::Overtaken => Self::PutOff(Duration::ZERO),
        }
    }
}

/// Looks at one.
pub(super) async fn look<K: Owned>(kind: &K, wanted: &K::Wanted) -> Result<Result<Looked, OwnedError>, Stop> {
    match kind.look(wanted).await {
        // Nothing is known of the others either.
        Err(OwnedError::Cloudflare(error)) if error.is_transient() => Err(Stop::from(error)),
        looked => Ok(looked),
    }
}

/// Looks at many, so many `side_by_side`, as long as each `may_go_on`. Returns those for which nothing is to be done.
pub(super) async fn look_all<K: Owned>(
    kind: &K,
    wanted: Vec<K::Wanted>,
    side_by_side: usize,
    may_go_on: impl Fn() -> Result<(), Stop>,
) -> Result<Vec<Ended>, Stop> {
    let looks = stream::iter(&wanted).map(async |wanted| {
        may_go_on()?;
        let standing = look(kind, wanted).await?.map(|looked| looked.standing).transpose();
        Ok(standing.map(|standing| (K::name(wanted).to_owned(), standing)))
    });
    let looks: Vec<Result<_, Stop>> = looks.buffer_unordered(side_by_side).collect().await;
    looks.into_iter().filter_map(Result::transpose).collect()
}

/// Ensures things whose rows are written, some at a time. Those that are left once something `is_overtaking` come later.
pub(super) fn ensure_all<K: Owned>(
    kind: &K,
    wanted: Vec<K::Wanted>,
    is_overtaking: impl Fn() -> bool,
) -> impl Stream<Item = Ended> {
    let work = stream::iter(wanted).map(move |wanted| {
        let is_overtaken = is_overtaking();
        async move {
            let standing = match is_overtaken {
                true => Err(OwnedError::Overtaken),
                false => kind.ensure(&wanted).await,
            };
            (K::name(&wanted).to_owned(), standing)
        }
    });
    work.buffer_unordered(SIDE_BY_SIDE)
}

/// Ensures a thing of which a look showed that it is not as it should be.
pub(super) async fn put_right<K: Owned>(
    shared: &Shared,
    kind: &K,
    wanted: &K::Wanted,
) -> Result<Standing, OwnedError> {
    shared.write(kind.row_before(wanted).into_iter().collect()).await?;
    kind.ensure(wanted).await
}

/// Removes things that nobody wants any more, some at a time; the first trouble is told once all calls are done.
pub(super) async fn remove_all<K: Owned>(kind: &K, keys: &[K::Key]) -> Result<(), OwnedError> {
    let work = stream::iter(keys).map(|key| kind.remove(key));
    let ends: Vec<_> = work.buffer_unordered(SIDE_BY_SIDE).collect().await;
    ends.into_iter().collect()
}
