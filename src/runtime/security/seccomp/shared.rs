//! The calls that 32-bit programs can make by `socketcall` and `ipc` as well (linux/net.h, linux/ipc.h).

use super::profile::{Compare, Condition};

const SOCKETCALL: [(&str, u64); 18] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The call by which `name` is made as well, and the condition on its arguments under which it is that.
pub(super) fn operation(name: &str) -> Option<(&'static str, Condition)> {
    let of = |list: &[(&str, u64)]| list.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    // The kernel looks at 32 bits of the one, and at 16 of the other: its version stands above them.
    let asks = |mask: u64, number| Condition {
        index: 0,
        value: mask,
        value_two: number,
        op: Compare::ScmpCmpMaskedEq,
    };
    of(&SOCKETCALL)
        .map(|number| ("socketcall", asks(0xffff_ffff, number)))
        .or_else(|| of(&IPC).map(|number| ("ipc", asks(0xffff, number))))
}
