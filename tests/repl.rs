//! The prompt as a program uses it: entries from a pipe. What only a terminal shows is in prompt.rs.

mod support;

use support::{Ended, Run, cshell};

/// A prompt with these entries.
#[track_caller]
fn prompt(entries: &str) -> Run {
    cshell(["-i"]).stdin(entries).output()
}

/// What a prompt with these entries writes, when nothing goes wrong.
#[track_caller]
fn says(entries: &str, expected: &str) {
    cshell(["-i"]).stdin(entries).stdout(expected).check();
}

/// The error of a prompt with these entries, which goes on after it.
#[track_caller]
fn complains(entries: &str, expected: &[&str]) {
    let run = prompt(&format!("{entries}\nprint(\"still there\")\n"));
    for part in expected {
        assert!(run.stderr.contains(part), "{entries}: {part} is not in\n{}", run.stderr);
    }
    assert!(run.stdout.ends_with("still there\n"), "{entries}: {}", run.stdout);
    assert_eq!(run.ended, Ended::Exit(0), "{entries}");
}

#[test]
fn variables_functions_and_imports_stay() {
    says(
        "
        let a = 40
        fn add(x) { x + 1 }
        add(a)
        fn add(x) { x + 2 }
        add(a)
        let f = |x| x * a
        a = 5
        f.call(2)
        const C = 3
        C + a
        import \"std/retry\" as again
        again::retry(1, || add(1))
        ",
        "
        41
        42
        10
        8
        3
        ",
    );
}

#[test]
fn the_last_value_is_it() {
    says("1 + 1\nit * 10\nlet x = 7\nit\n\"a\"\nit + \"b\"\n", "2\n20\n20\n\"a\"\n\"ab\"\n");
    complains("it", &["undefined variable: it"]);
}

#[test]
fn an_entry_goes_on_until_it_is_whole() {
    says(
        "
        let m = #{
            a: [1,
                2],
        }
        m.a
        fn f(x) {
            if x {
                1
            } else { 2 }
        }
        f(false)
        /* a comment
           of two lines */ 5
        let t = `two
        lines`
        t
        print(
            \"x\")
        ",
        "
        [1, 2]
        2
        5
        two
        lines
        x
        ",
    );
    // What is wrong whatever follows is told at once.
    complains("let let", &["1 | let let"]);
    complains("1 2", &["prompt:1:3"]);
    // The end of the input ends the entry as well.
    let run = prompt("let a = [1,\n");
    assert!(run.stderr.contains("prompt:1") || run.stderr.contains("prompt:2"), "{}", run.stderr);
}

#[test]
fn an_error_names_its_line_and_leaves_the_session_usable() {
    complains("let a = 1\nfs::read(\"/nope\")\n", &["prompt:2:1", "2 | fs::read(\"/nope\")", "ENOENT"]);
    complains(
        "fn broken() {\n  throw \"x\"\n}\n\nbroken()",
        &["error: x", "prompt:2:3", "in call to broken at prompt:4"],
    );
    complains("nope", &["undefined variable: nope", "1 | nope"]);
    let run = prompt("let before = 1\nlet half = ns::new([\"uts\"]); throw 1;\nbefore\nhalf.is_open\n");
    assert_eq!(run.stdout, "1\ntrue\n", "{}", run.stderr);
}

#[test]
fn values_are_shown_for_people() {
    says(
        "
        ()
        true
        1.5
        [1, \"x\", [2]]
        \"tab\\tquote\\\"\"
        #{ b: 1, a: #{ size: 2048 } }
        [#{ name: \"a\", size: 1024 }, #{ name: \"bb\", size: 5 }]
        blob(2, 255)
        |x| x + 1
        ",
        "
        true
        1.5
        [1, \"x\", [2]]
        \"tab\\tquote\\\"\"
        a  #{size: 2KiB}
        b  1
        name  size
        a     1KiB
        bb      5B
        blob of 2 bytes [ff ff]
        a closure
        ",
    );
}

#[test]
fn what_lives_is_listed_and_taken_back() {
    let run = prompt(
        "let box = ns::new([\"uts\"])\nlet dir = fs::temp_dir()\nfs::write(dir.path(\"f\"), \"x\")\n:ls\n:undo\ndir.is_open\n\
         box.is_open\n:undo\nbox.is_open\n:undo\n:ls\n",
    );
    assert_eq!(run.stderr, "");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].contains("dir  Dir "), "{}", run.stdout);
    assert!(lines[1].trim().starts_with("prompt:2  let dir = fs::temp_dir()"), "{}", run.stdout);
    assert!(lines[2].contains("box  Ns pid "), "{}", run.stdout);
    assert_eq!(lines[4], "let dir = fs::temp_dir()");
    assert!(lines[5].starts_with("  removed Dir "), "{}", run.stdout);
    assert_eq!(lines[6..8], ["false", "true"]);
    assert_eq!(lines[10..], ["false", "nothing is left to undo", "nothing lives"]);
}

#[test]
fn one_object_is_taken_back_by_name_or_number() {
    let run = prompt(
        "let a = ns::new([\"uts\"])\nlet b = ns::new([\"ipc\"])\n:undo a\na.is_open\nb.is_open\n:undo #2\nb.is_open\n",
    );
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("removed Ns pid "), "{}", run.stdout);
    assert_eq!(lines[1..3], ["false", "true"]);
    assert_eq!(lines[4], "false");
    complains(":undo nobody", &[":undo takes a number of entries or a handle, not `nobody`"]);
    complains(":undo 0", &["not `0`"]);
    complains(":keep", &[":keep needs an object"]);
}

