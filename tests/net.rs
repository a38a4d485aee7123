//! Links as the library makes them: what a killed session left, what is traced, and what is not a session's to change. What
//! scripts see of them is in `tests/rhai/net`.
//!
//! Every test runs on a thread with a network namespace of its own, which stands for the host: the machine's own
//! links are never touched, and tests do not meet.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use cshell::error::{Error, ErrorKind};
use cshell::runtime::gc;
use cshell::runtime::net::{self, EndSpec, Netns, VethSpec};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use cshell::runtime::trace::{Event, Sink};
use cshell::sys::nsfd;
use nix::sched::CloneFlags;
use serde_json::Value;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Runs `test` on a thread in a new network namespace, with state folders of its own; both are gone after.
fn on_a_host(test: impl FnOnce(&StateDirs) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: it takes root to make network namespaces");
        return;
    }
    if !Path::new("/sbin/ip").exists()
        && !Path::new("/usr/sbin/ip").exists()
        && !Path::new("/bin/ip").exists()
    {
        eprintln!("SKIP: there is no ip command (package iproute2)");
        return;
    }
    let thread = std::thread::spawn(move || {
        nsfd::unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let dir = tempfile::tempdir().expect("a folder");
        test(&StateDirs { run: dir.path().join("run"), root: dir.path().join("root") });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A network namespace that lives as long as the value.
fn new_netns(label: &str) -> Netns {
    let open = || {
        nsfd::unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        nsfd::open(0, "net").expect("its fd")
    };
    let fd = std::thread::spawn(open).join().expect("a thread");
    Netns::new("test", fd, label).expect("its inode")
}

#[expect(clippy::disallowed_methods, reason = "an outside tool that looks at what was made")]
fn ip(args: &str) -> Value {
    let output = std::process::Command::new("ip").args(args.split(' ')).output().expect("ip");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args}: {stderr}");
    if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).expect("JSON") }
}

fn ip_in(ns: &Netns, args: &str) -> Value {
    let outcome =
        nsfd::inside(ns.fd.as_fd(), CloneFlags::CLONE_NEWNET, || Ok::<_, cshell::sys::SysError>(ip(args)));
    outcome.expect("to enter the namespace")
}

/// The names of the links, as `ip` has them.
fn names(links: &Value) -> Vec<String> {
    let links = links.as_array().expect("a list");
    links.iter().filter_map(|link| link["ifname"].as_str()).map(str::to_owned).collect()
}

fn link_of(links: &Value, name: &str) -> Value {
    let links = links.as_array().expect("a list");
    links
        .iter()
        .find(|link| link["ifname"] == name)
        .cloned()
        .unwrap_or_else(|| panic!("no {name} in {links:?}"))
}

fn end(name: &str, addr: &str) -> EndSpec {
    EndSpec { name: Some(name.into()), addr: vec![addr.into()], ..EndSpec::default() }
}

fn pair(end: EndSpec, peer: EndSpec) -> VethSpec {
    VethSpec { end, peer }
}

fn inside(ns: &Netns, addr: &str) -> EndSpec {
    EndSpec { ns: Some(ns.clone()), addr: vec![addr.into()], ..EndSpec::default() }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, text: &str) -> Error {
    let error = result.expect_err("it should fail");
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(format!("{error:?}").contains(text), "{text:?} is not in {error:?}");
    error
}

#[track_caller]
fn closes(session: &Session) {
    let errors = session.close();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn bad_input_begins_nothing() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let spec = pair(EndSpec { mtu: Some(10), ..end("v0", "10.9.0.1/24") }, EndSpec::default());
        fails(net::veth(&session, spec), ErrorKind::InvalidArgument, "between 68 and 65535");
        // Not even a ledger.
        assert!(!dirs.run.exists());
        assert_eq!(names(&ip("-j link")), ["lo"]);
    });
}

/// The lines of the ledger of the only session in `dirs`.
fn ledger(dirs: &StateDirs) -> Vec<String> {
    let home =
        std::fs::read_dir(&dirs.run).expect("the run folder").next().expect("a session").expect("a folder");
    let text = std::fs::read_to_string(home.path().join("ledger")).expect("the ledger");
    text.lines().map(str::to_owned).collect()
}

/// State folders with one dead session, whose ledger has these lines.
fn dead(dir: &Path, lines: &[String]) -> StateDirs {
    let dirs = StateDirs { run: dir.join("run"), root: dir.join("root") };
    let home = dirs.run.join("session-dead");
    std::fs::create_dir_all(&home).expect("a folder");
    std::fs::write(home.join("ledger"), lines.join("\n") + "\n").expect("a ledger");
    dirs
}

