//! System calls as a program: a list of calls, in a static ELF file that needs nothing of the root it runs in.
//!
//! The file is some 300 bytes of machine code, a table of [`Step`]s, and the memory that they use. The code maps that memory at
//! a fixed address, shared with the children it makes, goes through the table, and at the end writes its beginning to
//! descriptor 1: what each step returned, and the [areas](Area) that are told. No libc, no loader, no stack to speak
//! of: what a container lets a process do is what the kernel answered, and nothing else.
#![expect(unsafe_code, reason = "a few instructions of machine code, and the two symbols around them")]

use super::{Result, holder};
use std::os::fd::OwnedFd;

/// The name that `ps` shows.
pub const NAME: &str = "cshell-calls";

/// Where the memory lies: low enough for the pointers of 32-bit calls.
const MEMORY: u64 = 0x2000_0000;
/// One step in the table: what, number, six arguments, how they are read, where the result goes or the table goes on.
const STEP: u64 = 80;
/// One result: whether it was made, and what it returned.
const RESULT: u64 = 16;

// Behind the last instruction: the size of the memory, of what it is filled with, of the table, of what is written at the
// end; then the table; then the filling.
std::arch::global_asm!(
    ".pushsection .rodata.cshell_calls, \"a\"",
    ".globl cshell_calls_start",
    ".globl cshell_calls_end",
    "cshell_calls_start:",
    "sub rsp, 64",
    "mov r14, rsp", // the arguments of a step
    "mov edi, 0x20000000",
    "mov rsi, [rip + cshell_calls_end]",
    "mov edx, 3",     // PROT_READ | PROT_WRITE
    "mov r10d, 0x31", // MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS
    "mov r8, -1",
    "xor r9d, r9d",
    "mov eax, 9", // mmap
    "syscall",
    "mov edi, 126",
    "test rax, rax",
    "js 19f",
    "lea rsi, [rip + cshell_calls_end + 32]",
    "mov r15, rsi",
    "add rsi, [rip + cshell_calls_end + 16]",
    "mov rcx, [rip + cshell_calls_end + 8]",
    "mov edi, 0x20000000",
    "rep movsb",
    // The next step.
    "2: mov rax, [r15]",
    "cmp eax, 1",
    "je 3f",
    "cmp eax, 2",
    "je 3f",
    "cmp eax, 3",
    "je 12f",
    "cmp eax, 4",
    "je 17f",
    "cmp eax, 5",
    "je 3f",
    // The end: write what is told.
    "mov esi, 0x20000000",
    "mov r12, [rip + cshell_calls_end + 24]",
    "21: mov rdx, r12",
    "mov edi, 1",
    "mov eax, 1", // write
    "syscall",
    "cmp rax, -4", // EINTR
    "je 21b",
    "mov edi, 125",
    "test rax, rax",
    "js 19f",
    "add rsi, rax",
    "sub r12, rax",
    "jnz 21b",
    "xor edi, edi",
    "19: mov eax, 231", // exit_group
    "syscall",
    // A call: each argument is a number, or read from an address: 64 bits, or 32 with their sign.
    "3: mov r12, [r15 + 64]",
    "xor ecx, ecx",
    "4: mov rax, [r15 + rcx*8 + 16]",
    "bt r12, rcx",
    "jnc 5f",
    "mov rax, [rax]",
    "5: lea rdx, [rcx + 8]",
    "bt r12, rdx",
    "jnc 6f",
    "movsxd rax, dword ptr [rax]",
    "6: mov [r14 + rcx*8], rax",
    "inc ecx",
    "cmp ecx, 6",
    "jb 4b",
    "cmp dword ptr [r15], 2",
    "je 8f",
    "mov rdi, [r14]",
    "mov rsi, [r14 + 8]",
    "mov rdx, [r14 + 16]",
    "mov r10, [r14 + 24]",
    "mov r8, [r14 + 32]",
    "mov r9, [r14 + 40]",
    "mov rax, [r15 + 8]",
    "syscall",
    "cmp dword ptr [r15], 5",
    "jne 7f",
    "test rax, rax",
    "jnz 7f",
    "mov r15, [r15 + 56]", // the child
    "jmp 2b",
    "7: mov rcx, [r15 + 72]",
    "mov qword ptr [rcx], 1",
    "mov [rcx + 8], rax",
    "add r15, 80",
    "jmp 2b",
    // A call of a 32-bit program.
    "8: mov ebx, [r14]",
    "mov ecx, [r14 + 8]",
    "mov edx, [r14 + 16]",
    "mov esi, [r14 + 24]",
    "mov edi, [r14 + 32]",
    "mov ebp, [r14 + 40]",
    "mov eax, [r15 + 8]",
    "int 0x80",
    "movsxd rax, eax",
    "jmp 7b",
    // A jump: if the value at an address is so, the table goes on elsewhere.
    "12: mov rcx, [r15 + 8]",
    "mov rax, [rcx]",
    "test qword ptr [r15 + 64], 1",
    "jz 13f",
    "movsxd rax, dword ptr [rcx]",
    "13: mov rdx, [r15 + 24]",
    "mov rcx, [r15 + 16]",
    "cmp ecx, 1",
    "je 14f",
    "cmp ecx, 2",
    "je 15f",
    "cmp ecx, 3",
    "je 16f",
    "cmp rax, rdx", // 0: equal
    "je 18f",
    "jmp 20f",
    "14: cmp rax, rdx", // 1: not equal
    "jne 18f",
    "jmp 20f",
    "15: cmp rax, rdx", // 2: less
    "jl 18f",
    "jmp 20f",
    "16: cmp rax, rdx", // 3: not less
    "jge 18f",
    "20: add r15, 80",
    "jmp 2b",
    "18: mov r15, [r15 + 72]",
    "jmp 2b",
    // Count: one more in its result.
    "17: mov rcx, [r15 + 72]",
    "mov qword ptr [rcx], 1",
    "inc qword ptr [rcx + 8]",
    "add r15, 80",
    "jmp 2b",
    "cshell_calls_end:",
    ".popsection",
);

