//! System calls by name: a list of them, made one after the other by a program that needs nothing of the root it runs in.
//!
//! What a container lets a process do is what the kernel answers it: this asks, without a libc or a compiler. The
//! program itself is [`crate::sys::calls`]; here names become numbers, labels become places, and answers are read.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::proc::Process;
use crate::runtime::proc::exec::{exec_for, spawn};
use crate::runtime::proc::process::Outcome;
use crate::runtime::proc::spec::{Command, Output, ProcSpec};
use crate::runtime::session::{HandleId, Session};
use crate::sys::Errno;
use crate::sys::calls::{Area, Place, Program, Step, Told, Word};
use std::rc::Rc;
use syscalls::{x86, x86_64};

pub use crate::sys::calls::Test;

/// The label behind the last step.
pub const END: &str = "end";

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A number.
    Number(i64),
    /// The address of a text, ended by a NUL byte.
    Text(Vec<u8>),
    /// The address of memory with this content. What has a name is told at the end.
    Buffer {
        /// By which name others use it.
        name: Option<String>,
        /// What is in it.
        content: Vec<u8>,
    },
    /// The address of a list of 64-bit words.
    List(Vec<Arg>),
    /// What the latest step of this name before returned.
    Result(String),
    /// What is in a named buffer: 32 bits with their sign, or 64.
    In {
        /// The name.
        name: String,
        /// How many bytes into it.
        offset: usize,
        /// Whether it is 64 bits.
        long: bool,
    },
    /// The address of a named buffer.
    Address {
        /// The name.
        name: String,
        /// How many bytes into it.
        offset: usize,
    },
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A system call.
    Call {
        /// Its name in the kernel, or its number.
        call: String,
        /// Its arguments, up to six; those left out are 0.
        args: Vec<Arg>,
        /// Whether it is made as a 32-bit program does.
        compat: bool,
        /// What the answer is called; the name of the call otherwise.
        name: Option<String>,
    },
    /// A child that makes calls of its own and ends with status 0.
    Child {
        /// Its entries.
        entries: Vec<Entry>,
        /// The flags of clone(2).
        flags: i64,
        /// What the answer is called, which is the child's number.
        name: Option<String>,
    },
    /// Goes on at a label, always or when an answer compares so.
    Go {
        /// The label.
        to: String,
        /// What is compared, how, and with what.
        when: Option<(Arg, Test, i64)>,
    },
    /// Counts how often it is come to.
    Count(String),
    /// A place to go to.
    Label(String),
}

/// A list that is ready to run.
#[derive(Clone, Debug)]
pub struct Calls {
    op: &'static str,
    program: Rc<Program>,
    /// The call and the name of each step that has an answer.
    names: Vec<Option<(String, String)>>,
    buffers: Vec<(String, usize)>,
}

/// What one call was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call.
    pub call: String,
    /// Its name in the list.
    pub name: String,
    /// What it returned, if it was made: negative for an errno.
    pub value: Option<i64>,
}

impl Answer {
    /// The name of the errno, if it failed.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let value = self.value.filter(|value| (-4095..0).contains(value))?;
        let errno = Errno::from_raw(i32::try_from(-value).unwrap_or(0));
        Some(match errno {
            Errno::UnknownErrno => (-value).to_string(),
            known => format!("{known:?}"),
        })
    }
}

/// What a run of a list came to.
#[derive(Clone, Debug)]
pub struct Answers {
    /// How the program ended.
    pub outcome: Rc<Outcome>,
    /// The answers, in the order of the list; nothing if it did not come to its end.
    pub answers: Option<Vec<Answer>>,
    /// What is in each named buffer.
    pub buffers: Vec<(String, Vec<u8>)>,
}

/// The number of a call of this machine's programs, by name or written as a number.
#[must_use]
pub fn number(name: &str, compat: bool) -> Option<u32> {
    let named = || match compat {
        true => name.parse::<x86::Sysno>().ok().map(|call| call.id()),
        false => name.parse::<x86_64::Sysno>().ok().map(|call| call.id()),
    };
    name.parse().ok().or_else(|| named().and_then(|id| u32::try_from(id).ok()))
}

/// The names of the calls of this machine's programs.
pub fn names() -> impl Iterator<Item = &'static str> {
    x86_64::Sysno::iter().map(|call| call.name())
}

impl Calls {
    /// Makes a program of a list.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a call, a label, an answer or a buffer that does not exist, and more than six arguments.
    pub fn new(op: &'static str, entries: &[Entry]) -> Result<Self> {
        let mut build = Build { op, ..Build::default() };
        build.entries(entries)?;
        build.finish()
    }

