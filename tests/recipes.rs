//! Every recipe in `scripts/` says what it needs and what it ends with, checks without findings, and runs to that end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::path::{Path, PathBuf};
use support::{Ended, cshell};

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 6, "{found:?}");
    found
}

/// The value of a line `// NAME: VALUE` of the header.
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.lines().take_while(|line| line.starts_with("//") || line.starts_with("#!"));
    head.filter_map(|line| line.strip_prefix("// ")?.strip_prefix(name)?.strip_prefix(": ")).next()
}

#[test]
fn each_recipe_has_a_header_and_checks() {
    for path in recipes() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#!/usr/bin/env cshell\n// "), "{path:?} starts with its purpose");
        for name in ["needs", "expect", "see"] {
            assert!(header(&text, name).is_some(), "{path:?} has no line `// {name}: …` in its header");
        }
        cshell(["check".into(), path.into_os_string()]).check();
    }
}

#[test]
fn each_recipe_ends_as_its_header_says() {
    for path in recipes() {
        let text = std::fs::read_to_string(&path).unwrap();
        let run = cshell([path.clone()]).output();
        assert_eq!(run.ended, Ended::Exit(0), "{path:?}: {}", run.stderr);
        assert_eq!(run.stdout.lines().last(), header(&text, "expect"), "{path:?}: {}", run.stdout);
        assert_eq!(run.stderr, "", "{path:?}");
    }
}

/// What an ordinary user sees of a recipe: its end, or, of one that makes groups where none is delegated, what mends that.
#[test]
fn each_recipe_works_for_an_ordinary_user() {
    for path in recipes() {
        let text = std::fs::read_to_string(&path).unwrap();
        let needs = header(&text, "needs").unwrap();
        assert!(
            !needs.split([',', ';']).any(|need| need.trim() == "root"),
            "{path:?} needs no root: {needs}"
        );
        let recipe = || cshell(["recipe.rhai"]).file("recipe.rhai", &text);
        let run = recipe().by_user().output();
        if needs.contains("controller") || needs.contains("version 2 tree") {
            assert_eq!(run.ended, Ended::Exit(3), "{path:?}: {}", run.stderr);
            assert!(run.stderr.contains("Delegate=yes"), "{path:?}: {}", run.stderr);
            let run = recipe().by_user().delegated();
            assert_eq!(run.ended, Ended::Exit(0), "{path:?}: {}", run.stderr);
            assert!(
                run.stdout.lines().any(|line| Some(line) == header(&text, "expect")),
                "{path:?}: {}",
                run.stdout
            );
            continue;
        }
        assert_eq!(run.ended, Ended::Exit(0), "{path:?}: {}", run.stderr);
        assert_eq!(run.stdout.lines().last(), header(&text, "expect"), "{path:?}: {}", run.stdout);
        assert_eq!(run.stderr, "", "{path:?}");
    }
}

/// The recipe of the README's first command works with whatever can serve a folder: here one after the other is hidden.
#[test]
#[expect(clippy::disallowed_methods, reason = "a mount namespace in which a program is missing")]
fn the_first_recipe_works_with_each_server() {
    let mut hidden: Vec<&str> = Vec::new();
    for server in ["busybox", "python3", "perl"] {
        if Path::new("/usr/bin").join(server).exists() {
            let folder = tempfile::tempdir().unwrap();
            let hide: String = hidden.iter().map(|name| format!("mknod $1/{name} c 0 0; ")).collect();
            let script = format!(
                "set -e; {hide} mount -t overlay hide -o lowerdir=$1:/usr/bin /usr/bin; exec $2 scripts/build.rhai"
            );
            let output = std::process::Command::new("unshare")
                .args(["-m", "sh", "-c", &script, "sh"])
                .arg(folder.path())
                .arg(env!("CARGO_BIN_EXE_cshell"))
                .env("CSHELL_RUN", folder.path().join("run"))
                .env("CSHELL_ROOT", folder.path().join("root"))
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .output()
                .unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{server}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(stdout.starts_with(&format!("base: {server} of this machine\n")), "{stdout}");
        }
        hidden.push(server);
    }
}
