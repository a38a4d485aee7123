//! The prompt as a person uses it: at a real terminal, keys typed, the screen read.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/outside.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
#[allow(clippy::allow_attributes, reason = "what is unused differs between the test files")]
mod outside;
mod support;
#[path = "support/terminal.rs"]
mod terminal;

use outside::{eventually, is_alive, tool, try_tool};
use terminal::Terminal;

/// The lines of a screen that are not empty.
fn lines(screen: &str) -> Vec<&str> {
    screen.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

#[test]
fn an_entry_of_more_lines_runs_when_its_brackets_are_closed() {
    let terminal = Terminal::prompt();
    terminal.line("let m = #{");
    terminal.line("  a: [1,");
    terminal.line("  2] /* open");
    terminal.line("  closed */");
    terminal.entry("}");
    terminal.entry("m");
    let screen = terminal.screen();
    assert_eq!(lines(&screen)[lines(&screen).len() - 2..], ["a  [1, 2]", "cshell>"], "{screen}");
    // Alt-Enter is a new line in what is whole already.
    terminal.text("let a = 5;");
    terminal.keys(&["M-Enter"]);
    terminal.entry("a + 1");
    terminal.shows("\n6\n");
}

#[test]
fn pasted_lines_run_only_when_enter_is_pressed() {
    let terminal = Terminal::prompt();
    terminal.paste("print(\"one\");\nprint(\"two\");\nprint(\"three\")");
    let screen = terminal.shows("print(\"three\")");
    assert!(!lines(&screen).contains(&"one"), "{screen}");
    terminal.then("cshell>", || terminal.keys(&["Enter"]));
    let screen = terminal.screen();
    let shown = lines(&screen);
    assert_eq!(shown[shown.len() - 4..], ["one", "two", "three", "cshell>"], "{screen}");
    // Keys that come as fast as a paste are entries, one after the other.
    terminal.text("let a = 1\nlet b = 2\na + b\n");
    terminal.shows("\n3\n");
}

#[test]
fn what_was_typed_is_there_the_next_time() {
    let terminal = Terminal::prompt();
    terminal.entry("let remembered = 41");
    terminal.entry(" let secret = 1");
    terminal.line("if true {");
    terminal.entry("}");
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    terminal.clear();
    terminal.open("$CSHELL");
    terminal.keys(&["Up"]);
    terminal.shows("cshell> if true {\n}");
    terminal.keys(&["Up", "Up"]);
    let screen = terminal.shows("cshell> let remembered = 41");
    assert!(!screen.contains("secret"), "{screen}");
    terminal.give_up("cshell>");
    // Search.
    terminal.keys(&["C-r"]);
    terminal.text("memb");
    terminal.shows("let remembered = 41");
    terminal.keys(&["Enter"]);
    terminal.entry("remembered");
    terminal.shows("\n41\n");
    let history = terminal.folder().join("history");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&history).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read_to_string(&history).unwrap();
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    terminal.open("$CSHELL --private");
    terminal.entry("let hidden = 1");
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    assert_eq!(std::fs::read_to_string(&history).unwrap(), before);
}

#[test]
fn tab_completes_what_fits() {
    let terminal = Terminal::prompt();
    terminal.entry("let box = ns::new([\"uts\"])");
    terminal.entry("let stats = #{ memory: #{ current: 1 } }");
    terminal.entry("let word = \"text\"");
    for (typed, completed) in [
        ("net::ve", "net::veth("),
        ("box.hostn", "box.hostname"),
        ("box.exe", "box.exec("),
        ("stats.memory.cu", "stats.memory.current"),
        ("stats.mem", "stats.memory"),
        ("bo", "box"),
        ("cgr", "cgroup::"),
        ("cgroup::limit(#{ memory_s", "cgroup::limit(#{ memory_swap:"),
        ("net::veth(#{ peer: #{ na", "net::veth(#{ peer: #{ name:"),
        ("fs::read(\"/etc/hostna", "fs::read(\"/etc/hostname\""),
        ("fs::read(\"/et", "fs::read(\"/etc/"),
        ("net::up(box, \"l", "net::up(box, \"lo\""),
        ("ns::new([\"ut", "ns::new([\"uts\""),
        ("ns::new([]).hostn", "ns::new([]).hostname"),
        ("word.to_upp", "word.to_upper("),
        (":und", ":undo"),
        (":help cgroup::lim", ":help cgroup::limit"),
        (":shell bo", ":shell box"),
    ] {
        terminal.text(typed);
        terminal.keys(&["Tab"]);
        terminal.shows(&format!("cshell> {completed}"));
        terminal.give_up("cshell>");
    }
    // What is not clear is listed.
    terminal.text("box.");
    terminal.keys(&["Tab", "Tab"]);
    let screen = terminal.shows("sysctl");
    for name in ["exec", "inode", "kinds", "spawn"] {
        assert!(screen.contains(name), "{name}: {screen}");
    }
    assert!(!screen.contains("merged"), "{screen}");
}

