//! Links, addresses, routes and the TCP client against the real kernel, looked at with `ip` of iproute2.
//!
//! Every test runs on a thread with a network namespace of its own, which stands for the host: the machine's own
//! links are never touched, and tests do not meet.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use cshell::error::{Error, ErrorKind};
use cshell::runtime::gc;
use cshell::runtime::net::{self, EndSpec, HttpOptions, Netns, VethSpec};
use cshell::runtime::session::{Handle, Session};
use cshell::runtime::state::StateDirs;
use cshell::runtime::trace::{Event, Sink};
use cshell::sys::nsfd;
use nix::sched::CloneFlags;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

/// The addresses that were asked for, as `ip` has them; link-local ones are the kernel's own.
fn addresses(link: &Value) -> Vec<String> {
    let list = link["addr_info"].as_array().expect("a list");
    let asked = list.iter().filter(|entry| entry["scope"] != "link");
    asked
        .map(|entry| format!("{}/{}", entry["local"].as_str().unwrap_or_default(), entry["prefixlen"]))
        .collect()
}

fn flags(link: &Value) -> Vec<&str> {
    link["flags"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
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
fn a_veth_joins_the_host_and_a_namespace_as_asked() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let ns = new_netns("box");
        let first = EndSpec {
            addr: vec!["10.9.0.1/24".into(), "fd09::1/64".into()],
            mtu: Some(1400),
            mac: Some("02:11:22:33:44:55".into()),
            ..end("v0", "")
        };
        let peer = EndSpec {
            addr: vec!["10.9.0.2/24".into(), "fd09::2/64".into()],
            mac: Some("02:11:22:33:44:66".into()),
            ..inside(&ns, "")
        };
        let (_, veth) = net::veth(&session, pair(first, peer)).unwrap();
        let near = link_of(&ip("-j -d addr"), "v0");
        let far = link_of(&ip_in(&ns, "-j -d addr"), "eth0");
        assert_eq!(addresses(&near), ["10.9.0.1/24", "fd09::1/64"]);
        assert_eq!(addresses(&far), ["10.9.0.2/24", "fd09::2/64"]);
        assert_eq!((&near["mtu"], &far["mtu"]), (&Value::from(1400), &Value::from(1400)));
        assert_eq!(near["address"], "02:11:22:33:44:55");
        assert_eq!(far["address"], "02:11:22:33:44:66");
        for link in [&near, &far] {
            assert!(flags(link).contains(&"UP") && flags(link).contains(&"LOWER_UP"), "{link}");
        }
        assert!(flags(&link_of(&ip_in(&ns, "-j addr"), "lo")).contains(&"UP"));
        // IPv6 is usable at once.
        let v6 =
            far["addr_info"].as_array().unwrap().iter().find(|entry| entry["local"] == "fd09::2").unwrap();
        assert!(v6["tentative"].is_null(), "{v6}");
        assert_eq!(near["ifindex"], veth.end.link.index);
        assert_eq!(far["ifindex"], veth.peer.link.index);
        let facts = veth.inspect();
        assert_eq!(facts["peer"]["netns"], ns.inode);
        assert_eq!(facts["addr"][0], "10.9.0.1/24");
        assert_eq!(facts["peer"]["exists"], true);
        assert_eq!(
            veth.line(),
            format!(
                "Veth v0 (10.9.0.1/24, fd09::1/64) up <-> eth0 (10.9.0.2/24, fd09::2/64) up in net:[{}]",
                ns.inode
            )
        );
        closes(&session);
        assert_eq!(names(&ip("-j link")), ["lo"]);
        assert_eq!(names(&ip_in(&ns, "-j link")), ["lo"]);
        assert_eq!(veth.inspect()["exists"], false);
        assert_eq!(std::fs::read_dir(&dirs.run).unwrap().count(), 0);
    });
}

