//! What a piece of work did, as it was heard of, and what of the things that were found after it is its own.

mod command;

use self::command::{
    MAKERS, base, commands, copies_into_folder_of, enters_folder_of, mentions, names, outputs, redirections,
    spelled_out, verb_of_ip, words, writes_by_code,
};
use super::message::{Body, Left};
use crate::runtime::gc;
use crate::runtime::leaks::{self, Ground, Handle, Kind, Sight, Thing};
use crate::runtime::ledger::Ledger;
use crate::runtime::session::Session;
use crate::script::report::full_text;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long things may take to go by themselves, and how often they are looked at meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(5);
/// How long keys may, that of a session which has ended among them: the kernel collects them when it has nothing else to do.
const OF_KEYS: Duration = Duration::from_millis(500);

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// What it called, in words.
    deeds: Vec<Deed>,
    /// What appeared right after which line.
    seen: Vec<(String, String)>,
}

/// A call.
#[derive(Debug)]
struct Deed {
    text: String,
    at: String,
    writes: bool,
    lasts: bool,
}

impl Deed {
    /// Whether it may have made a thing: one of its commands speaks of it, and is one that makes such things. One that only looks at
    /// what others make does not.
    fn may_have_made(&self, thing: &Thing) -> bool {
        let path = match &thing.handle {
            Handle::File(path) => Some(path.as_path()),
            _ => None,
        };
        let text = &*spelled_out(&self.text);
        let inside = path.is_some_and(|path| enters_folder_of(text, path));
        let speaks = |text: &str| {
            let joined = words(text).collect::<Vec<_>>().join(" ");
            thing
                .words
                .iter()
                .any(|word| mentions(text, word) || (word.contains(' ') && mentions(&joined, word)))
                || path.is_some_and(|path| words(text).any(|word| names(word, path, inside)))
                || address_of(thing).is_some_and(|address| spells(text, address))
        };
        if self.writes {
            return speaks(text);
        }
        let verbs: &[&str] = match thing.kind {
            // A file of rules has them without a verb, and iptables(8) has options instead.
            Kind::Nft if words(text).any(|word| word == "-f" || base(word).contains("tables")) => {
                return speaks(text);
            }
            Kind::Link | Kind::Address => &["add", "name", "set", "replace"],
            Kind::Route | Kind::Rule => &["add", "append", "prepend", "replace", "change"],
            Kind::Nft => &["add", "create", "insert", "replace"],
            Kind::Cgroup => &["mkdir", "cgcreate"],
            Kind::File | Kind::Namespace => &MAKERS,
            _ => return speaks(text),
        };
        let makes = |command: &&str| {
            let of_ip = verb_of_ip(command)
                .is_some_and(|verb| verbs.iter().any(|whole| whole.starts_with(verb) && *whole != "set"));
            of_ip || words(command).any(|word| verbs.contains(&base(word)))
        };
        let copies = |command: &&str| path.is_some_and(|path| copies_into_folder_of(command, path));
        commands(text).filter(makes).any(|command| speaks(command) || copies(&command))
            || path.is_some()
                && (redirections(text).chain(outputs(text)).any(speaks)
                    || writes_by_code(text) && speaks(text))
    }
}

impl Trail {
    /// Takes a message in, if it is of this.
    pub(super) fn take(&mut self, message: Body) -> Option<Body> {
        match message {
            Body::Deed { text, at, writes, lasts } => self.deeds.push(Deed { text, at, writes, lasts }),
            Body::Seen(id, at) => self.seen.push((id, at)),
            other => return Some(other),
        }
        None
    }

    /// The line of the last call that speaks of the program of a process.
    pub(super) fn line_of(&self, pid: i32) -> Option<String> {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let speaks = |deed: &&Deed| deed.text.contains(name.trim());
        self.deeds.iter().rev().find(speaks).map(|deed| deed.at.clone())
    }

    /// The line of the first call that has this word.
    pub(super) fn line_that_says(&self, word: &str) -> Option<String> {
        self.deeds.iter().find(|deed| mentions(&deed.text, word)).map(|deed| deed.at.clone())
    }

    /// The line of the last call.
    pub(super) fn last(&self) -> Option<String> {
        self.deeds.last().map(|deed| deed.at.clone())
    }

    /// Looks at what is there that was not, tells whose it is, and removes what is the test's.
    pub(super) fn look_after(
        &self,
        session: &Session,
        ground: &Ground,
        before: &Sight,
        ended_well: bool,
    ) -> Vec<Left> {
        let began = Instant::now();
        let found = loop {
            let now = leaks::look(ground);
            let found = self.own(session, &now, before, ended_well);
            let mut shared = found.iter().filter(|(thing, _)| !thing.own);
            let patience =
                if shared.clone().all(|(thing, _)| thing.kind == Kind::Key) { OF_KEYS } else { PATIENCE };
            if shared.next().is_none() || began.elapsed() >= patience {
                break found;
            }
            // The kernel lets go of keys, and of what was in a network namespace, a moment after their end.
            std::thread::sleep(LOOK);
        };
        let removed = found.into_iter().map(|(thing, at)| {
            let remains = leaks::remove(session, &thing).err().map(|error| full_text(&error));
            Left { kind: thing.kind.name().into(), text: thing.text, at, remains }
        });
        removed.collect()
    }