unsafe extern "C" {
    static cshell_calls_start: u8;
    static cshell_calls_end: u8;
}

/// Memory that steps use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// What is in it at the beginning.
    pub content: Vec<u8>,
    /// Where in it, in bytes from its beginning, which addresses stand: 64 bits each.
    pub pointers: Vec<(usize, Place)>,
    /// Whether it is written at the end.
    pub told: bool,
}

/// A place in memory: the number of an area, and how far into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which area.
    pub area: usize,
    /// How many bytes into it.
    pub offset: usize,
}

/// What a step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// This number.
    Number(i64),
    /// The address of a place.
    Address(Place),
    /// The 64 bits at a place.
    Long(Place),
    /// The 32 bits at a place, with their sign.
    Int(Place),
    /// What the step of this number returned; 0 where it was not made.
    Result(usize),
}

/// How a jump compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Equal.
    Is,
    /// Not equal.
    IsNot,
    /// Less, with sign.
    Less,
    /// Not less, with sign.
    NotLess,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a system call.
    Call {
        /// Its number, in the table of 64-bit or 32-bit programs.
        number: u32,
        /// Whether it is made as a 32-bit program does.
        compat: bool,
        /// Its arguments.
        args: [Word; 6],
    },
    /// Makes a child, which goes on at the step `child`; the parent goes on at the next.
    ///
    /// They share the memory: what a child was answered is told by the parent.
    Fork {
        /// The flags of clone(2); the signal at its end is SIGCHLD.
        flags: i64,
        /// Where the child goes on.
        child: usize,
    },
    /// Goes on at the step `to`, which may be the number of steps for the end, if `value` compares so.
    Jump {
        /// What is compared.
        value: Word,
        /// How.
        test: Test,
        /// With what.
        with: i64,
        /// Where it goes on.
        to: usize,
    },
    /// Adds one to its own result.
    Count,
}

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Their memory.
    pub areas: Vec<Area>,
}

/// What a program told at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What each step returned: negative for an errno; nothing where it was not made.
    pub results: Vec<Option<i64>>,
    /// The content of each area that is told, by its number.
    pub areas: Vec<(usize, Vec<u8>)>,
}

/// Where things lie in memory.
struct Layout {
    areas: Vec<u64>,
    record: u64,
    size: u64,
}

fn aligned(at: u64) -> u64 {
    at.next_multiple_of(16)
}

impl Program {
    fn layout(&self) -> Layout {
        let mut at = self.steps.len() as u64 * RESULT;
        let mut areas = vec![0; self.areas.len()];
        let mut place = |told: bool| {
            for (area, spot) in self.areas.iter().zip(&mut areas).filter(|(area, _)| area.told == told) {
                *spot = at;
                at = aligned(at + area.content.len() as u64);
            }
            at
        };
        let record = place(true);
        let size = place(false).max(RESULT);
        Layout { areas, record, size }
    }

