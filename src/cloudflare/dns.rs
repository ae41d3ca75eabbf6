//! Calls about DNS records.

use reqwest::Method;
use serde::{Deserialize, Serialize};
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

impl Cloudflare {
    /// Returns the records of exactly this name, of every kind.
    pub async fn list_dns(&self, zone: &ZoneId, name: &str) -> Result<Vec<DnsRecord>, CfError> {
        let call =
            || Call::get("list DNS records", &["zones", zone.as_str(), "dns_records"]).query("name", name);
        let records = self.list::<DnsRecord>(call, PER_PAGE).await?;
        Ok(records.into_iter().filter(|record| record.name.eq_ignore_ascii_case(name)).collect())
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

    /// Deletes a record; one that is gone already is no error.
    pub async fn delete_dns(&self, zone: &ZoneId, id: &RecordId) -> Result<(), CfError> {
        let path = ["zones", zone.as_str(), "dns_records", id.as_str()];
        match self.call::<Value>(Call::new("delete DNS record", Method::DELETE, &path)).await {
            Err(error) if error.is_record_gone() => Ok(()),
            answer => answer.map(drop),
        }
    }
}
