//! TCP connections with one deadline for everything, stopped by signals.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::Netns;
use crate::runtime::net::netns::make_in;
use crate::runtime::session::Session;
use crate::runtime::units::show_duration;
use crate::runtime::{attend, cancel, units};
use crate::sys::socket;
use crate::sys::{Errno, SysError};
use nix::poll::{PollFd, PollFlags};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long the first try of [`wait_port`] may take: a lost first packet is sent again only after a second.
const FIRST_TRY: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// When a call has to be done, and in whose name it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline<'a> {
    session: &'a Session,
    pub(super) op: &'static str,
    started: Instant,
    timeout: Duration,
}

impl<'a> Deadline<'a> {
    pub(super) fn new(session: &'a Session, op: &'static str, timeout: Duration) -> Self {
        Self { session, op, started: Instant::now(), timeout }
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    pub(super) fn over(&self, what: &str) -> Error {
        let text = format!("{what} within {}", units::show_duration(self.timeout));
        Error::new(ErrorKind::Timeout, self.op, text)
    }

    /// Waits for `fd`, or just waits, for `limit` at most; `false` when that or the deadline is over.
    fn wait(&self, fd: Option<(&OwnedFd, bool)>, limit: Duration) -> Result<bool> {
        let until = Instant::now() + limit.min(self.left());
        let flags = |write| if write { PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let fd = fd.map(|(fd, write)| PollFd::new(fd.as_fd(), flags(write)));
        let fds: Vec<PollFd<'_>> = fd.into_iter().collect();
        loop {
            if attend::wait(self.session, self.op, &fds, Some(until))?.contains(&true) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    fd: OwnedFd,
    deadline: Deadline<'a>,
}

/// Why one try to connect failed.
enum Failed {
    /// The network or the peer said no.
    Refused(SysError),
    /// No answer in time.
    Silent,
    /// Not to be tried again.
    Final(Error),
}

fn try_connect<'a>(
    target: Option<&Netns>,
    peer: SocketAddr,
    deadline: Deadline<'a>,
    limit: Duration,
) -> Result<Stream<'a>, Failed> {
    let fd = make_in(target, || socket::tcp(peer))
        .context(deadline.op, "cannot open a socket")
        .map_err(Failed::Final)?;
    if !socket::connect(&fd, peer).map_err(Failed::Refused)? {
        if !deadline.wait(Some((&fd, true)), limit).map_err(Failed::Final)? {
            return Err(Failed::Silent);
        }
        socket::outcome(&fd, peer).map_err(Failed::Refused)?;
    }
    Ok(Stream { fd, deadline })
}

impl<'a> Stream<'a> {
    /// Connects to the first of `peers` that answers.
    pub(super) fn connect(
        target: Option<&Netns>,
        peers: &[SocketAddr],
        deadline: Deadline<'a>,
    ) -> Result<Self> {
        let mut errors = Vec::new();
        for peer in peers {
            match try_connect(target, *peer, deadline, deadline.left()) {
                Ok(stream) => return Ok(stream),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Silent) => errors.push(deadline.over("no connection").subject(peer)),
                Err(Failed::Refused(source)) => errors.push(unreachable(deadline.op, *peer, source)),
            }
        }
        let none = || Error::new(ErrorKind::NotFound, deadline.op, "no address to connect to");
        Err(errors.into_iter().next().unwrap_or_else(none))
    }

    /// Sends everything.
    pub(super) fn send(&self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            match socket::send(&self.fd, data) {
                Ok(sent) => data = &data[sent..],
                Err(error) => self.blocked(error, true, "cannot send the request")?,
            }
        }
        Ok(())
    }

    /// Receives something; 0 is the end.
    pub(super) fn receive(&self, buf: &mut [u8]) -> Result<usize> {
        loop {
            match socket::recv(&self.fd, buf) {
                Ok(got) => return Ok(got),
                Err(error) => self.blocked(error, false, "the connection broke")?,
            }
        }
    }

