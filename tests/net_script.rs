//! The calls of `net` as scripts make them. Each test has a network namespace of its own that stands for the host.
#![cfg(feature = "shell")]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use cshell::runtime::net;
use cshell::runtime::ns::{self, Kind, Kinds, NsSet, NsSpec};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use cshell::script::engine;
use cshell::script::handle::Held;
use cshell::script::shell::Shell;
use cshell::sys::nsfd;
use nix::sched::CloneFlags;
use rhai::{Dynamic, Engine, Scope};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::rc::Rc;

/// A run of scripts in which `BOX` is an `Ns` with a network of its own and `BARE` one without.
struct Lab {
    engine: Engine,
    scope: Scope<'static>,
    session: Rc<Session>,
    dirs: StateDirs,
    /// What `BOX` stands for.
    set: Rc<NsSet>,
}

fn on_a_host(test: fn(&mut Lab)) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: it takes root to make network namespaces");
        return;
    }
    let thread = std::thread::spawn(move || {
        nsfd::unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let dir = tempfile::tempdir().expect("a folder");
        let dirs = StateDirs { run: dir.path().join("run"), root: dir.path().join("root") };
        let session = Rc::new(Session::new(dirs.clone()).expect("a session"));
        let shell = Shell::new(session.clone(), "test.rhai", Vec::new());
        let mut scope = Scope::new();
        let mut sets = Vec::new();
        for (name, kinds) in [("BOX", ["net", "uts"]), ("BARE", ["ipc", "uts"])] {
            let kinds = kinds.iter().fold(Kinds::NONE, |kinds, kind| kinds.with_name(kind));
            let spec = NsSpec { hostname: Some(name.to_lowercase()), ..NsSpec::new(kinds) };
            let (id, set) = ns::new(&session, &spec).expect("namespaces");
            sets.push(set);
            scope.push_constant_dynamic(name, Dynamic::from(Held::<NsSet>::new(id)));
        }
        let mut lab = Lab { engine: engine::build(&shell), scope, session, dirs, set: sets.swap_remove(0) };
        test(&mut lab);
        let errors = lab.session.close();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(net::links(None).expect("the links").len(), 1, "only lo is left");
        assert_eq!(std::fs::read_dir(&lab.dirs.run).expect("the run folder").count(), 0);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Lab {
    #[track_caller]
    fn yields(&mut self, code: &str, expected: &str) {
        let code =
            format!("try {{ {code} }} catch (e) {{ return `${{e.kind}} ${{e.message}} ${{e.hint}}` }}");
        let value = self.engine.eval_with_scope::<Dynamic>(&mut self.scope, &code);
        self.scope.rewind(2);
        assert_eq!(value.expect("a value").to_string(), expected, "{code}");
    }
}

/// Answers one request after the other, until the test ends: `/` with a page, everything else with 404.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("the stream"));
            // A port that is only knocked at sends nothing.
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                continue;
            }
            let mut header = String::new();
            while reader.read_line(&mut header).unwrap_or(0) > 2 {
                header.clear();
            }
            let (status, body) =
                if line.starts_with("GET / ") { ("200 OK", "h\u{e9}llo") } else { ("404 No", "") };
            let head =
                format!("HTTP/1.1 {status}\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
}

#[test]
fn a_veth_joins_the_host_and_the_box() {
    on_a_host(|lab| {
        lab.yields(
            r#"let v = net::veth(#{ name: "veth0", addr: "10.9.0.1/24", mtu: 1400,
                peer: #{ name: "eth0", ns: BOX, addr: ["10.9.0.2/24", "10.9.1.2/24"], mac: "02:00:00:00:00:07" } });
            let inner = net::links(BOX).filter(|l| l.name == "eth0")[0];
            [v.name, v.kind, v.addr, v.mtu, v.mac.len, v.ifindex > 1, v.addresses.contains("10.9.0.1/24"), v.peer.name, v.peer.addr, v.peer.mac,
                inner.type, inner.mtu, inner.up, inner.addr.contains("10.9.1.2/24"), inner.mac, v.inspect().exists,
                net::links().map(|l| l.name).contains("veth0"), net::links(BOX)[0].up]"#,
            r#"["veth0", "Veth", "10.9.0.1/24", 1400, 17, true, true, "eth0", "10.9.0.2/24", "02:00:00:00:00:07", "veth", 1400, true, true, "02:00:00:00:00:07", true, true, true]"#,
        );
        // The handle is gone from the scope and the link is there; closing it takes both ends.
        lab.yields("net::links().len()", "2");
        lab.yields(
            r#"let v = net::veth(#{ peer: #{ ns: BOX, name: "eth1" } }); let n = net::links(BOX).len(); v.close(); v.close();
            [n, net::links(BOX).len(), v.is_open, `${v}` == `Veth ${v.name} (closed)`]"#,
            "[3, 2, false, true]",
        );
    });
}

#[test]
fn links_and_routes_inside_are_changed() {
    on_a_host(|lab| {
        lab.yields(
            r#"net::veth(#{ addr: "10.9.0.1/24", peer: #{ ns: BOX } }); net::addr(BOX, "eth0", "10.9.0.2/24");
            let r = net::route(BOX, "default", #{ via: "10.9.0.1" }); let all = net::routes(BOX).filter(|r| r.family == 4);
            net::down(BOX, "eth0"); let down = net::links(BOX)[1].up; net::up(BOX, "eth0");
            [r.dst, r.via, r.dev, all.map(|r| r.dst), all[1].via, down, net::links(BOX)[1].up, net::routes().len() > 0]"#,
            r#"["default", "10.9.0.1", "eth0", ["default", "10.9.0.0/24"], (), false, true, true]"#,
        );
        lab.yields(
            r#"try { net::route(BOX, "default", #{ via: "10.77.0.1" }) }
            catch (e) { return [e.kind, e.message.starts_with("net::route: no link of box reaches 10.77.0.1"), e.code] }"#,
            r#"["not_found", true, "ENETUNREACH"]"#,
        );
    });
}

#[test]
fn pages_are_fetched_from_inside_and_outside() {
    on_a_host(|lab| {
        lab.yields(
            r#"net::veth(#{ addr: "10.9.0.1/24", peer: #{ ns: BOX, addr: "10.9.0.2/24" } }).is_open"#,
            "true",
        );
        let net = lab.set.open(Kind::of_name("net").expect("a kind")).expect("the namespace");
        let listen = || Ok::<_, cshell::sys::SysError>(TcpListener::bind("0.0.0.0:8080").expect("a port"));
        serve(nsfd::inside(net, CloneFlags::CLONE_NEWNET, listen).expect("to enter the box"));
        lab.yields(
            r#"let took = net::wait_port("10.9.0.2", 8080); let p = net::http_get("http://10.9.0.2:8080/");
            [took >= 0.0 && took < 5.0, p.status, p.ok, p.body, p.body_bytes.len, p.headers["x-a"]]"#,
            "[true, 200, true, \"h\u{e9}llo\", 6, \"1, 2\"]",
        );
        lab.yields(
            r#"net::wait_port(BOX, 8080); net::wait_port(BOX, 8080, #{ host: "10.9.0.2", timeout: "5s" });
            let here = "http://127.0.0.1:8080/"; let o = #{ timeout: "5s", headers: #{ "X-B": "1" } };
            [net::http_get(BOX, here).status, net::http_get(BOX, here + "x", o).ok, net::http_get("http://10.9.0.2:8080/x", o).status]"#,
            "[200, false, 404]",
        );
        lab.yields(
            r#"try { net::wait_port(BOX, 8081, #{ timeout: "30ms" }) } catch (e) {
                return [e.kind, e.message.starts_with("net::wait_port 127.0.0.1:8081: no connection within 30ms"), e.code] }"#,
            r#"["timeout", true, "ECONNREFUSED"]"#,
        );
        lab.yields(
            r#"try { net::http_get(BOX, "http://127.0.0.1:8081/") } catch (e) { return [e.kind, e.code] }"#,
            r#"["not_found", "ECONNREFUSED"]"#,
        );
        lab.yields(
            r#"try { net::http_get("http://10.9.0.2:8080/", #{ max_bytes: 3 }) } catch (e) { return e.kind }"#,
            "limit_reached",
        );
    });
}

#[test]
fn bad_input_is_told_before_anything_is_made() {
    on_a_host(|lab| {
        for (code, expected) in [
            (
                r#"net::veth(#{ name: "a123456789012345" })"#,
                "invalid_argument net::veth: name \"a123456789012345\" has 16 bytes; the kernel takes at most 15 leave the name out to have a free one chosen",
            ),
            (
                r#"net::veth(#{ peer: #{ adr: "10.9.0.1/24" } })"#,
                "invalid_argument net::veth: unknown option `adr` for net::veth peer, did you mean `addr`? ",
            ),
            (
                r#"net::veth(#{ peer: #{ addr: [1] } })"#,
                "invalid_argument net::veth: `peer.addr[0]` must be a text, not 1 ",
            ),
            (
                r#"net::veth(#{ peer: #{ ns: BARE } })"#,
                "invalid_argument net::veth: `peer.ns` has no network namespace of its own (its kinds: ipc uts) add \"net\" to the kinds of ns::new",
            ),
            (
                r#"net::veth(#{ ns: "box" })"#,
                "invalid_argument net::veth: `ns` must be a handle of type Ns, not the text \"box\" ",
            ),
            (
                r#"net::links(BARE)"#,
                "invalid_argument net::links: `ns` has no network namespace of its own (its kinds: ipc uts) add \"net\" to the kinds of ns::new",
            ),
            (
                r#"net::veth(#{ addr: "10.9.0.1" })"#,
                "invalid_argument net::veth: addr: \"10.9.0.1\" has no prefix length write \"10.9.0.1/24\", or the prefix of your network",
            ),
            (
                r#"net::veth(#{ mtu: -1 })"#,
                "invalid_argument net::veth: `mtu` must be a whole number from 0 to 4294967295, not -1 ",
            ),
            (
                r#"net::wait_port("127.0.0.1", 80, #{ host: "127.0.0.1" })"#,
                "invalid_argument net::wait_port: `host` goes with an Ns: the first argument is a host already ",
            ),
            (
                r#"net::wait_port("127.0.0.1", 70000)"#,
                "invalid_argument net::wait_port: `port` must be a whole number from 0 to 65535, not 70000 ",
            ),
            (
                r#"net::http_get(BOX)"#,
                "invalid_argument net::http_get: these arguments do not go together write net::http_get(url), net::http_get(ns, url), each with a map of options after it or without",
            ),
            (
                r#"net::http_get("https://10.9.0.1/")"#,
                "unsupported net::http_get https://10.9.0.1/: https is not supported use http, or run curl",
            ),
            (
                r#"net::route(BOX, "default", #{})"#,
                "invalid_argument net::route: `via` is missing: a text expected ",
            ),
        ] {
            lab.yields(code, expected);
        }
        lab.yields("[net::links().len(), net::links(BOX).len()]", "[1, 1]");
    });
}
