//! From a container's inspection to the request that makes it anew on another image.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::record::Swap;

/// What is the container's alone, never an image's.
const OWN: [&str; 8] = [
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "NetworkDisabled",
    "StopTimeout",
];
/// What comes from the image unless it was said otherwise.
const DEFAULTS: [&str; 4] = ["WorkingDir", "User", "StopSignal", "Shell"];
/// What a container may have said of itself while the image says the rest of its health check.
const CHECK: [&str; 6] = ["Test", "Interval", "Timeout", "Retries", "StartPeriod", "StartInterval"];

/// What is another one than before.
#[derive(Debug, Clone, Copy)]
pub struct Instead<'a> {
    /// The image as the container is to name it.
    pub image: &'a str,
    /// When the Engine starts it by itself; what it says of the old one may be for the time being.
    pub restart_policy: &'a Value,
    /// New ids of containers that were replaced before, by their old ones.
    pub replaced: &'a BTreeMap<String, String>,
    /// The same containers' names, by their old ids.
    pub names: &'a BTreeMap<String, String>,
    /// How those are called now whose volumes it has, by what it calls them (see [`providers_of`]); who is gone is not there.
    pub providers: &'a BTreeMap<String, String>,
    /// A name that it goes by on networks as long as it does not have it for its own.
    pub also_called: Option<&'a str>,
}

/// The request for a new container, and what is left to be done before it is started.
#[derive(Debug, Clone, PartialEq)]
pub struct Anew {
    /// The body of the request.
    pub create: Value,
    /// Further networks to connect it to, each with its endpoint: older Engines take only one in the request.
    pub networks: Vec<(String, Value)>,
    /// True if it was taken out of all networks: the Engine makes none without one that may have some.
    pub is_isolated: bool,
}

/// Works out how a container is made again: everything that was said of it, and nothing that its old image said.
pub fn anew(container: &Value, old_image: &Value, instead: &Instead<'_>) -> Anew {
    let (config, image) = (&container["Config"], &old_image["Config"]);
    let mut host = host_config(container, instead);
    let is_isolated = is_isolated(container, &host);
    let (first, networks) = networks(container, &mut host, instead.also_called);
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default().to_owned();
    let shares_network = mode == "host" || mode.starts_with("container:");
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| {
        if !is_empty(&value) {
            body.insert(key.into(), value);
        }
    };
    for key in OWN {
        put(key, field(config, key).clone());
    }
    for key in DEFAULTS.into_iter().filter(|key| !is_same(field(config, key), field(image, key))) {
        put(key, field(config, key).clone());
    }
    // An entry point of its own makes the Engine forget the image's command, so that one is kept as it is.
    let has_own_entry = !is_same(&config["Entrypoint"], &image["Entrypoint"]);
    if has_own_entry {
        // Left out, or an empty list, it would be the image's; this is how the Engine is told that there is none.
        let none = || json!([""]);
        let own = Some(&config["Entrypoint"]).filter(|own| !is_empty(own));
        put("Entrypoint", own.cloned().unwrap_or_else(none));
    }
    if has_own_entry || !is_same(&config["Cmd"], &image["Cmd"]) {
        put("Cmd", config["Cmd"].clone());
    }
    let of_image: BTreeSet<&str> = texts(&image["Env"]).collect();
    put("Env", texts(&config["Env"]).filter(|entry| !of_image.contains(entry)).collect());
    for key in ["ExposedPorts", "Volumes"] {
        put(key, minus(field(config, key), field(image, key)));
    }
    put("Labels", labels(field(config, "Labels"), field(image, "Labels")));
    put("Healthcheck", health_check(&config["Healthcheck"], &image["Healthcheck"]));
    // Where the network is another's, so is the name.
    let hostname = config["Hostname"].as_str().unwrap_or_default();
    let is_given = hostname.len() != 12 || !id(container).starts_with(hostname);
    if !shares_network && host.get("UTSMode").and_then(Value::as_str) != Some("host") {
        if is_given {
            put("Hostname", hostname.into());
        }
        put("Domainname", config["Domainname"].clone());
    }
    put("Image", instead.image.into());
    put("HostConfig", host.into());
    if let Some((name, endpoint)) = first {
        put("NetworkingConfig", json!({ "EndpointsConfig": { name: endpoint } }));
    }
    Anew { create: body.into(), networks, is_isolated }
}

/// What a container calls those whose volumes it has: an id, the beginning of it, or a name.
pub fn providers_of(container: &Value) -> impl Iterator<Item = &str> {
    texts(&container["HostConfig"]["VolumesFrom"]).map(|entry| provider(entry).0)
}

/// What an entry of `VolumesFrom` calls the other one, and how its volumes are used.
fn provider(entry: &str) -> (&str, Option<&str>) {
    entry.split_once(':').map_or((entry, None), |(name, mode)| (name, Some(mode)))
}

