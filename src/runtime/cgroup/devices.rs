//! Rules on device files: version 1 has a list of exceptions, version 2 asks a program that we assemble.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::dir::Dir;
use crate::sys::bpf::{self, DeviceRule};
use std::fmt;

/// One rule. The last one that fits an access decides; where none fits it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether the access is allowed.
    pub allow: bool,
    /// `c` for character devices, `b` for block devices, `a` for all.
    pub kind: char,
    /// The major number; `None` for all.
    pub major: Option<u32>,
    /// The minor number; `None` for all.
    pub minor: Option<u32>,
    /// To read it.
    pub read: bool,
    /// To write it.
    pub write: bool,
    /// To make it (mknod(2)).
    pub mknod: bool,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.allow { "allow" } else { "deny" };
        if self.is_all() { write!(f, "{verb} all") } else { write!(f, "{verb} {}", self.entry()) }
    }
}

impl Rule {
    /// The rule for every device.
    #[must_use]
    pub const fn all(allow: bool) -> Self {
        Self { allow, kind: 'a', major: None, minor: None, read: true, write: true, mknod: true }
    }

    /// Reads `deny all`, `allow c 1:3 rwm`, `allow b 8:* r` or `allow /dev/null rw`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`]; [`ErrorKind::NotFound`] for a path that does not exist.
    pub fn parse(op: &'static str, text: &str) -> Result<Self> {
        let wrong = || {
            let what = format!("devices: {text:?} is not a rule");
            Error::new(ErrorKind::InvalidArgument, op, what)
                .hint("write \"deny all\", \"allow c 1:3 rwm\" or \"allow /dev/null rw\"")
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let allow = match words.first() {
            Some(&"allow") => true,
            Some(&"deny") => false,
            _ => return Err(wrong()),
        };
        match words[1..] {
            ["all" | "a"] => Ok(Self::all(allow)),
            [path, access] if path.starts_with('/') => {
                Self::of_path(op, path)?.to(allow, access).ok_or_else(wrong)
            }
            [path] if path.starts_with('/') => Self::of_path(op, path)?.to(allow, "rwm").ok_or_else(wrong),
            [kind @ ("c" | "b"), numbers, access] => {
                let number = |text: &str| match text {
                    "*" => Ok(None),
                    _ => text.parse().map(Some).map_err(|_| wrong()),
                };
                let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
                let kind = if kind == "c" { 'c' } else { 'b' };
                let rule = Self { kind, major: number(major)?, minor: number(minor)?, ..Self::all(allow) };
                rule.to(allow, access).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn to(self, allow: bool, access: &str) -> Option<Self> {
        let known = !access.is_empty() && access.chars().all(|c| "rwm".contains(c));
        let has = |c| access.contains(c);
        known.then_some(Self { allow, read: has('r'), write: has('w'), mknod: has('m'), ..self })
    }

    fn of_path(op: &'static str, path: &str) -> Result<Self> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let found = std::fs::metadata(path).context(op, format!("cannot examine the device {path}"))?;
        let kind = match found.file_type() {
            kind if kind.is_char_device() => 'c',
            kind if kind.is_block_device() => 'b',
            _ => {
                let what = format!("devices: {path} is not a device file");
                return Err(Error::new(ErrorKind::InvalidArgument, op, what).path(path));
            }
        };
        let device = super::io::Device::of(found.rdev());
        Ok(Self { kind, major: Some(device.major), minor: Some(device.minor), ..Self::all(true) })
    }

    /// As the files of version 1 have it: `c 1:3 rwm`, `a *:* rwm`.
    #[must_use]
    pub fn entry(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let access: String = [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')]
            .into_iter()
            .filter_map(|(has, letter)| has.then_some(letter))
            .collect();
        format!("{} {}:{} {access}", self.kind, number(self.major), number(self.minor))
    }

    /// Whether it is about every access to every device.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::all(self.allow)
    }

    /// Whether some access fits both.
    fn meets(&self, other: &Self) -> bool {
        let same = |ours: Option<u32>, theirs: Option<u32>| {
            ours.is_none_or(|ours| theirs.is_none_or(|theirs| ours == theirs))
        };
        (self.kind == other.kind || self.kind == 'a' || other.kind == 'a')
            && same(self.major, other.major)
            && same(self.minor, other.minor)
            && (self.read && other.read || self.write && other.write || self.mknod && other.mknod)
    }

    fn covers(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
            && (self.read || !other.read)
            && (self.write || !other.write)
            && (self.mknod || !other.mknod)
    }
}

/// Whether the rules of a group deny every device that they do not name.
#[must_use]
pub fn closes(dir: &Dir) -> bool {
    match dir.version {
        2 => dir.closes_devices(),
        _ => dir.read("cgroup", "devices.list").is_ok_and(|list| list.trim() != "a *:* rwm"),
    }
}

/// Sets the rules on a version 1 group: what is the rule for all, and the exceptions of the other kind.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for an order that version 1 cannot hold; the failed write; a difference.
pub fn set_v1(op: &'static str, dir: &Dir, rules: &[Rule]) -> Result<()> {
    let (allowed, exceptions) = normal_form(op, rules)?;
    dir.write(op, if allowed { "devices.allow" } else { "devices.deny" }, "a")?;
    for rule in &exceptions {
        dir.write(op, if rule.allow { "devices.allow" } else { "devices.deny" }, &rule.entry())?;
    }
    let held = dir.read(op, "devices.list")?;
    // Exceptions to "allow all" are in force and not shown.
    let expected: Vec<String> = match allowed {
        true => vec![Rule::all(true).entry()],
        false => exceptions.iter().map(Rule::entry).collect(),
    };
    if expected.iter().all(|line| held.lines().any(|found| found == line)) {
        return Ok(());
    }
    let what = format!("devices: asked for {}, the kernel holds {held:?}", expected.join(", "));
    Err(Error::new(ErrorKind::InvalidArgument, op, what).path(dir.path.join("devices.list")))
}

/// The rule for all, and the exceptions to it.
fn normal_form(op: &'static str, rules: &[Rule]) -> Result<(bool, Vec<Rule>)> {
    let start = rules.iter().rposition(Rule::is_all);
    let allowed = start.is_none_or(|at| rules[at].allow);
    let mut exceptions: Vec<Rule> = Vec::new();
    for rule in &rules[start.map_or(0, |at| at + 1)..] {
        if rule.allow != allowed {
            exceptions.push(*rule);
            continue;
        }
        exceptions.retain(|exception| !rule.covers(exception));
        if exceptions.iter().any(|exception| rule.meets(exception)) {
            let what = format!("devices: version 1 cannot hold the rule \"{rule}\" after the ones before it");
            return Err(Error::new(ErrorKind::Unsupported, op, what)
                .hint("it has one rule for all and exceptions of the other kind: list those alone"));
        }
    }
    Ok((allowed, exceptions))
}

/// Sets the rules on a version 2 group: as a program that the kernel asks, in place of the one before.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where the kernel takes no such program, with the reason.
pub fn set_v2(op: &'static str, dir: &Dir, rules: &[Rule]) -> Result<()> {
    let closes = rules.iter().rfind(|rule| rule.is_all()).is_some_and(|rule| !rule.allow);
    let rules: Vec<DeviceRule> = rules.iter().map(Rule::for_program).collect();
    let explain = |source: crate::sys::SysError, what: &str| {
        use crate::sys::Errno;
        let errno = source.errno();
        let error = Error::sys(op, format!("devices: {what}"), source).path(&dir.path);
        match errno {
            Errno::EPERM => error.hint("it needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN: run as root"),
            Errno::ENOSYS | Errno::EINVAL => error
                .kind_is(ErrorKind::Unsupported)
                .hint("the kernel needs CONFIG_CGROUP_BPF (version 2 has no other way to limit devices)"),
            _ => error,
        }
    };
    let program = bpf::device_program(&rules).map_err(|source| explain(source, "cannot load the rules"))?;
    dir.replace_program(program, closes, |group, program, before| {
        bpf::attach(group, program, before).map_err(|source| explain(source, "cannot attach the rules"))
    })?;
    let attached = bpf::attached(dir.fd()).map_err(|source| explain(source, "cannot read the rules back"))?;
    if attached > 0 {
        return Ok(());
    }
    let what = "devices: the rules were set, and the kernel holds none";
    Err(Error::new(ErrorKind::InvalidArgument, op, what).path(&dir.path))
}

impl Rule {
    fn for_program(&self) -> DeviceRule {
        let bit = |has: bool, bit: u32| if has { bit } else { 0 };
        DeviceRule {
            allow: self.allow,
            kind: match self.kind {
                'b' => Some(bpf::BLOCK),
                'c' => Some(bpf::CHARACTER),
                _ => None,
            },
            major: self.major,
            minor: self.minor,
            access: bit(self.mknod, 1) | bit(self.read, 2) | bit(self.write, 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_back_as_version_1_writes_them() {
        for (text, entry) in
            [("deny all", "a *:* rwm"), ("allow c 1:3 rw", "c 1:3 rw"), ("allow b 8:* r", "b 8:* r")]
        {
            let rule = Rule::parse("t", text).unwrap();
            assert_eq!(rule.entry(), entry);
        }
        for wrong in ["", "all", "allow", "allow c 1 rwm", "allow c 1:3 x", "allow x 1:3 r", "deny c 1:-3 r"]
        {
            assert!(Rule::parse("t", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn version_1_refuses_what_it_cannot_order() {
        let rules = |texts: &[&str]| -> Vec<Rule> {
            texts.iter().map(|text| Rule::parse("t", text).unwrap()).collect()
        };
        let (allowed, exceptions) =
            normal_form("t", &rules(&["deny all", "allow c 1:3 rw", "allow c 1:5 r"])).unwrap();
        assert!(!allowed && exceptions.len() == 2);
        let (allowed, exceptions) =
            normal_form("t", &rules(&["deny c 1:3 w", "deny all", "allow c 1:3 r", "deny c 1:3 r"])).unwrap();
        assert!(!allowed && exceptions.is_empty());
        for order in [
            &["deny all", "allow c 1:* rw", "deny c 1:5 w"][..],
            &["deny all", "allow c 1:5 w", "allow c 1:* rw", "deny c 1:5 w"],
        ] {
            assert_eq!(normal_form("t", &rules(order)).unwrap_err().kind(), ErrorKind::Unsupported);
        }
        // What is denied in any case may be denied once more.
        let (allowed, exceptions) =
            normal_form("t", &rules(&["deny all", "allow b *:* m", "deny b 8:0 rw"])).unwrap();
        assert!(!allowed && exceptions.len() == 1);
    }
}
