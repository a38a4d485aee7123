//! Commits that only the library can ask for.

use crate::support::{Bench, fails, spec, tool_ok};
use cshell::error::ErrorKind;
use cshell::runtime::image::{self, CommitSpec, Compression};

#[test]
fn without_a_folder_only_the_configuration_changes() {
    let bench = Bench::new();
    let session = bench.session();
    let root = bench.folder("root", &[("a", "1")]);
    let (_, first) = image::commit(&session, &spec(&session, &root, "t:1")).unwrap();
    let mut second = CommitSpec::new(&first, "", "t:2");
    second.upper = None;
    second.changes.cmd = Some(vec!["/a".into()]);
    let (_, second) = image::commit(&session, &second).unwrap();
    assert_eq!(second.layers(), first.layers());
    assert_eq!(second.args(), ["/a"]);
    let history = second.config().history().as_ref().unwrap();
    assert_eq!((history.len(), history[1].empty_layer()), (2, Some(true)));
    // Another tool reads it as well.
    let address = format!("oci:{}:t:2", bench.dirs.images().display());
    if let Some(text) = tool_ok("skopeo", &["inspect", &address]) {
        assert!(text.contains(second.digest().unwrap()), "{text}");
    }
}

#[test]
fn a_level_that_gzip_does_not_have_is_refused() {
    let bench = Bench::new();
    let session = bench.session();
    let mut bad = spec(&session, &bench.folder("root", &[("file", "x")]), "t:1");
    bad.compression = Compression::Gzip(10);
    fails(image::commit(&session, &bad), ErrorKind::InvalidArgument, &["compression", "10"]);
    assert_eq!(bench.scratch(), [""; 0]);
    assert!(!bench.dirs.images().exists());
}