    /// The program as an ELF file: for a root of another runtime. What it writes to its standard output is for [`Calls::read`].
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.program.image()
    }

    /// How many steps it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.program.steps.len()
    }

    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.program.steps.is_empty()
    }

    /// Runs the list with these options; their command is not looked at.
    ///
    /// # Errors
    /// As of [`exec`](crate::runtime::proc::exec()), for what happens before the program runs. How it ends is no error.
    pub fn run(&self, session: &Session, spec: ProcSpec) -> Result<Answers> {
        let command = Command::Calls(self.program.clone());
        let outcome =
            exec_for(session, self.op, &ProcSpec { command, check: false, output: Output::Capture, ..spec })?;
        let (answers, buffers) = match self.read(&outcome.stdout) {
            Some((answers, buffers)) => (Some(answers), buffers),
            None => (None, Vec::new()),
        };
        Ok(Answers { outcome, answers, buffers })
    }

    /// Starts the list with these options, and returns at once. It is killed when its handle is closed or the session ends.
    ///
    /// # Errors
    /// As of [`spawn`].
    pub fn spawn(&self, session: &Session, spec: ProcSpec) -> Result<(HandleId, Rc<Process>)> {
        let command = Command::Calls(self.program.clone());
        spawn(session, &ProcSpec { command, ..spec })
    }

    /// Reads what the program wrote; nothing if it did not come to its end.
    #[must_use]
    #[expect(clippy::type_complexity, reason = "the answers, and the buffers by name")]
    pub fn read(&self, written: &[u8]) -> Option<(Vec<Answer>, Vec<(String, Vec<u8>)>)> {
        let Told { results, areas } = self.program.read(written)?;
        let named = self.names.iter().zip(results);
        let answers = named
            .filter_map(|(names, value)| {
                let (call, name) = names.clone()?;
                Some(Answer { call, name, value })
            })
            .collect();
        let content =
            |area: usize| areas.iter().find(|(index, _)| *index == area).map(|(_, content)| content);
        let buffers =
            self.buffers.iter().filter_map(|(name, area)| Some((name.clone(), content(*area)?.clone())));
        Some((answers, buffers.collect()))
    }
}

/// A list that is being made into a program.
#[derive(Default)]
struct Build {
    op: &'static str,
    program: Program,
    names: Vec<Option<(String, String)>>,
    buffers: Vec<(String, usize)>,
    labels: Vec<(String, usize)>,
    /// Jumps whose label is not known yet.
    open: Vec<(usize, String)>,
}

impl Build {
    fn wrong(&self, what: String) -> Error {
        Error::new(ErrorKind::InvalidArgument, self.op, what)
    }

    fn push(&mut self, step: Step, names: Option<(String, String)>) -> usize {
        self.program.steps.push(step);
        self.names.push(names);
        self.program.steps.len() - 1
    }

    fn area(&mut self, area: Area) -> usize {
        self.program.areas.push(area);
        self.program.areas.len() - 1
    }

