//! Classic BPF (linux/filter.h, linux/seccomp.h): the calls of an architecture as a search tree, rules on arguments as
//! comparisons of two halves.
//!
//! Every piece of code here returns on all its paths, so that pieces can be put behind each other. Calls that are treated
//! alike and have neighbouring numbers are one leaf: an allow list of 370 calls takes some seven comparisons a call.

use super::profile::{Compare, Condition};
use crate::sys::seccomp;
use std::collections::BTreeMap;

/// One instruction: `struct sock_filter`, code, jump if true, jump if false, operand.
pub(super) type Insn = u64;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;
/// `__X32_SYSCALL_BIT` of asm/unistd.h: set in every call of a program of the x32 kind.
const X32: u32 = 0x4000_0000;

fn insn(code: u16, yes: u8, no: u8, operand: u32) -> Insn {
    u64::from(code) | u64::from(yes) << 16 | u64::from(no) << 24 | u64::from(operand) << 32
}

/// What happens to one call: the first alternative whose conditions hold decides, else the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    alternatives: Vec<(Vec<Condition>, u32)>,
    default: u32,
    settled: bool,
}

impl Verdict {
    pub(super) fn new(default: u32) -> Self {
        Self { alternatives: Vec::new(), default, settled: false }
    }

    /// From here on it is this, whatever the arguments. What restricts more than an earlier rule on arguments replaces that,
    /// as with libseccomp: a restriction without a condition has no exceptions.
    pub(super) fn always(&mut self, action: u32) {
        if !self.settled {
            self.alternatives
                .retain(|(_, earlier)| seccomp::restriction(*earlier) >= seccomp::restriction(action));
            self.default = action;
            self.settled = true;
        }
    }

    /// It is this where the conditions hold, unless an earlier rule decides.
    pub(super) fn when(&mut self, conditions: Vec<Condition>, action: u32) {
        if !self.settled {
            self.alternatives.push((conditions, action));
        }
    }

    /// Everything that may happen.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = u32> {
        self.alternatives.iter().map(|(_, action)| *action).chain([self.default])
    }

    /// What the kernel is to return for these arguments.
    #[cfg(test)]
    pub(super) fn answer(&self, args: [u64; 6]) -> u32 {
        let met = |conditions: &[Condition]| {
            conditions.iter().all(|condition| super::compile::holds(condition, args))
        };
        let found = self.alternatives.iter().find(|(conditions, _)| met(conditions));
        found.map_or(self.default, |(_, action)| *action)
    }

    fn same(&self, other: &Self) -> bool {
        self.default == other.default && self.alternatives == other.alternatives
    }

    fn code(&self) -> Vec<Insn> {
        let mut code = Vec::new();
        for (conditions, action) in &self.alternatives {
            code.extend(alternative(conditions, *action));
        }
        code.push(insn(RETURN, 0, 0, self.default));
        code
    }
}

/// The whole program: which kind of program it is, then its section.
pub(super) fn program(sections: Vec<(u32, Vec<Insn>)>, with_x32: u32, x32: u32) -> Vec<Insn> {
    let mut code = vec![insn(LOAD, 0, 0, ARCH)];
    for (arch, section) in sections {
        let mut body = vec![insn(LOAD, 0, 0, NUMBER)];
        if arch == with_x32 {
            // -1 is the number of a call that a tracer has cancelled.
            body.extend([insn(JUMP_GREATER_EQUAL, 0, 1, X32), insn(RETURN, 0, 0, x32)]);
        }
        body.extend(section);
        code.extend(skip_unless(JUMP_EQUAL, arch, body.len()));
        code.extend(body);
    }
    code.push(insn(RETURN, 0, 0, seccomp::RET_KILL_PROCESS));
    code
}

/// The code for one architecture; the number is loaded.
pub(super) fn section(table: &BTreeMap<u32, Verdict>, unknown: u32) -> Vec<Insn> {
    search(&runs(table, &Verdict::new(unknown)))
}

/// Neighbouring numbers that are treated alike: the first number of each run. Numbers between known ones are unknown.
fn runs<'a>(table: &'a BTreeMap<u32, Verdict>, unknown: &'a Verdict) -> Vec<(u32, &'a Verdict)> {
    let mut runs: Vec<(u32, &Verdict)> = Vec::new();
    let mut push = |first: u32, verdict: &'a Verdict| match runs.last() {
        Some((_, last)) if last.same(verdict) => {}
        _ => runs.push((first, verdict)),
    };
    let mut next = 0;
    for (&number, verdict) in table {
        if number > next {
            push(next, unknown);
        }
        push(number, verdict);
        next = number + 1;
    }
    push(next, unknown);
    runs
}

