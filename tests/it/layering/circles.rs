//! Files import one another in one direction: whoever reads one of them need not have read the others first.
//!
//! An import counts for the file that defines what is imported, through whatever re-export it came. What is written for
//! tests does not count, nor does what a module's table of contents is made of: `mod`, and `pub use` of its own children.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::{module_of, rust_files};

/// Circles that stay, each by all of its files, with the reason.
const EXCEPTIONS: &[(&[&str], &str)] = &[(
    &[
        "actors/supervision/ctx.rs",
        "actors/supervision/envelope.rs",
        "actors/supervision/futures.rs",
        "actors/supervision/handle.rs",
        "actors/supervision/order.rs",
        "actors/supervision/port.rs",
        "actors/supervision/runner.rs",
        "actors/supervision/spec.rs",
        "actors/supervision/supervisor/child.rs",
        "actors/supervision/supervisor/mod.rs",
        "actors/supervision/supervisor/steps.rs",
        "actors/supervision/tree.rs",
    ],
    "a context gives its actor's port and a port leads to a context; a supervisor starts what may be a supervisor",
)];

#[test]
fn imports_between_files_form_no_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    for file in rust_files(&root) {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        sources.insert(name, (module_of(&root, &file), std::fs::read_to_string(&file).unwrap()));
    }
    let imports = imports(&sources);
    assert!(imports.len() > 100, "the test reads the real tree: {}", imports.len());

    let circles = circles(&imports);
    let listed: BTreeSet<BTreeSet<String>> = EXCEPTIONS.iter().map(|(files, _)| set(files)).collect();
    let found: BTreeSet<BTreeSet<String>> = circles.iter().cloned().collect();
    let wrong: Vec<_> = found.difference(&listed).map(|circle| told(circle, &imports)).collect();
    assert!(wrong.is_empty(), "{} circles of files:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(found, listed, "an exception that is no circle any more is taken off the list");
}

/// Stops of the newcomer's walk; it gets shorter, never longer.
const WALK: usize = 20;

#[test]
fn the_walk_from_event_to_put_names_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let walk =
        page.split("## The way, file by file").nth(1).and_then(|rest| rest.split("## ").next()).unwrap();
    let is_stop = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let stops: Vec<&str> = walk.lines().filter(is_stop).map(|line| line.split('`').nth(1).unwrap()).collect();
    let missing: Vec<_> = stops.iter().filter(|file| !root.join("src").join(file).is_file()).collect();
    assert!(missing.is_empty(), "not there: {missing:?}");
    assert!(stops.len() <= WALK, "{} stops", stops.len());
    assert!(walk.contains(&format!(": {} files, ", stops.len())), "the page counts them");
}

#[test]
fn the_check_can_fail() {
    let circles_of = |files: &[(&str, &str)]| {
        let sources = files.iter().map(|(name, text)| {
            let module = name.trim_end_matches(".rs").replace('/', "::");
            let module = module.trim_end_matches("::mod").to_owned();
            ((*name).to_owned(), (module, (*text).to_owned()))
        });
        circles(&imports(&sources.collect()))
    };
    let pair = vec![set(&["a.rs", "b.rs"])];
    for (a, b) in [
        ("use crate::b::B; pub struct A;", "use crate::a::A; pub struct B;"),
        ("use super::b::{self, B}; pub fn a() {}", "pub struct B; fn f() { crate::a::a() }"),
        ("use crate::b; pub fn a() { b::f() }", "pub fn f() { println!(\"{}\", crate::a::a()) }"),
        ("pub use crate::b::B as A;\npub struct C;", "use crate::a::C; pub struct B;"),
    ] {
        assert_eq!(circles_of(&[("a.rs", a), ("b.rs", b)]), pair, "{a} {b}");
    }
    let through = [
        ("a/mod.rs", "mod one; mod two; pub use one::One; pub use two::Two;"),
        ("a/one.rs", "use super::Two; pub struct One;"),
        ("a/two.rs", "use super::One; pub struct Two;"),
    ];
    assert_eq!(circles_of(&through), vec![set(&["a/one.rs", "a/two.rs"])], "through a re-export");
    for (a, b) in [
        ("mod b;", "pub struct B;"),
        ("use crate::b::B; pub struct A;", "#[cfg(test)] mod tests { use crate::a::A; } pub struct B;"),
        ("use crate::b::B; pub struct A;", "pub(in crate::a) struct B;"),
    ] {
        assert!(circles_of(&[("a.rs", a), ("b.rs", b)]).is_empty(), "{a} {b}");
    }
    let parent = |shown: &str| format!("mod one; {shown} pub struct A;");
    let child = ("a/one.rs", "use super::A; pub struct One;");
    assert!(circles_of(&[("a/mod.rs", &parent("pub use one::One;")), child]).is_empty());
    assert_eq!(circles_of(&[("a/mod.rs", &parent("use one::One;")), child]).len(), 1);
    let used = parent("pub use one::One; fn f(one: One) {}");
    assert_eq!(circles_of(&[("a/mod.rs", &used), child]).len(), 1, "shown and used");
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What each file imports of which other one.
type Imports = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn told(circle: &BTreeSet<String>, imports: &Imports) -> String {
    let mut lines = vec![format!("- {} files", circle.len())];
    for file in circle {
        for (other, names) in &imports[file] {
            if circle.contains(other) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                lines.push(format!("    {file} -> {other}: {}", names.join(", ")));
            }
        }
    }
    lines.join("\n")
}

