//! What the functions of [`assert`](super::assert) do.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::fs::files;
use crate::runtime::gc;
use crate::runtime::leaks::{self, Ground, Kind, Thing};
use crate::runtime::net;
use crate::runtime::ns::list;
use crate::runtime::proc::Process;
use crate::runtime::session::Session;
use crate::script::assertion::{differences, lines, order, plainly, same, shown, told};
use crate::script::bind::assert_attempts::attempt;
use crate::script::bind::net_calls::NetnsArg;
use crate::script::bind::ns::Subject;
use crate::script::bind::proc::ExecResult;
use crate::script::call::{Call, Outcome};
use crate::script::convert::{Either, OrEmpty};
use crate::script::error::ScriptError;
use crate::script::handle::Open;
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map};
use std::cmp::Ordering;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

/// How long to wait for something.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub(super) timeout: Duration,
    pub(super) every: Duration,
}

const PATIENCE: Options = Options {
    of: "an assertion that waits",
    open: None,
    keys: &[
        Key::new("timeout", "duration", "\"5s\"", "How long to wait at most."),
        Key::new("every", "duration", "\"20ms\"", "How long between two looks."),
    ],
};

impl FromOptions for Patience {
    const OPTIONS: &'static Options = &PATIENCE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let timeout = opts.or("timeout", Duration::from_secs(5))?;
        Ok(Self { timeout, every: opts.or("every", Duration::from_millis(20))? })
    }
}

/// How a file should be.
#[derive(Clone, Debug)]
pub struct FileFacts {
    kind: Option<String>,
    mode: Option<u32>,
    owner: Option<String>,
    size: Option<u64>,
    content: Option<Either<String, Blob>>,
    contains: Option<String>,
}

const FILE: Options = Options {
    of: "assert::file",
    open: None,
    keys: &[
        Key::new("type", "text", "any", "file, folder, link, socket, fifo, block or char."),
        Key::new("mode", "text", "any", "Its permissions in octal: \"644\", \"4755\"."),
        Key::new("owner", "text", "any", "The ids of its user and its group: \"0:0\"."),
        Key::new("size", "number", "any", "Its length in bytes."),
        Key::new("content", "text or blob", "any", "All that is in it."),
        Key::new("contains", "text", "any", "A part of it."),
    ],
};

impl FromOptions for FileFacts {
    const OPTIONS: &'static Options = &FILE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let mode: Option<String> = opts.take("mode")?;
        let mode = mode
            .map(|text| u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777))
            .map(|mode| mode.ok_or_else(|| opts.at().key("mode").wrong("must be octal, such as \"644\"")))
            .transpose()?;
        let kind: Option<String> = opts.take("type")?;
        let known = ["file", "folder", "link", "socket", "fifo", "block", "char"];
        if kind.as_deref().is_some_and(|kind| !known.contains(&kind)) {
            return Err(opts.at().key("type").wrong(format!("must be one of {}", known.join(", "))));
        }
        Ok(Self {
            kind,
            mode,
            owner: owner(opts)?,
            size: opts.take("size")?,
            content: opts.take("content")?,
            contains: opts.take("contains")?,
        })
    }
}

/// Two ids.
fn owner(opts: &mut Opts<'_, '_>) -> Result<Option<String>> {
    let owner: Option<String> = opts.take("owner")?;
    let is_id = |text: &str| text.parse::<u32>().is_ok();
    match &owner {
        Some(text) if !text.split_once(':').is_some_and(|(user, group)| is_id(user) && is_id(group)) => {
            Err(opts.at().key("owner").wrong("must be the ids of a user and a group, such as \"0:0\""))
        }
        _ => Ok(owner),
    }
}

pub(super) fn failed(call: &Call<'_>, what: impl Into<String>) -> Error {
    Error::new(ErrorKind::AssertionFailed, call.op(), what)
}

/// The text of a failure, behind what it is about.
fn about(message: Option<Dynamic>, what: &str) -> String {
    message.map_or_else(|| what.to_owned(), |message| format!("{message}: {what}"))
}

pub(super) fn that(call: &Call<'_>, condition: bool, message: Option<Dynamic>) -> Result<()> {
    if condition {
        Ok(())
    } else {
        Err(failed(
            call,
            message.map_or_else(|| "it does not hold".to_owned(), |message| message.to_string()),
        ))
    }
}

