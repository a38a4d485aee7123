//! The kernel and the calls that are not in every one: each is made, and what it answers says whether it is there.

use crate::runtime::doctor::attempt::attempt;
use crate::runtime::doctor::{Found, State, cause, read};
use crate::runtime::ns::Kinds;
use crate::sys::{self, Errno, file, mount};
use rustix::fs::{CWD, Mode, OFlags};
use std::path::Path;

pub(super) fn release() -> Found {
    let Ok(uname) = nix::sys::utsname::uname() else {
        return Found::lacks(State::Warn, "uname does not answer", "a security filter takes it away");
    };
    let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
    Found::ok(format!("{} {} on {}", text(uname.sysname()), text(uname.release()), text(uname.machine())))
}

fn newer(version: &str, state: State, error: impl Into<String>) -> Found {
    let fix = format!("it needs Linux {version}; in a container, a seccomp filter that allows the call");
    Found::lacks(state, error, fix)
}

pub(super) fn clone3() -> Found {
    match attempt(Kinds::NONE, Vec::new()) {
        Ok(()) => Found::ok("a process was started and collected"),
        Err(error) => newer("5.3", State::Missing, cause(&error)),
    }
}

pub(super) fn openat2() -> Found {
    let open = || {
        let root = file::openat(CWD, Path::new("/"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        file::open_in_root(&root, Path::new("proc"), OFlags::PATH, Mode::empty())
    };
    match open() {
        Ok(_) => Found::ok("a path was opened inside a root"),
        Err(error) => newer("5.6", State::Missing, error.to_string()),
    }
}

/// Whether a call is there: without privilege it says so, and that it is not there before that.
fn exists(result: &sys::Result<()>) -> bool {
    !matches!(result, Err(error) if error.errno() == Errno::ENOSYS)
}

fn call_found(result: &sys::Result<()>, version: &str, state: State, did: &str) -> Found {
    match result {
        Ok(()) => Found::ok(did),
        Err(error) if exists(result) => {
            Found::ok(format!("the kernel has it, and says {:?} to this user", error.errno()))
        }
        Err(error) => newer(version, state, error.to_string()),
    }
}

pub(super) fn mount_api() -> Found {
    let made = mount::FsContext::open("tmpfs")
        .and_then(|context| context.mount(rustix::mount::MountAttrFlags::empty()));
    let copied = mount::clone_tree(CWD, Path::new("/proc"), false);
    let result = made.map(drop).and_then(|()| copied.map(drop));
    call_found(&result, "5.2", State::Missing, "a mount was made and one was copied, neither attached")
}

pub(super) fn mount_setattr() -> Found {
    let changed = mount::clone_tree(CWD, Path::new("/proc"), false).and_then(|tree| {
        mount::set_attributes(&tree, rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), 0, false)
    });
    call_found(&changed, "5.12", State::Warn, "a mount was made read-only")
}

pub(super) fn single_layers() -> Found {
    if mount::takes_single_layers() {
        return Found::ok("overlayfs takes layers one by one");
    }
    Found::lacks(
        State::Warn,
        "all lower layers of an overlay have to fit into one option text",
        "it needs Linux 6.7",
    )
}

pub(super) fn mount_ids() -> Found {
    // Unique ids start above all that a short one can be.
    match file::identify(CWD, Path::new("/")) {
        Ok(found) if found.mount_id > u64::from(u32::MAX) / 2 => {
            Found::ok(format!("the id of / is {}", found.mount_id))
        }
        Ok(found) => Found::lacks(
            State::Warn,
            format!("the id of / is {}, which may be used again", found.mount_id),
            "it needs Linux 6.8",
        ),
        Err(error) => newer("6.8", State::Warn, error.to_string()),
    }
}

/// The limits that many containers meet first, and what is little.
const LIMITS: [(&str, u64); 6] = [
    ("kernel.pid_max", 32768),
    ("kernel.threads-max", 8192),
    ("fs.nr_open", 20_000),
    ("fs.mount-max", 10_000),
    ("user.max_mnt_namespaces", 256),
    ("user.max_net_namespaces", 256),
];

pub(super) fn limits() -> Found {
    let value = |name: &str| read(&format!("/proc/sys/{}", name.replace('.', "/")))?.parse::<u64>().ok();
    let held: Vec<(&str, u64, u64)> =
        LIMITS.iter().filter_map(|(name, least)| Some((*name, value(name)?, *least))).collect();
    let text: Vec<String> = held.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
    let low: Vec<String> = held
        .iter()
        .filter(|(_, value, least)| value < least)
        .map(|(name, _, least)| format!("{name}={least}"))
        .collect();
    match low.is_empty() {
        true => Found::ok(text.join(" ")),
        false => Found::lacks(State::Warn, text.join(" "), format!("sysctl -w {}", low.join(" "))),
    }
}
