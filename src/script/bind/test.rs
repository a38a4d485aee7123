//! `test`: what a test file declares.

use crate::error::{Error, ErrorKind, Result};
use crate::script::assertion::plainly;
use crate::script::bind::generate;
use crate::script::call::{Call, Outcome};
use crate::script::convert::{At, Either, FromScript};
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use crate::script::scene;
use crate::script::suite::{Body, Case, CaseOptions, Rest, When};
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map, Position};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

natives! {
    /// Tests, declared in a file `*_test.rhai` and run by `cshell test`.
    ///
    /// Each test runs in a process of its own. What the file, a group or `before_all` made is there for all of them (other than queues,
    /// semaphores and shared memory, which each test has for itself), and what a test makes is its own. A function `test_…` of the file is a test as well: it is called with what the function `setup` of
    /// the file returned, if there is one and it takes a parameter, or else with what `setup_file` returned. `teardown` and
    /// `teardown_file` are called after each test and after the last one.
    pub const TEST = "test";

    /// Declares a test.
    ///
    /// Errors: `already_exists` for a name that the group has; `unsupported` outside of `cshell test`; `invalid_argument` inside
    /// of a test, and for a function that uses the variable of a loop: take `test::each`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing; what the test makes is taken back when it ends.
    /// Example:
    ///     // in a file sums_test.rhai:
    ///     test::check("one and one", || assert::eq(1 + 1, 2)); // throws unsupported
    fn "test::check"(
        /// Its name: unlike those beside it.
        name: String,
        /// How it is run, or what it does.
        options: Either<FnPtr, CaseOptions>,
        /// What it does, behind options. Without it, it is in their place.
        f: Option<FnPtr>
    ) = check;
    /// Declares a test as `test::check` does, and of the whole run only those declared so are run.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::only("this one", || assert::eq(1 + 1, 2)); // throws unsupported
    fn "test::only"(
        /// Its name.
        name: String,
        /// How it is run, or what it does.
        options: Either<FnPtr, CaseOptions>,
        /// What it does, behind options. Without it, it is in their place.
        f: Option<FnPtr>
    ) = only;
    /// Skips: the test that runs, the rest of the group or file that is being declared, or a test that it declares.
    ///
    /// `test::skip("needs kvm")` inside of a test ends it, inside of what is called before all tests of a group or file it skips them
    /// all; while a group or file is being declared it skips what is not declared yet, and functions `test_…`: of a file without
    /// other tests before it everything; `test::skip("name", || …)` and `test::skip("name", "why", || …)` declare one
    /// that is not run. A skipped test never counts as passed.
    ///
    /// Errors: `unsupported` outside of `cshell test`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::skip("needs another machine"); // throws unsupported
    fn "test::skip"(
        /// The reason; or the name of a test, when more follows.
        text: String,
        /// The reason, or what the test does. Without it, the test that runs is skipped.
        why: Option<Either<FnPtr, String>>,
        /// What the test does, behind a reason. Without it, it is in its place.
        f: Option<FnPtr>
    ) = skip;
    /// Declares a test that is yet to be made to pass: a failure of it is none, and when it passes it is time for `check`.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::todo("a firewall of its own"); // throws unsupported
    fn "test::todo"(
        /// Its name.
        name: String,
        /// What it does. Without it, it is not run.
        f: Option<FnPtr>
    ) = todo;
    /// Declares tests that belong together.
    ///
    /// The function runs at once and declares them; what it makes is there for all of them.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`; what the function throws comes out of here.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: what the function made is taken back after the last test of the file.
    /// Example:
    ///     test::group("sums", || test::check("small", || assert::eq(1 + 1, 2))); // throws unsupported
    fn "test::group"(
        /// Its name.
        name: String,
        /// How its tests are run, or what declares them.
        options: Either<FnPtr, CaseOptions>,
        /// What declares them, behind options. Without it, it is in their place.
        f: Option<FnPtr>
    ) = group;
    /// Declares one test for each row of a table.
    ///
    /// The name of each is followed by its row, or by its `name` where the row is a map with one; of rows that look alike the later ones
    /// are numbered.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::each("sum", [[1, 1, 2], [2, 3, 5]], |row| assert::eq(row[0] + row[1], row[2])); // throws unsupported
    fn "test::each"(
        /// The name in common.
        name: String,
        /// The rows: a list, or a range such as `0..5`.
        rows: Rows,
        /// How they are run, or what each does.
        options: Either<FnPtr, CaseOptions>,
        /// What each does with its row, behind options. Without it, it is in their place.
        f: Option<FnPtr>
    ) = each;
    /// Declares a test of what must hold for all values of a kind.
    ///
    /// It is tried with values that generators choose by chance, and with those that tend to break things. What fails is made
    /// smaller while it still fails, and shown with the seed that makes the same values again: `--seed`.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: what each trial made is taken back before the next.
    /// Example:
    ///     test::prop("a limit is held", gen::size(), |size| assert::ge(size, 0)); // throws unsupported
    fn "test::prop"(
        /// Its name.
        name: String,
        /// A generator of `gen`, or a map of them: the function is called with a value, or a map of values.
        generator: Dynamic,
        /// How it is run, or what must hold.
        options: Either<FnPtr, CaseOptions>,
        /// What must hold, behind options. Without it, it is in their place.
        f: Option<FnPtr>
    ) = prop;
    /// Says how the tests are run that are declared after it, in this file or group; or those of one function.
    ///
    /// Errors: `not_found` when there is no function of this name; `unsupported` outside of `cshell test`.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::configure(#{ timeout: "5s" }); // throws unsupported
    fn "test::configure"(
        /// The options; or the name of a function `test_…`.
        what: Either<String, CaseOptions>,
        /// The options, behind a name. Without them, they are in its place.
        options: Option<CaseOptions>
    ) = configure;
    /// Calls a function before each test of this file or group, in the process of the test.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`. What it throws fails the test.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::before(|| sys::log("next")); // throws unsupported
    fn "test::before"(
        /// The function, without parameters.
        f: FnPtr
    ) = before;
    /// Calls a function after each test of this file or group, also after one that failed.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`. What it throws fails the test.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::after(|| sys::log("done")); // throws unsupported
    fn "test::after"(
        /// The function, without parameters.
        f: FnPtr
    ) = after;
    /// Calls a function once, before the first test of this file or group that is run. What it makes is there for all of them.
    ///
    /// It may take as long as the one of them that may take longest.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`. What it throws fails every test of the group.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: what it made is taken back after the last test of the file.
    /// Example:
    ///     test::before_all(|| sys::log("first")); // throws unsupported
    fn "test::before_all"(
        /// The function, without parameters.
        f: FnPtr
    ) = before_all;
    /// Calls a function once, after the last test of the file, when one of this file or group was run.
    ///
    /// It may take as long as --timeout says.
    ///
    /// Errors: `unsupported` outside of `cshell test`; all others as `test::check`. What it throws is reported as a failure of the file.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     test::after_all(|| sys::log("last")); // throws unsupported
    fn "test::after_all"(
        /// The function, without parameters.
        f: FnPtr
    ) = after_all;
}