    fn entries(&mut self, entries: &[Entry]) -> Result<()> {
        entries.iter().try_for_each(|entry| self.entry(entry))
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Call { call, args, compat, name } => self.call(call, args, *compat, name.as_deref()),
            Entry::Child { entries, flags, name } => self.child(entries, *flags, name.as_deref()),
            Entry::Count(name) => {
                self.push(Step::Count, Some(("count".into(), name.clone())));
                Ok(())
            }
            Entry::Label(name) => {
                if name == END || self.labels.iter().any(|(known, _)| known == name) {
                    return Err(self.wrong(format!("the label {name:?} is there twice")));
                }
                self.labels.push((name.clone(), self.program.steps.len()));
                Ok(())
            }
            Entry::Go { to, when } => {
                let always = (Word::Number(0), Test::Is, 0);
                let (value, test, with) = match when {
                    Some((what, test, with)) => (self.word(what)?, *test, *with),
                    None => always,
                };
                let step = self.push(Step::Jump { value, test, with, to: 0 }, None);
                self.open.push((step, to.clone()));
                Ok(())
            }
        }
    }

    fn call(&mut self, call: &str, args: &[Arg], compat: bool, name: Option<&str>) -> Result<()> {
        let Some(number) = number(call, compat) else {
            let kind = if compat { "32-bit programs" } else { "this machine" };
            let error = self.wrong(format!("there is no system call {call:?} of {kind}"));
            return Err(
                error.hint("names are those of syscalls(2), such as \"openat\"; a number is taken as it is")
            );
        };
        if args.len() > 6 {
            return Err(
                self.wrong(format!("{call}: a system call has at most six arguments, not {}", args.len()))
            );
        }
        let mut words = [Word::Number(0); 6];
        for (word, arg) in words.iter_mut().zip(args) {
            *word = self.word(arg)?;
        }
        let name = name.unwrap_or(call).to_owned();
        self.push(Step::Call { number, compat, args: words }, Some((call.to_owned(), name)));
        Ok(())
    }

    /// The child's steps follow those of the parent's fork, which the parent goes around.
    fn child(&mut self, entries: &[Entry], flags: i64, name: Option<&str>) -> Result<()> {
        let at = self.program.steps.len();
        let name = name.unwrap_or("clone").to_owned();
        self.push(Step::Fork { flags, child: at + 2 }, Some(("clone".into(), name)));
        let around = self.push(Step::Jump { value: Word::Number(0), test: Test::Is, with: 0, to: 0 }, None);
        self.entries(entries)?;
        let exit = number("exit_group", false).unwrap_or(231);
        self.push(Step::Call { number: exit, compat: false, args: [Word::Number(0); 6] }, None);
        let behind = self.program.steps.len();
        if let Step::Jump { to, .. } = &mut self.program.steps[around] {
            *to = behind;
        }
        Ok(())
    }

    fn result(&self, name: &str) -> Result<Word> {
        let is = |names: &Option<(String, String)>| names.as_ref().is_some_and(|(_, known)| known == name);
        let found = self.names.iter().rposition(is);
        found.map(Word::Result).ok_or_else(|| self.wrong(format!("no step before is called {name:?}")))
    }

    fn place(&self, name: &str, offset: usize, size: usize) -> Result<Place> {
        let Some((_, area)) = self.buffers.iter().find(|(known, _)| known == name) else {
            return Err(self.wrong(format!("no buffer before is called {name:?}")));
        };
        let len = self.program.areas[*area].content.len();
        if offset.checked_add(size).is_none_or(|end| end > len) {
            return Err(self.wrong(format!(
                "buffer {name:?} has {}: nothing is at offset {offset}",
                format_args!("{len} bytes")
            )));
        }
        Ok(Place { area: *area, offset })
    }

    fn word(&mut self, arg: &Arg) -> Result<Word> {
        let start = |area| Word::Address(Place { area, offset: 0 });
        Ok(match arg {
            Arg::Number(number) => Word::Number(*number),
            Arg::Result(name) => self.result(name)?,
            Arg::In { name, offset, long: true } => Word::Long(self.place(name, *offset, 8)?),
            Arg::In { name, offset, long: false } => Word::Int(self.place(name, *offset, 4)?),
            Arg::Address { name, offset } => Word::Address(self.place(name, *offset, 0)?),
            Arg::Text(text) => {
                let content = [&text[..], b"\0"].concat();
                start(self.area(Area { content, ..Area::default() }))
            }
            Arg::Buffer { name, content } => {
                let area =
                    self.area(Area { content: content.clone(), told: name.is_some(), ..Area::default() });
                if let Some(name) = name {
                    if self.buffers.iter().any(|(known, _)| known == name) {
                        return Err(self.wrong(format!("two buffers are called {name:?}")));
                    }
                    self.buffers.push((name.clone(), area));
                }
                start(area)
            }
            Arg::List(items) => {
                let mut area = Area { content: vec![0; items.len() * 8], ..Area::default() };
                for (index, item) in items.iter().enumerate() {
                    match self.word(item)? {
                        Word::Number(number) => {
                            area.content[index * 8..index * 8 + 8].copy_from_slice(&number.to_le_bytes());
                        }
                        Word::Address(place) => area.pointers.push((index * 8, place)),
                        _ => {
                            let what =
                                "a list in memory is made before the first step: no answer can be in it";
                            return Err(self.wrong(what.into()));
                        }
                    }
                }
                start(self.area(area))
            }
        })
    }

    fn finish(mut self) -> Result<Calls> {
        for (step, label) in std::mem::take(&mut self.open) {
            let known = self.labels.iter().find(|(known, _)| *known == label).map(|(_, at)| *at);
            let end = (label == END).then_some(self.program.steps.len());
            let Some(at) = known.or(end) else {
                return Err(self.wrong(format!("there is no label {label:?}")));
            };
            if let Step::Jump { to, .. } = &mut self.program.steps[step] {
                *to = at;
            }
        }
        Ok(Calls { op: self.op, program: Rc::new(self.program), names: self.names, buffers: self.buffers })
    }
}
