//! Calls about DNS records.

use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::call::Call;
use super::error::CfError;
use super::transport::Cloudflare;
use crate::domain::hostname::read_kept_form;
use crate::domain::id::{RecordId, ZoneId};

const PER_PAGE: usize = 100;

/// A record as Cloudflare keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DnsRecord {
    /// Its id.
    pub id: RecordId,
    /// `A`, `CNAME`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The complete name, in the form in which host names are kept.
    #[serde(deserialize_with = "read_kept_form")]
    pub name: String,
    /// What it points at; some kinds keep that elsewhere.
    #[serde(default)]
    pub content: Option<String>,
    /// True if requests go through Cloudflare.
    #[serde(default)]
    pub proxied: Option<bool>,
    /// Where our ownership marker is.
    #[serde(default)]
    pub comment: Option<String>,
    /// What Cloudflare itself notes.
    #[serde(default)]
    pub meta: Option<DnsMeta>,
}

/// What Cloudflare itself notes of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DnsMeta {
    /// True if nobody can change or delete it here, because another product of Cloudflare made it.
    #[serde(default)]
    pub read_only: Option<bool>,
    /// The Worker whose custom domain it is.
    #[serde(default)]
    pub origin_worker_id: Option<String>,
}

/// A proxied CNAME to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewDnsRecord {
    /// The complete name, lower case, in Punycode.
    pub name: String,
    /// Where it points, such as `<tunnel>.cfargotunnel.com`.
    pub content: String,
    /// Ownership marker; at most 100 characters.
    pub comment: String,
}

impl NewDnsRecord {
    fn to_body(&self) -> Value {
        json!({
            "type": "CNAME",
            "name": self.name,
            "content": self.content,
            "comment": self.comment,
            "ttl": 1,
            "proxied": true,
        })
    }
}

/// Changes of one zone that take effect together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsBatch {
    /// Records to delete. One that is gone already fails the batch.
    pub deletes: Vec<RecordId>,
    /// Records to change; what [`NewDnsRecord`] does not name stays as it is.
    pub patches: Vec<(RecordId, NewDnsRecord)>,
    /// Records to replace.
    pub puts: Vec<(RecordId, NewDnsRecord)>,
    /// Records to make.
    pub posts: Vec<NewDnsRecord>,
}

impl DnsBatch {
    /// As many changes as Cloudflare takes at once without a paid plan.
    pub const MAX_CHANGES: usize = 200;

    /// Returns how many changes it holds.
    pub fn len(&self) -> usize {
        self.deletes.len() + self.patches.len() + self.puts.len() + self.posts.len()
    }

    /// True if it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn to_body(&self) -> Value {
        let with_id = |(id, record): &(RecordId, NewDnsRecord)| {
            let mut body = record.to_body();
            if let Value::Object(fields) = &mut body {
                fields.insert("id".into(), json!(id));
            }
            body
        };
        json!({
            "deletes": self.deletes.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>(),
            "patches": self.patches.iter().map(with_id).collect::<Vec<_>>(),
            "puts": self.puts.iter().map(with_id).collect::<Vec<_>>(),
            "posts": self.posts.iter().map(NewDnsRecord::to_body).collect::<Vec<_>>(),
        })
    }
}

/// What a batch brought about; each list is in the order of what was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DnsBatchDone {
    /// What was deleted, as it was.
    #[serde(default, deserialize_with = "no_list_is_an_empty_one")]
    pub deletes: Vec<DnsRecord>,
    /// What was changed, as it is.
    #[serde(default, deserialize_with = "no_list_is_an_empty_one")]
    pub patches: Vec<DnsRecord>,
    /// What was replaced, as it is.
    #[serde(default, deserialize_with = "no_list_is_an_empty_one")]
    pub puts: Vec<DnsRecord>,
    /// What was made.
    #[serde(default, deserialize_with = "no_list_is_an_empty_one")]
    pub posts: Vec<DnsRecord>,
}

fn no_list_is_an_empty_one<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<DnsRecord>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Cloudflare {
    /// Returns the records of exactly this name, of every kind.
    pub async fn list_dns(&self, zone: &ZoneId, name: &str) -> Result<Vec<DnsRecord>, CfError> {
        let call =
            || Call::get("list DNS records", &["zones", zone.as_str(), "dns_records"]).query("name", name);
        let records = self.list::<DnsRecord>(call, PER_PAGE).await?;
        Ok(records.into_iter().filter(|record| record.name.eq_ignore_ascii_case(name)).collect())
    }

    /// Returns the records of a zone that lead to tunnels, whoever made them.
    pub async fn list_tunnel_records(&self, zone: &ZoneId) -> Result<Vec<DnsRecord>, CfError> {
        let call = || {
            Call::get("list records that lead to tunnels", &["zones", zone.as_str(), "dns_records"])
                .query("type", "CNAME")
                .query("content.endswith", ".cfargotunnel.com")
        };
        self.list::<DnsRecord>(call, PER_PAGE).await
    }

    /// Makes a record. Never send it twice without looking: the first may have taken effect.
    pub async fn create_dns(&self, zone: &ZoneId, record: &NewDnsRecord) -> Result<DnsRecord, CfError> {
        let name = "create DNS record";
        let call =
            Call::new(name, Method::POST, &["zones", zone.as_str(), "dns_records"]).body(record.to_body());
        self.call(call).await?.required(name)
    }

    /// Replaces a record.
    pub async fn put_dns(
        &self,
        zone: &ZoneId,
        id: &RecordId,
        record: &NewDnsRecord,
    ) -> Result<DnsRecord, CfError> {
        let name = "put DNS record";
        let path = ["zones", zone.as_str(), "dns_records", id.as_str()];
        self.call(Call::new(name, Method::PUT, &path).body(record.to_body())).await?.required(name)
    }

    /// Makes many changes in one call: first what is deleted, then patches, puts and posts. One that fails undoes all.
    ///
    /// Fails with [`CfError::TooLarge`] if there are more than [`DnsBatch::MAX_CHANGES`]. An empty one is not sent.
    pub async fn batch_dns(&self, zone: &ZoneId, batch: &DnsBatch) -> Result<DnsBatchDone, CfError> {
        let name = "change DNS records";
        if batch.is_empty() {
            return Ok(DnsBatchDone::default());
        }
        if batch.len() > DnsBatch::MAX_CHANGES {
            let (count, most) = (batch.len(), DnsBatch::MAX_CHANGES);
            let reason = format!("it holds {count} changes, and Cloudflare takes {most} at once");
            return Err(CfError::TooLarge { call: name, reason });
        }
        let path = ["zones", zone.as_str(), "dns_records", "batch"];
        self.call(Call::new(name, Method::POST, &path).body(batch.to_body())).await?.required(name)
    }

    /// Deletes a record; one that is gone already is no error.
    pub async fn delete_dns(&self, zone: &ZoneId, id: &RecordId) -> Result<(), CfError> {
        let path = ["zones", zone.as_str(), "dns_records", id.as_str()];
        match self.call::<Value>(Call::new("delete DNS record", Method::DELETE, &path)).await {
            Err(error) if error.is_record_gone() => Ok(()),
            answer => answer.map(drop),
        }
    }
}
