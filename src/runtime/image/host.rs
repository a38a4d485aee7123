//! A base image made of this machine's own binaries, with what they need to start. No network, no download.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::image::elf::{self, Elf, Libraries};
use crate::runtime::image::handle::{Image, Lower, make_scratch, scratch_path};
use crate::runtime::image::mirror::Mirror;
use crate::runtime::image::{config, near};
use crate::runtime::object::Object;
use crate::runtime::programs;
use crate::runtime::session::{Done, HandleId, Intent, Session};
use crate::runtime::units::show_bytes;
use crate::sys::{file, inode, record};
use rustix::fs::CWD;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const OP: &str = "image::host";
/// How many scripts may be each other's interpreters (the kernel allows four).
const SCRIPTS_MAX: u8 = 5;
/// Links to folders below `/usr` where that is merged.
const MERGED: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const MOUNT_POINTS: [(&str, u32); 7] = [
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
    ("tmp", 0o1777),
    ("run", 0o755),
    ("root", 0o700),
    ("etc", 0o755),
];
const FILES: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
];

/// What goes into a base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSpec {
    /// Programs: names, searched in `PATH`, or absolute paths.
    pub binaries: Vec<String>,
    /// Further files and folders, as absolute paths: an interpreter's library, certificates, time zones. Of a folder,
    /// everything below it, with its attributes.
    pub include: Vec<String>,
}

/// Makes a base of this machine's own binaries.
///
/// Each binary comes under the path it has here, with the links that lead to it, its loader, the libraries that its
/// headers name, and for a script its interpreter. Libraries that programs load by themselves (`dlopen`: name service,
/// locales, modules of an interpreter) are not seen, and go into `include`. Modes stay, setuid bits too. Beside
/// them come empty mount points, `/root`, `/tmp`, and a minimal `/etc/passwd`, `/etc/group` and `/etc/hosts`.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a binary, library or path that does not exist; [`ErrorKind::InvalidArgument`] for a
/// relative path, and for one of the program's own state; [`ErrorKind::Corrupt`] for a broken binary. Nothing is left then.
pub fn host(session: &Session, spec: &HostSpec) -> Result<(HandleId, Rc<Image>)> {
    for path in &spec.include {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Error::new(ErrorKind::InvalidArgument, OP, "an included path must be absolute")
                .subject(format!("{path:?}")));
        }
    }
    let own = [&session.dirs().root, &session.dirs().run];
    let own = own.map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
    for path in &spec.include {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        if own.iter().any(|own| real.starts_with(own)) {
            let what =
                "an included path lies where this program keeps its own state, which is left out of images";
            return Err(Error::new(ErrorKind::InvalidArgument, OP, what)
                .subject(path)
                .hint("copy it into an overlay of the image: fs::copy(path, layer.path(\"/where\"))"));
        }
    }
    let root = scratch_path(session, "host")?;
    let intent = Intent {
        op: OP,
        text: format!("make a base of {} in {}", spec.binaries.join(", "), root.display()),
        claim: Object::Folder { path: root.clone(), from: None, id: None },
    };
    let (step, image) = session.step(intent, |progress| {
        let object = make_scratch(session, &root, OP)?;
        progress.made(object.clone())?;
        let started = record::clock();
        let mut base = Base {
            mirror: Mirror::new(&root, own.to_vec(), OP),
            libraries: Libraries::of_host(),
            known: HashSet::new(),
            unresolved: BTreeSet::new(),
            dynamic: false,
        };
        let image = record::paused(|| base.build(spec, &root))?;
        let (files, bytes) = (base.mirror.files, show_bytes(base.mirror.bytes));
        record::note(|| format!("copy {files} files, {bytes}"), Ok("0".into()), started);
        let effect = format!("{files} files, {bytes} in {}", root.display());
        Ok(Done { value: image, object, effect })
    })?;
    Ok(session.adopt(image, vec![step]))
}

struct Base {
    mirror: Mirror,
    libraries: Libraries,
    /// Binaries that were looked at, by real path.
    known: HashSet<PathBuf>,
    /// Libraries that included files name and that this machine does not have.
    unresolved: BTreeSet<String>,
    /// Whether anything needs a loader.
    dynamic: bool,
}

