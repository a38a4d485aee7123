//! Stops in scripts, and where a script has failed: `-i FILE`, `:break`, `:step` and what they lead to.

mod support;

use support::{Ended, Run, cshell};

const LAB: &str = "\
let base = 5;

fn inner(n) {
    let dir = fs::temp_dir();
    let twice = n * 2;
    fs::write(dir.path(\"x\"), \"hello\");
    if n > 1 {
        throw \"too many\";
    }
    twice
}

fn outer(k) {
    let local = k + 1;
    inner(local)
}

let first = outer(base - 5);
let second = outer(base);
";

#[track_caller]
fn lab(args: &[&str], entries: &str) -> Run {
    let run = cshell(args.iter().copied()).file("lab.rhai", LAB).stdin(entries).output();
    assert_eq!(run.ended, Ended::Exit(0), "{}", run.stderr);
    run
}

#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("{part:?} is not in the rest of\n{text}") };
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn where_a_script_failed_its_variables_are_there() {
    let entries = "twice\nn\nbase\ndir.is_open\nlet mine = twice + 1\n:where\n:up\nlocal\ntwice\n:up\n:down\ntwice\n:leave\ntwice\n\
                   mine\nfirst\n:where\n";
    let run = lab(&["-i", "lab.rhai"], entries);
    in_order(
        &run.stdout,
        &[
            "in inner at lab.rhai:8: its variables are here",
            "->    8 |         throw \"too many\";",
            "\n12\n6\n5\ntrue\n",
            "-> inner at lab.rhai:8\n   outer at lab.rhai:15\n",
            "in outer at lab.rhai:15:",
            "\n6\n",
            "this is the outermost function",
            "in inner at lab.rhai:8:",
            "\n12\n",
            "back in the session\n13\n2\n",
        ],
    );
    in_order(
        &run.stderr,
        &[
            "error: too many\n --> lab.rhai:8:9",
            "in call to inner at lab.rhai:15:5",
            "undefined variable: twice",
            "undefined variable: twice",
            "error: no script is stopped",
        ],
    );
}

#[test]
fn what_a_failed_script_made_lives_until_the_end() {
    let run = lab(&["-i", "lab.rhai"], ":ls\n:undo\n:ls\n");
    in_order(
        &run.stdout,
        &[
            "#4  dir  Dir ",
            "lab.rhai:4  let dir = fs::temp_dir();",
            ":load lab.rhai\n  removed Dir",
            "nothing lives",
        ],
    );
    // A caught failure is none.
    let script =
        "fn f(x) { let y = x; throw y; }\ntry { f(1); } catch { }\nlet z = 2;\nfs::read(\"/nope\");\n";
    let run = cshell(["-i", "a.rhai"]).file("a.rhai", script).stdin("z\n:where\n").output();
    assert_eq!(run.stdout, "2\n", "{}", run.stderr);
    assert!(run.stderr.contains("no script is stopped"), "{}", run.stderr);
}

#[test]
fn a_run_stops_at_calls_and_lines() {
    let entries = ":break fs::write\n:break lab.rhai:12\n:break inner\n:break\n:clear 3\n:load lab.rhai\n:where\nk + 100\n\
                   k = 0\n:continue\ntwice\n:list\n:ls\n:continue\n:quit\nbase\n";
    let run = lab(&["-i"], entries);
    in_order(
        &run.stdout,
        &[
            "breakpoint 1 at fs::write\n",
            "breakpoint 2 at lab.rhai:14: line 12 has no statement\n",
            "1  fs::write\n2  lab.rhai:14\n3  inner\nbreakpoint 3 is removed\n",
            "stopped in outer at lab.rhai:14, breakpoint lab.rhai:14\n",
            "->   14 |     let local = k + 1;",
            "  k = 0\n",
            "-> outer at lab.rhai:14\n   the script at lab.rhai:18\n100\n",
            "stopped in inner at lab.rhai:6, breakpoint fs::write\n",
            "  twice = 2\n",
            "\n2\n",
            "#2  dir  Dir ",
            "stopped in outer at lab.rhai:14",
            "  k = 5\n",
            "the run was given up; what it made lives\n5\n",
        ],
    );
    assert_eq!(run.stderr, "");
}

#[test]
fn a_script_is_run_statement_by_statement() {
    let entries = ":step lab.rhai\n:next\n:step\n\n:out\n:next\n:vars\n";
    let run = lab(&["-i"], entries);
    in_order(
        &run.stdout,
        &[
            "stopped at lab.rhai:1\n->    1 | let base = 5;",
            "stopped at lab.rhai:18\n",
            "stopped in outer at lab.rhai:14\n",
            // An empty line does the last again.
            "stopped in outer at lab.rhai:15\n",
            "stopped at lab.rhai:19\n",
        ],
    );
    // `:next` went over a function that fails: the prompt is there.
    in_order(&run.stdout, &["in inner at lab.rhai:8: its variables are here", "twice  number  12"]);
}

#[test]
fn a_variable_that_is_changed_at_a_stop_is_changed_for_the_script() {
    let run =
        lab(&["-i"], ":break lab.rhai:7\n:load lab.rhai\nn = -1\n:continue\nn = 0\n:continue\nsecond\n");
    assert!(run.stdout.ends_with("\n12\n"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn stops_are_in_modules_and_in_typed_code_as_well() {
    let module = "fn helper(x) {\n    let y = x + 1;\n    y * 2\n}\n";
    let entries = "import \"lib\" as lib\n:break lib.rhai:3\n:break lib::helper\nlib::helper(1)\n:c\nx + y\n:c\n:break f\n\
                   fn f(a) { a }\nf(3)\n:step\na\n:c\n";
    let run = cshell(["-i"]).file("lib.rhai", module).stdin(entries).output();
    in_order(
        &run.stdout,
        &[
            "stopped at prompt:2, breakpoint lib::helper\n",
            "stopped in helper at lib.rhai:3, breakpoint lib.rhai:3\n",
            "\n3\n4\n",
            "stopped at prompt:4, breakpoint f\n",
            "stopped in f at prompt:3\n",
            "\n3\n3\n",
        ],
    );
    assert_eq!(run.stderr, "");
}

#[test]
fn what_cannot_be_a_stop_says_why() {
    let run = lab(
        &["-i"],
        ":break fs::wriet\n:break 3\n:break nope.rhai:3\n:break lab.rhai:99\n:break +\n:break Ns.exce\n:clear 9\n:next\n:continue\n\
         :step\n:step nope.rhai\n:break .exec\nprint(1)\n",
    );
    for part in [
        "there is no function `fs::wriet`, did you mean `fs::write`?",
        "a line needs a file: no script was run so far",
        "nope.rhai",
        "lab.rhai has no statement at line 99 or after it",
        "`+` is neither a function nor a line",
        "there is no method `Ns.exce`, did you mean `Ns.exec`?",
        "there is no breakpoint `9`",
        "no script is stopped",
        "cannot read the script",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in\n{}", run.stderr);
    }
    assert_eq!(run.stdout, "breakpoint 1 at .exec\n1\n");
    let run = lab(&["-i"], ":step lab.rhai\n:nope\n:help\nnope\n:quit\n");
    assert!(run.stderr.contains("there is no command `:nope` at a stop"), "{}", run.stderr);
    assert!(run.stderr.contains("undefined variable: nope"), "{}", run.stderr);
    assert!(run.stdout.contains(":out "), "{}", run.stdout);
}

#[test]
fn the_end_of_the_input_at_a_stop_ends_all() {
    cshell(["-i"]).file("lab.rhai", LAB).stdin(":step lab.rhai\n:next\n").output();
    let run = cshell(["-i"])
        .file("a.rhai", "let n = ns::new([\"uts\"]);\nprint(1);")
        .stdin(":step a.rhai\n:n\n")
        .output();
    assert_eq!(run.ended, Ended::Exit(0));
    assert!(!run.stdout.contains("\n1\n"), "{}", run.stdout);
    cshell(["-i"]).stdin("exit(5)\n").exit(5).check();
}
