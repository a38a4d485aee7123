//! From the arguments to what is to be done.
//!
//! The first word that is no option decides: a script, when it ends in `.rhai`, has a `/` or is an existing file;
//! a command otherwise. Everything after a script belongs to the script, untouched.

use crate::cli::doc::Wish;
use crate::cli::doctor::Format;
use crate::runtime::gc;
use crate::runtime::units;
use crate::script::options::did_you_mean;
use crate::script::report::{EXIT_USAGE, Report};
use crate::testrun::{self, Shard};
use crate::text::report;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Plan {
    /// Run a script.
    Run { program: Program, args: Vec<OsString>, trace: Option<TraceTo> },
    /// Open a prompt, after running a script if there is one.
    Prompt { program: Option<Program>, args: Vec<OsString>, trace: Option<TraceTo>, private: bool },
    /// The tutorial.
    Tutorial(Lesson),
    /// Check scripts without running them.
    Check(Vec<PathBuf>),
    /// Reclaim what dead sessions left.
    Gc(gc::Options),
    /// Show the documentation of the natives.
    Doc(Wish),
    /// Explain what a process may do.
    Audit { process: String, format: Format },
    /// Run tests.
    Test(Box<TestWish>),
    /// Say what this host lets the program do.
    Doctor(Format),
    /// Only write a text: help, version.
    Say(String),
}

/// Which tests are wanted, and how.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TestWish {
    /// Test files, and folders in which *_test.rhai are looked for; without any, the working folder
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// How many tests run at once; without it, as many as there are processors
    #[arg(short, long, value_name = "N", value_parser = whole::<1>)]
    pub(super) jobs: Option<usize>,
    /// Run the tests whose `file > name` has TEXT in it; more than once: any of them
    #[arg(short, long, value_name = "TEXT")]
    pub(super) filter: Vec<String>,
    /// Run the tests with this tag; more than once: any of them
    #[arg(long, value_name = "TAG")]
    pub(super) tag: Vec<String>,
    /// Do not run the tests with this tag
    #[arg(long, value_name = "TAG")]
    pub(super) not_tag: Vec<String>,
    /// Run the I-th of N parts of the tests
    #[arg(long, value_name = "I/N")]
    pub(super) shard: Option<Shard>,
    /// Only list the tests; the top of each file is run for it
    #[arg(long)]
    pub(super) list: bool,
    /// How long a test may take that does not say so itself; the top of a file may take five times as long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(super) timeout: Duration,
    /// From how long on a test is called slow
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(super) slow: Duration,
    /// How often a test is tried again after a failure
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retries: u32,
    /// How often each test is run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) repeat: u32,
    /// Begin no test after a failure
    #[arg(short = 'x', long)]
    pub(super) fail_fast: bool,
    /// The seed of --shuffle and of what properties are tried with; without it, by chance
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Run the tests in an order by chance
    #[arg(long)]
    pub(super) shuffle: bool,
    /// Count a skipped test, or one to do, as a failure
    #[arg(long)]
    pub(super) no_skip: bool,
    /// Do not look for what tests leave behind
    #[arg(long)]
    pub(super) no_leak_check: bool,
    /// Write golden files instead of comparing with them
    #[arg(long)]
    pub(super) update: bool,
    /// Run the tests with other runtimes as well, and show where they differ: crun, runc, youki, podman, bwrap
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) runtime: Vec<String>,
    /// How results are told on the standard output
    #[arg(long, value_enum, default_value = "human")]
    pub(super) format: testrun::Format,
    /// Write results as JUnit XML to FILE as well
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    /// The arguments of the test files: sys::args
    #[arg(last = true, value_name = "ARGS")]
    pub(super) args: Vec<OsString>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed =
        units::parse_duration(text).map_err(|_| "it is a time such as 250ms, 5s or 1m30s".to_owned())?;
    if parsed.is_zero() { Err("it must be more than nothing".into()) } else { Ok(parsed) }
}

fn whole<const LEAST: usize>(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number >= LEAST)
        .ok_or_else(|| format!("it is a whole number from {LEAST}"))
}

/// What is wanted of the tutorial.
#[derive(Debug)]
pub(super) struct Lesson {
    pub(super) page: Option<usize>,
    pub(super) list: bool,
    pub(super) verify: bool,
    pub(super) reset: bool,
}

/// Where the text of a script comes from.
#[derive(Debug)]
pub(super) enum Program {
    /// A file.
    File(PathBuf),
    /// The command line.
    Code(String),
    /// The standard input.
    Stdin,
}

/// Where a trace goes.
#[derive(Clone, Debug)]
pub(super) enum TraceTo {
    /// For people, to the standard error.
    Stderr,
    /// As JSON lines, to a file.
    File(PathBuf),
}

/// How the program is called.
pub(super) const SYNOPSIS: &str = "cshell [OPTIONS] [-i] [FILE [ARGS]...]\n       cshell [OPTIONS] -c CODE [ARGS]...\n       cshell <COMMAND>";

