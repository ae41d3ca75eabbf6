//! Which of the known names is meant by one that nobody knows.

/// Most names that are shown.
const MOST: usize = 5;
/// Longer names are not compared, since that takes time.
const MAX_COMPARED: usize = 300;

/// Returns the known names that are most like `name`, the nearest first.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let wanted = name.to_ascii_lowercase();
    if wanted.len() > MAX_COMPARED {
        return Vec::new();
    }
    let mut near: Vec<(usize, &String)> = Vec::new();
    for candidate in known.into_iter().filter(|known| known.len() <= MAX_COMPARED) {
        if let Some(distance) = distance(&wanted, &candidate.to_ascii_lowercase()) {
            near.push((distance, candidate));
        }
    }
    near.sort();
    near.dedup();
    near.into_iter().take(MOST).map(|(_, name)| name.clone()).collect()
}

/// How far a known name is from what was written; none if it is another one.
fn distance(wanted: &str, known: &str) -> Option<usize> {
    let first = |name: &str| name.split(['.', '/']).next().unwrap_or_default().to_owned();
    // `app` for `app.example.com`, and the right name in another zone.
    if wanted.len() > 2 && (first(known) == first(wanted) || known.starts_with(wanted)) {
        return Some(1);
    }
    let allowed = (wanted.len() / 4).clamp(1, 4);
    if wanted.len().abs_diff(known.len()) > allowed {
        return None;
    }
    let distance = strsim::levenshtein(wanted, known);
    (distance <= allowed).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_comes_first() {
        let known: Vec<String> =
            ["app.example.com", "api.example.com", "shop", "grafana.example.com"].map(str::to_owned).to_vec();
        for (name, expected) in [
            ("ap.example.com", vec!["api.example.com", "app.example.com"]),
            ("app.exmaple.com", vec!["app.example.com", "api.example.com"]),
            ("app.example.org", vec!["app.example.com"]),
            ("grafana", vec!["grafana.example.com"]),
            ("shopp", vec!["shop"]),
            ("SHOP", vec!["shop"]),
            ("something-else", vec![]),
            ("x", vec![]),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
        assert!(nearest(&"x".repeat(400), &known).is_empty());
    }
}