    /// The file: an ELF header, the code, the table and the memory.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let layout = self.layout();
        let mut code = super::payload::between(&raw const cshell_calls_start, &raw const cshell_calls_end);
        let table = holder::ENTRY + code.len() as u64 + 32;
        let words: Vec<u64> =
            self.steps.iter().enumerate().flat_map(|step| self.encode(&layout, table, step)).collect();
        let end = [0; 10];
        let words = [&words[..], &end].concat();
        for size in [layout.size, layout.size, words.len() as u64 * 8, layout.record] {
            code.extend(size.to_le_bytes());
        }
        words.iter().for_each(|word| code.extend(word.to_le_bytes()));
        code.extend(self.memory(&layout));
        holder::image(&code)
    }

    fn memory(&self, layout: &Layout) -> Vec<u8> {
        let mut memory = vec![0; usize::try_from(layout.size).unwrap_or(0)];
        for (area, at) in self.areas.iter().zip(&layout.areas) {
            let at = usize::try_from(*at).unwrap_or(0);
            memory[at..at + area.content.len()].copy_from_slice(&area.content);
            for (offset, to) in &area.pointers {
                memory[at + offset..at + offset + 8].copy_from_slice(&layout.address(*to).to_le_bytes());
            }
        }
        memory
    }

    fn encode(&self, layout: &Layout, table: u64, (index, step): (usize, &Step)) -> [u64; 10] {
        let result = |index: usize| MEMORY + index as u64 * RESULT;
        let read = |word: Word| match word {
            Word::Number(number) => (number.cast_unsigned(), 0),
            Word::Address(place) => (layout.address(place), 0),
            Word::Long(place) => (layout.address(place), 1),
            Word::Int(place) => (layout.address(place), 1 << 8),
            Word::Result(step) => (result(step) + 8, 1),
        };
        let mut words = [0; 10];
        match *step {
            Step::Call { number, compat, args } => {
                (words[0], words[1]) = (if compat { 2 } else { 1 }, number.into());
                for (at, arg) in args.into_iter().enumerate() {
                    let (value, how) = read(arg);
                    words[2 + at] = value;
                    words[8] |= how << at;
                }
                words[9] = result(index);
            }
            Step::Fork { flags, child } => {
                (words[0], words[1]) = (5, libc::SYS_clone.cast_unsigned());
                words[2] = (flags | i64::from(libc::SIGCHLD)).cast_unsigned();
                (words[7], words[9]) = (table + child as u64 * STEP, result(index));
            }
            Step::Jump { value, test, with, to } => {
                let (at, how) = read(value);
                // Its own result, which is never made and 0, stands for a number: nothing is compared with one that is not.
                let at = if how == 0 { result(index) + 8 } else { at };
                let (test, with) = match value {
                    Word::Number(number) => (u64::from(!holds(number, test, with)), 0),
                    _ => (test as u64, with),
                };
                words = [3, at, test, with.cast_unsigned(), 0, 0, 0, 0, how >> 8, table + to as u64 * STEP];
            }
            Step::Count => (words[0], words[9]) = (4, result(index)),
        }
        words
    }

    /// Makes the sealed memory file that holds the program.
    ///
    /// # Errors
    /// The failed `memfd_create`, `write` or `fcntl`.
    pub fn make(&self) -> Result<OwnedFd> {
        holder::sealed(NAME, &self.image())
    }

    /// What it wrote, read; nothing where that is not all of it, because the program did not come to its end.
    #[must_use]
    pub fn read(&self, written: &[u8]) -> Option<Told> {
        let layout = self.layout();
        let record = usize::try_from(layout.record).ok()?;
        if written.len() < record {
            return None;
        }
        let long = |at: usize| Some(i64::from_le_bytes(written.get(at..at + 8)?.try_into().ok()?));
        let slot = usize::try_from(RESULT).ok()?;
        let results = (0..self.steps.len())
            .map(|index| if long(index * slot)? == 1 { long(index * slot + 8) } else { None })
            .collect();
        let told = self.areas.iter().enumerate().zip(&layout.areas).filter(|((_, area), _)| area.told);
        let areas = told
            .map(|((index, area), at)| {
                let at = usize::try_from(*at).ok()?;
                Some((index, written.get(at..at + area.content.len())?.to_vec()))
            })
            .collect::<Option<_>>()?;
        Some(Told { results, areas })
    }
}

