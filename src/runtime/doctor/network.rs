//! What networks need: packet filters, and programs that help without root.

use crate::runtime::doctor::{Found, State, is_root};
use crate::runtime::programs;
use crate::sys::feature;

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

pub(super) fn helper(program: &str, package: &str) -> Found {
    match programs::find(program) {
        Some(path) => Found::ok(path.display().to_string()),
        None => Found::lacks(State::Warn, "not in PATH", format!("apt install {package}")),
    }
}
