//! A root file system in memory, written as the kernel reads it at start (initramfs, cpio in the `newc` format).

use std::collections::BTreeMap;

/// Types of file, and the mode of a folder and of a symbolic link (stat(2), inode(7)).
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_755;
const SYMLINK: u32 = 0o120_777;
const CONSOLE: u32 = 0o020_600;

/// What there is, by path without the leading slash. A folder sorts before what is in it.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    mode: u32,
    device: (u32, u32),
    data: Vec<u8>,
}

impl Archive {
    /// An archive with `/dev/console`, which the first process writes to.
    pub(crate) fn new() -> Self {
        let mut archive = Self::default();
        archive.add("/dev/console", CONSOLE, (5, 1), Vec::new());
        archive
    }

    /// Adds a file with this mode.
    pub(crate) fn file(&mut self, path: &str, mode: u32, data: Vec<u8>) {
        self.add(path, FILE | mode, (0, 0), data);
    }

    /// Adds a folder; those on the way to a file are there by themselves.
    pub(crate) fn folder(&mut self, path: &str) {
        self.add(path, FOLDER, (0, 0), Vec::new());
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.add(path, SYMLINK, (0, 0), target.into());
    }

    /// Whether there is something at this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path.trim_start_matches('/'))
    }

    fn add(&mut self, path: &str, mode: u32, device: (u32, u32), data: Vec<u8>) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            let folder = Entry { mode: FOLDER, device: (0, 0), data: Vec::new() };
            self.entries.entry(path[..at].to_owned()).or_insert(folder);
        }
        self.entries.insert(path.to_owned(), Entry { mode, device, data });
    }

    /// The archive as bytes.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            record(&mut packed, number, path, entry);
        }
        record(&mut packed, 0, "TRAILER!!!", &Entry { mode: 0, device: (0, 0), data: Vec::new() });
        packed
    }
}

/// One record: a header of thirteen numbers in hexadecimal, the name, the data; the last two padded to four bytes.
fn record(packed: &mut Vec<u8>, number: usize, path: &str, entry: &Entry) {
    let (major, minor) = entry.device;
    let header = format!(
        "070701{number:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{major:08x}{minor:08x}{:08x}{:08x}{path}\0",
        entry.mode,
        0,
        0,
        1,
        0,
        entry.data.len(),
        0,
        0,
        path.len() + 1,
        0,
    );
    for part in [header.as_bytes(), &entry.data] {
        packed.extend_from_slice(part);
        packed.resize(packed.len().next_multiple_of(4), 0);
    }
}
