//! Definition files for editors: what the language server of Rhai reads (`*.d.rhai`).

use crate::script::bind::BINDINGS;
use crate::script::help::library;
use crate::script::help::topic;
use crate::script::native::{Form, Native, Param};
use std::fmt::Write;

/// The files: names and texts.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut everywhere = String::from("module static;\n");
    for binding in BINDINGS {
        let mut module = format!("{}module {};\n", comments(binding.doc, "//!"), binding.name);
        for native in binding.natives {
            let inside = native.form == Form::Function && native.op.contains("::");
            write(native, if inside { &mut module } else { &mut everywhere });
        }
        files.push((format!("{}.d.rhai", binding.name), module));
    }
    for native in topic::common().into_iter().flat_map(|common| common.natives) {
        write(native, &mut everywhere);
    }
    files.push(("__static__.d.rhai".to_owned(), everywhere));
    for library in library::all() {
        let short = library.name.rsplit('/').next().unwrap_or(library.name);
        let mut module = format!("{}module {short};\n", comments(&library.doc, "//!"));
        for function in library.functions {
            let params: Vec<String> = function.params.iter().map(|param| format!("{param}: ?")).collect();
            let _ = write!(module, "\n{}", comments(&function.doc, "///"));
            let _ = writeln!(module, "fn {}({}) -> ?;", function.name, params.join(", "));
        }
        files.push((format!("std_{short}.d.rhai"), module));
    }
    files
}

/// One native, once for each number of arguments: the language knows no optional ones.
fn write(native: &Native, out: &mut String) {
    let word = match native.form {
        Form::Property => "fn get ",
        _ if native.name().starts_with(char::is_alphabetic) => "fn ",
        _ => "op ",
    };
    let returns = match (native.returns)() {
        nothing if nothing.is_empty() => "()".to_owned(),
        some => kind(&some).to_owned(),
    };
    for count in native.arity() {
        let params: Vec<String> = native.params[..count].iter().map(param).collect();
        let _ = write!(out, "\n{}", comments(native.doc, "///"));
        let _ = match word {
            "op " => {
                let kinds: Vec<String> =
                    native.params.iter().map(|param| kind(&(param.expected)()).to_owned()).collect();
                writeln!(out, "op {}({}) -> {returns};", native.name(), kinds.join(", "))
            }
            _ => writeln!(out, "{word}{}({}) -> {returns};", native.name(), params.join(", ")),
        };
    }
}

fn param(param: &Param) -> String {
    format!("{}: {}", param.name, kind(&(param.expected)()))
}

fn comments(doc: &[&str], mark: &str) -> String {
    doc.iter().map(|line| format!("{}\n", format!("{mark}{line}").trim_end())).collect()
}

/// The type of the language that the help describes in words; `?` where several fit.
fn kind(words: &str) -> &str {
    let words = words.trim_end_matches(", or ()");
    if let Some(handle) = words.strip_prefix("a handle of type ").or(words.strip_prefix("a value of type ")) {
        return handle;
    }
    match words {
        "text" | "path" | "a text" | "a path" => "String",
        "true or false" => "bool",
        "blob" | "a blob" => "Blob",
        "function" | "a function" => "Fn",
        "map" | "a map" | "a map of options" => "Map",
        "list" | "a list" => "Array",
        list if list.starts_with("list of ") => "Array",
        map if map.starts_with("map of ") => "Map",
        list if list.starts_with("a list, each ") => "Array",
        map if map.starts_with("a map, each ") => "Map",
        number if number.starts_with("a whole number") => "int",
        name if !name.is_empty()
            && name.starts_with(char::is_uppercase)
            && name.chars().all(char::is_alphanumeric) =>
        {
            name
        }
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_native_is_in_one_file() {
        let files = files();
        let text: String = files.iter().map(|(_, text)| text.as_str()).collect();
        for native in BINDINGS.iter().flat_map(|binding| binding.natives) {
            let get = if native.form == Form::Property { "get " } else { "" };
            assert!(text.contains(&format!("fn {get}{}(", native.name())), "{}", native.op);
        }
        let ns = &files.iter().find(|(name, _)| name == "ns.d.rhai").unwrap().1;
        assert!(ns.contains("module ns;") && ns.contains("\nfn new(options: ?) -> Ns;"), "{ns}");
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"__static__.d.rhai") && names.contains(&"std_retry.d.rhai"), "{names:?}");
    }

    #[test]
    fn types_are_those_of_the_language() {
        for (words, expected) in [
            ("a handle of type Ns", "Ns"),
            ("list of text", "Array"),
            ("ExecResult", "ExecResult"),
            ("text, or ()", "String"),
            ("a whole number from 0 to 255", "int"),
            ("a list, each a text", "Array"),
            ("a duration (a text such as \"250ms\")", "?"),
        ] {
            assert_eq!(kind(words), expected, "{words}");
        }
    }
}
