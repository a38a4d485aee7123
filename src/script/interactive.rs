//! A script that grows entry by entry: what the prompt runs.
//!
//! Variables, functions and imports of an entry are there for the next; a function may be defined anew. All entries and
//! all files that were run are one source with one count of lines ([`Lines`]), because functions of many entries
//! live in one tree, whose source has one name: places are told apart by their lines and named when they are shown.
//!
//! [`Lines`]: crate::script::lines::Lines

use crate::error::Error;
use crate::runtime::cancel;
use crate::script::debug::{self, Debug, Frame};
use crate::script::engine;
use crate::script::error::Place;
use crate::script::lines::SESSION;
use crate::script::look::{self, Look};
use crate::script::lookup::{self, Names};
use crate::script::report::Report;
use crate::script::shell::Shell;
use crate::script::source;
use rhai::{
    AST, Dynamic, Engine, EvalAltResult, Expr, Module, ParseErrorType, Position, Scope, Shared, Stmt,
};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The name of what was typed, in places: `prompt:3`.
pub const PROMPT: &str = "prompt";
/// The variable that holds the last value.
pub const IT: &str = "it";

/// How the run of an entry ended.
#[derive(Debug)]
pub enum Answer {
    /// With a value, which is now `it`.
    Value(Look),
    /// Without a value.
    Nothing,
    /// With an error.
    Failed(Box<Report>),
    /// By this signal.
    Stopped(i32),
    /// It was given up where it had stopped.
    Left,
    /// It called `exit`, or nobody reads the standard output any more.
    Exit(u8),
}

/// The functions in which a file failed, and which of them is looked at.
struct Fallen {
    /// Outermost first, without the top of the script.
    frames: Vec<Frame>,
    /// The frame whose variables are on the scope, if one is.
    at: Option<usize>,
    /// How many variables of the session there are below them.
    mark: usize,
    /// How many variables of the frame are on the scope.
    count: usize,
}

/// See the [module](self).
pub struct Interactive {
    shell: Rc<Shell>,
    engine: Rc<Engine>,
    /// Made for the first run that has to be looked at statement by statement.
    watched: Option<Rc<Engine>>,
    /// Knows the words and nothing else: for the question whether an entry is whole.
    parser: Engine,
    scope: Scope<'static>,
    /// All functions so far.
    functions: AST,
    /// What was typed.
    typed: String,
    /// The modules that entries imported.
    imported: BTreeMap<String, Shared<Module>>,
    debug: Rc<Debug>,
    fallen: Option<Fallen>,
}

impl std::fmt::Debug for Interactive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interactive of {} variables", self.scope.len())
    }
}

impl Interactive {
    /// A script without entries.
    #[must_use]
    pub fn new(shell: &Rc<Shell>) -> Self {
        let engine = Rc::new(engine::build(shell));
        shell.hooks().set_engine(&engine);
        Self {
            shell: shell.clone(),
            engine,
            watched: None,
            parser: engine::parser(),
            scope: Scope::new(),
            functions: AST::empty(),
            typed: String::new(),
            imported: BTreeMap::new(),
            debug: Rc::default(),
            fallen: None,
        }
    }

    /// What the entries share with all natives.
    #[must_use]
    pub fn shell(&self) -> &Rc<Shell> {
        &self.shell
    }

    /// Breakpoints and steps.
    #[must_use]
    pub fn debug(&self) -> &Rc<Debug> {
        &self.debug
    }

    /// Whether more lines are needed before an entry can run: brackets, texts or comments are open.
    #[must_use]
    pub fn is_incomplete(&self, text: &str) -> bool {
        let text = text.trim_end();
        let Err(error) = self.parser.compile(text) else { return false };
        let (lines, last) = (text.lines().count(), text.lines().last().unwrap_or_default());
        let position = error.position();
        let behind = match (position.line(), position.position()) {
            (Some(line), Some(column)) => line > lines || (line == lines && column > last.chars().count()),
            _ => true,
        };
        // Two statements without a semicolon between them are wrong whatever follows.
        behind && !matches!(error.err_type(), ParseErrorType::BadInput(_))
    }

    /// Runs an entry.
    pub fn run(&mut self, entry: &str) -> Answer {
        let line = self.typed.lines().count() + 1;
        self.typed.push_str(entry);
        self.typed.push('\n');
        self.shell.remember(PROMPT, &self.typed);
        self.run_as(PROMPT, line, entry)
    }

    /// Runs a file as if it had been typed. Where it fails in a function, the variables of that are there ([`Self::calls`]).
    pub fn run_file(&mut self, name: &str, text: &str) -> Answer {
        self.shell.remember(name, text);
        self.leave_fallen();
        self.debug.watch();
        self.run_as(name, 1, source::without_shebang(text))
    }