#[test]
fn images_are_completed_where_one_is_expected() {
    let terminal = Terminal::prompt();
    terminal.entry("image::commit(fs::overlay(image::host([\"true\"])), \"localhost/lab:1\");");
    terminal.text("image::from(\"localh");
    terminal.keys(&["Tab"]);
    terminal.shows("image::from(\"localhost/lab:1\"");
}

#[test]
fn what_a_call_takes_is_shown_behind_the_cursor() {
    let terminal = Terminal::prompt();
    terminal.text("net::veth(");
    terminal.shows("net::veth([options]) -> Veth");
    terminal.text("#{ ");
    terminal.shows("name ns addr mtu mac peer");
    terminal.give_up("cshell>");
    terminal.entry("fn add(first, second) { first + second }");
    terminal.text("add(1, ");
    terminal.shows("add(1, second)");
    terminal.give_up("cshell>");
    terminal.text("fs::read(\"/x\"");
    terminal.until("no hint", |screen| screen.trim_end().ends_with("fs::read(\"/x\""));
    terminal.give_up("cshell>");
    terminal.text("add(1, ");
    // A hint is no part of the line.
    terminal.entry("2)");
    terminal.shows("\n3\n");
}

#[test]
fn colours_are_on_unless_they_are_not_wanted() {
    let terminal = Terminal::prompt();
    terminal.text("let x = \"text\"");
    terminal.until("colours", |_| terminal.coloured().contains("\x1b[32m\"text\""));
    let terminal = Terminal::with_env(&[("NO_COLOR", "1")]);
    terminal.open("$CSHELL");
    terminal.text("let x = \"text\"");
    terminal.shows("\"text\"");
    terminal.keys(&["Enter"]);
    terminal.entry("nope");
    assert!(!terminal.coloured().contains('\x1b'), "{:?}", terminal.coloured());
}

#[test]
fn a_terminal_that_knows_no_cursor_is_enough() {
    let terminal = Terminal::with_env(&[("TERM", "dumb")]);
    terminal.open("$CSHELL");
    terminal.line("let a = [1,");
    terminal.shows("    ...");
    terminal.entry("2]");
    terminal.entry("a");
    terminal.shows("\n[1, 2]\n");
    terminal.text("let half = ");
    terminal.give_up("cshell>");
    terminal.entry("a.len()");
    terminal.shows("\n2\n");
    terminal.keys(&["C-d"]);
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
}

#[test]
fn a_line_survives_a_new_size() {
    let terminal = Terminal::prompt();
    terminal.text("let long = \"0123456789 0123456789 0123456789 0123456789 0123456789\"");
    terminal.resize(40, 20);
    terminal.text(".len()");
    terminal.then("cshell>", || terminal.keys(&["Enter"]));
    terminal.entry("long");
    terminal.shows("\n54\n");
    // What is shown fits the new size.
    terminal.entry("net::links()");
    let screen = terminal.screen();
    assert!(
        screen.lines().all(|line| line.chars().count() <= 40) && screen.contains("not shown: "),
        "{screen}"
    );
}

#[test]
fn ctrl_c_at_the_prompt_gives_up_the_line() {
    let terminal = Terminal::prompt();
    terminal.text("let a = 1 +");
    terminal.give_up("cshell>");
    terminal.entry("1 + 1");
    terminal.shows("\n2\n");
    terminal.line("let open = [");
    terminal.give_up("cshell>");
    terminal.entry("2 + 3");
    terminal.shows("\n5\n");
}

