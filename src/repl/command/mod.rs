//! The commands of the prompt: words that begin with a colon, which no expression of the language does.

mod explain;
mod files;
mod live;
pub(super) mod objects;
pub(super) mod stops;
pub(super) mod view;

use crate::repl::{Ending, Next, Prompt, lesson};
use crate::script::options::did_you_mean;

/// What a command takes, for completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, or words of its own.
    Words,
    /// The name of a function, module or command.
    Topic,
    /// A file.
    File,
    /// A variable that holds a handle.
    Handle,
    /// Code.
    Code,
}

/// A command.
pub(super) struct Command {
    /// Its name, without the colon.
    pub(super) name: &'static str,
    /// What is written behind it.
    pub(super) usage: &'static str,
    /// What that is, for completion.
    pub(super) takes: Takes,
    /// What it does, as one sentence.
    pub(super) about: &'static str,
    /// Does it.
    run: fn(&mut Prompt, &str) -> Next,
}

const fn command(
    name: &'static str,
    usage: &'static str,
    takes: Takes,
    about: &'static str,
    run: fn(&mut Prompt, &str) -> Next,
) -> Command {
    Command { name, usage, takes, about, run }
}

/// All commands, in the order of the help.
pub(super) const COMMANDS: &[Command] = &[
    command("help", "[NAME]", Takes::Topic, "Explains a function, type, module or command.", view::help),
    command(
        "ls",
        "",
        Takes::Words,
        "Lists the living objects, newest first, with the line that made them.",
        objects::ls,
    ),
    command("vars", "", Takes::Words, "Lists the variables.", objects::vars),
    command(
        "undo",
        "[N]",
        Takes::Words,
        "Takes back what the newest N entries made (default 1).",
        objects::undo,
    ),
    command("keep", "HANDLE", Takes::Handle, "Hands an object over: it outlives the session.", objects::keep),
    command(
        "shell",
        "HANDLE [COMMAND]",
        Takes::Handle,
        "Runs a shell in namespaces, a process, a root or a group.",
        live::shell,
    ),
    command(
        "watch",
        "HANDLE [TIME]",
        Takes::Handle,
        "Shows live statistics until a key, each TIME (default 1s).",
        live::watch,
    ),
    command(
        "trace",
        "[last|on|off]",
        Takes::Words,
        "Shows the steps of the last entry, or of each from now on.",
        explain::trace,
    ),
    command(
        "explain",
        "[last|NAME]",
        Takes::Topic,
        "Explains the last call: intent, system calls, man pages.",
        explain::explain,
    ),
    command("time", "CODE", Takes::Code, "Runs code and says how long it took.", explain::time),
    command(
        "type",
        "CODE",
        Takes::Code,
        "Says of which type an expression is, without running calls.",
        explain::kind,
    ),
    command(
        "page",
        "[CODE]",
        Takes::Code,
        "Shows the last value, or that of CODE, whole, in a pager.",
        view::page,
    ),
    command("load", "FILE", Takes::File, "Runs a script; its variables and objects stay.", files::load),
    command("save", "FILE", Takes::File, "Writes the session as a recipe that runs again.", files::save),
    command(
        "edit",
        "[FILE]",
        Takes::File,
        "Opens the last entry, or a file, in $EDITOR, and runs it.",
        files::edit,
    ),
    command("history", "[N]", Takes::Words, "Lists the entries of this session.", files::history),
    command(
        "break",
        "[PLACE]",
        Takes::Topic,
        "Stops scripts before a call or at FILE:LINE; lists the places.",
        stops::command,
    ),
    command("clear", "NUMBER", Takes::Words, "Removes a breakpoint.", stops::clear_command),
    command("step", "FILE", Takes::File, "Runs a script and stops at its first statement.", stops::step),
    command(
        "next",
        "",
        Takes::Words,
        "At a stop: the next statement. In the tutorial: the next page.",
        stops::next,
    ),
    command(
        "continue",
        "",
        Takes::Words,
        "At a stop: runs on. Where a script has failed: as :leave.",
        stops::go_on,
    ),
    command("where", "", Takes::Words, "Where a script has failed: lists the calls.", stops::calls),
    command("up", "", Takes::Words, "Where a script has failed: looks at the calling function.", stops::up),
    command(
        "down",
        "",
        Takes::Words,
        "Where a script has failed: looks at the called function.",
        stops::down,
    ),
    command(
        "leave",
        "",
        Takes::Words,
        "Goes back to the session from where a script has failed.",
        stops::go_on,
    ),
    command(
        "tutorial",
        "[PAGE]",
        Takes::Words,
        "Opens the tutorial, where it was left or at a page.",
        lesson::open,
    ),
    command("try", "", Takes::Words, "In the tutorial: runs what the page shows.", lesson::try_it),
    command("check", "", Takes::Words, "In the tutorial: looks at what you made.", lesson::check),
    command("hint", "", Takes::Words, "In the tutorial: helps, each time a little more.", lesson::hint),
    command("back", "", Takes::Words, "In the tutorial: turns back a page; `:next` goes on.", lesson::back),
    command("steps", "", Takes::Words, "Lists the pages of the tutorial.", lesson::steps),
    command("doctor", "", Takes::Words, "Says what this host lets the program do.", view::doctor),
    command("quit", "", Takes::Words, "Leaves; what was made is removed.", quit),
];

fn quit(_: &mut Prompt, _: &str) -> Next {
    Next::End(Ending::Exit(0))
}

/// Runs what is behind a colon.
pub(super) fn run(prompt: &mut Prompt, words: &str) -> Next {
    let words = words.trim();
    let (name, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let name = if name == "?" { "help" } else { name };
    let exact = COMMANDS.iter().find(|command| command.name == name);
    // The beginning of a name is enough where it is the beginning of one only.
    let mut begun = COMMANDS.iter().filter(|command| !name.is_empty() && command.name.starts_with(name));
    let found = exact.or_else(|| begun.next().filter(|_| begun.next().is_none()));
    match found {
        Some(command) => (command.run)(prompt, rest.trim()),
        None => {
            let near = did_you_mean(name, COMMANDS.iter().map(|command| command.name));
            prompt.refuse(&format!("there is no command `:{name}`{near}"), "`:help` lists the commands");
            Next::Entry
        }
    }
}
