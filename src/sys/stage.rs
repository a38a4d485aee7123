//! The last stage of a confined start: a program of some 200 bytes that installs the filter of system calls and runs the
//! command.
//!
//! Nobody may read that file, and the step before gives up the power to read it all the same: so the kernel lets nobody trace
//! the process, or look into its descriptors, before the command runs (execve(2), ptrace(2)). Else others in its namespaces
//! could let it go early, or have it do things without the filter.
//!
//! It runs from a sealed memory file, so that `/proc/self/exe` never leads to the program that made the container: a
//! command that is `#!/proc/self/exe`, or that overwrites it, reaches these bytes alone, which nobody can change
//! (CVE-2019-5736). It is also the moment at which the parent looks at the process, with everything in force but the filter:
//!
//! 1. says `[READY, 0]` on descriptor 3 and waits for a byte on descriptor 4; ends quietly when there is none;
//! 2. makes both, and descriptor 5, close at exec;
//! 3. installs the filter, if there is one; says `[FILTER, errno]` when the kernel refuses it, and `[LISTENER, fd]` when it
//!    is one that asks a supervisor;
//! 4. runs the program on descriptor 5, if it was made for one, or the first that exists of those that stand before an empty
//!    argument, with the arguments behind it; says `[EXEC, errno]` when none runs.
#![expect(unsafe_code, reason = "a few instructions of machine code, and the two symbols around them")]

use super::{Result, holder};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

/// It waits for the parent.
pub const READY: i32 = -2;
/// The kernel refused the filter.
pub const FILTER: i32 = -3;
/// No program could be run.
pub const EXEC: i32 = -4;
/// The filter asks whoever listens on the descriptor of this number.
pub const LISTENER: i32 = -5;
/// A child tells its birth, where a [broker](super::clone) made it.
pub(super) const BORN: i32 = -6;
/// A broker could not make a child.
pub(super) const UNBORN: i32 = -7;
/// The descriptor that it reports on.
pub(super) const REPORT: usize = 3;
/// The descriptor that it waits on.
pub(super) const GO: usize = 4;
/// The descriptor of the program that it runs, where that is not found by its name.
pub(super) const PROGRAM: usize = 5;

// Behind the last instruction: the flags of seccomp(2), the number of instructions, the descriptor of the program or 0, the
// instructions.
std::arch::global_asm!(
    ".pushsection .rodata.cshell_stage, \"a\"",
    ".globl cshell_stage_start",
    ".globl cshell_stage_end",
    "cshell_stage_start:",
    "mov r12, [rsp]",              // argc
    "lea r13, [rsp + 8]",          // the programs
    "lea r14, [rsp + r12*8 + 16]", // the environment
    "mov r15, r13",
    "2: mov rax, [r15]",
    "add r15, 8", // the arguments, behind the empty one
    "cmp byte ptr [rax], 0",
    "jne 2b",
    "sub rsp, 16",
    "mov esi, -2", // READY
    "xor edx, edx",
    "call 8f",
    "mov edi, 4",
    "mov rsi, rsp",
    "mov edx, 1",
    "xor eax, eax", // read
    "syscall",
    "cmp rax, 1",
    "jne 9f",
    "mov edi, 3",
    "mov esi, 2",  // F_SETFD
    "mov edx, 1",  // FD_CLOEXEC
    "mov eax, 72", // fcntl
    "syscall",
    "mov edi, 4",
    "mov esi, 2",
    "mov edx, 1",
    "mov eax, 72",
    "syscall",
    "mov rdi, [rip + cshell_stage_end + 16]",
    "test rdi, rdi",
    "jz 21f",
    "mov esi, 2",
    "mov edx, 1",
    "mov eax, 72",
    "syscall",
    "21: mov rax, [rip + cshell_stage_end + 8]",
    "test rax, rax",
    "jz 3f",
    "mov [rsp], rax", // struct sock_fprog
    "lea rax, [rip + cshell_stage_end + 24]",
    "mov [rsp + 8], rax",
    "mov edi, 1", // SECCOMP_SET_MODE_FILTER
    "mov rsi, [rip + cshell_stage_end]",
    "mov rdx, rsp",
    "mov eax, 317", // seccomp
    "syscall",
    "test rax, rax",
    "jz 3f",
    "mov rdx, rax",
    "mov esi, -5", // LISTENER
    "jg 7f",
    "neg edx",
    "mov esi, -3", // FILTER
    "call 8f",
    "jmp 9f",
    "7: call 8f",
    "3: mov rdi, [rip + cshell_stage_end + 16]",
    "test rdi, rdi",
    "jz 22f",
    "mov rsi, [r15 - 8]", // the empty argument
    "mov rdx, r15",
    "mov r10, r14",
    "mov r8d, 0x1000", // AT_EMPTY_PATH
    "mov eax, 322",    // execveat
    "syscall",
    "mov ebx, eax",
    "neg ebx",
    "jmp 6f",
    "22: mov ebx, 2", // ENOENT, unless one is worse
    "4: mov rdi, [r13]",
    "add r13, 8",
    "cmp byte ptr [rdi], 0",
    "je 6f",
    "mov rsi, r15",
    "mov rdx, r14",
    "mov eax, 59", // execve
    "syscall",
    "neg eax",
    "cmp eax, 2", // ENOENT
    "je 4b",
    "cmp eax, 20", // ENOTDIR
    "je 4b",
    "mov ebx, eax",
    "cmp eax, 13", // EACCES: another may run
    "je 4b",
    "6: mov edx, ebx",
    "mov esi, -4", // EXEC
    "call 8f",
    "jmp 9f",
    // Writes [esi, edx] to descriptor 3.
    "8: push rdx",
    "shl rdx, 32",
    "mov eax, esi",
    "or rdx, rax",
    "mov [rsp], rdx",
    "mov edi, 3",
    "mov rsi, rsp",
    "mov edx, 8",
    "mov eax, 1", // write
    "syscall",
    "pop rdx",
    "ret",
    "9: mov edi, 127",
    "mov eax, 231", // exit_group
    "syscall",
    "cshell_stage_end:",
    ".popsection",
);

unsafe extern "C" {
    static cshell_stage_start: u8;
    static cshell_stage_end: u8;
}

/// Makes the sealed memory file of the stage that installs this filter, and runs a program by its descriptor if `by_fd`.
///
/// # Errors
/// The failed `memfd_create`, `write` or `fcntl`.
pub fn make(filter: Option<(&[u64], u64)>, by_fd: bool) -> Result<OwnedFd> {
    let (start, end) = (&raw const cshell_stage_start, &raw const cshell_stage_end);
    let mut code = super::payload::between(start, end);
    let (program, flags) = filter.unwrap_or((&[], 0));
    code.extend(flags.to_le_bytes());
    code.extend((program.len() as u64).to_le_bytes());
    code.extend((if by_fd { PROGRAM as u64 } else { 0 }).to_le_bytes());
    program.iter().for_each(|insn| code.extend(insn.to_le_bytes()));
    let file = holder::sealed("cshell-stage", &holder::image(&code))?;
    super::call(
        "fchmod",
        || format!("{}, 0o111", file.as_raw_fd()),
        || rustix::fs::fchmod(&file, rustix::fs::Mode::from_bits_retain(0o111)),
    )?;
    Ok(file)
}

/// The arguments of the stage: the programs to try, an empty one, the arguments of the command.
#[must_use]
pub fn arguments(programs: Vec<CString>, argv: Vec<CString>) -> Vec<CString> {
    programs.into_iter().chain([CString::default()]).chain(argv).collect()
}