#[test]
fn names_not_given_never_collide() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let (a, b) = (new_netns("a"), new_netns("b"));
        let spec =
            |ns: &Netns| pair(EndSpec::default(), EndSpec { ns: Some(ns.clone()), ..EndSpec::default() });
        let (one, first) = net::veth(&session, spec(&a)).unwrap();
        let (_, second) = net::veth(&session, spec(&b)).unwrap();
        assert_ne!(first.name(), second.name());
        assert!(first.name().starts_with("cs") && first.name().len() <= 15);
        session.close_handle(one).unwrap();
        assert_eq!(names(&ip("-j link")), ["lo".to_owned(), second.name()]);
        // Closed by somebody else before: fine.
        ip(&format!("link del {}", second.name()));
        closes(&session);
    });
}

#[test]
fn a_first_end_inside_with_its_peer_on_the_host_is_taken_back() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let ns = new_netns("box");
        let (_, veth) =
            net::veth(&session, pair(inside(&ns, "10.9.0.2/24"), end("v0", "10.9.0.1/24"))).unwrap();
        assert_eq!(veth.name(), "eth0");
        assert_eq!(veth.end.netns, ns.inode);
        assert_eq!(addresses(&link_of(&ip("-j addr"), "v0")), ["10.9.0.1/24"]);
        assert_eq!(addresses(&link_of(&ip_in(&ns, "-j addr"), "eth0")), ["10.9.0.2/24"]);
        closes(&session);
        assert_eq!(names(&ip("-j link")), ["lo"]);
    });
}

#[test]
fn two_namespaces_are_joined_without_touching_the_host() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let (a, b) = (new_netns("a"), new_netns("b"));
        let spec = pair(inside(&a, "10.9.0.1/24"), inside(&b, "10.9.0.2/24"));
        let (id, _) = net::veth(&session, spec).unwrap();
        assert_eq!(names(&ip("-j link")), ["lo"]);
        assert_eq!(addresses(&link_of(&ip_in(&a, "-j addr"), "eth0")), ["10.9.0.1/24"]);
        assert_eq!(addresses(&link_of(&ip_in(&b, "-j addr"), "eth0")), ["10.9.0.2/24"]);
        session.close_handle(id).unwrap();
        assert_eq!(names(&ip_in(&a, "-j link")), ["lo"]);
        assert_eq!(names(&ip_in(&b, "-j link")), ["lo"]);
        // A namespace that is gone has taken its links along: nothing to undo.
        let spec = pair(inside(&a, "10.9.0.1/24"), inside(&b, "10.9.0.2/24"));
        net::veth(&session, spec).unwrap();
        drop((a, b));
        closes(&session);
    });
}

#[test]
fn a_taken_name_is_an_error_and_the_foreign_link_survives() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let ns = new_netns("box");
        ip("link add v0 type veth peer name v1");
        ip_in(&ns, "link add eth0 type veth peer name x");
        let before = (ip("-j link"), ip_in(&ns, "-j link"));
        let spec =
            pair(end("v0", "10.9.0.1/24"), EndSpec { name: Some("y".into()), ..inside(&ns, "10.9.0.2/24") });
        let error =
            fails(net::veth(&session, spec), ErrorKind::AlreadyExists, "net::veth v0: the name is taken");
        assert!(error.hint_text().unwrap().contains("v0"), "{error:?}");
        assert!(error.chain()[0].starts_with("RTM_NEWLINK(veth v0 address "), "{error:?}");
        assert!(error.chain()[0].ends_with("EEXIST (File exists)"), "{error:?}");
        let spec = pair(end("v2", "10.9.0.1/24"), inside(&ns, "10.9.0.2/24"));
        fails(net::veth(&session, spec), ErrorKind::AlreadyExists, "net::veth eth0: the name is taken");
        closes(&session);
        assert_eq!((ip("-j link"), ip_in(&ns, "-j link")), before);
    });
}

#[test]
fn an_address_that_another_link_has_is_refused() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let (a, b) = (new_netns("a"), new_netns("b"));
        net::veth(&session, pair(end("v0", "10.9.0.1/24"), inside(&a, "10.9.0.2/24"))).unwrap();
        let again = pair(end("v1", "10.9.0.1/24"), inside(&b, "10.9.0.3/24"));
        fails(net::veth(&session, again), ErrorKind::AlreadyExists, "the address 10.9.0.1 is on the link v0");
        assert_eq!(names(&ip_in(&b, "-j link")), ["lo"]);
        // One address for many wires is usual where it stands for no network.
        net::veth(&session, pair(end("v2", "10.9.1.1/32"), inside(&a, "10.9.1.2/32")))
            .expect_err("eth0 is taken in a");
        let (id, _) = net::veth(&session, pair(end("v2", "10.9.0.1/32"), inside(&b, "10.9.1.2/32"))).unwrap();
        session.close_handle(id).unwrap();
        closes(&session);
        assert_eq!(names(&ip("-j link")), ["lo"]);
    });
}

