//! What was entered, and what it made.

use crate::runtime::session::HandleId;

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// What the user wrote: the text, or the command that ran a file.
    pub(super) title: String,
    /// Its text.
    pub(super) text: String,
    /// Whether it ran to its end.
    pub(super) ok: bool,
    /// Whether it ended with a value, which became `it`.
    pub(super) valued: bool,
    /// Whether what it made was taken back.
    pub(super) undone: bool,
    /// The objects that it made.
    pub(super) made: Vec<HandleId>,
}

/// All entries, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
}

impl Log {
    /// Adds an entry.
    pub(super) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// The entries.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The newest entry with an object for which `is_open`: its objects are taken out, and it counts as never run when
    /// all it did was to make them.
    pub(super) fn take_newest(
        &mut self,
        is_open: impl Fn(HandleId) -> bool,
    ) -> Option<(String, Vec<HandleId>)> {
        let entry = self.entries.iter_mut().rev().find(|entry| entry.made.iter().any(|id| is_open(*id)))?;
        let made = std::mem::take(&mut entry.made);
        (entry.ok, entry.undone) = (false, true);
        Some((entry.title.clone(), made.into_iter().filter(|id| is_open(*id)).collect()))
    }
}
