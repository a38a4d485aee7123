//! A page of help, before it is text, Markdown or a man page.

use crate::error::ErrorKind;
use crate::script::bind::BINDINGS;
use crate::script::error::FIELDS;
use crate::script::help::concept::{self, Concept};
use crate::script::help::doc::{self, Block, Doc, Failure, NOTHING};
use crate::script::help::library::{self, Function, Library};
use crate::script::help::topic::{self, Topic, Type};
use crate::script::native::{Binding, Form, Native};
use crate::script::options::{Key, Options};

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The full name of what it is about.
    pub name: String,
    /// How it is written in a script; empty for what is not.
    pub signature: String,
    /// The first sentence.
    pub summary: String,
    /// What follows.
    pub items: Vec<Item>,
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A heading.
    Heading(&'static str),
    /// Running text.
    Text(String),
    /// A point of a list.
    Point(String),
    /// Lines of a script.
    Code(Vec<String>),
    /// Names with what they are.
    Terms(Vec<Term>),
}

/// A name with what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// The name.
    pub name: String,
    /// Its type and default, or nothing.
    pub about: String,
    /// What it is.
    pub text: String,
    /// How deep it is below other names.
    pub depth: usize,
}

impl Term {
    fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), ..Self::default() }
    }
}

/// The page of a topic.
#[must_use]
pub fn of(topic: &Topic) -> Page {
    match topic {
        Topic::Module(binding) => of_module(binding),
        Topic::Native(native) => of_native(native),
        Topic::Natives(natives) => joined(natives.iter().map(|native| of_native(native))),
        Topic::Type(found) => of_type(*found),
        Topic::Key(path, key) => of_key(path, key),
        Topic::Library(library) => of_library(library),
        Topic::Function(function) => of_function(function),
        Topic::Functions(functions) => joined(functions.iter().map(of_function)),
        Topic::Kind(kind) => of_kind(*kind),
        Topic::Concept(concept) => of_concept(concept),
        Topic::Several(names) => several(names),
    }
}

