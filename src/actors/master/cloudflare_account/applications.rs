//! Applications of Access: each protects a hostname, or a part of it, by policies.

use std::collections::BTreeSet;

use super::owned::{Looked, Owned, OwnedError, Standing};
use super::shared::Shared;
use crate::cloudflare::{AccessApp, Cloudflare};
use crate::db::RowChange;
use crate::db::access::{AccessApplicationRow, find_application};
use crate::domain::access::{
    ApplicationStep, FoundApplication, OwnApplication, WantedApplication, application_step,
};
use crate::domain::account_limits::Limited;
use crate::domain::drift::Drift;
use crate::domain::id::{ApplicationId, PolicyId, TunnelId};
use crate::domain::owned::OwnedKind;

/// What Cloudflare keeps is not what it was asked for.
const ALTERED: &str = "Cloudflare took the application, but keeps another one than it was asked for";

/// The applications that protect the routes of one tunnel.
pub(super) struct Applications<'a> {
    pub shared: &'a Shared,
    pub client: &'a Cloudflare,
    pub tunnel: &'a TunnelId,
    /// Every policy of the account that is ours: an application that has one of them was made by us.
    pub our_policies: &'a BTreeSet<PolicyId>,
}

/// An application that is to be there.
#[derive(Debug, Clone)]
pub(super) struct AskedApplication {
    pub wanted: WantedApplication,
    /// Its policies, in order.
    pub policies: Vec<PolicyId>,
}

impl AskedApplication {
    /// True if the row says that just this is there, for this tunnel, and was read back.
    pub fn is_settled(&self, row: &AccessApplicationRow, tunnel: &TunnelId) -> bool {
        row.is_settled
            && row.application_id.is_some()
            && row.tunnel_id == *tunnel
            && row.body == self.wanted.body(&self.policies)
    }
}

impl Owned for Applications<'_> {
    type Wanted = AskedApplication;
    type Key = String;

    fn name(asked: &AskedApplication) -> &str {
        &asked.wanted.domain
    }

    /// Written while its domain is held.
    fn row_before(&self, _: &AskedApplication) -> Option<RowChange> {
        None
    }

    async fn look(&self, asked: &AskedApplication) -> Result<Looked, OwnedError> {
        let domain = &asked.wanted.domain;
        let _held = self.hold(domain).await;
        let row = self.row(domain).await?;
        let noted = row.as_ref().filter(|row| asked.is_settled(row, self.tunnel));
        let found = self.found(domain, row.as_ref()).await?;
        let own = row.as_ref().map(|row| OwnApplication { id: row.application_id.clone() });
        let step = application_step(&asked.wanted, &asked.policies, self.our_policies, &found, own.as_ref());
        let is_kept = matches!(step, ApplicationStep::Keep { .. });
        let drift = noted.filter(|_| !is_kept).map(|row| {
            let there = found.iter().find(|app| Some(&app.id) == row.application_id.as_ref());
            let there = there.map(|app| serde_json::Value::Object(app.raw.clone()));
            Drift::of(OwnedKind::Application, domain, &row.body, there.as_ref())
        });
        let standing = match step {
            ApplicationStep::Keep { .. } if noted.is_some() => Some(Standing::Ours),
            ApplicationStep::Blocked { reason } => Some(Standing::Blocked(reason)),
            _ => None,
        };
        Ok(Looked { standing, drift })
    }

    async fn ensure(&self, asked: &AskedApplication) -> Result<Standing, OwnedError> {
        let _held = self.hold(&asked.wanted.domain).await;
        let row = self.row(&asked.wanted.domain).await?;
        match self.step(asked, row.as_ref()).await? {
            ApplicationStep::Keep { id, aud } => self.keep(asked, row.as_ref(), id, aud).await,
            ApplicationStep::Create { body } => {
                if let Some(reason) = self.shared.usage.take_place(self.client, Limited::Applications).await?
                {
                    return Ok(Standing::Blocked(reason));
                }
                self.note(self.unsettled(asked, row.as_ref(), None)).await?;
                let made = self.client.create_access_app(&body).await;
                let made = self.shared.usage.made(Limited::Applications, made).await?;
                self.read_back(asked, None, made.id).await
            }
            ApplicationStep::Update { id, body } => {
                self.note(self.under_way(asked, row.as_ref(), id.clone())).await?;
                self.client.put_access_app(&id, &body).await?;
                self.read_back(asked, row.as_ref(), id).await
            }
            ApplicationStep::Blocked { reason } => {
                self.forget(&asked.wanted.domain).await?;
                Ok(Standing::Blocked(reason))
            }
        }
    }

    /// If another tunnel gets the name, the application is left to that one: deleted, the name would be open until then.
    async fn remove(&self, domain: &String) -> Result<(), OwnedError> {
        let _held = self.hold(domain).await;
        // Another tunnel has taken the name over meanwhile, application and row.
        let Some(row) = self.row(domain).await?.filter(|row| row.tunnel_id == *self.tunnel) else {
            return Ok(());
        };
        let hostname = domain.split('/').next().unwrap_or_default();
        if let Some(next) = self.shared.next_tunnel(hostname).await?.filter(|next| next != self.tunnel) {
            return self.note(AccessApplicationRow { tunnel_id: next, ..row }).await;
        }
        if let Some(id) = self.ours(&row).await? {
            if row.is_settled {
                self.note(AccessApplicationRow { is_settled: false, ..row }).await?;
            }
            self.client.delete_access_app(&id).await?;
        }
        self.forget(domain).await
    }
}

