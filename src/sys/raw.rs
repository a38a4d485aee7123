//! System calls that no crate wraps, made directly.
#![expect(unsafe_code, reason = "system calls by number")]

use crate::sys::Errno;

/// `mount_setattr(fd, "", flags, {set, 0, propagation, 0})`.
pub(super) fn mount_setattr(fd: i32, flags: i32, set: u64, propagation: u64) -> Result<(), Errno> {
    let attr: [u64; 4] = [set, 0, propagation, 0];
    // SAFETY: the path is a static C string and the struct (four u64, linux/mount.h) lives across the call.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, attr.as_ptr(), size_of_val(&attr))
    };
    Errno::result(result).map(drop)
}

/// `pidfd_send_signal(fd, signal, NULL, 0)`.
pub(super) fn pidfd_send_signal(fd: i32, signal: i32) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) };
    Errno::result(result).map(drop)
}
