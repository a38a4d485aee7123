//! Hostile and damaged archives: nothing outside is touched, and nothing half is left.

use crate::support::{Bench, fails, mark, names, tree};
use cshell::error::ErrorKind;
use cshell::runtime::image::{self, Lower};
use cshell::runtime::rootless::in_user_ns;
use cshell::sys::inode;
use oci_spec::image::{Descriptor, MediaType};
use rustix::fs::CWD;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

pub(crate) fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts a blob into the store of `bench` as another tool would.
fn blob(bench: &Bench, data: &[u8]) -> String {
    let folder = bench.dirs.images().join("blobs/sha256");
    std::fs::create_dir_all(&folder).unwrap();
    let hex = sha256(data);
    std::fs::write(folder.join(&hex), data).unwrap();
    hex
}

fn descriptor(media_type: MediaType, hex: &str, size: usize) -> Descriptor {
    let digest: oci_spec::image::Digest = format!("sha256:{hex}").parse().unwrap();
    Descriptor::new(media_type, u64::try_from(size).unwrap(), digest)
}

/// Stores an archive, uncompressed.
pub(crate) fn stored(bench: &Bench, archive: &[u8]) -> Lower {
    let hex = blob(bench, archive);
    let descriptor = Box::new(descriptor(MediaType::ImageLayer, &hex, archive.len()));
    Lower::Stored { diff_id: format!("sha256:{hex}"), descriptor }
}

