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
use support::user::User;
use support::{Ended, cshell};

const PAGES: usize = 13;

#[test]
fn every_page_holds_and_leaves_nothing() {
    let program = cshell(["tutorial", "--verify"]);
    let state = program.folder().join("root");
    let before = Machine::look(&state);
    let run = program.output();
    // A check that holds before its task is done is told as a failure by the run itself.
    assert_eq!(run.ended, Ended::Exit(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr, "");
    let lines: Vec<&str> = run.stdout.lines().collect();
    let (count, pages) = lines.split_last().unwrap();
    assert_eq!(pages.len(), PAGES);
    let skipped = pages.iter().filter(|line| line.starts_with("SKIP ")).count();
    assert!(
        count.starts_with(&format!("{} ok, {skipped} skipped, 0 failed", PAGES - skipped)),
        "{}",
        run.stdout
    );
    for line in run.stdout.lines().filter(|line| line.starts_with("SKIP")) {
        support::skip::skip("tutorial", line);
    }
    before.same_as_before(&state, "the tutorial");
}

#[test]
fn what_the_machine_cannot_do_is_skipped_with_the_reason() {
    let poor = User { subordinate: String::new(), ..User::default() };
    let run = cshell(["tutorial", "--verify"]).by_user_with(poor).output();
    assert_eq!(run.ended, Ended::Exit(0), "{}{}", run.stdout, run.stderr);
    for part in [
        "\nSKIP  9 A control group for the processor: cgroup::limit: cannot make the group",
        "\nSKIP 10 A control group for memory: ",
        "(Permission denied)\n",
        "\nSKIP 11 user: root inside, nobody outside: ns::new: userns: there are no subordinate ids",
        "\nok   12 The shell-only container\nSKIP 13 ",
        "\n9 ok, 4 skipped, 0 failed: `cshell doctor` says how to mend what is lacking\n",
    ] {
        assert!(run.stdout.contains(part), "{part:?} is not in\n{}", run.stdout);
    }
}

#[test]
fn no_check_holds_where_nothing_was_made() {
    let run = cshell(["tutorial", "1"]).stdin(&":check\n:next\n".repeat(PAGES)).output();
    assert_eq!(run.stdout.matches("not yet: there is no variable `").count(), PAGES, "{}", run.stdout);
    assert!(!run.stdout.contains("done: "), "{}", run.stdout);
}

#[test]
fn checks_look_at_what_was_made() {
    for (page, entries, said) in [
        (
            2,
            "fs::write(jail.path(\"canary\"), \"\")\nlet result = syscall::run(way_out(jail.path, \"/canary\"))",
            "the canary was not hidden",
        ),
        (
            2,
            "let result = syscall::run(way_out(jail.path, \"/no/such/canary\"))",
            "the last look was answered ENOENT",
        ),
        (2, "let result = syscall::run([[\"getpid\"]])", "no two looks"),
        (3, "let mine = sys::info().pid", "no mount namespace of its own"),
        (
            3,
            "let mine = ns::new([\"mount\"]); fs::write(place.path(\"secret\"), \"\")",
            "the file is seen outside as well",
        ),
        (4, "let held = syscall::run(way_out(jail.path, free.path(\"canary\")))", "it got out"),
        (
            4,
            "let held = syscall::run(way_out(\"/nowhere\", free.path(\"canary\")), #{ rootfs: root })",
            "not really tried",
        ),
        (
            6,
            "let named = ns::new(#{ kinds: [\"uts\"], hostname: \"other\" })",
            "the host name inside is other",
        ),
        (7, "let first = proc::spawn([\"sleep\", \"9\"])", "in our pid namespace"),
        (7, "let first = ns::new([\"pid\"]).spawn([\"sleep\", \"9\"])", "not process 1 inside"),
        (8, "let node = island", "no link eth0"),
        (
            8,
            "let node = ns::new([\"net\"]); \
             net::veth(#{ ns: home, name: \"x\", peer: #{ ns: node, name: \"eth0\", addr: \"10.0.2.2/24\" } });",
            "not reached from home",
        ),
        (12, "let made = proc::spawn([\"sleep\", \"9\"])", "not one child"),
        (12, "let made = hand", "its host name is by-hand"),
    ] {
        let run =
            cshell(["tutorial", &page.to_string()]).stdin(&format!(":try\n{entries}\n:check\n")).output();
        let last = run.stdout.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("not yet: ") && last.contains(said),
            "{page}: {entries}: {said:?} is not in {last:?}\n{}",
            run.stderr
        );
    }
}

#[test]
fn a_part_of_the_container_that_is_missing_is_named() {
    for (without, said) in [
        ("security", "no filter of system calls"),
        ("cgroup", "its memory has no limit"),
        ("rootfs", "its root is the root of the machine"),
        ("ns", "its pid namespace is ours"),
    ] {
        let rest = match without {
            // What it needs goes with it.
            "rootfs" => "options.remove(\"mounts\");",
            "ns" => "options.remove(\"hostname\"); options.remove(\"mounts\"); options.security = \"none\";",
            _ => "",
        };
        let start = format!(
            ":try\noptions.remove(\"{without}\"); {rest}\nlet container = proc::spawn([\"sleep\", \"9\"], options)\n:check\n"
        );
        let run = cshell(["tutorial", "13"]).stdin(&start).output();
        let last = run.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with("not yet: ") && last.contains(said), "{without}: {last}{}", run.stderr);
    }
}

#[test]
fn pages_fit_a_small_screen() {
    for page in 1..=PAGES {
        let run = cshell(["tutorial", &page.to_string()]).stdin("").output();
        assert_eq!(run.stdout.lines().find(|line| line.chars().count() > 80), None);
        let (explained, asked) = run.stdout.split_once("\nTry\n").unwrap();
        // The last line is that of the prompt, or of the question for a key.
        let lines = [explained.lines().count(), asked.lines().count() + 2];
        assert!(lines.iter().all(|lines| *lines < 24), "page {page}: {lines:?}");
    }
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
}

#[test]
fn a_page_makes_what_it_builds_on() {
    let entries = ":try\n:hint\n:hint\nlet held = syscall::run(way_out(\"/tmp\", free.path(\"canary\")), #{ rootfs: root })\n:check\n";
    let run = cshell(["tutorial", "4"]).stdin(entries).output();
    assert!(run.stdout.contains("first what \"chroot, and how it is escaped\" has made"), "{}", run.stdout);
    assert!(run.stdout.contains("I am outside"), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.ends_with("done: `:next` goes on\n"), "{}{}", run.stdout, run.stderr);
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
    terminal.line("$CSHELL tutorial");
    // The explanation fills the screen: the title is still there.
    terminal.shows("any key shows what to try");
    let screen = terminal.screen();
    assert!(screen.contains("1/13  A process") && !screen.contains("Task"), "{screen}");
    terminal.keys(&["Space"]);
    terminal.shows(":try runs what is above");
    assert!(!terminal.screen().contains("any key"));
    terminal.entry("let mine = proc::spawn([\"sleep\", \"100\"])");
    terminal.entry(":check");
    terminal.shows("done: `:next` goes on");
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    terminal.clear();
    terminal.line("$CSHELL tutorial");
    terminal.shows("any key shows what to try");
    terminal.keys(&["C-c"]);
    terminal.shows(":try runs what is above");
    terminal.entry(":steps");
    terminal.shows("->  2        chroot");
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    terminal.line("$CSHELL tutorial --reset");
    terminal.shows("begins at its first page again");
    assert!(!terminal.folder().join("tutorial-done").exists());
}
