//! The functions of the standard library, out of the texts of its modules.

use crate::script::help::doc::Doc;
use crate::script::resolver::STD;

/// A module of the standard library.
#[derive(Clone, Debug)]
pub struct Library {
    /// What is imported: `std/retry`.
    pub name: &'static str,
    /// The comment at its head, a line an element.
    pub doc: Vec<&'static str>,
    /// Its functions, without the private ones.
    pub functions: Vec<Function>,
}

/// A function of it.
#[derive(Clone, Debug)]
pub struct Function {
    /// The module: `std/retry`.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The names of its parameters.
    pub params: Vec<&'static str>,
    /// Its documentation, a line an element.
    pub doc: Vec<&'static str>,
}

impl Library {
    /// What it is for, as one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let summary = Doc::parse(self.doc.iter().copied()).summary;
        let text =
            summary.strip_prefix(self.name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&summary);
        let mut letters = text.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}

impl Function {
    /// How it is written: `retry(times, f)`.
    #[must_use]
    pub fn signature(&self) -> String {
        format!("{}({})", self.name, self.params.join(", "))
    }
}

/// Every module of the standard library. Modules below another are parts of that.
#[must_use]
pub fn all() -> Vec<Library> {
    let whole = STD.iter().filter(|(name, _)| name.matches('/').count() == 1);
    whole.map(|(name, text)| read(name, text)).collect()
}

/// The module of a text.
fn read(module: &'static str, text: &'static str) -> Library {
    let head = text.lines().map_while(|line| line.strip_prefix("//").filter(|rest| !rest.starts_with('/')));
    let mut functions = Vec::new();
    let mut doc: Vec<&'static str> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("///") {
            doc.push(rest);
        } else {
            functions.extend(function(module, line, &doc));
            doc.clear();
        }
    }
    Library { name: module, doc: head.collect(), functions }
}

/// The function that a line begins. A private one is none, and none is one that has the name of its module before its own:
/// it is for the module alone, and must not be confused with that of another.
fn function(module: &'static str, line: &'static str, doc: &[&'static str]) -> Option<Function> {
    let (name, rest) = line.strip_prefix("fn ")?.split_once('(')?;
    let short = module.rsplit('/').next().unwrap_or(module);
    if name.strip_prefix(short).is_some_and(|rest| rest.starts_with('_')) {
        return None;
    }
    let params = rest.split_once(')')?.0.split(',').map(str::trim).filter(|name| !name.is_empty());
    Some(Function { module, name: name.trim(), params: params.collect(), doc: doc.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_from_the_text() {
        let text = "// m: does things.\n//\n//     import\n\n/// One.\n///\n/// More.\nfn one(a, b) {\n}\nprivate fn two() {}\nfn m_own() {}\nfn three() {}\n";
        let library = read("std/m", text);
        assert_eq!(library.doc, [" m: does things.", "", "     import"]);
        assert_eq!(Library { doc: vec![" std/m: does it."], ..library.clone() }.summary(), "Does it.");
        let names: Vec<String> = library.functions.iter().map(Function::signature).collect();
        assert_eq!(names, ["one(a, b)", "three()"]);
        assert_eq!(library.functions[0].doc, [" One.", "", " More."]);
        assert!(library.functions[1].doc.is_empty());
    }
}
