//! Groups as a tree, put together from all hierarchies by name.

use crate::error::Result;
use crate::runtime::cgroup::group::Cgroup;
use crate::runtime::cgroup::host::Ground;
use crate::runtime::cgroup::subtree;
use crate::runtime::session::Session;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A group and those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Node {
    /// Its name; `/` for the top.
    pub name: String,
    /// Its folders, one a hierarchy.
    pub paths: Vec<PathBuf>,
    /// The processes in it, in any hierarchy.
    pub procs: Vec<i32>,
    /// The groups below it, by name.
    pub children: Vec<Node>,
}

/// The groups below the one that those of the session are made in, which is the top.
///
/// # Errors
/// When `/proc/self` cannot be read; those of the [driver](super::driver).
pub fn tree(session: &Session) -> Result<Node> {
    let host = Ground::of(session, "cgroup::tree")?.host();
    let mut paths: Vec<PathBuf> = host.hierarchies.iter().map(|hierarchy| hierarchy.own.clone()).collect();
    paths.sort();
    Ok(node("/".into(), paths))
}

impl Cgroup {
    /// The groups below it.
    #[must_use]
    pub fn children(&self) -> Vec<Node> {
        node(String::new(), self.paths()).children
    }
}

fn node(name: String, paths: Vec<PathBuf>) -> Node {
    let mut procs: Vec<i32> = paths.iter().flat_map(|path| members(path)).collect();
    procs.sort_unstable();
    procs.dedup();
    let mut below: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for child in paths.iter().flat_map(|path| subtree::children(path)) {
        let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
        below.entry(name).or_default().push(child);
    }
    let children = below.into_iter().map(|(name, paths)| node(name, paths)).collect();
    Node { name, paths, procs, children }
}

fn members(path: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
