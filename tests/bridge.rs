//! Bridges as scripts make them, by root and by an ordinary user, looked at with `ip` of iproute2.
//!
//! Every test runs on a thread with a network namespace of its own, which stands for the host: the machine's own
//! links are never touched, and tests do not meet.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use cshell::runtime::net::{self, BridgeSpec};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use cshell::sys::nsfd;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use outside::{around, tool, watch_in};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Barrier, Mutex, mpsc};
use support::user::{root_or_refused, stands_in};
use support::{Cshell, Ended, code, cshell, kill};

/// Runs `test` on a thread in a new network namespace.
fn on_a_host(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nsfd::unshare(CloneFlags::CLONE_NEWNET).expect("the tests run as root");
            tool("ip", &["link", "set", "lo", "up"]);
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// The links, as `ip` has them in the network of a process, or here.
fn links(pid: Option<&str>) -> Vec<Value> {
    let ip = ["ip", "-d", "-j", "addr"];
    let text = match pid {
        Some(pid) => tool("nsenter", &[["-t", pid, "-n"].as_slice(), &ip].concat()),
        None => tool(ip[0], &ip[1..]),
    };
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn named<'a>(links: &'a [Value], name: &str) -> &'a Value {
    links.iter().find(|link| link["ifname"] == name).unwrap_or_else(|| panic!("no {name} in {links:#?}"))
}

fn names(links: &[Value]) -> Vec<&str> {
    links.iter().filter_map(|link| link["ifname"].as_str()).collect()
}

/// The master and the flag `isolated` of a port, as `ip` has them.
fn port(link: &Value) -> (&str, Option<bool>) {
    let data = &link["linkinfo"]["info_slave_data"];
    (link["master"].as_str().unwrap_or("none"), data["isolated"].as_bool())
}

/// Whether bridges are beside the program, in the network of the machine; a user may change nothing there.
#[track_caller]
fn beside_the_program() -> bool {
    root_or_refused("host_network", "proc::exec(\"ip link set lo mtu 1000\")", "exit_status", "not permitted")
}