/// A container shell: runs scripts whose functions are the kernel's container primitives.
#[derive(Debug, Parser)]
#[command(
    name = "cshell",
    version,
    disable_help_subcommand = true,
    override_usage = SYNOPSIS,
    after_help = "FILE is a script when it ends in .rhai, has a / or exists; - is the standard input, which is also\n\
                  read when there is no FILE and it is not a terminal. Without FILE on a terminal a prompt opens.\n\
                  ARGS are the script's: sys::args.\n\n\
                  Exit codes: 0 ok; 1 script error; 2 usage or parse error; 3 the host cannot; 4, 100 see test --help; 101 a bug;\n\
                  125, 126, 127 a contained command could not be started, run, found; exit(n) gives n."
)]
struct Cli {
    /// Run CODE instead of a file
    #[arg(short = 'c', value_name = "CODE")]
    code: Option<OsString>,
    /// Open the prompt, after FILE or CODE has run, with everything alive; also where it failed
    #[arg(short = 'i', long)]
    interactive: bool,
    /// Keep nothing of what is typed at the prompt
    #[arg(long)]
    private: bool,
    /// Show every change of the system: to people on standard error, or as JSON lines in FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    trace: Option<Option<PathBuf>>,
    #[command(subcommand)]
    command: Option<Command>,
}

