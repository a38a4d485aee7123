//! What goes on while a call blocks: a session may have an attendant, who hears of events at once and acts on them.
//!
//! Everything that may block for long waits here: until what it waits for itself is ready, a signal asks the program to
//! stop, or the attendant has something to do. What the attendant fails with ends the call.

use crate::error::{Error, Result};
use crate::runtime::cancel;
use crate::runtime::session::Session;
use crate::sys::{Errno, SysError};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Acts on events while calls block, and between them.
pub trait Attendant: std::fmt::Debug {
    /// What it is to be woken for.
    fn watched(&self) -> Watched;

    /// Acts on what has come. What a turn does may block as well, and asks for no further turn meanwhile.
    ///
    /// # Errors
    /// What is to end the call that blocks.
    fn turn(&self) -> Result<()>;
}

/// What an attendant is woken for.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Files that the kernel tells the changes of (POLLPRI).
    pub told: Vec<Rc<OwnedFd>>,
    /// How often it has to look for itself, where there is something that the kernel does not tell.
    pub look: Option<Duration>,
}

type Place = RefCell<Option<Rc<dyn Attendant>>>;

fn place(session: &Session) -> Result<Rc<Place>> {
    session.fact("attendant", || Ok(Place::default()))
}

/// Gives the session an attendant, in place of the one before.
///
/// # Errors
/// As [`Session::fact`].
pub fn install(session: &Session, attendant: Rc<dyn Attendant>) -> Result<()> {
    place(session)?.replace(Some(attendant));
    Ok(())
}

fn attendant(session: &Session) -> Result<Option<Rc<dyn Attendant>>> {
    Ok(place(session)?.borrow().clone())
}

/// Lets the attendant act on what has come.
///
/// # Errors
/// What it fails with.
pub fn turn(session: &Session) -> Result<()> {
    attendant(session)?.map_or(Ok(()), |attendant| attendant.turn())
}

/// Waits for one of `fds`, for a signal, for something to attend to, or until `until`. Which of `fds` are ready. Does not
/// attend: that is for when nothing is borrowed.
///
/// # Errors
/// The failed `ppoll`.
pub fn poll(
    session: &Session,
    op: &'static str,
    fds: &[PollFd<'_>],
    until: Option<Instant>,
) -> Result<Vec<bool>> {
    poll_at(session, op, fds, until, Duration::ZERO)
}

/// As [`poll`] without an end, for a program that has nothing to do: what the kernel does not tell of is looked at no more
/// often than each `pace`.
///
/// # Errors
/// As [`poll`].
pub fn idle(session: &Session, op: &'static str, fds: &[PollFd<'_>], pace: Duration) -> Result<Vec<bool>> {
    poll_at(session, op, fds, None, pace)
}

fn poll_at(
    session: &Session,
    op: &'static str,
    fds: &[PollFd<'_>],
    until: Option<Instant>,
    pace: Duration,
) -> Result<Vec<bool>> {
    let watched = attendant(session)?.map(|attendant| attendant.watched()).unwrap_or_default();
    let look = watched.look.map(|pause| Instant::now() + pause.max(pace));
    let next = [until, look].into_iter().flatten().min();
    let mut all: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd.as_fd(), fd.events())).collect();
    all.extend(cancel::fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    all.extend(watched.told.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLPRI)));
    let left = next.map(|next| TimeSpec::from_duration(next.saturating_duration_since(Instant::now())));
    match ppoll(&mut all, left, None) {
        Ok(_) => Ok(all[..fds.len()].iter().map(|fd| fd.any() == Some(true)).collect()),
        Err(Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(errno) => {
            let call = SysError::new("ppoll", format!("{} descriptors", all.len()), errno);
            Err(Error::sys(op, "cannot wait", call))
        }
    }
}

/// As [`poll`], and attends to what has come.
///
/// # Errors
/// [`crate::error::ErrorKind::Interrupted`]; what the attendant fails with; the failed `ppoll`.
pub fn wait(
    session: &Session,
    op: &'static str,
    fds: &[PollFd<'_>],
    until: Option<Instant>,
) -> Result<Vec<bool>> {
    cancel::check(op)?;
    let ready = poll(session, op, fds, until)?;
    cancel::check(op)?;
    turn(session).map(|()| ready)
}

/// Waits until `until`.
///
/// # Errors
/// As [`wait`].
pub fn sleep(session: &Session, op: &'static str, until: Instant) -> Result<()> {
    while Instant::now() < until {
        wait(session, op, &[], Some(until))?;
    }
    cancel::check(op)
}