#[test]
fn ctrl_c_ends_what_runs_and_takes_back_what_it_made() {
    let terminal = Terminal::prompt();
    terminal.entry("let stays = ns::new([\"uts\"])");
    terminal.entry("let before = 7");
    for blocks in [
        "sys::sleep(\"60s\")",
        "proc::exec([\"sleep\", \"60\"])",
        "loop {}",
        "let p = proc::spawn([\"sleep\", \"61\"]); p.wait()",
    ] {
        terminal.clear();
        terminal.line(&format!("let dir = fs::temp_dir(); fs::write(dir.path(\"on\"), \"\"); {blocks}"));
        let folder = terminal.folder().to_str().unwrap();
        // A folder may go while it is looked at.
        let made = || try_tool("find", &[folder, "-name", "on"]);
        eventually("the folder is made", || made().is_ok_and(|found| !found.is_empty()));
        terminal.keys(&["C-c"]);
        terminal.shows("interrupted\ncshell>");
        assert_eq!(made().as_deref(), Ok(""), "{blocks}");
        terminal.clear();
        terminal.entry("dir");
        terminal.shows("undefined variable: dir");
    }
    let children = tool("ps", &["--ppid", &terminal.pid(), "-o", "comm="]);
    assert!(!children.contains("sleep"), "{children}");
    terminal.clear();
    terminal.entry("[stays.is_open, before]");
    terminal.shows("\n[true, 7]\n");
}

#[test]
fn ctrl_d_says_what_is_removed() {
    let terminal = Terminal::prompt();
    terminal.entry("let box = ns::new([\"uts\"])");
    terminal.entry("let link = net::veth(#{ name: \"cstestd0\" })");
    terminal.keys(&["C-d"]);
    let screen = terminal.shows("removing 2 objects:");
    let shown = lines(&screen);
    let at = shown.iter().position(|line| line.starts_with("removing")).unwrap();
    assert!(shown[at + 1].starts_with("  Veth cstestd0 up <-> "), "{screen}");
    assert!(shown[at + 2].starts_with("  Ns pid "), "{screen}");
    terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
    assert!(!tool("ip", &["-o", "link"]).contains("cstestd0"));
    terminal.line("echo status $?");
    terminal.shows("status 0");
}

#[test]
fn a_signal_ends_the_prompt_cleanly_and_the_terminal_is_as_before() {
    for (signal, busy) in [("TERM", false), ("TERM", true), ("HUP", false)] {
        let terminal = Terminal::new();
        terminal.line("stty -g > before; echo saved");
        terminal.shows("\nsaved");
        terminal.open("$CSHELL");
        terminal.entry("let link = net::veth(#{ name: \"cstests0\" })");
        if busy {
            terminal.line("sys::sleep(\"60s\")");
        } else {
            terminal.text("half a li");
            terminal.shows("half a li");
        }
        tool("kill", &[&format!("-{signal}"), &terminal.pid()]);
        terminal.until("the shell", |screen| screen.trim_end().ends_with('$'));
        assert!(!tool("ip", &["-o", "link"]).contains("cstests0"));
        terminal.clear();
        terminal.line("echo ended $?; stty -g > after; cmp before after && echo same");
        let number = if signal == "TERM" { 143 } else { 129 };
        terminal.shows(&format!("ended {number}\nsame"));
    }
}

#[test]
fn what_a_killed_prompt_left_is_reclaimed() {
    let terminal = Terminal::prompt();
    terminal.entry("let link = net::veth(#{ name: \"cstestk0\" })");
    let pid = terminal.pid();
    tool("kill", &["-KILL", &pid]);
    eventually("it is gone", || !is_alive(&pid));
    terminal.line("stty sane; $CSHELL gc; echo gc $?");
    terminal.shows("gc 0");
    assert!(!tool("ip", &["-o", "link"]).contains("cstestk0"));
}

#[test]
fn a_stopped_prompt_comes_back() {
    let terminal = Terminal::prompt();
    terminal.entry("let a = 5");
    terminal.text("a +");
    terminal.keys(&["C-z"]);
    terminal.shows("Stopped");
    terminal.line("echo between");
    terminal.shows("\nbetween");
    terminal.line("fg");
    terminal.until("the line", |screen| screen.trim_end().ends_with("a +"));
    terminal.give_up("cshell>");
    terminal.entry("a * 2");
    terminal.shows("\n10\n");
}

