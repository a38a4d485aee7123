//! The command line of bubblewrap (bwrap(1)).

use super::change::Change;
use super::{has_readonly_root, numbers, options, text, words};
use crate::runtime::proc::spec::{Mount, Namespaces, ProcSpec};
use std::path::Path;

/// The kinds of namespaces that it makes, with the option.
const KINDS: [(&str, &str); 6] = [
    ("user", "--unshare-user"),
    ("pid", "--unshare-pid"),
    ("net", "--unshare-net"),
    ("ipc", "--unshare-ipc"),
    ("uts", "--unshare-uts"),
    ("cgroup", "--unshare-cgroup"),
];

/// The command line, or what it does not express. What it tells of the container goes to the descriptor 3.
pub(super) fn run(asked: &ProcSpec, root: &Path, args: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, &'static str> {
    let change = Change::of(&asked.security)?;
    match () {
        () if asked.tty => return Err("tty"),
        () if !asked.additional_gids.is_empty() => return Err("additional_gids"),
        () if change.may_gain_privileges => return Err("no_new_privs: false"),
        () if change.profile.is_some() => return Err("a seccomp profile"),
        () if change.oom_score_adj.is_some() => return Err("oom_score_adj"),
        () if change.apparmor.is_some() => return Err("apparmor"),
        // It covers nothing of what the kernel shows, so that there is nothing to open.
        () if !(change.mask.is_empty() && change.protect.is_empty()) => {
            return Err("paths to mask or protect");
        }
        () => {}
    }
    let mut argv = words(&["bwrap"]);
    match &asked.ns {
        None => argv.extend(words(&["--unshare-all"])),
        Some(Namespaces::Fresh(own)) => {
            argv.extend(
                KINDS.iter().filter(|(kind, _)| own.has(kind)).flat_map(|(_, option)| words(&[option])),
            );
        }
        Some(Namespaces::Of(_)) => return Err("the namespaces of a set"),
    }
    let bind = if has_readonly_root(asked) { "--ro-bind" } else { "--bind" };
    argv.extend(words(&["--info-fd", "3", "--die-with-parent", "--new-session", bind, &text(root), "/"]));
    argv.extend(words(&["--proc", "/proc", "--dev", "/dev", "--clearenv"]));
    for mount in &asked.mounts {
        argv.extend(translate(mount)?);
    }
    let (more, fewer) = match &change.exactly {
        Some(exactly) => (exactly, &vec!["ALL".to_owned()]),
        None => (&change.cap_add, &change.cap_drop),
    };
    fewer.iter().for_each(|name| argv.extend(words(&["--cap-drop", name])));
    more.iter().for_each(|name| argv.extend(words(&["--cap-add", name])));
    for (key, value) in asked.env.iter().flatten() {
        argv.extend([b"--setenv".to_vec(), key.clone(), value.clone()]);
    }
    argv.extend(words(&["--chdir", &asked.cwd.as_deref().map_or_else(|| "/".to_owned(), text)]));
    if let Some(user) = &asked.user {
        let (uid, gid) = numbers(user)?;
        argv.extend(words(&["--uid", &uid.to_string(), "--gid", &gid.to_string()]));
    }
    if let Some(hostname) = &asked.hostname {
        argv.extend(words(&["--hostname", hostname]));
    }
    argv.push(b"--".to_vec());
    argv.extend(args);
    Ok(argv)
}

fn translate(mount: &Mount) -> Result<Vec<Vec<u8>>, &'static str> {
    let target = text(&mount.target);
    let options: Vec<&str> = options(mount).collect();
    // It makes every mount nosuid and nodev.
    let knows = |option: &&str| match mount.kind.as_str() {
        "bind" => matches!(*option, "ro" | "rw" | "rbind" | "nosuid" | "nodev" | "idmap"),
        "tmpfs" => {
            matches!(*option, "rw" | "nosuid" | "nodev")
                || option.starts_with("size=")
                || option.starts_with("mode=")
        }
        _ => false,
    };
    if !options.iter().all(knows) {
        return Err("these options of a mount");
    }
    match (mount.kind.as_str(), &mount.source) {
        ("bind", _) if options.contains(&"idmap") => Err("mounts with idmap"),
        ("bind", Some(source)) => {
            let option = if options.contains(&"ro") { "--ro-bind" } else { "--bind" };
            Ok(words(&[option, &text(source), &target]))
        }
        ("tmpfs", _) => {
            let value = |key: &str| options.iter().find_map(|option| option.strip_prefix(key));
            let mut argv = Vec::new();
            if let Some(size) = value("size=") {
                let size = crate::runtime::units::parse_bytes(size).map_err(|_| "this size of a tmpfs")?;
                argv.extend(words(&["--size", &size.to_string()]));
            }
            if let Some(mode) = value("mode=") {
                argv.extend(words(&["--perms", mode]));
            }
            argv.extend(words(&["--tmpfs", &target]));
            Ok(argv)
        }
        ("proc", _) => Ok(words(&["--proc", &target])),
        ("dev", _) => Ok(words(&["--dev", &target])),
        ("mqueue", _) => Ok(words(&["--mqueue", &target])),
        _ => Err("mounts other than a bind, tmpfs, proc, dev and mqueue"),
    }
}
