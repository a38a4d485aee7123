//! `:help`, `:page`, `:doctor`: texts to read.

use crate::repl::command::COMMANDS;
use crate::repl::desk::Desk;
use crate::repl::{Next, Prompt, show};
use crate::script::help::{self as pages, Style};
use crate::script::interactive::{Answer, IT};
use crate::script::lookup::Names;
use crate::text::doctor as findings;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::{Command, Stdio};

/// Explains a name, or lists the commands.
pub(super) fn help(prompt: &mut Prompt, words: &str) -> Next {
    if words.is_empty() {
        prompt.say(&commands(prompt));
        return Next::Entry;
    }
    let name = words.trim_start_matches(':').trim_end_matches("()");
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name && !words.contains("::")) {
        prompt.say(&format!(":{} {}\n\n    {}\n", command.name, command.usage, command.about));
        return Next::Entry;
    }
    topic(&prompt.desk, &prompt.script.names(), name);
    Next::Entry
}

/// Explains a name; for a variable, its type.
pub(in crate::repl) fn topic(desk: &Desk, names: &Names<'_>, name: &str) {
    let of_variable = names.variable_kind(name);
    let screen = desk.screen.get();
    let style = Style { width: screen.width, colour: screen.colour };
    match pages::page(of_variable.as_deref().unwrap_or(name), style) {
        Ok(page) => desk.page(&page),
        Err(unknown) => {
            desk.refuse(&unknown.to_string(), "`:help` lists the commands, `cshell doc` the modules");
        }
    }
}

fn commands(prompt: &Prompt) -> String {
    let mut out = String::from("Code runs as it is typed; the last value is `it`. Commands:\n\n");
    for command in COMMANDS {
        let usage = format!(":{} {}", command.name, command.usage);
        for (index, line) in
            show::wrap(command.about, prompt.screen.width.saturating_sub(28)).iter().enumerate()
        {
            let _ = writeln!(out, "  {:<25} {line}", if index == 0 { usage.trim_end() } else { "" });
        }
    }
    let modules: Vec<&str> = crate::script::bind::BINDINGS.iter().map(|binding| binding.name).collect();
    let modules = format!("Modules (`:help net`): {}", modules.join(" "));
    let _ = writeln!(out, "\n{}", show::wrap(&modules, prompt.screen.width).join("\n"));
    let keys = "Alt-Enter: a new line. Ctrl-R: search. Ctrl-C: stop. Ctrl-D: leave.";
    let _ = writeln!(out, "{}", prompt.screen.dim(keys));
    out
}

/// Shows a value whole.
pub(super) fn page(prompt: &mut Prompt, words: &str) -> Next {
    if !words.is_empty() {
        let (answer, made) = prompt.observe(|script| script.run(words));
        let valued = matches!(answer, Answer::Value(_));
        let ok = super::explain::went_well(&answer);
        prompt.log.add(crate::repl::log::Entry {
            title: words.to_owned(),
            text: words.to_owned(),
            ok,
            valued,
            made,
            undone: false,
        });
        if !valued {
            return prompt.tell(answer);
        }
    }
    let Some(look) = prompt.script.names().variable(IT) else {
        prompt.refuse("there is no last value to show", "");
        return Next::Entry;
    };
    let text = show::show(&look, prompt.screen);
    if !(std::io::stdout().is_terminal() && pager(&text)) {
        prompt.say(&text);
    }
    Next::Entry
}

/// Shows a text in the user's pager. Whether there is one.
#[expect(clippy::disallowed_methods, reason = "the user's own pager, on the host and not traced")]
fn pager(text: &str) -> bool {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".into());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    command.args(words).env("LESS", "FRX").stdin(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        // It may be left before it has read all.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().is_ok()
}

/// Says what this host lets the program do.
pub(super) fn doctor(prompt: &mut Prompt, _: &str) -> Next {
    prompt.page(&findings::table(&crate::runtime::doctor::examine()));
    Next::Entry
}