pub(super) fn eq(call: &Call<'_>, is: Dynamic, expected: Dynamic, message: Option<Dynamic>) -> Result<()> {
    let found = differences(call, &is, &expected);
    if found.is_empty() {
        return Ok(());
    }
    Err(failed(call, about(message, "the values differ")).detail(told(call, &is, &expected, &found)))
}

pub(super) fn ne(call: &Call<'_>, is: Dynamic, other: Dynamic, message: Option<Dynamic>) -> Result<()> {
    if !same(call, &is, &other) {
        return Ok(());
    }
    Err(failed(call, about(message, &format!("both are {}", shown(&plainly(call, &is))))))
}

fn ordered(
    call: &Call<'_>,
    (is, bound): (&Dynamic, &Dynamic),
    holds: fn(Ordering) -> bool,
    words: &str,
    message: Option<Dynamic>,
) -> Result<()> {
    match order(is, bound) {
        Some(order) if holds(order) => Ok(()),
        Some(_) => {
            Err(failed(call, about(message, &format!("{} is not {words} {}", shown(is), shown(bound)))))
        }
        None => Err(call.invalid(format!("{} and {} have no order", shown(is), shown(bound)))),
    }
}

pub(super) fn lt(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_lt, "less than", message)
}

pub(super) fn le(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_le, "less than or equal to", message)
}

pub(super) fn gt(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_gt, "greater than", message)
}

pub(super) fn ge(call: &Call<'_>, is: Dynamic, bound: Dynamic, message: Option<Dynamic>) -> Result<()> {
    ordered(call, (&is, &bound), Ordering::is_ge, "greater than or equal to", message)
}

pub(super) fn between(call: &Call<'_>, is: Dynamic, least: Dynamic, most: Dynamic) -> Result<()> {
    ordered(call, (&is, &least), Ordering::is_ge, "greater than or equal to", None)?;
    ordered(call, (&is, &most), Ordering::is_le, "less than or equal to", None)
}

fn has(call: &Call<'_>, whole: &Dynamic, part: &Dynamic) -> Result<bool> {
    if let Some(text) = whole.read_lock::<ImmutableString>() {
        return match part.is_string() || part.is_char() {
            true => Ok(text.contains(part.to_string().as_str())),
            false => Err(call.invalid(format!("a part of a text is a text, not {}", shown(part)))),
        };
    }
    if let Some(list) = whole.read_lock::<Array>() {
        return Ok(list.iter().any(|element| same(call, element, part)));
    }
    if let Some(map) = whole.read_lock::<Map>() {
        return Ok(map.contains_key(part.to_string().as_str()));
    }
    Err(call.invalid(format!("`whole` must be a text, a list or a map, not {}", shown(whole))))
}

pub(super) fn contains(call: &Call<'_>, whole: Dynamic, part: Dynamic) -> Result<()> {
    if has(call, &whole, &part)? {
        return Ok(());
    }
    Err(failed(call, format!("{} is not in it", shown(&part))).detail(format!("in: {}", shown(&whole))))
}

pub(super) fn not_contains(call: &Call<'_>, whole: Dynamic, part: Dynamic) -> Result<()> {
    if !has(call, &whole, &part)? {
        return Ok(());
    }
    Err(failed(call, format!("{} is in it", shown(&part))).detail(format!("in: {}", shown(&whole))))
}

pub(super) fn matches(call: &Call<'_>, text: String, pattern: String) -> Result<()> {
    let regex = regex_lite::Regex::new(&pattern)
        .map_err(|error| call.invalid(format!("`pattern` cannot be read: {error}")))?;
    if regex.is_match(&text) {
        return Ok(());
    }
    Err(failed(call, format!("{pattern:?} is not found in it"))
        .detail(format!("in: {}", shown(&text.into()))))
}

