//! Records: A, AAAA and CNAME exclude each other on one name, and no record is there twice.

use lightship::domain::hostname::parse_hostname;
use serde_json::{Value, json};

use super::answer::{Outcome, Refusal};
use super::state::{LONG_AGO, Record, State, Zone};

impl State {
    pub fn create_record(&mut self, zone: &str, body: &Value) -> Result<Record, Refusal> {
        let record = self.read_record(zone, body)?;
        self.check_conflicts(&record, None)?;
        let record = Record { id: self.hex_id(), ..record };
        self.records.push(record.clone());
        Ok(record)
    }

    pub(super) fn put_record(&mut self, zone: &str, id: &str, body: &Value) -> Outcome {
        let index = self.record_index(zone, id)?;
        let record = Record { id: id.to_owned(), ..self.read_record(zone, body)? };
        self.check_conflicts(&record, Some(id))?;
        self.records[index] = record;
        Ok(self.records[index].to_json())
    }

    /// Changes the fields that are given.
    pub(super) fn patch_record(&mut self, zone: &str, id: &str, body: &Value) -> Outcome {
        let mut whole = self.get_record(zone, id)?;
        for (key, value) in body.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        self.put_record(zone, id, &whole)
    }

    /// All of it or nothing: deletes, then patches, puts and posts, whatever their order in the body.
    pub(super) fn batch_records(&mut self, zone: &str, body: &Value) -> Outcome {
        let before = self.records.clone();
        let outcome = self.change_records(zone, body);
        if outcome.is_err() {
            self.records = before;
        }
        outcome
    }

    fn change_records(&mut self, zone: &str, body: &Value) -> Outcome {
        let part = |key: &str| body[key].as_array().map_or(&[][..], Vec::as_slice);
        let limit = self.batch_limit.unwrap_or(200);
        if ["deletes", "patches", "puts", "posts"].iter().map(|key| part(key).len()).sum::<usize>() > limit {
            return Err(Refusal::new(400, 1004, format!("A batch holds at most {limit} changes.")));
        }
        let id = |item: &Value| item["id"].as_str().unwrap_or_default().to_owned();
        let delete = |item: &Value| {
            let record = self.get_record(zone, &id(item))?;
            self.delete_record(zone, &id(item)).map(|_| record)
        };
        let deletes = part("deletes").iter().map(delete).collect::<Result<Vec<_>, _>>()?;
        let patch = |item: &Value| self.patch_record(zone, &id(item), item);
        let patches = part("patches").iter().map(patch).collect::<Result<Vec<_>, _>>()?;
        let put = |item: &Value| self.put_record(zone, &id(item), item);
        let puts = part("puts").iter().map(put).collect::<Result<Vec<_>, _>>()?;
        let post = |item: &Value| self.create_record(zone, item).map(|record| record.to_json());
        let posts = part("posts").iter().map(post).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "deletes": deletes, "patches": patches, "puts": puts, "posts": posts }))
    }

    pub(super) fn delete_record(&mut self, zone: &str, id: &str) -> Outcome {
        let index = self.record_index(zone, id)?;
        if self.records[index].meta["read_only"] == true {
            return Err(Refusal::new(400, 1043, "This record is read only and cannot be changed."));
        }
        self.records.remove(index);
        Ok(json!({ "id": id }))
    }

    pub(super) fn get_record(&self, zone: &str, id: &str) -> Outcome {
        Ok(self.records[self.record_index(zone, id)?].to_json())
    }

    pub(super) fn list_records(
        &self,
        zone: &str,
        filter: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Value>, Refusal> {
        self.zone(zone)?;
        let name = filter("name").map(|name| name.to_lowercase());
        let fits_name = |record: &Record| match &name {
            None => true,
            Some(name) if self.has_loose_name_filter => record.name.contains(name.as_str()),
            Some(name) => record.name == *name,
        };
        let fits = |key: &str, value: &str| filter(key).is_none_or(|wanted| wanted == value);
        let records = self.records.iter().filter(|record| {
            record.zone_id == zone
                && fits_name(record)
                && fits("type", &record.kind)
                && fits("content", &record.content)
        });
        Ok(records.map(Record::to_json).collect())
    }

    fn read_record(&self, zone: &str, body: &Value) -> Result<Record, Refusal> {
        let zone_name = parse_hostname(&self.zone(zone)?.name).expect("a zone has a name");
        let zone_name = zone_name.as_str();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let mut name = text("name").to_lowercase();
        if name != zone_name && !name.ends_with(&format!(".{zone_name}")) {
            name = format!("{name}.{zone_name}");
        }
        let record = Record {
            id: String::new(),
            zone_id: zone.to_owned(),
            kind: text("type"),
            name,
            content: text("content"),
            comment: body["comment"].as_str().map(str::to_owned),
            proxied: body["proxied"].as_bool().unwrap_or(false),
            ttl: body["ttl"].as_u64().unwrap_or(1),
            meta: json!({}),
        };
        if record.content.is_empty() || record.content == record.name {
            return Err(Refusal::new(400, 9007, "Content for the record is invalid."));
        }
        if record.ttl != 1 && !(60..=86400).contains(&record.ttl) {
            return Err(Refusal::new(400, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1."));
        }
        if record.comment.as_ref().is_some_and(|comment| comment.chars().count() > 100) {
            return Err(Refusal::new(400, 9313, "The comment is longer than 100 characters."));
        }
        Ok(record)
    }

    fn check_conflicts(&self, record: &Record, except: Option<&str>) -> Result<(), Refusal> {
        const EXCLUSIVE: [&str; 3] = ["A", "AAAA", "CNAME"];
        let others = self.records.iter().filter(|other| {
            other.zone_id == record.zone_id && other.name == record.name && Some(other.id.as_str()) != except
        });
        for other in others {
            if other.kind == record.kind && other.content == record.content {
                return Err(Refusal::new(400, 81057, "The record already exists."));
            }
            let is_cname = record.kind == "CNAME" || other.kind == "CNAME";
            if is_cname && [&record.kind, &other.kind].iter().all(|kind| EXCLUSIVE.contains(&kind.as_str())) {
                return Err(match other.kind.as_str() {
                    "CNAME" => Refusal::new(400, 81054, "A CNAME record with that host already exists."),
                    _ => {
                        Refusal::new(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
                    }
                });
            }
        }
        Ok(())
    }

    pub(super) fn zone(&self, id: &str) -> Result<&Zone, Refusal> {
        let zone = self.zones.iter().find(|zone| zone.id == id);
        let unknown = || {
            Refusal::new(
                404,
                7003,
                format!("Could not route to /zones/{id}, perhaps your object identifier is invalid?"),
            )
        };
        zone.ok_or_else(unknown)
    }

    fn record_index(&self, zone: &str, id: &str) -> Result<usize, Refusal> {
        let index = self.records.iter().position(|record| record.zone_id == zone && record.id == id);
        index.ok_or_else(|| Refusal::new(404, 81044, "Record does not exist."))
    }
}

impl Record {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "type": self.kind,
            "name": self.name,
            "content": self.content,
            "comment": self.comment,
            "proxied": self.proxied,
            "proxiable": true,
            "ttl": self.ttl,
            "settings": {},
            "meta": self.meta,
            "tags": [],
            "created_on": LONG_AGO,
            "modified_on": LONG_AGO,
        })
    }
}
