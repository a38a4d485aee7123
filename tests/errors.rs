//! How errors look: each `tests/golden/*.rhai` is run, its standard error and exit code compared with the file
//! `.out` beside it. `UPDATE_GOLDEN=1 cargo test --test errors` writes them anew: then read the difference.

mod support;

use std::path::Path;
use support::cshell;

#[test]
fn errors_look_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rhai"))
        .collect();
    scripts.sort();
    assert!(scripts.len() > 10, "the scripts are gone");
    let mut wrong = Vec::new();
    for script in scripts {
        let name = script.file_name().unwrap().to_str().unwrap();
        let run = cshell([name]).cwd(&folder).output();
        let came = format!("{}{}{:?}\n", run.stdout, run.stderr, run.ended);
        let golden = script.with_extension("out");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, came).unwrap();
            continue;
        }
        let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
        if came != wanted {
            wrong.push(format!("{name}: wanted\n{wanted}\n{name}: came\n{came}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
