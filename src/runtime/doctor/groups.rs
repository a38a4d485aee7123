//! Control groups: how they are arranged here, and what this user may do with them.

use crate::error::Error;
use crate::runtime::cgroup;
use crate::runtime::cgroup::driver::{self, Choice, Driver};
use crate::runtime::cgroup::host::{Host, Mode};
use crate::runtime::doctor::{Found, State};
use crate::runtime::systemd::bus::Bus;

const OP: &str = "sys::doctor";
const MOUNT: &str = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";

fn host() -> Result<Host, Found> {
    Host::detect(OP)
        .map_err(|error| Found::lacks(State::Missing, error.to_string(), "mount -t proc proc /proc"))
}

fn with_host(look: impl FnOnce(&Host) -> Found) -> Found {
    host().map_or_else(|found| found, |host| look(&host))
}

pub(super) fn mode() -> Found {
    with_host(|host| {
        let mode = host.mode();
        let text = format!("{}: {}", mode.name(), cgroup::info::why(mode));
        match mode {
            Mode::None => Found::lacks(State::Missing, text, MOUNT),
            Mode::V1 => {
                let fix = "for cgroup.kill and pressure: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
                Found::lacks(State::Warn, text, fix)
            }
            Mode::Hybrid | Mode::V2 => Found::ok(text),
        }
    })
}

pub(super) fn controllers() -> Found {
    with_host(|host| {
        let mut names: Vec<&str> = host
            .hierarchies
            .iter()
            .flat_map(|hierarchy| &hierarchy.controllers)
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        let absent: Vec<&str> =
            ["memory", "cpu", "pids"].into_iter().filter(|name| host.with(OP, name).is_err()).collect();
        if absent.is_empty() {
            return Found::ok(names.join(" "));
        }
        let text = format!("{} cannot be limited; there is: {}", absent.join(", "), names.join(" "));
        let own = host
            .unified()
            .filter(|_| host.mode() == Mode::V2)
            .and_then(|unified| unified.own.parent().map(std::path::Path::to_owned));
        let fix = match own {
            Some(above) => {
                let names: Vec<String> = absent.iter().map(|name| format!("+{name}")).collect();
                format!("as root: echo {} >{}/cgroup.subtree_control", names.join(" "), above.display())
            }
            None => format!(
                "for each: mkdir /sys/fs/cgroup/NAME; mount -t cgroup -o NAME cgroup /sys/fs/cgroup/NAME; or version 2: {MOUNT}"
            ),
        };
        Found::lacks(State::Warn, text, fix)
    })
}

pub(super) fn delegation() -> Found {
    with_driver(|host, choice| {
        let value = cgroup::info::delegation(host, choice.driver);
        let told = |name: &str| value[name].as_str().map(str::to_owned);
        let why = told("why").unwrap_or_default();
        match told("fix") {
            None => Found::ok(why),
            Some(fix) => Found::lacks(State::Warn, why, fix),
        }
    })
}

pub(super) fn driver() -> Found {
    with_driver(|_, Choice { driver, reason, .. }| {
        // Whether its manager can be asked shows when it is.
        let manager = match driver {
            Driver::Cgroupfs => Ok(()),
            Driver::Systemd(manager) => Bus::open(OP, *manager).map(drop),
        };
        match manager {
            Ok(()) => Found::ok(format!("{}: {reason}", driver.name())),
            Err(error) => failed(&error),
        }
    })
}

fn with_driver(look: impl FnOnce(&Host, &Choice) -> Found) -> Found {
    with_host(|host| match driver::choose(OP, host) {
        Ok(choice) => look(host, &choice),
        Err(error) => failed(&error),
    })
}

fn failed(error: &Error) -> Found {
    Found::lacks(State::Warn, error.to_string(), error.hint_text().unwrap_or_default())
}
