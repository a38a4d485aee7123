//! The tests that a file declares: what `test::group`, `test::check` and the others note while the file runs from its top,
//! for whoever runs them one by one afterwards.

use crate::error::{Error, ErrorKind, Result};
use crate::script::error::raise;
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Position};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a test is run. What is not said is that of the group around it, then of the file, then of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseOptions {
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// From how long on it is called slow.
    pub slow: Option<Duration>,
    /// How often it is tried again after a failure.
    pub retries: Option<u32>,
    /// How many places it takes among those that run at once.
    pub weight: Option<u32>,
    /// Tests with the same word never run at once; `""` runs alone.
    pub exclusive: Option<String>,
    /// What it is about; those of the group are added.
    pub tags: Vec<String>,
    /// The kinds of things that it may leave behind; those of the group are added.
    pub leaves: Vec<String>,
    /// Why it is not run.
    pub skip: Option<String>,
    /// How many values a property is tried with.
    pub cases: Option<u32>,
    /// The seed of a property.
    pub seed: Option<u64>,
    /// Whether it is one of those that alone are run.
    pub only: bool,
}

impl CaseOptions {
    /// These, with those of `outer` where nothing is said.
    #[must_use]
    pub fn within(&self, outer: &Self) -> Self {
        let join = |a: &[String], b: &[String]| {
            let mut all = a.to_vec();
            all.extend(b.iter().filter(|word| !a.contains(word)).cloned());
            all
        };
        Self {
            timeout: self.timeout.or(outer.timeout),
            slow: self.slow.or(outer.slow),
            retries: self.retries.or(outer.retries),
            weight: self.weight.or(outer.weight),
            exclusive: self.exclusive.clone().or_else(|| outer.exclusive.clone()),
            tags: join(&outer.tags, &self.tags),
            leaves: join(&outer.leaves, &self.leaves),
            skip: self.skip.clone().or_else(|| outer.skip.clone()),
            cases: self.cases.or(outer.cases),
            seed: self.seed.or(outer.seed),
            only: self.only || outer.only,
        }
    }
}

/// What a test does.
#[derive(Clone, Debug)]
pub enum Body {
    /// The function `test_…` of the file.
    Function(String),
    /// A closure, with the values it is called with.
    Closure(FnPtr, Array),
    /// A property: generators, and what must hold of their values.
    Property(Dynamic, FnPtr),
    /// Nothing yet.
    Missing,
}

/// One test.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, with those of the groups around it: `limits > memory bites`.
    pub name: String,
    /// The source and the line that declare it.
    pub place: (String, usize),
    /// The group that it is in; 0 is the file.
    pub group: usize,
    /// How it is run.
    pub options: CaseOptions,
    /// Whether it is yet to be made to pass.
    pub todo: bool,
    /// What it does.
    pub body: Body,
}

/// A function that is called around tests, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before each test.
    Before,
    /// After each test.
    After,
    /// Before the first test.
    BeforeAll,
    /// After the last test.
    AfterAll,
}

impl When {
    /// As a script writes it.
    #[must_use]
    pub const fn op(self) -> &'static str {
        match self {
            Self::Before => "test::before",
            Self::After => "test::after",
            Self::BeforeAll => "test::before_all",
            Self::AfterAll => "test::after_all",
        }
    }
}

/// A function with what it had captured when it was declared, as text.
pub type Captured = (FnPtr, Vec<Option<String>>);

/// The name of what is skipped where the rest of a group or file is.
const REST: &str = "(the rest)";

/// What is skipped where a declaration ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The whole file.
    Everything,
    /// What the file would still declare; the tests before that are run.
    OfFile,
    /// What the group would still declare.
    OfGroup,
}

/// A test that returns `false` has not held: somebody has written what is to be so without asserting it.
///
/// # Errors
/// [`ErrorKind::AssertionFailed`].
pub fn not_false(value: &Dynamic) -> Result<(), Box<EvalAltResult>> {
    if !matches!(value.as_bool(), Ok(false)) {
        return Ok(());
    }
    let error = Error::new(ErrorKind::AssertionFailed, "test", "it returned `false`")
        .hint("say what is to hold with assert::that(…); where the value means nothing, end with ()");
    Err(raise(error, None, Position::NONE))
}

/// A group of tests; the first is the file itself.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its name, with those around it; empty for the file.
    pub name: String,
    /// The group around it.
    pub parent: Option<usize>,
    /// How its tests are run, with what the groups around it say.
    pub options: CaseOptions,
    /// What is called around its tests.
    pub around: Vec<(When, FnPtr)>,
}

