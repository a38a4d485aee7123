//! The whole reference: every page, in parts.

use crate::error::ErrorKind;
use crate::script::bind::BINDINGS;
use crate::script::help::concept;
use crate::script::help::library;
use crate::script::help::page::{self, Page};
use crate::script::help::topic::{self, Topic};

/// The parts with their pages: a module each, the types, the verbs of all handles, the standard library, the pages about
/// concepts and the kinds of errors.
#[must_use]
pub fn parts() -> Vec<(String, Vec<Page>)> {
    let mut parts = Vec::new();
    for binding in BINDINGS {
        let natives = binding.natives.iter().map(|native| page::of(&Topic::Native(native)));
        let about = Page { items: Vec::new(), ..page::of(&Topic::Module(binding)) };
        parts.push((binding.name.to_owned(), std::iter::once(about).chain(natives).collect()));
    }
    let types = topic::types().map(|found| page::of(&Topic::Type(found))).collect();
    parts.push(("Handles and values".to_owned(), types));
    if let Some(common) = topic::common() {
        let verbs = common.natives.iter().filter(|native| native.name().starts_with(char::is_alphabetic));
        let pages = verbs.map(|native| page::of(&Topic::Native(native))).collect();
        parts.push(("Every handle".to_owned(), pages));
    }
    let mut pages = Vec::new();
    for library in library::all() {
        let functions: Vec<Page> =
            library.functions.iter().map(|function| page::of(&Topic::Function(function.clone()))).collect();
        pages.push(page::of(&Topic::Library(library)));
        pages.extend(functions);
    }
    parts.push(("Standard library".to_owned(), pages));
    let concepts = concept::ALL.iter().map(|concept| page::of(&Topic::Concept(concept))).collect();
    parts.push(("Pages".to_owned(), concepts));
    let kinds = ErrorKind::ALL.into_iter().map(|kind| page::of(&Topic::Kind(kind))).collect();
    parts.push(("Kinds of errors".to_owned(), kinds));
    parts
}

/// The pages of a topic: of a module, that of each of its functions as well.
#[must_use]
pub fn pages(topic: &Topic) -> Vec<Page> {
    let mut pages = vec![page::of(topic)];
    match topic {
        Topic::Module(binding) => {
            pages.extend(binding.natives.iter().map(|native| page::of(&Topic::Native(native))));
        }
        Topic::Library(library) => {
            let functions = library.functions.iter().cloned().map(Topic::Function);
            pages.extend(functions.map(|function| page::of(&function)));
        }
        _ => {}
    }
    pages
}

/// The names whose page has this word in its name or its first sentence, with that.
#[must_use]
pub fn search(word: &str) -> Vec<(String, String)> {
    let word = word.to_lowercase();
    let described = topic::names().into_iter().map(|name| {
        let summary = topic::summary(&name).unwrap_or_default();
        (name, summary)
    });
    let fits = |(name, summary): &(String, String)| {
        name.to_lowercase().contains(&word) || summary.to_lowercase().contains(&word)
    };
    let mut found: Vec<(String, String)> = described.filter(fits).collect();
    found.dedup();
    found
}
