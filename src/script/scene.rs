//! The place in which tests are run: a file that has run to its end and is not left yet, so that what it imported, its constants
//! and its functions are there.

use crate::error::{ErrorKind, Result};
use crate::script::bind::generate;
use crate::script::error::ScriptError;
use crate::script::report::Report;
use crate::script::shell::Shell;
use crate::script::suite::{Body, Case, CaseOptions, Group, When};
use crate::script::{engine, source, suite};
use rhai::{AST, Array, Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

/// The name of the function that is called behind the last statement of a file.
const SERVE: &str = "cshell_serve_tests";

type Raised = Box<EvalAltResult>;

/// The functions of a file with their names and numbers of parameters, and what `setup_file` returned.
#[derive(Debug, Default)]
struct Fixtures {
    known: Vec<(String, usize)>,
    file: Dynamic,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Scene<'a> {
    shell: &'a Rc<Shell>,
    ctx: NativeCallContext<'a>,
    fixtures: &'a RefCell<Fixtures>,
}

/// Why something of a file failed.
#[derive(Debug)]
pub struct Failure {
    /// What is told of it.
    pub report: Box<Report>,
    /// Whether a native call failed, so that its place is known also when it was stopped.
    pub in_call: bool,
    /// Whether it was no error, but `exit` or a stop.
    pub ended: bool,
    /// The kind of the error, where it is one with a kind.
    pub kind: Option<ErrorKind>,
}

impl Failure {
    fn of(error: EvalAltResult, shell: &Shell) -> Self {
        let in_call = matches!(error.unwrap_inner(), EvalAltResult::ErrorRuntime(..));
        let ended =
            matches!(error.unwrap_inner(), EvalAltResult::Exit(..) | EvalAltResult::ErrorTerminated(..));
        let kind = match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) => {
                value.read_lock::<ScriptError>().map(|error| error.kind())
            }
            _ => None,
        };
        let mut report = Report::of_eval(error, shell.script());
        // That of the call behind the end of the file, which runs the tests.
        let _ = report.frames.pop();
        Self { report: report.into(), in_call, ended, kind }
    }
}

/// Runs a file from its top, and `serve` behind its end. The error is that of the file.
///
/// # Errors
/// When it cannot be read or does not parse, and when it fails. That it was stopped or called `exit` is no error here.
pub fn open(path: &Path, shell: &Rc<Shell>, serve: impl Fn(&Scene<'_>) + 'static) -> Result<(), Box<Report>> {
    let text = source::read(path).map_err(|error| Box::new(Report::of_error(&error)))?;
    let mut engine = engine::build(shell);
    let fixtures: Rc<RefCell<Fixtures>> = Rc::default();
    let (inside, known) = (shell.clone(), fixtures.clone());
    engine.register_raw_fn(
        SERVE,
        [] as [std::any::TypeId; 0],
        move |ctx: NativeCallContext<'_>, _: &mut [&mut Dynamic]| {
            serve(&Scene { shell: &inside, ctx, fixtures: &known });
            Ok(Dynamic::UNIT)
        },
    );
    let engine = Rc::new(engine);
    shell.hooks().set_engine(&engine);
    let ast = source::compile(&engine, shell, shell.script(), &text)
        .map_err(|error| Box::new(Report::of_parse(&error, shell.script())))?;
    shell.suite().open(true);
    declare_functions(shell, &text, &ast, &mut fixtures.borrow_mut());
    let result = with_end(&engine, ast).and_then(|ast| engine.run_ast(&ast));
    match result {
        Err(error)
            if shell.exit_code().is_none() && !matches!(*error, EvalAltResult::ErrorTerminated(..)) =>
        {
            Err(Report::of_eval(*error, shell.script()).into())
        }
        _ => Ok(()),
    }
}

/// The file with a call behind its last statement.
fn with_end(engine: &Engine, mut ast: AST) -> Result<AST, Raised> {
    let end = engine.compile(format!("{SERVE}();"))?;
    ast.combine(end);
    Ok(ast)
}

/// Notes the functions of the file that are tests, in the order in which they stand there, and those around them.
fn declare_functions(shell: &Shell, text: &str, ast: &AST, fixtures: &mut Fixtures) {
    let mut found: Vec<(usize, String, usize)> = Vec::new();
    for function in ast.iter_fn_def() {
        found.push((line_of(text, &function.name), function.name.to_string(), function.params.len()));
    }
    found.sort();
    for (line, name, arity) in found {
        if name.starts_with("test_") {
            let case = Case {
                name: name.clone(),
                place: (shell.script().to_owned(), line),
                group: 0,
                options: CaseOptions::default(),
                todo: false,
                body: Body::Function(name.clone()),
            };
            // Two of one name differ in their parameters: the first is the test.
            let _ = shell.suite().add("test", case);
        }
        if !fixtures.known.iter().any(|(known, _)| *known == name) {
            fixtures.known.push((name, arity));
        }
    }
}

/// The line at which a function of the file is defined; 0 where it is not at the beginning of a line.
fn line_of(text: &str, name: &str) -> usize {
    let is_there = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("private ").unwrap_or(line).trim_start();
        let rest = line.strip_prefix("fn ").and_then(|rest| rest.trim_start().strip_prefix(name));
        rest.is_some_and(|rest| rest.trim_start().starts_with('('))
    };
    text.lines().position(is_there).map_or(0, |index| index + 1)
}

