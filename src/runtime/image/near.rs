//! The nearest known names, for hints.

/// Up to three of `names` that are likely meant by `wanted`, nearest first.
pub(super) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = (wanted.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let inside = wanted.len() >= 3 && (name.contains(wanted) || wanted.contains(name));
            let steps = distance(wanted, name);
            (steps <= limit || inside).then_some((steps, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// `near` as a sentence, or nothing when no name is near.
pub(super) fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let found = near(wanted, names);
    (!found.is_empty()).then(|| format!("there is `{}`", found.join("`, `")))
}

/// The number of characters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let names = ["localhost/demo:1", "localhost/demo:2", "other:1"];
        assert_eq!(near("localhost/dmo:1", names.into_iter()), ["localhost/demo:1", "localhost/demo:2"]);
        assert_eq!(near("demo", names.into_iter()), ["localhost/demo:1", "localhost/demo:2"]);
        assert!(near("zzz", names.into_iter()).is_empty());
        assert_eq!(hint("zzz", names.into_iter()), None);
    }
}