    /// What is there of it, with the line that made it, in the order in which it is to be removed.
    fn own(
        &self,
        session: &Session,
        now: &Sight,
        before: &Sight,
        ended_well: bool,
    ) -> Vec<(Thing, Option<String>)> {
        let new = now.since(before);
        if new.is_empty() {
            return Vec::new();
        }
        let others = gc::tokens(session.dirs());
        let mut found: Vec<(Thing, Option<String>)> = Vec::new();
        // What something was mounted on was made for that.
        let mounted: Vec<&Path> =
            new.iter().filter_map(|(_, thing)| thing.own.then(|| target_of(thing)).flatten()).collect();
        for (id, thing) in &new {
            let thing = *thing;
            let carries = matches!(&thing.handle, Handle::File(path) if mounted.contains(&path.as_path()));
            let seen = self.seen.iter().find(|(seen, _)| seen == id).map(|(_, at)| at.clone());
            let mut makers = self.deeds.iter().filter(|deed| deed.may_have_made(thing));
            // What came in another line came from there, unless something had gone on.
            let maker = match &seen {
                Some(at) => makers
                    .clone()
                    .find(|deed| deed.at == *at)
                    .or_else(|| makers.find(|deed| deed.lasts || deed.writes)),
                None => makers.next(),
            };
            // A test that was killed in the middle of a call could not see what came of that one.
            let last = self.deeds.last().filter(|deed| !ended_well && deed.may_have_made(thing));
            let is_seen = seen.is_some() || maker.is_some_and(|deed| deed.writes) || last.is_some();
            let is_its = thing.own || carries || (maker.is_some() && is_seen);
            let at = maker.map(|deed| deed.at.clone()).or(seen);
            let is_others = !thing.own
                && thing.words.iter().any(|word| others.iter().any(|token| word.contains(token.as_str())));
            if is_its && !is_others {
                found.push((thing.clone(), at));
            }
        }
        let whole: Vec<Thing> = found.iter().map(|(thing, _)| thing.clone()).collect();
        found.retain(|(thing, _)| !whole.iter().any(|other| thing.is_part_of(other)));
        found.sort_by_key(|(thing, _)| leaks::rank(thing));
        found
    }
}

/// What a session handed over with `keep()`, or could not take back, is taken back now.
pub(super) fn handed_over(session: &Session, token: &str, ended_well: bool) -> Vec<Left> {
    let home = session.dirs().run.join(format!("session-{token}"));
    if !home.exists() {
        return Vec::new();
    }
    let entries = Ledger::load(&home.join("ledger")).unwrap_or_default();
    let outcome = gc::reclaim_one(&home);
    let mut left = Vec::new();
    for entry in entries {
        let failed = match &outcome {
            Ok(found) => found.errors.iter().find(|(n, _)| *n == entry.n).map(|(_, error)| full_text(error)),
            Err(error) => Some(full_text(error)),
        };
        // Of a process that was killed, its session's things are no fault of the script.
        if !ended_well && failed.is_none() {
            continue;
        }
        let text = format!("{}: {}", entry.op, entry.text);
        left.push(Left { kind: Kind::Kept.name().into(), text, at: entry.at, remains: failed });
    }
    left
}

/// Whether a text has this address, as `10.0.0.1/24`, in whatever spelling.
fn spells(text: &str, address: IpAddr) -> bool {
    words(text).any(|word| bare(word) == Some(address))
}

/// An address without its prefix.
fn bare(word: &str) -> Option<IpAddr> {
    word.split('/').next().and_then(|word| word.parse().ok())
}

/// Where something is mounted.
fn target_of(thing: &Thing) -> Option<&Path> {
    match &thing.handle {
        Handle::Mount(target, _) => Some(target),
        _ => None,
    }
}

