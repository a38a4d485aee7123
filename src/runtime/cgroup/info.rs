//! What control groups the host has, and what this program may do with them, each with its reason.

use crate::error::Result;
use crate::runtime::cgroup::dir::{delegate, delegated_files};
use crate::runtime::cgroup::driver::{self, Driver};
use crate::runtime::cgroup::host::{Hierarchy, Host, Mode};
use rustix::fs::{Access, access};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Mode and why, the driver, and for each controller its version, where our own group is and whether groups can be made
/// there.
///
/// # Errors
/// When `/proc/self` cannot be read; those of [`driver::choose`].
pub fn info() -> Result<Value> {
    const OP: &str = "cgroup::info";
    let host = Host::detect(OP)?;
    let choice = driver::choose(OP, &host)?;
    let mut controllers = Map::new();
    for hierarchy in &host.hierarchies {
        let writable = refusal(hierarchy).is_none();
        for name in &hierarchy.controllers {
            let own = hierarchy.own.display().to_string();
            let value = json!({ "version": hierarchy.version, "own": own, "writable": writable });
            controllers.insert(name.clone(), value);
        }
    }
    Ok(json!({
        "mode": host.mode().name(),
        "why": why(host.mode()),
        "controllers": controllers,
        "unified": host.unified().map(|hierarchy| hierarchy.own.display().to_string()),
        "delegation": delegation(&host, choice.driver),
        "driver": choice.driver.name(),
        "driver_reason": choice.reason,
    }))
}

/// Why a host is said to be in a mode.
#[must_use]
pub const fn why(mode: Mode) -> &'static str {
    match mode {
        Mode::V1 => "every controller is mounted as version 1",
        Mode::Hybrid => "controllers are mounted as version 1, with a version 2 tree beside them",
        Mode::V2 => "one version 2 tree has all controllers",
        Mode::None => "no cgroup file system is mounted",
    }
}

/// Whether groups can be made below our own in every hierarchy: `delegated`, `why`, and the `fix` where they cannot and
/// have to be.
#[must_use]
pub fn delegation(host: &Host, driver: Driver) -> Value {
    if host.hierarchies.is_empty() {
        let fix = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";
        return json!({ "delegated": false, "why": why(Mode::None), "fix": fix });
    }
    if driver != Driver::Cgroupfs {
        let why = "groups are made in a scope that systemd delegates to the session";
        return json!({ "delegated": false, "why": why });
    }
    let refused: Vec<(&Hierarchy, String)> =
        host.hierarchies.iter().filter_map(|hierarchy| Some((hierarchy, refusal(hierarchy)?))).collect();
    let Some((first, path)) = refused.first() else {
        return json!({ "delegated": true, "why": "groups can be made below our own" });
    };
    let others: Vec<String> =
        refused[1..].iter().map(|(hierarchy, _)| hierarchy.own.display().to_string()).collect();
    let more = match others.is_empty() {
        true => String::new(),
        false => format!("; and the same in {}", others.join(", ")),
    };
    json!({
        "delegated": false,
        "why": format!("{path} cannot be written by this user{more}"),
        "fix": format!("{}{more}", delegate(&first.own, first.version)),
    })
}

/// What of our own group cannot be written, and has to be for groups below it.
fn refusal(hierarchy: &Hierarchy) -> Option<String> {
    let refuses = |path: &Path| access(path, Access::WRITE_OK).is_err();
    let own = &hierarchy.own;
    let files = delegated_files(hierarchy.version).iter().map(|name| own.join(name));
    // Threads can be left out, and the root of the machine has no such file.
    let files = files.filter(|path| !path.ends_with("cgroup.threads"));
    let mut all = std::iter::once(own.clone()).chain(files);
    all.find(|path| refuses(path)).map(|path| path.display().to_string())
}
