//! What networks need: packet filters, and programs that help without root.

use crate::runtime::doctor::{Found, State, is_root};
use crate::sys::feature;
use rustix::fs::{Access, access};
use std::path::PathBuf;

pub(super) fn nftables() -> Found {
    match feature::nftables() {
        Ok(()) => Found::ok("nf_tables answers"),
        Err(error) => {
            let fix = match is_root() {
                true => "modprobe nf_tables (CONFIG_NF_TABLES); in a container: CAP_NET_ADMIN",
                false => "run as root, or in a user namespace with a network of its own",
            };
            Found::lacks(State::Warn, error.to_string(), fix)
        }
    }
}

/// Where a program is in PATH.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| access(path, Access::EXEC_OK).is_ok())
}

pub(super) fn helper(program: &str, package: &str) -> Found {
    match in_path(program) {
        Some(path) => Found::ok(path.display().to_string()),
        None => Found::lacks(State::Warn, "not in PATH", format!("apt install {package}")),
    }
}
