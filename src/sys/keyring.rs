//! Keys of the kernel's key management (keyrings(7)).
#![expect(unsafe_code, reason = "keyctl by number")]

use crate::sys::{Errno, Result, call};

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its serial number.
    pub serial: i32,
    /// Its type: `user`, `logon`, `keyring`.
    pub kind: String,
    /// What it is called.
    pub description: String,
}

const JOIN_SESSION_KEYRING: libc::c_long = 1;
const UNLINK: libc::c_long = 9;
const INVALIDATE: libc::c_long = 21;
/// The keyrings of the user, and of the user's sessions (`KEY_SPEC_…`).
const USER_KEYRINGS: [libc::c_long; 2] = [-4, -5];

/// The keys that this program sees, without the keyrings that the kernel keeps for users and sessions.
#[must_use]
pub fn list() -> Vec<Key> {
    let text = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    text.lines()
        .filter_map(parse)
        .filter(|key| !key.description.starts_with('_') && !key.description.starts_with('.'))
        .collect()
}

/// `0806afc8 I------     1 perm 0f0b0000     0     0 keyring   .blacklist: empty`
fn parse(line: &str) -> Option<Key> {
    let mut fields = line.split_ascii_whitespace();
    let serial = u32::from_str_radix(fields.next()?, 16).ok()?;
    let kind = fields.nth(6)?.to_owned();
    let rest: Vec<&str> = fields.collect();
    let rest = rest.join(" ");
    let description =
        rest.rsplit_once(": ").map_or(rest.as_str(), |(name, _)| name).trim_end_matches(':').to_owned();
    Some(Key { serial: i32::try_from(serial).ok()?, kind, description })
}

/// Gives this program a session keyring of its own.
///
/// # Errors
/// The failed `keyctl`.
pub fn join_own_session() -> Result<()> {
    call("keyctl", || "KEYCTL_JOIN_SESSION_KEYRING, NULL".into(), || keyctl(JOIN_SESSION_KEYRING, 0, 0))
}

/// Takes a key out of the keyrings of the user, or makes it unusable where it is in neither.
///
/// # Errors
/// The failed `keyctl`.
pub fn remove(serial: i32) -> Result<()> {
    let unlink = |ring: libc::c_long| {
        call("keyctl", || format!("KEYCTL_UNLINK, {serial}, {ring}"), || keyctl(UNLINK, serial.into(), ring))
    };
    if USER_KEYRINGS.into_iter().filter(|ring| unlink(*ring).is_ok()).count() > 0 {
        return Ok(());
    }
    call("keyctl", || format!("KEYCTL_INVALIDATE, {serial}"), || keyctl(INVALIDATE, serial.into(), 0))
}

fn keyctl(
    command: libc::c_long,
    argument: libc::c_long,
    second: libc::c_long,
) -> std::result::Result<(), Errno> {
    // SAFETY: no memory is passed: the arguments are serial numbers, or NULL where the command takes none.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, command, argument, second, 0, 0) };
    Errno::result(result).map(drop)
}
