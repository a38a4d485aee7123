//! The kernel of the virtual machine: Debian's for cloud machines, fetched once and kept in `tests/.cache`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that depends on the newest kernel.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    folder: PathBuf,
    version: String,
}

/// Runs a tool and returns what it prints.
#[expect(clippy::disallowed_methods, reason = "tools of the machine that runs the tests")]
pub(crate) fn tool(folder: &Path, program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).current_dir(folder).env("LC_ALL", "C").output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{program} {}: {}", args.join(" "), text(&output.stderr).trim()))
}

impl Kernel {
    /// The kernel that Debian has now; without a connection, the newest that was fetched before.
    pub(crate) fn get() -> Result<Self, String> {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/kernel");
        std::fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        let current = || newest(&cache).and_then(|package| Self::fetch(&cache, &package));
        // The package lists may be older than what the servers still have.
        let updated = |_| tool(&cache, "apt-get", &["update", "-q"]).and_then(|_| current());
        current().or_else(updated).or_else(|error| {
            let names = std::fs::read_dir(&cache).into_iter().flatten().flatten();
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            let kept = names.filter(|name| name.starts_with("linux-image-")).max();
            kept.ok_or(error).and_then(|package| Self::open(cache.join(package)))
        })
    }

    /// The kernel of this package, out of the cache or fetched into it. What is being fetched becomes visible whole.
    fn fetch(cache: &Path, package: &str) -> Result<Self, String> {
        let folder = cache.join(package);
        if folder.exists() {
            return Self::open(folder);
        }
        let text = |error: std::io::Error| format!("{}: {error}", cache.display());
        let partial = tempfile::Builder::new().prefix("partial-").tempdir_in(cache).map_err(text)?;
        let path = partial.path();
        tool(path, "apt-get", &["download", "-q", package])?;
        tool(path, "sh", &["-c", "dpkg -x ./*.deb . && rm ./*.deb"])?;
        // Later releases of Debian compress them.
        tool(path, "sh", &["-c", "find lib/modules -name '*.ko.xz' -exec xz -d {} +"])?;
        let kernel = Self::open(path.to_owned())?;
        tool(path, "depmod", &["-b", ".", &kernel.version])?;
        match std::fs::rename(partial.keep(), &folder) {
            // Another run was quicker.
            Err(error) if !folder.exists() => Err(text(error)),
            _ => Self::open(folder),
        }
    }

    fn open(folder: PathBuf) -> Result<Self, String> {
        let mut found = std::fs::read_dir(folder.join("lib/modules")).into_iter().flatten().flatten();
        let version = found.next().and_then(|entry| entry.file_name().into_string().ok());
        let version = version.ok_or_else(|| format!("{} holds no modules", folder.display()))?;
        Ok(Self { folder, version })
    }

    /// The file to start.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.version))
    }

    /// The files of these modules and of those that they need, in the order in which they go in, with their options.
    pub(crate) fn modules(&self, names: &[String]) -> Result<Vec<(PathBuf, String)>, String> {
        let mut found: Vec<(PathBuf, String)> = Vec::new();
        for name in names {
            let lines = tool(
                &self.folder,
                "modprobe",
                &["-d", &self.folder.to_string_lossy(), "-S", &self.version, "--show-depends", name],
            )?;
            for line in lines.lines().filter_map(|line| line.strip_prefix("insmod ")) {
                let (path, options) = line.trim().split_once(".ko").ok_or("modprobe names no file")?;
                let module = (PathBuf::from(format!("{path}.ko")), options.trim().to_owned());
                if !found.contains(&module) {
                    found.push(module);
                }
            }
        }
        Ok(found)
    }
}

/// The package that [`PACKAGE`] stands for.
fn newest(cache: &Path) -> Result<String, String> {
    let lines = tool(cache, "apt-cache", &["depends", "--important", PACKAGE])?;
    let found = lines.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    found
        .map(str::to_owned)
        .ok_or_else(|| format!("the package lists do not have {PACKAGE} (apt-get update)"))
}
