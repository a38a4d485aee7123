//! What an OCI runtime is given: its own `spec`, changed by as much as a start asks for
//! (<https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md>).

use super::change::Change;
use super::{has_readonly_root, joined, lossy, numbers, options, whole};
use crate::runtime::proc::spec::{Mount, Namespaces, ProcSpec};
use crate::runtime::proc::user;
use serde_json::{Value, json};
use std::path::Path;

/// The kinds of namespaces, as they are called here and there.
const KINDS: [(&str, &str); 8] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mount", "mount"),
    ("net", "network"),
    ("pid", "pid"),
    ("time", "time"),
    ("user", "user"),
    ("uts", "uts"),
];

/// Capability sets that one is added to: the others are for programs that know of them.
const SETS: [&str; 3] = ["bounding", "effective", "permitted"];

/// Changes the runtime's own `spec` to what is asked; or names what it does not express.
pub(super) fn configure(
    config: &mut Value,
    asked: &ProcSpec,
    root: &Path,
    args: &[Vec<u8>],
) -> Result<(), &'static str> {
    let change = Change::of(&asked.security)?;
    let process = &mut config["process"];
    process["terminal"] = json!(asked.tty);
    process["args"] = json!(args.iter().map(|word| lossy(word)).collect::<Vec<_>>());
    if let Some(env) = &asked.env {
        let pair = |(key, value): &(Vec<u8>, Vec<u8>)| format!("{}={}", lossy(key), lossy(value));
        process["env"] = json!(env.iter().map(pair).collect::<Vec<_>>());
    }
    if let Some(cwd) = &asked.cwd {
        process["cwd"] = json!(cwd);
    }
    if let Some(user) = &asked.user {
        let (uid, gid) = numbers(user)?;
        process["user"] = json!({ "uid": uid, "gid": gid });
    }
    if !asked.additional_gids.is_empty() {
        process["user"]["additionalGids"] = json!(asked.additional_gids);
    }
    for limit in &asked.rlimits {
        let name = format!("RLIMIT_{}", user::rlimit_name(limit.resource).to_uppercase());
        let own = json!({ "type": name, "soft": limit.soft, "hard": limit.hard });
        replace(&mut process["rlimits"], |known| known["type"] == own["type"], own.clone());
    }
    privileges(process, &change);
    config["root"] = json!({ "path": root, "readonly": has_readonly_root(asked) });
    namespaces(config, asked)?;
    groups_are_ours(config);
    paths(&mut config["linux"], &change);
    for mount in &asked.mounts {
        if let Some(own) = translate(mount)? {
            replace(&mut config["mounts"], |known| known["destination"] == own["destination"], own.clone());
        }
    }
    if asked.cgroup.is_some() {
        // The rules are those of the group that is given.
        config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    }
    Ok(())
}

/// Puts `own` in place of the one in the list that `is_it`, or at its end.
fn replace(list: &mut Value, is_it: impl Fn(&Value) -> bool, own: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        match list.iter_mut().find(|known| is_it(known)) {
            Some(known) => *known = own,
            None => list.push(own),
        }
    }
}

fn without(list: &mut Value, what: &[Value]) {
    if let Some(list) = list.as_array_mut() {
        list.retain(|known| !what.contains(known));
    }
}

fn with(list: &mut Value, what: &[Value]) {
    for one in what {
        replace(list, |known| known == one, one.clone());
    }
}

fn privileges(process: &mut Value, change: &Change) {
    let values = |names: &[String]| names.iter().map(|name| json!(name)).collect::<Vec<_>>();
    let (more, fewer) = (values(&change.cap_add), values(&change.cap_drop));
    for set in SETS {
        if let Some(exactly) = &change.exactly {
            process["capabilities"][set] = json!(exactly);
        }
        with(&mut process["capabilities"][set], &more);
    }
    if let (Some(_), Some(sets)) = (&change.exactly, process["capabilities"].as_object_mut()) {
        sets.retain(|set, _| SETS.contains(&set.as_str()));
    }
    if let Some(sets) = process["capabilities"].as_object_mut() {
        sets.values_mut().for_each(|set| without(set, &fewer));
    }
    if change.may_gain_privileges {
        process["noNewPrivileges"] = json!(false);
    }
    if let Some(adj) = change.oom_score_adj {
        process["oomScoreAdj"] = json!(adj);
    }
    if let Some(profile) = &change.apparmor {
        process["apparmorProfile"] = json!(profile);
    }
}

