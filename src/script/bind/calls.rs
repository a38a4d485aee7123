//! `syscall`: system calls made inside, one by one, and what the kernel answered.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::proc::Process;
use crate::runtime::proc::calls::{self, Answer, Answers, Arg, Calls, Entry, Test};
use crate::runtime::session::HandleId;
use crate::script::bind::proc_options::Spec;
use crate::script::call::Call;
use crate::script::convert::{At, Either, FromScript, Int, ListElement, OrEmpty};
use crate::script::native::natives;
use crate::script::options::{Key, Options, Opts};
use crate::script::returned::{IntoScript, script_value};
use rhai::{Array, Blob, Dynamic, Map};
use std::rc::Rc;

natives! {
    /// System calls as a list: made inside by a program that needs nothing of the root, and what the kernel answered.
    pub const SYSCALL = "syscall";

    /// Makes system calls, one after the other, in a process with the options of `proc::exec`.
    ///
    /// `["openat", -100, "/etc/passwd", 0]` is a call: its name and up to six arguments, each a number, a text (its address), a
    /// blob (the address of a copy), a list (the address of 64-bit words), or a map:
    ///
    /// * `#{ result: "openat" }`: what an earlier call returned;
    /// * `#{ buffer: 64, name: "b" }`: memory that is told, `#{ int: "b", offset: 4 }` and `#{ long: "b" }` what is in it,
    ///   `#{ address: "b" }` where it is.
    ///
    /// A map is a call with more said, `#{ syscall, args, name, compat }` (`compat` for the call of a 32-bit program), or
    ///
    /// * `#{ child: [calls], flags, name }`: what a child does;
    /// * `#{ label: "l" }`: a place to go to, `"end"` is one;
    /// * `#{ go: "l", when: "openat", is: "failed" }`: goes there, where the answer is `"failed"`, `"ok"` or a number (`not`: any
    ///   other number; `when: #{ long: "b" }`: what is in a buffer; without `when` always);
    /// * `#{ count: "n" }`: answers how often it was come to.
    ///
    /// Returns: a map: `complete` (whether the list came to its end), `reason`, `code`, `signal` and `stderr` of the process, `calls` (a list of
    /// maps `syscall name made value error`: `value` is `()` and `error` a name such as `"EPERM"` where it failed), `of` (the
    /// same by name; the last of several), `buffers` (blobs by name).
    /// Errors: `invalid_argument` for a list that makes no sense; `unsupported` on another machine than x86_64. What a call is
    /// answered, and how the process ends, is no error.
    /// Needs: as `proc::exec` with these options; x86_64.
    /// Calls: execveat(2), mmap(2), syscalls(2)
    /// Undo: the process has ended; what a call made in the kernel ends with it, or is yours.
    /// Example:
    ///     let told = syscall::run([["getppid"], ["reboot", 0, 0, 0, 0]], #{ security: "default" });
    ///     [told.of.getppid.value, told.of.reboot.error] // => [0, "EPERM"]
    ///     syscall::run([["no_such_call"]])             // throws invalid_argument
    fn "syscall::run"(
        /// The calls, in order, or what `syscall::program` made of them.
        calls: Listed,
        options: OrEmpty<Spec>
    ) -> Map = run;
    /// Starts a list of system calls and returns at once.
    ///
    /// Returns: the process. What it writes at its end is for `.read` of `syscall::program`.
    /// Errors: `invalid_argument` for a list that makes no sense; `unsupported` on another machine than x86_64.
    /// Needs: as `proc::spawn` with these options; x86_64.
    /// Calls: execveat(2), mmap(2), syscalls(2)
    /// Undo: it is killed when its handle is closed or the script ends.
    /// Example:
    ///     let waits = syscall::spawn([["pause"]]);
    ///     waits.is_running                             // => true
    fn "syscall::spawn"(
        /// The calls, as `syscall::run` takes them.
        calls: Listed,
        options: OrEmpty<Spec>
    ) -> (HandleId, Rc<Process>) = spawn;
    /// The list as a program: `.bytes` is an ELF file for the root of any runtime, `.read` reads what it wrote.
    ///
    /// Returns: a value that `syscall::run` takes in place of the list.
    /// Errors: `invalid_argument` for a list that makes no sense.
    /// Needs: nothing; it runs on x86_64.
    /// Calls: elf(5)
    /// Undo: nothing.
    /// Example:
    ///     let program = syscall::program([["getuid"]]);
    ///     program.bytes.extract(1, 3).as_string()      // => "ELF"
    ///     syscall::run(program).of.getuid.value        // => 0
    fn "syscall::program"(
        /// The calls, as `syscall::run` takes them.
        calls: Listed
    ) -> Calls = program;
    /// The names of the system calls of this machine.
    ///
    /// Returns: the names, as syscalls(2) writes them.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: syscalls(2)
    /// Undo: nothing.
    /// Example:
    ///     "openat" in syscall::names()                 // => true
    fn "syscall::names"() -> Array = names;

    /// The ELF file: static, for this machine, without a need of anything in the root it runs in.
    ///
    /// Returns: a blob.
    get "Calls.bytes"(calls: Calls) -> Blob = bytes;
    /// Reads what the program wrote to its standard output.
    ///
    /// Returns: the keys `complete calls of buffers` of `syscall::run`.
    /// Errors: `corrupt` for what it did not write.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     let program = syscall::program([["getuid"]]);
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("attempt"), program.bytes);
    ///     fs::chmod(dir.path("attempt"), "755");
    ///     let written = proc::exec([dir.path("attempt")]).stdout_bytes;
    ///     program.read(written).of.getuid.value        // => 0
    method "Calls.read"(
        calls: Calls,
        /// What it wrote, to the byte.
        written: Blob
    ) -> Map = read;
    /// One useful line.
    ///
    /// Returns: the line.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     `${syscall::program([["getuid"]])}`.contains("Calls") // => true
    method "Calls.to_string"(calls: Calls) -> String = show;
    /// One useful line, as `to_string`.
    ///
    /// Returns: the line.
    /// Errors: nothing.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     syscall::program([["getuid"]]).to_debug().contains("Calls") // => true
    method "Calls.to_debug"(calls: Calls) -> String = show;
}