/// Files that reach one another, two and more together.
fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = imports
        .keys()
        .map(|file| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![file]);
            while let Some(file) = next.pop() {
                for other in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
                    if seen.insert(other) {
                        next.push(other);
                    }
                }
            }
            (file, seen)
        })
        .collect();
    let mut circles = BTreeSet::new();
    for (file, reached) in &reach {
        if reached.contains(file) {
            let both =
                reached.iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(file)));
            circles.insert(both.map(|other| (*other).clone()).collect::<BTreeSet<String>>());
        }
    }
    circles.into_iter().collect()
}

/// Reads sources, each by its file's name with its module.
fn imports(sources: &BTreeMap<String, (String, String)>) -> Imports {
    let mut crate_ = Crate::default();
    let mut parsed = Vec::new();
    for (file, (module, text)) in sources {
        let module: Vec<String> = match module.as_str() {
            "lib" => Vec::new(),
            module => module.split("::").map(str::to_owned).collect(),
        };
        parsed.push((file, module, syn::parse_file(text).unwrap()));
    }
    for (file, module, tree) in &parsed {
        crate_.read(file, module, &tree.items);
    }
    let mut imports = Imports::new();
    for (file, module, tree) in parsed {
        // Their parents say that they are for tests only.
        if !crate_.is_built(&module) {
            continue;
        }
        let mut named = Named { crate_: &crate_, module, paths: BTreeSet::new() };
        named.visit_file(&tree);
        let of_file = imports.entry(file.clone()).or_default();
        for (module, path) in named.paths {
            if let Some(other) = crate_.resolve(&module, &path, 0).filter(|other| other != file) {
                of_file.entry(other).or_default().insert(path.join("::"));
            }
        }
    }
    imports
}

/// What every module defines.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Vec<String>, Scope>,
    /// Out-of-line modules that are built for tests only.
    for_tests: BTreeSet<Vec<String>>,
    /// Exported macros stand at the root of the crate, wherever they are written.
    macros: BTreeMap<String, String>,
}

#[derive(Default)]
struct Scope {
    file: String,
    items: BTreeSet<String>,
    /// Names that were imported, and what they stand for.
    uses: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

impl Crate {
    fn is_built(&self, module: &[String]) -> bool {
        (1..=module.len()).all(|end| !self.for_tests.contains(&module[..end]))
    }

    fn read(&mut self, file: &str, module: &[String], items: &[syn::Item]) {
        let mut scope = Scope { file: file.to_owned(), ..Scope::default() };
        for item in items {
            if let syn::Item::Mod(inner) = item {
                let mut path = module.to_vec();
                path.push(inner.ident.to_string());
                match &inner.content {
                    _ if is_for_tests(&inner.attrs) => drop(self.for_tests.insert(path)),
                    Some((_, items)) => self.read(file, &path, items),
                    None => {}
                }
            }
            if is_for_tests(attributes(item)) {
                continue;
            }
            match item {
                syn::Item::Use(item) => scope.import(&mut Vec::new(), &item.tree),
                syn::Item::Macro(item) => {
                    if let Some(name) = &item.ident {
                        self.macros.insert(name.to_string(), file.to_owned());
                    }
                }
                item => scope.items.extend(name_of(item)),
            }
        }
        self.modules.insert(module.to_vec(), scope);
    }

