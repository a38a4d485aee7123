//! The help says all that it has to, and nothing that is not so: each label of the convention is there, each example is
//! run through the program and gives what it says.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod example;
#[path = "../support/machine.rs"]
mod machine;
#[path = "../support/mod.rs"]
mod support;

use cshell::error::ErrorKind;
use cshell::script::help::doc::{Block, Doc, LABELS, NOTHING, blocks};
use cshell::script::help::{self, Style, concept, library, markdown, page, reference, topic};
use cshell::script::native::{Form, Native};
use cshell::script::options::Options;
use example::Example;
use machine::Machine;
use std::path::Path;
use std::sync::Mutex;
use support::{Ended, cshell};

/// How many examples run at once.
const WORKERS: usize = 4;

/// Every native, with the verbs that all handles have.
fn natives() -> impl Iterator<Item = &'static Native> {
    topic::natives().chain(topic::common().unwrap().natives)
}

fn doc(native: &Native) -> Doc {
    Doc::parse(native.doc.iter().copied())
}

/// What a doc comment lacks, by the convention in `script::help::doc`.
fn lacks(doc: &Doc, form: Form, returns: bool) -> Vec<String> {
    let mut lacks = Vec::new();
    let mut check = |right: bool, what: &str| {
        if !right {
            lacks.push(what.to_owned());
        }
    };
    check(doc.summary.ends_with('.'), "a summary that ends with a stop");
    check(doc.summary.len() <= 120, "a summary of at most 120 letters");
    let full = form != Form::Property;
    let given = [
        doc.returns.is_some() == returns || !full,
        doc.errors.is_some() || !full,
        doc.needs.is_some() || !full,
        doc.calls.is_some() || !full,
        doc.undo.is_some() || !full,
        !doc.examples.is_empty() || !full,
    ];
    for (label, given) in LABELS.iter().skip(1).zip(given) {
        check(given, &format!("the label {label}"));
    }
    for failure in doc.errors.iter().flatten() {
        let known = ErrorKind::ALL.iter().any(|kind| kind.name() == failure.kind);
        check(known, &format!("a kind of error that there is, in place of `{}`", failure.kind));
        check(!failure.when.is_empty(), &format!("when `{}` comes", failure.kind));
    }
    for call in doc.calls.iter().flatten() {
        check(is_man_page(call), &format!("a name such as `clone3(2)` in place of `{call}`"));
    }
    for text in [&doc.needs, &doc.undo].into_iter().flatten() {
        check(!text.is_empty(), &format!("a text, or `{NOTHING}`"));
    }
    lacks
}

/// Whether it is written as a man page is: `clone3(2)`.
fn is_man_page(text: &str) -> bool {
    let Some((name, section)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) else {
        return false;
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
    !name.is_empty() && name.chars().all(named) && section.starts_with(|c: char| ('1'..='8').contains(&c))
}

/// What the options of a parameter lack.
fn lacks_of_keys(set: &Options, lacks: &mut Vec<String>) {
    for key in set.keys {
        if key.doc.trim().is_empty() || !key.doc.ends_with('.') || key.ty.is_empty() {
            lacks.push(format!("a type and a sentence for the key {}.{}", set.of, key.name));
        }
        key.keys.into_iter().for_each(|set| lacks_of_keys(set, lacks));
    }
}

fn lacks_of_params(native: &Native) -> Vec<String> {
    let mut lacks = Vec::new();
    let own = usize::from(native.form != Form::Function);
    for param in native.params.iter().skip(own) {
        let text = Doc::parse(param.doc.iter().copied()).summary;
        if text.is_empty() && param.options.is_none() {
            lacks.push(format!("a sentence about `{}`", param.name));
        }
        if param.optional && param.options.is_none() && !text.contains("ithout it") {
            lacks.push(format!("what holds without `{}`: \"Without it …\"", param.name));
        }
        param.options.into_iter().for_each(|set| lacks_of_keys(set, &mut lacks));
    }
    lacks
}

#[test]
fn every_native_says_all() {
    let mut all = Vec::new();
    for native in natives() {
        let mut lacks = lacks(&doc(native), native.form, !(native.returns)().is_empty());
        lacks.extend(lacks_of_params(native));
        all.extend(lacks.into_iter().map(|what| format!("{} lacks {what}", native.op)));
    }
    assert!(all.is_empty(), "{} are missing:\n{}", all.len(), all.join("\n"));
}

#[test]
fn every_function_of_the_library_says_all() {
    for library in library::all() {
        for function in library.functions {
            let doc = Doc::parse(function.doc.iter().copied());
            assert_eq!(
                lacks(&doc, Form::Function, doc.returns.is_some()),
                Vec::<String>::new(),
                "{}",
                function.name
            );
            let named: Vec<&str> = doc.arguments.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(named, function.params, "the label Arguments of {}", function.name);
        }
    }
}

/// A property has no example of its own where one of another native of its module reads it.
#[test]
fn every_property_is_read_by_an_example() {
    let missing: Vec<&str> =
        natives().filter(|native| page::examples(native).is_empty()).map(|native| native.op).collect();
    assert!(missing.is_empty(), "no example reads {missing:?}");
}

#[test]
fn what_is_missing_is_told() {
    let text = " Makes it\n Errors: `bsy` when it is; `busy`\n Calls: clone3\n";
    let found = lacks(&Doc::parse(text.lines()), Form::Function, true);
    assert_eq!(
        found,
        [
            "a summary that ends with a stop",
            "the label Returns",
            "the label Needs",
            "the label Undo",
            "the label Example",
            "a kind of error that there is, in place of `bsy`",
            "when `busy` comes",
            "a name such as `clone3(2)` in place of `clone3`",
        ]
    );
    let text = " It.\n\n Errors: nothing.\n Needs: nothing.\n Calls: a(1), proc_pid_status(5).\n Undo: nothing.\n Example:\n     1 // => 1";
    assert_eq!(lacks(&Doc::parse(text.lines()), Form::Function, false), Vec::<String>::new());
}

/// The reference has each native once, and each line of its contents leads somewhere.
#[test]
fn the_reference_is_whole() {
    let text = markdown::document("T", "S.", &reference::parts());
    for native in topic::natives() {
        let title = format!("\n### `{}`\n", native.signature());
        assert_eq!(text.matches(&title).count(), 1, "{title}");
    }
    // As GitHub makes anchors out of titles.
    let anchor = |title: &str| -> String {
        let kept = title.to_lowercase().replace(|c: char| !c.is_alphanumeric() && !" -_".contains(c), "");
        kept.replace(' ', "-")
    };
    let titles = text
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchors: Vec<String> = titles.map(anchor).collect();
    let links: Vec<&str> = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 200, "{} links", links.len());
    for link in links {
        assert!(anchors.iter().any(|anchor| anchor == link), "nothing has the anchor {link}");
    }
}

