//! Stops in a script: breakpoints and steps; and what the functions knew in which a script failed.
//!
//! The language calls back before each statement and expression while a debugger is registered, and then copies the
//! arguments of every call: so there is an engine of its own for such runs, and others pay nothing. Which of
//! these places is a stop is decided here; what happens at a stop, by the [`Stopper`].

use crate::script::error::Place;
use crate::script::interactive::Answer;
use crate::script::lines::SESSION;
use crate::script::lookup::Names;
use crate::script::shell::Shell;
use rhai::debugger::{DebuggerCommand, DebuggerEvent};
use rhai::{
    AST, ASTNode, Dynamic, Engine, EvalAltResult, EvalContext, Expr, FnCallExpr, Position, Scope, Stmt,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

/// Where a run stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Before a call: `fs::overlay`, `make_root`, `.exec`.
    Call(String),
    /// At a line of a file.
    Line(String, usize),
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(name) => write!(f, "{name}"),
            Self::Line(file, line) => write!(f, "{file}:{line}"),
        }
    }
}

/// How a run goes on after a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// To the next breakpoint.
    Continue,
    /// To the next statement, wherever it is.
    Step,
    /// To the next statement of this function, or of the one that called it.
    Next,
    /// To the next statement of the function that called this one.
    Out,
    /// No further: the run is given up.
    Quit,
}

/// What is done at a stop.
pub trait Stopper: fmt::Debug {
    /// Lets a person look, and says how to go on.
    fn stopped(&self, at: &mut dyn Stopped) -> Resume;
}

/// A run that has stopped.
pub trait Stopped {
    /// Where: the statement that is about to run.
    fn place(&self) -> Place;
    /// The breakpoint, if there is one.
    fn breakpoint(&self) -> Option<Spot>;
    /// The functions that were called, innermost first: their names, and the places they are at.
    fn calls(&self) -> Vec<(String, Place)>;
    /// Runs code with the variables of this place.
    fn evaluate(&mut self, text: &str) -> Answer;
    /// The names at this place.
    fn names(&self) -> Names<'_>;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// To the next breakpoint.
    #[default]
    Run,
    /// To the next statement.
    Step,
    /// To the next statement at this depth or above.
    Next(usize),
}

/// A function of the script that is running, or was when the script failed.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Its name, or `""` for the top of the script.
    pub(super) name: String,
    /// The statement that runs.
    pub(super) place: Place,
    /// Its variables before that statement, oldest first.
    pub(super) variables: Vec<(String, bool, Dynamic)>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Debug {
    spots: RefCell<Vec<(usize, Spot)>>,
    serial: Cell<usize>,
    mode: Cell<Mode>,
    /// Whether frames are kept, for a look at them after a failure.
    watching: Cell<bool>,
    frames: RefCell<BTreeMap<usize, Frame>>,
    /// Set at a stop: what is evaluated there does not stop.
    at_stop: Cell<bool>,
    /// Set once a run was given up at a stop.
    left: Cell<bool>,
    stopper: RefCell<Option<Rc<dyn Stopper>>>,
    /// The functions of the run.
    pub(super) functions: RefCell<AST>,
    /// Where its statements begin: one that is an expression is told as that alone.
    statements: RefCell<BTreeSet<Position>>,
}

impl Debug {
    /// Says who is asked at a stop.
    pub fn set_stopper(&self, stopper: Rc<dyn Stopper>) {
        self.stopper.replace(Some(stopper));
    }

    /// Adds a breakpoint. Its number.
    pub fn add(&self, spot: Spot) -> usize {
        let number = self.serial.get() + 1;
        self.serial.set(number);
        self.spots.borrow_mut().push((number, spot));
        number
    }

    /// Removes a breakpoint. Whether it was there.
    pub fn remove(&self, number: usize) -> bool {
        let mut spots = self.spots.borrow_mut();
        let before = spots.len();
        spots.retain(|(known, _)| *known != number);
        spots.len() < before
    }

    /// The breakpoints with their numbers.
    #[must_use]
    pub fn spots(&self) -> Vec<(usize, Spot)> {
        self.spots.borrow().clone()
    }

    /// Stops at the first statement of the next run.
    pub fn step(&self) {
        self.mode.set(Mode::Step);
    }

