//! The virtual machine of the tests does what it says: hands back results, sees what is left, ends in time.

#[path = "support/vm.rs"]
mod vm;

use vm::{Mode, Vm};

#[test]
fn results_come_back_and_what_is_left_is_seen() {
    let leave = "
        mkdir /sys/fs/cgroup/left /tmp/left
        mount -t tmpfs left /tmp/left
        ip link add left type dummy
        sleep 1000 &
    ";
    let vm = Vm::new("results of jobs", Mode::V2)
        .modules(&["dummy"])
        .text("/work/text", "some text\n")
        .prepare("mkdir /tmp/before")
        .job("clean", "cat /work/text; printf '\\377no line end' >&2; exit 3")
        .job("leaves", leave)
        .job("signal", "kill -9 $$");
    let Some(outcomes) = vm.run() else { return };
    let [clean, leaves, signal] = &outcomes[..] else { panic!("{outcomes:#?}") };
    assert_eq!((clean.name.as_str(), clean.status), ("clean", 3));
    assert_eq!(clean.stdout, "some text\n");
    assert_eq!(clean.stderr, "\u{fffd}no line end");
    assert_eq!(clean.left, Vec::<String>::new());
    assert_eq!((leaves.status, leaves.stderr.as_str()), (0, ""));
    for what in ["mount tmpfs /tmp/left", "link left", "group /sys/fs/cgroup/left", "file /tmp/left"] {
        assert!(leaves.left.iter().any(|line| line == what), "{what}: {leaves:#?}");
    }
    let process = leaves.left.iter().find(|line| line.starts_with("process ")).unwrap();
    assert!(process.ends_with(" sleep"), "{leaves:#?}");
    assert_eq!(leaves.left.len(), 5, "{leaves:#?}");
    assert_eq!((signal.status, signal.left.len()), (137, 0), "what was left before is not told again");
}

#[test]
fn a_machine_that_does_not_end_is_killed_and_its_console_shown() {
    let vm = Vm::new("a job without end", Mode::V1)
        .seconds(15)
        .job("first", "echo first")
        .job("last", "sleep 1000");
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| vm.run()));
    let panic = match ran {
        Ok(None) => return,
        Ok(Some(outcomes)) => panic!("it came to its end: {outcomes:#?}"),
        Err(panic) => panic,
    };
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("a job without end: the machine did not come to its end"), "{text}");
    assert!(text.contains("--- console"), "{text}");
}
