//! `cshell audit CONTAINER`: containers that real runtimes have started, and state that somebody made up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;

use outside::{around, root, shell_of_root, tool, try_tool, watch_in};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{Cshell, Ended, code, cshell};

/// Folders that runtimes are told to keep their state in.
struct Places {
    folder: tempfile::TempDir,
}

impl Places {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The program, which looks here as well.
    fn program(&self, program: Cshell) -> Cshell {
        let program = program.by_root().env("HOME", self.folder.path().to_str().unwrap());
        let program = program.env("XDG_RUNTIME_DIR", self.at("run").to_str().unwrap());
        program.env("XDG_DATA_HOME", self.at("share").to_str().unwrap())
    }

    /// The runtime and the process that a word means.
    #[track_caller]
    fn audit(&self, word: &str) -> (String, i64) {
        let run = self.program(cshell(["audit", "--format", "json", word])).output();
        assert_eq!((run.stderr.as_str(), run.ended), ("", Ended::Exit(0)), "{word}");
        let told: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert!(told["findings"].as_array().unwrap().iter().any(|finding| finding["part"] == "seccomp"));
        let runtime = told["container"]["runtime"].as_str().unwrap_or("none");
        (runtime.to_owned(), told["pid"].as_i64().unwrap())
    }

    /// What is complained of, where a word means nothing.
    #[track_caller]
    fn refused(&self, word: &str, parts: &[&str]) {
        let run = self.program(cshell(["audit", word])).output();
        assert_ne!(run.ended, Ended::Exit(0), "{word}: {}", run.stdout);
        for part in parts {
            assert!(run.stderr.contains(part), "{word}: {part} is not in {}", run.stderr);
        }
    }
}

/// A process that sleeps until it is dropped, and its number.
struct Sleeper(Child);

impl Sleeper {
    #[expect(clippy::disallowed_methods, reason = "a process that is looked at")]
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i64 {
        self.0.id().into()
    }