pub(super) fn id(container: &Value) -> &str {
    container["Id"].as_str().unwrap_or_default()
}

/// A field of what the Engine said; null if it said none.
fn field<'a>(of: &'a Value, key: &str) -> &'a Value {
    of.get(key).unwrap_or(&Value::Null)
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    one == other || is_empty(one) && is_empty(other)
}

/// What of a map is not in the other one just so.
fn minus(map: &Value, other: &Value) -> Value {
    let own = map.as_object().into_iter().flatten().filter(|(key, value)| other.get(*key) != Some(*value));
    own.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into()
}

/// By these Compose knows its own; an image that it built has some of them too.
const COMPOSE: &str = "com.docker.compose.";

fn labels(own: &Value, image: &Value) -> Value {
    let of_compose = own.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with(COMPOSE));
    let mut kept: Map<String, Value> = of_compose.map(|(key, value)| (key.clone(), value.clone())).collect();
    if let Value::Object(others) = minus(own, image) {
        kept.extend(others);
    }
    kept.into()
}

/// An inspection shows the image's fields merged with the container's. To keep all of them would pin the old image's check,
/// and hide that the new one fails.
fn health_check(own: &Value, image: &Value) -> Value {
    let is_nothing = |value: &Value| is_empty(value) || *value == 0;
    let said = CHECK.into_iter().filter(|key| {
        let (own, image) = (field(own, key), field(image, key));
        !is_nothing(own) && own != image
    });
    said.map(|key| (key.to_owned(), field(own, key).clone())).collect::<Map<_, _>>().into()
}

fn host_config(container: &Value, instead: &Instead<'_>) -> Map<String, Value> {
    let mut host = container["HostConfig"].as_object().cloned().unwrap_or_default();
    host.retain(|key, value| !value.is_null() && key != "ConsoleSize");
    let is_one_gone = name_providers(&mut host, instead.providers);
    keep_volumes(&mut host, &container["Mounts"], is_one_gone);
    if !instead.restart_policy.is_null() {
        host.insert("RestartPolicy".into(), instead.restart_policy.clone());
    }
    for key in ["NetworkMode", "PidMode", "IpcMode"] {
        if let Some(Value::String(mode)) = host.get_mut(key)
            && let Some(old) = mode.strip_prefix("container:")
            && let Some(new) = replaced(old, instead)
        {
            *mode = format!("container:{new}");
        }
    }
    if let Some(Value::Array(links)) = host.get_mut("Links") {
        // `/db-lightship-old:/app/alias` while the other one is aside, and `/db:/app/alias` before.
        for link in links {
            let text = link.as_str().unwrap_or_default();
            if let Some((from, to)) = text.split_once(':') {
                let from = Swap::own_of(from.trim_start_matches('/'));
                let alias = to.rsplit('/').next().unwrap_or(to);
                *link = format!("{from}:{alias}").into();
            }
        }
    }
    host
}

/// The new id of a container that is named by its old id, the beginning of it, or its name.
fn replaced<'a>(text: &str, instead: &'a Instead<'_>) -> Option<&'a String> {
    let by_name = || instead.names.iter().find(|(_, name)| *name == text).map(|(old, _)| old);
    let by_id = instead.replaced.keys().find(|old| text.len() >= 12 && old.starts_with(text));
    instead.replaced.get(by_id.or_else(by_name)?)
}

/// Calls those by their names whose volumes a container has: an id leads nowhere any more once the other one is made anew. True
/// if one of them is gone, and so cannot be named.
fn name_providers(host: &mut Map<String, Value>, providers: &BTreeMap<String, String>) -> bool {
    let Some(from @ Value::Array(_)) = host.get_mut("VolumesFrom") else { return false };
    let named = |entry: &str| {
        let (told, mode) = provider(entry);
        let name = providers.get(told)?;
        Some(mode.map_or_else(|| name.clone(), |mode| format!("{name}:{mode}")))
    };
    let named: Vec<Option<String>> = texts(from).map(named).collect();
    let is_one_gone = named.contains(&None);
    *from = named.into_iter().flatten().collect();
    is_one_gone
}