/// Writes an image of these layers, bottom first, into the store, which must have no other image of the name.
pub(crate) fn plant_layers(bench: &Bench, reference: &str, layers: &[Lower]) -> PathBuf {
    let (mut diff_ids, mut descriptors) = (Vec::new(), Vec::new());
    for layer in layers {
        let Lower::Stored { diff_id, descriptor } = layer else { panic!("a folder") };
        diff_ids.push(diff_id.clone());
        descriptors.push((**descriptor).clone());
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    let config_hex = blob(bench, config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(MediaType::ImageConfig, &config_hex, config.len()),
        "layers": descriptors,
    })
    .to_string();
    let hex = blob(bench, manifest.as_bytes());
    let index = bench.dirs.images().join("index.json");
    let mut value: serde_json::Value = std::fs::read(&index).map_or_else(
        |_| json!({ "schemaVersion": 2, "manifests": [] }),
        |text| serde_json::from_slice(&text).unwrap(),
    );
    let mut entry = serde_json::to_value(descriptor(MediaType::ImageManifest, &hex, manifest.len())).unwrap();
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": reference });
    value["manifests"].as_array_mut().unwrap().push(entry);
    std::fs::write(&index, value.to_string()).unwrap();
    std::fs::write(bench.dirs.images().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    bench.dirs.images().join("blobs/sha256").join(hex)
}

/// An archive of members with any name, which well-behaved tools refuse to write.
#[derive(Default)]
struct Evil(Vec<u8>);

impl Evil {
    fn add(
        mut self,
        path: &str,
        kind: EntryType,
        link: &str,
        data: &[u8],
        set: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(u64::try_from(data.len()).unwrap());
        set(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, data: &[u8]) -> Self {
        self.add(path, EntryType::Regular, "", data, |_| {})
    }

    fn dir(self, path: &str) -> Self {
        self.add(path, EntryType::Directory, "", b"", |header| header.set_mode(0o755))
    }

    fn link(self, path: &str, kind: EntryType, to: &str) -> Self {
        self.add(path, kind, to, b"", |_| {})
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// Unpacks an archive in a store of its own.
fn unpack(bench: &Bench, archive: &[u8]) -> cshell::error::Result<PathBuf> {
    plant_layers(bench, "t:evil", &[stored(bench, archive)]);
    let session = bench.session();
    let (_, image) = image::from(&session, "t:evil")?;
    let dirs = image.lowerdirs(&session)?;
    Ok(dirs[0].clone())
}

/// The archive must be refused, and leave nothing.
fn refused(archive: &[u8], parts: &[&str]) {
    let bench = Bench::new();
    let mut all = vec!["layer sha256:"];
    all.extend(parts);
    fails(unpack(&bench, archive), ErrorKind::Corrupt, &all);
    assert_eq!(bench.scratch(), [""; 0]);
    assert_eq!(bench.layers(), [""; 0]);
}

#[test]
fn names_that_climb_are_refused() {
    for path in ["../x", "a/../../x", "..", "/../x", "a/.."] {
        refused(&Evil::default().file(path, b"x").end(), &["`..`"]);
        refused(&Evil::default().link("x", EntryType::Link, &format!("../{path}")).end(), &["`..`"]);
    }
    refused(&Evil::default().file(".wh...", b"").end(), &["hides nothing"]);
    refused(
        &Evil::default().file("./", b"").link("/", EntryType::Symlink, "/etc").end(),
        &["root must be a folder"],
    );
}

#[test]
fn links_lead_nowhere_outside() {
    let bench = Bench::new();
    let canary = bench.folder("canary", &[("file", "canary")]);
    let before = tree(&canary);
    let outside = canary.to_str().unwrap();
    let up = format!("{}{outside}", "../".repeat(30));
    for target in [outside, up.as_str()] {
        // Inside the root, the folder of the same path is meant, and is not there.
        for archive in [
            Evil::default().link("esc", EntryType::Symlink, target).file("esc/file", b"owned"),
            Evil::default().link("esc", EntryType::Symlink, target).dir("esc/").file("esc/file", b"owned"),
            Evil::default().dir("d/").link("d/e", EntryType::Symlink, target).file("d/e/new/file", b"owned"),
            Evil::default().link("esc", EntryType::Symlink, target).file("esc/.wh.file", b""),
            Evil::default().link("esc", EntryType::Symlink, target).file("esc/.wh..wh..opq", b""),
            Evil::default()
                .link("esc", EntryType::Symlink, target)
                .link("h", EntryType::Link, "esc/file")
                .file("h", b"owned"),
            Evil::default().link("h", EntryType::Link, &format!("{outside}/file")).file("h", b"owned"),
            Evil::default()
                .link("a", EntryType::Symlink, "b")
                .link("b", EntryType::Symlink, "a")
                .file("a/x", b"owned"),
        ] {
            let bench = Bench::new();
            let result = unpack(&bench, &archive.end());
            assert_eq!(tree(&canary), before);
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                assert_eq!((bench.scratch(), bench.layers()), (Vec::new(), Vec::new()));
            }
        }
        // A file in the place of a link replaces the link.
        let archive =
            Evil::default().link("f", EntryType::Symlink, &format!("{target}/file")).file("f", b"own");
        let bench = Bench::new();
        let dir = unpack(&bench, &archive.end()).unwrap();
        assert_eq!(std::fs::read(dir.join("f")).unwrap(), b"own");
        assert!(dir.join("f").symlink_metadata().unwrap().is_file());
        assert_eq!(tree(&canary), before);
    }
    // A link to the machine's password file would show here.
    refused(&Evil::default().link("p", EntryType::Link, "/etc/passwd").end(), &["no file of this layer"]);
    refused(&Evil::default().link("p", EntryType::Link, "p").end(), &["hard link to itself"]);
    refused(&Evil::default().dir("d/").link("p", EntryType::Link, "d").end(), &["no file of this layer"]);
}

#[test]
fn legitimate_oddities_are_unpacked() {
    let archive = Evil::default()
        .dir("usr/")
        .dir("usr/bin/")
        // A merged /usr, absolute; then a file through it.
        .link("bin", EntryType::Symlink, "/usr/bin")
        .file("bin/tool", b"tool")
        .link("usr/bin/tool2", EntryType::Link, "bin/tool")
        .file("./dot//slash/file", b"x")
        .file("/absolute", b"y")
        .add("pipe", EntryType::Fifo, "", b"", |header| {
            // Blank numbers, as some tools write them for what is no device.
            header.as_mut_bytes()[329..345].fill(b' ');
        })
        .file("twice", b"first")
        .file("twice", b"second")
        .file("becomes-dir", b"x")
        .dir("becomes-dir/")
        .dir("becomes-file/")
        .file("becomes-file/x", b"x")
        .file("becomes-file", b"y")
        .file(".wh.hidden-dir", b"")
        .dir("hidden-dir/")
        .dir("shown-dir/")
        .file(".wh.shown-dir", b"")
        .file("shown", b"x")
        .file(".wh.shown", b"")
        .file(".wh..wh.plnk", b"aufs")
        .add("setuid", EntryType::Regular, "", b"s", |header| {
            header.set_mode(0o6755);
            header.set_uid(1000);
        })
        .end();
    let bench = Bench::new();
    let dir = unpack(&bench, &archive).unwrap();
    let text = |path: &str| std::fs::read_to_string(dir.join(path)).unwrap();
    assert_eq!(text("usr/bin/tool"), "tool");
    assert_eq!(dir.join("usr/bin/tool2").metadata().unwrap().nlink(), 2);
    assert_eq!(
        (text("dot/slash/file"), text("absolute"), text("twice")),
        ("x".into(), "y".into(), "second".into())
    );
    assert!(dir.join("pipe").symlink_metadata().unwrap().file_type().is_fifo());
    assert!(dir.join("becomes-dir").is_dir() && dir.join("becomes-file").is_file());
    let opaque = mark("opaque");
    let mark = |path: &str| inode::xattr(CWD, &dir.join(path), opaque.as_bytes()).unwrap();
    assert_eq!(mark("hidden-dir").as_deref(), Some(&b"y"[..]));
    assert_eq!(mark("shown-dir").as_deref(), Some(&b"y"[..]));
    assert_eq!(text("shown"), "x");
    assert!(!names(&dir).iter().any(|name| name.starts_with(".wh.")));
    let setuid = dir.join("setuid").metadata().unwrap();
    assert_eq!((setuid.mode() & 0o7777, setuid.uid()), (0o6755, 1000));
    // A user of the machine does not reach it.
    for folder in [bench.dirs.layers(), bench.dirs.scratch()] {
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700, "{}", folder.display());
    }
}

#[test]
fn device_nodes_are_unpacked_by_root_of_the_machine() {
    let archive = Evil::default().add("null", EntryType::Char, "", b"", |header| {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    });
    let bench = Bench::new();
    let unpacked = unpack(&bench, &archive.end());
    if in_user_ns() {
        fails(unpacked, ErrorKind::PermissionDenied, &["null", "device nodes need root of the machine"]);
    } else {
        let node = unpacked.unwrap().join("null").metadata().unwrap();
        assert_eq!(node.rdev(), rustix::fs::makedev(1, 3));
    }
}

#[test]
fn marks_of_overlayfs_are_not_taken_from_an_archive() {
    let pax = |key: &str, value: &str| {
        let text = format!(" {key}={value}\n");
        format!("{}{text}", text.len() + 2)
    };
    let records = pax("SCHILY.xattr.trusted.overlay.redirect", "/etc");
    let archive =
        Evil::default().add("x", EntryType::XHeader, "", records.as_bytes(), |_| {}).dir("dir/").end();
    let bench = Bench::new();
    let dir = unpack(&bench, &archive).unwrap();
    assert_eq!(inode::xattr_names(CWD, &dir.join("dir")).unwrap(), Vec::<Vec<u8>>::new());
    let zero = Evil::default().add("zero", EntryType::Char, "", b"", |header| {
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
    });
    refused(&zero.end(), &["0:0"]);
}

#[test]
fn damaged_archives_leave_nothing() {
    let huge = Evil::default().add("big", EntryType::Regular, "", b"", |header| header.set_size(1 << 30));
    refused(&huge.end(), &["in the middle of a file"]);
    let endless =
        Evil::default().add("big", EntryType::Regular, "", b"", |header| header.set_size(u64::MAX - 5));
    refused(&endless.end(), &["out of range"]);
    let name = Evil::default().add("x", EntryType::GNULongName, "", b"", |header| header.set_size(3 << 30));
    refused(&name.end(), &["are allowed"]);
    refused(&vec![b'x'; 4096], &["checksum"]);
    let sparse = Evil::default().add("x", EntryType::GNUSparse, "", b"", |_| {});
    refused(&sparse.end(), &["GNUSparse"]);
    let owner = Evil::default().add("x", EntryType::Regular, "", b"", |header| header.set_uid(1 << 40));
    refused(&owner.end(), &["out of range"]);
    let mut cut = Evil::default().file("file", &[1; 3000]).end();
    cut.truncate(1500);
    refused(&cut, &["in the middle of a file"]);
}

#[test]
fn a_blob_that_does_not_match_is_refused() {
    let archive = Evil::default().file("file", &[7; 5000]).end();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(&archive).unwrap();
        encoder.finish().unwrap()
    };
    let unpack = |bench: &Bench, hex: &str, size: usize, diff_id: &str| {
        let descriptor = Box::new(descriptor(MediaType::ImageLayerGzip, hex, size));
        plant_layers(bench, "t:1", &[Lower::Stored { diff_id: format!("sha256:{diff_id}"), descriptor }]);
        let session = bench.session();
        let (_, image) = image::from(&session, "t:1").unwrap();
        image.lowerdirs(&session).map(|_| ())
    };
    let clean = |bench: &Bench| assert_eq!((bench.scratch(), bench.layers()), (Vec::new(), Vec::new()));
    let path = |bench: &Bench, hex: &str| bench.dirs.images().join("blobs/sha256").join(hex);
    let right = sha256(&archive);

    let bench = Bench::new();
    let hex = blob(&bench, &gzip);
    unpack(&bench, &hex, gzip.len(), &right).unwrap();

    // One byte is another: somewhere in the compressed data, or in the time stamp that nothing else checks.
    for at in [gzip.len() / 2, 4] {
        let bench = Bench::new();
        let hex = blob(&bench, &gzip);
        let mut damaged = gzip.clone();
        damaged[at] ^= 0x40;
        std::fs::write(path(&bench, &hex), damaged).unwrap();
        fails(unpack(&bench, &hex, gzip.len(), &right), ErrorKind::Corrupt, &["layer sha256:", &hex]);
        clean(&bench);
    }
    // Something follows the archive.
    let bench = Bench::new();
    let mut longer = gzip.clone();
    longer.extend_from_slice(&gzip);
    let hex = blob(&bench, &longer);
    fails(unpack(&bench, &hex, longer.len(), &right), ErrorKind::Corrupt, &["diff id", &right]);
    clean(&bench);
    // It is cut off, with a right digest.
    let bench = Bench::new();
    let hex = blob(&bench, &gzip[..gzip.len() - 9]);
    fails(unpack(&bench, &hex, gzip.len() - 9, &right), ErrorKind::Corrupt, &["layer sha256:", &hex]);
    clean(&bench);
    // Its size is another than the manifest says.
    let bench = Bench::new();
    let hex = blob(&bench, &gzip);
    fails(unpack(&bench, &hex, gzip.len() + 1, &right), ErrorKind::Corrupt, &[&hex, "bytes"]);
    clean(&bench);
    // It is missing.
    let bench = Bench::new();
    let hex = blob(&bench, &gzip);
    std::fs::remove_file(path(&bench, &hex)).unwrap();
    fails(unpack(&bench, &hex, gzip.len(), &right), ErrorKind::NotFound, &[&hex, "missing"]);
    clean(&bench);
    // It cannot be read.
    let bench = Bench::new();
    let hex = blob(&bench, &gzip);
    std::fs::remove_file(path(&bench, &hex)).unwrap();
    std::fs::create_dir(path(&bench, &hex)).unwrap();
    assert!(unpack(&bench, &hex, gzip.len(), &right).is_err());
    clean(&bench);
}

#[test]
fn damaged_documents_are_named() {
    let archive = Evil::default().file("file", b"x").end();
    let bench = Bench::new();
    let manifest = plant_layers(&bench, "t:1", &[stored(&bench, &archive)]);
    let good = std::fs::read(&manifest).unwrap();
    let session = bench.session();
    let name = manifest.file_name().unwrap().to_str().unwrap();
    let mut damaged = good.clone();
    damaged[20] ^= 1;
    std::fs::write(&manifest, damaged).unwrap();
    fails(image::from(&session, "t:1"), ErrorKind::Corrupt, &[name, "does not match its digest"]);
    std::fs::remove_file(&manifest).unwrap();
    fails(image::from(&session, "t:1"), ErrorKind::NotFound, &[name]);
    fails(image::from(&session, "t:2"), ErrorKind::NotFound, &["there is `t:1`"]);
    std::fs::write(bench.dirs.images().join("index.json"), "{").unwrap();
    fails(image::from(&session, "t:1"), ErrorKind::Corrupt, &["index.json"]);
    assert!(Path::new(&bench.dirs.images()).exists());
}
