//! `userns`: user namespaces whose ids are chosen here.
//!
//! `auto` gives each container ids that no other one has at the same time, so that one that breaks out is nobody to the
//! others (as `podman run --userns=auto`). A range that is in use is a file in the run folder, named by its first id and
//! its size and recorded in the ledger: it is free again when the container is gone, also after `kill -9`.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::claim::{self, New};
use crate::runtime::ns::Kinds;
use crate::runtime::ns::idmap::{IdMap, IdMaps, Shape};
use crate::runtime::ns::subid::{self, IdKind, Owner, Range};
use crate::runtime::session::{Session, StepId};
use crate::runtime::state::make_private;
use crate::runtime::{gc, rootless};
use crate::sys::file;
use crate::sys::lock::Lock;
use rustix::fs::{CWD, Mode, OFlags};
use std::path::Path;

/// How many ids a container is given where nothing else is asked.
pub const SIZE: u32 = 65_536;
/// Where root's ranges come from when `/etc/subuid` names none: the upper half of all ids, less the last range, which ends
/// in ids that mean "none".
const POOL: Range = Range { start: 1 << 31, count: (1 << 31) - SIZE };
/// What a file that stands for a range in use is called, before its numbers.
const PREFIX: &str = "ids-";

/// What is asked of the user namespace of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Userns {
    /// The caller's.
    Host,
    /// A new one, with this many ids that no other container has.
    Auto(u32),
    /// A new one in which the caller has the ids that it has outside.
    KeepId,
}

impl std::str::FromStr for Userns {
    type Err = ();

    /// `host`, `keep-id`, `auto`, `auto:size=N`.
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        match text {
            "host" => Ok(Self::Host),
            "keep-id" => Ok(Self::KeepId),
            "auto" => Ok(Self::Auto(SIZE)),
            _ => {
                let size = text.strip_prefix("auto:size=").and_then(|size| size.parse().ok());
                size.filter(|size| (1..=1 << 30).contains(size)).map(Self::Auto).ok_or(())
            }
        }
    }
}

/// Checks that what is asked does not contradict the kinds of namespaces.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for the caller's user namespace and a new one at once.
pub fn check(op: &'static str, asked: Option<Userns>, kinds: Kinds) -> Result<()> {
    if asked == Some(Userns::Host) && kinds.has("user") {
        let what = "userns: \"host\" does not go with \"user\" among the namespaces";
        return Err(Error::new(ErrorKind::InvalidArgument, op, what));
    }
    Ok(())
}

/// The maps that are asked for; the steps that they take are added to `steps`. `None` is the caller's namespace.
///
/// # Errors
/// [`ErrorKind::LimitReached`] when no range is left; without subordinate ids, what gives them.
pub fn maps(
    session: &Session,
    op: &'static str,
    asked: Userns,
    steps: &mut Vec<StepId>,
) -> Result<Option<IdMaps>> {
    match asked {
        Userns::Host => Ok(None),
        Userns::KeepId => keep(op).map(Some),
        Userns::Auto(size) => {
            let start = lease(session, op, size, steps)?;
            let map = vec![IdMap { container: 0, host: start, size }];
            Ok(Some(IdMaps { uid: map.clone(), gid: map, shape: Shape::Auto }))
        }
    }
}

/// Takes a range that nobody has.
fn lease(session: &Session, op: &'static str, size: u32, steps: &mut Vec<StepId>) -> Result<u32> {
    let pool = pool(op)?;
    let run = &session.dirs().run;
    make_private(run)?;
    // Held while a range is chosen and marked; the kernel lets go of it whatever happens.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let lock = file::openat(CWD, run, flags, Mode::empty())
        .and_then(|folder| Lock::take(folder, false))
        .context(op, format!("cannot lock {}", run.display()))?;
    let mut used = in_use(op, run)?;
    let mut found = free(&pool, &used, size);
    if found.is_none() {
        // Sessions that died since this one began may hold some.
        gc::sweep(session.dirs());
        used = in_use(op, run)?;
        found = free(&pool, &used, size);
    }
    let Some(start) = found else { return Err(exhausted(op, &pool, &used, size)) };
    let step = claim::make(session, op, &run.join(format!("{PREFIX}{start}-{size}")), New::File(0o600))?;
    steps.push(step);
    drop(lock);
    Ok(start)
}