    /// The tick it started at, as proc_pid_stat(5) has it.
    fn start(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A bundle whose command sleeps.
fn bundle() -> tempfile::TempDir {
    let bundle = root();
    let path = bundle.path().to_str().unwrap();
    tool("runc", &["spec", "--bundle", path]);
    let config = bundle.path().join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["sleep", "1000"]);
    spec["root"]["path"] = path.into();
    std::fs::write(config, spec.to_string()).unwrap();
    bundle
}

#[test]
fn a_container_of_runc_is_found_by_its_id_and_while_it_runs() {
    let (places, bundle) = (Places::new(), bundle());
    let state = places.at("run/runc");
    let (root, bundle) = (state.to_str().unwrap(), bundle.path().to_str().unwrap());
    let id = format!("web-{}", std::process::id());
    let log = places.at("log");
    let start =
        format!("exec runc --root {root} run -d --bundle {bundle} {id} </dev/null >{0} 2>&1", log.display());
    tool("sh", &["-c", &start]);
    let told: serde_json::Value =
        serde_json::from_str(&tool("runc", &["--root", root, "state", &id])).unwrap();
    let pid = told["pid"].as_i64().unwrap();
    assert_eq!(places.audit(&id), ("runc".into(), pid));
    assert_eq!(places.audit(&id[..id.len() - 1]), ("runc".into(), pid), "by the beginning of its id");
    assert_eq!(places.audit(&pid.to_string()), ("none".into(), pid), "by its process");
    let script = format!("print(security::of({id:?}).pid); print(security::audit({id:?}).len() > 5);");
    places.program(code(&script)).stdout(&format!("{pid}\ntrue\n")).check();
    let near = format!("{}x", id.replace("web", "wbe"));
    places.refused(&near, &[&format!("did you mean `{id}`?"), root, "no container is called"]);
    tool("runc", &["--root", root, "kill", &id, "KILL"]);
    outside::eventually("the container has ended", || {
        tool("runc", &["--root", root, "state", &id]).contains("\"stopped\"")
    });
    places.refused(&id, &[&format!("the container {id} of runc is not running")]);
    tool("runc", &["--root", root, "delete", "--force", &id]);
    places.refused(&id, &["no container is called"]);
}

/// Runs a script of the shell where only version 1 of control groups is: the runtime cannot take both.
#[track_caller]
fn alone(script: &str) -> String {
    let apart = "mount | grep -q ' /sys/fs/cgroup/unified ' && umount /sys/fs/cgroup/unified; ";
    tool("unshare", &["--mount", "sh", "-c", &format!("set -e; {apart}{script}")])
}

#[test]
fn a_container_of_crun_is_found() {
    let (places, bundle) = (Places::new(), bundle());
    let state = places.at("run/crun");
    let (root, bundle) = (state.to_str().unwrap(), bundle.path().to_str().unwrap());
    let id = format!("cr-{}", std::process::id());
    alone(&format!("crun --root {root} run -d --bundle {bundle} {id} </dev/null >/dev/null 2>&1"));
    let told: serde_json::Value =
        serde_json::from_str(&tool("crun", &["--root", root, "state", &id])).unwrap();
    assert_eq!(places.audit(&id), ("crun".into(), told["pid"].as_i64().unwrap()));
    alone(&format!("crun --root {root} delete --force {id}"));
    places.refused(&id, &["no container is called"]);
}

#[test]
fn a_container_of_podman_is_found_by_its_name() {
    let name = "a_container_of_podman_is_found_by_its_name";
    let (places, bundle) = (Places::new(), bundle());
    let id = format!("pod-{}", std::process::id());
    let podman = format!(
        "podman --root {} --runroot {}",
        places.at("share/containers/storage").display(),
        places.at("run/containers").display()
    );
    // The machine's limits may be lower than those that it raises to.
    let start = format!(
        "{podman} run -d --name {id} --network none --cgroups disabled --ulimit nofile=1000:1000 --ulimit nproc=1000:1000 \
         --rootfs {} /bin/busybox sleep 1000 </dev/null 2>&1 && {podman} inspect --format '{{{{.State.Pid}}}} {{{{.Id}}}}' {id}",
        bundle.path().display()
    );
    let apart = "umount /sys/fs/cgroup/unified 2>/dev/null;";
    let told =
        try_tool("unshare", &["--mount", "sh", "-c", &format!("{apart} {start} || echo failed")]).unwrap();
    let end = || alone(&format!("{podman} rm --force --time 0 {id} >/dev/null 2>&1"));
    let last = told.lines().last().unwrap();
    let Some((pid, full)) = last.split_once(' ') else {
        end();
        support::skip::skip(name, &told.replace('\n', "; "));
        return;
    };
    let found = (places.audit(&id), places.audit(full), places.audit(&full[..12]));
    end();
    let expected = ("podman".to_owned(), pid.parse().unwrap());
    assert_eq!(found, (expected.clone(), expected.clone(), expected));
    places.refused(&id, &["no container is called"]);
}

#[test]
fn a_set_of_namespaces_is_found_by_its_name() {
    let places = Places::new();
    let program = code(&around(
        "let set = ns::new(#{ kinds: [\"uts\"], hostname: \"box-a\" }); print(set.inspect().pid);",
    ));
    let run = program.folder().join("run");
    watch_in(program.by_root(), |_, facts| {
        let audit = cshell(["audit", "box-a"]).by_root();
        let found = places.program(audit.env("CSHELL_RUN", run.to_str().unwrap())).output();
        let first = found.stdout.lines().next().unwrap_or_default().to_owned();
        let expected = format!("process {} (container box-a of cshell): ", facts[0]);
        assert!(first.starts_with(&expected), "{first}{}", found.stderr);
    });
}

#[test]
fn the_layouts_of_the_other_runtimes_are_read() {
    let (places, sleeper) = (Places::new(), Sleeper::new());
    let (pid, start) = (sleeper.pid(), sleeper.start());
    let runc = |pid: i64, start: u64| format!(r#"{{"init_process_pid":{pid},"init_process_start":{start}}}"#);
    let id = |digit: &str| digit.repeat(64);
    places.file("run/youki/you/state.json", &format!(r#"{{"id":"you","status":"running","pid":{pid}}}"#));
    places.file("run/containerd/runc/default/cd/state.json", &runc(pid, start));
    places.file(&format!("run/docker/runtime-runc/moby/{}/state.json", id("a")), &runc(pid, start));
    let config = format!(r#"{{"ID":"{}","Name":"/dock","State":{{"Pid":{pid}}}}}"#, id("a"));
    places.file(&format!("share/docker/containers/{}/config.v2.json", id("a")), &config);
    let list = format!(r#"[{{"id":"{}","names":["pod"]}}]"#, id("b"));
    places.file("share/containers/storage/vfs-containers/containers.json", &list);
    places.file(&format!("run/containers/vfs-containers/{}/userdata/pidfile", id("b")), &pid.to_string());
    places.file("run/systemd/machines/tree", &format!("NAME=tree\nCLASS=container\nLEADER={pid}\n"));
    for (word, runtime) in [
        ("you", "youki"),
        ("cd", "containerd"),
        ("dock", "docker"),
        (&id("a"), "docker"),
        ("aaa", "docker"),
        ("pod", "podman"),
        (&id("b"), "podman"),
        ("tree", "systemd-nspawn"),
    ] {
        assert_eq!(places.audit(word), (runtime.to_owned(), pid), "{word}");
    }
}

#[test]
fn a_word_for_more_than_one_names_them() {
    let (places, one, two) = (Places::new(), Sleeper::new(), Sleeper::new());
    for (path, pid) in [("youki/web", one.pid()), ("runc/web", two.pid()), ("runc/web-2", one.pid())] {
        places.file(&format!("run/{path}/state.json"), &format!(r#"{{"pid":{pid}}}"#));
    }
    let shown = |runtime: &str, name: &str, pid: i64| format!("{name} of {runtime} (process {pid})");
    let (youki, runc) = (shown("youki", "web", one.pid()), shown("runc", "web", two.pid()));
    places.refused(
        "web",
        &["\"web\" is more than one container: ", &youki, &runc, "the number of the process"],
    );
    let longer = shown("runc", "web-2", one.pid());
    places.refused("we", &[&youki, &runc, &longer]);
    assert_eq!(places.audit("web-2"), ("runc".into(), one.pid()));
}

#[test]
fn a_process_that_was_not_meant_is_not_shown() {
    let (places, sleeper) = (Places::new(), Sleeper::new());
    let (pid, start) = (sleeper.pid(), sleeper.start());
    places.file("run/crun/other/status", &format!(r#"{{"pid":{pid},"process-start-time":{}}}"#, start + 1));
    places.file("run/youki/old/state.json", &format!(r#"{{"pid":{pid}}}"#));
    let old = std::fs::File::options().write(true).open(places.at("run/youki/old/state.json")).unwrap();
    old.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(100)).unwrap();
    // A user's state tells of a process of root.
    places.file("run/youki/theirs/state.json", &format!(r#"{{"pid":{pid}}}"#));
    std::os::unix::fs::chown(places.at("run/youki/theirs/state.json"), Some(54321), None).unwrap();
    for word in ["other", "old", "theirs"] {
        places.refused(word, &[&format!("the container {word} of "), "is not running"]);
    }
    places.file("run/youki/fit/state.json", &format!(r#"{{"pid":{pid}}}"#));
    assert_eq!(places.audit("fit"), ("youki".into(), pid));
}

#[test]
fn hostile_state_neither_blocks_nor_leads_out() {
    let (places, sleeper) = (Places::new(), Sleeper::new());
    let state = format!(r#"{{"pid":{}}}"#, sleeper.pid());
    places.file("secret/state.json", &state);
    let link = |to: &str, at: &str| {
        let at = places.at(at);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(places.at(to), at).unwrap();
    };
    link("secret", "run/runc/folder");
    link("secret/state.json", "run/runc/linked/state.json");
    link("secret", "run/containerd/runc");
    for (name, text) in [
        ("deep", "[".repeat(1 << 20)),
        ("text", "not json".into()),
        ("list", "[]".into()),
        ("minus", r#"{"pid":-1}"#.into()),
        ("huge", r#"{"pid":1e300}"#.into()),
        ("large", format!("{state}{}", " ".repeat(5 << 20))),
    ] {
        places.file(&format!("run/runc/{name}/state.json"), &text);
    }
    for path in ["run/runc/fifo", "run/crun/fifo"] {
        std::fs::create_dir_all(places.at(path)).unwrap();
    }
    make_fifo(&places.at("run/runc/fifo/state.json"));
    make_fifo(&places.at("run/crun/fifo/status"));
    places.file("run/runc/bad\u{1b}[2Jname/state.json", &state);
    places.file("run/systemd/machines/vm", &format!("CLASS=vm\nLEADER={}\n", sleeper.pid()));
    for word in ["folder", "linked", "deep", "text", "list", "minus", "huge", "large", "fifo", "bad", "vm"] {
        places.refused(word, &[word]);
    }
    places.file("run/runc/good/state.json", &state);
    assert_eq!(places.audit("good"), ("runc".into(), sleeper.pid()));
    let (_, out, err) = shell_of_root(
        "$CSHELL audit \"$(printf 'a\\033[2Jb')\"; $CSHELL audit ''; $CSHELL audit 0; $CSHELL audit 99999999999",
    );
    assert_eq!(out, "");
    assert!(!err.contains('\u{1b}'), "{err:?}");
    for part in
        ["neither a process id nor the name of a container", "0 is not a process id", "99999999999 is not"]
    {
        assert!(err.contains(part), "{part}: {err}");
    }
}

fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}