fn paths(linux: &mut Value, change: &Change) {
    let values = |paths: &[std::path::PathBuf]| paths.iter().map(|path| json!(path)).collect::<Vec<_>>();
    with(&mut linux["maskedPaths"], &values(&change.mask));
    without(&mut linux["maskedPaths"], &values(&change.unmask));
    with(&mut linux["readonlyPaths"], &values(&change.protect));
    without(&mut linux["readonlyPaths"], &values(&change.unprotect));
    if let (true, Some(linux)) = (change.unfiltered, linux.as_object_mut()) {
        linux.remove("seccomp");
    }
    if let Some(profile) = &change.profile {
        linux["seccomp"] = profile.to_json();
    }
}

fn namespaces(config: &mut Value, asked: &ProcSpec) -> Result<(), &'static str> {
    let kinds = KINDS.into_iter();
    let list: Vec<Value> = match &asked.ns {
        None => {
            hostname(config, asked, true);
            return Ok(());
        }
        Some(Namespaces::Fresh(own)) if own.has("user") => return Err("a user namespace"),
        Some(Namespaces::Fresh(own)) => kinds
            .filter(|(ours, _)| own.has(ours) || *ours == "mount")
            .map(|(_, theirs)| json!({ "type": theirs }))
            .collect(),
        Some(Namespaces::Of(set)) => {
            let joined = joined(set)?;
            let path = |ours| joined.iter().find(|(kind, _)| *kind == ours).map(|(_, path)| path);
            kinds
                .filter_map(|(ours, theirs)| match path(ours) {
                    Some(path) => Some(json!({ "type": theirs, "path": path })),
                    None => (ours == "mount").then(|| json!({ "type": theirs })),
                })
                .collect()
        }
    };
    let own_name = list.iter().any(|kind| kind["type"] == "uts" && kind["path"].is_null());
    config["linux"]["namespaces"] = json!(list);
    hostname(config, asked, own_name);
    Ok(())
}

/// Where it has no cgroup namespace of its own it has that of this program, and not the one that the runtime is in.
fn groups_are_ours(config: &mut Value) {
    let Some(list) = config["linux"]["namespaces"].as_array_mut() else { return };
    if !list.iter().any(|kind| kind["type"] == "cgroup") {
        list.push(json!({ "type": "cgroup", "path": format!("/proc/{}/ns/cgroup", std::process::id()) }));
    }
}

fn hostname(config: &mut Value, asked: &ProcSpec, own_name: bool) {
    if let (false, Some(config)) = (own_name, config.as_object_mut()) {
        config.remove("hostname");
    }
    if let Some(hostname) = &asked.hostname {
        config["hostname"] = json!(hostname);
    }
}

