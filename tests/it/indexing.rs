//! Nothing outside of tests indexes a map by `[key]`: a key that is not there would end the actor at work.
//!
//! Types are not known here, so the index tells: what is plainly a number or a range is for lists, a text in the source
//! is for JSON (which answers null), and everything else is taken for a key.

use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Attribute, Expr, Lit, Meta};

/// Names that stand for numbers here.
const NUMBERS: [&str; 7] = ["i", "j", "f", "at", "index", "number", "place"];

#[test]
fn no_map_is_indexed_by_a_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in rust_files(&root) {
        let source = std::fs::read_to_string(&file).unwrap();
        let found = indexes(&source);
        seen += found.seen;
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let text = |line: usize| source.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
        wrong.extend(found.wrong.into_iter().map(|line| format!("{name}:{line}: {}", text(line))));
    }
    assert!(seen > 30, "the test reads the real tree: {seen}");
    assert!(wrong.is_empty(), "use `get`, and say what happens without it:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_can_fail() {
    for source in ["fn f() { names[name] }", "fn f() { names[&name] }", "fn f() { names[&key.hostname] }"] {
        assert_eq!(indexes(source).wrong.len(), 1, "{source}");
    }
    let fine = [
        "fn f() { list[0] + list[i] + list[i + 1] + list[i % list.len()] + list[..8] + json[\"key\"] }",
        "#[cfg(test)] mod tests { fn f() { names[name] } }",
        "#[test] fn f() { names[name] }",
    ];
    for source in fine {
        assert!(indexes(source).wrong.is_empty(), "{source}");
    }
}

#[derive(Default)]
struct Indexes {
    seen: usize,
    /// Their lines.
    wrong: Vec<usize>,
}

fn indexes(source: &str) -> Indexes {
    let mut found = Indexes::default();
    found.visit_file(&syn::parse_file(source).unwrap());
    found
}

impl<'ast> Visit<'ast> for Indexes {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_fn(self, item);
        }
    }

    fn visit_expr_index(&mut self, expr: &'ast syn::ExprIndex) {
        self.seen += 1;
        if !is_no_key(&expr.index) {
            self.wrong.push(expr.span().start().line);
        }
        syn::visit::visit_expr_index(self, expr);
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        meta => meta.path().segments.last().is_some_and(|segment| segment.ident == "test"),
    })
}

fn is_no_key(index: &Expr) -> bool {
    match index {
        Expr::Range(_) | Expr::Binary(_) => true,
        Expr::Lit(literal) => matches!(literal.lit, Lit::Int(_) | Lit::Str(_)),
        Expr::Unary(unary) => is_no_key(&unary.expr),
        Expr::Call(call) => matches!(&*call.func, Expr::Path(path) if path.path.is_ident("shard_of")),
        Expr::Path(path) => path.path.get_ident().is_some_and(|name| NUMBERS.iter().any(|one| name == one)),
        _ => false,
    }
}

/// The files of the program; those named `tests` belong to their own kind.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_test = name == "tests" || name.ends_with("_tests");
        match path.is_dir() {
            true if !is_test => files.extend(rust_files(&path)),
            false if !is_test && path.extension().is_some_and(|kind| kind == "rs") => files.push(path),
            _ => {}
        }
    }
    files
}
