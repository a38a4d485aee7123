//! From a profile to a decision for each system call, and to the program that the kernel runs at each.
//!
//! Three answers for a call that no rule allows: what the profile says for one that this build knows by name; `ENOSYS` for
//! a number that it does not know, so that a C library falls back to an older call instead of giving up; and `ENOSYS`
//! for every call of the x32 kind, which hardly a kernel has. A program of a kind that the profile does not name is
//! killed at its first call, as with libseccomp.

use super::assemble::{self, Verdict};
use super::need::{Moment, can_start};
use super::profile::{Action, Profile, Rule, When, kernel_version};
use super::shared;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::security::caps;
use crate::sys::{Errno, seccomp};
use std::collections::BTreeMap;
use syscalls::{x86, x86_64};

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386` of linux/audit.h.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// What a profile is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The bounding set of the process.
    pub capabilities: u64,
    /// The version of the kernel.
    pub kernel: (u32, u32),
}

/// A filter as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The instructions (`struct sock_filter`).
    pub program: Vec<u64>,
    /// The flags of seccomp(2).
    pub flags: u64,
}

impl Filter {
    /// Compiles a profile.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a rule that restricts a call of an unknown name, an unknown architecture or
    /// flag, a program longer than the kernel takes, and a profile with which nothing could be started when it is put in
    /// force at `when`.
    pub fn compile(op: &'static str, profile: &Profile, facts: Facts, when: Moment) -> Result<Self> {
        let arches = arches(op, profile)?;
        let mut sections = Vec::new();
        for arch in arches {
            let table = decide(op, profile, facts, arch)?;
            if arch.audit == X86_64 {
                can_start(op, when, |name| (arch.number)(name).and_then(|number| table.get(&number)))?;
            }
            sections.push((arch.audit, assemble::section(&table, unknown(profile))));
        }
        let program = assemble::program(sections, X86_64, seccomp::RET_ERRNO | errno(Errno::ENOSYS));
        if program.len() > seccomp::MOST_INSTRUCTIONS {
            let what = format!(
                "seccomp: {} instructions; the kernel takes {}",
                program.len(),
                seccomp::MOST_INSTRUCTIONS
            );
            return Err(
                Error::new(ErrorKind::InvalidArgument, op, what).hint("give fewer rules on arguments")
            );
        }
        Ok(Self { program, flags: flags(op, profile)? })
    }
}

/// A kind of program: how the kernel names it, how profiles do, and its calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arch {
    pub(super) audit: u32,
    name: &'static str,
    go: &'static str,
    pub(super) number: fn(&str) -> Option<u32>,
    spelled: fn(usize) -> Option<&'static str>,
    all: fn() -> Vec<u32>,
}

/// The kind of program of this name.
pub(super) fn arch_of(name: &str) -> Option<Arch> {
    ARCHES.into_iter().find(|arch| arch.name == name)
}

/// The name of a kind of program, by the kernel's number.
pub(super) fn kind_of(audit: u32) -> Option<&'static str> {
    ARCHES.iter().find(|arch| arch.audit == audit).map(|arch| arch.name)
}

/// The name of a call.
pub(super) fn name_of(audit: u32, number: i32) -> Option<String> {
    let arch = ARCHES.iter().find(|arch| arch.audit == audit)?;
    (arch.spelled)(usize::try_from(number).ok()?).map(str::to_owned)
}

const ARCHES: [Arch; 2] = [
    Arch {
        audit: X86_64,
        name: "SCMP_ARCH_X86_64",
        go: "amd64",
        number: |name| name.parse::<x86_64::Sysno>().ok().and_then(|call| u32::try_from(call.id()).ok()),
        spelled: |number| x86_64::Sysno::new(number).map(|call| call.name()),
        all: || x86_64::Sysno::iter().filter_map(|call| u32::try_from(call.id()).ok()).collect(),
    },
    Arch {
        audit: I386,
        name: "SCMP_ARCH_X86",
        go: "x86",
        number: |name| name.parse::<x86::Sysno>().ok().and_then(|call| u32::try_from(call.id()).ok()),
        spelled: |number| x86::Sysno::new(number).map(|call| call.name()),
        all: || x86::Sysno::iter().filter_map(|call| u32::try_from(call.id()).ok()).collect(),
    },
];

/// Architectures of other machines, which a profile may name.
const FOREIGN: [&str; 21] = [
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

fn arches(op: &'static str, profile: &Profile) -> Result<Vec<Arch>> {
    let mut named: Vec<&str> = profile.architectures.iter().map(String::as_str).collect();
    for map in profile.arch_map.iter().filter(|map| map.architecture == ARCHES[0].name) {
        named.push(&map.architecture);
        named.extend(map.sub_architectures.iter().map(String::as_str));
    }
    if named.is_empty() {
        return Ok(ARCHES.to_vec());
    }
    let known = |name: &&&str| ARCHES.iter().any(|arch| arch.name == **name) || FOREIGN.contains(*name);
    if let Some(unknown) = named.iter().find(|name| !known(name)) {
        let what = format!("seccomp: {unknown:?} is not an architecture");
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("names are those of libseccomp: SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32"));
    }
    // The machine's own programs are always meant, as runc has it.
    Ok(ARCHES.into_iter().filter(|arch| arch.audit == X86_64 || named.contains(&arch.name)).collect())
}

fn flags(op: &'static str, profile: &Profile) -> Result<u64> {
    profile.flags.iter().try_fold(0, |flags, name| match name.as_str() {
        // One thread at that moment: there is nothing to synchronise.
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(flags),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(flags | seccomp::FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(flags | seccomp::FLAG_SPEC_ALLOW),
        _ => Err(Error::new(ErrorKind::InvalidArgument, op, format!("seccomp: unknown flag {name:?}")).hint(
            "flags are: SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_TSYNC",
        )),
    })
}

const fn errno(errno: Errno) -> u32 {
    (errno as i32).unsigned_abs()
}

/// What the filter returns for an action.
fn returned(action: Action, errno_ret: Option<u16>) -> u32 {
    match action {
        Action::Allow => seccomp::RET_ALLOW,
        Action::Log => seccomp::RET_LOG,
        Action::Errno => seccomp::RET_ERRNO | errno_ret.map_or(errno(Errno::EPERM), u32::from),
        Action::Trap => seccomp::RET_TRAP,
        Action::Trace => seccomp::RET_TRACE | errno_ret.map_or(0, u32::from),
        Action::Kill => seccomp::RET_KILL_THREAD,
        // Refused when the profile was read; were it here, nothing would be allowed.
        Action::KillProcess | Action::Notify => seccomp::RET_KILL_PROCESS,
    }
}

/// What a number that no name is known for is answered with.
fn unknown(profile: &Profile) -> u32 {
    match profile.default_action {
        Action::Allow | Action::Log => returned(profile.default_action, None),
        _ => seccomp::RET_ERRNO | errno(Errno::ENOSYS),
    }
}

/// The verdict for each call of an architecture.
fn decide(op: &'static str, profile: &Profile, facts: Facts, arch: Arch) -> Result<BTreeMap<u32, Verdict>> {
    let default = returned(profile.default_action, profile.default_errno_number());
    let mut table: BTreeMap<u32, Verdict> =
        (arch.all)().into_iter().map(|number| (number, Verdict::new(default))).collect();
    for rule in profile.syscalls.iter().filter(|rule| applies(rule, facts, arch)) {
        for name in rule.all_names() {
            refine_shared(&mut table, rule, name, arch);
            match (arch.number)(name).and_then(|number| table.get_mut(&number)) {
                Some(verdict) => refine(verdict, rule),
                None => know(op, profile, rule, name)?,
            }
        }
    }
    Ok(table)
}

/// Adds a rule to those that came before it for a call.
fn refine(verdict: &mut Verdict, rule: &Rule) {
    let action = returned(rule.action, rule.errno_number());
    let twice = |at: usize| rule.args[..at].iter().any(|arg| arg.index == rule.args[at].index);
    if rule.args.is_empty() {
        verdict.always(action);
    } else if (0..rule.args.len()).any(twice) {
        // libseccomp cannot have two conditions on one argument: runc makes each an alternative of its own.
        rule.args.iter().for_each(|arg| verdict.when(vec![*arg], action));
    } else {
        verdict.when(rule.args.clone(), action);
    }
}

/// Adds a restriction of a call to the one by which 32-bit programs make it as well. The arguments are out of reach there:
/// what has conditions on them stays as it is.
fn refine_shared(table: &mut BTreeMap<u32, Verdict>, rule: &Rule, name: &str, arch: Arch) {
    if arch.audit != I386 || !restricts(rule) || !rule.args.is_empty() {
        return;
    }
    let Some((shared, condition)) = shared::operation(name) else { return };
    if let Some(verdict) = (arch.number)(shared).and_then(|number| table.get_mut(&number)) {
        verdict.when(vec![condition], returned(rule.action, rule.errno_number()));
    }
}

fn restricts(rule: &Rule) -> bool {
    !matches!(rule.action, Action::Allow | Action::Log)
}

/// A name that this machine does not have: nothing is allowed by it, but a restriction must not be lost.
fn know(op: &'static str, profile: &Profile, rule: &Rule, name: &str) -> Result<()> {
    let here = ARCHES.iter().any(|arch| (arch.number)(name).is_some());
    let open = matches!(profile.default_action, Action::Allow | Action::Log);
    if here || !(restricts(rule) && open) {
        return Ok(());
    }
    let what = format!("seccomp: the profile restricts the system call {name:?}, which is not known");
    Err(Error::new(ErrorKind::InvalidArgument, op, what).hint(
        "correct the name (syscalls(2)); calls of other machines belong below \"includes\": {\"arches\": …}",
    ))
}

fn applies(rule: &Rule, facts: Facts, arch: Arch) -> bool {
    let has = |when: &When| when.caps.iter().map(|name| caps::of_name(name)).collect::<Vec<_>>();
    let held = |cap: &Option<u64>| cap.is_some_and(|cap| facts.capabilities & cap != 0);
    let here = |name: &String| name == arch.go || name == ARCHES[0].go;
    // Checked when the profile was read.
    let young = |least: &String| kernel_version(least).is_none_or(|least| facts.kernel < least);
    let (includes, excludes) = (&rule.includes, &rule.excludes);
    has(includes).iter().all(held)
        && (includes.arches.is_empty() || includes.arches.iter().any(here))
        && !includes.min_kernel.as_ref().is_some_and(young)
        && !has(excludes).iter().any(held)
        && !excludes.arches.iter().any(here)
        && excludes.min_kernel.as_ref().is_none_or(young)
}

/// A condition as it is checked: for tests, and for people who want to know.
#[cfg(test)]
pub(super) fn holds(condition: &super::profile::Condition, args: [u64; 6]) -> bool {
    use super::profile::Compare;
    let arg = args[usize::from(condition.index)];
    match condition.op {
        Compare::ScmpCmpNe => arg != condition.value,
        Compare::ScmpCmpLt => arg < condition.value,
        Compare::ScmpCmpLe => arg <= condition.value,
        Compare::ScmpCmpEq => arg == condition.value,
        Compare::ScmpCmpGe => arg >= condition.value,
        Compare::ScmpCmpGt => arg > condition.value,
        Compare::ScmpCmpMaskedEq => arg & condition.value == condition.value_two,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::security::seccomp::profile::{Compare, Condition};

    /// Runs a program as the kernel does (Documentation/userspace-api/seccomp_filter.rst), for the four codes that are used.
    fn run(program: &[u64], arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let mut data = [0u8; 64];
        data[..4].copy_from_slice(&number.to_le_bytes());
        data[4..8].copy_from_slice(&arch.to_le_bytes());
        for (index, arg) in args.iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&arg.to_le_bytes());
        }
        let (mut at, mut held) = (0usize, 0u32);
        loop {
            let insn = program[at];
            let [code_low, code_high, yes, no, ..] = insn.to_le_bytes();
            let operand = u32::try_from(insn >> 32).unwrap();
            let jump = |held: bool| usize::from(if held { yes } else { no });
            at += 1;
            match u16::from_le_bytes([code_low, code_high]) {
                0x20 => {
                    let from = usize::try_from(operand).unwrap();
                    held = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
                }
                0x54 => held &= operand,
                0x05 => at += usize::try_from(operand).unwrap(),
                0x15 => at += jump(held == operand),
                0x25 => at += jump(held > operand),
                0x35 => at += jump(held >= operand),
                0x06 => return operand,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn compiled(text: &str, capabilities: u64) -> Result<Filter> {
        let facts = Facts { capabilities, kernel: (6, 1) };
        Profile::parse("t", text).and_then(|profile| Filter::compile("t", &profile, facts, Moment::Late))
    }

    fn call(name: &str) -> u32 {
        (ARCHES[0].number)(name).unwrap()
    }

    const EPERM: u32 = seccomp::RET_ERRNO | 1;
    const ENOSYS: u32 = seccomp::RET_ERRNO | 38;

    #[test]
    fn every_call_is_answered_as_the_default_profile_says() {
        let profile = Profile::default_profile("t").unwrap();
        let facts = Facts { capabilities: caps::DEFAULT, kernel: (6, 1) };
        let filter = Filter::compile("t", &profile, facts, Moment::Late).unwrap();
        let interesting = [
            0,
            1,
            8,
            37,
            38,
            39,
            40,
            41,
            0x2_0000,
            0x2_0008,
            0xffff_ffff,
            0x1000_0000,
            0x1_0000_0026,
            u64::MAX,
        ];
        for arch in ARCHES {
            let table = decide("t", &profile, facts, arch).unwrap();
            for number in 0..1200 {
                for arg in interesting {
                    let args = [arg, arg, 0, 0, 0, 0];
                    let expected = table.get(&number).map_or(ENOSYS, |verdict| verdict.answer(args));
                    let name = arch.name;
                    assert_eq!(
                        run(&filter.program, arch.audit, number, args),
                        expected,
                        "{name} {number} {arg:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_default_profile_allows_and_denies_what_it_should() {
        let filter = |capabilities| {
            let profile = Profile::default_profile("t").unwrap();
            Filter::compile("t", &profile, Facts { capabilities, kernel: (6, 1) }, Moment::Early)
                .unwrap()
                .program
        };
        let plain = filter(caps::DEFAULT);
        let ask =
            |program: &[u64], name: &str, arg: u64| run(program, X86_64, call(name), [arg, 0, 0, 0, 0, 0]);
        for name in ["read", "execve", "openat", "chroot", "ptrace", "mknod"] {
            assert_eq!(ask(&plain, name, 0), seccomp::RET_ALLOW, "{name}");
        }
        let denied = [
            "mount",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "io_uring_setup",
            "kexec_load",
            "init_module",
            "open_by_handle_at",
            "reboot",
            "swapon",
            "syslog",
            "perf_event_open",
            "clock_settime",
            "move_mount",
            "pivot_root",
        ];
        for name in denied {
            assert_eq!(ask(&plain, name, 0), EPERM, "{name}");
        }
        assert_eq!(ask(&plain, "clone3", 0), ENOSYS);
        assert_eq!(ask(&plain, "clone", 0x11), seccomp::RET_ALLOW);
        assert_eq!(ask(&plain, "clone", 0x1000_0011), EPERM, "a new user namespace");
        // The kernel looks at 32 bits of the family: what is above them changes nothing.
        for family in [38, 40, 0x1_0000_0026, 0x1_0000_0028] {
            assert_eq!(ask(&plain, "socket", family), EPERM, "{family:#x}");
        }
        assert_eq!(ask(&plain, "socket", 2), seccomp::RET_ALLOW);
        let admin = filter(caps::DEFAULT | caps::of_name("SYS_ADMIN").unwrap());
        assert_eq!(ask(&admin, "mount", 0), seccomp::RET_ALLOW);
        assert_eq!(ask(&admin, "clone3", 0), seccomp::RET_ALLOW);
        assert_eq!(run(&plain, X86_64, 0x4000_0000, [0; 6]), ENOSYS, "x32");
        assert_eq!(run(&plain, X86_64, 100_000, [0; 6]), ENOSYS, "unknown");
        assert_eq!(run(&plain, 0xc000_00b7, 0, [0; 6]), seccomp::RET_KILL_PROCESS, "another machine");
        assert!(plain.len() < 600, "{} instructions", plain.len());
    }

    #[test]
    fn comparisons_are_of_64_bits() {
        use Compare::{ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpLe, ScmpCmpLt, ScmpCmpMaskedEq, ScmpCmpNe};
        let numbers = [0, 1, 5, 6, 7, 0xffff_ffff, 0x1_0000_0005, 0x1_0000_0006, 0x2_0000_0000, u64::MAX];
        for op in [ScmpCmpNe, ScmpCmpLt, ScmpCmpLe, ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpMaskedEq] {
            for value in numbers {
                let condition = Condition { index: 3, value, value_two: value & 6, op };
                let mut verdict = Verdict::new(1);
                verdict.when(vec![condition], 2);
                let table = BTreeMap::from([(7, verdict)]);
                let program = assemble::program(vec![(X86_64, assemble::section(&table, 3))], X86_64, 4);
                for arg in numbers {
                    let args = [0, 0, 0, arg, 0, 0];
                    let expected = if holds(&condition, args) { 2 } else { 1 };
                    assert_eq!(run(&program, X86_64, 7, args), expected, "{op:?} {value:#x} {arg:#x}");
                }
            }
        }
    }

    #[test]
    fn long_programs_jump_as_far_as_they_must() {
        // Every second call has rules of its own, so that no two neighbours are alike.
        let mut table = BTreeMap::new();
        for number in 0..300u32 {
            let mut verdict = Verdict::new(number);
            if number % 2 == 0 {
                let condition = |index| Condition {
                    index,
                    value: u64::from(number),
                    value_two: 0,
                    op: Compare::ScmpCmpEq,
                };
                verdict.when(vec![condition(0), condition(1)], 5000 + number);
            }
            table.insert(number, verdict);
        }
        let program = assemble::program(vec![(X86_64, assemble::section(&table, 9999))], X86_64, 4);
        for number in 0..300u32 {
            let own = u64::from(number);
            let met = if number % 2 == 0 { 5000 + number } else { number };
            assert_eq!(run(&program, X86_64, number, [own, own, 0, 0, 0, 0]), met);
            assert_eq!(run(&program, X86_64, number, [own, own + 1, 0, 0, 0, 0]), number);
        }
        assert_eq!(run(&program, X86_64, 300, [0; 6]), 9999);
    }

    #[test]
    fn broken_profiles_are_refused_by_name() {
        let allow = r#""defaultAction": "SCMP_ACT_ALLOW""#;
        let deny = |rest: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", {rest}}}"#);
        let min_kernel = |version: &str| {
            let includes = format!(r#""includes": {{"minKernel": "{version}"}}"#);
            format!(
                r#"{{{allow}, "syscalls": [{{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", {includes}}}]}}"#
            )
        };
        for (text, said) in [
            ("{".to_owned(), "not a profile"),
            ("{}".to_owned(), "defaultAction"),
            (format!("{{{allow}, \"sycalls\": []}}"), "sycalls"),
            (deny(r#""syscalls": [{"names": ["read"], "action": "ALLOW"}]"#), "ALLOW"),
            (deny(r#""syscalls": []"#), "denies execve"),
            (
                format!(r#"{{{allow}, "syscalls": [{{"names": ["opne"], "action": "SCMP_ACT_KILL"}}]}}"#),
                "opne",
            ),
            (format!(r#"{{{allow}, "syscalls": [{{"action": "SCMP_ACT_KILL"}}]}}"#), "needs names"),
            (format!(r#"{{{allow}, "architectures": ["x86_64"]}}"#), "not an architecture"),
            (format!(r#"{{{allow}, "flags": ["LOG"]}}"#), "unknown flag"),
            (
                format!(r#"{{{allow}, "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}}]}}"#),
                "supervisor",
            ),
            // A rule that is lost would leave open what it restricts.
            (min_kernel("5"), "is not MAJOR.MINOR"),
            (min_kernel("v5.1"), "is not MAJOR.MINOR"),
            (min_kernel("5.+1"), "is not MAJOR.MINOR"),
            (
                format!(
                    r#"{{{allow}, "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}}]}}]}}"#
                ),
                "arguments 0 to 5",
            ),
        ] {
            let error = compiled(&text, 0).unwrap_err();
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
    }

    #[test]
    fn a_restriction_without_a_condition_has_no_exceptions() {
        let rule = |action: &str, args: &str| {
            format!(r#"{{"names": ["personality"], "action": "SCMP_ACT_{action}", "args": [{args}]}}"#)
        };
        let is_8 = r#"{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}"#;
        let ask = |rules: [String; 2]| {
            let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#, rules.join(","));
            let program = compiled(&text, 0).unwrap().program;
            [8, 9].map(|arg| run(&program, X86_64, call("personality"), [arg, 0, 0, 0, 0, 0]))
        };
        let (allow, kill) = (seccomp::RET_ALLOW, seccomp::RET_KILL_THREAD);
        assert_eq!(ask([rule("ALLOW", is_8), rule("ERRNO", "")]), [EPERM, EPERM]);
        assert_eq!(ask([rule("KILL", is_8), rule("ERRNO", "")]), [kill, EPERM], "the more restrictive stays");
        assert_eq!(ask([rule("ERRNO", is_8), rule("ALLOW", "")]), [EPERM, allow]);
        assert_eq!(ask([rule("ERRNO", ""), rule("ALLOW", is_8)]), [EPERM, EPERM]);
    }

    #[test]
    fn what_32_bit_programs_call_by_another_name_is_denied_as_well() {
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["socket", "shmget", "semop"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["bind"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]}]}"#;
        let program = compiled(text, 0).unwrap().program;
        let ask = |name: &str, operation: u64| {
            run(&program, I386, (ARCHES[1].number)(name).unwrap(), [operation, 0, 0, 0, 0, 0])
        };
        for (name, operation) in [("socketcall", 1), ("ipc", 23), ("ipc", 1 << 16 | 23), ("ipc", 1)] {
            assert_eq!(ask(name, operation), EPERM, "{name} {operation:#x}");
        }
        for (name, operation) in [("socketcall", 2), ("socketcall", 3), ("ipc", 22)] {
            assert_eq!(ask(name, operation), seccomp::RET_ALLOW, "{name} {operation:#x}");
        }
    }

    #[test]
    fn profiles_of_podman_name_their_errnos() {
        let profile = |default: &str, rule: &str| {
            let execve = r#"{"names": ["execve", "exit_group", "write"], "action": "SCMP_ACT_ALLOW"}"#;
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", {default}, "syscalls": [{execve}, {{"names": ["bdflush"], "action": "SCMP_ACT_ERRNO", {rule}}}]}}"#
            )
        };
        let text = profile(
            r#""defaultErrno": "ENOSYS", "defaultErrnoRet": 38"#,
            r#""errno": "EPERM", "errnoRet": 1, "args": [], "comment": """#,
        );
        let program = compiled(&text.replace("bdflush", "mkdir"), 0).unwrap().program;
        assert_eq!(run(&program, X86_64, call("mkdir"), [0; 6]), EPERM);
        assert_eq!(run(&program, X86_64, call("open"), [0; 6]), ENOSYS);
        let named = compiled(&profile(r#""defaultErrno": "ENOSYS""#, r#""errno": "EPERM""#), 0).unwrap();
        assert_eq!(run(&named.program, X86_64, call("open"), [0; 6]), ENOSYS, "the name alone");
        for (default, rule) in [
            (r#""defaultErrno": "ENOSUCH""#, r#""errno": "EPERM""#),
            (r#""defaultErrno": "ENOSYS", "defaultErrnoRet": 1"#, r#""errno": "EPERM""#),
            (r#""defaultErrno": "ENOSYS""#, r#""errno": "EPERM", "errnoRet": 38"#),
        ] {
            let error = compiled(&profile(default, rule), 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{default} {rule}");
        }
    }

    #[test]
    fn profiles_of_docker_with_their_empty_lists_are_read() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null}],
            "syscalls": [{"names": ["execve", "exit_group", "write", "arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
                         {"name": "read", "action": "SCMP_ACT_LOG", "args": null}]}"#;
        let program = compiled(text, 0).unwrap().program;
        assert_eq!(run(&program, X86_64, call("execve"), [0; 6]), seccomp::RET_ALLOW);
        assert_eq!(run(&program, X86_64, call("read"), [0; 6]), seccomp::RET_LOG);
        assert_eq!(run(&program, X86_64, call("open"), [0; 6]), EPERM);
        assert_eq!(run(&program, I386, 3, [0; 6]), seccomp::RET_LOG, "read of 32-bit programs");
        let only = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}"#;
        assert_eq!(run(&compiled(only, 0).unwrap().program, I386, 3, [0; 6]), seccomp::RET_KILL_PROCESS);
    }
}
