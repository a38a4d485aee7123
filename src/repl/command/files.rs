//! `:load`, `:save`, `:edit`, `:history`: entries as texts.

use crate::repl::{Next, Prompt, recipe};
use crate::script::source;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Runs a script.
pub(super) fn load(prompt: &mut Prompt, words: &str) -> Next {
    if words.is_empty() {
        prompt.refuse(":load needs the path of a script", ":load build.rhai");
        return Next::Entry;
    }
    match source::read(Path::new(words)) {
        Ok(text) => prompt.run_file(words, &text),
        Err(error) => {
            prompt.fail(&crate::script::interactive::Interactive::report(&error));
            Next::Entry
        }
    }
}

/// Writes the session as a recipe.
pub(super) fn save(prompt: &mut Prompt, words: &str) -> Next {
    if words.is_empty() {
        prompt.refuse(":save needs the path of a file", ":save lab.rhai");
        return Next::Entry;
    }
    let text = recipe::recipe(prompt.log.entries(), &|code| prompt.script.last_statement(code));
    let file = if words.ends_with(".rhai") { words.to_owned() } else { format!("{words}.rhai") };
    // A file that is there is somebody's work.
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut out| out.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            prompt.say(&format!("{} lines in {file}; `cshell {file}` runs it again\n", text.lines().count()));
        }
        Err(error) => prompt.refuse(&format!("cannot write {file}: {error}"), "choose a name that is free"),
    }
    Next::Entry
}

/// Opens an editor, and runs what it leaves.
pub(super) fn edit(prompt: &mut Prompt, words: &str) -> Next {
    if !words.is_empty() {
        return match open_editor(Path::new(words)) {
            Ok(()) => load(prompt, words),
            Err(what) => refuse(prompt, &what),
        };
    }
    let last = prompt.log.entries().last().map(|entry| entry.text.clone()).unwrap_or_default();
    match edited(&last) {
        Ok(text) if text.trim().is_empty() || text.trim() == last.trim() => {
            prompt.say("nothing changed\n");
            Next::Entry
        }
        Ok(text) => {
            prompt.say(&format!("{}\n", text.trim_end()));
            prompt.entry(text.trim_end())
        }
        Err(what) => refuse(prompt, &what),
    }
}

fn refuse(prompt: &Prompt, what: &str) -> Next {
    prompt.refuse(what, "$VISUAL or $EDITOR names the editor");
    Next::Entry
}

/// A text after the user has edited it.
fn edited(text: &str) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("cannot use a file to edit in: {error}");
    let folder = std::env::temp_dir();
    let file = folder.join(format!("cshell-edit-{}.rhai", std::process::id()));
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).open(&file).map_err(fault)?;
    let result = out
        .write_all(format!("{text}\n").as_bytes())
        .map_err(fault)
        .and_then(|()| open_editor(&file))
        .and_then(|()| std::fs::read_to_string(&file).map_err(fault));
    // It is ours, and made just now.
    let _ = std::fs::remove_file(&file);
    result
}

#[expect(clippy::disallowed_methods, reason = "the user's own editor, on the host and not traced")]
fn open_editor(file: &Path) -> Result<(), String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} failed: {status}")),
        Err(error) => Err(format!("cannot start {program}: {error}")),
    }
}

/// Lists the entries.
pub(super) fn history(prompt: &mut Prompt, words: &str) -> Next {
    let entries = prompt.log.entries();
    let count = words.parse().unwrap_or(entries.len()).min(entries.len());
    let text: String = entries[entries.len() - count..]
        .iter()
        .map(|entry| {
            let mark = if entry.ok { " " } else { "!" };
            format!("{mark} {}\n", entry.title.trim_end().replace('\n', "\n  "))
        })
        .collect();
    prompt.page(&text);
    Next::Entry
}
