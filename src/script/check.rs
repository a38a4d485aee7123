//! Finds mistakes in scripts without running them.
//!
//! What parses is walked: modules and functions that do not exist, calls with the wrong number of arguments,
//! imports that lead nowhere, and unknown keys of option maps written in place. All findings are told, each
//! undefined variable once, at its first use. What only a run can know (types, maps made elsewhere, methods of
//! values) is not guessed at.

use crate::error::Error;
use crate::runtime::session::Session;
use crate::runtime::state::StateDirs;
use crate::script::bind::BINDINGS;
use crate::script::engine;
use crate::script::native::{Form, Native};
use crate::script::options::{Options, nearest};
use crate::script::report::{EXIT_USAGE, Report, unknown_function};
use crate::script::resolver::Target;
use crate::script::shell::Shell;
use crate::script::source;
use rhai::{
    AST, ASTFlags, ASTNode, Engine, Expr, FnAccess, FnCallExpr, Module, ParseErrorType, Position, Scope, Stmt,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

/// Names that the language itself takes as functions, with any number of arguments.
const KEYWORDS: &[&str] =
    &["print", "debug", "type_of", "eval", "call", "curry", "Fn", "is_def_var", "is_def_fn", "is_shared"];

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// The findings, in the order of the files and their lines.
    pub reports: Vec<Report>,
    shell: Rc<Shell>,
}

impl Checked {
    /// The text of a source, for the rendering.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<Rc<str>> {
        self.shell.source(name)
    }
}

/// Checks scripts and everything they import.
///
/// # Errors
/// When no session can be opened.
pub fn check(files: &[PathBuf]) -> Result<Checked, Error> {
    // The session stays empty: nothing runs.
    let session = Rc::new(Session::new(StateDirs::from_env())?);
    let shell = Shell::new(session, "<check>", Vec::new());
    let mut checker = Checker::new(engine::build(&shell), shell);
    for file in files {
        checker.file(&file.display().to_string(), || source::read(file));
    }
    Ok(Checked { reports: checker.reports, shell: checker.shell })
}

/// What a file offers to those that import it.
#[derive(Debug, Default)]
struct Exports {
    functions: BTreeSet<(String, usize)>,
    variables: BTreeSet<String>,
}

/// The names by which one file can call.
#[derive(Debug, Default)]
struct Names {
    /// The modules imported, by alias; `None` when it could not be read, or is not written as a text.
    imports: BTreeMap<String, Option<Rc<Exports>>>,
    functions: BTreeSet<(String, usize)>,
    /// Variables, parameters, keys and texts: any may hold or name a function.
    others: BTreeSet<String>,
}

struct Checker {
    engine: Engine,
    shell: Rc<Shell>,
    /// The functions that need no module name, with their numbers of arguments.
    globals: BTreeSet<(String, usize)>,
    done: BTreeMap<String, Option<Rc<Exports>>>,
    reports: Vec<Report>,
}

