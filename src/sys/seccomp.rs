//! What a filter of system calls returns, and how it is installed (seccomp(2), linux/seccomp.h).

/// The call is made.
pub const RET_ALLOW: u32 = 0x7fff_0000;
/// The call is made and logged.
pub const RET_LOG: u32 = 0x7ffc_0000;
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

/// `SECCOMP_FILTER_FLAG_LOG`: what is not allowed is logged.
pub const FLAG_LOG: u64 = 2;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no mitigation against speculative store bypass.
pub const FLAG_SPEC_ALLOW: u64 = 4;

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
