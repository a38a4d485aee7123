//! The configuration of an image: what a commit changes in that of its base.

use crate::error::{Error, ErrorKind, Result};
use oci_spec::image::{Arch, Config, History, ImageConfiguration, Os};
use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a commit sets in the configuration. What is not given is taken over from the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The default arguments, or the command when there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    /// The command. Setting it drops the base's `cmd`, as a Dockerfile does.
    pub entrypoint: Option<Vec<String>>,
    /// Variables to add or replace.
    pub env: Vec<(String, String)>,
    /// The folder to start in: an absolute path.
    pub cwd: Option<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// Labels to add or replace.
    pub labels: BTreeMap<String, String>,
    /// Ports to add: `80`, `80/tcp`, `53/udp`.
    pub exposed_ports: Vec<String>,
    /// The signal that stops it, such as `SIGTERM`.
    pub stop_signal: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark for the history.
    pub comment: Option<String>,
    /// When it was made, in seconds since 1970; now, or `source_date_epoch`, when not given.
    pub created: Option<i64>,
}

/// The configuration of an image without layers, for this machine's architecture.
pub(super) fn empty() -> ImageConfiguration {
    let mut config = ImageConfiguration::default();
    config.set_os(Os::Linux);
    config.set_architecture(Arch::from(architecture()));
    config
}

/// The name that images have for this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl Changes {
    /// Checks the values before anything is made.
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        let bad =
            |key: &str, what: String| Err(Error::new(ErrorKind::InvalidArgument, op, what).subject(key));
        for (name, _) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return bad("env", format!("{name:?} is not the name of a variable"));
            }
        }
        if let Some(cwd) = self.cwd.as_ref().filter(|cwd| !cwd.starts_with('/')) {
            return bad("workdir", format!("{cwd:?} is not an absolute path"));
        }
        if let Some(user) = &self.user {
            check_user(user).or_else(|what| bad("user", what))?;
        }
        for port in &self.exposed_ports {
            if port_name(port).is_none() {
                return bad("exposed_ports", format!("{port:?} is not a port: write 80, 80/tcp or 53/udp"));
            }
        }
        if let Some(signal) = self.stop_signal.as_ref().filter(|signal| !is_signal(signal)) {
            return bad("stop_signal", format!("{signal:?} is not a signal: write SIGTERM or a number"));
        }
        let strings =
            self.cmd.iter().chain(&self.entrypoint).flatten().chain(self.env.iter().map(|(_, v)| v));
        if let Some(text) = strings.into_iter().find(|text| text.contains('\0')) {
            return bad("cmd", format!("{text:?} has a zero byte"));
        }
        Ok(())
    }

    /// The base's configuration with these changes.
    pub(super) fn apply(&self, base: &ImageConfiguration) -> ImageConfiguration {
        let mut image = base.clone();
        let mut config = image.config().clone().unwrap_or_default();
        if let Some(entrypoint) = &self.entrypoint {
            config.set_entrypoint(non_empty(entrypoint));
            config.set_cmd(None);
        }
        if let Some(cmd) = &self.cmd {
            config.set_cmd(non_empty(cmd));
        }
        if !self.env.is_empty() {
            config.set_env(Some(self.merged_env(&config)));
        }
        if self.cwd.is_some() {
            config.set_working_dir(self.cwd.clone());
        }
        if self.user.is_some() {
            config.set_user(self.user.clone());
        }
        if self.stop_signal.is_some() {
            config.set_stop_signal(self.stop_signal.clone());
        }
        if !self.labels.is_empty() {
            let mut labels: HashMap<String, String> = config.labels().clone().unwrap_or_default();
            labels.extend(self.labels.clone());
            config.set_labels(Some(labels));
        }
        if !self.exposed_ports.is_empty() {
            let mut ports = config.exposed_ports().clone().unwrap_or_default();
            ports.extend(self.exposed_ports.iter().filter_map(|port| port_name(port)));
            ports.sort();
            ports.dedup();
            config.set_exposed_ports(Some(ports));
        }
        image.set_config(Some(config));
        if self.author.is_some() {
            image.set_author(self.author.clone());
        }
        image
    }

    fn merged_env(&self, config: &Config) -> Vec<String> {
        let mut env = config.env().clone().unwrap_or_default();
        for (name, value) in &self.env {
            let line = format!("{name}={value}");
            let same = |known: &&mut String| known.split('=').next() == Some(name);
            match env.iter_mut().find(same) {
                Some(known) => *known = line,
                None => env.push(line),
            }
        }
        env
    }
}