impl Checker {
    fn new(engine: Engine, shell: Rc<Shell>) -> Self {
        let global = |info: rhai::FuncInfo<'_>| {
            let function = (info.metadata.name.to_string(), info.metadata.num_params);
            info.namespace.is_empty().then_some(function)
        };
        let globals = engine.collect_fn_metadata(None, global, true).into_iter().collect();
        Self { engine, shell, globals, done: BTreeMap::new(), reports: Vec::new() }
    }

    /// Checks a file once and tells what it exports.
    fn file(&mut self, name: &str, read: impl FnOnce() -> Result<String, Error>) -> Option<Rc<Exports>> {
        if let Some(known) = self.done.get(name) {
            return known.clone();
        }
        // Files that import each other find this.
        self.done.insert(name.to_owned(), None);
        let text = match read() {
            Ok(text) => text,
            Err(error) => {
                self.reports.push(Report { exit_code: EXIT_USAGE, ..Report::of_error(&error) });
                return None;
            }
        };
        self.shell.remember(name, &text);
        let before = self.reports.len();
        let ast = self.parse(name, source::without_shebang(&text));
        let exports = ast.map(|ast| {
            let names = self.names(name, &ast);
            self.walk(name, &ast, &names);
            Rc::new(exports(&ast))
        });
        let line = |report: &Report| {
            report.place.as_ref().map(|place| (place.position.line(), place.position.position()))
        };
        // Findings of imports are whole before those of this file's walk; each file's are in order of its lines.
        self.reports[before..].sort_by(|a, b| {
            let (a_here, b_here) = (is_in(a, name), is_in(b, name));
            a_here
                .cmp(&b_here)
                .then_with(|| if a_here { line(a).cmp(&line(b)) } else { std::cmp::Ordering::Equal })
        });
        self.done.insert(name.to_owned(), exports.clone());
        exports
    }

    /// Parses as a run would, but goes on after what is undefined.
    fn parse(&mut self, name: &str, text: &str) -> Option<AST> {
        let mut scope = Scope::new();
        loop {
            let error = match self.engine.compile_with_scope(&scope, text) {
                Ok(ast) => return Some(ast),
                Err(error) => error,
            };
            match error.err_type() {
                ParseErrorType::VariableUndefined(variable) if !scope.contains(variable) => {
                    scope.push_constant(variable.clone(), ());
                }
                ParseErrorType::ModuleUndefined(module) => {
                    // The walk tells each use of it.
                    let stand_in = Module::new();
                    self.engine.register_static_module(module, stand_in.into());
                    continue;
                }
                _ => {
                    self.reports.push(Report::of_parse(&error, name));
                    return None;
                }
            }
            self.reports.push(Report::of_parse(&error, name));
        }
    }

    fn names(&mut self, file: &str, ast: &AST) -> Names {
        let mut names = Names::default();
        for function in ast.iter_functions() {
            names.functions.insert((function.name.to_owned(), function.params.len()));
            names.others.extend(function.params.iter().map(|param| (*param).to_owned()));
        }
        let mut imports = Vec::new();
        ast.walk(&mut |path| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Import(import, _))) => {
                    imports.push((import.0.clone(), import.1.name.to_string()));
                }
                Some(ASTNode::Stmt(Stmt::Var(var, ..))) => {
                    names.others.insert(var.0.name.to_string());
                }
                Some(ASTNode::Expr(Expr::Map(map, _))) => {
                    names.others.extend(map.0.iter().map(|(key, _)| key.name.to_string()));
                }
                Some(ASTNode::Expr(Expr::Property(property, _))) => {
                    names.others.insert(property.2.to_string());
                }
                Some(ASTNode::Expr(Expr::StringConstant(text, _))) => {
                    names.others.insert(text.to_string());
                }
                _ => {}
            }
            true
        });
        for (path, alias) in imports {
            let exports = self.import(file, &path);
            names.imports.insert(alias, exports);
        }
        names
    }

    fn import(&mut self, file: &str, path: &Expr) -> Option<Rc<Exports>> {
        let Expr::StringConstant(path, position) = path else { return None };
        match Target::of(path, file) {
            Ok(target) => self.file(&target.name(), || target.read()),
            Err(error) => {
                let hint = error.hint_text().map(ToOwned::to_owned);
                self.find(error.to_string(), hint, file, *position);
                None
            }
        }
    }

    fn find(&mut self, message: String, hint: Option<String>, file: &str, position: Position) {
        let report = Report::at(message, file, position, EXIT_USAGE);
        self.reports.push(Report { hint, ..report });
    }

    fn walk(&mut self, file: &str, ast: &AST, names: &Names) {
        let mut findings = Vec::new();
        ast.walk(&mut |path| {
            match path.last() {
                Some(
                    ASTNode::Expr(Expr::FnCall(call, position)) | ASTNode::Stmt(Stmt::FnCall(call, position)),
                ) => {
                    self.call(call, *position, names, &mut findings);
                }
                Some(ASTNode::Expr(Expr::MethodCall(call, position))) => {
                    self.method(call, *position, names, &mut findings);
                }
                Some(ASTNode::Expr(Expr::Variable(variable, _, position))) if !variable.2.is_empty() => {
                    let module: Vec<&str> = variable.2.path.iter().map(|part| part.name.as_str()).collect();
                    if let Some(finding) = self.variable(&module, &variable.1, names) {
                        findings.push((finding, *position));
                    }
                }
                _ => {}
            }
            true
        });
        for ((message, hint), position) in findings {
            self.find(message, hint, file, position);
        }
    }

    fn call(&self, call: &FnCallExpr, position: Position, names: &Names, findings: &mut Findings) {
        if call.is_operator_call() {
            return;
        }
        let count = call.args.len();
        if !call.is_qualified() {
            findings.extend(self.plain(&call.name, count, names).map(|finding| (finding, position)));
            for native in natives(Form::Function, &call.name).filter(|native| !native.op.contains("::")) {
                options(&[native], &call.args, 0, findings);
            }
            return;
        }
        let path: Vec<&str> = call.namespace.path.iter().map(|part| part.name.as_str()).collect();
        let name = format!("{}::{}", path.join("::"), call.name);
        if let Some(import) = names.imports.get(path[0]) {
            if let (Some(exports), 1) = (import, path.len()) {
                findings
                    .extend(exported(exports, &name, &call.name, count).map(|finding| (finding, position)));
            }
        } else if let Some(unknown) = unknown_module(&path, names) {
            findings.push((unknown, position));
        } else if let Some(unknown) = unknown_function(&name, count) {
            findings.push((unknown, position));
        } else {
            let all: Vec<&Native> =
                BINDINGS.iter().flat_map(|b| b.natives).filter(|native| native.op == name).collect();
            options(&all, &call.args, 0, findings);
        }
    }

    fn plain(&self, name: &str, count: usize, names: &Names) -> Option<Finding> {
        let known = names.functions.iter().chain(&self.globals);
        let counts: BTreeSet<usize> =
            known.filter(|(known, _)| known == name).map(|(_, count)| *count).collect();
        if counts.contains(&count) || KEYWORDS.contains(&name) || names.others.contains(name) {
            return None;
        }
        if counts.is_empty() {
            let known = names.functions.iter().chain(&self.globals).map(|(name, _)| name.as_str());
            let near = nearest(name, known.filter(|name| name.starts_with(char::is_alphabetic)));
            return Some((
                format!("there is no function `{name}`"),
                near.map(|near| format!("did you mean `{near}`?")),
            ));
        }
        Some((format!("`{name}` takes {}, not {count}", show_counts(&counts)), None))
    }

    fn method(&self, call: &FnCallExpr, position: Position, names: &Names, findings: &mut Findings) {
        let name = call.name.as_str();
        let known = names.functions.iter().chain(&self.globals).any(|(known, _)| known == name)
            || KEYWORDS.contains(&name)
            || names.others.contains(name)
            || names
                .imports
                .values()
                .flatten()
                .any(|exports| exports.functions.iter().any(|(known, _)| known == name));
        if !known {
            let all = names.functions.iter().chain(&self.globals).map(|(name, _)| name.as_str());
            let near = nearest(name, all.filter(|name| name.starts_with(char::is_alphabetic)));
            let finding = (
                format!("nothing has a method `{name}`"),
                near.map(|near| format!("did you mean `{near}`?")),
            );
            findings.push((finding, position));
        }
        let all: Vec<&Native> = natives(Form::Method, name).collect();
        options(&all, &call.args, 1, findings);
    }

    fn variable(&self, module: &[&str], name: &str, names: &Names) -> Option<Finding> {
        match (names.imports.get(module[0]), module) {
            (Some(Some(exports)), [alias]) => {
                let near = nearest(name, exports.variables.iter().map(String::as_str));
                (!exports.variables.contains(name)).then(|| {
                    (
                        format!("`{alias}` exports no variable `{name}`"),
                        near.map(|near| format!("did you mean `{near}`?")),
                    )
                })
            }
            (Some(_), _) | (None, ["global", ..]) => None,
            // `sys::args` is the only variable of a module of ours.
            (None, ["sys"]) if name == "args" => None,
            (None, _) => unknown_module(module, names).or_else(|| {
                let call = format!("{}::{name}", module.join("::"));
                let function =
                    BINDINGS.iter().flat_map(|binding| binding.natives).find(|native| native.op == call);
                let hint = match function {
                    Some(native) => Some(format!("it is a function, written {}", native.signature())),
                    None => nearest(&call, ["sys::args"]).map(|near| format!("did you mean `{near}`?")),
                };
                Some((format!("there is no variable `{call}`"), hint))
            }),
        }
    }
}