script_value!(Calls, "Calls");

/// A list of calls, or one that is ready.
#[derive(Clone, Debug)]
pub struct Listed(Calls);

impl FromScript for Listed {
    fn expected() -> String {
        "a list of calls".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_array() || Calls::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if Calls::accepts(&value) {
            return Calls::from_script(value, at).map(Self);
        }
        let entries = Vec::<Entry>::from_script(value, at)?;
        Calls::new(at.call().op(), &entries).map(Self)
    }
}

const ENTRY: Options = Options {
    of: "a list of calls",
    open: None,
    keys: &[
        Key::new("syscall", "text", "none", "The name of a system call, or its number."),
        Key::new("args", "list", "none", "Its arguments."),
        Key::new("compat", "true or false", "false", "Whether it is made as a 32-bit program does."),
        Key::new("name", "text", "that of the call", "What the answer is called."),
        Key::new("child", "list", "none", "What a child does, before it ends with status 0."),
        Key::new("flags", "number", "0", "The flags of clone(2) for the child."),
        Key::new("go", "text", "none", "The label to go on at."),
        Key::new(
            "when",
            "text or map",
            "always",
            "The answer that decides, by name; or #{int} or #{long} of a buffer.",
        ),
        Key::new("is", "\"failed\", \"ok\" or number", "\"ok\"", "How the answer has to be."),
        Key::new("not", "number", "none", "How the answer must not be."),
        Key::new("count", "text", "none", "Counts, under this name, how often it is come to."),
        Key::new("label", "text", "none", "A place to go to."),
    ],
};

impl ListElement for Entry {}

impl FromScript for Entry {
    fn expected() -> String {
        "a list [name, arguments…] or a map with `syscall`, `child`, `go`, `count` or `label`".into()
    }
    fn accepts(value: &Dynamic) -> bool {
        value.is_array() || value.is_map()
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        match value.try_cast_result::<Array>() {
            Ok(words) => short_call(words, at),
            Err(value) => match value.try_cast_result::<Map>() {
                Ok(map) => entry(&mut Opts::new(map, &ENTRY, at)?),
                Err(value) => Err(at.expected(&Self::expected(), &value)),
            },
        }
    }
}

fn short_call(words: Array, at: &At<'_, '_>) -> Result<Entry> {
    let mut words = words.into_iter();
    let Some(call) = words.next() else { return Err(at.wrong("is empty: its first element names a call")) };
    let call = call_name(call, &at.element(0))?;
    let args = words.enumerate().map(|(index, word)| Arg::from_script(word, &at.element(index + 1)));
    Ok(Entry::Call { call, args: args.collect::<Result<_>>()?, compat: false, name: None })
}

fn call_name(value: Dynamic, at: &At<'_, '_>) -> Result<String> {
    Ok(match Either::<String, Int<0, 0xffff_ffff>>::from_script(value, at)? {
        Either::Left(name) => name,
        Either::Right(number) => number.0.to_string(),
    })
}

