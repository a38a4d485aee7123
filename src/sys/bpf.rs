//! Device rules of a version 2 control group: a small program that the kernel asks at each access (bpf(2)).
#![expect(unsafe_code, reason = "a system call by number, with its structures")]

use super::{Errno, Result, call};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `BPF_DEVCG_DEV_BLOCK`.
pub const BLOCK: u32 = 1;
/// `BPF_DEVCG_DEV_CHAR`.
pub const CHARACTER: u32 = 2;

/// One rule. The last one that fits decides; where none fits the access is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether the access is allowed.
    pub allow: bool,
    /// [`BLOCK`] or [`CHARACTER`]; `None` for both.
    pub kind: Option<u32>,
    /// The major number; `None` for all.
    pub major: Option<u32>,
    /// The minor number; `None` for all.
    pub minor: Option<u32>,
    /// What it is about: 1 mknod, 2 read, 4 write (`BPF_DEVCG_ACC_*`).
    pub access: u32,
}

/// One instruction (`struct bpf_insn`): opcode, registers, offset, constant.
type Insn = u64;

fn insn(code: u8, dst: u8, src: u8, off: u16, imm: u32) -> Insn {
    u64::from(code) | u64::from(src << 4 | dst) << 8 | u64::from(off) << 16 | u64::from(imm) << 32
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const MOVE_NUMBER: u8 = 0xb4;
const AND_NUMBER: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNLESS_NUMBER: u8 = 0x56;
const JUMP_UNLESS: u8 = 0x5e;
const JUMP_IF_NUMBER: u8 = 0x16;
const EXIT: u8 = 0x95;

/// The program for `rules`. It gets `struct bpf_cgroup_dev_ctx`: access and type in one word, major, minor.
fn assemble(rules: &[DeviceRule]) -> Vec<Insn> {
    let mut code = vec![
        insn(LOAD_WORD, 2, 1, 0, 0),
        insn(MOVE, 3, 2, 0, 0),
        insn(AND_NUMBER, 2, 0, 0, 0xffff), // r2: block or character
        insn(SHIFT_RIGHT, 3, 0, 0, 16),    // r3: what is asked
        insn(LOAD_WORD, 4, 1, 4, 0),       // r4: major
        insn(LOAD_WORD, 5, 1, 8, 0),       // r5: minor
    ];
    for rule in rules.iter().rev() {
        let mut tests = Vec::new();
        tests.extend(rule.kind.map(|kind| (JUMP_UNLESS_NUMBER, 2, 0, kind)));
        tests.extend(rule.major.map(|major| (JUMP_UNLESS_NUMBER, 4, 0, major)));
        tests.extend(rule.minor.map(|minor| (JUMP_UNLESS_NUMBER, 5, 0, minor)));
        // Each test jumps behind the rule's last instruction: two for the access, two for the answer.
        let mut body: Vec<Insn> = Vec::new();
        let total = tests.len() + 5;
        let behind = |at: usize| u16::try_from(total - at - 1).unwrap_or(u16::MAX);
        for (code, dst, src, number) in tests {
            body.push(insn(code, dst, src, behind(body.len()), number));
        }
        body.push(insn(MOVE, 1, 3, 0, 0));
        body.push(insn(AND_NUMBER, 1, 0, 0, rule.access));
        let at = behind(body.len());
        // Allowed when all that is asked is in the rule; denied when any of it is.
        body.push(match rule.allow {
            true => insn(JUMP_UNLESS, 1, 3, at, 0),
            false => insn(JUMP_IF_NUMBER, 1, 0, at, 0),
        });
        body.push(insn(MOVE_NUMBER, 0, 0, 0, u32::from(rule.allow)));
        body.push(insn(EXIT, 0, 0, 0, 0));
        code.extend(body);
    }
    code.push(insn(MOVE_NUMBER, 0, 0, 0, 1));
    code.push(insn(EXIT, 0, 0, 0, 0));
    code
}

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_QUERY: u32 = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// `bpf(command, attr, size)`, with the union as words of 32 bits.
fn bpf(command: u32, attr: &mut [u32]) -> std::result::Result<i64, Errno> {
    // SAFETY: the words live across the call, and are as many as is said; pointers among them are the callers'.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    Errno::result(result)
}

fn words(pointer: *const u8) -> [u32; 2] {
    let number = pointer.addr() as u64;
    [u32::try_from(number & 0xffff_ffff).unwrap_or(0), u32::try_from(number >> 32).unwrap_or(0)]
}

fn number(fd: impl AsFd) -> u32 {
    u32::try_from(fd.as_fd().as_raw_fd()).unwrap_or(u32::MAX)
}

/// Loads the program for `rules`.
///
/// # Errors
/// The failed `bpf`: `EPERM` without the privilege, `EINVAL` where the kernel knows no such programs.
pub fn device_program(rules: &[DeviceRule]) -> Result<OwnedFd> {
    let code = assemble(rules);
    call(
        "bpf",
        || format!("BPF_PROG_LOAD, {{BPF_PROG_TYPE_CGROUP_DEVICE, {} instructions}}", code.len()),
        || {
            let len = u32::try_from(code.len()).map_err(|_| Errno::E2BIG)?;
            let [insns_low, insns_high] = words(code.as_ptr().cast());
            let [licence_low, licence_high] = words(c"Dual MIT/GPL".as_ptr().cast());
            let mut attr = [
                PROG_TYPE_CGROUP_DEVICE,
                len,
                insns_low,
                insns_high,
                licence_low,
                licence_high,
                0,
                0,
                0,
                0,
                0,
                0,
            ];
            let fd = bpf(PROG_LOAD, &mut attr)?;
            let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
            // SAFETY: the kernel has just given us this descriptor, close-on-exec as all of bpf(2).
            Ok::<_, Errno>(unsafe { OwnedFd::from_raw_fd(fd) })
        },
    )
}

/// Attaches a program to a group, in place of `before` where there is one. It goes with the group.
///
/// # Errors
/// The failed `bpf`.
pub fn attach(group: BorrowedFd<'_>, program: &OwnedFd, before: Option<&OwnedFd>) -> Result<()> {
    let flags = if before.is_some() { ALLOW_MULTI | REPLACE } else { ALLOW_MULTI };
    call(
        "bpf",
        || format!("BPF_PROG_ATTACH, {{{}, {}, BPF_CGROUP_DEVICE, {flags}}}", number(group), number(program)),
        || {
            let replaced = before.map_or(0, number);
            bpf(PROG_ATTACH, &mut [number(group), number(program), CGROUP_DEVICE, flags, replaced]).map(drop)
        },
    )
}

/// How many device programs are attached to a group itself.
///
/// # Errors
/// The failed `bpf`.
pub fn attached(group: BorrowedFd<'_>) -> Result<u32> {
    call(
        "bpf",
        || format!("BPF_PROG_QUERY, {{{}, BPF_CGROUP_DEVICE}}", number(group)),
        || {
            // target_fd, attach_type, query_flags, attach_flags, prog_ids (none are asked for), prog_cnt.
            let mut attr = [number(group), CGROUP_DEVICE, 0, 0, 0, 0, 0, 0];
            bpf(PROG_QUERY, &mut attr).map(|_| attr[6])
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jumps_of_a_rule_end_behind_it() {
        let all = DeviceRule { allow: false, kind: None, major: None, minor: None, access: 7 };
        let null =
            DeviceRule { allow: true, kind: Some(CHARACTER), major: Some(1), minor: Some(3), access: 6 };
        let code = assemble(&[all, null]);
        // Head 6, the last rule first: 3 tests and 5, the first rule 5, the default 2.
        assert_eq!(code.len(), 6 + 8 + 5 + 2);
        let offset = |at: usize| usize::try_from(code[at] >> 16 & 0xffff).unwrap();
        for at in [6, 7, 8, 11] {
            assert_eq!(at + 1 + offset(at), 14, "instruction {at}");
        }
        assert_eq!(14 + 2 + 1 + offset(16), 19);
    }
}