/// A mount as the specification has it; nothing for what every container has.
fn translate(mount: &Mount) -> Result<Option<Value>, &'static str> {
    const CAREFUL: [&str; 3] = ["nosuid", "nodev", "noexec"];
    const TERMINALS: [&str; 5] = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let words: Vec<&str> = options(mount).collect();
    let usual: &[&str] = match mount.kind.as_str() {
        "dev" if mount.target == Path::new("/dev") => return Ok(None),
        "dev" => return Err("\"dev\" elsewhere than on /dev"),
        "bind" if words.contains(&"idmap") => return Err("mounts with idmap"),
        "bind" if words.contains(&"bind") => &["private"],
        "bind" => &["rbind", "rprivate"],
        "devpts" => &TERMINALS,
        "tmpfs" => &[],
        _ => &CAREFUL,
    };
    let all = [usual, &words].concat();
    let source = match &mount.source {
        Some(path) => whole(path).display().to_string(),
        None => mount.kind.clone(),
    };
    Ok(Some(json!({
        "destination": mount.target, "type": mount.kind, "source": source, "options": all,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ns::Kinds;
    use crate::runtime::proc::spec::Command;
    use crate::runtime::security::{Level, Opened, Policy, caps};

    fn spec() -> Value {
        json!({
            "process": {
                "noNewPrivileges": true,
                "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "ambient": ["CAP_KILL"] },
                "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024 }],
            },
            "hostname": "crun",
            "mounts": [{ "destination": "/proc", "type": "proc" }, { "destination": "/sys", "type": "sysfs", "options": ["ro"] }],
            "linux": {
                "namespaces": [{ "type": "pid" }, { "type": "uts" }, { "type": "mount" }],
                "maskedPaths": ["/proc/kcore", "/proc/keys"],
                "readonlyPaths": ["/proc/sys"],
            },
        })
    }

    fn configured(opened: Opened, change: impl FnOnce(&mut ProcSpec)) -> Result<Value, &'static str> {
        let mut asked = ProcSpec::new(Command::Argv(vec![b"true".to_vec()]));
        asked.security = Policy::resolve("test", Opened { level: Level::Default, ..opened }).unwrap();
        change(&mut asked);
        let mut config = spec();
        configure(&mut config, &asked, Path::new("/root"), &[b"true".to_vec()]).map(|()| config)
    }

    #[test]
    fn what_is_not_asked_stays_as_it_is() {
        let config = configured(Opened::default(), |_| ()).unwrap();
        let before = spec();
        assert_eq!(config["process"]["capabilities"]["bounding"], json!(["CAP_KILL"]));
        for part in ["mounts", "hostname"] {
            assert_eq!(config[part], before[part], "{part}");
        }
        for part in ["maskedPaths", "readonlyPaths"] {
            assert_eq!(config["linux"][part], before["linux"][part], "{part}");
        }
        assert_eq!(config["process"]["args"], json!(["true"]));
        assert_eq!(config["root"], json!({ "path": "/root", "readonly": false }));
    }

    #[test]
    fn what_is_opened_changes_its_defaults_by_as_much() {
        let admin = caps::of_name("SYS_ADMIN").unwrap();
        let kill = caps::of_name("KILL").unwrap();
        let opened = Opened {
            cap_add: admin,
            cap_drop: kill,
            no_new_privs: Some(false),
            masked_paths: Some(vec!["/proc/keys".into(), "/more".into()]),
            readonly_paths: Some(Vec::new()),
            ..Opened::default()
        };
        let config = configured(opened, |_| ()).unwrap();
        let capabilities = &config["process"]["capabilities"];
        assert_eq!(capabilities["bounding"], json!(["CAP_SYS_ADMIN"]));
        assert_eq!(capabilities["ambient"], json!([]));
        assert_eq!(config["process"]["noNewPrivileges"], false);
        assert_eq!(config["linux"]["maskedPaths"], json!(["/proc/keys", "/more"]));
        assert_eq!(config["linux"]["readonlyPaths"], json!([]));
    }

    #[test]
    fn namespaces_mounts_and_limits_are_those_asked_for() {
        let config = configured(Opened::default(), |asked| {
            asked.ns = Some(Namespaces::Fresh(Kinds::NONE.with_name("net")));
            let mount = |kind: &str, target: &str, options: &[&str]| Mount {
                kind: kind.into(),
                source: (kind == "bind").then(|| "/from".into()),
                target: target.into(),
                options: options.iter().map(|option| (*option).to_owned()).collect(),
            };
            asked.mounts = vec![mount("sysfs", "/sys", &[]), mount("bind", "/to", &["ro"])];
            asked.rlimits = vec![crate::runtime::proc::spec::Rlimit { resource: 7, soft: 5, hard: 6 }];
        })
        .unwrap();
        let kinds = &config["linux"]["namespaces"];
        assert_eq!((&kinds[0], &kinds[1]), (&json!({ "type": "mount" }), &json!({ "type": "network" })));
        assert_eq!(kinds[2]["type"], "cgroup");
        assert_eq!(kinds[2]["path"], format!("/proc/{}/ns/cgroup", std::process::id()));
        assert_eq!(config["hostname"], Value::Null);
        assert_eq!(config["mounts"][1]["options"], json!(["nosuid", "nodev", "noexec"]));
        assert_eq!(config["mounts"][2]["options"], json!(["rbind", "rprivate", "ro"]));
        assert_eq!(config["process"]["rlimits"], json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": 6 }]));
    }

    #[test]
    fn what_is_not_expressed_is_named() {
        let user = |asked: &mut ProcSpec| {
            asked.ns = Some(Namespaces::Fresh(Kinds::NONE.with_name("user")));
        };
        assert_eq!(configured(Opened::default(), user), Err("a user namespace"));
        let strict = crate::runtime::security::SeccompChoice::Strict;
        let opened = Opened { seccomp: Some(strict), ..Opened::default() };
        assert_eq!(configured(opened, |_| ()), Err("seccomp: \"strict\""));
    }
}