/// Volumes without a name of their own would be made anew and be empty: they are bound by the name that the Engine gave them. So
/// are folders of the host if `and_folders`: those that came by way of a container which is gone.
fn keep_volumes(host: &mut Map<String, Value>, mounts: &Value, and_folders: bool) {
    let target = |bind: &str| {
        let mut parts = bind.split(':');
        let first = parts.next().unwrap_or_default();
        parts.next().unwrap_or(first).trim_end_matches('/').to_owned()
    };
    let mut binds: Vec<String> =
        host.get("Binds").map(|list| texts(list).map(str::to_owned).collect()).unwrap_or_default();
    binds.retain(|bind| bind.contains(':'));
    let bound: BTreeSet<String> = binds.iter().map(|bind| target(bind)).collect();
    for mount in mounts.as_array().into_iter().flatten() {
        let source = match mount["Type"].as_str() {
            Some("volume") => &mount["Name"],
            Some("bind") if and_folders => &mount["Source"],
            _ => continue,
        };
        let (Some(source), Some(to)) = (source.as_str(), mount["Destination"].as_str()) else { continue };
        let own = host.get_mut("Mounts").and_then(Value::as_array_mut);
        let is_there =
            |own: &&mut Value| own["Target"].as_str().map(|at| at.trim_end_matches('/')) == Some(to);
        match own.and_then(|own| own.iter_mut().find(is_there)) {
            Some(own) if own["Type"] == "volume" && is_empty(&own["Source"]) => own["Source"] = source.into(),
            Some(_) => {}
            None if bound.contains(to.trim_end_matches('/')) => {}
            None => {
                let mode = if mount["RW"] == false { ":ro" } else { "" };
                binds.push(format!("{source}:{to}{mode}"));
            }
        }
    }
    if !binds.is_empty() {
        host.insert("Binds".into(), binds.into());
    }
}

/// True if it is in no network although it is to have some.
fn is_isolated(container: &Value, host: &Map<String, Value>) -> bool {
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default();
    let has_none_of_its_own = matches!(mode, "host" | "none") || mode.starts_with("container:");
    !has_none_of_its_own && container["NetworkSettings"]["Networks"].as_object().is_some_and(Map::is_empty)
}

type Endpoint = (String, Value);

/// The network that it is made with, and those that it is connected to afterwards.
fn networks(
    container: &Value,
    host: &mut Map<String, Value>,
    also_called: Option<&str>,
) -> (Option<Endpoint>, Vec<Endpoint>) {
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or("default").to_owned();
    if matches!(mode.as_str(), "host" | "none") || mode.starts_with("container:") {
        return (None, Vec::new());
    }
    let all = container["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let is_meant = |name: &str, endpoint: &Value| {
        name == mode || name == "bridge" && mode == "default" || endpoint["NetworkID"] == mode.as_str()
    };
    let mut names: Vec<&String> = all.keys().collect();
    names.sort_by_key(|name| {
        (!is_meant(name, all.get(name.as_str()).unwrap_or(&Value::Null)), (*name).clone())
    });
    let Some((&first, rest)) = names.split_first() else { return (None, Vec::new()) };
    let endpoint = |name: &String| {
        let found = all.get(name.as_str()).unwrap_or(&Value::Null);
        (name.clone(), endpoint(name, found, id(container), also_called))
    };
    if mode != "default" || first != "bridge" {
        // By name also where it was made by the network's id, and elsewhere if it was taken out of that network.
        host.insert("NetworkMode".into(), first.as_str().into());
    }
    let made_with = Some(endpoint(first)).filter(|(_, endpoint)| !is_empty(endpoint));
    (made_with, rest.iter().map(|name| endpoint(name)).collect())
}

fn endpoint(name: &str, found: &Value, id: &str, also_called: Option<&str>) -> Value {
    let mut endpoint = Map::new();
    let keys = ["IPAMConfig", "Links", "DriverOpts", "GwPriority"];
    for key in keys.into_iter().filter(|key| !is_empty(field(found, key)) && field(found, key) != 0) {
        endpoint.insert(key.into(), field(found, key).clone());
    }
    // Each replacement would leave one more name that leads nowhere.
    let short = &id[..id.len().min(12)];
    let mut aliases: Vec<&str> = texts(&found["Aliases"]).filter(|alias| *alias != short).collect();
    aliases.extend(also_called.filter(|name| !aliases.contains(name)));
    if name != "bridge" && !aliases.is_empty() {
        endpoint.insert("Aliases".into(), aliases.into());
    }
    if let Some(mac) = mac_by_hand(found) {
        endpoint.insert("MacAddress".into(), mac.into());
    }
    endpoint.into()
}

/// The address of the network card if the Engine did not derive it from the IP address. What newer Engines draw by lot looks
/// as if a person had set it; to keep that does no harm, and to lose the other may.
pub(super) fn mac_by_hand(endpoint: &Value) -> Option<&str> {
    let mac = endpoint["MacAddress"].as_str().filter(|mac| !mac.is_empty())?;
    let derived = endpoint["IPAddress"].as_str().and_then(|ip| ip.parse::<Ipv4Addr>().ok()).map(|ip| {
        let [a, b, c, d] = ip.octets();
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    });
    (derived.as_deref() != Some(&mac.to_ascii_lowercase())).then_some(mac)
}

#[cfg(test)]
mod tests;