/// The numbers of the groups around one, the file first and itself last.
#[must_use]
pub fn chain(groups: &[Group], index: usize) -> Vec<usize> {
    let above = |index: &usize| groups.get(*index).and_then(|group| group.parent);
    let mut chain: Vec<usize> = std::iter::successors(Some(index), above).collect();
    chain.reverse();
    chain
}

/// See the [module](self).
#[derive(Debug)]
pub struct Suite {
    groups: RefCell<Vec<Group>>,
    cases: RefCell<Vec<Case>>,
    current: Cell<usize>,
    /// Whether tests are declared: while the file runs from its top, or where somebody asks for it.
    open: Cell<bool>,
    /// Whether a test runs.
    runs: Cell<bool>,
    /// Whether what is called before all tests of a group is called.
    begins: Cell<bool>,
    /// Whether the file has declared its tests.
    settled: Cell<bool>,
    /// Why the test that runs is skipped.
    skipped: RefCell<Option<String>>,
    /// Whether the group that is being declared is left before its end.
    left: Cell<bool>,
    /// The functions of tests by name, as they were declared last, with what they had captured.
    captured: RefCell<BTreeMap<String, Captured>>,
    /// What the test that runs says beside its result.
    notes: RefCell<Vec<String>>,
    seed: Cell<u64>,
    update: Cell<bool>,
}

impl Default for Suite {
    fn default() -> Self {
        Self {
            groups: RefCell::new(vec![Group::default()]),
            cases: RefCell::default(),
            current: Cell::new(0),
            open: Cell::new(false),
            runs: Cell::new(false),
            begins: Cell::new(false),
            settled: Cell::new(false),
            skipped: RefCell::default(),
            left: Cell::new(false),
            captured: RefCell::default(),
            notes: RefCell::default(),
            seed: Cell::new(0),
            update: Cell::new(false),
        }
    }
}

impl Suite {
    /// Begins, or ends, to take declarations.
    pub fn open(&self, open: bool) {
        self.open.set(open);
    }

    /// Says that a test runs.
    pub fn begin(&self) {
        self.open.set(false);
        self.runs.set(true);
    }

