//! What processes in the background write to our output while a person types: it comes by pipes, so that whoever has the
//! terminal can put it where it disturbs nobody.

use crate::error::Result;
use crate::runtime::proc::Process;
use crate::runtime::session::Session;
use nix::poll::{PollFd, PollFlags};
use std::any::Any;
use std::rc::Rc;

/// The processes of a session whose output has to be read.
fn beside(session: &Session) -> Vec<Rc<Process>> {
    if !session.is_interactive() {
        return Vec::new();
    }
    let handles = session.live().into_iter().filter_map(|live| session.peek_handle(live.id));
    let processes = handles.filter_map(|handle| {
        let any: Rc<dyn Any> = handle;
        any.downcast::<Process>().ok()
    });
    processes.filter(|process| process.course.streams.borrow().is_beside()).collect()
}

/// Calls `wait` with `fds` and what tells that one of these processes has written.
pub fn with_poll_set<T>(session: &Session, fds: &[PollFd<'_>], wait: impl FnOnce(&[PollFd<'_>]) -> T) -> T {
    let processes = beside(session);
    let streams: Vec<_> = processes.iter().map(|process| process.course.streams.borrow()).collect();
    let mut all: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::new(std::os::fd::AsFd::as_fd(fd), fd.events())).collect();
    all.extend(
        streams.iter().flat_map(|streams| streams.outputs()).map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
    );
    wait(&all)
}

/// What these processes have written since the last time.
///
/// # Errors
/// A failed `read`.
pub fn written(session: &Session) -> Result<Vec<u8>> {
    const OP: &str = "proc::spawn";
    let mut all = Vec::new();
    for process in beside(session) {
        all.extend(process.course.streams.borrow_mut().take_written(OP)?);
    }
    Ok(all)
}