    fn blocked(&self, error: SysError, write: bool, what: &str) -> Result<()> {
        match error.errno() {
            Errno::EAGAIN => match self.deadline.wait(Some((&self.fd, write)), self.deadline.left())? {
                true => Ok(()),
                false => Err(self.deadline.over("no complete answer")),
            },
            Errno::EINTR => cancel::check(self.deadline.op),
            _ => Err(Error::sys(self.deadline.op, what, error).kind_is(ErrorKind::Corrupt)),
        }
    }
}

fn unreachable(op: &'static str, peer: SocketAddr, source: SysError) -> Error {
    let (what, kind) = match source.errno() {
        Errno::ECONNREFUSED => ("nothing listens there", ErrorKind::NotFound),
        Errno::ENETUNREACH | Errno::EHOSTUNREACH => ("no route leads there", ErrorKind::NotFound),
        errno => ("cannot connect", ErrorKind::of_errno(errno)),
    };
    Error::sys(op, what, source).kind_is(kind).subject(peer)
}

/// Waits until something accepts connections on `port` of `host`, seen from the namespace `target` or from here, and
/// says how long that took.
///
/// # Errors
/// [`ErrorKind::Timeout`], with what the last try answered; [`ErrorKind::Interrupted`] by a signal;
/// [`ErrorKind::NotFound`] for a name that `/etc/hosts` does not have.
pub fn wait_port(
    session: &Session,
    target: Option<&Netns>,
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<Duration> {
    const OP: &str = "net::wait_port";
    if port == 0 {
        return Err(Error::new(ErrorKind::InvalidArgument, OP, "the port is not between 1 and 65535"));
    }
    let peers = resolve(OP, host, port)?;
    let deadline = Deadline::new(session, OP, timeout);
    let (mut limit, mut pause) = (FIRST_TRY, FIRST_PAUSE);
    let mut last = None;
    loop {
        for peer in &peers {
            match try_connect(target, *peer, deadline, limit) {
                Ok(_) => return Ok(deadline.started.elapsed()),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Silent) => limit *= 2,
                Err(Failed::Refused(source)) => last = Some(source),
            }
        }
        if deadline.left().is_zero() {
            break;
        }
        deadline.wait(None, pause)?;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    let error =
        Error::new(ErrorKind::Timeout, OP, format!("no connection within {}", show_duration(timeout)))
            .subject(if peers.len() == 1 { peers[0].to_string() } else { format!("{host}:{port}") });
    Err(match last {
        Some(source) => error.caused_by(source),
        None => error.hint("no try was answered: the packets get lost, or the address is nobody's"),
    })
}

/// The addresses of a host: an address, `localhost`, or a name in `/etc/hosts`.
pub(super) fn resolve(op: &'static str, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<IpAddr> = match bare.parse() {
        Ok(addr) => vec![addr],
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Err(_) => lookup(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), host),
    };
    if addresses.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, op, "the name is not in /etc/hosts")
            .subject(host)
            .hint("names are not asked of a DNS server: write an address, such as 10.9.0.2"));
    }
    Ok(addresses.into_iter().map(|addr| SocketAddr::new(addr, port)).collect())
}

/// The addresses of a name in the text of `/etc/hosts`.
fn lookup(hosts: &str, name: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let addr = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(addr)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_hosts_file_only() {
        let hosts =
            "127.0.0.1 localhost\n# 10.0.0.9 web\n10.0.0.2\tweb web.lan # the web\nfd00::2 WEB\nbad web\n";
        let expected: [IpAddr; 2] = [Ipv4Addr::new(10, 0, 0, 2).into(), "fd00::2".parse().unwrap()];
        assert_eq!(lookup(hosts, "web"), expected);
        assert!(lookup(hosts, "the").is_empty());
        let shown = |host| resolve("net::wait_port", host, 80).map(|peers| peers[0].to_string());
        assert_eq!(shown("10.9.0.2").unwrap(), "10.9.0.2:80");
        assert_eq!(shown("[fd00::1]").unwrap(), "[fd00::1]:80");
        assert_eq!(shown("localhost").unwrap(), "127.0.0.1:80");
        let error = shown("no-such-name.invalid").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint_text().unwrap().contains("DNS"));
    }
}
