//! Every netlink request of a veth and of a bridge is made to fail in turn: nothing is left, whichever it was.
#![cfg(feature = "_fault")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a skipped test says why; a child reports")]

use cshell::error::Result;
use cshell::runtime::gc;
use cshell::runtime::net::{self, BridgeSpec, Device, EndSpec, Netns, VethSpec};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use cshell::sys::nsfd;
use nix::sched::CloneFlags;

const REQUESTS: [&str; 7] = [
    "RTM_NEWLINK",
    "RTM_GETLINK",
    "RTM_NEWADDR",
    "RTM_SETLINK",
    "RTM_GETADDR",
    "RTM_GETROUTE",
    "RTM_DELLINK",
];

/// Two boxes' worth: a veth, a bridge that isolates, and the veth as its port, for a while.
fn make(session: &Session, ns: &Netns) -> Result<()> {
    let end = EndSpec {
        addr: vec!["10.9.0.1/24".into()],
        mac: Some("02:00:00:00:00:01".into()),
        ..EndSpec::default()
    };
    let peer = EndSpec { addr: vec!["10.9.0.2/24".into()], ns: Some(ns.clone()), ..EndSpec::default() };
    let (_, veth) = net::veth(session, VethSpec { end, peer })?;
    let link = EndSpec { mac: Some("02:00:00:00:00:02".into()), mtu: Some(1400), ..EndSpec::default() };
    let subnet = Some("auto".into());
    let (_, bridge) = net::bridge(session, BridgeSpec { link, subnet, gateway: None, isolated: true })?;
    let port = Device::Veth(veth.clone());
    if let Err(error) = net::attach(session, &port, &bridge) {
        // As it was before, though both are still there.
        let links = net::links(None).expect("the links");
        let near = links.iter().find(|link| link.index == veth.end.link.index).expect("the veth");
        assert_eq!((near.master, near.up), (None, true), "{error:?}");
        return Err(error);
    }
    net::detach(session, &port, &bridge)
}

/// Run by the test below, in a program of its own: the plan of faults is read once.
#[test]
#[ignore = "run by the other test"]
fn child() {
    let hosts = std::thread::spawn(|| {
        nsfd::unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let inner = std::thread::spawn(|| {
            nsfd::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Netns::new("test", nsfd::open(0, "net").unwrap(), "box").unwrap()
        });
        let ns = inner.join().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dirs = StateDirs { run: dir.path().join("run"), root: dir.path().join("root") };
        let session = Session::new(dirs.clone()).unwrap();
        let made = make(&session, &ns);
        let errors = session.close();
        if !errors.is_empty() {
            // The undo itself was struck: the ledger still knows.
            drop(session);
            let found = gc::collect(&dirs, gc::Options::default()).unwrap();
            assert!(found.iter().all(|found| found.errors.is_empty()), "{found:?}");
        }
        for place in [None, Some(&ns)] {
            // The fault may be due only now.
            let links = net::links(place).or_else(|_| net::links(place)).unwrap();
            assert_eq!(links.len(), 1, "{made:?} left {links:?}");
        }
        assert_eq!(std::fs::read_dir(&dirs.run).unwrap().count(), 0);
        println!("REPORT {}", if made.is_ok() && errors.is_empty() { "whole" } else { "struck" });
    });
    hosts.join().unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the plan of faults is read once a program")]
fn nothing_is_left_whichever_request_fails() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: it takes root to make network namespaces");
        return;
    }
    let this = std::env::current_exe().unwrap();
    for request in REQUESTS {
        let mut struck = 0;
        for n in 1.. {
            let output = std::process::Command::new(&this)
                .args(["child", "--exact", "--ignored", "--nocapture"])
                .env("CSHELL_FAULT", format!("call:{request}:{n}"))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{request} {n}: {text}{stderr}");
            if text.contains("REPORT whole") {
                break;
            }
            assert!(text.contains("REPORT struck"), "{request} {n}: {text}");
            struck += 1;
        }
        assert!(struck > 0, "{request} was never made to fail");
    }
}
