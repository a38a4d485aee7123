//! What a binary needs to start: its interpreter and libraries, read from the ELF headers, and where libraries are.
//!
//! Only the parts that matter are read, whatever the size of the file. Libraries that a program loads by itself later
//! (`dlopen`) cannot be seen here.

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, Dynamic};
use goblin::elf::header::{EI_CLASS, ELFMAG, Header};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, ProgramHeader};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The longest table of strings that is read.
const STRINGS_MAX: usize = 64 << 20;
const DYNAMIC_MAX: usize = 1 << 20;

/// What an ELF file says about how it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elf {
    /// Machine and class: libraries of another do not fit.
    target: (u16, u8),
    /// The program that loads it.
    pub(super) interpreter: Option<PathBuf>,
    /// The names of the libraries it needs.
    pub(super) needed: Vec<OsString>,
    rpath: Vec<u8>,
    runpath: Vec<u8>,
}

fn bad(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("malformed ELF file: {what}"))
}

fn number(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(bad)
}

fn piece(file: &File, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut data = vec![0; len];
    file.read_exact_at(&mut data, offset).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => bad("it ends too early"),
        _ => source,
    })?;
    Ok(data)
}

/// Reads the headers of `file`; nothing if it is no ELF file.
pub(super) fn read(file: &File) -> Result<Option<Elf>> {
    let size = file.metadata()?.len();
    let mut start = [0; 64];
    let have = usize::try_from(size).unwrap_or(64).min(64);
    file.read_exact_at(&mut start[..have], 0)?;
    if have < 52 || !start.starts_with(ELFMAG) {
        return Ok(None);
    }
    let header = goblin::elf::Elf::parse_header(&start).map_err(bad)?;
    let ctx = Ctx::new(header.container().map_err(bad)?, header.endianness().map_err(bad)?);
    let mut elf = Elf {
        target: (header.e_machine, header.e_ident[EI_CLASS]),
        interpreter: None,
        needed: Vec::new(),
        rpath: Vec::new(),
        runpath: Vec::new(),
    };
    let segments = segments(file, &header, ctx)?;
    if let Some(segment) = segments.iter().find(|segment| segment.p_type == PT_INTERP) {
        let len = number(segment.p_filesz)?.min(4096);
        let text = piece(file, segment.p_offset, len)?;
        elf.interpreter = Some(PathBuf::from(OsString::from_vec(until_zero(&text).to_vec())));
    }
    if let Some(index) = segments.iter().position(|segment| segment.p_type == PT_DYNAMIC) {
        dynamic(file, segments, index, ctx, &mut elf)?;
    }
    Ok(Some(elf))
}

fn segments(file: &File, header: &Header, ctx: Ctx) -> Result<Vec<ProgramHeader>> {
    let (count, each) = (usize::from(header.e_phnum), ProgramHeader::size(ctx));
    if count == 0 {
        return Ok(Vec::new());
    }
    let table = piece(file, header.e_phoff, count * each)?;
    ProgramHeader::parse(&table, 0, count, ctx).map_err(bad)
}

fn dynamic(
    file: &File,
    mut segments: Vec<ProgramHeader>,
    index: usize,
    ctx: Ctx,
    elf: &mut Elf,
) -> Result<()> {
    let len = number(segments[index].p_filesz)?;
    if len > DYNAMIC_MAX {
        return Err(bad("its dynamic section is too long"));
    }
    let table = piece(file, segments[index].p_offset, len)?;
    // The table is all that is in memory: it begins at 0 there.
    segments[index].p_offset = 0;
    let Some(dynamic) = Dynamic::parse(&table, &segments, ctx).map_err(bad)? else { return Ok(()) };
    let size = dynamic.info.strsz;
    if size > STRINGS_MAX {
        return Err(bad("its table of names is too long"));
    }
    if size == 0 {
        return Ok(());
    }
    let offset = u64::try_from(dynamic.info.strtab).map_err(bad)?;
    let strings = piece(file, offset, size)?;
    for entry in &dynamic.dyns {
        let text = || -> Result<Vec<u8>> {
            let rest = strings.get(number(entry.d_val)?..).ok_or_else(|| bad("a name is out of range"))?;
            Ok(until_zero(rest).to_vec())
        };
        match entry.d_tag {
            DT_NEEDED => elf.needed.push(OsString::from_vec(text()?)),
            DT_RPATH => elf.rpath = text()?,
            DT_RUNPATH => elf.runpath = text()?,
            _ => {}
        }
    }
    Ok(())
}

fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

impl Elf {
    /// The folders that it asks to be searched, for itself alone and for all that it loads (`DT_RUNPATH` and `DT_RPATH`).
    pub(super) fn search(&self, origin: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let runpath = expand(&self.runpath, origin);
        // With a DT_RUNPATH, DT_RPATH does not count (ld.so(8)).
        let rpath = if self.runpath.is_empty() { expand(&self.rpath, origin) } else { Vec::new() };
        (runpath, rpath)
    }
}