/// The address that a thing is, or leads to.
fn address_of(thing: &Thing) -> Option<IpAddr> {
    match &thing.handle {
        Handle::Address(_, address) => bare(address),
        Handle::Route(route) if !route.is_rule => route.to.map(|(to, _)| to),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str, kind: Kind, handle: Handle, word: &str) -> bool {
        let deed = Deed { text: text.into(), at: "1".into(), writes: false, lasts: false };
        let thing = Thing { kind, text: String::new(), words: vec![word.into()], own: false, handle };
        deed.may_have_made(&thing)
    }

    fn file(text: &str) -> bool {
        made(text, Kind::File, Handle::File("/tmp/job-17".into()), "/tmp/job-17")
    }

    #[test]
    fn a_file_is_made_by_who_names_it_and_makes_files() {
        for text in [
            "touch /tmp/job-17",
            "/usr/bin/touch /tmp/job-17",
            "[\"mkdir\", \"-p\", \"/tmp/job-17/a\"]",
            "sh -c 'echo x >/tmp/job-17'",
            "echo x >> \"/tmp/job-17\"",
            "cd /tmp; touch job-17",
            "cd /tmp/ && echo x >job-17",
            "for n in 1 17; do touch /tmp/job-$n; done",
            "echo x > \"/tmp/job-${n}\"",
            "mktemp /tmp/job-XXX; cp x /tmp/job-17",
            "touch /tmp/../tmp/./x/..//job-17",
            "python3 -c \"open('/tmp/job-17', 'w')\"",
            "[\"/usr/bin/python3.11\", \"-c\", \"import os; os.mkdir('/tmp/job-17')\"]",
            "perl -e 'open F, \">\", \"/tmp/job-17\"; mkdir \"/tmp/job-17\"'",
            "d=/tmp; tee $d/job-17 </dev/null",
            "d=\"/tmp\" && echo x >\"${d}/job-17\"",
            "file=/tmp/job-17 dir=/var; : >$file",
            "d=/tmp; touch $dir/x $d/job-17",
            "git init -q /tmp/job-17",
            "cp /etc/job-17 /tmp/",
            "[\"cp\", \"-t\", \"/tmp\", \"/etc/job-17\"]",
            "[\"sort\", \"-o/tmp/job-17\", \"/dev/null\"]",
            "\"touch job-17\", #{\"cwd\": \"/tmp\"}",
            "cd /tmp; mkdir -p job-17/below",
            "sort -o /tmp/job-17 /etc/passwd",
            "[\"curl\", \"--output=/tmp/job-17\", \"localhost\"]",
        ] {
            assert!(file(text), "{text}");
        }
        for text in [
            "ls /tmp/job-17",
            "touch job-17",
            "cd /var; touch job-17",
            "cd /tmp; touch job-1",
            "touch /tmp/$n",
            "touch /tmp/b$n",
            "touch /var/job-$n",
            "touch /tmp/work-$n",
            "mktemp /tmp/job-XX",
            "mktemp /tmp/job-XXX",
            "touch /tmp/job-$$",
            "touch /tmp/job-$RANDOM",
            "echo x > /tmp/job-${RANDOM}",
            "cat /tmp/job-17 2>/dev/null",
            "test -e /tmp/job-17 && echo started",
            "[ -e /tmp/job-17 ] && break; ls > /dev/null",
            "until [ -e /tmp/job-17 ]; do sleep 1; done; touch /tmp/other",
            "cat /tmp/job-17 2>&1",
            "d=/tmp; cat $d/job-17",
            "d=/tmp; d=/var; touch $d/job-17",
            "d=/tmp; touch $dir/job-17",
            "d=$(mktemp -d); touch $d/job-17",
            "findmnt -o TARGET /tmp/job-17",
            "python3 -c \"open('/tmp/job-17').read()\"",
            "python3 -c \"open('/tmp/other', 'w')\"; cat /tmp/job-18",
        ] {
            assert!(!file(text), "{text}");
        }
    }

    #[test]
    fn who_only_looks_makes_nothing() {
        let link = |text| made(text, Kind::Link, Handle::Link(7), "lab0");
        assert!(link("ip link add lab0 type bridge"));
        assert!(link("ip l a lab0 type bridge") && link("ip -6 link ad dev lab0 type dummy"));
        assert!(!link("ip l s lab0") && !link("ip a s dev lab0"));
        assert!(
            !link("ip addr show dev lab0")
                && !link("until ip link show lab0; do sleep 1; done; ip link add x type bridge")
        );
        let table = |text| made(text, Kind::Nft, Handle::Table(1, "lab".into()), "lab");
        assert!(table("nft add table inet lab") && table("nft -f - table inet lab { }"));
        assert!(!table("nft list table inet lab | grep saddr"));
        let chain =
            made("iptables -N LAB", Kind::Nft, Handle::Chain(2, "filter".into(), "LAB".into()), "-N LAB");
        assert!(chain && !made("nft list ruleset", Kind::Nft, Handle::Table(2, "filter".into()), "iptables"));
        let rule = |text| made(text, Kind::Rule, Handle::Nothing, "from 10.0.0.0/8");
        assert!(rule("ip rule add from 10.0.0.0/8 lookup 7"));
        assert!(rule("[\"ip\", \"rule\", \"add\", \"from\", \"10.0.0.0/8\", \"lookup\", \"7\"]"));
        let group = |text| {
            made(text, Kind::Cgroup, Handle::Cgroup("/sys/fs/cgroup/lab".into()), "/sys/fs/cgroup/lab")
        };
        assert!(group("mkdir /sys/fs/cgroup/lab") && !group("ls -d /sys/fs/cgroup/lab; echo mkdirs"));
    }

    #[test]
    fn addresses_are_the_same_in_every_spelling() {
        let address = bare("fd00::1/64").unwrap();
        assert!(spells("ip addr add fd00:0:0::1/64 dev x", address));
        assert!(!spells("ip addr add fd00::2/64 dev x", address));
    }
}