/// What goes with each kind of entry.
const KINDS: [(&str, &[&str]); 5] = [
    ("syscall", &["args", "compat", "name"]),
    ("child", &["flags", "name"]),
    ("go", &["when", "is", "not"]),
    ("count", &[]),
    ("label", &[]),
];

fn entry(opts: &mut Opts<'_, '_>) -> Result<Entry> {
    let kinds: Vec<_> = KINDS.iter().filter(|(kind, _)| opts.has(kind)).collect();
    let [(kind, takes)] = kinds[..] else {
        return Err(opts.at().wrong("must have one of `syscall`, `child`, `go`, `count` and `label`"));
    };
    let is_stray = |key: &&Key| opts.has(key.name) && key.name != *kind && !takes.contains(&key.name);
    if let Some(stray) = ENTRY.keys.iter().find(is_stray) {
        return Err(opts.at().key(stray.name).wrong(format!("does not go with `{kind}`")));
    }
    Ok(match *kind {
        "syscall" => Entry::Call {
            call: call_name(opts.need("syscall")?, &opts.at().key("syscall"))?,
            args: opts.or("args", Vec::new())?,
            compat: opts.or("compat", false)?,
            name: opts.take("name")?,
        },
        "child" => Entry::Child {
            entries: opts.need("child")?,
            flags: opts.or("flags", 0)?,
            name: opts.take("name")?,
        },
        "count" => Entry::Count(opts.need("count")?),
        "label" => Entry::Label(opts.need("label")?),
        _ => Entry::Go { to: opts.need("go")?, when: when(opts)? },
    })
}

fn when(opts: &mut Opts<'_, '_>) -> Result<Option<(Arg, Test, i64)>> {
    let name: Option<Either<String, Map>> = opts.take("when")?;
    let is: Option<Either<i64, String>> = opts.take("is")?;
    let not: Option<i64> = opts.take("not")?;
    let name = match name {
        Some(Either::Left(name)) => Some(Arg::Result(name)),
        Some(Either::Right(map)) => Some(Arg::from_script(map.into(), &opts.at().key("when"))?),
        None => None,
    };
    let Some(name) = name else {
        return match (is, not) {
            (None, None) => Ok(None),
            _ => Err(opts.at().key("when").wrong("is missing: it names the answer that decides")),
        };
    };
    let (test, with) = match (is, not) {
        (Some(_), Some(_)) => return Err(opts.at().key("not").wrong("does not go with `is`")),
        (None, Some(number)) => (Test::IsNot, number),
        (Some(Either::Left(number)), None) => (Test::Is, number),
        (Some(Either::Right(word)), None) if word == "failed" => (Test::Less, 0),
        (Some(Either::Right(word)), None) if word != "ok" => {
            return Err(opts.at().key("is").wrong("must be \"failed\", \"ok\" or a number"));
        }
        _ => (Test::NotLess, 0),
    };
    Ok(Some((name, test, with)))
}

const ARG: Options = Options {
    of: "an argument",
    open: None,
    keys: &[
        Key::new("result", "text", "none", "What an earlier call of this name returned."),
        Key::new("buffer", "number of bytes, text or blob", "none", "Memory: its size, or what is in it."),
        Key::new("name", "text", "none", "The name of the buffer; what has one is told."),
        Key::new("int", "text", "none", "The 32 bits in a buffer of this name."),
        Key::new("long", "text", "none", "The 64 bits in a buffer of this name."),
        Key::new("address", "text", "none", "The address of a buffer of this name."),
        Key::new("offset", "number", "0", "How many bytes into the buffer."),
    ],
};

/// The most memory of one buffer.
const MOST: i64 = 1 << 20;

impl ListElement for Arg {}

impl FromScript for Arg {
    fn expected() -> String {
        "a number, a text, a blob, a list, or a map with `result`, `buffer`, `int`, `long` or `address`"
            .into()
    }
    fn accepts(_: &Dynamic) -> bool {
        true
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        if let Ok(number) = value.as_int() {
            return Ok(Self::Number(number));
        }
        if value.is_string() {
            return Ok(Self::Text(value.to_string().into_bytes()));
        }
        if value.is_array() {
            return Vec::<Self>::from_script(value, at).map(Self::List);
        }
        if value.is_blob() {
            let content = Blob::from_script(value, at)?;
            return Ok(Self::Buffer { name: None, content });
        }
        match value.try_cast_result::<Map>() {
            Ok(map) => argument(&mut Opts::new(map, &ARG, at)?),
            Err(value) => Err(at.expected(&Self::expected(), &value)),
        }
    }
}

