//! What there is to read about, and how it is found by its name.

use crate::error::ErrorKind;
use crate::script::bind::{BINDINGS, handles};
use crate::script::help::concept::{self, Concept};
use crate::script::help::doc::Doc;
use crate::script::help::library::{self, Function, Library};
use crate::script::native::{Binding, Form, Native};
use crate::script::options::{Key, Options};

/// One thing to read about.
#[derive(Clone, Debug)]
pub enum Topic {
    /// A module of natives.
    Module(&'static Binding),
    /// A function, method or property.
    Native(&'static Native),
    /// Several natives of one name: a property and a method.
    Natives(Vec<&'static Native>),
    /// A type of value.
    Type(Type),
    /// A key of an option map, with the path to it: `net::veth.peer.mtu`.
    Key(String, &'static Key),
    /// A module of the standard library.
    Library(Library),
    /// A function of the standard library.
    Function(Function),
    /// Functions of it that have one name and different parameters.
    Functions(Vec<Function>),
    /// A kind of error.
    Kind(ErrorKind),
    /// A page about something that is no function.
    Concept(&'static Concept),
    /// Several things of the same name, by their full names.
    Several(Vec<String>),
}

/// A type of value that natives return and take.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Its name: `Ns`.
    pub name: &'static str,
    /// What it is, as one sentence.
    pub doc: &'static str,
    /// Whether it is a handle, with the verbs that all have.
    pub is_handle: bool,
}

impl Type {
    /// Its methods and properties, without those that every handle has.
    pub fn natives(self) -> impl Iterator<Item = &'static Native> {
        natives().filter(move |native| native.receiver() == Some(self.name))
    }
}

/// The verbs that every handle has.
#[must_use]
pub fn common() -> Option<&'static Binding> {
    handles::KINDS.first().map(|kind| kind.verbs)
}

/// Every native of every module, without the verbs that all handles have.
pub fn natives() -> impl Iterator<Item = &'static Native> {
    BINDINGS.iter().flat_map(|binding| binding.natives)
}

/// Every type.
pub fn types() -> impl Iterator<Item = Type> {
    let handles = handles::KINDS.iter().map(|kind| Type { name: kind.name, doc: kind.doc, is_handle: true });
    let values =
        handles::VALUES.iter().map(|value| Type { name: value.name, doc: value.doc, is_handle: false });
    handles.chain(values)
}

/// The topic of this name.
#[must_use]
pub fn find(name: &str) -> Option<Topic> {
    let name = name.trim().trim_end_matches("()");
    exact(name).or_else(|| last_part(name)).or_else(|| {
        let known = names();
        let mut same = known.iter().filter(|known| known.eq_ignore_ascii_case(name));
        same.next().and_then(|known| exact(known))
    })
}

fn exact(name: &str) -> Option<Topic> {
    let common = common();
    let handle = || common.filter(|common| common.name == name).map(Topic::Module);
    let module = || BINDINGS.iter().find(|binding| binding.name == name).map(Topic::Module);
    let native = || {
        let found: Vec<&Native> = natives().filter(|native| native.op == name).collect();
        match found[..] {
            [] => None,
            [one] => Some(Topic::Native(one)),
            _ => Some(Topic::Natives(found)),
        }
    };
    let of_type = || types().find(|found| found.name == name).map(Topic::Type);
    let kind = || ErrorKind::ALL.into_iter().find(|kind| kind.name() == name).map(Topic::Kind);
    let concept = || concept::ALL.iter().find(|concept| concept.name == name).map(Topic::Concept);
    let verb = || {
        let (receiver, verb) = name.split_once('.')?;
        types().find(|found| found.is_handle && found.name == receiver)?;
        common?.natives.iter().find(|native| native.op == verb).map(Topic::Native)
    };
    let found = module().or_else(handle).or_else(native).or_else(of_type).or_else(kind).or_else(concept);
    found.or_else(verb).or_else(|| key(name)).or_else(|| in_library(name))
}

/// `net::veth.peer.mtu`: the keys after the name of a function.
fn key(name: &str) -> Option<Topic> {
    let starts = name.match_indices('.').map(|(at, _)| (&name[..at], &name[at + 1..]));
    starts.rev().find_map(|(op, path)| {
        let native = natives().find(|native| native.op == op)?;
        let mut sets: Vec<&Options> = native.params.iter().filter_map(|param| param.options).collect();
        let mut found = None;
        for part in path.split('.') {
            let key = sets.iter().find_map(|set| set.key(part))?;
            sets = key.keys.into_iter().collect();
            found = Some(key);
        }
        Some(Topic::Key(name.to_owned(), found?))
    })
}

fn in_library(name: &str) -> Option<Topic> {
    let all = library::all();
    let short = |library: &Library| library.name.rsplit('/').next() == Some(name);
    for library in &all {
        let full = |function: &&Function| function.full_name() == name || function.name == name;
        let found: Vec<Function> = library.functions.iter().filter(full).cloned().collect();
        match &found[..] {
            [] => {}
            [one] => return Some(Topic::Function(one.clone())),
            _ => return Some(Topic::Functions(found)),
        }
    }
    all.into_iter().find(|library| library.name == name || short(library)).map(Topic::Library)
}

/// What is called so when its module or type is left out: `exec`.
fn last_part(name: &str) -> Option<Topic> {
    let verbs = common().into_iter().flat_map(|common| common.natives);
    let found: Vec<&Native> = natives().chain(verbs).filter(|native| native.name() == name).collect();
    match found[..] {
        [] => None,
        [one] => Some(Topic::Native(one)),
        [one, ..] if found.iter().all(|native| native.op == one.op) => Some(Topic::Natives(found)),
        _ => Some(Topic::Several(found.into_iter().map(|native| native.op.to_owned()).collect())),
    }
}

/// Every full name that there is a page for, but for option keys.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for binding in BINDINGS {
        names.push(binding.name.to_owned());
        names.extend(binding.natives.iter().map(|native| native.op.to_owned()));
    }
    names.extend(types().map(|found| found.name.to_owned()));
    for library in library::all() {
        names.push(library.name.to_owned());
        names.extend(library.functions.iter().map(Function::full_name));
    }
    if let Some(common) = common() {
        names.push(common.name.to_owned());
        let words = common.natives.iter().filter(|native| native.name().starts_with(char::is_alphabetic));
        names.extend(words.map(|native| native.op.to_owned()));
    }
    names.extend(concept::ALL.iter().map(|concept| concept.name.to_owned()));
    names.extend(ErrorKind::ALL.iter().map(|kind| kind.name().to_owned()));
    names.sort();
    names.dedup();
    names
}

