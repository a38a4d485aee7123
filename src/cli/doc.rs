//! `cshell doc`: what there is to read about the language, from the same tables that the interpreter is built from.

use crate::cli::{args, complain, say};
use crate::repl;
use crate::script::help::{self, Style, definitions, markdown, reference, roff, topic};
use crate::script::report::{EXIT_SCRIPT, EXIT_USAGE, Report};
use crate::text::{colour, report};
use std::path::{Path, PathBuf};

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// The name of the page; without it the list of what there is, or everything.
    pub(super) name: Option<String>,
    /// As Markdown.
    pub(super) markdown: bool,
    /// As a manual page.
    pub(super) man: bool,
    /// The names with this word in their name or first sentence.
    pub(super) search: Option<String>,
    /// Definition files for editors go here.
    pub(super) definitions: Option<PathBuf>,
}

/// Shows a page, everything, or what is found.
pub(super) fn doc(wish: &Wish) -> u8 {
    if let Some(folder) = &wish.definitions {
        return define(folder);
    }
    if let Some(word) = &wish.search {
        return search(word);
    }
    match &wish.name {
        None if wish.markdown => say(&all_markdown()),
        None if wish.man => say(&manual()),
        name => one(name.as_deref().unwrap_or_default(), wish),
    }
}

fn one(name: &str, wish: &Wish) -> u8 {
    let found = topic::find(name).filter(|_| wish.markdown || wish.man);
    let text = match found.map(|topic| reference::pages(&topic)) {
        Some(pages) if wish.markdown => {
            let level = |at: usize| if at == 0 { 1 } else { 2 };
            let parts = pages.iter().enumerate().map(|(at, page)| markdown::render(page, level(at)));
            Ok(parts.collect::<Vec<_>>().join("\n"))
        }
        Some(pages) => {
            let head = pages.first().map(|page| roff::head(&page.name, 7, &page.summary));
            let parts = head.into_iter().chain([roff::section("Description")]);
            Ok(parts.chain(pages.iter().map(roff::part)).collect())
        }
        None => help::page(name, style()),
    };
    match text {
        Ok(text) => say(&text),
        Err(unknown) => fail(&unknown.to_string(), "`cshell doc` lists what there is", EXIT_USAGE),
    }
}

/// As wide as the terminal, but not wider than reads well.
fn style() -> Style {
    const WIDTH: usize = 80;
    let out = std::io::stdout();
    let columns = rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col));
    let width = columns.filter(|width| *width > 0).map_or(WIDTH, |width| width.min(100));
    Style { width, colour: colour::fits(&out) }
}

fn fail(what: &str, hint: &str, code: u8) -> u8 {
    let mut report = Report::plain(what, code);
    report.hint = Some(hint.into());
    complain(&report::render(&report, &|_| None));
    code
}

fn search(word: &str) -> u8 {
    let found = reference::search(word);
    if found.is_empty() {
        return fail(
            &format!("nothing has `{word}` in its name or first sentence"),
            "`cshell doc` lists what there is",
            EXIT_SCRIPT,
        );
    }
    let widest = found.iter().map(|(name, _)| name.len()).max().unwrap_or(0).min(24);
    say(&found.iter().map(|(name, summary)| format!("{name:<widest$}  {summary}\n")).collect::<String>())
}

fn define(folder: &Path) -> u8 {
    let files = definitions::files();
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| files.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text)));
    match written {
        Ok(()) => say(&format!("{} files in {}\n", files.len(), folder.display())),
        Err(error) => {
            let what = format!("cannot write definitions to {}: {error}", folder.display());
            fail(&what, "give a folder that can be written", EXIT_SCRIPT)
        }
    }
}

fn all_markdown() -> String {
    let summary = format!(
        "The functions of the language of cshell {}, from the same tables that the interpreter is built from.",
        env!("CARGO_PKG_VERSION")
    );
    markdown::document("cshell reference", &summary, &reference::parts())
}

/// cshell(1): the command line, the prompt, and every function.
fn manual() -> String {
    let mut out = roff::head(
        "cshell",
        1,
        "a container shell: the kernel's container primitives as functions of a language",
    );
    out.push_str(&roff::section("Synopsis"));
    out.push_str(&roff::lines(args::SYNOPSIS.lines().map(str::trim)));
    out.push_str(&roff::section("Description"));
    out.push_str(&roff::paragraph(
        "Runs scripts in the Rhai language whose functions make and change namespaces, control groups, overlays, links, \
         processes and images. What a script made is taken back when it ends, however it ends. Without a script, at a \
         terminal, a prompt opens.",
    ));
    out.push_str(&roff::section("Options"));
    args::options().iter().for_each(|(name, about)| out.push_str(&roff::entry(name, about)));
    out.push_str(&roff::section("Commands"));
    args::commands().iter().for_each(|(name, about)| out.push_str(&roff::entry(name, about)));
    out.push_str(&roff::section("The prompt"));
    repl::commands().for_each(|(name, about)| out.push_str(&roff::entry(&name, about)));
    out.push_str(&roff::section("Exit status"));
    EXITS.iter().for_each(|(code, about)| out.push_str(&roff::entry(code, about)));
    out.push_str(&roff::section("Environment"));
    ENVIRONMENT.iter().for_each(|(name, about)| out.push_str(&roff::entry(name, about)));
    out.push_str(&roff::section("Files"));
    FILES.iter().for_each(|(name, about)| out.push_str(&roff::entry(name, about)));
    for (part, pages) in reference::parts() {
        out.push_str(&roff::section(&part));
        pages.iter().for_each(|page| out.push_str(&roff::part(page)));
    }
    out.push_str(&roff::section("See also"));
    out.push_str(&roff::paragraph(
        "namespaces(7), cgroups(7), unshare(1), nsenter(1), ip(8), bwrap(1), crun(1)",
    ));
    out
}

const EXITS: &[(&str, &str)] = &[
    ("0", "All went well."),
    ("1", "The script failed, or what it made could not be taken back."),
    ("2", "Wrong use of the command line, or a script that does not parse."),
    (
        "3",
        "The host cannot: an uncaught error of kind `permission_denied` or `unsupported`, or what `doctor` misses.",
    ),
    ("101", "A bug of this program."),
    ("125, 126, 127", "A contained command could not be started, run, found."),
    ("n", "The script called `exit(n)`."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("CSHELL_RUN", "Where ledgers and locks are, in place of /run/cshell."),
    ("CSHELL_ROOT", "Where images, layers and scratch space are, in place of /var/lib/cshell."),
    ("CSHELL_HISTORY", "Where the lines of the prompt are kept; empty for nowhere."),
    ("CSHELL_CGROUP_DRIVER", "`cgroupfs` or `systemd`, in place of what the host suggests."),
    ("NO_COLOR", "No colours."),
    ("VISUAL, EDITOR, PAGER", "The programs that `:edit` and `:page` start."),
];

const FILES: &[(&str, &str)] = &[
    ("/run/cshell, $XDG_RUNTIME_DIR/cshell", "Ledgers and locks, of root and of other users."),
    ("/var/lib/cshell, $XDG_DATA_HOME/cshell", "Images, layers and scratch space."),
    ("~/.local/state/cshell/history", "The lines of the prompt."),
];