impl Base {
    fn build(&mut self, spec: &HostSpec, root: &Path) -> Result<Image> {
        for path in MERGED {
            if std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink()) {
                self.mirror.place(Path::new(path))?;
            }
        }
        let mut paths = Vec::new();
        for name in &spec.binaries {
            let path = find(name)?;
            self.program(&path, 0)?;
            // What starts with `#!/bin/sh` finds it there, wherever PATH found it.
            if path.file_name() == Some(OsStr::new("sh")) && Path::new("/bin/sh").exists() {
                self.program(Path::new("/bin/sh"), 0)?;
            }
            paths.push(path.display().to_string());
        }
        for path in &spec.include {
            self.include(Path::new(path))?;
        }
        if self.dynamic {
            self.loader_files()?;
        }
        self.mirror.finish()?;
        fixtures(root)?;
        let has_shell = paths.iter().any(|path| path.ends_with("/sh"));
        let changes = config::Changes {
            env: vec![("PATH".into(), programs::PATH.into())],
            cmd: has_shell.then(|| vec!["/bin/sh".into()]),
            ..config::Changes::default()
        };
        Ok(Image {
            name: "host base".into(),
            reference: None,
            digest: None,
            config: changes.apply(&config::empty()),
            layers: vec![Lower::Dir(root.to_owned())],
            size: self.mirror.bytes,
            facts: serde_json::json!({
                "binaries": paths,
                "files": self.mirror.files,
                "unresolved": self.unresolved,
            }),
        })
    }

    /// Copies a program with what it needs.
    fn program(&mut self, path: &Path, depth: u8) -> Result<()> {
        let real = self.mirror.place(path)?;
        if !self.known.insert(real.clone()) {
            return Ok(());
        }
        let fail = || format!("cannot read {}", real.display());
        let file = File::open(&real).context(OP, fail())?;
        if let Some(line) = script_line(&file).context(OP, fail())? {
            return self.script(&line, &real, depth);
        }
        match elf::read(&file)
            .map_err(|source| Error::io(OP, "cannot read its headers", source).subject(real.display()))?
        {
            Some(elf) => self.needs(&elf, &real, &[], true),
            // Data, or a script without a first line for it: nothing follows from it.
            None => Ok(()),
        }
    }

    fn script(&mut self, line: &[u8], script: &Path, depth: u8) -> Result<()> {
        let in_script =
            |error: Error| error.hint(format!("the first line of {} asks for it", script.display()));
        if depth >= SCRIPTS_MAX {
            return Err(Error::new(
                ErrorKind::LimitReached,
                OP,
                "its interpreter is a script, and so on, too often",
            )
            .subject(script.display()));
        }
        let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let Some(interpreter) = words.next().map(|word| PathBuf::from(OsStr::from_bytes(word))) else {
            return Ok(());
        };
        if !interpreter.is_absolute() {
            return Ok(());
        }
        self.program(&interpreter, depth + 1).map_err(in_script)?;
        if interpreter.file_name() != Some(OsStr::new("env")) {
            return Ok(());
        }
        // `env -S name …`, `env VAR=value name`: the first word that is neither an option nor a variable.
        match words.find(|word| !word.starts_with(b"-") && !word.contains(&b'=')) {
            Some(name) => {
                let path = find(&String::from_utf8_lossy(name)).map_err(in_script)?;
                self.program(&path, depth + 1).map_err(in_script)
            }
            None => Ok(()),
        }
    }

    /// Copies the loader and libraries of a binary. `paths` are the folders that those who load it ask for.
    fn needs(&mut self, elf: &Elf, real: &Path, paths: &[PathBuf], strict: bool) -> Result<()> {
        if let Some(loader) = &elf.interpreter {
            self.dynamic = true;
            let placed = self.mirror.place(loader);
            if strict {
                placed.map_err(|error| error.hint(format!("it is the loader of {}", real.display())))?;
            } else if placed.is_err() {
                self.unresolved.insert(loader.display().to_string());
            }
        }
        let (own, inherited) = elf.search(real.parent().unwrap_or(Path::new("/")));
        let inherited: Vec<PathBuf> = inherited.iter().chain(paths).cloned().collect();
        let first: Vec<PathBuf> = inherited.iter().chain(&own).cloned().collect();
        for name in &elf.needed {
            let Some(path) = self.libraries.find(name, elf, &first) else {
                let name = name.to_string_lossy();
                if !strict {
                    self.unresolved.insert(name.into_owned());
                    continue;
                }
                let what =
                    format!("the library {name}, which it needs, is in no library folder of this machine");
                return Err(Error::new(ErrorKind::NotFound, OP, what).subject(real.display()).path(real));
            };
            let library = self.mirror.place(&path)?;
            if !self.known.insert(library.clone()) {
                continue;
            }
            let fail = || format!("cannot read {}", library.display());
            let file = File::open(&library).context(OP, fail())?;
            if let Some(elf) = elf::read(&file).context(OP, fail())? {
                self.needs(&elf, &library, &inherited, strict)?;
            }
        }
        Ok(())
    }

    /// Copies a path that the user names, and the libraries of what is in it as far as they exist.
    fn include(&mut self, path: &Path) -> Result<()> {
        self.mirror.objects.clear();
        let real = self.mirror.place(path).map_err(|error| error.hint("it is listed in `include`"))?;
        if real.is_dir() {
            self.mirror.tree(&real)?;
        }
        for object in std::mem::take(&mut self.mirror.objects) {
            if !self.known.insert(object.clone()) {
                continue;
            }
            let Ok(file) = File::open(&object) else { continue };
            // A broken one is copied as it is: it may be data, such as a test of a linker.
            if let Ok(Some(elf)) = elf::read(&file) {
                self.needs(&elf, &object, &[], false)?;
            }
        }
        Ok(())
    }

    /// What loaders read: without it, libraries in folders that only this machine's configuration names are not found.
    fn loader_files(&mut self) -> Result<()> {
        let musl = std::fs::read_dir("/etc").into_iter().flatten().filter_map(|entry| entry.ok());
        let musl = musl.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
            name.starts_with(b"ld-musl-") && name.ends_with(b".path")
        });
        for path in musl.chain([PathBuf::from("/etc/ld.so.cache")]) {
            if path.exists() {
                self.mirror.place(&path)?;
            }
        }
        Ok(())
    }
}