const TEST_HELP: &str = "\
Results: PASS, FAIL, LEAK (it left something behind), SLOW, SKIP, TIMEOUT, TODO.
Exit codes: 0 tests passed; 4 no test was run, or each was skipped; 100 a test failed, left something or
took too long, or a file could not be run; 1 the report could not be written; 2 usage; 3 the host
cannot; 101 a bug. A signal ends the run after the clean-up.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Find the mistakes in scripts without running them
    Check {
        /// The scripts
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run test files: each test in a process of its own, and nothing left behind
    #[command(after_help = TEST_HELP)]
    Test(Box<TestWish>),
    /// Take back what killed sessions left behind
    Gc {
        /// Only show what would be taken back
        #[arg(long)]
        dry_run: bool,
        /// Also what scripts handed over with keep()
        #[arg(long)]
        kept: bool,
    },
    /// Explain what a process may do, whoever started it: capabilities, namespaces, system calls, mounts
    Audit {
        /// The name, the id or the beginning of the id of a container, of podman, docker, containerd, crun, runc, youki,
        /// systemd-nspawn or a running script; or a process id (all digits)
        #[arg(value_name = "CONTAINER|PID")]
        process: String,
        /// How it is written
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show the functions of the language
    Doc {
        /// A module (net), function (net::veth), type (Ns), option (net::veth.mtu), kind of error; without it, the list
        name: Option<String>,
        /// As Markdown; without NAME, the whole reference
        #[arg(long)]
        markdown: bool,
        /// As a manual page, for man -l -; without NAME, cshell(1) with the whole reference
        #[arg(long, conflicts_with = "markdown")]
        man: bool,
        /// List what has WORD in its name or first sentence
        #[arg(long, value_name = "WORD", conflicts_with_all = ["name", "markdown", "man"])]
        search: Option<String>,
        /// Write definition files for editors (*.d.rhai) to DIR
        #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "markdown", "man", "search"])]
        definitions: Option<PathBuf>,
    },
    /// Learn what a container is made of, step by step, at the prompt
    Tutorial {
        /// The page; without it, where it was left
        page: Option<usize>,
        /// List the pages
        #[arg(long)]
        list: bool,
        /// Run the solution and the check of every page
        #[arg(long, conflicts_with = "list")]
        verify: bool,
        /// Forget what was done
        #[arg(long, conflicts_with_all = ["list", "verify"])]
        reset: bool,
    },
    /// Say what this host lets the program do, and how to mend what it does not
    Doctor {
        /// How to say it
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// The options, with what they do.
pub(super) fn options() -> Vec<(String, String)> {
    let cli = built();
    cli.get_arguments().map(described).collect()
}

/// The commands with their arguments, and what they do.
pub(super) fn commands() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for command in built().get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let name = command.get_name();
        all.push((name.to_owned(), about));
        let arguments = command.get_arguments().filter(|argument| argument.get_id() != "help").map(described);
        all.extend(arguments.map(|(argument, about)| (format!("{name} {argument}"), about)));
    }
    all
}

fn built() -> clap::Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

fn described(argument: &clap::Arg) -> (String, String) {
    let about = argument.get_help().map(ToString::to_string).unwrap_or_default();
    (argument.to_string(), about)
}

/// Decides what is to be done.
///
/// The error is the text for the standard error; the exit code is then 2.
pub(super) fn plan(args: Vec<OsString>) -> Result<Plan, String> {
    let Split { options, first, rest } = split(args);
    let cli = if options.is_empty() {
        Ok(Cli { code: None, interactive: false, private: false, trace: None, command: None })
    } else {
        parse(&options)
    };
    let cli = match cli {
        Ok(cli) => cli,
        Err(done) => return done,
    };
    let trace = cli.trace.map(|file| file.map_or(TraceTo::Stderr, TraceTo::File));
    let program = match (cli.code, &first) {
        (Some(code), _) => {
            let code = code.into_string().map_err(|_| usage("the code after -c is not UTF-8".into()))?;
            Some(Program::Code(code))
        }
        (None, Some(first)) if *first == *"-" => Some(Program::Stdin),
        (None, Some(first)) if is_script(first) || cli.interactive => Some(Program::File(first.into())),
        (None, Some(first)) => return command(first, rest),
        (None, None) => None,
    };
    let ask = cli.interactive || (program.is_none() && std::io::stdin().is_terminal());
    if ask && matches!(program, Some(Program::Stdin)) {
        return Err(usage("a prompt reads the standard input itself: give the script as a file".into()));
    }
    if cli.private && !ask {
        return Err(usage("--private is about the history of a prompt, and none is opened: add -i".into()));
    }
    Ok(match program {
        program if ask => Plan::Prompt { program, args: rest, trace, private: cli.private },
        program => Plan::Run { program: program.unwrap_or(Program::Stdin), args: rest, trace },
    })
}

fn command(first: &OsString, rest: Vec<OsString>) -> Result<Plan, String> {
    let name = first.to_string_lossy();
    let known = Cli::command();
    let names: Vec<&str> = known.get_subcommands().map(clap::Command::get_name).collect();
    if !names.contains(&name.as_ref()) {
        let near = did_you_mean(&name, names);
        return Err(usage(format!("there is no command and no script `{name}`{near}")));
    }
    let words: Vec<OsString> = std::iter::once(first.clone()).chain(rest).collect();
    match parse(&words).map(|cli| cli.command) {
        Ok(Some(Command::Check { files })) => Ok(Plan::Check(files)),
        Ok(Some(Command::Test(wish))) => Ok(Plan::Test(wish)),
        Ok(Some(Command::Gc { dry_run, kept })) => Ok(Plan::Gc(gc::Options { dry_run, kept })),
        Ok(Some(Command::Audit { process, format })) => Ok(Plan::Audit { process, format }),
        Ok(Some(Command::Doc { name, markdown, man, search, definitions })) => {
            Ok(Plan::Doc(Wish { name, markdown, man, search, definitions }))
        }
        Ok(Some(Command::Tutorial { page, list, verify, reset })) => {
            Ok(Plan::Tutorial(Lesson { page, list, verify, reset }))
        }
        Ok(Some(Command::Doctor { format })) => Ok(Plan::Doctor(format)),
        Ok(None) => Err(usage(format!("there is no command `{name}`"))),
        Err(done) => done,
    }
}

fn parse(words: &[OsString]) -> Result<Cli, Result<Plan, String>> {
    let program = OsString::from("cshell");
    Cli::try_parse_from(std::iter::once(&program).chain(words)).map_err(|error| {
        let text = error.render().to_string();
        if error.use_stderr() { Err(text) } else { Ok(Plan::Say(text)) }
    })
}

fn usage(message: String) -> String {
    let mut report = Report::plain(message, EXIT_USAGE);
    report.hint = Some("`cshell --help` shows what can be given".into());
    report::render(&report, &|_| None)
}

fn is_script(word: &OsString) -> bool {
    let text = word.to_string_lossy();
    text.ends_with(".rhai") || text.contains('/') || Path::new(word).is_file()
}

/// The arguments cut at the first word that is no option, or after the code of `-c`.
#[derive(Debug, Default)]
struct Split {
    options: Vec<OsString>,
    first: Option<OsString>,
    rest: Vec<OsString>,
}

fn split(args: Vec<OsString>) -> Split {
    let mut split = Split::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == *"--" {
            split.first = args.next();
            break;
        }
        if arg == *"-" || !arg.to_string_lossy().starts_with('-') {
            split.first = Some(arg);
            break;
        }
        let is_code = arg == *"-c";
        split.options.push(arg);
        if is_code {
            split.options.extend(args.next());
            break;
        }
    }
    split.rest = args.collect();
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_script_is_untouched() {
        let split = split(words("--trace a.rhai --trace -c -- x"));
        assert_eq!(split.options, words("--trace"));
        assert_eq!(split.first, Some("a.rhai".into()));
        assert_eq!(split.rest, words("--trace -c -- x"));
    }

    #[test]
    fn what_follows_the_code_is_untouched() {
        let Ok(Plan::Run { program: Program::Code(code), args, trace: Some(TraceTo::File(file)) }) =
            plan(words("--trace=t.json -c 1 --help -c"))
        else {
            panic!("not a run of code")
        };
        assert_eq!((code.as_str(), args, file), ("1", words("--help -c"), "t.json".into()));
    }
}