/// The ids that containers may be given: subordinate ones, or high ones that nobody else has.
fn pool(op: &'static str) -> Result<Vec<Range>> {
    if rootless::in_user_ns() {
        let (uid, gid) = (subid::held(op, IdKind::User)?, subid::held(op, IdKind::Group)?);
        // Never root of this namespace, who is the user.
        return Ok(both(&uid, &gid).into_iter().filter_map(without_root).collect());
    }
    let named = |name: &str| -> Result<Vec<Range>> {
        let owner = Owner { uid: 0, name: Some(name.into()) };
        let of = |kind| subid::ranges(op, kind, &owner);
        Ok(both(&of(IdKind::User)?, &of(IdKind::Group)?))
    };
    let mut found = named("containers")?;
    if found.is_empty() {
        found = named("root")?;
    }
    Ok(if found.is_empty() { vec![POOL] } else { found })
}

fn without_root(range: Range) -> Option<Range> {
    match range {
        Range { start: 0, count } => (count > 1).then_some(Range { start: 1, count: count - 1 }),
        other => Some(other),
    }
}

/// What is in both lists.
fn both(uid: &[Range], gid: &[Range]) -> Vec<Range> {
    let cut = |a: &Range, b: &Range| {
        let start = a.start.max(b.start);
        let end = a.start.saturating_add(a.count).min(b.start.saturating_add(b.count));
        (start < end).then(|| Range { start, count: end - start })
    };
    uid.iter().flat_map(|a| gid.iter().filter_map(move |b| cut(a, b))).collect()
}

/// The ranges that the files in the run folder stand for.
fn in_use(op: &'static str, run: &Path) -> Result<Vec<Range>> {
    let entries = std::fs::read_dir(run).context(op, format!("cannot read {}", run.display()))?;
    let range = |name: String| {
        let (start, count) = name.strip_prefix(PREFIX)?.split_once('-')?;
        Some(Range { start: start.parse().ok()?, count: count.parse().ok()? })
    };
    Ok(entries.flatten().filter_map(|entry| range(entry.file_name().into_string().ok()?)).collect())
}

/// The first range of `size` ids in the pool that meets none in use.
fn free(pool: &[Range], used: &[Range], size: u32) -> Option<u32> {
    let end = |range: &Range| u64::from(range.start) + u64::from(range.count);
    for range in pool {
        let mut start = u64::from(range.start);
        while start + u64::from(size) <= end(range) {
            let clash =
                |other: &&Range| u64::from(other.start) < start + u64::from(size) && start < end(other);
            match used.iter().filter(clash).map(end).max() {
                Some(after) => start = after,
                None => return u32::try_from(start).ok(),
            }
        }
    }
    None
}

fn exhausted(op: &'static str, pool: &[Range], used: &[Range], size: u32) -> Error {
    if let Some(why) = rootless::entered().and_then(|entered| entered.alone.as_deref()) {
        let what = "userns: there are no subordinate ids to give to a container";
        return Error::new(ErrorKind::PermissionDenied, op, what).hint(why);
    }
    let shown: Vec<String> =
        pool.iter().map(|range| format!("{} from {}", range.count, range.start)).collect();
    let end = |range: &Range| u64::from(range.start) + u64::from(range.count);
    let of_pool = |used: &&Range| {
        pool.iter().any(|range| u64::from(used.start) < end(range) && u64::from(range.start) < end(used))
    };
    let what = format!(
        "userns: no {size} ids are left ({} in all, {} ranges in use)",
        if shown.is_empty() { "none".into() } else { shown.join(", ") },
        used.iter().filter(of_pool).count()
    );
    let more = rootless::entered().map_or_else(
        || "add a longer range for `containers` to /etc/subuid and /etc/subgid".to_owned(),
        |entered| subid::grant(&entered.owner).replace("100000-165535", "FIRST-LAST"),
    );
    Error::new(ErrorKind::LimitReached, op, what)
        .hint(format!("close a container, ask for less (userns: \"auto:size=1000\"), or get more: {more}"))
}