    /// Returns the file that defines what `path` stands for in `module`, if it is ours and not a module.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<String> {
        if depth > 8 {
            return None;
        }
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (module.to_vec(), &path[1..]),
            _ => (module.to_vec(), path),
        };
        while let Some((first, others)) = rest.split_first()
            && first == "super"
        {
            at.pop();
            rest = others;
        }
        while let Some((name, others)) = rest.split_first() {
            let mut child = at.clone();
            child.push(name.clone());
            if self.modules.contains_key(&child) {
                (at, rest) = (child, others);
                continue;
            }
            let scope = self.modules.get(&at)?;
            if scope.items.contains(name) {
                return Some(scope.file.clone());
            }
            let onwards = |target: &[String]| [target, others].concat();
            if let Some(target) = scope.uses.get(name)
                && target.first() != Some(name)
            {
                return self.resolve(&at, &onwards(target), depth + 1);
            }
            if at.is_empty()
                && let Some(file) = self.macros.get(name)
            {
                return Some(file.clone());
            }
            let all = |target: &Vec<String>| [target.as_slice(), rest].concat();
            return scope.globs.iter().find_map(|target| self.resolve(&at, &all(target), depth + 1));
        }
        None
    }
}

impl Scope {
    fn import(&mut self, prefix: &mut Vec<String>, tree: &syn::UseTree) {
        for (name, path) in leaves(prefix, tree) {
            match name {
                Some(name) => drop(self.uses.insert(name, path)),
                None => self.globs.push(path),
            }
        }
    }
}

/// What a `use` brings in: by which name (none for all) and what it is.
fn leaves(prefix: &mut Vec<String>, tree: &syn::UseTree) -> Vec<(Option<String>, Vec<String>)> {
    let with = |prefix: &[String], name: &syn::Ident| {
        let mut path = prefix.to_vec();
        if name != "self" || prefix.is_empty() {
            path.push(name.to_string());
        }
        path
    };
    match tree {
        syn::UseTree::Path(tree) => {
            prefix.push(tree.ident.to_string());
            let found = leaves(prefix, &tree.tree);
            prefix.pop();
            found
        }
        syn::UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(prefix, tree)).collect(),
        syn::UseTree::Name(tree) => {
            let path = with(prefix, &tree.ident);
            vec![(path.last().cloned(), path)]
        }
        syn::UseTree::Rename(tree) => vec![(Some(tree.rename.to_string()), with(prefix, &tree.ident))],
        syn::UseTree::Glob(_) => vec![(None, prefix.clone())],
    }
}

/// Every path that a file names, with the module that names it.
struct Named<'a> {
    crate_: &'a Crate,
    module: Vec<String>,
    paths: BTreeSet<(Vec<String>, Vec<String>)>,
}

impl Named<'_> {
    /// True of a path into a module below this one.
    fn is_of_child(&self, path: &[String]) -> bool {
        let first = path.iter().find(|name| *name != "self");
        first.is_some_and(|first| {
            self.crate_.modules.contains_key(&[self.module.as_slice(), std::slice::from_ref(first)].concat())
        })
    }

    fn name(&mut self, path: Vec<String>) {
        self.paths.insert((self.module.clone(), path));
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.name(path);
        }
    }
}

impl<'ast> Visit<'ast> for Named<'_> {
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_shown = !matches!(item.vis, syn::Visibility::Inherited);
        for (name, path) in leaves(&mut Vec::new(), &item.tree) {
            if name.is_some() && !(is_shown && self.is_of_child(&path)) {
                self.name(path);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::NameValue(_) => false,
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &syn::Item) -> Option<String> {
    Some(match item {
        syn::Item::Const(item) => item.ident.to_string(),
        syn::Item::Enum(item) => item.ident.to_string(),
        syn::Item::Fn(item) => item.sig.ident.to_string(),
        syn::Item::Static(item) => item.ident.to_string(),
        syn::Item::Struct(item) => item.ident.to_string(),
        syn::Item::Trait(item) => item.ident.to_string(),
        syn::Item::Type(item) => item.ident.to_string(),
        _ => return None,
    })
}