/// A list of folders with `$ORIGIN` replaced. Relative ones depend on where a program is started, and are left out.
fn expand(list: &[u8], origin: &Path) -> Vec<PathBuf> {
    list.split(|byte| *byte == b':')
        .filter_map(|part| {
            let rest = part.strip_prefix(b"$ORIGIN").or_else(|| part.strip_prefix(b"${ORIGIN}"));
            let path = match rest {
                Some(rest) => {
                    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
                    origin.join(OsStr::from_bytes(rest))
                }
                None => PathBuf::from(OsStr::from_bytes(part)),
            };
            (path.is_absolute() && !path.as_os_str().as_bytes().contains(&b'$')).then_some(path)
        })
        .collect()
}

/// Where this machine keeps its libraries.
#[derive(Debug)]
pub(super) struct Libraries {
    folders: Vec<PathBuf>,
}

impl Libraries {
    /// Reads the configuration of the loaders: `/etc/ld.so.conf` of glibc, `/etc/ld-musl-*.path` of musl.
    pub(super) fn of_host() -> Self {
        let mut folders = Vec::new();
        conf(Path::new("/etc/ld.so.conf"), 4, &mut folders);
        for path in matching(Path::new("/etc/ld-musl-*.path")) {
            let text = std::fs::read(path).unwrap_or_default();
            folders.extend(expand(
                &text.split(|b| matches!(b, b'\n' | b':')).collect::<Vec<_>>().join(&b':'),
                Path::new(""),
            ));
        }
        let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
        let fixed = ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"];
        folders.extend(["/lib", "/usr/lib"].map(|folder| Path::new(folder).join(&triple)));
        folders.extend(fixed.map(PathBuf::from));
        let mut seen = std::collections::BTreeSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
        Self { folders }
    }

    /// The first file `name` in `first`, then in the machine's folders, that fits to `elf`.
    pub(super) fn find(&self, name: &OsStr, elf: &Elf, first: &[PathBuf]) -> Option<PathBuf> {
        let fits = |path: &PathBuf| {
            let file = File::open(path).ok()?;
            let found = read(&file).ok().flatten()?;
            (found.target == elf.target).then(|| path.clone())
        };
        if name.as_bytes().contains(&b'/') {
            return Some(PathBuf::from(name)).filter(|path| path.is_absolute()).and_then(|path| fits(&path));
        }
        first.iter().chain(&self.folders).map(|folder| folder.join(name)).find_map(|path| fits(&path))
    }
}

/// Appends the folders that a file in the format of `ld.so.conf` names.
fn conf(path: &Path, depth: u8, folders: &mut Vec<PathBuf>) {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            for pattern in pattern.split_whitespace() {
                // A relative pattern counts from the file that has it.
                let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern);
                if depth > 0 {
                    matching(&pattern).iter().for_each(|file| conf(file, depth - 1, folders));
                }
            }
        } else if line.starts_with('/') {
            folders.push(PathBuf::from(line));
        }
    }
}

/// The files that a pattern with at most one `*`, in its last part, means; sorted.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    let Some((start, end)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.as_bytes();
            name.len() >= start.len() + end.len()
                && name.starts_with(start.as_bytes())
                && name.ends_with(end.as_bytes())
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_binary_names_its_loader_and_libraries() {
        let path = std::fs::canonicalize("/bin/ls").unwrap();
        let elf = read(&File::open(path).unwrap()).unwrap().unwrap();
        let loader = elf.interpreter.clone().unwrap();
        assert!(loader.exists(), "{loader:?}");
        let libraries = Libraries::of_host();
        assert!(!elf.needed.is_empty());
        for name in &elf.needed {
            assert!(libraries.find(name, &elf, &[]).is_some(), "{name:?}");
        }
        assert_eq!(libraries.find(OsStr::new("libnone.so.9"), &elf, &[]), None);
    }

    #[test]
    fn what_is_no_binary_is_told_from_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = |data: &[u8]| {
            let path = dir.path().join("f");
            std::fs::write(&path, data).unwrap();
            read(&File::open(path).unwrap())
        };
        assert_eq!(file(b"").unwrap(), None);
        assert_eq!(file(b"#!/bin/sh\n").unwrap(), None);
        let mut data = std::fs::read("/bin/ls").unwrap();
        data.truncate(100);
        assert!(file(&data).unwrap_err().to_string().contains("ends too early"));
        data[4] = 9;
        assert!(file(&data).is_err());
    }

    #[test]
    fn search_folders_are_expanded_and_included() {
        let elf = |rpath: &[u8], runpath: &[u8]| Elf {
            target: (0, 0),
            interpreter: None,
            needed: Vec::new(),
            rpath: rpath.to_vec(),
            runpath: runpath.to_vec(),
        };
        let origin = Path::new("/opt/x/bin");
        let (own, all) = elf(b"/r", b"$ORIGIN/../lib:${ORIGIN}:rel::/$LIB:/y").search(origin);
        assert_eq!(own, ["/opt/x/bin/../lib", "/opt/x/bin", "/y"].map(PathBuf::from));
        assert!(all.is_empty());
        assert_eq!(elf(b"/r", b"").search(origin).1, [PathBuf::from("/r")]);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/b.conf"), "/b # two\n").unwrap();
        std::fs::write(dir.path().join("d/a.conf"), "/a\nhwcap x\n").unwrap();
        std::fs::write(dir.path().join("main"), "# c\ninclude d/*.conf\n/z\ninclude main\n").unwrap();
        let mut folders = Vec::new();
        conf(&dir.path().join("main"), 1, &mut folders);
        assert_eq!(folders[..3], ["/a", "/b", "/z"].map(PathBuf::from));
    }
}
