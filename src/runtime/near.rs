//! The known name nearest to one that is not known: for hints.

/// `, did you mean `x`?` with the known name nearest to `name`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |best| format!(", did you mean `{best}`?"))
}

/// The known name nearest to `name`, if one is near.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Up to a third of the letters may be wrong, a swap of two counting as one.
    let scored = known.into_iter().filter_map(|candidate| {
        let distance = strsim::damerau_levenshtein(name, candidate);
        let most = (name.chars().count().max(candidate.chars().count()) / 3).max(1);
        (distance <= most && distance < name.chars().count()).then_some((distance, candidate))
    });
    scored.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}