pub(super) fn is_denied(call: &Call<'_>, errno: Either<String, Vec<String>>, what: Dynamic) -> Outcome<()> {
    let names = match errno {
        Either::Left(name) => vec![name],
        Either::Right(names) => names,
    };
    if names.is_empty() {
        return Err(call.invalid("`errno` must have a name at least, such as \"EPERM\"").into());
    }
    let known: Vec<_> = names.iter().map(|name| errno_of(name)).collect();
    if let Some(at) = known.iter().position(Option::is_none) {
        return Err(call.invalid(format!("there is no errno {:?}", names[at])).into());
    }
    let wanted = names.join(" or ");
    let came = if let Some(f) = what.clone().try_cast::<FnPtr>() {
        match attempt(call, &f)? {
            Ok(value) => {
                return Err(failed(call, format!("it was not refused, it returned {}", shown(&value))).into());
            }
            Err(thrown) => match thrown.read_lock::<ScriptError>() {
                Some(error) => error.field("code").to_string(),
                None => thrown.to_string(),
            },
        }
    } else if let Some(error) = what.read_lock::<Map>().and_then(|map| map.get("error").cloned()) {
        // An answer to a system call.
        if error.is_unit() { String::new() } else { error.to_string() }
    } else if let Some(ending) = Ending::of(&what) {
        ending.errno(&known.into_iter().flatten().collect::<Vec<_>>())
    } else {
        return Err(call.invalid("`what` must be an answer, a result of a command or a function").into());
    };
    if names.contains(&came) {
        return Ok(());
    }
    let what = match came.is_empty() {
        true => "it was not refused".to_owned(),
        false => format!("it was answered {came}, not {wanted}"),
    };
    Err(failed(call, what).into())
}

/// How a command ended, of what tells of one: a result of `proc::exec`, or the map of `syscall::run`.
struct Ending {
    ok: bool,
    reason: String,
    stderr: String,
}

impl Ending {
    fn of(value: &Dynamic) -> Option<Self> {
        if let Some(result) = value.read_lock::<ExecResult>() {
            let outcome = result.outcome();
            return Some(Self {
                ok: outcome.is_ok(),
                reason: outcome.reason.name().to_owned(),
                stderr: String::from_utf8_lossy(&outcome.stderr).into_owned(),
            });
        }
        let map = value.read_lock::<Map>()?;
        let text = |key: &str| map.get(key).map(ToString::to_string);
        Some(Self {
            ok: map.get("complete")?.as_bool().ok()?,
            reason: text("reason")?,
            stderr: text("stderr").unwrap_or_default(),
        })
    }

    /// The errno of which its last words tell, if it is one of these.
    fn errno(&self, wanted: &[nix::errno::Errno]) -> String {
        if self.ok {
            return String::new();
        }
        let said = wanted.iter().find(|errno| self.stderr.contains(errno.desc()));
        said.map_or_else(|| format!("by a command that said {:?}", self.stderr), |errno| format!("{errno:?}"))
    }
}

/// An errno by name.
fn errno_of(name: &str) -> Option<nix::errno::Errno> {
    (1..200).map(nix::errno::Errno::from_raw).find(|errno| format!("{errno:?}") == name)
}

pub(super) fn limited(
    call: &Call<'_>,
    controller: String,
    what: Either<Open<Cgroup>, Dynamic>,
) -> Result<()> {
    if !["memory", "pids", "cpu"].contains(&controller.as_str()) {
        return Err(
            call.invalid(format!("`controller` must be \"memory\", \"pids\" or \"cpu\", not {controller:?}"))
        );
    }
    let counted = match what {
        Either::Left(group) => {
            let (events, stats) = (group.events(), group.stats());
            let event = |name: &str| events.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
            match controller.as_str() {
                "memory" => stats["memory"]["oom_kills"].as_u64().unwrap_or(0) + event("memory_max"),
                "pids" => event("pids_max"),
                _ => stats["cpu"]["throttled_periods"].as_u64().unwrap_or(0),
            }
        }
        Either::Right(result) => {
            let Some(Ending { reason, stderr, .. }) = Ending::of(&result) else {
                return Err(
                    call.invalid(format!("`what` must be a Cgroup or a result, not {}", shown(&result)))
                );
            };
            let refused = ["Resource temporarily unavailable", "can't fork", "Cannot fork", "EAGAIN"];
            let bites = match controller.as_str() {
                "memory" => reason == "oom",
                "pids" => refused.iter().any(|words| stderr.contains(words)),
                _ => {
                    return Err(call.invalid(
                        "what a result of a command tells of is \"memory\" and \"pids\": give the group",
                    ));
                }
            };
            u64::from(bites)
        }
    };
    if counted > 0 { Ok(()) } else { Err(failed(call, format!("the limit on {controller} was not met"))) }
}