    /// Keeps what functions know, from the next run on, for a look at them after a failure.
    pub(super) fn watch(&self) {
        self.watching.set(true);
    }

    /// Whether a run has to be looked at, statement by statement.
    pub(super) fn is_needed(&self) -> bool {
        let stops = self.mode.get() != Mode::Run || !self.spots.borrow().is_empty();
        self.watching.get() || (stops && self.stopper.borrow().is_some())
    }

    /// Begins a run, and forgets the one before.
    pub(super) fn begin(&self, script: &AST) {
        let mut statements = BTreeSet::new();
        if self.is_needed() {
            script.walk(&mut |path| {
                if let Some(ASTNode::Stmt(statement)) = path.last() {
                    statements.insert(statement.position());
                }
                true
            });
        }
        self.statements.replace(statements);
        self.functions.replace(script.clone_functions_only());
        self.frames.borrow_mut().clear();
        self.left.set(false);
    }

    /// Ends a run: the functions in which it failed, outermost first, and whether it was given up at a stop.
    pub(super) fn end(&self) -> (Vec<Frame>, bool) {
        self.mode.set(Mode::Run);
        self.watching.set(false);
        let mut frames = std::mem::take(&mut *self.frames.borrow_mut());
        frames.remove(&0);
        (frames.into_values().collect(), self.left.get())
    }
}

/// Registers the debugger with an engine that is used for runs that have to be looked at.
#[expect(deprecated, reason = "marked so because it is volatile, not because it goes: the version is pinned")]
pub(super) fn register(engine: &mut Engine, debug: &Rc<Debug>, shell: &Rc<Shell>) {
    let (debug, shell) = (debug.clone(), shell.clone());
    engine.register_debugger(
        |_, debugger| debugger,
        move |context, event, node, source, position| {
            if debug.at_stop.get() {
                return Ok(DebuggerCommand::Continue);
            }
            visit(&debug, &shell, context, &Visit { event, node, source, position })?;
            // Called before everything that follows.
            Ok(DebuggerCommand::StepInto)
        },
    );
}

/// What the language calls back with.
struct Visit<'a> {
    event: DebuggerEvent<'a>,
    node: ASTNode<'a>,
    source: Option<&'a str>,
    position: Position,
}

fn visit(
    debug: &Rc<Debug>,
    shell: &Rc<Shell>,
    context: EvalContext<'_, '_, '_, '_, '_, '_>,
    visit: &Visit<'_>,
) -> Result<(), Box<EvalAltResult>> {
    let Visit { event, node, source, position } = *visit;
    let stack = context.debugger().map(rhai::debugger::Debugger::call_stack).unwrap_or_default();
    let depth = stack.len();
    match event {
        DebuggerEvent::FunctionExitWithValue(_) => {
            debug.frames.borrow_mut().split_off(&depth);
            return Ok(());
        }
        // What failed is looked at where it failed, unless the script goes on.
        DebuggerEvent::FunctionExitWithError(_) | DebuggerEvent::End => return Ok(()),
        _ => {}
    }
    let place = || {
        let place = Place { source: source.unwrap_or(SESSION).to_owned(), position };
        shell.lines().real(place)
    };
    let statement = match node {
        ASTNode::Stmt(statement) => !matches!(statement, Stmt::Noop(_) | Stmt::Block(..)),
        ASTNode::Expr(_) if source.is_none_or(|source| source == SESSION) => {
            debug.statements.borrow().contains(&position)
        }
        // Of a module, the first expression on a line counts.
        ASTNode::Expr(_) => debug.line_at(depth) != position.line(),
        _ => false,
    };
    if statement {
        let name = stack.last().map(|frame| frame.fn_name.to_string()).unwrap_or_default();
        debug.note(depth, name, place(), context.scope());
    }
    let mut frames = debug.frames.borrow_mut();
    frames.retain(|known, _| *known <= depth);
    drop(frames);
    let stepped = statement
        && match debug.mode.get() {
            Mode::Run => false,
            Mode::Step => true,
            Mode::Next(most) => depth <= most,
        };
    let spot = debug.spot_at(node, statement, place);
    if !stepped && spot.is_none() {
        return Ok(());
    }
    stop(debug, shell, context, place(), spot, depth)
}