    /// Whether a test runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.runs.get()
    }

    /// Calls what is to be called before all tests of a group. Why it skips them, if it does.
    pub fn begin_group<T>(&self, f: impl FnOnce() -> T) -> (T, Option<String>) {
        self.begins.set(true);
        let outcome = f();
        self.begins.set(false);
        (outcome, self.skipped.take())
    }

    /// Whether something runs that can be skipped.
    #[must_use]
    pub fn can_skip(&self) -> bool {
        self.runs.get() || self.begins.get()
    }

    /// Whether declarations are taken.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] outside of `cshell test`, [`ErrorKind::InvalidArgument`] inside of a test.
    pub fn check_open(&self, op: &'static str) -> Result<()> {
        if self.open.get() {
            return Ok(());
        }
        if self.settled.get() && !self.runs.get() {
            let what = "that is for tests, and for the file while it runs from its top";
            return Err(Error::new(ErrorKind::InvalidArgument, op, what));
        }
        Err(match self.runs.get() {
            false => {
                Error::new(ErrorKind::Unsupported, op, "tests are declared in a file that `cshell test` runs")
                    .hint("name the file something_test.rhai and run `cshell test FILE`")
            }
            true => Error::new(ErrorKind::InvalidArgument, op, "a test cannot declare another one")
                .hint("declare it beside this one, or in `test::group`"),
        })
    }

    /// The group that declarations go to.
    #[must_use]
    pub fn current(&self) -> usize {
        self.current.get()
    }

    /// The groups, each behind the one around it.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        self.groups.borrow().clone()
    }

    /// The tests, as declared.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        self.cases.borrow().clone()
    }

    /// Opens a group inside the current one; [`leave`](Self::leave) goes back.
    pub fn enter(&self, name: &str, options: &CaseOptions) -> usize {
        let mut groups = self.groups.borrow_mut();
        let parent = self.current.get();
        let outer = &groups[parent];
        let group = Group {
            name: join(&outer.name, name),
            parent: Some(parent),
            options: options.within(&outer.options),
            around: Vec::new(),
        };
        groups.push(group);
        self.current.set(groups.len() - 1);
        parent
    }

    /// Goes back to the group `to`.
    pub fn leave(&self, to: usize) {
        self.current.set(to);
    }

    /// Sets how the tests of the current group are run that are declared from now on.
    pub fn configure(&self, options: &CaseOptions) {
        let mut groups = self.groups.borrow_mut();
        if let Some(group) = groups.get_mut(self.current.get()) {
            group.options = options.within(&group.options);
        }
    }

    /// Has a function called around the tests of the current group.
    pub fn around(&self, when: When, function: FnPtr) {
        if let Some(group) = self.groups.borrow_mut().get_mut(self.current.get()) {
            group.around.push((when, function));
        }
    }

    /// Adds a test to the current group.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when it has one of this name.
    pub fn add(&self, op: &'static str, mut case: Case) -> Result<()> {
        let groups = self.groups.borrow();
        let group = &groups[self.current.get()];
        case.name = join(&group.name, &case.name);
        case.options = case.options.within(&group.options);
        case.group = self.current.get();
        let mut cases = self.cases.borrow_mut();
        if let Some(other) = cases.iter().find(|other| other.name == case.name) {
            let what =
                format!("there is a test of this name already, at {}:{}", other.place.0, other.place.1);
            return Err(Error::new(ErrorKind::AlreadyExists, op, what).subject(format!("\"{}\"", case.name)));
        }
        cases.push(case);
        Ok(())
    }

    /// Ends the declarations: the functions of the file are run as the file says.
    pub fn settle(&self) {
        self.open.set(false);
        self.settled.set(true);
        let groups = self.groups.borrow();
        for case in self.cases.borrow_mut().iter_mut() {
            if matches!(case.body, Body::Function(_)) {
                case.options = case.options.within(&groups[0].options);
            }
        }
    }

    /// Changes how a function `test_…` is run; whether there is one.
    pub fn configure_function(&self, name: &str, options: &CaseOptions) -> bool {
        let mut cases = self.cases.borrow_mut();
        let found =
            cases.iter_mut().find(|case| matches!(&case.body, Body::Function(function) if function == name));
        found.map(|case| case.options = options.within(&case.options)).is_some()
    }

    /// Skips the rest of the group or file that is being declared, which `place` is in. Of a file that has declared no test yet
    /// everything is skipped: its functions are part of the rest.
    pub fn skip_rest(&self, reason: &str, place: (String, usize)) -> Rest {
        let is_file = self.current.get() == 0;
        if is_file {
            self.cases.borrow_mut().retain(|case| !matches!(case.body, Body::Function(_)));
            if self.cases.borrow().is_empty() {
                self.skip(reason);
                return Rest::Everything;
            }
        }
        let case = Case {
            name: REST.to_owned(),
            place,
            group: 0,
            options: CaseOptions { skip: Some(reason.to_owned()), ..CaseOptions::default() },
            todo: false,
            body: Body::Missing,
        };
        // There is none of this name yet: what would come behind the first is not run.
        let _ = self.add("test::skip", case);
        self.left.set(!is_file);
        if is_file { Rest::OfFile } else { Rest::OfGroup }
    }

    /// Notes the function of a test with what it has captured, and returns what was noted of the same one before.
    pub fn captured(&self, f: &FnPtr, values: Vec<Option<String>>) -> Option<Captured> {
        self.captured.borrow_mut().insert(f.fn_name().to_owned(), (f.clone(), values))
    }

    /// Whether the group that was being declared was left before its end. Asks once.
    pub fn take_left(&self) -> bool {
        self.left.take()
    }

    /// Whether all tests have been declared.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Says why what runs is skipped.
    pub fn skip(&self, reason: &str) {
        self.skipped.replace(Some(reason.to_owned()));
    }

    /// Why the test that runs is skipped, if it is.
    #[must_use]
    pub fn skipped(&self) -> Option<String> {
        self.skipped.borrow().clone()
    }

    /// Says something beside the result.
    pub fn note(&self, note: impl Into<String>) {
        self.notes.borrow_mut().push(note.into());
    }

    /// What was said beside the result.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// The seed of what is chosen by chance, and whether golden files are written rather than compared.
    pub fn set_run(&self, seed: u64, update: bool) {
        self.seed.set(seed);
        self.update.set(update);
    }

    /// The seed of what is chosen by chance.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.get()
    }

    /// Whether golden files are written rather than compared.
    #[must_use]
    pub fn updates(&self) -> bool {
        self.update.get()
    }
}

fn join(outer: &str, name: &str) -> String {
    if outer.is_empty() { name.to_owned() } else { format!("{outer} > {name}") }
}