/// Somebody's namespaces.
pub type Side = Either<Subject, Map>;

/// The inode of a namespace of somebody.
fn inode(call: &Call<'_>, kind: &str, side: Side) -> Result<u64> {
    let map = match side {
        Either::Left(subject) => return list::one(call.op(), subject.0, kind),
        Either::Right(map) => map,
    };
    let found =
        map.get(kind).and_then(|inode| inode.as_int().ok()).and_then(|inode| u64::try_from(inode).ok());
    found.ok_or_else(|| call.invalid(format!("the map has no namespace of the kind {kind:?}")))
}

pub(super) fn same_ns(call: &Call<'_>, kind: String, a: Side, b: Side) -> Result<()> {
    match inode(call, &kind, a)? == inode(call, &kind, b)? {
        true => Ok(()),
        false => Err(failed(call, format!("their {kind} namespaces are different"))),
    }
}

pub(super) fn different_ns(call: &Call<'_>, kind: String, a: Side, b: Side) -> Result<()> {
    match inode(call, &kind, a)? == inode(call, &kind, b)? {
        false => Ok(()),
        true => Err(failed(call, format!("they share the {kind} namespace"))),
    }
}

pub(super) fn no_leaks(call: &Call<'_>, f: FnPtr) -> Outcome<Dynamic> {
    let session = call.session();
    let mut ground = Ground::new(session.dirs().clone(), std::env::current_dir());
    leaks::see_queues(&mut ground);
    let temp = std::env::temp_dir();
    if !ground.folders.contains(&temp) {
        ground.folders.push(temp);
    }
    let mark = session.serial();
    let before = leaks::look(&ground);
    let value = call.invoke(&f, [])?;
    let now = leaks::look(&ground);
    let own = session.token();
    let others: Vec<String> = gc::tokens(session.dirs()).into_iter().filter(|token| token != own).collect();
    let is_others = |word: &String| {
        gc::token_in(word).is_some_and(|token| token != own)
            || others.iter().any(|token| word.contains(token.as_str()))
    };
    // Of links that a session has named, those of this one live.
    let has_links =
        session.live().iter().any(|one| one.id.number() > mark && matches!(one.kind, "Veth" | "Bridge"));
    let is_others_link = |thing: &Thing| {
        let named = matches!(thing.kind, Kind::Link | Kind::Address)
            && thing.text.split(' ').next_back().is_some_and(net::is_chosen_name);
        named && !has_links
    };
    let is_foreign = |thing: &Thing| {
        // Nobody else mounts where this session does.
        thing.kind != Kind::Mount && (thing.words.iter().any(is_others) || is_others_link(thing))
    };
    // What the session keeps for as long as it lives, wherever that began.
    let scratch = session.dirs().scratch().join(own).display().to_string();
    let is_the_sessions = |thing: &Thing| thing.kind == Kind::File && thing.text.starts_with(&scratch);
    let left =
        now.since(&before).into_iter().filter(|(_, thing)| !is_foreign(thing) && !is_the_sessions(thing));
    let mut left: Vec<String> =
        left.map(|(_, thing)| format!("{} {}", thing.kind.name(), thing.text)).collect();
    let living = living_since(session, mark, &left)?;
    left.extend(living);
    if left.is_empty() {
        Ok(value)
    } else {
        Err(failed(call, "something is left").detail(left.join("\n")).into())
    }
}

/// What lives and is not to be seen among the kernel's things, or is not by an ordinary user: namespaces, which a process holds, processes,
/// and links in the session's own network.
fn living_since(session: &Session, mark: u64, seen: &[String]) -> Result<Vec<String>> {
    let mut living = Vec::new();
    for one in session.live().into_iter().rev().filter(|one| one.id.number() > mark) {
        let lives = match one.kind {
            "Ns" => true,
            "Veth" | "Bridge" => {
                let name = session.name_of(one.id);
                !seen.iter().any(|text| text.contains(&name))
            }
            "Process" => session.handle::<Process>(one.id, "assert::no_leaks")?.is_running(session)?,
            _ => false,
        };
        if lives {
            let at = one.at.map(|at| format!(", made at {at}")).unwrap_or_default();
            living.push(format!("{}{at}", one.line));
        }
    }
    Ok(living)
}