fn non_empty(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn check_user(user: &str) -> Result<(), String> {
    let parts: Vec<&str> = user.split(':').collect();
    let text_ok = |part: &&str| !part.is_empty() && !part.contains(['\0', '\n', '/']);
    if parts.len() > 2 || !parts.iter().all(text_ok) {
        return Err(format!("{user:?} is not a user: write name, uid, name:group or uid:gid"));
    }
    // Digits alone are a number, never a name (CVE-2024-40635).
    let number_ok =
        |part: &&str| !part.bytes().all(|byte| byte.is_ascii_digit()) || part.parse::<i32>().is_ok();
    if parts.iter().all(number_ok) { Ok(()) } else { Err(format!("{user:?}: ids go from 0 to 2147483647")) }
}

/// The port as images name it, with its protocol.
fn port_name(port: &str) -> Option<String> {
    let (number, proto) = port.split_once('/').unwrap_or((port, "tcp"));
    let number: u16 = number.parse().ok().filter(|number| *number > 0)?;
    matches!(proto, "tcp" | "udp" | "sctp").then(|| format!("{number}/{proto}"))
}

fn is_signal(text: &str) -> bool {
    let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let name = text.strip_prefix("SIG").is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"+-".contains(&b))
    });
    number || name
}

/// One entry of the history for each layer that the base has, even if it says nothing about them.
pub(super) fn base_history(base: &ImageConfiguration) -> Vec<History> {
    let known = base.history().clone().unwrap_or_default();
    let filled = known.iter().filter(|entry| entry.empty_layer() != Some(true)).count();
    if filled == base.rootfs().diff_ids().len() {
        return known;
    }
    vec![History::default(); base.rootfs().diff_ids().len()]
}

/// The current time in seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or_default()
}

/// Seconds since 1970 as RFC 3339 text in UTC.
pub(super) fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the Gregorian calendar, in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn changes_are_laid_over_the_base() {
        let base = Changes {
            cmd: Some(vec!["a".into()]),
            env: vec![("A".into(), "1".into()), ("B".into(), "2".into())],
            exposed_ports: vec!["80".into()],
            ..Changes::default()
        }
        .apply(&empty());
        let next = Changes {
            entrypoint: Some(vec!["e".into()]),
            env: vec![("A".into(), "=x".into()), ("C".into(), String::new())],
            exposed_ports: vec!["53/udp".into(), "80/tcp".into()],
            ..Changes::default()
        }
        .apply(&base);
        let config = next.config().as_ref().unwrap();
        assert_eq!(config.cmd(), &None);
        assert_eq!(config.entrypoint().as_deref(), Some(&["e".to_owned()][..]));
        assert_eq!(config.env().as_ref().unwrap(), &["A==x", "B=2", "C="]);
        assert_eq!(config.exposed_ports().as_ref().unwrap(), &["53/udp", "80/tcp"]);
        assert_eq!(next.os(), &Os::Linux);
    }

    #[test]
    fn bad_values_name_their_key() {
        let of = |set: fn(&mut Changes)| {
            let mut changes = Changes::default();
            set(&mut changes);
            changes.check("t").unwrap_err().to_string()
        };
        assert!(of(|c| c.env.push(("A=B".into(), String::new()))).starts_with("t env: "));
        assert!(of(|c| c.cwd = Some("here".into())).starts_with("t workdir: "));
        assert!(of(|c| c.user = Some("9999999999".into())).contains("2147483647"));
        assert!(of(|c| c.user = Some("a:b:c".into())).starts_with("t user: "));
        assert!(of(|c| c.exposed_ports.push("0/tcp".into())).starts_with("t exposed_ports: "));
        assert!(of(|c| c.stop_signal = Some("term".into())).starts_with("t stop_signal: "));
    }
}