/// Kills a session after each line of its ledger, in effect, and has the rest reclaimed.
fn reclaims_at_any_moment(dirs: &StateDirs, mac: Option<&str>, both_inside: bool) {
    for lines in 1..=2 {
        let session = Session::new(dirs.clone()).expect("a session");
        let (a, b) = (new_netns("a"), new_netns("b"));
        let first = if both_inside { inside(&a, "10.9.0.1/24") } else { end("v0", "10.9.0.1/24") };
        let first = EndSpec { mac: mac.map(Into::into), ..first };
        net::veth(&session, pair(first, inside(&b, "10.9.0.2/24"))).expect("a veth");
        let written = ledger(dirs);
        assert_eq!(written.len(), 2, "{written:?}");
        // After the first line the link bears the address that it was born with.
        if lines == 1
            && let Some(mac) = mac
        {
            let text = &written[0];
            let born = text.split("\"mac\":\"").nth(1).and_then(|rest| rest.get(..17)).expect("an address");
            assert_ne!(born, mac);
            let set = |name: &str| format!("link set {name} address {born}");
            if both_inside {
                ip_in(&a, &set("eth0"))
            } else {
                ip(&set("v0"))
            };
        }
        let dir = tempfile::tempdir().expect("a folder");
        let found = gc::collect(&dead(dir.path(), &written[..lines]), gc::Options::default()).expect("gc");
        assert_eq!(found.len(), 1);
        assert!(found[0].errors.is_empty(), "{found:?}");
        assert_eq!(names(&ip("-j link")), ["lo"], "after {lines} lines");
        assert_eq!(names(&ip_in(&b, "-j link")), ["lo"], "after {lines} lines");
        closes(&session);
    }
}

#[test]
fn what_a_killed_session_left_is_reclaimed_at_any_moment() {
    on_a_host(|dirs| {
        reclaims_at_any_moment(dirs, None, false);
        reclaims_at_any_moment(dirs, None, true);
        reclaims_at_any_moment(dirs, Some("02:11:22:33:44:55"), false);
    });
}

#[test]
fn a_foreign_link_survives_the_reclaiming_of_its_name_and_index() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let ns = new_netns("box");
        net::veth(&session, pair(end("v0", "10.9.0.1/24"), inside(&ns, "10.9.0.2/24"))).unwrap();
        let index = link_of(&ip("-j link"), "v0")["ifindex"].clone();
        ip("link del v0");
        ip(&format!("link add v0 index {index} type veth peer name v1"));
        let before = names(&ip("-j link"));
        closes(&session);
        assert_eq!(names(&ip("-j link")), before);
        // A bridge takes over the hardware address of its port: it is not ours for that.
        let session = Session::new(dirs.clone()).unwrap();
        let (_, veth) =
            net::veth(&session, pair(end("v5", "10.9.0.1/24"), inside(&ns, "10.9.0.2/24"))).unwrap();
        let mac = veth.end.link.mac.unwrap().to_string();
        let lines = ledger(dirs);
        ip("link del v5");
        ip(&format!("link add br0 address {mac} type bridge"));
        let dir = tempfile::tempdir().unwrap();
        let found = gc::collect(&dead(dir.path(), &lines[..1]), gc::Options::default()).unwrap();
        assert!(found[0].errors.is_empty(), "{found:?}");
        assert!(names(&ip("-j link")).contains(&"br0".to_owned()));
        closes(&session);
    });
}

#[derive(Debug, Default, Clone)]
struct Calls(Arc<Mutex<Vec<String>>>);

impl Sink for Calls {
    fn event(&self, event: &Event<'_>) {
        let mut lines = self.0.lock().expect("the lines");
        match event {
            Event::Step(step) => {
                lines.push(format!("{}: {}", step.op, step.intent));
                lines.extend(step.calls.iter().map(|call| format!("{} = {:?}", call.call, call.result)));
                lines.push(format!("effect: {:?}, undo: {}", step.effect, step.undo));
            }
            Event::Undo(undo) => lines.extend(undo.calls.iter().map(|call| call.call.clone())),
        }
    }
}

#[test]
fn the_trace_shows_each_request() {
    on_a_host(|dirs| {
        let sink = Calls::default();
        let session = Session::new(dirs.clone()).unwrap().traced(Box::new(sink.clone()));
        let ns = new_netns("box");
        net::veth(&session, pair(end("v0", "10.9.0.1/24"), inside(&ns, "10.9.0.2/24"))).unwrap();
        closes(&session);
        let lines = sink.0.lock().unwrap().clone();
        let has = |text: &str| assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:#?}");
        has("net::veth: join v0 10.9.0.1/24 and eth0 10.9.0.2/24 in box");
        has("setns(");
        has(&format!("peer eth0 in net:[{}]) = Ok(\"0\")", ns.inode));
        has("RTM_GETLINK(v0) = Ok(\"v0 index ");
        has("RTM_NEWADDR(10.9.0.1/24 dev index ");
        has(&format!("up in net:[{}]) = Ok", ns.inode));
        has("effect: Ok(\"v0 (10.9.0.1/24) (index ");
        has("undo: delete v0");
        has("RTM_DELLINK(index ");
    });
}

#[test]
fn the_hosts_own_links_are_not_the_sessions_to_change() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let ns = new_netns("box");
        net::veth(&session, pair(end("v0", "10.9.0.1/24"), inside(&ns, "10.9.0.2/24"))).unwrap();
        let host = Netns::new("test", nsfd::open(0, "net").unwrap(), "host").unwrap();
        fails(net::down(&session, &host, "v0"), ErrorKind::Unsupported, "host's own");
        closes(&session);
        assert_eq!(names(&ip("-j link")), ["lo"]);
        assert_eq!(std::fs::read_dir(&dirs.run).unwrap().count(), 0);
    });
}
