//! Loop devices (loop(4)).
#![expect(unsafe_code, reason = "an ioctl")]

use crate::sys::{Errno, Result, call, file};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Takes the file away from a loop device.
///
/// # Errors
/// The failed `openat` or `ioctl`; `ENXIO` when it has none.
pub fn clear(device: &Path) -> Result<()> {
    const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
    let fd = file::openat(CWD, device, OFlags::RDWR, Mode::empty())?;
    call(
        "ioctl",
        || format!("{}, LOOP_CLR_FD", fd.as_raw_fd()),
        || {
            // SAFETY: the request takes no memory.
            let result = unsafe { libc::ioctl(fd.as_raw_fd(), LOOP_CLR_FD, 0) };
            Errno::result(result).map(drop)
        },
    )
}