/// The page that says what there is.
#[must_use]
pub fn index() -> Page {
    let parsed = |doc: &[&'static str]| Doc::parse(doc.iter().copied()).summary;
    let modules = BINDINGS.iter().map(|binding| Term::new(binding.name, parsed(binding.doc)));
    let types = topic::types().map(|found| Term::new(found.name, found.doc));
    let libraries = library::all().into_iter().map(|library| Term::new(library.name, library.summary()));
    let concepts = concept::ALL.iter().map(|concept| Term::new(concept.name, concept.summary()));
    let items = vec![
        Item::Heading("Modules"),
        Item::Terms(modules.collect()),
        Item::Heading("Handles and values"),
        Item::Terms(types.collect()),
        Item::Heading("Standard library"),
        Item::Terms(libraries.collect()),
        Item::Heading("Pages"),
        Item::Terms(concepts.collect()),
    ];
    let summary =
        "The functions of the language. Any name below has a page, and so has each function in a module.";
    Page { name: "cshell".into(), signature: String::new(), summary: summary.into(), items }
}

fn of_module(binding: &Binding) -> Page {
    let doc = Doc::parse(binding.doc.iter().copied());
    let mut items = details(&doc.details);
    let of = |form: &dyn Fn(&Native) -> bool| -> Vec<Term> {
        binding.natives.iter().filter(|native| form(native)).map(listed).collect()
    };
    push_terms(&mut items, "Functions", of(&|native| native.form == Form::Function));
    push_terms(&mut items, "Methods", of(&|native| native.form == Form::Method));
    push_terms(&mut items, "Properties", of(&|native| native.form == Form::Property));
    Page { name: binding.name.into(), signature: String::new(), summary: doc.summary, items }
}

fn of_type(found: Type) -> Page {
    let mut items = Vec::new();
    let made =
        topic::natives().filter(|native| native.form == Form::Function && (native.returns)() == found.name);
    push_terms(&mut items, "Made by", made.map(listed).collect());
    let of = |form: Form| found.natives().filter(move |native| native.form == form).map(listed).collect();
    push_terms(&mut items, "Methods", of(Form::Method));
    push_terms(&mut items, "Properties", of(Form::Property));
    if let Some(common) = topic::common().filter(|_| found.is_handle) {
        push_terms(&mut items, "As every handle", common.natives.iter().map(listed).collect());
    }
    Page { name: found.name.into(), signature: String::new(), summary: found.doc.into(), items }
}

fn listed(native: &'static Native) -> Term {
    Term::new(native.signature(), Doc::parse(native.doc.iter().copied()).summary)
}

fn push_terms(items: &mut Vec<Item>, heading: &'static str, terms: Vec<Term>) {
    if !terms.is_empty() {
        items.extend([Item::Heading(heading), Item::Terms(terms)]);
    }
}

/// One page for several things of one name.
fn joined(mut pages: impl Iterator<Item = Page>) -> Page {
    let mut page = pages.next().unwrap_or_default();
    for other in pages {
        page.items.push(Item::Heading("Also"));
        page.items.push(Item::Code(vec![other.signature]));
        page.items.push(Item::Text(other.summary));
        page.items.extend(other.items);
    }
    page
}

/// The example that shows a native: its own, or, of a property, one that reads it: of what makes the value, of another
/// native of its type, or of its module.
#[must_use]
pub fn examples(native: &Native) -> Vec<Vec<String>> {
    let own = Doc::parse(native.doc.iter().copied()).examples;
    if !own.is_empty() || native.form != Form::Property {
        return own;
    }
    let binding = BINDINGS.iter().find(|binding| binding.natives.iter().any(|other| other.op == native.op));
    let others = binding.or(topic::common()).into_iter().flat_map(|binding| binding.natives);
    let near = |other: &&Native| {
        let makes = native.receiver().is_some_and(|receiver| (other.returns)() == receiver);
        match (makes, other.receiver() == native.receiver()) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    };
    let shown = others.filter_map(|other| {
        let doc = Doc::parse(other.doc.iter().copied());
        Some((near(&other), doc.example_reading(native.name())?.clone()))
    });
    shown.min_by_key(|(near, _)| *near).into_iter().map(|(_, example)| example).collect()
}

fn of_native(native: &Native) -> Page {
    let doc = Doc::parse(native.doc.iter().copied());
    let mut items = details(&doc.details);
    push_terms(&mut items, "Arguments", arguments(native));
    let ty = (native.returns)();
    let returns = match (&doc.returns, ty.is_empty()) {
        (Some(text), false) => format!("{ty}: {text}"),
        (Some(text), true) => text.clone(),
        (None, _) => ty,
    };
    push_text(&mut items, "Returns", Some(returns).filter(|text| !text.is_empty()));
    let shown = Doc { examples: examples(native), ..doc.clone() };
    push_labels(&mut items, &shown, implied(native, &doc));
    Page { name: native.op.into(), signature: native.signature(), summary: doc.summary, items }
}

/// What the types of the parameters say about errors.
fn implied(native: &Native, doc: &Doc) -> Vec<Failure> {
    let said = |kind: &str| doc.errors.iter().flatten().any(|failure| failure.kind == kind);
    let own = usize::from(native.form != Form::Function);
    let mut failures = Vec::new();
    if native.params.len() > own && !said("invalid_argument") {
        let when = "when an argument or option has the wrong type, value or name";
        failures.push(Failure { kind: "invalid_argument".into(), when: when.into() });
    }
    if native.params.iter().any(|param| param.open) && !said("closed") {
        let what =
            native.receiver().map_or_else(|| "a handle".to_owned(), |receiver| format!("the {receiver}"));
        failures.push(Failure { kind: "closed".into(), when: format!("when {what} was closed before") });
    }
    failures
}

fn push_labels(items: &mut Vec<Item>, doc: &Doc, implied: Vec<Failure>) {
    let failures: Vec<Failure> = doc.errors.iter().flatten().cloned().chain(implied).collect();
    if failures.is_empty() {
        push_text(items, "Errors", doc.errors.as_ref().map(|_| NOTHING.to_owned()));
    }
    push_terms(
        items,
        "Errors",
        failures.into_iter().map(|failure| Term::new(failure.kind, failure.when)).collect(),
    );
    push_text(items, "Needs", doc.needs.clone());
    push_text(items, "Undo", doc.undo.clone());
    let calls = doc.calls.as_ref().map(|calls| calls.join(", "));
    push_text(
        items,
        "System calls and man pages",
        calls.map(|text| if text.is_empty() { "none".into() } else { text }),
    );
    for (at, example) in doc.examples.iter().enumerate() {
        if at == 0 {
            items.push(Item::Heading("Example"));
        }
        items.push(Item::Code(example.clone()));
    }
}

fn push_text(items: &mut Vec<Item>, heading: &'static str, text: Option<String>) {
    if let Some(text) = text {
        items.extend([Item::Heading(heading), Item::Text(text)]);
    }
}

fn details(blocks: &[Block]) -> Vec<Item> {
    let item = |block: &Block| match block {
        Block::Text(text) => Item::Text(text.clone()),
        Block::Point(text) => Item::Point(text.clone()),
        Block::Code(lines) => Item::Code(lines.clone()),
    };
    blocks.iter().map(item).collect()
}

fn arguments(native: &Native) -> Vec<Term> {
    let mut terms = Vec::new();
    let own = usize::from(native.form != Form::Function);
    for param in native.params.iter().skip(own) {
        let text = Doc::parse(param.doc.iter().copied()).summary;
        let optional = if param.optional { ", may be left out" } else { "" };
        let about = format!("{}{optional}", (param.expected)());
        terms.push(Term { name: param.name.into(), about, text, depth: 0 });
        if let Some(set) = param.options {
            keys(set, 1, &mut terms);
        }
    }
    terms
}

fn keys(set: &Options, depth: usize, terms: &mut Vec<Term>) {
    for key in set.keys {
        terms.push(Term { name: key.name.into(), about: about(key), text: key.doc.into(), depth });
        if let Some(nested) = key.keys {
            keys(nested, depth + 1, terms);
        }
    }
    if let Some(open) = set.open {
        terms.push(Term { name: "…".into(), about: open.names.into(), text: String::new(), depth });
    }
}

fn about(key: &Key) -> String {
    let default = if key.default.is_empty() { "required".into() } else { format!("default {}", key.default) };
    format!("{}; {default}", key.ty)
}

fn of_key(path: &str, key: &Key) -> Page {
    let mut items = Vec::new();
    let mut terms = Vec::new();
    if let Some(nested) = key.keys {
        keys(nested, 0, &mut terms);
    }
    push_terms(&mut items, "Keys", terms);
    Page { name: path.into(), signature: format!("{path}: {}", about(key)), summary: key.doc.into(), items }
}

fn of_library(library: &Library) -> Page {
    let doc = Doc::parse(library.doc.iter().copied());
    let mut items = details(&doc.details);
    let listed = |function: &Function| {
        Term::new(function.signature(), Doc::parse(function.doc.iter().copied()).summary)
    };
    push_terms(&mut items, "Functions", library.functions.iter().map(listed).collect());
    let signature = format!("import \"{}\"", library.name);
    Page { name: library.name.into(), signature, summary: library.summary(), items }
}

fn of_function(function: &Function) -> Page {
    let doc = Doc::parse(function.doc.iter().copied());
    let mut items = details(&doc.details);
    let arguments = doc.arguments.iter().map(|(name, text)| Term::new(name, text));
    push_terms(&mut items, "Arguments", arguments.collect());
    push_text(&mut items, "Returns", doc.returns.clone());
    push_labels(&mut items, &doc, Vec::new());
    push_text(&mut items, "Module", Some(format!("import \"{}\"", function.module)));
    Page { name: function.full_name(), signature: function.signature(), summary: doc.summary, items }
}

fn of_kind(kind: ErrorKind) -> Page {
    let raised = topic::natives().filter_map(|native| {
        let doc = Doc::parse(native.doc.iter().copied());
        let failure = doc.errors?.into_iter().find(|failure| failure.kind == kind.name())?;
        Some(Term::new(native.op, failure.when))
    });
    let mut items = Vec::new();
    push_terms(&mut items, "Raised by", raised.collect());
    items.extend([Item::Heading("See also"), Item::Text("errors".into())]);
    Page { name: kind.name().into(), signature: String::new(), summary: concept::of_kind(kind).into(), items }
}

fn of_concept(concept: &Concept) -> Page {
    let lines: Vec<&str> = concept.text.lines().skip(1).collect();
    let mut items = details(&doc::blocks(&lines));
    if concept.name == "errors" {
        let kinds = ErrorKind::ALL.into_iter().map(|kind| Term::new(kind.name(), concept::of_kind(kind)));
        push_terms(&mut items, "Kinds", kinds.collect());
        let fields = FIELDS.iter().map(|(name, what)| Term::new(*name, *what));
        push_terms(&mut items, "What an error has", fields.collect());
    }
    Page { name: concept.name.into(), signature: String::new(), summary: concept.summary().into(), items }
}

fn several(names: &[String]) -> Page {
    let terms = names.iter().map(|name| Term::new(name, topic::summary(name).unwrap_or_default()));
    let last = names.first().and_then(|name| name.rsplit(['.', ':']).next()).unwrap_or_default();
    let summary = format!("Several things are called `{last}`: ask for one by its full name.");
    Page { name: last.into(), signature: String::new(), summary, items: vec![Item::Terms(terms.collect())] }
}