pub(super) fn file(call: &Call<'_>, path: PathBuf, options: OrEmpty<FileFacts>) -> Result<()> {
    let facts = options.0;
    let shown = path.display().to_string();
    let Ok(data) = std::fs::symlink_metadata(&path) else {
        return Err(failed(call, "it is not there").subject(shown));
    };
    let kind = data.file_type();
    let is = match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "folder",
        () if kind.is_symlink() => "link",
        () if kind.is_socket() => "socket",
        () if kind.is_fifo() => "fifo",
        () if kind.is_block_device() => "block",
        () => "char",
    };
    let mut wrong = Vec::new();
    let mut compare = |what: &str, is: String, wanted: Option<String>| {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
            wrong.push(format!("{what}: {is}, expected {wanted}"));
        }
    };
    compare("type", is.to_owned(), facts.kind);
    compare("mode", format!("{:o}", data.mode() & 0o7777), facts.mode.map(|mode| format!("{mode:o}")));
    compare("owner", format!("{}:{}", data.uid(), data.gid()), facts.owner);
    compare("size", data.len().to_string(), facts.size.map(|size| size.to_string()));
    let wants_content = facts.content.is_some() || facts.contains.is_some();
    let content = if wants_content { files::read(call.op(), &path)? } else { Vec::new() };
    let text = String::from_utf8_lossy(&content);
    if let Some(part) = facts.contains.filter(|part| !text.contains(part.as_str())) {
        wrong.push(format!("{part:?} is not in it"));
    }
    match facts.content {
        Some(Either::Left(expected)) if *expected != *text => wrong.push(lines(&text, &expected)),
        Some(Either::Right(expected)) if expected != content => {
            wrong.push(format!(
                "content: {} bytes that differ from the {} expected",
                content.len(),
                expected.len()
            ));
        }
        _ => {}
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(failed(call, "it is not as it should be").subject(shown).detail(wrong.join("\n"))),
    }
}

pub(super) fn no_file(call: &Call<'_>, path: PathBuf) -> Result<()> {
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(call.op(), "cannot look", error).subject(path.display())),
        Ok(_) => Err(failed(call, "it is there").subject(path.display())),
    }
}

pub(super) fn running(call: &Call<'_>, pid: i32) -> Result<()> {
    match Process::runs(pid) {
        true => Ok(()),
        false => Err(failed(call, "it does not run").subject(format!("process {pid}"))),
    }
}

pub(super) fn not_running(call: &Call<'_>, pid: i32) -> Result<()> {
    match Process::runs(pid) {
        false => Ok(()),
        true => Err(failed(call, "it runs").subject(format!("process {pid}"))),
    }
}

pub(super) fn port(
    call: &Call<'_>,
    place: Either<NetnsArg, String>,
    port: u16,
    options: OrEmpty<Patience>,
) -> Result<()> {
    let timeout = options.0.timeout;
    let (ns, host) = match &place {
        Either::Left(ns) => (Some(&ns.0), "127.0.0.1"),
        Either::Right(host) => (None, host.as_str()),
    };
    match net::wait_port(call.session(), ns, host, port, timeout) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Timeout => {
            Err(failed(call, format!("nothing accepts connections on port {port} of {host}"))
                .caused_by(error))
        }
        Err(error) => Err(error.in_op(call.op())),
    }
}

pub(super) fn golden(call: &Call<'_>, text: String, path: PathBuf) -> Result<()> {
    let (source, _) = call.source_line();
    let folder = std::path::Path::new(&source).parent().filter(|_| !source.starts_with('<'));
    let path = folder.map_or_else(|| path.clone(), |folder| folder.join(&path));
    if call.shell().suite().updates() {
        let parent = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        parent.and_then(|()| std::fs::write(&path, &text)).map_err(|error| {
            Error::io(call.op(), "cannot write the golden file", error).subject(path.display()).path(&path)
        })?;
        call.shell().suite().note(format!("{} is written", path.display()));
        return Ok(());
    }
    let expected = files::read(call.op(), &path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => error.hint("`cshell test --update` writes it"),
        _ => error,
    })?;
    let expected = String::from_utf8_lossy(&expected);
    if *expected == *text {
        return Ok(());
    }
    let error = failed(call, "it differs from the golden file").subject(path.display());
    Err(error
        .detail(lines(&text, &expected))
        .hint("`cshell test --update` writes it anew, when the change is meant"))
}
