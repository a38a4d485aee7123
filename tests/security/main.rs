//! A confined process: what it can do, seen from inside by attempts, and from outside by what the kernel tells.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod hostile;
mod probes;
mod proof;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The program that tries to get out, made once.
#[expect(clippy::disallowed_methods, reason = "the compiler is no part of the program under test")]
fn probe() -> &'static PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/probe.c");
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{}", std::process::id()));
        let made = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&path).arg(source).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        path
    })
}
