//! Reusable policies of Access: who may pass, on which conditions. Groups that people made are mirrored as such, and so
//! are the rules that a container brings itself.
//!
//! They belong to the account and not to a tunnel, so rows are read and written while the policy's name is held.

use std::collections::BTreeSet;

use super::owned::{Looked, Owned, OwnedError, Standing};
use super::shared::Shared;
use crate::cloudflare::{AccessPolicy, Cloudflare};
use crate::db::RowChange;
use crate::db::access::{AccessApplicationRow, AccessPolicyRow, find_policy};
use crate::domain::access::{FoundPolicy, OwnPolicy, PolicyStep, WantedPolicy, policy_step};
use crate::domain::account_limits::Limited;
use crate::domain::adopt::used_by;
use crate::domain::drift::Drift;
use crate::domain::id::PolicyId;
use crate::domain::owned::OwnedKind;

/// What Cloudflare keeps is not what it was asked for.
const ALTERED: &str = "Cloudflare took the policy, but keeps another one than it was asked for";

/// The policies of the account.
pub(super) struct Policies<'a> {
    pub shared: &'a Shared,
    pub client: &'a Cloudflare,
}

impl Owned for Policies<'_> {
    type Wanted = WantedPolicy;
    type Key = String;

    fn name(wanted: &WantedPolicy) -> &str {
        &wanted.name
    }

    /// Written while its name is held.
    fn row_before(&self, _: &WantedPolicy) -> Option<RowChange> {
        None
    }

    async fn look(&self, wanted: &WantedPolicy) -> Result<Looked, OwnedError> {
        let _held = self.hold(&wanted.name).await;
        let row = self.row(&wanted.name).await?;
        let found = self.candidates(wanted, row.as_ref()).await?;
        let noted = row.as_ref().filter(|row| is_settled(Some(row), wanted, None));
        let step = step_among(wanted, &found, row.as_ref());
        let is_kept = matches!(&step, PolicyStep::Keep { id } if is_settled(noted, wanted, Some(id)));
        let drift = noted.filter(|_| !is_kept).map(|row| {
            let there = found.iter().find(|policy| Some(&policy.id) == row.policy_id.as_ref());
            Drift::of(OwnedKind::Policy, &wanted.name, &row.body, there.map(|policy| &policy.body))
        });
        let standing = match step {
            PolicyStep::Keep { .. } if is_kept => Some(Standing::Ours),
            PolicyStep::Blocked { reason } => Some(Standing::Blocked(reason)),
            _ => None,
        };
        Ok(Looked { standing, drift })
    }

    async fn ensure(&self, wanted: &WantedPolicy) -> Result<Standing, OwnedError> {
        let _held = self.hold(&wanted.name).await;
        let row = self.row(&wanted.name).await?;
        match self.step(wanted, row.as_ref()).await? {
            PolicyStep::Keep { id } => self.keep(wanted, row.as_ref(), id).await,
            PolicyStep::Create => {
                if let Some(reason) = self.shared.usage.take_place(self.client, Limited::Policies).await? {
                    return Ok(Standing::Blocked(reason));
                }
                self.note(self.unsettled(wanted, row.as_ref(), None)).await?;
                let made = self.client.create_access_policy(&wanted.body).await;
                let made = self.shared.usage.made(Limited::Policies, made).await?;
                self.read_back(wanted, None, made.id).await
            }
            PolicyStep::Update { id, body } => {
                self.note(self.under_way(wanted, row.as_ref(), id.clone())).await?;
                self.client.put_access_policy(&id, &body).await?;
                self.read_back(wanted, row.as_ref(), id).await
            }
            PolicyStep::Blocked { reason } => Ok(Standing::Blocked(reason)),
        }
    }

    /// One that is in use stays, whoever uses it.
    async fn remove(&self, name: &String) -> Result<(), OwnedError> {
        let _held = self.hold(name).await;
        let Some(row) = self.row(name).await? else { return Ok(()) };
        let found = self.found(&row).await?;
        if let Some(policy) = found {
            // Others use what was adopted, and need not be asked in vain.
            let is_adopted = !is_made_here(name, &self.shared.mark);
            if is_adopted && used_by(&policy.raw).is_some_and(|apps| apps > 0) {
                return Ok(());
            }
            if row.is_settled {
                self.note(AccessPolicyRow { is_settled: false, ..row.clone() }).await?;
            }
            match self.client.delete_access_policy(&policy.id).await {
                Err(error) if error.is_access_conflict() => return self.note(row).await,
                deleted => deleted?,
            }
        }
        let account_id = row.account_id.clone();
        Ok(self.shared.write(vec![RowChange::DeleteAccessPolicy { account_id, name: name.clone() }]).await?)
    }
}

/// True if the row says that just this is there, and was read back.
pub(super) fn is_settled(
    row: Option<&AccessPolicyRow>,
    wanted: &WantedPolicy,
    id: Option<&PolicyId>,
) -> bool {
    row.is_some_and(|row| {
        row.is_settled
            && row.policy_id.is_some()
            && row.body == wanted.body
            && id.is_none_or(|id| row.policy_id.as_ref() == Some(id))
    })
}