fn argument(opts: &mut Opts<'_, '_>) -> Result<Arg> {
    let kinds = ["result", "buffer", "int", "long", "address"];
    if kinds.iter().filter(|kind| opts.has(kind)).count() != 1 {
        return Err(opts.at().wrong("must have one of `result`, `buffer`, `int`, `long` and `address`"));
    }
    if let Some(name) = opts.take("result")? {
        return Ok(Arg::Result(name));
    }
    if let Some(content) = opts.take::<Either<Int<1, MOST>, Either<String, Blob>>>("buffer")? {
        let content = match content {
            Either::Left(size) => vec![0; usize::try_from(size.0).unwrap_or(0)],
            Either::Right(Either::Left(text)) => text.into_bytes(),
            Either::Right(Either::Right(blob)) => blob,
        };
        return Ok(Arg::Buffer { name: opts.take("name")?, content });
    }
    let offset: usize = opts.or("offset", 0)?;
    if let Some(name) = opts.take("address")? {
        return Ok(Arg::Address { name, offset });
    }
    match opts.take("int")? {
        Some(name) => Ok(Arg::In { name, offset, long: false }),
        None => Ok(Arg::In { name: opts.need("long")?, offset, long: true }),
    }
}

fn run(call: &Call<'_>, listed: Listed, options: OrEmpty<Spec>) -> Result<Map> {
    let spec = options.0.0;
    if spec.tty {
        return Err(
            call.invalid("`tty` does not go with calls: what they are answered would pass the terminal")
        );
    }
    let Answers { outcome, answers, buffers } = listed.0.run(call.session(), spec)?;
    let mut map = answers_of(answers, buffers);
    map.insert("stderr".into(), String::from_utf8_lossy(&outcome.stderr).into_owned().into());
    map.insert("reason".into(), outcome.reason.name().into());
    map.insert("code".into(), i64::from(outcome.code).into());
    map.insert("signal".into(), outcome.signal.clone().into_script());
    Ok(map)
}

fn spawn(call: &Call<'_>, listed: Listed, options: OrEmpty<Spec>) -> Result<(HandleId, Rc<Process>)> {
    listed.0.spawn(call.session(), options.0.0)
}

fn answers_of(answers: Option<Vec<Answer>>, buffers: Vec<(String, Vec<u8>)>) -> Map {
    let complete = answers.is_some();
    let answers: Vec<Map> = answers.unwrap_or_default().into_iter().map(answer).collect();
    let mut of = Map::new();
    for answer in &answers {
        let name = answer.get("name").map(Dynamic::to_string).unwrap_or_default();
        let made = |map: &Map| map.get("made").is_some_and(|made| made.as_bool() == Ok(true));
        let known =
            of.get(name.as_str()).and_then(|known: &Dynamic| known.read_lock::<Map>().map(|map| made(&map)));
        if known != Some(true) || made(answer) {
            of.insert(name.into(), answer.clone().into());
        }
    }
    let buffers: Map =
        buffers.into_iter().map(|(name, content)| (name.into(), Dynamic::from_blob(content))).collect();
    Map::from([
        ("complete".into(), complete.into()),
        ("calls".into(), answers.into_script()),
        ("of".into(), of.into()),
        ("buffers".into(), buffers.into()),
    ])
}

fn answer(answer: Answer) -> Map {
    let error = answer.error();
    let value = answer.value.filter(|_| error.is_none());
    Map::from([
        ("made".into(), answer.value.is_some().into()),
        ("syscall".into(), answer.call.into()),
        ("name".into(), answer.name.into()),
        ("value".into(), value.into_script()),
        ("error".into(), error.into_script()),
    ])
}

fn program(_: &Call<'_>, listed: Listed) -> Result<Calls> {
    Ok(listed.0)
}

fn names(_: &Call<'_>) -> Result<Array> {
    Ok(calls::names().map(Dynamic::from).collect())
}

fn bytes(_: &Call<'_>, calls: Calls) -> Result<Blob> {
    Ok(calls.image())
}

fn read(call: &Call<'_>, calls: Calls, written: Blob) -> Result<Map> {
    let Some((answers, buffers)) = calls.read(&written) else {
        let what = format!("{} bytes are not what the program writes at its end", written.len());
        return Err(Error::new(ErrorKind::Corrupt, call.op(), what)
            .hint("it was ended before, or its output is mixed with another's"));
    };
    Ok(answers_of(Some(answers), buffers))
}

fn show(_: &Call<'_>, calls: Calls) -> Result<String> {
    Ok(format!("Calls {} steps", calls.len()))
}
