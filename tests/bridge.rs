//! Bridges of programs that are killed, that choose at once and that lack the privilege, looked at with `ip` of iproute2. What
//! scripts see of them is in `tests/rhai/net`.
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
use support::user::root_or_refused;
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

/// The links, as `ip` has them.
fn links() -> Vec<Value> {
    serde_json::from_str(&tool("ip", &["-d", "-j", "addr"])).unwrap()
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
            assert_eq!(names(&links()), ["lo", "d1", "d0", "br0"]);
            if lines == 1 {
                let path = ledger(state.path());
                let text = std::fs::read_to_string(&path).unwrap();
                let first = text.lines().next().unwrap();
                std::fs::write(&path, format!("{first}\n")).unwrap();
                let born = first.split("\"mac\":\"").nth(1).and_then(|rest| rest.get(..17)).unwrap();
                tool("ip", &["link", "set", "br0", "address", born]);
            }
            in_state(cshell(["gc"]), state.path()).output();
            let left = links();
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
        assert_eq!(names(&links()), ["lo", "br0"]);
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
    // A user's programs are each alone in a network of their own.
    if !beside_the_program() {
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
            let mut held: Vec<String> = links()
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
        assert_eq!(names(&links()), ["lo"]);
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
        assert_eq!(names(&links()), ["lo"]);
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