/// A binary search for the run that the number is in.
fn search(runs: &[(u32, &Verdict)]) -> Vec<Insn> {
    match runs {
        [] => Vec::new(),
        [(_, only)] => only.code(),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let high_code = search(high);
            let mut code = skip_unless(JUMP_GREATER_EQUAL, high[0].0, high_code.len());
            code.extend(high_code);
            code.extend(search(low));
            code
        }
    }
}

/// Skips the next `len` instructions unless the test holds. Conditional jumps reach 255 instructions, others all.
fn skip_unless(test: u16, operand: u32, len: usize) -> Vec<Insn> {
    match (u8::try_from(len), u32::try_from(len)) {
        (Ok(short), _) => vec![insn(test, 0, short, operand)],
        (_, long) => vec![insn(test, 1, 0, operand), insn(JUMP, 0, 0, long.unwrap_or(u32::MAX))],
    }
}

/// Where a comparison goes on.
#[derive(Clone, Copy)]
enum To {
    /// To the instruction behind it.
    Next,
    /// To the end of the condition: it holds.
    Holds,
    /// To the end of the alternative: it does not.
    Fails,
}

/// A load or a test of a condition.
enum Part {
    Load(u32),
    And(u32),
    Test(u16, u32, To, To),
}

/// The conditions of one alternative, and what it returns.
fn alternative(conditions: &[Condition], action: u32) -> Vec<Insn> {
    let groups: Vec<Vec<Part>> = conditions.iter().map(parts).collect();
    let total: usize = groups.iter().map(Vec::len).sum::<usize>() + 1;
    let mut code = Vec::with_capacity(total);
    for group in groups {
        let end = code.len() + group.len();
        for part in group {
            let behind = code.len() + 1;
            // At most six conditions of six instructions.
            let reach = |to: To| match to {
                To::Next => 0,
                To::Holds => u8::try_from(end - behind).unwrap_or(u8::MAX),
                To::Fails => u8::try_from(total - behind).unwrap_or(u8::MAX),
            };
            code.push(match part {
                Part::Load(offset) => insn(LOAD, 0, 0, offset),
                Part::And(mask) => insn(AND, 0, 0, mask),
                Part::Test(test, operand, yes, no) => insn(test, reach(yes), reach(no), operand),
            });
        }
    }
    code.push(insn(RETURN, 0, 0, action));
    code
}

/// The low and the high half of a number.
fn halves(number: u64) -> (u32, u32) {
    (u32::try_from(number & 0xffff_ffff).unwrap_or(0), u32::try_from(number >> 32).unwrap_or(0))
}

/// A comparison of 64 bits: the high halves decide unless they are equal.
fn parts(condition: &Condition) -> Vec<Part> {
    use Part::{And, Load, Test};
    let low_at = ARGUMENTS + 8 * u32::from(condition.index);
    let ((low, high), (two_low, two_high)) = (halves(condition.value), halves(condition.value_two));
    let by_order = |above: To, below: To, test: u16, yes: To, no: To| {
        vec![
            Load(low_at + 4),
            Test(JUMP_GREATER, high, above, To::Next),
            Test(JUMP_EQUAL, high, To::Next, below),
            Load(low_at),
            Test(test, low, yes, no),
        ]
    };
    match condition.op {
        Compare::ScmpCmpEq => vec![
            Load(low_at + 4),
            Test(JUMP_EQUAL, high, To::Next, To::Fails),
            Load(low_at),
            Test(JUMP_EQUAL, low, To::Next, To::Fails),
        ],
        Compare::ScmpCmpNe => vec![
            Load(low_at + 4),
            Test(JUMP_EQUAL, high, To::Next, To::Holds),
            Load(low_at),
            Test(JUMP_EQUAL, low, To::Fails, To::Next),
        ],
        Compare::ScmpCmpMaskedEq => vec![
            Load(low_at + 4),
            And(high),
            Test(JUMP_EQUAL, two_high, To::Next, To::Fails),
            Load(low_at),
            And(low),
            Test(JUMP_EQUAL, two_low, To::Next, To::Fails),
        ],
        Compare::ScmpCmpGt => by_order(To::Holds, To::Fails, JUMP_GREATER, To::Next, To::Fails),
        Compare::ScmpCmpGe => by_order(To::Holds, To::Fails, JUMP_GREATER_EQUAL, To::Next, To::Fails),
        Compare::ScmpCmpLt => by_order(To::Fails, To::Holds, JUMP_GREATER_EQUAL, To::Fails, To::Next),
        Compare::ScmpCmpLe => by_order(To::Fails, To::Holds, JUMP_GREATER, To::Fails, To::Next),
    }
}
