//! The ledger: the file that says what a session has made, so that another program can take it back.
//!
//! One JSON line an event, written with one `write`, on a memory file system and without fsync: it has to
//! survive the program, not the machine. A line of intent goes before the system call and a line of identity after it;
//! what would leave nothing to take back is not written.

use crate::error::{Result, SysContext};
use crate::runtime::object::Object;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

const OP: &str = "session";

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    /// A step is about to act.
    Intent { n: u64, op: String, text: String, at: Option<String>, object: Object },
    /// The step has acted, or part of it: the object as it is now.
    Made { n: u64, object: Object },
    /// The step has been taken back.
    Undone { n: u64 },
    /// The object was handed over and outlives the session.
    Kept { n: u64 },
}

/// A step as read back from a ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number of the step in its session, from 1.
    pub n: u64,
    /// The operation, such as `fs::overlay`.
    pub op: String,
    /// What it was for.
    pub text: String,
    /// The script line that asked for it.
    pub at: Option<String>,
    /// What it made or was about to make.
    pub object: Object,
    /// Whether it was handed over.
    pub kept: bool,
}

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    /// The intents of steps that would leave nothing: written once they say that they made something.
    unwritten: BTreeMap<u64, Line>,
}

impl Ledger {
    /// Creates the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::options()
            .create_new(true)
            .append(true)
            .open(path)
            .context(OP, format!("cannot create the ledger {}", path.display()))?;
        Ok(Self { file, unwritten: BTreeMap::new() })
    }

    /// Opens the file at `path` to write further lines.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reopen(path: &Path) -> Result<Self> {
        let file = File::options()
            .append(true)
            .open(path)
            .context(OP, format!("cannot open the ledger {}", path.display()))?;
        Ok(Self { file, unwritten: BTreeMap::new() })
    }

    /// Writes that step `n` is about to act.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn intent(&mut self, n: u64, op: &str, text: &str, at: Option<&str>, object: &Object) -> Result<()> {
        let line = Line::Intent {
            n,
            op: op.into(),
            text: text.into(),
            at: at.map(Into::into),
            object: object.clone(),
        };
        if *object == Object::Nothing {
            self.unwritten.insert(n, line);
            return Ok(());
        }
        self.write(&line)
    }

    /// Writes what step `n` has made so far.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn made(&mut self, n: u64, object: &Object) -> Result<()> {
        if let Some(intent) = self.unwritten.remove(&n) {
            self.write(&intent)?;
        }
        self.write(&Line::Made { n, object: object.clone() })
    }

    /// Writes that step `n` was taken back.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn undone(&mut self, n: u64) -> Result<()> {
        if self.unwritten.remove(&n).is_some() {
            return Ok(());
        }
        self.write(&Line::Undone { n })
    }

    /// Writes that the object of step `n` was handed over.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn kept(&mut self, n: u64) -> Result<()> {
        if self.unwritten.remove(&n).is_some() {
            return Ok(());
        }
        self.write(&Line::Kept { n })
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)
            .map_err(|source| std::io::Error::new(std::io::ErrorKind::InvalidData, source))
            .context(OP, "cannot encode a ledger line")?;
        text.push(b'\n');
        self.file.write_all(&text).context(OP, "cannot write the ledger")
    }

    /// Reads the steps that are still open, oldest first. A torn last line is a step that never acted.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(path: &Path) -> Result<Vec<Entry>> {
        let text = std::fs::read(path).context(OP, format!("cannot read the ledger {}", path.display()))?;
        Ok(Self::parse(&text))
    }

    /// The steps that are still open in the text of a ledger, oldest first.
    #[must_use]
    pub fn parse(text: &[u8]) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
            match line {
                Line::Intent { n, op, text, at, object } => {
                    entries.push(Entry { n, op, text, at, object, kept: false });
                }
                Line::Made { n, object } => {
                    if let Some(entry) = entries.iter_mut().find(|entry| entry.n == n) {
                        entry.object = object;
                    }
                }
                Line::Undone { n } => entries.retain(|entry| entry.n != n),
                Line::Kept { n } => {
                    if let Some(entry) = entries.iter_mut().find(|entry| entry.n == n) {
                        entry.kept = true;
                    }
                }
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_leaves_nothing_is_written_once_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = Ledger::create(&path).unwrap();
        for n in 1..=3 {
            ledger.intent(n, "cgroup::limit", "limit", None, &Object::Nothing).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let process = Object::Process { pid: Some(7), start_time: Some(9) };
        ledger.made(2, &process).unwrap();
        ledger.undone(3).unwrap();
        let entries = Ledger::load(&path).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].n, &entries[0].object), (2, &process));
    }

    #[test]
    fn a_torn_line_and_an_undone_step_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = Ledger::create(&path).unwrap();
        let object = Object::Process { pid: None, start_time: None };
        ledger.intent(1, "proc::exec", "run true", Some("a.rhai:1"), &object).unwrap();
        ledger.intent(2, "proc::exec", "run false", None, &object).unwrap();
        ledger.made(1, &Object::Process { pid: Some(7), start_time: Some(9) }).unwrap();
        ledger.undone(2).unwrap();
        ledger.file.write_all(b"{\"event\":\"intent\",\"n\":3,\"op\":\"pr").unwrap();
        let entries = Ledger::load(&path).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].object, Object::Process { pid: Some(7), start_time: Some(9) });
        assert_eq!(entries[0].at.as_deref(), Some("a.rhai:1"));
    }
}
