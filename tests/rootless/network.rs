//! The network of an ordinary user: one of the session's own, and what lies outside of it.

use super::after;
use super::outside::{around, link, tool, try_tool, watch_in};
use super::support::user::User;
use super::support::{self, Ended, code};

#[test]
fn links_live_in_a_network_of_the_sessions_own() {
    let before = tool("ip", &["-o", "link"]);
    let script = r#"
        let box = ns::new(["net", "pid"]);
        let link = net::veth(#{ addr: "10.81.0.1/24", peer: #{ name: "eth0", ns: box, addr: "10.81.0.2/24" } });
        print(link.name);
        print(proc::spawn("cat", #{ input: "pipe" }).pid);
        print(box.spawn("cat", #{ input: "pipe" }).pid);
        print(net::links().map(|link| link.name));
        print(proc::exec("ip -o link | wc -l").stdout);
        try { proc::exec("true", #{ ns: ["user"] }); } catch (e) { print(e.message); }
        link.close();
        print(net::links().map(|link| link.name));
    "#;
    watch_in(code(&around(script)).by_user(), |pid, facts| {
        let ns = |pid: &str| link(format!("/proc/{pid}/ns/net"));
        let (machine, program) = (ns("self"), ns(&pid.to_string()));
        assert_eq!(machine, program, "the program stays where it is");
        assert_ne!(ns(&facts[1]), machine, "commands are in the session's network");
        assert_ne!(ns(&facts[2]), ns(&facts[1]));
        assert_eq!(facts[3], format!("[\"lo\", \"{}\"]", facts[0]));
        assert_eq!(facts[4], "2");
        assert!(
            facts.iter().any(|fact| fact.contains("a new user namespace cannot be in the session's network"))
        );
        assert_eq!(facts.last().unwrap(), "[\"lo\"]");
        assert_eq!(tool("ip", &["-o", "link"]), before);
    });
}

/// A machine with a web server beyond its only link, on which the program runs as a user. Prints what `script` prints.
fn with_an_outside(script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page"), "outside\n").unwrap();
    let outer = format!(
        r#"
        let machine = ns::new(["net", "mount"]);
        let beyond = ns::new(["net"]);
        net::veth(#{{ name: "up0", ns: machine, addr: "10.82.0.1/24", peer: #{{ name: "eth0", ns: beyond, addr: "10.82.0.2/24" }} }});
        net::route(machine, "default", #{{ via: "10.82.0.2" }});
        beyond.spawn(["busybox", "httpd", "-f", "-p", "8080", "-h", "{}"]);
        net::wait_port(machine, 8080, #{{ host: "10.82.0.2" }});
        print("ready");
        print(machine.pid);
        print("done"); sys::sleep("1h");
        "#,
        folder.path().display()
    );
    let mut printed = String::new();
    watch_in(
        code(&outer.replace("print(\"ready\");\n", "").replacen(
            "let machine",
            "print(\"ready\"); let machine",
            1,
        )),
        |_, facts| {
            let tun = "mount -t tmpfs none /dev/net; mknod /dev/net/tun c 10 200; chmod 666 /dev/net/tun";
            let user = User { before: tun.into(), network: Some(facts[0].clone()), ..User::default() };
            let run = code(script).by_user_with(user).output();
            assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{}", run.stdout);
            printed = run.stdout;
        },
    );
    printed
}

#[test]
fn the_outside_is_reached_where_it_is_asked_for() {
    for helper in ["pasta", "slirp4netns"] {
        if try_tool("which", &[helper]).is_err() {
            support::skip::skip(
                "the_outside_is_reached_where_it_is_asked_for",
                &format!("{helper} is not installed"),
            );
            continue;
        }
        let script = format!(
            r#"
            let page = |place| net::http_get(place, "http://10.82.0.2:8080/page").body.split("\n")[0];
            for kinds in [["net"], ["net", "user"]] {{
                let box = ns::new(kinds);
                try {{ page.call(box); }} catch (e) {{ print(`alone: ${{e.kind}}`); }}
                let out = net::outside(box, #{{ with: "{helper}" }});
                print(`${{out.kind}}: ${{page.call(box)}}`);
                out.close();
                try {{ page.call(box); }} catch (e) {{ print(`cut: ${{e.kind}}`); }}
            }}
            net::outside(#{{ with: "{helper}" }});
            print(net::http_get("http://10.82.0.2:8080/page").body.split("\n")[0]);
            "#
        );
        let printed = with_an_outside(&script);
        let once = "alone: not_found\nProcess: outside\ncut: not_found\n";
        assert_eq!(printed, format!("{once}{once}outside\n"), "{helper}");
    }
}

#[test]
fn without_a_helper_there_is_the_loopback_alone() {
    let hide = "mount --bind /dev/null /usr/bin/pasta 2>/dev/null || true; mkdir $folder/bin; ln -s /bin/sh $folder/bin/; PATH=$folder/bin";
    let script = "try { net::outside(ns::new([\"net\"])); } catch (e) { print(`${e.kind}: ${e.message}: ${e.hint}`); }";
    let run = after(code(script), hide).output();
    assert!(
        run.stdout.starts_with("unsupported: net::outside: pasta or slirp4netns is not installed"),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert!(run.stdout.contains("install the package passt or slirp4netns"), "{}", run.stdout);
}
