//! The process of a container, by the container's name or id, whatever runtime made it.
//!
//! Nothing is asked of a runtime: its state on the machine is read, as hostile input (`folder`). A process id that is
//! found there counts only while the process is the one that was meant (`alive`).

mod alive;
mod folder;
mod places;

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::near;
use crate::runtime::state::StateDirs;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A container that was found in the state of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// What made it: `podman`, `docker`, `containerd`, `crun`, `runc`, `youki`, `systemd-nspawn` or `cshell`.
    pub runtime: &'static str,
    /// Its id.
    pub id: String,
    /// Its names, where they are not the id.
    pub names: Vec<String>,
    /// Its first process.
    pub pid: i32,
    /// The file that says so.
    pub state: PathBuf,
}

impl Container {
    /// What people call it: its name, or its id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().unwrap_or(&self.id)
    }

    fn is_called(&self, word: &str) -> bool {
        self.id == word || self.names.iter().any(|name| name == word)
    }

    fn shown(&self) -> String {
        let id = if self.names.is_empty() { String::new() } else { format!(", id {}", short(&self.id)) };
        format!("{} of {} (process {}{id})", self.name(), self.runtime, self.pid)
    }
}

/// As much of an id as runtimes show.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The process.
    pub pid: i32,
    /// The container that it is the first process of, where it was asked for by that.
    pub container: Option<Container>,
}

/// The process that a word means: a process id, or the name, the id or the beginning of the id of a container.
///
/// # Errors
/// When the word means nothing here, with what is near and where it was looked for; when it means more than one
/// container; when the container has ended.
pub fn subject(op: &'static str, dirs: &StateDirs, word: &str) -> Result<Subject> {
    if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
        let pid = word.parse().ok().filter(|pid| *pid > 0);
        let wrong = || Error::new(ErrorKind::InvalidArgument, op, format!("{word} is not a process id"));
        return Ok(Subject { pid: pid.ok_or_else(wrong)?, container: None });
    }
    if !folder::is_name(word) {
        let what = format!("{word:?} is neither a process id nor the name of a container");
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("names have letters, digits and _ . + : @ - alone; give the number of a process for anything else"));
    }
    let found = places::all(dirs);
    let container = choose(op, &found, word)?;
    Ok(Subject { pid: container.pid, container: Some(container) })
}

/// The one that a word means: called so exactly, else with an id that begins so.
fn choose(op: &'static str, found: &places::Found, word: &str) -> Result<Container> {
    let called = |it: &&Container| it.is_called(word);
    let begins = |it: &&Container| it.id.starts_with(word);
    let exact: Vec<&Container> = found.running.iter().filter(called).collect();
    let fits = match exact.is_empty() {
        // One that has ended is what was meant, rather than another with such an id.
        true if found.ended.iter().any(|it| it.is_called(word)) => exact,
        true => found.running.iter().filter(begins).collect(),
        false => exact,
    };
    match fits[..] {
        [one] => Ok(one.clone()),
        [] => Err(unknown(op, found, word)),
        _ => {
            let all: Vec<String> = fits.iter().map(|one| one.shown()).collect();
            let what = format!("{word:?} is more than one container: {}", all.join(", "));
            Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .hint("give more of the id, or the number of the process"))
        }
    }
}

fn unknown(op: &'static str, found: &places::Found, word: &str) -> Error {
    let ended = found.ended.iter().find(|it| it.is_called(word) || it.id.starts_with(word));
    if let Some(it) = ended {
        let what = format!("the container {} of {} is not running", it.name(), it.runtime);
        return Error::new(ErrorKind::NotFound, op, what)
            .path(&it.state)
            .hint("its state is all that is left; start it again, or ask for another");
    }
    let names = found.running.iter().flat_map(|it| it.names.iter().chain([&it.id]));
    let near = near::nearest(word, names.map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    let looked: BTreeSet<String> = found.looked.iter().map(|path| path.display().to_string()).collect();
    let looked = match looked.is_empty() {
        true => "no runtime has state on this machine".to_owned(),
        false => format!("looked in {}", looked.into_iter().collect::<Vec<_>>().join(", ")),
    };
    let closed: Vec<String> = found.closed.iter().map(|path| path.display().to_string()).collect();
    let closed = match closed.is_empty() {
        true => String::new(),
        false => format!("; could not read all of {}", closed.join(", ")),
    };
    Error::new(ErrorKind::NotFound, op, format!("no container is called {word:?}"))
        .hint(format!("{near}{looked}{closed}"))
}