#[test]
fn bad_input_changes_nothing() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let ns = new_netns("box");
        let with = |change: fn(&mut EndSpec)| {
            let mut first = end("v0", "10.9.0.1/24");
            change(&mut first);
            net::veth(&session, pair(first, inside(&ns, "10.9.0.2/24")))
        };
        let bad = ErrorKind::InvalidArgument;
        fails(with(|end| end.name = Some("0123456789abcdef".into())), bad, "has 16 bytes");
        fails(with(|end| end.name = Some("a b".into())), bad, "has ' ' in it");
        let error = fails(with(|end| end.addr = vec!["10.9.0.1".into()]), bad, "no prefix length");
        assert!(error.hint_text().unwrap().contains("10.9.0.1/24"));
        fails(with(|end| end.mtu = Some(10)), bad, "between 68 and 65535");
        fails(with(|end| end.mac = Some("01:00:00:00:00:00".into())), bad, "group address");
        fails(with(|end| end.addr = vec!["10.9.0.2/24".into()]), bad, "both ends have");
        // Nothing was begun: not even a ledger.
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
fn links_and_routes_of_a_namespace_are_read_and_changed() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let ns = new_netns("box");
        let (_, veth) =
            net::veth(&session, pair(end("v0", "10.9.0.1/24"), inside(&ns, "10.9.0.2/24"))).unwrap();
        net::addr(&session, &ns, "eth0", "10.9.1.2/24").unwrap();
        fails(
            net::addr(&session, &ns, "eth0", "10.9.1.2/24"),
            ErrorKind::AlreadyExists,
            "eth0 has 10.9.1.2/24",
        );
        fails(
            net::addr(&session, &ns, "eth7", "10.9.1.2/24"),
            ErrorKind::NotFound,
            "there is no link eth7 in box",
        );
        let route = net::route(&session, &ns, "default", "10.9.0.1").unwrap();
        assert_eq!(route.to_string(), "default via 10.9.0.1 dev eth0");
        let shown = ip_in(&ns, "-j route");
        assert_eq!(
            (&shown[0]["dst"], &shown[0]["gateway"]),
            (&Value::from("default"), &Value::from("10.9.0.1"))
        );
        let routes: Vec<String> = net::routes(Some(&ns)).unwrap().iter().map(ToString::to_string).collect();
        assert!(routes.contains(&"10.9.0.0/24 dev eth0".to_owned()), "{routes:?}");
        fails(
            net::route(&session, &ns, "10.0.0.0/8", "10.77.0.1"),
            ErrorKind::NotFound,
            "no link of box reaches",
        );
        net::down(&session, &ns, "eth0").unwrap();
        assert!(!flags(&link_of(&ip_in(&ns, "-j link"), "eth0")).contains(&"UP"));
        net::up(&session, &ns, "eth0").unwrap();
        let links = net::links(Some(&ns)).unwrap();
        let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
        assert!(eth0.up && eth0.running && eth0.kind == "veth");
        assert_eq!(eth0.peer, Some(veth.end.link.index));
        let addresses: Vec<String> = eth0.addresses.iter().map(ToString::to_string).collect();
        assert!(addresses.starts_with(&["10.9.0.2/24".into(), "10.9.1.2/24".into()]), "{addresses:?}");
        assert_eq!(links[0].kind, "loopback");
        // The host's own links are not the session's to change.
        let host = Netns::new("test", nsfd::open(0, "net").unwrap(), "host").unwrap();
        fails(net::down(&session, &host, "v0"), ErrorKind::Unsupported, "host's own");
        closes(&session);
    });
}

