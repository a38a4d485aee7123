//! The driver for hosts that systemd runs, on a machine that it does run: a session's scope seen from outside, and gone
//! afterwards; both ways to the manager; the manager of a user; and what is said where there is no way.
//!
//! That limits bite in a scope is seen by the scripts of `tests/rhai/cgroup`, see `vm_cgroup.rs`.

#[path = "support/vm.rs"]
mod vm;

use vm::{Mode, Outcome, Vm};

/// A job and the lines that it has to write.
struct Case {
    name: &'static str,
    script: &'static str,
    stdout: &'static [&'static str],
}

/// Starts a script in the background that has said `made` when it goes on, and sets `unit` to the session's scope.
const MADE: &str = r#"
made() {
    mkfifo /tmp/in
    : >/tmp/out
    cshell -c "$1" </tmp/in >/tmp/out &
    pid=$!
    exec 3>/tmp/in
    until grep -q made /tmp/out; do sleep 0.1; done
    unit=$(units | cut -d' ' -f1)
}
units() { systemctl list-units --all --plain --no-legend 'cshell-*'; }
"#;

/// A script waits, and systemd and the kernel are asked what there is.
const SEEN: Case = Case {
    name: "seen",
    script: r#"
. /work/made
made 'let g = cgroup::create("box", #{ pids: 5, memory: "64MiB" });
      let p = proc::spawn(["sleep", "1000"], #{ cgroup: g });
      print(`made ${p.pid}`);
      sys::read_line();'
systemctl show -p ActiveState -p Delegate -p TasksMax -p OOMPolicy -p Slice "$unit"
group=$(systemctl show -P ControlGroup "$unit")
[ "$group" = "/system.slice/$unit" ] && echo "its own group"
cat "/sys/fs/cgroup$group/box/pids.max" "/sys/fs/cgroup$group/box/memory.max"
sleeper=$(sed 's/made //' /tmp/out)
[ "$(cat "/sys/fs/cgroup$group/box/cgroup.procs")" = "$sleeper" ] && echo "the process is in it"
[ "$(cat /proc/$pid/cgroup)" = "$(cat /proc/self/cgroup)" ] && echo "the program is where it was"
echo >&3
wait "$pid"
echo "ended $?, units: $(units)"
rm /tmp/in /tmp/out
"#,
    stdout: &[
        "OOMPolicy=continue",
        "Slice=system.slice",
        "Delegate=yes",
        "TasksMax=infinity",
        "ActiveState=active",
        "its own group",
        "5",
        "67108864",
        "the process is in it",
        "the program is where it was",
        "ended 0, units:",
    ],
};

/// The program is killed; a process that it does not know of lives on in the group.
const KILLED: Case = Case {
    name: "killed",
    script: r#"
. /work/made
made 'let g = cgroup::limit(#{ pids: 9 });
      proc::spawn("setsid sleep 1000 & wait", #{ cgroup: g });
      while g.procs().len() < 2 { sys::sleep("10ms"); }
      print("made");
      sys::read_line();'
kill -9 "$pid"
wait "$pid" 2>/dev/null
systemctl is-active "$unit"
cshell gc | sed -E 's/[0-9a-f]{16}/TOKEN/g; s/process [0-9]+/process PID/'
echo "units: $(units)"
cshell gc
rm /tmp/in /tmp/out
"#,
    stdout: &[
        "active",
        "reclaimed process PID (proc::spawn of session TOKEN, made at <code>:2)",
        "reclaimed cgroup /sys/fs/cgroup/system.slice/cshell-TOKEN.scope/cshell-TOKEN-1 (cgroup::limit of session TOKEN, made at <code>:1)",
        "reclaimed unit cshell-TOKEN.scope (cgroup::limit of session TOKEN, made at <code>:1)",
        "reclaimed process PID (cgroup::limit of session TOKEN, made at <code>:1)",
        "reclaimed controllers pids for groups below /sys/fs/cgroup/system.slice/cshell-TOKEN.scope (cgroup::limit of session TOKEN, made at <code>:1)",
        "units:",
        "nothing to reclaim",
    ],
};

/// The program is killed, and nothing is left in the scope.
const EMPTY: Case = Case {
    name: "empty",
    script: r#"
. /work/made
made 'let g = cgroup::limit(#{ pids: 9 }); print("made"); sys::read_line();'
kill -9 "$pid"
wait "$pid" 2>/dev/null
until [ -z "$(units)" ]; do sleep 0.1; done
echo "taken down by itself"
cshell gc >/dev/null
rm /tmp/in /tmp/out
"#,
    stdout: &["taken down by itself"],
};

/// The program is put into its own group: it must not end with its scope.
const JOINED: Case = Case {
    name: "joined",
    script: r#"
cshell -c 'let g = cgroup::limit(#{ pids: 99, memory: "max" });
           g.add(sys::info().pid);
           print(cgroup::current().path.contains(".scope/"));'
echo "ended $?"
"#,
    stdout: &["true", "ended 0"],
};

/// Below a group that is delegated nobody is asked, and its processes make way for groups.
const DELEGATED: Case = Case {
    name: "delegated",
    script: r#"
systemd-run -q --scope -p Delegate=yes sh -c '
    cshell -c "print(cgroup::info().driver);
               print(cgroup::info().driver_reason.split(\"run-\")[0]);
               let g = cgroup::limit(#{ pids: 9 });
               print(proc::exec([\"echo\", \"ran\"], #{ cgroup: g }).stdout);
               let h = cgroup::limit(#{ memory: \"64MiB\" });
               print(proc::exec([\"echo\", \"ran too\"], #{ cgroup: h }).stdout);"
    grep -q "scope\$" /proc/self/cgroup && echo "its processes are back"'
"#,
    stdout: &[
        "cgroupfs",
        "systemd has delegated /sys/fs/cgroup/system.slice/",
        "ran",
        "ran too",
        "its processes are back",
    ],
};

/// Each step fails in turn, before it acts and after.
const FAULTS: Case = Case {
    name: "faults",
    script: r#"
for fault in step:1 after:1 step:2 after:2 step:3 after:3 step:4 after:4; do
    CSHELL_FAULT=$fault cshell -c 'cgroup::limit(#{ pids: 9 })' 2>&1 | grep -c 'made to fail by a test'
    systemctl list-units --all --plain --no-legend 'cshell-*'
done
"#,
    stdout: &["1"; 8],
};

/// With the private socket out of sight, in a mount namespace of its own.
const BUS: Case = Case {
    name: "bus",
    script: r#"
unshare -m sh -c '
    mount --bind /dev/null /run/systemd/private
    cshell --trace -c "print(cgroup::limit(#{ pids: 9 }).path.contains(\"/cshell-\"));" 2>/tmp/trace'
grep -c 'connect(.*/run/systemd/private") = -1 ECONNREFUSED' /tmp/trace
grep -c 'connect(.*/run/dbus/system_bus_socket") = 0' /tmp/trace
rm /tmp/trace
"#,
    stdout: &["true", "2", "2"],
};

/// With both out of sight: a command runs, a limit is an error.
const UNREACHABLE: Case = Case {
    name: "unreachable",
    script: r#"
unshare -m sh -c '
    mount --bind /dev/null /run/systemd/private
    mount --bind /dev/null /run/dbus/system_bus_socket
    cshell -c "print(proc::exec([\"echo\", \"ran\"]).stdout);
               try { cgroup::limit(#{ pids: 9 }) } catch (e) { print(e.kind); print(e.message); print(e.hint); }"
    cshell doctor | grep -c "^warn  *cgroup driver .* cannot be reached at /run/systemd/private or "'
"#,
    stdout: &[
        "ran",
        "unsupported",
        "cgroup::limit: systemd's manager cannot be reached at /run/systemd/private or /run/dbus/system_bus_socket: connect(5, \"/run/dbus/system_bus_socket\") = -1 ECONNREFUSED (Connection refused)",
        "is the host's /run in sight here? CSHELL_CGROUP_DRIVER=cgroupfs makes groups below this program's own, without asking systemd",
        "1",
    ],
};

/// The variable that chooses.
const FORCED: Case = Case {
    name: "forced",
    script: r#"
why='let i = cgroup::info(); print(`${i.driver}: ${i.driver_reason}`);'
CSHELL_CGROUP_DRIVER=cgroupfs cshell -c "$why"'
    let g = cgroup::limit(#{ pids: 9, memory: "64MiB" });
    proc::exec(["true"], #{ cgroup: g });
    print(g.path.contains("jobs.service"));'
CSHELL_CGROUP_DRIVER=systemd cshell -c "$why"
CSHELL_CGROUP_DRIVER=dockerd cshell -c 'try { cgroup::info() } catch (e) { print(e.kind); print(e.message); print(e.hint); }'
cshell -c 'try { cgroup::limit(#{ pids: 9 }).keep() } catch (e) { print(e.kind); }'
"#,
    stdout: &[
        "cgroupfs: CSHELL_CGROUP_DRIVER asks for it",
        "true",
        "systemd: CSHELL_CGROUP_DRIVER asks for it",
        "invalid_argument",
        "cgroup::info: CSHELL_CGROUP_DRIVER: \"dockerd\" is not a driver",
        "\"cgroupfs\" or \"systemd\"; without it, the one that fits the host",
        "unsupported",
    ],
};

const PROBE: &str = r#"
print(cgroup::info().driver);
let g = cgroup::limit(#{ pids: 9 });
print(g.path.contains("user@1000.service/app.slice/cshell-"));
print(fs::read(`${g.path}/pids.max`));
let p = proc::exec("cat /proc/self/cgroup", #{ cgroup: g });
print(p.stdout.contains(g.name));
"#;

/// As an ordinary user, from a service of the user's manager and from elsewhere.
const USER: Case = Case {
    name: "user",
    script: r#"
as_user() { su user -c "cd; export XDG_RUNTIME_DIR=/run/user/1000; $1"; }
as_user "systemctl --user start probe.service; cat probe; rm probe"
as_user "systemctl --user list-units --all --plain --no-legend 'cshell-*'"
as_user "cshell -c '
    print(cgroup::info().driver);
    try { cgroup::limit(#{ pids: 9 }) } catch (e) { print(e.kind); print(e.hint.split(\";\")[0]); }'"
as_user "CSHELL_CGROUP_DRIVER=systemd XDG_RUNTIME_DIR=/nowhere cshell -c '
    try { cgroup::limit(#{ pids: 9 }) } catch (e) { print(e.kind); print(e.message); }'"
"#,
    stdout: &[
        "systemd",
        "true",
        "9",
        "true",
        "cgroupfs",
        "permission_denied",
        "start it as `systemd-run --user --scope -p Delegate=yes cshell …`",
        "unsupported",
        "cgroup::limit: systemd's manager cannot be reached at /nowhere/systemd/private or /nowhere/bus: connect(7, \"/nowhere/bus\") = -1 ENOENT (No such file or directory)",
    ],
};

/// The bus of the machine, and the manager of a user, without what a login would bring along.
const UNITS: [(&str, &str); 6] = [
    (
        "/etc/systemd/system/dbus.socket",
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    ),
    (
        "/etc/systemd/system/dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nExecStart=/bin/dbus-daemon --config-file=/etc/bus.conf --address=systemd: --nofork --nopidfile --systemd-activation\n",
    ),
    (
        "/etc/bus.conf",
        "<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth><policy context='default'><allow user='*'/><allow own='*'/><allow send_destination='*'/><allow send_type='signal'/><allow receive_sender='*'/></policy></busconfig>\n",
    ),
    (
        "/etc/systemd/system/user@1000.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nUser=user\nDelegate=yes\nEnvironment=XDG_RUNTIME_DIR=/run/user/1000\nExecStart=/bin/systemd --user\n",
    ),
    (
        "/etc/systemd/user/probe.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/cshell /work/probe\nStandardOutput=file:/home/user/probe\nStandardError=inherit\n",
    ),
    ("/etc/systemd/user/default.target", "[Unit]\nDefaultDependencies=no\n"),
];

const PREPARE: &str = "
    mkdir -p /home/user /run/user/1000
    chown 1000:1000 /home/user /run/user/1000
    systemctl start dbus.service user@1000.service
    cshell -c 'cgroup::limit(#{ pids: 9 })'
    su user -c 'XDG_RUNTIME_DIR=/run/user/1000 systemctl --user start probe.service'
";

const CASES: [Case; 10] = [SEEN, KILLED, EMPTY, JOINED, DELEGATED, FAULTS, BUS, UNREACHABLE, FORCED, USER];

/// What is wrong with a job's run: nothing, if it wrote these lines, whatever space is around them, and left nothing.
fn complaint(case: &Case, outcome: &Outcome) -> Option<String> {
    let lines: Vec<&str> = outcome.stdout.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let well = lines == case.stdout && outcome.stderr.is_empty() && outcome.left.is_empty();
    (!well).then(|| format!("wanted {:#?}\ncame {outcome:#?}", case.stdout))
}

#[test]
fn a_session_has_a_scope_of_its_own() {
    let cases = CASES.iter().filter(|case| cfg!(feature = "_fault") || case.name != FAULTS.name);
    let mut vm = Vm::new("a scope for each session", Mode::V2)
        .systemd()
        .program("/usr/bin/dbus-daemon")
        .text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        .text("/etc/group", "root:x:0:\nuser:x:1000:\n")
        .text("/work/made", MADE)
        .text("/work/probe", PROBE)
        .prepare(PREPARE);
    vm = UNITS.into_iter().fold(vm, |vm, (path, text)| vm.text(path, text));
    vm = cases.clone().fold(vm, |vm, case| vm.job(case.name, case.script));
    let Some(outcomes) = vm.run() else { return };
    assert_eq!(outcomes.len(), cases.clone().count());
    let complaints: Vec<String> =
        cases.zip(&outcomes).filter_map(|(case, outcome)| complaint(case, outcome)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