/// What is wrong, and what may have been meant.
type Finding = (String, Option<String>);
type Findings = Vec<(Finding, Position)>;

fn is_in(report: &Report, file: &str) -> bool {
    report.place.as_ref().is_some_and(|place| place.source == file)
}

fn natives(form: Form, name: &str) -> impl Iterator<Item = &'static Native> {
    let all = BINDINGS.iter().flat_map(|binding| binding.natives);
    all.filter(move |native| native.form == form && native.name() == name)
}

fn unknown_module(path: &[&str], names: &Names) -> Option<Finding> {
    let name = path.join("::");
    if name == "global" || BINDINGS.iter().any(|binding| binding.name == name) {
        return None;
    }
    let known = BINDINGS.iter().map(|binding| binding.name).chain(names.imports.keys().map(String::as_str));
    let near = nearest(&name, known).map(|near| format!("did you mean `{near}`?"));
    Some((format!("there is no module `{name}`"), near))
}

fn exported(exports: &Exports, full: &str, name: &str, count: usize) -> Option<Finding> {
    let counts: BTreeSet<usize> =
        exports.functions.iter().filter(|(known, _)| known == name).map(|(_, count)| *count).collect();
    if counts.contains(&count) || exports.variables.contains(name) {
        return None;
    }
    if counts.is_empty() {
        let near = nearest(name, exports.functions.iter().map(|(name, _)| name.as_str()));
        return Some((
            format!("there is no function `{full}`"),
            near.map(|near| format!("did you mean `{near}`?")),
        ));
    }
    Some((format!("`{full}` takes {}, not {count}", show_counts(&counts)), None))
}

