//! What a filter of system calls returns, how it is installed, and how a supervisor answers what a filter leaves to it
//! (seccomp(2), seccomp_unotify(2), linux/seccomp.h).
#![expect(unsafe_code, reason = "two requests of ioctl(2) with their structures")]

use super::{Errno, Outcome, Result, call};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The call is made.
pub const RET_ALLOW: u32 = 0x7fff_0000;
/// The call is made and logged.
pub const RET_LOG: u32 = 0x7ffc_0000;
/// A supervisor decides.
pub const RET_USER_NOTIF: u32 = 0x7fc0_0000;
/// A tracer decides.
pub const RET_TRACE: u32 = 0x7ff0_0000;
/// The call returns the errno in the low 16 bits.
pub const RET_ERRNO: u32 = 0x0005_0000;
/// SIGSYS is sent.
pub const RET_TRAP: u32 = 0x0003_0000;
/// The thread is killed.
pub const RET_KILL_THREAD: u32 = 0;
/// The process is killed.
pub const RET_KILL_PROCESS: u32 = 0x8000_0000;

/// How much an answer takes away, to be compared: the kernel takes the least of signed numbers for the most restrictive
/// (`seccomp_run_filters`).
#[must_use]
pub const fn restriction(answer: u32) -> i32 {
    !(answer & 0xffff_0000).cast_signed()
}

/// `SECCOMP_FILTER_FLAG_LOG`: what is not allowed is logged.
pub const FLAG_LOG: u64 = 2;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no mitigation against speculative store bypass.
pub const FLAG_SPEC_ALLOW: u64 = 4;

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: a supervisor listens on the descriptor that is returned.
pub const FLAG_NEW_LISTENER: u64 = 8;

/// `BPF_MAXINSNS`: how long a filter may be.
pub const MOST_INSTRUCTIONS: usize = 4096;

/// `SECCOMP_SET_MODE_FILTER`, the operation of seccomp(2).
pub(super) const SET_MODE_FILTER: usize = 1;

/// `struct sock_fprog`: how many instructions, and where they are.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Program {
    /// How many.
    pub(super) len: u16,
    /// The first.
    pub(super) first: *const u64,
}

/// `struct seccomp_notif`: a call that waits for an answer.
#[repr(C)]
#[derive(Default)]
struct Notice {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    arch: u32,
    instruction: u64,
    args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`: the call is made.
const CONTINUE: u32 = 1;

/// A call that a filter asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// The kind of program (`AUDIT_ARCH_…`).
    pub arch: u32,
    /// The number of the call.
    pub number: i32,
}

impl Outcome for Asked {
    fn show(&self) -> String {
        format!("{{nr={}, arch={:#x}}}", self.number, self.arch)
    }
}

/// Takes a descriptor of another process (`pidfd_getfd`).
///
/// # Errors
/// The failed `pidfd_getfd`; `EPERM` without the right to trace it.
pub fn take(pidfd: impl AsFd, number: i32) -> Result<OwnedFd> {
    let pidfd = pidfd.as_fd();
    call(
        "pidfd_getfd",
        || format!("{}, {number}, 0", pidfd.as_raw_fd()),
        || {
            let flags = rustix::process::PidfdGetfdFlags::empty();
            rustix::process::pidfd_getfd(pidfd, number, flags)
        },
    )
}

/// Waits for a call that the filter asks about, and has it made. `ENOENT` when the process that made it is gone.
///
/// # Errors
/// The failed `ioctl`.
pub fn pass(listener: &OwnedFd) -> Result<Asked> {
    let fd = listener.as_raw_fd();
    let mut notice = Notice::default();
    call(
        "ioctl",
        || format!("{fd}, SECCOMP_IOCTL_NOTIF_RECV"),
        || {
            // SAFETY: the structure, all zeroes as the kernel wants it, lives across the call, which fills it in.
            let result = unsafe { libc::ioctl(fd, RECEIVE, &raw mut notice) };
            Errno::result(result).map(drop)
        },
    )?;
    let answer = Answer { id: notice.id, value: 0, error: 0, flags: CONTINUE };
    call(
        "ioctl",
        || format!("{fd}, SECCOMP_IOCTL_NOTIF_SEND, {{CONTINUE}}"),
        || {
            // SAFETY: the structure lives across the call.
            let result = unsafe { libc::ioctl(fd, SEND, &raw const answer) };
            Errno::result(result).map(|_| Asked { arch: notice.arch, number: notice.number })
        },
    )
}
