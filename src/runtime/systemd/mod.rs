//! systemd's manager, asked over D-Bus for units.
//!
//! A small client of our own, for three calls and a signal. The crates were looked at: zbus 6 brings 26 crates, an async
//! runtime and a reader that wants a thread; rustbus 0.19 a second nix and a second syn. The calls here are made a few
//! times in a session, by a program that is to stay one thread, and are seen in its traces like all others.

pub mod bus;
pub mod unit;
pub mod wire;

use crate::runtime::rootless;
use std::path::Path;

/// Whose manager: that of the machine, or that of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// The first process of the machine.
    System,
    /// `systemd --user` of the user who runs this program.
    User,
}

impl Manager {
    /// The one that this user may ask.
    #[must_use]
    pub fn own() -> Self {
        if rootless::user() == 0 { Self::System } else { Self::User }
    }

    /// How systemctl(1) is called for it.
    #[must_use]
    pub const fn systemctl(self) -> &'static str {
        match self {
            Self::System => "systemctl",
            Self::User => "systemctl --user",
        }
    }
}

/// Whether systemd runs this machine (sd_booted(3)).
#[must_use]
pub fn booted() -> bool {
    Path::new("/run/systemd/system").symlink_metadata().is_ok_and(|found| found.is_dir())
}