/// How a test is run.
const CASE: Options = Options {
    of: "a test",
    open: None,
    keys: &[
        Key::new(
            "timeout",
            "duration",
            "60s, or --timeout",
            "How long it may take; all that it started is killed then.",
        ),
        Key::new("slow", "duration", "5s, or --slow", "From how long on it is reported as slow."),
        Key::new("retries", "number", "0, or --retries", "How often it is tried again after a failure."),
        Key::new("weight", "number", "1", "How many of the places of --jobs it takes."),
        Key::new(
            "exclusive",
            "text or true",
            "none",
            "Tests with the same word never run at once; `true` runs alone.",
        ),
        Key::new("tags", "list of text", "none", "What it is about, for --tag; added to those of the group."),
        Key::new(
            "leaves",
            "list of text",
            "none",
            "The kinds of things it may leave behind, as the report names them, or \"all\"; added to those of the group. They are removed, and not told. Given to `test::configure` it holds for the file itself as well.",
        ),
        Key::new("skip", "text", "none", "Why it is not run."),
        Key::new("only", "true or false", "false", "Whether only tests with this are run."),
        Key::new("cases", "number", "100", "With how many values a property is tried."),
        Key::new("seed", "number", "--seed", "The seed of a property."),
    ],
};

impl FromOptions for CaseOptions {
    const OPTIONS: &'static Options = &CASE;

    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let exclusive: Option<Either<String, bool>> = opts.take("exclusive")?;
        let exclusive = match exclusive {
            Some(Either::Left(word)) if word.is_empty() => {
                return Err(opts.at().key("exclusive").wrong("must be a word, or `true`, not an empty text"));
            }
            Some(Either::Left(word)) => Some(word),
            Some(Either::Right(true)) => Some(String::new()),
            _ => None,
        };
        let positive = |name: &str, number: Option<u32>, opts: &Opts<'_, '_>| match number {
            Some(0) => Err(opts.at().key(name).wrong("must be 1 or more")),
            other => Ok(other),
        };
        let weight = opts.take("weight")?;
        let cases = opts.take("cases")?;
        let leaves: Vec<String> = opts.or("leaves", Vec::new())?;
        let kinds = crate::runtime::leaks::Kind::ALL.map(crate::runtime::leaks::Kind::name);
        if let Some(stray) = leaves.iter().find(|word| *word != "all" && !kinds.contains(&word.as_str())) {
            let what = format!("has no kind \"{stray}\"; they are {} and all", kinds.join(", "));
            return Err(opts.at().key("leaves").wrong(what));
        }
        let timeout: Option<Duration> = opts.take("timeout")?;
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(opts.at().key("timeout").wrong("must be more than nothing"));
        }
        Ok(Self {
            timeout,
            slow: opts.take("slow")?,
            retries: opts.take("retries")?,
            weight: positive("weight", weight, opts)?,
            exclusive,
            tags: opts.or("tags", Vec::new())?,
            leaves,
            skip: opts.take("skip")?,
            cases: positive("cases", cases, opts)?,
            seed: opts.take("seed")?,
            only: opts.or("only", false)?,
        })
    }
}