/// Every name has a page that is not wider than the terminal, but for code, which is indented by six.
#[test]
fn every_name_has_a_page_that_fits() {
    for name in help::names() {
        let text = help::page(&name, Style { width: 80, colour: false })
            .unwrap_or_else(|unknown| panic!("{unknown}"));
        let wide = |line: &&str| line.chars().count() > 80 && !line.starts_with("      ");
        assert_eq!(text.lines().find(wide), None, "{name}");
        assert!(text.lines().count() > 2, "{name}: {text}");
        assert!(help::summary(&name).is_some_and(|summary| !summary.is_empty()), "{name} has no summary");
    }
}

/// Every example, with the name of what it is an example of.
fn examples() -> Vec<(String, Vec<String>)> {
    let of = |name: &str, doc: Doc| -> Vec<(String, Vec<String>)> {
        doc.examples.into_iter().map(|lines| (name.to_owned(), lines)).collect()
    };
    let mut all: Vec<_> = natives().flat_map(|native| of(native.op, doc(native))).collect();
    for function in library::all().into_iter().flat_map(|library| library.functions) {
        all.extend(of(function.name, Doc::parse(function.doc.iter().copied())));
    }
    for concept in concept::ALL {
        let lines: Vec<&str> = concept.text.lines().collect();
        let code = blocks(&lines).into_iter().filter_map(|block| match block {
            Block::Code(lines) => Some((concept.name.to_owned(), lines)),
            Block::Text(_) | Block::Point(_) => None,
        });
        all.extend(code);
    }
    all
}

/// Runs an example and says what is wrong about it.
fn run(name: &str, lines: &[String]) -> Option<String> {
    let example = Example::read(lines);
    if !example.shows() {
        return Some(format!("{name}: the example says nothing about what comes of it\n"));
    }
    let installed =
        |program: &String| ["/usr/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !example.needs.is_empty() && !example.needs.iter().any(installed) {
        support::skip::skip(name, &format!("none of {:?} is installed", example.needs));
        return None;
    }
    let (checked, run) = (
        cshell(["check", "example.rhai"]).file("example.rhai", &example.script).output(),
        cshell(["example.rhai"]).file("example.rhai", &example.script).output(),
    );
    if run.stdout == example.stdout
        && run.stderr == example.stderr
        && run.ended == Ended::Exit(example.exit)
        && checked.ended == Ended::Exit(0)
    {
        return None;
    }
    Some(format!(
        "{name}: {:?}\n{}--- it says\n{}{}--- it gives\n{}{}{}",
        run.ended, example.script, example.stdout, example.stderr, run.stdout, run.stderr, checked.stderr
    ))
}

#[test]
fn every_example_gives_what_it_says() {
    let state = tempfile::tempdir().unwrap();
    let before = Machine::look(state.path());
    let only = std::env::var("EXAMPLE").unwrap_or_default();
    let left =
        Mutex::new(examples().into_iter().filter(|(name, _)| name.contains(&only)).collect::<Vec<_>>());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((name, lines)) = next(&left) {
                    wrong.lock().unwrap().extend(run(&name, &lines));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
    before.same_as_before(state.path(), "the examples");
}

fn next<T>(left: &Mutex<Vec<T>>) -> Option<T> {
    left.lock().unwrap().pop()
}