/// The summary of the thing of this full name.
#[must_use]
pub fn summary(name: &str) -> Option<String> {
    let verb = || common()?.natives.iter().find(|native| native.op == name).map(Topic::Native);
    Some(match exact(name).or_else(verb)? {
        Topic::Module(binding) => Doc::parse(binding.doc.iter().copied()).summary,
        Topic::Native(native) => Doc::parse(native.doc.iter().copied()).summary,
        Topic::Natives(natives) => Doc::parse(natives.first()?.doc.iter().copied()).summary,
        Topic::Type(found) => found.doc.to_owned(),
        Topic::Key(_, key) => key.doc.to_owned(),
        Topic::Library(library) => library.summary(),
        Topic::Functions(functions) => Doc::parse(functions.first()?.doc.iter().copied()).summary,
        Topic::Function(function) => Doc::parse(function.doc.iter().copied()).summary,
        Topic::Kind(kind) => concept::of_kind(kind).to_owned(),
        Topic::Concept(concept) => concept.summary().to_owned(),
        Topic::Several(_) => return None,
    })
}

impl Native {
    /// The type that a method or property belongs to: `Ns`. None for functions and for the verbs of all handles.
    #[must_use]
    pub fn receiver(&self) -> Option<&'static str> {
        match self.form {
            Form::Function => None,
            Form::Method | Form::Property => self.op.rsplit_once('.').map(|(receiver, _)| receiver),
        }
    }
}

impl Function {
    /// Its name with its module: `retry::retry`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}::{}", self.module.rsplit('/').next().unwrap_or(self.module), self.name)
    }
}
