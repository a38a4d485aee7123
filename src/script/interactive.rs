//! A script that grows entry by entry: what the prompt runs.
//!
//! Variables, functions and imports of an entry are there for the next; a function may be defined anew. All entries and
//! all files that were run are one source with one count of lines ([`Lines`]), because functions of many entries
//! live in one tree, whose source has one name: places are told apart by their lines and named when they are shown.

use crate::error::Error;
use crate::runtime::cancel;
use crate::script::engine;
use crate::script::error::Place;
use crate::script::look::{self, Look};
use crate::script::lookup::Names;
use crate::script::report::Report;
use crate::script::shell::Shell;
use crate::script::source;
use rhai::{
    AST, Dynamic, Engine, EvalAltResult, Expr, ParseErrorType, Position, Scope, ScriptFnMetadata, Stmt,
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// The name of the source of all entries, inside.
pub(super) const SESSION: &str = "<session>";
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
    /// It called `exit`, or nobody reads the standard output any more.
    Exit(u8),
}

/// Which lines of the one source came from where.
#[derive(Debug, Default)]
pub struct Lines {
    segments: RefCell<Vec<Segment>>,
}

#[derive(Debug)]
struct Segment {
    /// The first line in the one source.
    first: usize,
    count: usize,
    name: String,
    /// The line of `name` that `first` is.
    line: usize,
}

impl Lines {
    /// Adds lines of `name`, the first being `line` there. Returns the first in the one source.
    fn add(&self, name: &str, line: usize, count: usize) -> usize {
        let mut segments = self.segments.borrow_mut();
        let first = segments.last().map_or(1, |last| last.first + last.count);
        segments.push(Segment { first, count, name: name.to_owned(), line });
        first
    }

    /// The place that is meant by one in the one source; others stay.
    #[must_use]
    pub fn real(&self, place: Place) -> Place {
        let (true, Some(line)) = (place.source == SESSION, place.position.line()) else { return place };
        let segments = self.segments.borrow();
        // What is wrong at the very end is behind the last line.
        let Some(segment) = segments.iter().rev().find(|segment| segment.first <= line) else { return place };
        let real = u16::try_from(line - segment.first + segment.line).unwrap_or(u16::MAX);
        let column = place.position.position().and_then(|column| u16::try_from(column).ok()).unwrap_or(0);
        Place { source: segment.name.clone(), position: Position::new(real, column) }
    }
}

/// See the [module](self).
pub struct Interactive {
    pub(super) shell: Rc<Shell>,
    pub(super) engine: Rc<Engine>,
    /// Knows the words and nothing else: for the question whether an entry is whole.
    parser: Engine,
    pub(super) scope: Scope<'static>,
    /// All functions so far.
    functions: AST,
    /// What was typed.
    typed: String,
    /// The names of the modules that entries imported.
    imported: BTreeSet<String>,
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
            parser: engine::parser(),
            scope: Scope::new(),
            functions: AST::empty(),
            typed: String::new(),
            imported: BTreeSet::new(),
        }
    }

    /// What the entries share with all natives.
    #[must_use]
    pub fn shell(&self) -> &Rc<Shell> {
        &self.shell
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

    /// Runs a file as if it had been typed.
    pub fn run_file(&mut self, name: &str, text: &str) -> Answer {
        self.shell.remember(name, text);
        self.run_as(name, 1, source::without_shebang(text))
    }

    fn run_as(&mut self, name: &str, line: usize, text: &str) -> Answer {
        let first = self.shell.lines().add(name, line, text.lines().count().max(1));
        let compiled = match self.compile(first, text) {
            Ok(ast) => ast,
            Err(report) => return Answer::Failed(report),
        };
        let imports = imports(&compiled);
        let mut whole = self.functions.clone();
        whole.combine(compiled);
        whole.set_source(SESSION);
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &whole);
        whole.clear_statements();
        self.functions = whole;
        self.shell.session().set_at(None);
        self.adopt(name, &imports);
        self.answer(result)
    }

    fn compile(&self, first: usize, text: &str) -> Result<AST, Box<Report>> {
        let padded = "\n".repeat(first - 1) + text;
        self.engine.compile_with_scope(&self.scope, padded).map_err(|error| {
            let mut report = Report::of_parse(&error, SESSION);
            report.relocate(self.shell.lines());
            report.into()
        })
    }

    fn answer(&mut self, result: Result<Dynamic, Box<EvalAltResult>>) -> Answer {
        if let Some(code) = self.shell.exit_code() {
            return Answer::Exit(code);
        }
        if self.shell.pipe_closed() {
            return Answer::Exit(0);
        }
        if let Some(signal) = cancel::requested() {
            return Answer::Stopped(signal);
        }
        match result {
            Ok(value) if value.is_unit() => Answer::Nothing,
            Ok(value) => {
                self.set_it(value.clone());
                Answer::Value(self.look(&value))
            }
            Err(error) => {
                let mut report = Report::of_eval(*error, SESSION);
                report.relocate(self.shell.lines());
                Answer::Failed(report.into())
            }
        }
    }

    /// The last value becomes `it`, unless the user made that a constant.
    fn set_it(&mut self, value: Dynamic) {
        if self.scope.is_constant(IT) != Some(true) {
            self.scope.set_value(IT, value);
        }
    }

    /// The modules imported at the top of an entry are there for the next ones.
    fn adopt(&mut self, name: &str, imports: &[(String, String)]) {
        for (path, alias) in imports {
            // One that failed has been told by the run.
            let resolved =
                self.engine.module_resolver().resolve(&self.engine, Some(name), path, Position::NONE);
            let Ok(module) = resolved else { continue };
            self.change_engine(|engine| {
                engine.register_static_module(alias, module);
            });
            self.imported.insert(alias.clone());
        }
    }

    /// Changes the engine between two entries.
    pub(super) fn change_engine(&mut self, change: impl FnOnce(&mut Engine)) {
        let placeholder = Rc::new(Engine::new_raw());
        // Only hooks know of the engine beside us, and they do not own it.
        match Rc::try_unwrap(std::mem::replace(&mut self.engine, placeholder)) {
            Ok(mut engine) => {
                change(&mut engine);
                self.engine = Rc::new(engine);
            }
            Err(shared) => self.engine = shared,
        }
        self.shell.hooks().set_engine(&self.engine);
    }

    fn look(&self, value: &Dynamic) -> Look {
        look::look(&self.engine, &self.shell, value)
    }

    /// The names that entries can use.
    #[must_use]
    pub fn names(&self) -> Names<'_> {
        let functions = self.functions.iter_functions();
        let owned = |function: ScriptFnMetadata<'_>| {
            let params = function.params.iter().map(|param| (*param).to_owned()).collect();
            (function.name.to_owned(), params)
        };
        Names {
            engine: &self.engine,
            shell: &self.shell,
            scope: &self.scope,
            functions: functions.map(owned).collect(),
            imported: self.imported.iter().cloned().collect(),
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
