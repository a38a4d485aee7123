//! What 500 tests cost: `cargo bench --bench testrun`.
//!
//! Each in a fresh container; the same without a look at what is left; the same with nothing to do; and, as the floor, 500 times
//! `unshare` with the same namespaces by `xargs`, as many at once. In turns, so that the machine is as busy for each.
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run ends")]
#![expect(clippy::disallowed_methods, reason = "the programs are measured from outside")]

use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const TESTS: u32 = 500;

const CONTAINERS: &str = r#"
let root = image::host(["true"]);
let rows = [];
for n in 0..500 { rows.push(n); }
let box = #{ rootfs: root, ns: ["pid", "mount", "net", "uts", "ipc"], security: "default" };
test::each("container", rows, |n| assert::that(proc::exec(["true"], box).ok));
"#;

const NOTHING: &str = r#"
let rows = [];
for n in 0..500 { rows.push(n); }
test::each("nothing", rows, |n| ());
"#;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("containers_test.rhai"), CONTAINERS).unwrap();
    std::fs::write(path("nothing_test.rhai"), NOTHING).unwrap();
    let cshell = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cshell"));
        command.arg("test").args(words).current_dir(folder.path());
        command.env("CSHELL_RUN", path("run")).env("CSHELL_ROOT", path("root"));
        command
    };
    let cores = std::thread::available_parallelism().unwrap().to_string();
    let floor = || {
        let mut command = Command::new("sh");
        let line = format!(
            "seq {TESTS} | xargs -P {cores} -n 1 unshare --pid --mount --net --uts --ipc --fork true"
        );
        command.args(["-c", &line.replace("--fork true", "--fork sh -c true")]);
        command
    };
    let names =
        ["a container each", "without a look at what is left", "nothing each", "the floor: xargs unshare"];
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let commands = [
            cshell(&["containers_test.rhai"]),
            cshell(&["--no-leak-check", "containers_test.rhai"]),
            cshell(&["nothing_test.rhai"]),
            floor(),
        ];
        for (mut command, times) in commands.into_iter().zip(&mut times) {
            let began = Instant::now();
            let output = command.output().unwrap();
            times.push(began.elapsed());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    println!("{TESTS} tests on {cores} processors, {ROUNDS} rounds in turns");
    println!("{:<34}{:>10}{:>10}{:>16}", "", "median", "p90", "ms for each");
    for (name, times) in names.into_iter().zip(&mut times) {
        times.sort();
        let (median, p90) = (times[ROUNDS / 2], times[ROUNDS * 9 / 10]);
        let each = median.as_secs_f64() * 1000.0 / f64::from(TESTS);
        println!("{name:<34}{:>8.2} s{:>8.2} s{each:>16.2}", median.as_secs_f64(), p90.as_secs_f64());
    }
    println!("aim: 10 s");
}
