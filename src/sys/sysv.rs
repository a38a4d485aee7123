//! Removing System V queues, semaphores and shared memory (sysvipc(7)).
#![expect(unsafe_code, reason = "msgctl, semctl and shmctl, which no crate wraps")]

use crate::sys::{Errno, Result, call};

/// Removes what is of the kind `shm`, `sem` or `msg` and has this id.
///
/// # Errors
/// The failed call.
pub fn remove(kind: &'static str, id: i32) -> Result<()> {
    let show = || format!("{id}, IPC_RMID");
    match kind {
        "shm" => call("shmctl", show, || {
            // SAFETY: IPC_RMID takes no memory.
            done(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) })
        }),
        "sem" => call("semctl", show, || {
            // SAFETY: as above.
            done(unsafe { libc::semctl(id, 0, libc::IPC_RMID) })
        }),
        _ => call("msgctl", show, || {
            // SAFETY: as above.
            done(unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) })
        }),
    }
}

fn done(result: libc::c_int) -> std::result::Result<(), Errno> {
    Errno::result(result).map(drop)
}
