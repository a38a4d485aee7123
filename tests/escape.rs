//! The escape catalogue: everything that it tries is contained, and gets out without the one protection against it.

mod support;

use support::code;

#[test]
fn every_attempt_is_contained() {
    code(
        r#"
        import "std/escape" as escape;
        let open = escape::all().filter(|r| r.contained != true && r.skipped == ());
        for r in open { print(r); }
        "#,
    )
    .stdout("")
    .check();
}

#[test]
fn every_control_gets_out() {
    code(
        r#"
        import "std/escape" as escape;
        for e in escape::list() {
            let r = escape::control(e.name);
            if r.contained != false && r.skipped == () { print(r); }
        }
        "#,
    )
    .stdout("")
    .check();
}
