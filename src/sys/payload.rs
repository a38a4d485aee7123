//! Programs that use up what a limit is about: a few instructions each, in a sealed memory file, so that a probe needs
//! nothing that is installed and uses next to nothing itself.
#![expect(unsafe_code, reason = "a few instructions of machine code, and the symbols around them")]

use super::{Result, holder};
use std::os::fd::OwnedFd;
use std::path::Path;

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Uses the processor until it is killed.
    Burn,
    /// Touches this many bytes of memory. Ends with 0; 1 when it gets no addresses.
    Allocate(u64),
    /// Starts processes that wait, up to this many. Ends with 0 when the last one alone was refused with `EAGAIN`; 1 when
    /// none was refused, 2 for another refusal, 3 when it came too early.
    Fork(u64),
    /// Reads a device past the page cache. Ends with 0; 1 when it cannot be opened, 2 when it cannot be read.
    Read {
        /// The device.
        path: &'a Path,
        /// How many bytes at once.
        chunk: u64,
        /// How often.
        count: u64,
    },
}

// Numbers that a program needs follow its last instruction.
std::arch::global_asm!(
    ".pushsection .rodata.cshell_payload, \"a\"",
    ".globl cshell_burn_start",
    ".globl cshell_burn_end",
    "cshell_burn_start:",
    "2: jmp 2b",
    "cshell_burn_end:",
    ".globl cshell_allocate_start",
    ".globl cshell_allocate_end",
    "cshell_allocate_start:",
    "mov rsi, [rip + cshell_allocate_end]",
    "xor edi, edi",
    "mov edx, 3",     // PROT_READ | PROT_WRITE
    "mov r10d, 0x22", // MAP_PRIVATE | MAP_ANONYMOUS
    "mov r8, -1",
    "xor r9d, r9d",
    "mov eax, 9", // mmap
    "syscall",
    "mov edi, 1",
    "test rax, rax",
    "js 4f",
    "mov rcx, rsi",
    "add rcx, rax",
    "3: mov byte ptr [rax], 1",
    "add rax, 4096",
    "cmp rax, rcx",
    "jb 3b",
    "xor edi, edi",
    "4: mov eax, 231", // exit_group
    "syscall",
    "cshell_allocate_end:",
    ".globl cshell_fork_start",
    ".globl cshell_fork_end",
    "cshell_fork_start:",
    "mov r12, [rip + cshell_fork_end]",
    "xor r13d, r13d",
    "2: mov eax, 57", // fork
    "syscall",
    "test rax, rax",
    "jz 5f",
    "js 3f",
    "inc r13",
    "cmp r13, r12",
    "jb 2b",
    "mov edi, 1",
    "jmp 4f",
    "3: mov edi, 2",
    "cmp rax, -11", // EAGAIN
    "jne 4f",
    "mov edi, 3",
    "inc r13",
    "cmp r13, r12",
    "jne 4f",
    "xor edi, edi",
    "4: mov eax, 231",
    "syscall",
    "5: mov eax, 34", // pause
    "syscall",
    "jmp 5b",
    "cshell_fork_end:",
    ".globl cshell_read_start",
    ".globl cshell_read_end",
    "cshell_read_start:",
    "lea rdi, [rip + cshell_read_end + 16]",
    "mov esi, 0x4000", // O_RDONLY | O_DIRECT
    "xor edx, edx",
    "mov eax, 2", // open
    "syscall",
    "mov edi, 1",
    "test rax, rax",
    "js 4f",
    "mov r12, rax",
    "mov rsi, [rip + cshell_read_end]",
    "xor edi, edi",
    "mov edx, 3",
    "mov r10d, 0x22",
    "mov r8, -1",
    "xor r9d, r9d",
    "mov eax, 9",
    "syscall",
    "mov r15, rax",
    "mov r13, [rip + cshell_read_end + 8]",
    "xor r14d, r14d",
    "3: mov rdi, r12",
    "mov rsi, r15",
    "mov rdx, [rip + cshell_read_end]",
    "mov r10, r14",
    "mov eax, 17", // pread64
    "syscall",
    "mov edi, 2",
    "cmp rax, rdx",
    "jne 4f",
    "add r14, rdx",
    "dec r13",
    "jnz 3b",
    "xor edi, edi",
    "4: mov eax, 231",
    "syscall",
    "cshell_read_end:",
    ".popsection",
);

unsafe extern "C" {
    static cshell_burn_start: u8;
    static cshell_burn_end: u8;
    static cshell_allocate_start: u8;
    static cshell_allocate_end: u8;
    static cshell_fork_start: u8;
    static cshell_fork_end: u8;
    static cshell_read_start: u8;
    static cshell_read_end: u8;
}

pub(super) fn between(start: *const u8, end: *const u8) -> Vec<u8> {
    let len = end.addr().saturating_sub(start.addr());
    // SAFETY: the two symbols bound one run of bytes in a read-only section.
    unsafe { std::slice::from_raw_parts(start, len) }.to_vec()
}

impl Payload<'_> {
    fn code(self) -> Vec<u8> {
        let with = |mut code: Vec<u8>, numbers: &[u64]| {
            numbers.iter().for_each(|number| code.extend(number.to_le_bytes()));
            code
        };
        match self {
            Self::Burn => between(&raw const cshell_burn_start, &raw const cshell_burn_end),
            Self::Allocate(bytes) => {
                with(between(&raw const cshell_allocate_start, &raw const cshell_allocate_end), &[bytes])
            }
            Self::Fork(count) => {
                with(between(&raw const cshell_fork_start, &raw const cshell_fork_end), &[count])
            }
            Self::Read { path, chunk, count } => {
                let code = between(&raw const cshell_read_start, &raw const cshell_read_end);
                let mut code = with(code, &[chunk, count]);
                code.extend(path.as_os_str().as_encoded_bytes());
                code.push(0);
                code
            }
        }
    }

    /// Makes the sealed memory file that holds the program.
    ///
    /// # Errors
    /// The failed `memfd_create`, `write` or `fcntl`.
    pub fn make(self) -> Result<OwnedFd> {
        holder::sealed("cshell-probe", &holder::image(&self.code()))
    }
}