#[test]
fn a_command_has_the_terminal_whole() {
    let terminal = Terminal::prompt();
    terminal.entry("let before = 3");
    // A line that ends in `$` or `#` is not the prompt yet: what is typed is drawn letter by letter.
    terminal.then("$", || terminal.line("proc::exec([\"bash\", \"--norc\"], #{ tty: true, input: \"inherit\", output: \"inherit\", check: false })"));
    terminal.line("stty size");
    terminal.shows("\n24 80\n");
    terminal.resize(100, 30);
    terminal.line("stty size");
    terminal.shows("\n30 100\n");
    // Keys that would end us are its own.
    terminal.line("sh -c 'echo it runs; exec sleep 60'");
    terminal.shows("\nit runs");
    terminal.keys(&["C-z"]);
    terminal.shows("Stopped");
    terminal.line("kill %1; sh -c 'echo it reads; exec cat'");
    terminal.shows("\nit reads");
    terminal.keys(&["C-c"]);
    terminal.line("printf 'no line end'; exit 4");
    terminal.shows("no line end");
    terminal.until("the prompt", |screen| screen.trim_end().ends_with("cshell>"));
    assert_eq!(terminal.column(), "cshell> ".len());
    terminal.entry("before");
    terminal.shows("\n3\n");
}

#[test]
fn a_shell_runs_in_what_lives() {
    let terminal = Terminal::prompt();
    terminal.entry("let box = ns::new(#{ kinds: [\"uts\", \"pid\"], hostname: \"lab\" })");
    terminal.entry(":shell box hostname");
    terminal.shows("\nlab\n");
    terminal.entry("let root = fs::overlay(image::host([\"sh\", \"ls\", \"sleep\"]))");
    terminal.then("#", || terminal.line(":shell root"));
    terminal.line("echo pid $$; exit 5");
    terminal.shows("pid 1");
    terminal.shows("the shell ended with status 5");
    terminal.clear();
    terminal.entry(
        "let p = proc::spawn(\"exec sleep 100\", #{ ns: [\"pid\", \"uts\"], hostname: \"inner\", rootfs: root, mounts: [\"proc\"] })",
    );
    terminal.entry(":shell p read name </proc/sys/kernel/hostname; echo in $name; ls -d /proc/1");
    terminal.shows("in inner");
    terminal.entry("let group = cgroup::limit(#{ pids: 20 })");
    terminal.entry(":shell group cat /proc/self/cgroup");
    terminal.shows("cshell-");
    terminal.clear();
    terminal.entry("let dir = fs::temp_dir()");
    terminal.entry(":shell dir");
    terminal.shows("nothing can run in it");
    terminal.entry("let empty = fs::overlay(image::host([\"true\"]))");
    terminal.entry(":shell empty");
    terminal.shows("there is no shell");
    terminal.entry(":shell nobody");
    terminal.shows("`nobody` is no living object");
}