#[test]
fn the_last_call_is_traced_and_explained() {
    let run = prompt("let box = ns::new([\"uts\"])\n1\n:trace last\n:explain last\n");
    assert_eq!(run.stderr, "");
    for part in [
        "[1] ns::new at prompt:1",
        "clone3(",
        "    undo: kill it",
        "ns::new: ",
        "  intent  ",
        "clone(2)",
        "  see  ",
    ] {
        assert!(run.stdout.contains(part), "{part} is not in\n{}", run.stdout);
    }
    says(
        ":trace\n:explain\n",
        "nothing was changed so far\nnothing was changed so far: there is nothing to explain\n",
    );
    let run = prompt(":trace on\nlet d = fs::temp_dir()\n:trace off\nlet e = ns::new([\"uts\"])\n");
    assert!(
        run.stdout.contains(" fs::temp_dir at prompt:1") && !run.stdout.contains("at prompt:2"),
        "{}",
        run.stdout
    );
}

#[test]
fn time_and_type_are_told() {
    let run = prompt(":time proc::exec(\"true\").ok\n:time 1\n");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "true");
    assert!(lines[1].starts_with("took ") && lines[1].contains(" steps, "), "{}", run.stdout);
    assert!(lines[3].ends_with(": 0 steps, 0 recorded system calls"), "{}", run.stdout);
    says(
        "
        let n = 1
        :type n
        :type n + 1
        :type ns::new([\"uts\"])
        :type ns::new
        :type \"a\"
        :type ns::new([\"uts\"]).pid
        :ls
        ",
        "
        number
        number
        Ns
        ns::new(options) -> Ns
        text
        number
        nothing lives
        ",
    );
    complains(":type", &[":type needs an expression"]);
    complains(":type nope", &["nope"]);
    complains(":time", &[":time needs code to run"]);
}

#[test]
fn a_session_is_saved_as_a_recipe_that_runs_again() {
    let entries = "fn f(x) { x + 1 }\nlet bad = 1 / 0\nlet gone = ns::new([\"uts\"])\n:undo\ngone\nf(1)\nlet y = it * 10\n\
                   fn f(x) { x + 2 }\nlet box = ns::new([\"uts\"])\nprint(`${y} ${f(1)} ${box.kinds}`)\n:save lab\n";
    let program = cshell(["-i"]).stdin(entries);
    let file = program.folder().join("work/lab.rhai");
    let (run, saved) = program.output_with(|| std::fs::read_to_string(&file).unwrap());
    assert!(run.stdout.ends_with("`cshell lab.rhai` runs it again\n"), "{}{}", run.stdout, run.stderr);
    assert!(!saved.contains("bad") && !saved.contains("gone"), "{saved}");
    // The last definition of a function is the one that a script has.
    cshell(["lab.rhai"]).file("lab.rhai", &saved).stdout("30 3 [\"uts\"]\n").check();
    complains(":save", &[":save needs the path"]);
    complains(":save /nope/x", &["cannot write /nope/x.rhai"]);
}

#[test]
fn a_saved_file_is_never_written_over() {
    let run =
        cshell(["-i"]).file("lab.rhai", "mine").stdin("1\n:save lab\nfs::read(\"lab.rhai\")\n").output();
    assert!(run.stderr.contains("choose a name that is free"), "{}", run.stderr);
    assert!(run.stdout.ends_with("\"mine\"\n"), "{}", run.stdout);
}

#[test]
fn a_script_is_loaded_into_the_session() {
    let script = "let loaded = 5;\nfn twice(x) {\n    x * 2\n}\nfn fails() {\n    fs::read(\"/nope\")\n}\n";
    let run = cshell(["-i"])
        .file("lib/lab.rhai", script)
        .stdin(":load lib/lab.rhai\ntwice(loaded)\nfails()\n:load nope.rhai\n:load\n")
        .output();
    assert_eq!(run.stdout, "10\n");
    for part in [
        "--> lib/lab.rhai:6:5",
        "in call to fails at prompt:2:1",
        "cannot read the script",
        ":load needs the path",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in\n{}", run.stderr);
    }
}

#[test]
fn an_editor_changes_an_entry() {
    let editor = "#!/bin/sh\nsed -i s/1/21/ \"$1\"\n";
    let run =
        cshell(["-i"]).file("ed", editor).env("EDITOR", "sh ./ed").stdin("let a = 1\n:edit\na\n").output();
    assert_eq!(run.stdout, "let a = 21\n21\n", "{}", run.stderr);
    let run = cshell(["-i"]).env("EDITOR", "/nope").stdin("let a = 1\n:edit\na\n").output();
    assert!(run.stderr.contains("cannot start /nope"), "{}", run.stderr);
    assert_eq!(run.stdout, "1\n");
}

#[test]
fn help_is_at_hand() {
    let run = prompt(":help\n:help net::veth\n:help undo\nlet n = ns::new([\"uts\"])\n:help n\n");
    assert_eq!(run.stderr, "");
    for part in [":keep HANDLE", "net::veth([options]) -> Veth", ":undo [N]", "Ns"] {
        assert!(run.stdout.contains(part), "{part} is not in\n{}", run.stdout);
    }
    // Lines of examples are as they are typed.
    let fits = |line: &str| line.chars().count() <= 80 || line.starts_with("      ");
    assert!(run.stdout.lines().all(fits), "{}", run.stdout);
    complains(":help net::vteh", &["did you mean `net::veth`?"]);
}

#[test]
fn an_unknown_command_suggests() {
    complains(":undp", &["there is no command `:undp`, did you mean `undo`?"]);
    complains(":", &["there is no command `:`"]);
    // The beginning of a name is enough where it is clear.
    says("1\n:hist\n", "1\n  1\n");
}

#[test]
fn variables_are_listed() {
    says(
        "
        let a = 1
        const B = \"x\"
        let a = [2]
        :vars
        ",
        "
        name  type        value
        a     list        [2]
        B     const text  \"x\"
        ",
    );
}

#[test]
fn a_long_value_is_not_cut_in_a_pipe() {
    let run =
        prompt("let l = []; for i in 0..300 { l.push(`line ${i} with some more words to be long`) }\nl\n");
    assert_eq!(run.stdout.lines().count(), 300, "{}", run.stdout);
}

#[test]
fn leaving_takes_everything_back() {
    cshell(["-i"]).stdin("let a = ns::new([\"uts\"])\nlet d = fs::temp_dir()\n").stdout("").check();
    cshell(["-i"]).stdin("let a = ns::new([\"uts\"])\n:quit\nprint(1)\n").stdout("").check();
    cshell(["-i"]).stdin("let a = ns::new([\"uts\"])\nexit(7)\nprint(1)\n").stdout("").exit(7).check();
}

#[test]
fn a_script_before_the_prompt_leaves_everything_alive() {
    let script = "let box = ns::new([\"uts\"]);\nfn kinds() { \"of \" + sys::args[0] }\nprint(\"ran\");\n";
    let run =
        cshell(["-i", "lab.rhai", "x"]).file("lab.rhai", script).stdin("box.kinds\nkinds()\n:ls\n").output();
    assert!(
        run.stdout.starts_with("ran\n[\"uts\"]\n\"of x\"\n#1  box  Ns pid "),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert!(run.stdout.contains("lab.rhai:1  let box = ns::new"), "{}", run.stdout);
    let run = cshell(["-i", "-c", "let a = 2;"]).stdin("a\n").output();
    assert_eq!(run.stdout, "2\n", "{}", run.stderr);
    // What has failed is there as far as it came.
    let script = "let box = ns::new([\"uts\"]);\nlet n = 5;\nfs::read(\"/nope\");\nlet late = 1;\n";
    let run =
        cshell(["-i", "lab.rhai"]).file("lab.rhai", script).stdin("n + 1\nbox.is_open\nlate\n").output();
    assert_eq!(run.stdout, "6\ntrue\n");
    assert!(
        run.stderr.contains("--> lab.rhai:3:1") && run.stderr.contains("undefined variable: late"),
        "{}",
        run.stderr
    );
    let run = cshell(["-i", "lab.rhai"]).file("lab.rhai", "let a = 4; exit(3);").stdin("a\n").output();
    assert_eq!((run.stdout.as_str(), run.ended), ("lab.rhai has called exit(3)\n4\n", Ended::Exit(0)));
    let run = cshell(["-i", "nope.rhai"]).stdin("1\n").output();
    assert_eq!((run.stdout.as_str(), run.ended), ("", Ended::Exit(2)), "{}", run.stderr);
    let run = cshell(["-i", "-"]).stdin("1\n").output();
    assert!(run.stderr.contains("give the script as a file"), "{}", run.stderr);
}

#[test]
fn text_from_outside_moves_no_cursor() {
    let run = prompt("\"\\x1b[2Jx\"\n#{ a: \"\\x1b]0;t\\x07\" }\nproc::exec(\"printf '\\\\033[2Jy'\")\n");
    assert!(!run.stdout.contains('\x1b'), "{:?}", run.stdout);
    assert!(run.stdout.contains("\\u{1b}[2Jx"), "{}", run.stdout);
}
