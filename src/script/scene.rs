//! The place in which tests are run: a file that has run to its end and is not left yet, so that what it imported, its constants
//! and its functions are there.

use crate::error::{ErrorKind, Result};
use crate::runtime::cancel;
use crate::script::bind::generate;
use crate::script::error::{Place, ScriptError};
use crate::script::report::{Report, full_text};
use crate::script::shell::Shell;
use crate::script::suite::{Body, Case, CaseOptions, Group, When, not_false};
use crate::script::{engine, source, suite};
use rhai::{AST, Array, Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext, Position, ScriptFuncDef};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// The name of the function that is called behind the last statement of a file.
pub const SERVE: &str = "cshell_serve_tests";

/// How long what is called after a test may take where that was stopped.
const AFTER_A_STOP: Duration = Duration::from_secs(2);

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
    declare_functions(shell, &text, &ast, &mut fixtures.borrow_mut())?;
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
///
/// # Errors
/// When one takes more than it is given, and when there are two of one name.
fn declare_functions(
    shell: &Shell,
    text: &str,
    ast: &AST,
    fixtures: &mut Fixtures,
) -> Result<(), Box<Report>> {
    const AROUND: [&str; 4] = ["setup_file", "setup", "teardown", "teardown_file"];
    let mut found: Vec<(usize, String, usize)> = Vec::new();
    for function in ast.iter_fn_def() {
        found.push((line_of(text, function), function.name.to_string(), function.params.len()));
    }
    found.sort();
    for (line, name, arity) in found {
        let is_test = name.starts_with("test_");
        let most = usize::from(name != "setup_file");
        let wrong = if !is_test && !AROUND.contains(&name.as_str()) {
            None
        } else if fixtures.known.iter().any(|(known, _)| *known == name) {
            Some(format!("there is another function `{name}`, and which one is meant cannot be told"))
        } else if arity > most {
            let given = if most == 0 { "nothing" } else { "at most what `setup` or `setup_file` returned" };
            Some(format!("`{name}` takes {arity} values, and is given {given}"))
        } else {
            None
        };
        if let Some(message) = wrong {
            let line = Position::new(u16::try_from(line).unwrap_or(u16::MAX), 0);
            return Err(Report::at(message, shell.script(), line, 1).into());
        }
        if is_test {
            let case = Case {
                name: name.clone(),
                place: (shell.script().to_owned(), line),
                group: 0,
                options: CaseOptions::default(),
                todo: false,
                body: Body::Function(name.clone()),
            };
            // There is no other of this name.
            let _ = shell.suite().add("test", case);
        }
        if !fixtures.known.iter().any(|(known, _)| *known == name) {
            fixtures.known.push((name, arity));
        }
    }
    Ok(())
}

/// The line at which a function of the file is defined. The language knows where its body begins; its name is there, or a few lines
/// before where its parameters take several.
fn line_of(text: &str, function: &ScriptFuncDef) -> usize {
    let body = function.body.start_position().line().unwrap_or(0);
    let names = |line: &str| line.contains(function.name.as_str());
    let lines: Vec<&str> = text.lines().take(body).collect();
    lines.iter().rposition(|line| names(line)).map_or(body, |index| index + 1)
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
        if cancel::requested().is_some() {
            // It is over all the same; who told it to end waits a moment longer than this.
            let after = || self.perform_after(&groups, &given, &mut outcome);
            if let Err(error) = cancel::despite(AFTER_A_STOP, after) {
                self.shell.suite().note(full_text(&error));
            }
        } else {
            self.perform_after(&groups, &given, &mut outcome);
        }
        if let Some(code) = code {
            self.shell.set_exit(code);
        }
        outcome.map_err(|error| {
            let deep = matches!(error.unwrap_inner(), EvalAltResult::ErrorStackOverflow(..));
            let nowhere = error.position().is_none();
            let mut failure = Failure::of(*error, self.shell);
            if deep || nowhere {
                // The language tells where it all began, which is in no file; and that a test returns `false` is said nowhere else.
                let (source, line) = case.place.clone();
                let line = u16::try_from(line).unwrap_or(u16::MAX);
                failure.report.place = Some(Place { source, position: Position::new(line, 0) });
            }
            failure
        })
    }

    fn perform_inner(&self, case: &Case, groups: &[&Group], given: &mut Dynamic) -> Result<(), Raised> {
        if let Some(value) = self.call("setup", std::slice::from_ref(given))? {
            *given = value;
        }
        hooks(groups, When::Before).into_iter().try_for_each(|hook| self.around(hook))?;
        let value = match &case.body {
            Body::Function(name) => self.call(name, std::slice::from_ref(given))?,
            Body::Closure(f, args) => Some(f.call_raw(&self.ctx, None, args.clone())?),
            Body::Property(generator, f) => {
                generate::hold(self.shell, &self.ctx, case, generator, f)?;
                None
            }
            Body::Missing => None,
        };
        value.map_or(Ok(()), |value| not_false(&value))
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

    /// Calls what is to be called after all tests of a group; of the file `teardown_file` as well. What went wrong.
    pub fn end(&self, groups: &[Group], index: usize) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut note = |result: Result<(), Raised>| {
            failures.extend(result.err().map(|error| self.of_file(*error)));
        };
        let group = groups.get(index).into_iter().collect::<Vec<_>>();
        for hook in hooks(&group, When::AfterAll).into_iter().rev() {
            note(self.around(hook));
        }
        if index == 0 {
            let value = self.fixtures.borrow().file.clone();
            note(self.call("teardown_file", &[value]).map(drop));
        }
        failures
    }
}

fn hooks<'a>(groups: &[&'a Group], when: When) -> Vec<&'a FnPtr> {
    let of = |group: &&'a Group| group.around.iter().filter(move |(at, _)| *at == when).map(|(_, f)| f);
    groups.iter().flat_map(of).collect()
}