    fn run_as(&mut self, name: &str, line: usize, text: &str) -> Answer {
        let first = self.shell.lines().add(name, line, text.lines().count().max(1));
        let compiled = match compile(&self.engine, &self.shell, &self.scope, first, text) {
            Ok(ast) => ast,
            Err(report) => {
                self.debug.end();
                return Answer::Failed(report);
            }
        };
        let imports = imports(&compiled);
        let mut whole = self.functions.clone();
        whole.combine(compiled);
        whole.set_source(SESSION);
        let engine = if self.debug.is_needed() { self.watched() } else { self.engine.clone() };
        self.shell.hooks().set_engine(&engine);
        self.debug.begin(&whole);
        let result = engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &whole);
        drop(engine);
        self.shell.hooks().set_engine(&self.engine);
        whole.clear_statements();
        self.functions = whole;
        self.shell.session().set_at(None);
        self.adopt(name, &imports);
        let (frames, left) = self.debug.end();
        if left {
            return Answer::Left;
        }
        let answer = answer(&self.engine, &self.shell, &mut self.scope, result);
        if matches!(answer, Answer::Failed(_)) && !frames.is_empty() {
            self.fall(frames);
        }
        answer
    }

    /// The engine for runs that have to be looked at.
    fn watched(&mut self) -> Rc<Engine> {
        let (shell, debug, modules) = (&self.shell, &self.debug, &self.imported);
        let engine = self.watched.get_or_insert_with(|| {
            let mut engine = engine::build(shell);
            debug::register(&mut engine, debug, shell);
            for (alias, module) in modules {
                engine.register_static_module(alias, module.clone());
            }
            Rc::new(engine)
        });
        engine.clone()
    }

    /// The modules imported at the top of an entry are there for the next ones.
    fn adopt(&mut self, name: &str, imports: &[(String, String)]) {
        for (path, alias) in imports {
            // One that failed has been told by the run.
            let resolved =
                self.engine.module_resolver().resolve(&self.engine, Some(name), path, Position::NONE);
            let Ok(module) = resolved else { continue };
            self.imported.insert(alias.clone(), module.clone());
            let placeholder = Rc::new(Engine::new_raw());
            // Only hooks know of the engine beside us, and they do not own it.
            match Rc::try_unwrap(std::mem::replace(&mut self.engine, placeholder)) {
                Ok(mut engine) => {
                    engine.register_static_module(alias, module);
                    self.engine = Rc::new(engine);
                }
                Err(shared) => self.engine = shared,
            }
            // Made anew when it is needed.
            self.watched = None;
            self.shell.hooks().set_engine(&self.engine);
        }
    }

    /// The variables of the innermost function in which a file failed are there from now on.
    fn fall(&mut self, frames: Vec<Frame>) {
        let mark = self.scope.len();
        let last = frames.len().checked_sub(1);
        self.fallen = Some(Fallen { frames, at: None, mark, count: 0 });
        self.look_at(last);
    }

    /// Puts the variables of one frame on the scope, in place of those of another.
    fn look_at(&mut self, at: Option<usize>) {
        let Some(fallen) = &mut self.fallen else { return };
        // What was declared since the frame was chosen stays.
        let newer: Vec<_> = self.scope.iter_raw().map(owned).take(self.scope.len() - fallen.mark).collect();
        let newer = &newer[..newer.len() - fallen.count];
        self.scope.rewind(fallen.mark);
        let variables = at.and_then(|at| fallen.frames.get(at)).map(|frame| frame.variables.as_slice());
        let variables = variables.unwrap_or_default();
        for (name, constant, value) in variables.iter().chain(newer.iter().rev()) {
            match constant {
                true => self.scope.push_constant_dynamic(name.clone(), value.clone()),
                false => self.scope.push_dynamic(name.clone(), value.clone()),
            };
        }
        (fallen.at, fallen.count) = (at, variables.len());
    }

    /// Looks at the function that called the one that is looked at (`out`), or at the one it had called. Whether there is
    /// one.
    pub fn move_frame(&mut self, out: bool) -> bool {
        let Some(Fallen { frames, at, .. }) = &self.fallen else { return false };
        let next = match (at, out) {
            (Some(at), true) => at.checked_sub(1),
            (Some(at), false) => Some(at + 1).filter(|next| *next < frames.len()),
            (None, _) => None,
        };
        if next.is_some() {
            self.look_at(next);
        }
        next.is_some()
    }

    /// Goes back from the functions in which a file failed. Whether there were any.
    pub fn leave_fallen(&mut self) -> bool {
        self.look_at(None);
        self.fallen.take().is_some()
    }

    /// The functions in which a file failed, innermost first: names, places, and which one is looked at.
    #[must_use]
    pub fn calls(&self) -> Vec<(String, Place, bool)> {
        let Some(Fallen { frames, at, .. }) = &self.fallen else { return Vec::new() };
        let call =
            |(index, frame): (usize, &Frame)| (frame.name.clone(), frame.place.clone(), Some(index) == *at);
        frames.iter().enumerate().rev().map(call).collect()
    }

    /// Runs code on a copy of the variables: what it declares and changes is gone after it.
    ///
    /// # Errors
    /// When it fails or does not parse.
    pub fn judge(&mut self, code: &str) -> Result<Answer, Box<Report>> {
        let mut scope = self.scope.clone();
        match evaluate(&self.engine, &self.shell, &mut scope, &self.functions, code) {
            Answer::Failed(report) => Err(report),
            other => Ok(other),
        }
    }

    /// The names that entries can use.
    #[must_use]
    pub fn names(&self) -> Names<'_> {
        Names {
            engine: &self.engine,
            shell: &self.shell,
            scope: &self.scope,
            functions: lookup::functions(&self.functions),
            imported: self.imported.keys().cloned().collect(),
        }
    }

    /// The name of the type of an expression that calls nothing.
    ///
    /// # Errors
    /// When it is none.
    pub fn type_of_expression(&mut self, text: &str) -> Result<String, Box<Report>> {
        let value = self.engine.eval_expression_with_scope::<Dynamic>(&mut self.scope, text);
        match value {
            Ok(value) => Ok(look::type_name(&self.engine, &value)),
            Err(error) => Err(Report::of_eval(*error, PROMPT).into()),
        }
    }

    /// Where the last statement of code begins, when it is an expression.
    #[must_use]
    pub fn last_statement(&self, code: &str) -> Option<usize> {
        let ast = self.parser.compile(code).ok()?;
        let last = ast.statements().last()?;
        let position = match last {
            Stmt::Expr(expr) => expr.start_position(),
            Stmt::FnCall(_, position) => *position,
            _ => return None,
        };
        let before: usize = code.split_inclusive('\n').take(position.line()? - 1).map(str::len).sum();
        let column = position.position()? - 1;
        Some(before + code[before..].char_indices().nth(column).map_or(0, |(at, _)| at))
    }

    /// How many variables there are: for [`Self::forget_since`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.scope.len()
    }

    /// Forgets the variables that were declared since.
    pub fn forget_since(&mut self, mark: usize) {
        self.scope.rewind(mark);
    }

    /// What a function that was called at an event raised while nothing ran.
    #[must_use]
    pub fn raised(&self) -> Option<Box<Report>> {
        let error = self.shell.hooks().take_raised()?;
        let mut report = Report::of_eval(*error, SESSION);
        report.relocate(self.shell.lines());
        Some(report.into())
    }

    /// The error of a command, as it is told.
    #[must_use]
    pub fn report(error: &Error) -> Box<Report> {
        Report::of_error(error).into()
    }
}