/// The caller's ids are the same inside; the ids before and after are subordinate ones.
fn keep(op: &'static str) -> Result<IdMaps> {
    let Some(entered) = rootless::entered() else {
        let what = "userns: keep-id as root would make root inside the root of the machine";
        return Err(Error::new(ErrorKind::InvalidArgument, op, what)
            .hint("use \"auto\", or say so with uid_map and gid_map"));
    };
    if let Some(why) = &entered.alone {
        let what = "userns: keep-id needs subordinate ids for everybody but the caller";
        return Err(Error::new(ErrorKind::PermissionDenied, op, what).hint(why));
    }
    let own_gid = entered.maps.gid.first().map_or(entered.owner.uid, |range| range.host);
    Ok(IdMaps {
        uid: around(entered.owner.uid, &entered.maps.uid),
        gid: around(own_gid, &entered.maps.gid),
        shape: Shape::Keep,
    })
}

/// `own` inside is root of the namespace around; the ids below and above it are those from 1 on, one after the other.
fn around(own: u32, held: &[IdMap]) -> Vec<IdMap> {
    let mut map = vec![IdMap { container: own, host: 0, size: 1 }];
    let mut next: u32 = 0;
    for range in held.iter().filter(|range| range.container > 0) {
        let (mut host, mut left) = (range.container, range.size);
        // Each piece lies in one range of the namespace around: the kernel takes no other.
        while left > 0 {
            let room = if next < own { own - next } else { u32::MAX - 1 - next };
            let size = left.min(room);
            if size == 0 {
                break;
            }
            map.push(IdMap { container: next, host, size });
            next += size;
            if next == own {
                next += 1;
            }
            host += size;
            left -= size;
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, count: u32) -> Range {
        Range { start, count }
    }

    #[test]
    fn a_free_range_meets_no_other() {
        let pool = [range(100, 50), range(1000, 100)];
        for (used, size, found) in [
            (vec![], 50, Some(100)),
            (vec![], 51, Some(1000)),
            (vec![range(100, 10)], 40, Some(110)),
            (vec![range(120, 10)], 20, Some(100)),
            (vec![range(120, 10)], 21, Some(1000)),
            (vec![range(90, 20), range(130, 5)], 20, Some(110)),
            (vec![range(0, u32::MAX)], 1, None),
            (vec![], 101, None),
        ] {
            assert_eq!(free(&pool, &used, size), found, "{used:?} {size}");
        }
        assert_eq!(free(&[POOL], &[], SIZE), Some(1 << 31));
        assert_eq!(
            free(&[POOL], &[range(1 << 31, (1 << 31) - 2 * SIZE)], SIZE),
            Some(u32::MAX - 2 * SIZE + 1)
        );
    }

    #[test]
    fn the_caller_keeps_its_ids() {
        let map = |container, host, size| IdMap { container, host, size };
        let held = [map(0, 1000, 1), map(1, 100_000, 65_536)];
        let expected = [map(1000, 0, 1), map(0, 1, 1000), map(1001, 1001, 64_536)];
        assert_eq!(around(1000, &held), expected);
        // A caller beyond the ids that there are, and one at the edge of a range.
        assert_eq!(around(200_000, &held), [map(200_000, 0, 1), map(0, 1, 65_536)]);
        let held = [map(0, 3, 1), map(1, 100, 3), map(4, 200, 3)];
        assert_eq!(around(3, &held), [map(3, 0, 1), map(0, 1, 3), map(4, 4, 3)]);
        let held = [map(0, 2, 1), map(1, 100, 3), map(4, 200, 3)];
        assert_eq!(around(2, &held), [map(2, 0, 1), map(0, 1, 2), map(3, 3, 1), map(4, 4, 3)]);
    }

    #[test]
    fn what_is_written_is_understood() {
        for (text, asked) in [
            ("host", Ok(Userns::Host)),
            ("auto", Ok(Userns::Auto(65_536))),
            ("auto:size=10", Ok(Userns::Auto(10))),
            ("keep-id", Ok(Userns::KeepId)),
            ("auto:size=0", Err(())),
            ("auto:size=4294967295", Err(())),
            ("auto:", Err(())),
            ("nomap", Err(())),
        ] {
            assert_eq!(text.parse::<Userns>(), asked, "{text}");
        }
    }

    #[test]
    fn ids_must_be_there_for_users_and_groups() {
        assert_eq!(both(&[range(10, 10)], &[range(0, 15), range(18, 10)]), [range(10, 5), range(18, 2)]);
        assert_eq!(both(&[range(10, 10)], &[range(20, 10)]), []);
    }
}