fn exports(ast: &AST) -> Exports {
    let mut exports = Exports::default();
    for function in ast.iter_functions().filter(|function| function.access == FnAccess::Public) {
        exports.functions.insert((function.name.to_owned(), function.params.len()));
    }
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Export(export, _))) => {
                let name = if export.1.name.is_empty() { &export.0 } else { &export.1 };
                exports.variables.insert(name.name.to_string());
            }
            Some(ASTNode::Stmt(Stmt::Var(var, flags, _))) if flags.intersects(ASTFlags::EXPORTED) => {
                exports.variables.insert(var.0.name.to_string());
            }
            _ => {}
        }
        true
    });
    exports
}

/// Looks for unknown keys in the maps written in a call of one of `natives`; the first argument is the parameter
/// `first`. A key is unknown when every one of them takes options there and none knows it.
fn options(natives: &[&Native], args: &[Expr], first: usize, findings: &mut Findings) {
    for (index, arg) in args.iter().enumerate() {
        let sets: Option<Vec<&'static Options>> = natives
            .iter()
            .map(|native| native.params.get(index + first).and_then(|param| param.options))
            .collect();
        if let Some(sets) = sets.filter(|sets| !sets.is_empty()) {
            keys(&sets, arg, findings);
        }
    }
}

fn keys(sets: &[&'static Options], value: &Expr, findings: &mut Findings) {
    match value {
        Expr::Map(map, _) => {
            for (key, value) in &map.0 {
                let name = key.name.as_str();
                if !sets.iter().any(|set| set.knows(name)) {
                    findings.push(((sets[0].unknown(name), None), key.pos));
                }
                let nested: Vec<&'static Options> =
                    sets.iter().filter_map(|set| set.key(name)?.keys).collect();
                if !nested.is_empty() {
                    keys(&nested, value, findings);
                }
            }
        }
        Expr::Array(list, _) => list.iter().for_each(|value| keys(sets, value, findings)),
        _ => {}
    }
}

fn show_counts(counts: &BTreeSet<usize>) -> String {
    match counts.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice() {
        [one] if one == "0" => "no argument".into(),
        [one] if one == "1" => "1 argument".into(),
        all => format!("{} arguments", all.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::options::{Key, OpenKeys};

    const INNER: Options =
        Options { of: "m::f peer", open: None, keys: &[Key::new("addr", "text", "", "An address.")] };
    const OUTER: Options = Options {
        of: "m::f",
        open: Some(OpenKeys { names: "names with a dot", takes: |name| name.contains('.') }),
        keys: &[Key::new("memory", "size", "", "A size."), Key::new("peer", "map", "", "A map.").map(&INNER)],
    };

    #[test]
    fn unknown_keys_are_found_at_any_depth() {
        let code = r#"let x = #{ memroy: 1, "memory.max": 2, peer: [#{ adr: 3 }, #{ addr: #{ any: 1 } }] };"#;
        let mut engine = Engine::new();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        let ast = engine.compile(code).unwrap();
        let mut findings = Vec::new();
        ast.walk(&mut |path| {
            if let Some(ASTNode::Stmt(Stmt::Var(var, ..))) = path.last() {
                keys(&[&OUTER], &var.1, &mut findings);
            }
            true
        });
        let texts: Vec<&str> = findings.iter().map(|((text, _), _)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "unknown option `memroy` for m::f, did you mean `memory`?",
                "unknown option `adr` for m::f peer, did you mean `addr`?",
            ]
        );
        assert_eq!(findings[0].1, Position::new(1, 12));
    }
}