/// The rows of a table.
#[derive(Clone, Debug)]
pub struct Rows(Array);

impl FromScript for Rows {
    fn expected() -> String {
        "a list or a range".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_array() || value.is::<Range<i64>>() || value.is::<RangeInclusive<i64>>()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if let Some(range) = value.read_lock::<Range<i64>>() {
            return Ok(Self(range.clone().map(Dynamic::from).collect()));
        }
        if let Some(range) = value.read_lock::<RangeInclusive<i64>>() {
            return Ok(Self(range.clone().map(Dynamic::from).collect()));
        }
        value.try_cast_result().map(Self).map_err(|value| at.expected(&Self::expected(), &value))
    }
}

/// The two ways to write it: with options before the function, or without.
fn split(
    call: &Call<'_>,
    first: Either<FnPtr, CaseOptions>,
    f: Option<FnPtr>,
) -> Result<(CaseOptions, FnPtr)> {
    match (first, f) {
        (Either::Left(f), None) => Ok((CaseOptions::default(), f)),
        (Either::Right(options), Some(f)) => Ok((options, f)),
        (Either::Left(_), Some(_)) => Err(call.invalid("`options` must be a map before the function")),
        (Either::Right(_), None) => {
            Err(call.invalid("`f` is missing: a function expected behind the options"))
        }
    }
}

fn declare(call: &Call<'_>, name: &str, options: CaseOptions, todo: bool, body: Body) -> Result<()> {
    let suite = call.shell().suite();
    suite.check_open(call.op())?;
    if name.trim().is_empty() || name.contains('\n') {
        return Err(call.invalid("`name` must be one line that says what is tested"));
    }
    match &body {
        Body::Closure(f, args) => call.check_takes(f, args.len())?,
        Body::Property(_, f) => call.check_takes(f, 1)?,
        Body::Function(_) | Body::Missing => {}
    }
    if let Body::Closure(f, _) | Body::Property(_, f) = &body {
        check_captured(call, f)?;
    }
    let (source, line) = call.source_line();
    let case = Case { name: name.to_owned(), place: (source, line), group: 0, options, todo, body };
    suite.add(call.op(), case)
}

/// Refuses a function that is declared a second time while what it has captured is not what it was the first time: a variable of a
/// loop, of which all tests would see the last value. A list may grow from test to test.
fn check_captured(call: &Call<'_>, f: &FnPtr) -> Result<()> {
    let values = |f: &FnPtr| -> Vec<Option<String>> {
        let text =
            |value: &Dynamic| (!value.is_array()).then(|| plainly(call, &value.flatten_clone()).to_string());
        f.curry().iter().map(text).collect()
    };
    let suite = call.shell().suite();
    match suite.captured(f, values(f)) {
        Some((first, before)) if values(&first) != before => {
            let what = "the function uses a variable that has another value by now: each test would see its last one";
            Err(call
                .invalid(what)
                .hint("declare the tests by test::each, or in a function that takes the value"))
        }
        _ => Ok(()),
    }
}

fn check(call: &Call<'_>, name: String, options: Either<FnPtr, CaseOptions>, f: Option<FnPtr>) -> Result<()> {
    let (options, f) = split(call, options, f)?;
    declare(call, &name, options, false, Body::Closure(f, Array::new()))
}

fn only(call: &Call<'_>, name: String, options: Either<FnPtr, CaseOptions>, f: Option<FnPtr>) -> Result<()> {
    let (options, f) = split(call, options, f)?;
    let options = CaseOptions { only: true, ..options };
    declare(call, &name, options, false, Body::Closure(f, Array::new()))
}