impl Layout {
    fn address(&self, place: Place) -> u64 {
        MEMORY + self.areas.get(place.area).copied().unwrap_or(0) + place.offset as u64
    }
}

fn holds(value: i64, test: Test, with: i64) -> bool {
    match test {
        Test::Is => value == with,
        Test::IsNot => value != with,
        Test::Less => value < with,
        Test::NotLess => value >= with,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the program that is made is run as it is")]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn run(program: &Program) -> Told {
        let file = program.make().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let output = std::process::Command::new(path).output().unwrap();
        assert!(output.status.success(), "{}", output.status);
        program.read(&output.stdout).unwrap()
    }

    fn call(number: libc::c_long, args: &[Word]) -> Step {
        let mut all = [Word::Number(0); 6];
        all[..args.len()].copy_from_slice(args);
        Step::Call { number: u32::try_from(number).unwrap(), compat: false, args: all }
    }

    fn at(area: usize, offset: usize) -> Place {
        Place { area, offset }
    }

    #[test]
    fn results_and_memory_are_told() {
        let pipe = Area { content: vec![0; 8], told: true, ..Area::default() };
        let text = Area { content: b"hello".to_vec(), ..Area::default() };
        let buffer = Area { content: vec![0; 5], told: true, ..Area::default() };
        let vector = Area { content: vec![5; 16], pointers: vec![(0, at(1, 0))], told: false };
        let mut vector = vector;
        vector.content[8..].copy_from_slice(&5u64.to_le_bytes());
        let steps = vec![
            call(libc::SYS_pipe2, &[Word::Address(at(0, 0)), Word::Number(0)]),
            call(libc::SYS_writev, &[Word::Int(at(0, 4)), Word::Address(at(3, 0)), Word::Number(1)]),
            call(libc::SYS_read, &[Word::Int(at(0, 0)), Word::Address(at(2, 0)), Word::Result(1)]),
            call(libc::SYS_close, &[Word::Number(99)]),
        ];
        let told = run(&Program { steps, areas: vec![pipe, text, buffer, vector] });
        let bad = -i64::from(libc::EBADF);
        assert_eq!(told.results, [Some(0), Some(5), Some(5), Some(bad)]);
        assert_eq!(told.areas[0].1, [3, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(told.areas[1], (2, b"hello".to_vec()));
    }

    #[test]
    fn steps_are_skipped_and_repeated() {
        let jump = |value, test, with, to| Step::Jump { value, test, with, to };
        let steps = vec![
            Step::Count,
            jump(Word::Result(0), Test::Less, 5, 0),
            jump(Word::Result(0), Test::IsNot, 5, 6),
            jump(Word::Number(0), Test::Is, 0, 5),
            call(libc::SYS_getpid, &[]),
            call(libc::SYS_getppid, &[]),
            jump(Word::Number(1), Test::Is, 0, 9),
            jump(Word::Result(5), Test::NotLess, 1, 9),
            call(libc::SYS_getpid, &[]),
        ];
        let told = run(&Program { steps, areas: Vec::new() });
        assert_eq!((told.results[0], told.results[4], told.results[8]), (Some(5), None, None));
        assert_eq!(told.results[5], Some(i64::from(std::process::id())));
    }

    #[test]
    fn children_share_the_memory_and_32_bit_calls_are_made() {
        let status = Area { content: vec![0; 4], told: true, ..Area::default() };
        let steps = vec![
            Step::Fork { flags: 0, child: 3 },
            call(libc::SYS_wait4, &[Word::Result(0), Word::Address(at(0, 0))]),
            Step::Jump { value: Word::Number(0), test: Test::Is, with: 0, to: 5 },
            Step::Call { number: 20, compat: true, args: [Word::Number(0); 6] },
            call(libc::SYS_exit_group, &[Word::Number(7)]),
        ];
        let told = run(&Program { steps, areas: vec![status] });
        assert_eq!(told.results[3], told.results[1], "getpid of the child, and whom the parent waited for");
        assert_eq!(told.results[3], told.results[0]);
        assert_eq!(told.areas[0].1, [0, 7, 0, 0]);
    }

    #[test]
    fn what_was_not_written_to_its_end_is_nothing() {
        let program = Program { steps: vec![Step::Count], areas: Vec::new() };
        assert_eq!(program.read(&[1; 15]), None);
    }
}
