//! What the kernel has for taking rights away, and for virtual machines.

use crate::runtime::doctor::{Found, State, read};
use crate::sys::{Errno, feature, file};
use rustix::fs::{CWD, Mode, OFlags};
use std::path::Path;

pub(super) fn seccomp() -> Found {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.split(' ').any(|action| action == "errno") => Found::ok(actions),
        Some(actions) => Found::lacks(
            State::Warn,
            format!("filters cannot answer with an error: {actions}"),
            "it needs Linux 4.14",
        ),
        None => {
            Found::lacks(State::Warn, "the kernel has no filters", "the kernel needs CONFIG_SECCOMP_FILTER")
        }
    }
}

pub(super) fn landlock() -> Found {
    match feature::landlock_abi() {
        Ok(abi) => Found::ok(format!("version {abi} of its interface")),
        Err(error) => {
            let fix = match error.errno() {
                Errno::EOPNOTSUPP => "start the kernel with lsm=landlock,… (see /sys/kernel/security/lsm)",
                _ => "the kernel needs CONFIG_SECURITY_LANDLOCK (Linux 5.13)",
            };
            Found::lacks(State::Warn, error.to_string(), fix)
        }
    }
}

pub(super) fn modules() -> Found {
    match read("/sys/kernel/security/lsm") {
        Some(list) => Found::ok(list),
        None => {
            let text = "the list cannot be read";
            Found::lacks(State::Warn, text, "mount -t securityfs securityfs /sys/kernel/security")
        }
    }
}

pub(super) fn kvm() -> Found {
    const PATH: &str = "/dev/kvm";
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let asked = file::openat(CWD, Path::new(PATH), flags, Mode::empty()).and_then(feature::kvm_version);
    match asked {
        Ok(version) => Found::ok(format!("{PATH} answers, version {version}")),
        Err(error) => {
            let fix = match error.errno() {
                Errno::EACCES => "as root: usermod -aG kvm USER",
                _ => {
                    "modprobe kvm_intel or kvm_amd; a virtual machine needs nested virtualisation; without it, qemu emulates"
                }
            };
            Found::lacks(State::Warn, error.to_string(), fix)
        }
    }
}
