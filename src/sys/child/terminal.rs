//! A terminal made inside: of the root's own `/dev/pts`, so that its name means something there, and so that nothing of the
//! host's terminals is in reach. Everything goes by descriptor, never by the name of the other side (CVE-2025-52565).

use super::root::{close, copy, find, move_to, open};
use super::{Outcome, syscall};

/// `struct msghdr` of recvmsg(2), as the kernel has it.
#[repr(C)]
struct Message {
    name: usize,
    name_len: usize,
    parts: usize,
    part_count: usize,
    control: usize,
    control_len: usize,
    flags: usize,
}

/// A control message that holds one descriptor (unix(7), `SCM_RIGHTS`), padded as the kernel wants it.
#[repr(C)]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    fd: i32,
    _padding: i32,
}

/// Makes the terminal, hands its controlling side over the socket, and runs on it: as the standard streams, as the
/// controlling terminal, and as `/dev/console` where there is a place for it.
pub(super) fn make(socket: usize, owner: u32) -> Outcome {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let controller = open(c"/dev/pts/ptmx", flags)?;
    let unlocked: i32 = 0;
    ioctl(controller, libc::TIOCSPTLCK as usize, (&raw const unlocked).addr())?;
    let peer = ioctl(controller, libc::TIOCGPTPEER as usize, flags as usize)?;
    syscall(libc::SYS_fchown, [peer, owner as usize, u32::MAX as usize, 0, 0, 0])?;
    hand_over(socket, controller)?;
    close(controller);
    for number in 0..3 {
        syscall(libc::SYS_dup3, [peer, number, 0, 0, 0, 0])?;
    }
    close(peer);
    ioctl(0, libc::TIOCSCTTY as usize, 0)?;
    console()
}

fn ioctl(fd: usize, request: usize, argument: usize) -> Outcome {
    syscall(libc::SYS_ioctl, [fd, request, argument, 0, 0, 0])
}

fn hand_over(socket: usize, fd: usize) -> Outcome {
    let byte = 0u8;
    let part: [usize; 2] = [(&raw const byte).addr(), 1];
    let rights = Rights {
        len: size_of::<Rights>() - size_of::<i32>(),
        level: libc::SOL_SOCKET,
        kind: libc::SCM_RIGHTS,
        fd: fd as i32,
        _padding: 0,
    };
    let message = Message {
        name: 0,
        name_len: 0,
        parts: part.as_ptr().addr(),
        part_count: 1,
        control: (&raw const rights).addr(),
        control_len: size_of::<Rights>(),
        flags: 0,
    };
    syscall(libc::SYS_sendmsg, [socket, (&raw const message).addr(), 0, 0, 0, 0])
}

fn console() -> Outcome {
    let target = match find(c"/dev/console".as_ptr().addr(), 0, true) {
        Err(libc::ENOENT) => return Ok(0),
        other => other?,
    };
    let outcome = copy(0, 0).and_then(|mount| {
        let moved = move_to(mount, target);
        close(mount);
        moved
    });
    close(target);
    outcome
}
