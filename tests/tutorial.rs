//! `cshell tutorial`: its pages hold on this machine, its checks can fail, and it is read and tried at the prompt.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/machine.rs"]
mod machine;
mod support;
#[path = "support/terminal.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod terminal;

use machine::Machine;
use support::{Ended, cshell};

#[test]
fn every_page_holds_and_leaves_nothing() {
    let program = cshell(["tutorial", "--verify"]);
    let state = program.folder().join("root");
    let before = Machine::look(&state);
    let run = program.output();
    // A check that holds before its task is done is told as a failure by the run itself.
    assert_eq!(run.ended, Ended::Exit(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr, "");
    let kinds: Vec<&str> = run.stdout.lines().map(|line| line.split(' ').next().unwrap_or("")).collect();
    assert!(kinds.len() >= 12 && kinds.iter().all(|kind| ["ok", "SKIP"].contains(kind)), "{}", run.stdout);
    for line in run.stdout.lines().filter(|line| line.starts_with("SKIP")) {
        support::skip::skip("tutorial", line);
    }
    before.same_as_before(&state, "the tutorial");
}

#[test]
fn pages_are_listed_opened_and_refused() {
    let run = cshell(["tutorial", "--list"]).output();
    assert!(run.stdout.starts_with(" 1  A process is all that a container is\n"), "{}", run.stdout);
    let run = cshell(["tutorial", "99"]).output();
    assert!(run.stderr.contains("the tutorial has the pages 1 to "), "{}", run.stderr);
    assert_eq!(run.ended, Ended::Exit(2));
    let run = cshell(["tutorial", "nine"]).output();
    assert_eq!(run.ended, Ended::Exit(2), "{}", run.stderr);
}

#[test]
fn a_page_is_tried_checked_and_turned() {
    let entries = ":check\n:hint\n:hint\n:hint\n:try\nlet mine = proc::spawn([\"true\"]); mine.wait();\n:check\n\
                   let mine = proc::spawn([\"sleep\", \"9\"])\n:check\n:next\n:back\n:steps\n:tutorial 0\n";
    let run = cshell(["tutorial", "1"]).env("CSHELL_HISTORY", "history").stdin(entries).output();
    assert_eq!(run.ended, Ended::Exit(0), "{}", run.stderr);
    let mut rest = run.stdout.as_str();
    for part in [
        "1/13  A process is all that a container is",
        "\nTry\n  let p = proc::spawn([\"sleep\", \"300\"])\n",
        "\nTask\n",
        "not yet: there is no variable `mine`",
        "`proc::spawn` starts a program",
        "A list is the exact command",
        "  let mine = proc::spawn([\"sleep\", \"200\"])\n",
        "> let p = proc::spawn([\"sleep\", \"300\"])\n",
        "> ns::same(p, sys::info().pid, \"uts\")\ntrue\n",
        "not yet: `mine` has ended",
        "done: `:next` goes on",
        "2/13  chroot, and how it is escaped",
        "1/13  A process",
        "->  1  done  A process",
    ] {
        let Some(at) = rest.find(part) else { panic!("{part:?} is not in the rest of\n{}", run.stdout) };
        rest = &rest[at + part.len()..];
    }
    assert!(run.stderr.contains(":tutorial takes a page from 1 to 13, not `0`"), "{}", run.stderr);
    let wide =
        run.stdout.lines().find(|line| line.chars().count() > 80 && !line.starts_with(['>', ' ', '#']));
    assert_eq!(wide, None);
}

#[test]
fn a_page_makes_what_it_builds_on() {
    let run = cshell(["tutorial", "4"]).stdin(":try\n:hint\n:hint\n:hint\nlet held = proc::exec([\"perl\", \"-e\", escape, \"/tmp\", free.path(\"canary\")], #{ rootfs: root, mounts: [\"dev\"] })\nheld.stdout\n:check\n").output();
    assert!(run.stdout.contains("first what \"chroot, and how it is escaped\" has made"), "{}", run.stdout);
    assert!(run.stdout.contains("escaped: I am outside"), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("\"hidden; held\"\ndone"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn lessons_need_no_lesson_to_be_refused() {
    let run = cshell(["-i"]).stdin(":try\n:check\n:hint\n:back\n:next\n:tutorial 6\nlet named = ns::new(#{ kinds: [\"uts\"], hostname: \"tutorial\" })\n:check\n").output();
    assert_eq!(run.stderr.matches("no lesson is open").count(), 4, "{}", run.stderr);
    assert!(run.stderr.contains("no script is stopped"), "{}", run.stderr);
    assert!(run.stdout.ends_with("done: `:next` goes on\n"), "{}", run.stdout);
}

#[test]
fn where_it_was_left_it_goes_on() {
    let terminal = terminal::Terminal::new();
    terminal.open("$CSHELL tutorial");
    let screen = terminal.screen();
    assert!(screen.contains(":try runs what is above"), "{screen}");
    terminal.entry("let mine = proc::spawn([\"sleep\", \"100\"])");
    terminal.entry(":check");
    terminal.shows("done: `:next` goes on");
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    terminal.clear();
    terminal.open("$CSHELL tutorial");
    terminal.entry(":steps");
    terminal.shows("->  2        chroot");
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    terminal.line("$CSHELL tutorial --reset");
    terminal.shows("begins at its first page again");
    assert!(!terminal.folder().join("tutorial-done").exists());
}