fn stop(
    debug: &Rc<Debug>,
    shell: &Rc<Shell>,
    context: EvalContext<'_, '_, '_, '_, '_, '_>,
    place: Place,
    spot: Option<Spot>,
    depth: usize,
) -> Result<(), Box<EvalAltResult>> {
    let Some(stopper) = debug.stopper.borrow().clone() else { return Ok(()) };
    let at = shell.session().at();
    debug.at_stop.set(true);
    let mut here = Here { context, debug, shell, place, spot };
    let resume = stopper.stopped(&mut here);
    debug.at_stop.set(false);
    shell.session().set_at(at);
    debug.mode.set(match resume {
        Resume::Continue | Resume::Quit => Mode::Run,
        Resume::Step => Mode::Step,
        Resume::Next => Mode::Next(depth),
        Resume::Out => Mode::Next(depth.saturating_sub(1)),
    });
    if resume == Resume::Quit {
        debug.left.set(true);
        return Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into());
    }
    Ok(())
}

impl Debug {
    fn line_at(&self, depth: usize) -> Option<usize> {
        self.frames.borrow().get(&depth).and_then(|frame| frame.place.position.line())
    }

    fn note(&self, depth: usize, name: String, place: Place, scope: &Scope<'_>) {
        // The variables at the top stay with the session.
        let keep = self.watching.get() && depth > 0;
        let variables = scope.iter_raw().filter(|_| keep);
        let mut variables: Vec<(String, bool, Dynamic)> =
            variables.map(|(name, constant, value)| (name.to_owned(), constant, value.clone())).collect();
        variables.reverse();
        self.frames.borrow_mut().insert(depth, Frame { name, place, variables });
    }

    /// The breakpoint that a node is at.
    fn spot_at(&self, node: ASTNode<'_>, statement: bool, place: impl Fn() -> Place) -> Option<Spot> {
        let spots = self.spots.borrow();
        if spots.is_empty() {
            return None;
        }
        let call = called(node);
        let at = |spot: &Spot| match spot {
            Spot::Call(name) => call.as_deref() == Some(name),
            Spot::Line(file, line) if statement => {
                let place = place();
                place.source == *file && place.position.line() == Some(*line)
            }
            Spot::Line(..) => false,
        };
        spots.iter().map(|(_, spot)| spot).find(|spot| at(spot)).cloned()
    }
}

/// What a node calls: `net::veth`, `make_root`, `.exec`.
fn called(node: ASTNode<'_>) -> Option<String> {
    let function = |call: &FnCallExpr| {
        let path = call.namespace.path.iter().map(|part| part.name.as_str());
        path.chain([call.name.as_str()]).collect::<Vec<_>>().join("::")
    };
    match node {
        ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _)) => Some(function(call)),
        ASTNode::Expr(Expr::MethodCall(call, _)) => Some(format!(".{}", call.name)),
        _ => None,
    }
}

/// A run at a stop.
struct Here<'x, 'a, 's, 'ps, 'g, 'c, 't> {
    context: EvalContext<'a, 's, 'ps, 'g, 'c, 't>,
    debug: &'x Rc<Debug>,
    shell: &'x Rc<Shell>,
    place: Place,
    spot: Option<Spot>,
}

impl Stopped for Here<'_, '_, '_, '_, '_, '_, '_> {
    fn place(&self) -> Place {
        self.place.clone()
    }

    fn breakpoint(&self) -> Option<Spot> {
        self.spot.clone()
    }

    fn calls(&self) -> Vec<(String, Place)> {
        let frames = self.debug.frames.borrow();
        frames.values().rev().map(|frame| (frame.name.clone(), frame.place.clone())).collect()
    }

    fn evaluate(&mut self, text: &str) -> Answer {
        let engine = self.context.engine();
        let functions = self.debug.functions.borrow().clone();
        super::interactive::evaluate(engine, self.shell, self.context.scope_mut(), &functions, text)
    }

    fn names(&self) -> Names<'_> {
        Names {
            engine: self.context.engine(),
            shell: self.shell,
            scope: self.context.scope(),
            functions: super::lookup::functions(&self.debug.functions.borrow()),
            imported: Vec::new(),
        }
    }
}