/// Listens inside `ns` and answers each connection with `answer`, until the returned value is dropped.
fn serve(ns: &Netns, answer: &'static str) -> u16 {
    let listen = || Ok::<_, cshell::sys::SysError>(TcpListener::bind("0.0.0.0:0").expect("a listener"));
    let listener = nsfd::inside(ns.fd.as_fd(), CloneFlags::CLONE_NEWNET, listen).expect("to enter");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let got = stream.read(&mut request).unwrap_or(0);
            if answer.is_empty() {
                // Holds the connection and says nothing, until the other side goes.
                let _ = stream.read(&mut request);
            } else if got > 0 && request.starts_with(b"GET /page HTTP/1.1\r\n") {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    port
}

#[test]
fn a_page_is_fetched_over_a_veth_from_both_sides() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        let (a, b) = (new_netns("a"), new_netns("b"));
        let options = HttpOptions { timeout: Duration::from_secs(20), ..HttpOptions::default() };
        let second = Duration::from_secs(20);
        net::veth(&session, pair(end("v0", "10.9.0.1/24"), inside(&a, "10.9.0.2/24"))).unwrap();
        let with_v6 = |ns, v4: &str, v6: &str| EndSpec { addr: vec![v4.into(), v6.into()], ..inside(ns, "") };
        let inner = EndSpec { name: Some("eth1".into()), ..with_v6(&a, "10.8.0.1/24", "fd08::1/64") };
        net::veth(&session, pair(inner, with_v6(&b, "10.8.0.2/24", "fd08::2/64"))).unwrap();
        let port = serve(&a, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        net::wait_port(&session, None, "10.9.0.2", port, second).unwrap();
        let page = net::http_get(&session, None, &format!("http://10.9.0.2:{port}/page"), &options).unwrap();
        assert_eq!((page.status, page.body.as_slice()), (200, &b"hello"[..]));
        // From another namespace, and from the same one by its loopback.
        let page =
            net::http_get(&session, Some(&b), &format!("http://10.8.0.1:{port}/page"), &options).unwrap();
        assert_eq!(page.body, b"hello");
        let page =
            net::http_get(&session, Some(&a), &format!("http://localhost:{port}/page"), &options).unwrap();
        assert_eq!(page.body, b"hello");
        // From here no route leads to the second network.
        let error = net::http_get(&session, None, &format!("http://10.8.0.1:{port}/page"), &options);
        fails(error, ErrorKind::NotFound, "ENETUNREACH");
        fails(
            net::wait_port(&session, Some(&b), "fd08::1", 1, Duration::from_millis(30)),
            ErrorKind::Timeout,
            "ECONNREFUSED",
        );
        closes(&session);
    });
}

#[test]
fn a_server_that_is_silent_or_away_is_a_clear_error_in_time() {
    on_a_host(|dirs| {
        let session = Session::new(dirs.clone()).unwrap();
        ip("link set lo up");
        let host = Netns::new("test", nsfd::open(0, "net").unwrap(), "host").unwrap();
        let port = serve(&host, "");
        let options = HttpOptions { timeout: Duration::from_millis(50), ..HttpOptions::default() };
        let started = Instant::now();
        let silent = net::http_get(&session, None, &format!("http://127.0.0.1:{port}/page"), &options);
        fails(silent, ErrorKind::Timeout, "no complete answer within 50ms");
        assert!(started.elapsed() >= Duration::from_millis(50));
        fails(
            net::http_get(&session, None, "http://127.0.0.1:1/", &options),
            ErrorKind::NotFound,
            "nothing listens there",
        );
        let error = fails(
            net::wait_port(&session, None, "127.0.0.1", 1, Duration::from_millis(50)),
            ErrorKind::Timeout,
            "net::wait_port 127.0.0.1:1: no connection within 50ms",
        );
        assert!(error.chain()[0].ends_with("ECONNREFUSED (Connection refused)"), "{error:?}");
        fails(
            net::wait_port(&session, None, "127.0.0.1", 0, Duration::ZERO),
            ErrorKind::InvalidArgument,
            "65535",
        );
        fails(net::http_get(&session, None, "https://127.0.0.1/", &options), ErrorKind::Unsupported, "https");
    });
}