#[test]
fn live_statistics_are_drawn_until_a_key() {
    let terminal = Terminal::prompt();
    terminal.entry("let group = cgroup::limit(#{ memory: \"64MiB\", pids: 10, cpus: 0.5 })");
    terminal.entry("let p = proc::spawn(\"while :; do :; done\", #{ cgroup: group })");
    terminal.line(":watch group 100ms");
    let screen = terminal.until("a graph", |screen| screen.contains("% of 50%") && screen.contains('█'));
    for part in ["memory ", " of 64MiB", "pids       1 of 10", "any key ends this"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    // It is drawn in place.
    assert_eq!(screen.matches("any key ends this").count(), 1, "{screen}");
    terminal.keys(&["q"]);
    terminal.until("the prompt", |screen| screen.trim_end().ends_with("cshell>"));
    terminal.line(":watch p 100ms");
    terminal.shows("threads    1");
    terminal.keys(&["C-c"]);
    terminal.until("the prompt", |screen| screen.trim_end().ends_with("cshell>"));
    terminal.entry("p.is_running");
    terminal.shows("\ntrue\n");
    terminal.line(":watch p 100ms");
    terminal.shows("each 100ms");
    let pids = tool("ps", &["--ppid", &terminal.pid(), "-o", "pid=,comm="]);
    let pid = pids.lines().find(|line| line.ends_with(" sh")).unwrap().split_whitespace().next().unwrap();
    tool("kill", &["-KILL", pid]);
    terminal.shows("is gone");
    terminal.clear();
    terminal.entry(":watch group never");
    terminal.shows("a duration from 50ms and a number of lines");
}

#[test]
fn what_comes_from_elsewhere_is_written_above_the_line() {
    let terminal = Terminal::prompt();
    terminal.entry("let group = cgroup::limit(#{ memory: \"8MiB\" })");
    terminal.entry("group.on(\"oom\", |e| print(\"it is out of memory\"))");
    terminal.entry("let go = fs::temp_dir()");
    terminal.entry("let file = go.path(\"go\")");
    let wait = "while [ ! -e $GO ]; do sleep 0.05; done";
    terminal.entry(&format!("let eater = `{wait}; tail /dev/zero`"));
    terminal.entry(
        "let p = proc::spawn(eater, #{ cgroup: group, env: #{ GO: file, PATH: sys::env(\"PATH\") } })",
    );
    terminal.entry(&format!("let teller = `{wait}; echo told; printf 'no end'`"));
    terminal.entry(
        "let q = proc::spawn(teller, #{ output: \"inherit\", env: #{ GO: file, PATH: sys::env(\"PATH\") } })",
    );
    terminal.clear();
    terminal.text("let half = \"typed");
    terminal.shows("\"typed");
    let scratch = terminal.folder().join("root/scratch");
    let folder = tool("find", &[scratch.to_str().unwrap(), "-name", "dir-*"]);
    std::fs::write(format!("{folder}/go"), "").unwrap();
    let screen = terminal.until("both", |screen| {
        screen.contains("it is out of memory") && screen.contains("told") && screen.contains("no end")
    });
    let shown = lines(&screen);
    assert_eq!(*shown.last().unwrap(), "cshell> let half = \"typed", "{screen}");
    terminal.entry("\"");
    terminal.entry("half");
    terminal.shows("\n\"typed\"\n");
}

#[test]
fn a_long_value_is_cut_with_a_note_and_paged_whole() {
    let terminal = Terminal::with_env(&[("PAGER", "tail -2")]);
    terminal.open("$CSHELL");
    terminal.entry("let l = []; for i in 0..500 { l.push(`line ${i} with some more words to be long`) }");
    terminal.entry("l");
    terminal.shows("… 400 more lines: `:page` shows all");
    terminal.entry(":page");
    terminal.shows("499 \"line 499 with");
}

#[test]
fn a_script_that_fails_opens_the_prompt_at_its_line() {
    let terminal = Terminal::new();
    let script = "fn make(n) {\n    let dir = fs::temp_dir();\n    fs::read(\"/nope\")\n}\n\nmake(3);\n";
    std::fs::write(terminal.folder().join("lab.rhai"), script).unwrap();
    terminal.line("$CSHELL -i lab.rhai");
    terminal.until("the place", |screen| screen.trim_end().ends_with("lab.rhai:3>"));
    let screen = terminal.screen();
    assert!(screen.contains("->    3 |     fs::read(\"/nope\")"), "{screen}");
    terminal.text("dir.pa");
    terminal.keys(&["Tab"]);
    terminal.shows("dir.path");
    terminal.give_up("lab.rhai:3>");
    terminal.line("n + 1");
    terminal.shows("\n4\n");
    terminal.line(":leave");
    terminal.until("the prompt", |screen| screen.trim_end().ends_with("cshell>"));
    terminal.line(":step lab.rhai");
    terminal.until("a stop", |screen| screen.trim_end().ends_with("lab.rhai:6>"));
    terminal.line(":step");
    terminal.until("a stop", |screen| screen.trim_end().ends_with("lab.rhai:2>"));
    terminal.give_up("lab.rhai:2>");
    terminal.text("n.to_fl");
    terminal.then("lab.rhai:2>", || terminal.line("oat()"));
    terminal.shows("\n3.0\n");
    terminal.keys(&["C-d"]);
    terminal.shows("the run was given up");
}
