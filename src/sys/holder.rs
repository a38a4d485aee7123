//! The program that keeps a set of namespaces alive: some 200 bytes, in a sealed memory file.
//!
//! It does nothing but wait for its death. As PID 1 of a pid namespace it has to reap orphans: it is started with
//! SIGCHLD ignored, and then the kernel does that (wait(2), NOTES). It must not be this program: while it runs,
//! `/proc/1/exe` inside leads to its file, and sharing our memory, or our binary, with a contained root would hand
//! both over (CVE-2019-5736). So it is a file of its own: nothing in it can be changed, and nothing in it matters.
#![expect(unsafe_code, reason = "a few instructions of machine code, and the two symbols around them")]

use super::{Errno, Result, call, flag_names};
use std::os::fd::{AsRawFd, OwnedFd};

/// The name that `ps` shows.
pub const NAME: &str = "cshell-ns";

std::arch::global_asm!(
    ".pushsection .rodata.cshell_holder, \"a\"",
    ".globl cshell_holder_start",
    ".globl cshell_holder_end",
    "cshell_holder_start:",
    "mov edi, 15", // PR_SET_NAME
    "lea rsi, [rip + 4f]",
    "mov eax, 157", // prctl
    "syscall",
    "3:",
    "mov eax, 34", // pause
    "syscall",
    "jmp 3b",
    "4:",
    ".asciz \"cshell-ns\"",
    "cshell_holder_end:",
    ".popsection",
);

unsafe extern "C" {
    static cshell_holder_start: u8;
    static cshell_holder_end: u8;
}

fn code() -> &'static [u8] {
    let start = &raw const cshell_holder_start;
    let end = &raw const cshell_holder_end;
    let len = end.addr().saturating_sub(start.addr());
    // SAFETY: the two symbols bound one run of bytes in a read-only section.
    unsafe { std::slice::from_raw_parts(start, len) }
}

const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;
/// The address of the first instruction of an [`image`].
pub(super) const ENTRY: u64 = BASE + HEADERS;

/// The file of a program: an ELF header, one loadable segment that is the whole file, the code (elf(5)).
pub(super) fn image(code: &[u8]) -> Vec<u8> {
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::with_capacity(256);
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Executable, x86-64, version 1.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [ENTRY, 64, 0] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend([0, 0, 0, 0]);
    // Sizes: this header 64, a program header 56, one of them, no sections.
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 4096] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend(code);
    file
}

/// Makes the sealed memory file that holds the program.
///
/// # Errors
/// The failed `memfd_create`, `write` or `fcntl`.
pub fn make() -> Result<OwnedFd> {
    sealed(NAME, &image(code()))
}

/// Makes a memory file with this content that nobody can change.
pub(super) fn sealed(name: &str, content: &[u8]) -> Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags: MemfdFlags| {
        call(
            "memfd_create",
            || format!("{name:?}, {}", flag_names("MFD_", flags.iter_names())),
            || rustix::fs::memfd_create(name, flags),
        )
    };
    // It is a program, which has to be said where vm.memfd_noexec is 1. Before Linux 6.3 there is no such flag.
    let fd = match create(flags | MemfdFlags::EXEC) {
        Err(error) if error.errno() == Errno::EINVAL => create(flags),
        other => other,
    }?;
    super::file::write_once(&fd, content)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    call(
        "fcntl",
        || format!("{}, F_ADD_SEALS, {}", fd.as_raw_fd(), flag_names("F_SEAL_", seals.iter_names())),
        || rustix::fs::fcntl_add_seals(&fd, seals),
    )?;
    Ok(fd)
}