impl Scene<'_> {
    /// Calls a function of the file if there is one, with what it takes of `args`.
    fn call(&self, name: &str, args: &[Dynamic]) -> Result<Option<Dynamic>, Raised> {
        let takes =
            self.fixtures.borrow().known.iter().find(|(known, _)| known == name).map(|(_, takes)| *takes);
        let Some(takes) = takes else { return Ok(None) };
        let mut args: Array = args.to_vec();
        args.resize(takes, Dynamic::UNIT);
        FnPtr::new(name)?.call_raw(&self.ctx, None, args).map(Some)
    }

    fn around(&self, hook: &FnPtr) -> Result<(), Raised> {
        hook.call_raw(&self.ctx, None, []).map(drop)
    }

    /// Runs a test: everything before it, the test itself, and everything after it, which runs whatever happened before. A second
    /// failure is a note of the suite.
    ///
    /// # Errors
    /// What failed first.
    pub fn perform(&self, case: &Case, groups: &[Group]) -> Result<(), Failure> {
        let groups: Vec<&Group> =
            suite::chain(groups, case.group).into_iter().filter_map(|index| groups.get(index)).collect();
        let mut given = self.fixtures.borrow().file.clone();
        let mut outcome = self.perform_inner(case, &groups, &mut given);
        // Nothing more is run by an engine that was told to end.
        let code = self.shell.exit_code();
        self.shell.clear_exit();
        self.perform_after(&groups, &given, &mut outcome);
        if let Some(code) = code {
            self.shell.set_exit(code);
        }
        outcome.map_err(|error| Failure::of(*error, self.shell))
    }

    fn perform_inner(&self, case: &Case, groups: &[&Group], given: &mut Dynamic) -> Result<(), Raised> {
        if let Some(value) = self.call("setup", std::slice::from_ref(given))? {
            *given = value;
        }
        hooks(groups, When::Before).into_iter().try_for_each(|hook| self.around(hook))?;
        match &case.body {
            Body::Function(name) => self.call(name, std::slice::from_ref(given)).map(drop),
            Body::Closure(f, args) => f.call_raw(&self.ctx, None, args.clone()).map(drop),
            Body::Property(generator, f) => generate::hold(self.shell, &self.ctx, case, generator, f),
            Body::Missing => Ok(()),
        }
    }

    fn perform_after(&self, groups: &[&Group], given: &Dynamic, outcome: &mut Result<(), Raised>) {
        let mut note = |result: Result<(), Raised>| {
            let Err(error) = result else { return };
            match outcome {
                Ok(()) => *outcome = Err(error),
                Err(_) => {
                    let message = Report::of_eval(*error, self.shell.script()).message;
                    self.shell.suite().note(format!("after it: {message}"));
                }
            }
        };
        for hook in hooks(groups, When::After).into_iter().rev() {
            note(self.around(hook));
        }
        note(self.call("teardown", std::slice::from_ref(given)).map(drop));
    }

    /// Calls what is to be called before all tests of a group; of the file, which is group 0, `setup_file` as well.
    ///
    /// # Errors
    /// What it fails with.
    pub fn begin(&self, groups: &[Group], index: usize) -> Result<(), Failure> {
        let outcome = || {
            if index == 0 {
                let value = self.call("setup_file", &[])?;
                if let Some(value) = value {
                    self.fixtures.borrow_mut().file = value;
                }
            }
            let group = groups.get(index).into_iter().collect::<Vec<_>>();
            hooks(&group, When::BeforeAll).into_iter().try_for_each(|hook| self.around(hook))
        };
        outcome().map_err(|error: Raised| self.of_file(*error))
    }

    /// What failed outside of a test. An `exit` there ends nothing but the function.
    fn of_file(&self, error: EvalAltResult) -> Failure {
        let failure = Failure::of(error, self.shell);
        let Some(code) = self.shell.exit_code() else { return failure };
        self.shell.clear_exit();
        let message = format!("it called exit({code}): a run ends by itself");
        Failure { report: Report::plain(message, 1).into(), ..failure }
    }

    /// Calls what is to be called after all tests of a group; of the file `teardown_file` as well. What goes wrong is a note of the
    /// suite.
    pub fn end(&self, groups: &[Group], index: usize) {
        let note = |result: Result<(), Raised>| {
            let Err(error) = result else { return };
            let report = self.of_file(*error).report;
            let line = report.place.as_ref().and_then(|place| place.position.line());
            let line = line.map(|line| format!(" at line {line}")).unwrap_or_default();
            self.shell.suite().note(format!("after all tests: {}{line}", report.message));
        };
        let group = groups.get(index).into_iter().collect::<Vec<_>>();
        for hook in hooks(&group, When::AfterAll).into_iter().rev() {
            note(self.around(hook));
        }
        if index == 0 {
            let value = self.fixtures.borrow().file.clone();
            note(self.call("teardown_file", &[value]).map(drop));
        }
    }
}

fn hooks<'a>(groups: &[&'a Group], when: When) -> Vec<&'a FnPtr> {
    let of = |group: &&'a Group| group.around.iter().filter(move |(at, _)| *at == when).map(|(_, f)| f);
    groups.iter().flat_map(of).collect()
}
