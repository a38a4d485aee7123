//! System calls that no crate wraps, made directly.
#![expect(unsafe_code, reason = "system calls by number")]

use crate::sys::Errno;

/// `mount_setattr(fd, "", flags, {set, 0, propagation, userns})`.
pub(super) fn mount_setattr(
    fd: i32,
    flags: i32,
    set: u64,
    propagation: u64,
    userns: u64,
) -> Result<(), Errno> {
    let attr: [u64; 4] = [set, 0, propagation, userns];
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

/// `waitid(P_PIDFD, fd, …, options, &usage)`: how the child ended and what it used; `None` while it runs.
///
/// The C library's `waitid` has no room for the usage; the system call has.
pub(super) fn wait_usage(
    fd: i32,
    options: i32,
) -> Result<Option<(super::process::Exit, super::process::Usage)>, Errno> {
    // SAFETY: both are plain C structures, for which all zeroes is a value.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
    let id = libc::P_PIDFD;
    // SAFETY: the two structures live across the call, which fills them in.
    let result = unsafe { libc::syscall(libc::SYS_waitid, id, fd, &raw mut info, options, &raw mut usage) };
    Errno::result(result)?;
    // SAFETY: waitid has filled in the child part of the union, or left all zeroes.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let exit = match info.si_code {
        libc::CLD_EXITED => super::process::Exit::Code(status),
        _ => super::process::Exit::Signal(status),
    };
    let time = |time: libc::timeval| {
        let (seconds, micros) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec));
        std::time::Duration::from_secs(seconds.unwrap_or(0))
            + std::time::Duration::from_micros(micros.unwrap_or(0))
    };
    let memory_peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    let used =
        super::process::Usage { user: time(usage.ru_utime), system: time(usage.ru_stime), memory_peak };
    Ok(Some((exit, used)))
}

/// `landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION)`.
pub(super) fn landlock_abi() -> Result<i64, Errno> {
    const VERSION: u32 = 1;
    let none = std::ptr::null::<u8>();
    // SAFETY: no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) };
    Errno::result(result)
}

/// `ioctl(fd, KVM_GET_API_VERSION, 0)`.
pub(super) fn kvm_version(fd: i32) -> Result<i32, Errno> {
    const KVM_GET_API_VERSION: libc::c_ulong = 0xae00;
    // SAFETY: the request takes no memory.
    let result = unsafe { libc::ioctl(fd, KVM_GET_API_VERSION, 0) };
    Errno::result(result)
}