/// Two boxes on a bridge, and what `ping` says between them and to the bridge.
const TWO_BOXES: &str = r#"
    let br = net::bridge(#{ subnet: "10.88.0.0/24", mtu: 1400, isolated: ISOLATED });
    let a = ns::new(["net"]);
    let b = ns::new(["net"]);
    let va = net::veth(#{ peer: #{ ns: a, addr: br.host(2) } });
    let vb = net::veth(#{ peer: #{ ns: b, addr: br.host(3) } });
    br.attach(va);
    net::attach(vb.name, br);
    let ping = |box, host| box.exec(["busybox", "ping", "-c", "1", "-W", "3", host], #{ check: false }).code;
    print(proc::spawn("cat", #{ input: "pipe" }).pid);
    print(br.name);
    print(va.name);
    print(vb.name);
    print([ping.call(a, "10.88.0.3"), ping.call(b, "10.88.0.2"), ping.call(a, br.gateway), ping.call(b, br.gateway)]);
    let ports = br.ports();
    print(ports.map(|port| [port.name, port.master == br.index, port.isolated]));
    print([br.addr, br.subnet, br.gateway, br.isolated, br.inspect().ports.len(), br.mac]);
"#;

/// Runs it by root and by a user, with and without isolation; `look` gets the facts after the links were looked at.
fn two_boxes(isolated: bool, pings: &str) {
    let who: &[bool] = if stands_in() { &[true] } else { &[false, true] };
    for &user in who {
        on_a_host(|| {
            let program = code(&around(&TWO_BOXES.replace("ISOLATED", &isolated.to_string())));
            watch_in(if user { program.by_user() } else { program }, |_, facts| {
                let [pid, br, va, vb, pinged, ports, own] = facts else { panic!("{facts:#?}") };
                let found = links(Some(pid));
                let bridge = named(&found, br);
                assert_eq!(bridge["linkinfo"]["info_kind"], "bridge");
                let flags = bridge["flags"].as_array().unwrap();
                assert!(flags.contains(&"UP".into()) && flags.contains(&"LOWER_UP".into()), "{bridge}");
                assert_eq!(
                    (&bridge["mtu"], bridge["addr_info"][0]["local"].as_str()),
                    (&1400.into(), Some("10.88.0.1"))
                );
                for name in [va, vb] {
                    assert_eq!(port(named(&found, name)), (br.as_str(), Some(isolated)));
                    assert!(named(&found, name)["flags"].as_array().unwrap().contains(&"UP".into()));
                }
                assert_eq!(pinged, pings);
                assert_eq!(*ports, format!(r#"[["{va}", true, {isolated}], ["{vb}", true, {isolated}]]"#));
                let mac = bridge["address"].as_str().unwrap();
                assert_eq!(
                    *own,
                    format!(r#"["10.88.0.1/24", "10.88.0.0/24", "10.88.0.1", {isolated}, 2, "{mac}"]"#)
                );
                // As root it is beside the program, as a user in the session's own network.
                assert_eq!(names(&links(None)).contains(&br.as_str()), !user);
            });
            assert_eq!(names(&links(None)), ["lo"]);
        });
    }
}

#[test]
fn boxes_on_a_bridge_reach_each_other() {
    two_boxes(false, "[0, 0, 0, 0]");
}

#[test]
fn isolated_ports_reach_the_bridge_alone() {
    two_boxes(true, "[1, 1, 0, 0]");
}

#[test]
fn a_bridge_in_a_box_has_ports_there() {
    on_a_host(|| {
        let script = r#"
            let hub = ns::new(["net"]);
            let a = ns::new(["net"]);
            let b = ns::new(["net"]);
            let br = net::bridge(#{ ns: hub, name: "br0", addr: ["10.88.0.1/24", "fd88::1/64"], mac: "02:00:00:00:00:88" });
            let va = net::veth(#{ ns: a, addr: "10.88.0.2/24", peer: #{ ns: hub, name: "pa", mac: "02:00:00:00:00:01" } });
            net::veth(#{ ns: b, addr: "fd88::3/64", peer: #{ ns: hub, name: "pb" } });
            net::attach(va, br);
            br.attach("pb");
            let ping = |box, host| box.exec(["busybox", "ping", "-c", "1", "-W", "3", host], #{ check: false }).code;
            print([ping.call(a, "10.88.0.1"), ping.call(b, "fd88::1")]);
            br.down();
            print([net::links(hub).filter(|link| link.name == "br0")[0].up, ping.call(a, "10.88.0.1")]);
            br.up();
            print(ping.call(a, "10.88.0.1"));
            br.detach("pb");
            print([br.ports().map(|port| port.name), br.addr, br.subnet, br.gateway, br.mac]);
            print(hub.pid);
        "#;
        watch_in(code(&around(script)), |_, facts| {
            assert_eq!(facts[0], "[0, 0]");
            assert_eq!(facts[1], "[false, 1]");
            assert_eq!(facts[2], "0");
            assert_eq!(facts[3], r#"[["pa"], "10.88.0.1/24", (), (), "02:00:00:00:00:88"]"#);
            assert_eq!(names(&links(None)), ["lo"]);
            let found = links(Some(&facts[4]));
            // Not the smaller one of its port.
            assert_eq!(named(&found, "br0")["address"], "02:00:00:00:00:88");
            assert_eq!(port(named(&found, "pa")), ("br0", Some(false)));
            assert_eq!(port(named(&found, "pb")), ("none", None));
        });
    });
}

/// What a call ends with, when bridges and veths are there.
#[track_caller]
fn refused(cases: &[(&str, &str)]) {
    const THERE: &str = r#"
        let br = net::bridge(#{ name: "br0", subnet: "10.88.0.0/24" });
        let other = net::bridge(#{ name: "br1" });
        let box = ns::new(["net"]);
        let far = ns::new(["net"]);
        let v = net::veth(#{ name: "v0", addr: "10.9.0.1/24", peer: #{ ns: box, addr: "10.9.0.2/24" } });
        let away = net::veth(#{ ns: box, name: "x0", peer: #{ ns: far } });
        let gone = net::veth(#{ name: "g0", peer: #{ ns: box, name: "eth1" } });
    "#;
    // Where the bridges are: beside the program, or in the network of a user's session.
    const ROUTE: &str = r#"proc::exec("ip link set lo up; ip route add 10.200.0.0/16 dev lo");"#;
    on_a_host(|| {
        if !stands_in() {
            tool("ip", &["route", "add", "10.200.0.0/16", "dev", "lo"]);
        }
        let route = if stands_in() { ROUTE } else { "" };
        for (call, expected) in cases {
            let script = format!(
                "{THERE} {route} try {{ {call}; print(\"done\") }} catch (e) {{ print(`${{e.kind}} ${{e.message.split(\": RTM_\")[0]}} | ${{e.hint}}`) }}"
            );
            let run = code(&script).output();
            assert_eq!((run.stdout.trim_end(), run.stderr.as_str()), (expected.trim_end(), ""), "{call}");
            assert_eq!(names(&links(None)), ["lo"], "{call}");
        }
    });
}

#[test]
fn a_bridge_that_cannot_be_says_why() {
    refused(&[
        (
            r#"net::bridge(#{ name: "a123456789012345" })"#,
            "invalid_argument net::bridge: name \"a123456789012345\" has 16 bytes; the kernel takes at most 15 | leave the name out to have a free one chosen",
        ),
        (
            r#"net::bridge(#{ name: "v0" })"#,
            "already_exists net::bridge v0: the name is taken by another link in this network namespace | choose another name than v0, or leave it out",
        ),
        (
            r#"net::bridge(#{ name: "b", subnet: "10.88.0.128/25" })"#,
            "already_exists net::bridge b: the subnet 10.88.0.128/25 overlaps the address 10.88.0.1/24 of the link br0 | choose another subnet, or \"auto\" to have a free one chosen",
        ),
        (
            r#"net::bridge(#{ name: "b", subnet: "10.200.7.0/24" })"#,
            "already_exists net::bridge b: the subnet 10.200.7.0/24 overlaps the route 10.200.0.0/16 dev lo | choose another subnet, or \"auto\" to have a free one chosen",
        ),
        (
            r#"net::bridge(#{ name: "b", addr: "10.9.0.1/24" })"#,
            "already_exists net::bridge b: the address 10.9.0.1 is on the link v0 | choose addresses of another network, or close what uses this one",
        ),
        (
            r#"net::bridge(#{ subnet: "10.77.0.1/24" })"#,
            "invalid_argument net::bridge: subnet: \"10.77.0.1/24\" has bits set after its prefix | the network is \"10.77.0.0/24\"",
        ),
        (
            r#"net::bridge(#{ masquerade: true })"#,
            "invalid_argument net::bridge: unknown option `masquerade` for net::bridge | ",
        ),
        (r#"br.host(1)"#, "invalid_argument Bridge.host br0: host 1 is the bridge itself | "),
        (r#"br.host(255)"#, "invalid_argument Bridge.host br0: 10.88.0.0/24 has no host 255 | "),
        (
            r#"other.host(2)"#,
            "invalid_argument Bridge.host br1: it leads no network | make it with `subnet: \"auto\"`",
        ),
    ]);
}

#[test]
fn a_port_that_cannot_be_says_why() {
    refused(&[
        (
            r#"br.attach(v); other.attach(v)"#,
            "busy net::attach v0: it is a port of br0 already | detach it from there first",
        ),
        (r#"br.attach(v); br.detach(v); other.attach(v)"#, "done"),
        (r#"br.attach(v); other.detach(v)"#, "invalid_argument Bridge.detach v0: it is no port of br1 | "),
        (
            r#"br.attach(away)"#,
            "invalid_argument net::attach x0: neither end is in the network namespace of br0 | make one end in the `ns` that the bridge was made in",
        ),
        (
            r#"br.attach("x0")"#,
            "not_found net::attach x0: there is no link x0 in the network namespace of br0 | ",
        ),
        (r#"br.attach("br1")"#, "invalid_argument net::attach br1: a bridge cannot be a port of a bridge | "),
        (
            r#"br.attach("lo")"#,
            "invalid_argument net::attach lo: a link of the kind loopback cannot be a port of a bridge | ",
        ),
        (
            r#"proc::exec(["ip", "link", "del", "g0"]); br.attach(gone)"#,
            "not_found net::attach g0: it is gone | ",
        ),
        (
            r#"proc::exec(["ip", "link", "del", "br0"]); br.attach(v)"#,
            "not_found net::attach br0: it is gone | ",
        ),
    ]);
}

#[test]
fn the_1024th_port_is_one_too_many() {
    on_a_host(|| {
        // Pairs whose ends are both ports: a loop, but the bridge is down. The last one has one end left.
        let pair = |n| {
            format!(
                "link add a{n} type veth peer name b{n}\nlink set a{n} master br0\nlink set b{n} master br0\n"
            )
        };
        let batch: String = (0..512).map(pair).collect();
        let batch = batch.trim_end().rsplit_once('\n').unwrap().0;
        let script = r#"
            let br = net::bridge(#{ name: "br0" });
            br.down();
            proc::exec(["ip", "-batch", "batch"]);
            print(br.ports().len());
            try { br.attach("b511") } catch (e) { print(`${e.kind} ${e.code} ${e.message.split(": RTM_")[0]} | ${e.hint}`) }
            print(br.ports().len());
        "#;
        code(script)
            .file("batch", batch)
            .stdout(
                "1023\nlimit_reached EXFULL net::attach b511: br0 is full: a bridge takes 1,023 ports | make another bridge\n1023\n",
            )
            .check();
        assert!(!names(&links(None)).contains(&"br0"));
    });
}

/// The program in state folders that outlive it.
fn in_state(program: Cshell, state: &Path) -> Cshell {
    let path = |name: &str| state.join(name).to_str().unwrap().to_owned();
    program.env("CSHELL_RUN", &path("run")).env("CSHELL_ROOT", &path("root"))
}

/// The ledger of the only session in `state`.
fn ledger(state: &Path) -> PathBuf {
    let mut homes = std::fs::read_dir(state.join("run")).unwrap();
    homes.next().unwrap().unwrap().path().join("ledger")
}

#[test]
fn what_a_killed_program_left_is_reclaimed_at_any_moment() {
    // A user's bridges are in a network of the session's own, which ends with the program: nothing is left to be reclaimed.
    if !beside_the_program() {
        return;
    }
    let script = r#"
        print("ready");
        net::bridge(#{ name: "br0", subnet: "auto", isolated: true, mac: "02:00:00:00:00:88" }).attach("d0");
        print("done"); sys::sleep("1h");
    "#;
    // Killed after everything, and while the bridge still has its first address: before the second line was written.
    for lines in [usize::MAX, 1] {
        on_a_host(|| {
            tool("ip", &["link", "add", "d0", "type", "veth", "peer", "name", "d1"]);
            let state = tempfile::tempdir().unwrap();
            let run = in_state(code(script), state.path()).after_line_leaving("ready", |pid, stdout| {
                let line = std::io::BufRead::lines(stdout).next().unwrap().unwrap();
                assert_eq!(line, "done");
                kill(pid, Signal::SIGKILL);
            });
            assert_eq!(run.ended, Ended::Signal(Signal::SIGKILL as i32));
            assert_eq!(names(&links(None)), ["lo", "d1", "d0", "br0"]);
            if lines == 1 {
                let path = ledger(state.path());
                let text = std::fs::read_to_string(&path).unwrap();
                let first = text.lines().next().unwrap();
                std::fs::write(&path, format!("{first}\n")).unwrap();
                let born = first.split("\"mac\":\"").nth(1).and_then(|rest| rest.get(..17)).unwrap();
                tool("ip", &["link", "set", "br0", "address", born]);
            }
            in_state(cshell(["gc"]), state.path()).output();
            let left = links(None);
            assert_eq!(names(&left), ["lo", "d1", "d0"]);
            assert_eq!(port(named(&left, "d0")), ("none", None));
            assert_eq!(std::fs::read_dir(state.path().join("run")).unwrap().count(), 0);
        });
    }
}

#[test]
fn a_foreign_bridge_of_the_same_name_and_index_is_left_alone() {
    // A user's bridges are in a network of the session's own, which ends with the program: nothing is left to be reclaimed.
    if !beside_the_program() {
        return;
    }
    on_a_host(|| {
        let state = tempfile::tempdir().unwrap();
        let script = "print(\"ready\"); print(net::bridge(#{ name: \"br0\" }).index); sys::sleep(\"1h\");";
        let mut index = String::new();
        in_state(code(script), state.path()).after_line_leaving("ready", |pid, stdout| {
            index = std::io::BufRead::lines(stdout).next().unwrap().unwrap();
            kill(pid, Signal::SIGKILL);
        });
        tool("ip", &["link", "del", "br0"]);
        tool("ip", &["link", "add", "br0", "index", &index, "type", "bridge"]);
        in_state(cshell(["gc"]), state.path()).output();
        assert_eq!(names(&links(None)), ["lo", "br0"]);
        assert_eq!(std::fs::read_dir(state.path().join("run")).unwrap().count(), 0);
    });
}

/// Has routes that leave only 172.31.252.0/22 free: four networks.
fn leave_four_networks() {
    let used = "10.64.0.0/10 192.168.0.0/16 172.16.0.0/13 172.24.0.0/14 172.28.0.0/15 172.30.0.0/16 172.31.0.0/17 \
                172.31.128.0/18 172.31.192.0/19 172.31.224.0/20 172.31.240.0/21 172.31.248.0/22";
    for net in used.split_whitespace() {
        tool("ip", &["route", "add", net, "dev", "lo"]);
    }
}

#[test]
fn programs_that_choose_at_once_do_not_collide() {
    const AT_ONCE: usize = 3;
    if stands_in() {
        // Each is alone in its network, and has the one that it says.
        let script = "print(net::bridge(#{ subnet: \"auto\" }).addr); print(proc::spawn(\"cat\", #{ input: \"pipe\" }).pid);";
        on_a_host(|| {
            watch_in(code(&around(script)), |_, facts| {
                let found = links(Some(&facts[1]));
                let bridge = found.iter().find(|link| link["linkinfo"]["info_kind"] == "bridge").unwrap();
                let addr = &bridge["addr_info"][0];
                let addr = format!("{}/{}", addr["local"].as_str().unwrap(), addr["prefixlen"]);
                assert_eq!(addr, facts[0]);
                assert_eq!(names(&links(None)), ["lo"]);
            });
        });
        return;
    }
    on_a_host(|| {
        leave_four_networks();
        let (send, receive) = mpsc::channel();
        let (all, looked) = (Barrier::new(AT_ONCE + 1), Barrier::new(AT_ONCE + 1));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                let (send, all, looked) = (send.clone(), &all, &looked);
                scope.spawn(move || {
                    let script = "print(net::bridge(#{ subnet: \"auto\" }).subnet);";
                    watch_in(code(&around(script)), |_, facts| {
                        send.send(facts[0].clone()).unwrap();
                        all.wait();
                        looked.wait();
                    });
                });
            }
            all.wait();
            let mut chosen: Vec<String> = receive.try_iter().collect();
            chosen.sort();
            let mut held: Vec<String> = links(None)
                .iter()
                .filter(|link| link["linkinfo"]["info_kind"] == "bridge")
                .filter_map(|link| link["addr_info"][0]["local"].as_str())
                .map(|addr| format!("{}.0/24", addr.rsplit_once('.').unwrap().0))
                .collect();
            held.sort();
            looked.wait();
            assert_eq!(chosen, held);
            held.dedup();
            assert_eq!(held.len(), AT_ONCE, "{held:?}");
            assert!(held.iter().all(|net| net.starts_with("172.31.25")), "{held:?}");
        });
        assert_eq!(names(&links(None)), ["lo"]);
    });
}

/// As above, so closely that they choose the same network again and again: each sees the other's and gives way.
#[test]
fn who_sees_another_in_its_network_gives_way() {
    const AT_ONCE: usize = 3;
    const ROUNDS: usize = 30;
    on_a_host(|| {
        leave_four_networks();
        let barrier = Barrier::new(AT_ONCE);
        let chosen = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let dir = tempfile::tempdir().unwrap();
                    let dirs = StateDirs { run: dir.path().join("run"), root: dir.path().join("root") };
                    let session = Session::new(dirs).unwrap();
                    for round in 0..ROUNDS {
                        barrier.wait();
                        let spec = BridgeSpec { subnet: Some("auto".into()), ..BridgeSpec::default() };
                        // A panic here would leave the others waiting for ever.
                        let made = net::bridge(&session, spec);
                        let subnet = made.as_ref().map(|(_, bridge)| bridge.subnet());
                        chosen.lock().unwrap().push((round, format!("{subnet:?}")));
                        barrier.wait();
                        if let Ok((id, _)) = made {
                            session.close_handle(id).unwrap();
                        }
                    }
                    assert!(session.close().is_empty());
                });
            }
        });
        let mut all = chosen.into_inner().unwrap();
        all.sort();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), AT_ONCE * ROUNDS, "{all:#?}");
        assert!(all.iter().all(|(_, subnet)| subnet.contains("addr: 172.31.25")), "{all:#?}");
        assert_eq!(names(&links(None)), ["lo"]);
    });
}

#[test]
fn without_the_privilege_it_says_what_is_missing() {
    on_a_host(|| {
        let script = r#"
            let code = "try { net::bridge() } catch (e) { print(`${e.kind} ${e.code} ${e.hint}`) }";
            let command = ["setpriv", "--bounding-set", "-net_admin", PROGRAM, "-c", code];
            print(proc::exec(command).stdout);
        "#;
        let script = script.replace("PROGRAM", &format!("{:?}", env!("CARGO_BIN_EXE_cshell")));
        let run = code(&script).output();
        assert_eq!(run.stderr, "");
        assert!(
            run.stdout.starts_with("permission_denied EPERM it takes CAP_NET_ADMIN in the network namespace"),
            "{}",
            run.stdout
        );
    });
}

#[test]
fn the_help_explains_it() {
    for (name, expected) in [
        ("net::bridge", "isolated  bool; default false"),
        ("net::attach", "limit_reached"),
        ("Bridge.host", "host(n) -> text"),
    ] {
        let run = cshell(["doc", name]).output();
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exit(0), ""), "{name}");
        assert!(run.stdout.contains(expected), "{name}: {}", run.stdout);
    }
}
