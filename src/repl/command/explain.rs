//! `:trace`, `:explain`, `:time`, `:type`: what an entry did.

use crate::repl::recent::Told;
use crate::repl::{Next, Prompt, scan, show};
use crate::runtime::units::show_duration;
use crate::script::help;
use crate::script::interactive::Answer;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Shows the steps of the last entry.
pub(super) fn trace(prompt: &mut Prompt, words: &str) -> Next {
    match words {
        "on" | "off" => {
            prompt.tracing = words == "on";
            prompt.say(&format!(
                "steps are {}shown after each entry\n",
                if prompt.tracing { "" } else { "not " }
            ));
        }
        "" | "last" => {
            let (told, more) = &prompt.steps;
            let mut text: String = told.iter().map(|told| told.text.as_str()).collect();
            if told.is_empty() {
                text.push_str("nothing was changed so far\n");
            }
            if *more > 0 {
                let _ = writeln!(text, "… and {more} more steps");
            }
            prompt.page(&text);
        }
        _ => prompt.refuse(&format!(":trace takes last, on or off, not `{words}`"), ""),
    }
    Next::Entry
}

/// Explains the steps of the last entry.
pub(super) fn explain(prompt: &mut Prompt, words: &str) -> Next {
    if !["", "last"].contains(&words) {
        return super::view::help(prompt, words);
    }
    let (told, _) = &prompt.steps;
    if told.is_empty() {
        prompt.say("nothing was changed so far: there is nothing to explain\n");
        return Next::Entry;
    }
    let mut out = String::new();
    for step in told.iter().filter(|step| !step.undo) {
        explain_step(prompt, step, &mut out);
    }
    let undone: Vec<&Told> = told.iter().filter(|step| step.undo).collect();
    if !undone.is_empty() {
        let _ = writeln!(out, "{}", prompt.screen.bold("taken back"));
        undone.iter().for_each(|step| {
            let _ = writeln!(out, "  {}: {}", step.op, step.intent);
        });
    }
    prompt.page(&out);
    Next::Entry
}

fn explain_step(prompt: &Prompt, step: &Told, out: &mut String) {
    let screen = prompt.screen;
    let summary = help::summary(&step.op).map_or_else(String::new, |summary| format!(": {summary}"));
    let _ = writeln!(out, "{}{summary}", screen.bold(&step.op));
    let _ = writeln!(out, "  intent  {}", step.intent);
    for (index, call) in step.calls.iter().enumerate() {
        let head = if index == 0 { "calls " } else { "      " };
        let _ = writeln!(out, "  {head}  {}", show::fit(call, screen.width.saturating_sub(10)));
    }
    let _ = writeln!(out, "  effect  {}", step.effect);
    let _ = writeln!(out, "  took    {}", show_duration(step.took));
    for (index, line) in
        show::wrap(&pages(step).join(", "), screen.width.saturating_sub(10)).iter().enumerate()
    {
        let _ = writeln!(out, "  {}  {line}", if index == 0 { "see   " } else { "      " });
    }
    out.push('\n');
}

/// The man pages of a step: of its system calls, and those that the help of its function names.
fn pages(step: &Told) -> Vec<String> {
    let mut pages: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    let calls = step.calls.iter().filter_map(|call| page(call));
    for page in help::calls_of(&step.op).into_iter().chain(calls) {
        if seen.insert(page.clone()) {
            pages.push(page);
        }
    }
    pages
}

/// The man page of a recorded call: most have one of their own name.
fn page(call: &str) -> Option<String> {
    let (name, _) = call.trim().trim_start_matches("[child] ").split_once('(')?;
    let name = match name {
        "clone3" => "clone",
        "openat" => "open",
        "mkdirat" => "mkdir",
        "unlinkat" => "unlink",
        "symlinkat" => "symlink",
        "renameat2" => "rename",
        "newfstatat" | "fstat" | "lstat" => "stat",
        "umount2" => "umount",
        "eventfd2" => "eventfd",
        "pipe2" => "pipe",
        "dup3" => "dup",
        "wait4" => "wait",
        "waitid" => "wait",
        "rt_sigaction" => "sigaction",
        "fchmodat" => "chmod",
        "fchownat" => "chown",
        netlink if netlink.starts_with("RTM_") => return Some("rtnetlink(7)".into()),
        other => other,
    };
    Some(format!("{name}(2)"))
}

/// Runs code and says how long it took.
pub(super) fn time(prompt: &mut Prompt, words: &str) -> Next {
    if words.is_empty() {
        prompt.refuse(":time needs code to run", ":time proc::exec(\"true\")");
        return Next::Entry;
    }
    let next = prompt.run_code(words);
    let none = (Vec::new(), 0);
    let (told, more) = if prompt.fresh { &prompt.steps } else { &none };
    let calls: usize = told.iter().map(|told| told.calls.len()).sum();
    let steps = told.iter().filter(|told| !told.undo).count() + more;
    let count = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    let took = show_duration(prompt.took);
    prompt.say(&format!("took {took}: {}, {}\n", count(steps, "step"), count(calls, "recorded system call")));
    next
}

/// Says of which type an expression is.
pub(super) fn kind(prompt: &mut Prompt, words: &str) -> Next {
    let tokens = scan::tokens(words);
    let calls = tokens.windows(2).any(|pair| {
        pair[0].kind == scan::Kind::Word
            && pair[1].text(words) == "("
            && pair[0].range.end == pair[1].range.start
    });
    // What the whole is, as for a method behind it: the result of a call, and properties of that.
    let context = scan::context(&format!("{words}."), words.len() + 1);
    let chain: Vec<&str> = context.chain.split(['.', '?']).filter(|name| !name.is_empty()).collect();
    let of_call = context.result_of.as_deref().map(|call| prompt.script.names().kind_of(Some(call), &chain));
    let text = match (of_call, prompt.script.names().native(words)) {
        (Some(Some(nothing)), _) if nothing.is_empty() => "() (it returns nothing)".to_owned(),
        (Some(Some(kind)), _) => kind,
        (_, Some(native)) => native.signature(),
        (_, None) if words.is_empty() => {
            prompt.refuse(":type needs an expression", ":type box.pid");
            return Next::Entry;
        }
        (_, None) if calls => "what this call returns is known when it runs".to_owned(),
        (_, None) => match prompt.script.type_of_expression(words) {
            Ok(kind) => kind,
            Err(report) => {
                prompt.fail(&report);
                return Next::Entry;
            }
        },
    };
    prompt.say(&format!("{text}\n"));
    Next::Entry
}

/// Whether an entry ran to its end.
pub(super) fn went_well(answer: &Answer) -> bool {
    matches!(answer, Answer::Value(_) | Answer::Nothing)
}
