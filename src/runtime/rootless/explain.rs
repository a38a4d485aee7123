//! Why user namespaces cannot be made here, in words and with what mends it.

use crate::error::{Error, ErrorKind};
use crate::sys::{Errno, SysError};

fn setting(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What forbids user namespaces on this machine, and what mends it. Read from the settings, whoever asks.
#[must_use]
pub fn forbidden() -> Option<(&'static str, &'static str)> {
    if setting("/proc/sys/user/max_user_namespaces") == Some(0) {
        return Some((
            "user namespaces are forbidden: user.max_user_namespaces is 0",
            "run as root: sysctl -w user.max_user_namespaces=15000 (and in /etc/sysctl.d to keep it)",
        ));
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return Some((
            "user namespaces are forbidden to ordinary users: kernel.unprivileged_userns_clone is 0",
            "run as root: sysctl -w kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d to keep it)",
        ));
    }
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return Some((
            "AppArmor takes the power from user namespaces of ordinary users: kernel.apparmor_restrict_unprivileged_userns is 1",
            "give cshell a profile with `userns,` in /etc/apparmor.d, or run as root: \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ));
    }
    None
}

/// The error for a user namespace that the kernel refused: a setting that forbids it, or what the errno means there.
#[must_use]
pub fn no_user_ns(op: &'static str, source: SysError) -> Error {
    let errno = source.errno();
    let refused = matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS);
    if let Some((what, fix)) = forbidden().filter(|_| refused) {
        return Error::sys(op, what, source).kind_is(ErrorKind::PermissionDenied).hint(fix);
    }
    let error = Error::sys(op, "cannot make a user namespace", source);
    match errno {
        Errno::ENOSPC | Errno::EUSERS => error.kind_is(ErrorKind::LimitReached).hint(
            "there are as many as user.max_user_namespaces allows, here or in a namespace around, or 32 inside each other",
        ),
        Errno::EPERM => error.hint(
            "the kernel, a seccomp filter or a chroot forbids user namespaces: run outside of it, or as root",
        ),
        Errno::EINVAL | Errno::ENOSYS => {
            error.kind_is(ErrorKind::Unsupported).hint("this kernel is built without user namespaces (CONFIG_USER_NS)")
        }
        _ => error,
    }
}