fn owned((name, constant, value): (&str, bool, &Dynamic)) -> (String, bool, Dynamic) {
    (name.to_owned(), constant, value.clone())
}

/// Compiles text whose first line is `first` of the one source.
fn compile(
    engine: &Engine,
    shell: &Shell,
    scope: &Scope<'_>,
    first: usize,
    text: &str,
) -> Result<AST, Box<Report>> {
    let padded = "\n".repeat(first - 1) + text;
    engine.compile_with_scope(scope, padded).map_err(|error| {
        let mut report = Report::of_parse(&error, SESSION);
        report.relocate(shell.lines());
        report.into()
    })
}

/// Runs text with the variables of a place where a script has stopped.
pub(super) fn evaluate(
    engine: &Engine,
    shell: &Shell,
    scope: &mut Scope<'_>,
    functions: &AST,
    text: &str,
) -> Answer {
    const STOP: &str = "stop";
    shell.remember(STOP, text);
    let first = shell.lines().add(STOP, 1, text.lines().count().max(1));
    let mut whole = functions.clone();
    match compile(engine, shell, scope, first, text) {
        Ok(compiled) => whole.combine(compiled),
        Err(report) => return Answer::Failed(report),
    };
    whole.set_source(SESSION);
    let result = engine.eval_ast_with_scope::<Dynamic>(scope, &whole);
    answer(engine, shell, scope, result)
}

/// How a run ended.
fn answer(
    engine: &Engine,
    shell: &Shell,
    scope: &mut Scope<'_>,
    result: Result<Dynamic, Box<EvalAltResult>>,
) -> Answer {
    if let Some(code) = shell.exit_code() {
        return Answer::Exit(code);
    }
    if shell.pipe_closed() {
        return Answer::Exit(0);
    }
    if let Some(signal) = cancel::requested() {
        return Answer::Stopped(signal);
    }
    match result {
        Ok(value) if value.is_unit() => Answer::Nothing,
        Ok(value) => {
            // Unless the user made that a constant.
            if scope.is_constant(IT) != Some(true) {
                scope.set_value(IT, value.clone());
            }
            Answer::Value(look::look(engine, shell, &value))
        }
        Err(error) => {
            let mut report = Report::of_eval(*error, SESSION);
            report.relocate(shell.lines());
            Answer::Failed(report.into())
        }
    }
}

/// The imports at the top of an entry: path and alias.
fn imports(ast: &AST) -> Vec<(String, String)> {
    let import = |statement: &Stmt| match statement {
        Stmt::Import(import, _) => match (&import.0, import.1.name.as_str()) {
            (Expr::StringConstant(path, _), alias) if !alias.is_empty() => {
                Some((path.to_string(), alias.to_owned()))
            }
            _ => None,
        },
        _ => None,
    };
    ast.statements().iter().filter_map(import).collect()
}