/// Mount points and the files that most programs expect, where nothing was included in their place.
fn fixtures(root: &Path) -> Result<()> {
    let fail = |path: &Path| format!("cannot make {}", path.display());
    for (name, perm) in MOUNT_POINTS {
        let path = root.join(name);
        if path.symlink_metadata().is_err() {
            file::mkdirat(CWD, &path, 0o700)
                .and_then(|()| inode::set_perm_at(CWD, &path, perm))
                .context(OP, fail(&path))?;
        }
    }
    for (name, text) in FILES {
        let path = root.join(name);
        // Never through a link, which would lead to this machine's own files.
        let real =
            path.parent().is_some_and(|parent| parent.symlink_metadata().is_ok_and(|data| data.is_dir()));
        if real && path.symlink_metadata().is_err() {
            std::fs::write(&path, text).context(OP, fail(&path))?;
            inode::set_perm_at(CWD, &path, 0o644).context(OP, fail(&path))?;
        }
    }
    inode::set_perm_at(CWD, root, 0o755).context(OP, fail(root))
}

/// The first line of a script, without `#!`.
fn script_line(file: &File) -> std::io::Result<Option<Vec<u8>>> {
    let mut start = [0; 256];
    let len = file.read_at(&mut start, 0)?;
    let line = start[..len].split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_prefix(b"#!").map(<[u8]>::to_vec))
}

/// Where the program `name` is on this machine.
fn find(name: &str) -> Result<PathBuf> {
    let invalid = |what: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, OP, what).subject(format!("binary {name:?}")))
    };
    if name.is_empty() || name.contains('\0') {
        return invalid("it is not the name of a program");
    }
    if name.starts_with('/') {
        let path = PathBuf::from(name);
        if programs::is_program(&path) {
            return Ok(path);
        }
        if path.exists() {
            return invalid("it is not a program that can be run");
        }
        return Err(Error::new(ErrorKind::NotFound, OP, "there is no such program on this machine")
            .subject(format!("binary {name:?}"))
            .path(path));
    }
    if name.contains('/') {
        return invalid("give a name to search in PATH, or an absolute path");
    }
    programs::find(name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Error {
    let path = programs::search_path();
    let error =
        Error::new(ErrorKind::NotFound, OP, format!("it is in no folder of PATH ({})", path.display()))
            .subject(format!("binary {name:?}"));
    if busybox_has(name) {
        return error.hint(format!("busybox has it: ask for `busybox`, and run [\"busybox\", {name:?}, …]"));
    }
    let mut names = BTreeSet::new();
    for folder in programs::folders() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok());
        names.extend(entries.filter_map(|entry| entry.file_name().into_string().ok()));
    }
    match near::hint(name, names.iter().map(String::as_str)) {
        Some(hint) => error.hint(hint),
        None => error.hint("install it, or give its absolute path"),
    }
}

/// Whether this machine's busybox has an applet, going by the table of names in its file: nothing is run.
fn busybox_has(name: &str) -> bool {
    let Some(path) = programs::find("busybox") else { return false };
    let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
    std::fs::read(path).is_ok_and(|data| data.windows(wanted.len()).any(|part| part == wanted))
}
