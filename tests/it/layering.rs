//! The table of layers, enforced on every `crate::` path of the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;

mod circles;

/// What each module may import of ours. `db::read` stands for that one part of `db`.
const TABLE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("chance", &["clock"]),
    ("io", &[]),
    ("http_client", &[]),
    ("process", &["domain"]),
    ("protocol", &["domain"]),
    ("config", &["domain"]),
    ("db", &[FOUNDATION]),
    ("backplane", &[FOUNDATION]),
    ("docker", &[FOUNDATION]),
    ("cloudflare", &[FOUNDATION]),
    ("registry", &[FOUNDATION]),
    ("uplink", &[FOUNDATION]),
    ("state_dir", &[FOUNDATION]),
    ("notify", &[FOUNDATION]),
    ("updates", &[FOUNDATION, "docker", "registry", "state_dir"]),
    ("actors::supervision", &["domain", "clock", "chance"]),
    ("actors::agent", &[FOUNDATION, ADAPTERS, "actors::supervision"]),
    ("actors::master", &[FOUNDATION, ADAPTERS, "actors::supervision"]),
    ("web", &[FOUNDATION, "db::read", "backplane", "actors::master", "actors::supervision"]),
];

const FOUNDATION: &str = "domain protocol config process io http_client clock chance";
const ADAPTERS: &str = "db backplane docker cloudflare registry uplink state_dir notify updates";

/// These build everything, so they may see everything.
const TOP: &[&str] = &["cli", "telemetry", "main", "lib", "actors"];

#[test]
fn every_import_follows_the_table_of_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::<String, usize>::new();
    for file in rust_files(&root) {
        let module = module_of(&root, &file);
        for path in crate_paths(&std::fs::read_to_string(&file).unwrap()) {
            *seen.entry(module.clone()).or_default() += 1;
            if !allowed(&module, &path) {
                wrong.push(format!("{} imports crate::{path}", file.strip_prefix(&root).unwrap().display()));
            }
        }
    }
    assert!(seen.len() > 8, "the test reads the real tree: {seen:?}");
    assert!(wrong.is_empty(), "against the table of layers:\n{}", wrong.join("\n"));
}

#[test]
fn one_module_makes_the_http_clients() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let makes_one = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        ["Client::builder()", "ClientBuilder::new()", "reqwest::Client::new()", "reqwest::get("]
            .iter()
            .any(|made| text.contains(made))
    };
    let makers: BTreeSet<_> =
        rust_files(&root).iter().filter(|file| makes_one(file)).map(|file| module_of(&root, file)).collect();
    assert_eq!(makers, BTreeSet::from(["http_client".to_owned()]), "it knows who is never asked by proxy");
}

#[test]
fn the_check_can_fail() {
    for (module, source) in [
        ("domain", "use crate::db::Db;"),
        ("actors::agent", "fn f() { crate::actors::master::go(); }"),
        ("actors::agent", "use crate::actors::{master, supervision};"),
        ("web", "use crate::{db::{event_store, read}, domain};"),
        ("actors::supervision", "#[cfg(test)] mod tests { use crate::db; }"),
    ] {
        assert!(crate_paths(source).iter().any(|path| !allowed(module, path)), "{module}: {source}");
    }
    for (module, source) in [
        ("web", "use crate::{db::read::agents, domain::id::AgentId};"),
        ("cli", "use crate::web;"),
        ("actors::agent::reporter", "use crate::uplink::Uplink; use crate::actors::supervision::Port;"),
    ] {
        assert!(crate_paths(source).iter().all(|path| allowed(module, path)), "{module}: {source}");
    }
}

fn allowed(module: &str, path: &str) -> bool {
    // An exported macro stands at the root of the crate, wherever it is written.
    let path = if path == "supervised" { "actors::supervision" } else { path };
    let row = TABLE.iter().find(|(name, _)| within(module, name));
    let Some((own, imports)) = row else {
        return TOP.iter().any(|top| within(module, top));
    };
    within(path, own) || imports.iter().flat_map(|names| names.split(' ')).any(|name| within(path, name))
}

/// True if `path` is `name` or lies below it.
fn within(path: &str, name: &str) -> bool {
    path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn module_of(root: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(root).unwrap().with_extension("");
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.into_iter().filter(|part| part != "mod").collect::<Vec<_>>().join("::")
}

/// Every path below `crate::` that a file names, in `use` trees, in code and inside macros.
fn crate_paths(source: &str) -> BTreeSet<String> {
    let mut found = Found(BTreeSet::new());
    found.visit_file(&syn::parse_file(source).unwrap());
    found.0
}

struct Found(BTreeSet<String>);

impl<'ast> Visit<'ast> for Found {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if let syn::UseTree::Path(path) = &item.tree
            && path.ident == "crate"
        {
            self.use_tree("", &path.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // `pub(crate)` is a path too, and names nothing.
        if names.len() > 1 && names[0] == "crate" {
            self.0.insert(names[1..].join("::"));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let text = call.tokens.to_string().replace(' ', "");
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            let end =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches(':');
            if !path.is_empty() {
                self.0.insert(path.to_owned());
            }
        }
        syn::visit::visit_macro(self, call);
    }
}

impl Found {
    fn use_tree(&mut self, prefix: &str, tree: &syn::UseTree) {
        let join = |name: String| if prefix.is_empty() { name } else { format!("{prefix}::{name}") };
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&join(path.ident.to_string()), &path.tree),
            syn::UseTree::Group(group) => {
                for item in &group.items {
                    self.use_tree(prefix, item);
                }
            }
            syn::UseTree::Name(name) => drop(self.0.insert(join(name.ident.to_string()))),
            syn::UseTree::Rename(name) => drop(self.0.insert(join(name.ident.to_string()))),
            syn::UseTree::Glob(_) => drop(self.0.insert(prefix.to_owned())),
        }
    }
}