fn skip(call: &Call<'_>, text: String, why: Option<Either<FnPtr, String>>, f: Option<FnPtr>) -> Outcome<()> {
    let (reason, f) = match (why, f) {
        (None, None) => return leave(call, &text),
        (Some(Either::Left(f)), None) => ("it is declared so".to_owned(), f),
        (Some(Either::Right(reason)), Some(f)) => (reason, f),
        _ => return Err(call.invalid("is written (reason), (name, f) or (name, reason, f)").into()),
    };
    let options = CaseOptions { skip: Some(reason), ..CaseOptions::default() };
    Ok(declare(call, &text, options, false, Body::Closure(f, Array::new()))?)
}

/// Ends the test that runs, or the declarations of a group or file. Nothing catches it.
fn leave(call: &Call<'_>, reason: &str) -> Outcome<()> {
    let suite = call.shell().suite();
    if suite.can_skip() {
        suite.skip(reason);
    } else {
        suite.check_open(call.op())?;
        if suite.skip_rest(reason, call.source_line()) == Rest::OfFile {
            call.ctx.call_native_fn::<()>(scene::SERVE, ())?;
        }
    }
    call.shell().set_exit(0);
    Err(Box::new(EvalAltResult::Exit(Dynamic::UNIT, Position::NONE)).into())
}

fn todo(call: &Call<'_>, name: String, f: Option<FnPtr>) -> Result<()> {
    let body = f.map_or(Body::Missing, |f| Body::Closure(f, Array::new()));
    declare(call, &name, CaseOptions::default(), true, body)
}

fn group(
    call: &Call<'_>,
    name: String,
    options: Either<FnPtr, CaseOptions>,
    f: Option<FnPtr>,
) -> Outcome<()> {
    let (options, f) = split(call, options, f)?;
    let suite = call.shell().suite();
    suite.check_open(call.op())?;
    call.check_takes(&f, 0)?;
    let outer = suite.enter(&name, &options);
    let outcome = call.invoke(&f, []);
    suite.leave(outer);
    if suite.take_left() {
        // Its rest is skipped; what is behind it is not.
        call.shell().clear_exit();
        return Ok(());
    }
    outcome.map(drop)
}

fn each(
    call: &Call<'_>,
    name: String,
    rows: Rows,
    options: Either<FnPtr, CaseOptions>,
    f: Option<FnPtr>,
) -> Result<()> {
    let (options, f) = split(call, options, f)?;
    if rows.0.is_empty() {
        return Err(call.invalid("`rows` must be a list with a row, not an empty one"));
    }
    let mut used = std::collections::BTreeMap::<String, usize>::new();
    rows.0.into_iter().try_for_each(|row| {
        let named = row.read_lock::<Map>().and_then(|map| map.get("name").map(ToString::to_string));
        let label = named.unwrap_or_else(|| row.to_string()).replace('\n', "\\n");
        // Rows that look alike are told apart.
        let turn = used.entry(label.clone()).or_default();
        *turn += 1;
        let label = if *turn > 1 { format!("{label} ({turn})") } else { label };
        declare(call, &format!("{name} {label}"), options.clone(), false, Body::Closure(f.clone(), vec![row]))
    })
}

fn prop(
    call: &Call<'_>,
    name: String,
    generator: Dynamic,
    options: Either<FnPtr, CaseOptions>,
    f: Option<FnPtr>,
) -> Result<()> {
    let (options, f) = split(call, options, f)?;
    let generator = Dynamic::from(generate::check(call, &generator)?);
    declare(call, &name, options, false, Body::Property(generator, f))
}

fn configure(call: &Call<'_>, what: Either<String, CaseOptions>, options: Option<CaseOptions>) -> Result<()> {
    let suite = call.shell().suite();
    suite.check_open(call.op())?;
    match (what, options) {
        (Either::Right(options), None) => suite.configure(&options),
        (Either::Left(name), Some(options)) => {
            if !suite.configure_function(&name, &options) {
                let what = "the file has no function of this name that is a test";
                return Err(Error::new(ErrorKind::NotFound, call.op(), what)
                    .subject(name)
                    .hint("its name begins with `test_`"));
            }
        }
        _ => return Err(call.invalid("is written (options) or (name, options)")),
    }
    Ok(())
}

fn around(call: &Call<'_>, when: When, f: FnPtr) -> Result<()> {
    call.shell().suite().check_open(call.op())?;
    call.check_takes(&f, 0)?;
    call.shell().suite().around(when, f);
    Ok(())
}

fn before(call: &Call<'_>, f: FnPtr) -> Result<()> {
    around(call, When::Before, f)
}

fn after(call: &Call<'_>, f: FnPtr) -> Result<()> {
    around(call, When::After, f)
}

fn before_all(call: &Call<'_>, f: FnPtr) -> Result<()> {
    around(call, When::BeforeAll, f)
}

fn after_all(call: &Call<'_>, f: FnPtr) -> Result<()> {
    around(call, When::AfterAll, f)
}