impl Policies<'_> {
    async fn hold(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        self.shared.locks.lock(&format!("policy {name}")).await
    }

    async fn row(&self, name: &str) -> Result<Option<AccessPolicyRow>, OwnedError> {
        Ok(find_policy(&self.shared.db, self.shared.cloudflare.account(), name).await?)
    }

    /// The policy of a row as Cloudflare has it: by its id, or by its name while its id is not known.
    async fn found(&self, row: &AccessPolicyRow) -> Result<Option<AccessPolicy>, OwnedError> {
        Ok(match &row.policy_id {
            Some(id) => self.client.read_access_policy(id).await?,
            None => self.client.find_access_policies(&row.name).await?.into_iter().next(),
        })
    }

    async fn step(
        &self,
        wanted: &WantedPolicy,
        row: Option<&AccessPolicyRow>,
    ) -> Result<PolicyStep, OwnedError> {
        Ok(step_among(wanted, &self.candidates(wanted, row).await?, row))
    }

    /// The policy of our row, or those that have its name.
    async fn candidates(
        &self,
        wanted: &WantedPolicy,
        row: Option<&AccessPolicyRow>,
    ) -> Result<Vec<FoundPolicy>, OwnedError> {
        let by_id = match row {
            Some(row) if row.policy_id.is_some() => self.found(row).await?,
            _ => None,
        };
        let found = match by_id {
            Some(policy) => vec![policy],
            None => self.client.find_access_policies(&wanted.name).await?,
        };
        Ok(found.into_iter().map(found_policy).collect())
    }

    /// The answer to a write is not believed: what Cloudflare keeps is read.
    async fn read_back(
        &self,
        wanted: &WantedPolicy,
        before: Option<&AccessPolicyRow>,
        id: PolicyId,
    ) -> Result<Standing, OwnedError> {
        let row = self.under_way(wanted, before, id.clone());
        self.note(row.clone()).await?;
        let found = self.client.read_access_policy(&id).await?.map(found_policy);
        let own = OwnPolicy { key: wanted.key.clone(), id: Some(id.clone()) };
        match policy_step(wanted, found.as_slice(), Some(&own)) {
            PolicyStep::Keep { id } => self.keep(wanted, Some(&row), id).await,
            _ => Ok(Standing::Blocked(ALTERED.into())),
        }
    }

    /// The row while nobody knows what became of a write. It says what was read back last, which may be there still, unless
    /// what is asked for lets everybody in: that may be there by now.
    fn under_way(
        &self,
        wanted: &WantedPolicy,
        before: Option<&AccessPolicyRow>,
        id: PolicyId,
    ) -> AccessPolicyRow {
        let row = self.unsettled(wanted, before, Some(id));
        match before.filter(|_| !wanted.is_bypass) {
            Some(before) => AccessPolicyRow { body: before.body.clone(), ..row },
            None => row,
        }
    }

    fn unsettled(
        &self,
        wanted: &WantedPolicy,
        row: Option<&AccessPolicyRow>,
        id: Option<PolicyId>,
    ) -> AccessPolicyRow {
        AccessPolicyRow {
            account_id: self.shared.cloudflare.account().clone(),
            name: wanted.name.clone(),
            policy_id: id,
            body: wanted.body.clone(),
            created_at: row.map_or_else(|| self.shared.clock.now(), |row| row.created_at),
            is_settled: false,
        }
    }

    async fn keep(
        &self,
        wanted: &WantedPolicy,
        row: Option<&AccessPolicyRow>,
        id: PolicyId,
    ) -> Result<Standing, OwnedError> {
        let settled = AccessPolicyRow { is_settled: true, ..self.unsettled(wanted, row, Some(id)) };
        self.note(settled).await?;
        Ok(Standing::Ours)
    }

    async fn note(&self, row: AccessPolicyRow) -> Result<(), OwnedError> {
        Ok(self.shared.write(vec![RowChange::PutAccessPolicy(row)]).await?)
    }
}

/// True if a policy of ours was made here; others were adopted.
pub(super) fn is_made_here(name: &str, mark: &str) -> bool {
    name.ends_with(&format!(" ({mark})"))
}

/// Policies of ours that none of these applications links to, and that no group is mirrored by.
pub(super) fn unused<'r>(
    rows: impl IntoIterator<Item = &'r AccessPolicyRow>,
    applications: &[&AccessApplicationRow],
    is_mirror: impl Fn(&str) -> bool,
) -> Vec<&'r AccessPolicyRow> {
    let linked: BTreeSet<String> = applications.iter().flat_map(|row| linked_policies(&row.body)).collect();
    let is_linked =
        |row: &AccessPolicyRow| row.policy_id.as_ref().is_some_and(|id| linked.contains(id.as_str()));
    rows.into_iter().filter(|row| !is_linked(row) && !is_mirror(&row.name)).collect()
}

/// Ids of the policies that an application was asked to have.
pub(super) fn linked_policies(body: &serde_json::Value) -> Vec<String> {
    let policies = body.get("policies").and_then(serde_json::Value::as_array);
    let ids = policies.into_iter().flatten().filter_map(|policy| policy.get("id")?.as_str());
    ids.map(str::to_owned).collect()
}

fn step_among(wanted: &WantedPolicy, found: &[FoundPolicy], row: Option<&AccessPolicyRow>) -> PolicyStep {
    let own = row.map(|row| OwnPolicy { key: wanted.key.clone(), id: row.policy_id.clone() });
    policy_step(wanted, found, own.as_ref())
}

pub(super) fn found_policy(policy: AccessPolicy) -> FoundPolicy {
    FoundPolicy { id: policy.id, name: policy.name, body: serde_json::Value::Object(policy.raw) }
}