impl Applications<'_> {
    async fn hold(&self, domain: &str) -> tokio::sync::OwnedMutexGuard<()> {
        self.shared.locks.lock(&format!("application {domain}")).await
    }

    async fn row(&self, domain: &str) -> Result<Option<AccessApplicationRow>, OwnedError> {
        Ok(find_application(&self.shared.db, self.shared.cloudflare.account(), domain).await?)
    }

    /// What is there for a domain: the application of our row, or those that protect it.
    async fn found(
        &self,
        domain: &str,
        row: Option<&AccessApplicationRow>,
    ) -> Result<Vec<FoundApplication>, OwnedError> {
        let by_id = match row.and_then(|row| row.application_id.as_ref()) {
            Some(id) => self.client.read_access_app(id).await?,
            None => None,
        };
        let found = match by_id {
            Some(app) => vec![app],
            None => self.client.find_access_apps(domain).await?,
        };
        Ok(found.into_iter().map(found_application).collect())
    }

    async fn step(
        &self,
        asked: &AskedApplication,
        row: Option<&AccessApplicationRow>,
    ) -> Result<ApplicationStep, OwnedError> {
        let found = self.found(&asked.wanted.domain, row).await?;
        let own = row.map(|row| OwnApplication { id: row.application_id.clone() });
        Ok(application_step(&asked.wanted, &asked.policies, self.our_policies, &found, own.as_ref()))
    }

    /// The application of a row, if it is there still.
    async fn ours(&self, row: &AccessApplicationRow) -> Result<Option<ApplicationId>, OwnedError> {
        let found = self.found(&row.domain, Some(row)).await?;
        let own = OwnApplication { id: row.application_id.clone() };
        let ours = found.iter().find(|app| own.is(app, &row.domain, self.our_policies));
        Ok(ours.map(|app| app.id.clone()))
    }

    /// The answer to a write is not believed: what Cloudflare keeps is read.
    async fn read_back(
        &self,
        asked: &AskedApplication,
        before: Option<&AccessApplicationRow>,
        id: ApplicationId,
    ) -> Result<Standing, OwnedError> {
        let row = self.under_way(asked, before, id.clone());
        self.note(row.clone()).await?;
        let found = self.client.read_access_app(&id).await?.map(found_application);
        let own = OwnApplication { id: Some(id) };
        match application_step(
            &asked.wanted,
            &asked.policies,
            self.our_policies,
            found.as_slice(),
            Some(&own),
        ) {
            ApplicationStep::Keep { id, aud } => self.keep(asked, Some(&row), id, aud).await,
            _ => Ok(Standing::Blocked(ALTERED.into())),
        }
    }

    /// The row while nobody knows what became of a write. It says what was read back last, which may be there still, unless
    /// what is asked for lets somebody in unasked: that may be there by now.
    fn under_way(
        &self,
        asked: &AskedApplication,
        before: Option<&AccessApplicationRow>,
        id: ApplicationId,
    ) -> AccessApplicationRow {
        let row = self.unsettled(asked, before, Some(id));
        match before.filter(|_| !asked.wanted.has_bypass()) {
            Some(before) => AccessApplicationRow { body: before.body.clone(), ..row },
            None => row,
        }
    }

    fn unsettled(
        &self,
        asked: &AskedApplication,
        row: Option<&AccessApplicationRow>,
        id: Option<ApplicationId>,
    ) -> AccessApplicationRow {
        AccessApplicationRow {
            account_id: self.shared.cloudflare.account().clone(),
            domain: asked.wanted.domain.clone(),
            application_id: id,
            aud: row.and_then(|row| row.aud.clone()),
            tunnel_id: self.tunnel.clone(),
            body: asked.wanted.body(&asked.policies),
            created_at: row.map_or_else(|| self.shared.clock.now(), |row| row.created_at),
            is_settled: false,
        }
    }

    async fn keep(
        &self,
        asked: &AskedApplication,
        row: Option<&AccessApplicationRow>,
        id: ApplicationId,
        aud: Option<String>,
    ) -> Result<Standing, OwnedError> {
        let row = self.unsettled(asked, row, Some(id));
        self.note(AccessApplicationRow { is_settled: true, aud: aud.or(row.aud.clone()), ..row }).await?;
        Ok(Standing::Ours)
    }

    async fn note(&self, row: AccessApplicationRow) -> Result<(), OwnedError> {
        Ok(self.shared.write(vec![RowChange::PutAccessApplication(row)]).await?)
    }

    async fn forget(&self, domain: &str) -> Result<(), OwnedError> {
        let account_id = self.shared.cloudflare.account().clone();
        let forget = RowChange::DeleteAccessApplication { account_id, domain: domain.to_owned() };
        Ok(self.shared.write(vec![forget]).await?)
    }
}

pub(super) fn found_application(app: AccessApp) -> FoundApplication {
    let domain = app.raw.get("domain").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    FoundApplication { id: app.id, aud: app.aud, domain, raw: app.raw }
}
