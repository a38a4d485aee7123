//! `cshell doc`: the functions of the language, from the same tables that the interpreter is built from.

use crate::cli::{complain, say};
use crate::script::bind::BINDINGS;
use crate::script::native::{Binding, Native};
use crate::script::options::{Options, did_you_mean};
use crate::script::report::{EXIT_USAGE, Report};
use crate::text::report;
use std::fmt::Write;

/// Shows the list of modules, one module, or one function.
pub(super) fn doc(name: Option<&str>) -> u8 {
    let Some(name) = name else { return say(&modules()) };
    let found = BINDINGS.iter().find(|binding| binding.name == name).map(module).or_else(|| natives(name));
    if let Some(text) = found {
        return say(&text);
    }
    let known = BINDINGS.iter().flat_map(|binding| {
        std::iter::once(binding.name).chain(binding.natives.iter().map(|native| native.op))
    });
    let near = did_you_mean(name, known);
    let mut report = Report::plain(format!("nothing is called `{name}`{near}"), EXIT_USAGE);
    report.hint = Some("`cshell doc` lists the modules".into());
    complain(&report::render(&report, &|_| None));
    EXIT_USAGE
}

fn modules() -> String {
    let mut out = String::new();
    for binding in BINDINGS {
        let _ = writeln!(out, "{:<10} {}", binding.name, first(binding.doc));
    }
    out.push_str("\n`cshell doc NAME` shows a module or a function.\n");
    out
}

fn module(binding: &Binding) -> String {
    let mut out = format!("{}: {}\n", binding.name, text(binding.doc, ""));
    for native in binding.natives {
        let _ = writeln!(out, "{}\n    {}", native.signature(), first(native.doc));
    }
    out
}

fn natives(op: &str) -> Option<String> {
    let all = BINDINGS.iter().flat_map(|binding| binding.natives);
    let found: Vec<&Native> = all.filter(|native| native.op == op).collect();
    (!found.is_empty()).then(|| found.into_iter().map(native).collect())
}

fn native(native: &Native) -> String {
    let mut out = format!("{}\n\n{}", native.signature(), text(native.doc, "    "));
    if !native.params.is_empty() {
        out.push('\n');
    }
    for param in native.params {
        let optional = if param.optional { ", may be left out" } else { "" };
        let _ = writeln!(out, "    {}: {}{optional}", param.name, (param.expected)());
        if let Some(set) = param.options {
            options(set, "        ", &mut out);
        }
    }
    out
}

fn options(set: &Options, indent: &str, out: &mut String) {
    for key in set.keys {
        let default =
            if key.default.is_empty() { "required".into() } else { format!("default {}", key.default) };
        let _ = writeln!(out, "{indent}{}: {} ({default}). {}", key.name, key.ty, key.doc);
        if let Some(nested) = key.keys {
            options(nested, &format!("{indent}    "), out);
        }
    }
    if let Some(open) = set.open {
        let _ = writeln!(out, "{indent}and {}", open.names);
    }
}

fn first(doc: &[&str]) -> String {
    doc.first().map_or_else(String::new, |line| line.trim().to_owned())
}

fn text(doc: &[&str], indent: &str) -> String {
    doc.iter().map(|line| format!("{indent}{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}
