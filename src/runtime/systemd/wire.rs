//! Messages of D-Bus as bytes: those of its types that the manager's calls need, in the order of bytes of this machine
//! (D-Bus specification, "Marshaling" and "Message Format").

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a call.
    Return,
    /// The refusal of a call.
    Error,
    /// News, asked for or not.
    Signal,
    /// What is of no use here.
    Other,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name on the bus.
    pub destination: &'static str,
    /// The object.
    pub path: &'static str,
    /// The interface.
    pub interface: &'static str,
}

/// A value, for a property of a unit.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `b`
    Bool(bool),
    /// `i`
    Int(i32),
    /// `t`
    Big(u64),
    /// `s`
    Text(&'a str),
    /// `au`
    Numbers(&'a [u32]),
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The number of the call that it answers; 0 for a signal.
    pub reply_to: u32,
    /// The name of the signal.
    pub member: String,
    /// The name of the error.
    pub error: String,
    /// The types of the body.
    pub signature: String,
    body: Vec<u8>,
}

/// The fixed part of a header: enough to know how long a message is.
pub const HEAD: usize = 16;
/// More than any answer to these calls: what is longer is not read.
const MOST: usize = 1 << 20;

const LITTLE: u8 = b'l';
const CALL: u8 = 1;
const VERSION: u8 = 1;

/// Header fields, by their code.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Writes values one after the other, each aligned as its type wants it.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn len(&mut self, len: usize) {
        // Far below 4 GiB: the longest is a list of properties.
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Writes a string or the path of an object.
    pub fn text(&mut self, text: &str) {
        self.len(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// Writes an array whose elements are aligned to `to`.
    fn array(&mut self, to: usize, fill: impl FnOnce(&mut Self)) {
        self.u32(0);
        let at = self.0.len();
        self.align(to);
        let start = self.0.len();
        fill(self);
        let len = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[at - 4..at].copy_from_slice(&len.to_le_bytes());
    }

    fn variant(&mut self, value: Value<'_>) {
        match value {
            Value::Bool(value) => {
                self.signature("b");
                self.u32(value.into());
            }
            Value::Int(value) => {
                self.signature("i");
                self.u32(value.cast_unsigned());
            }
            Value::Big(value) => {
                self.signature("t");
                self.align(8);
                self.0.extend(value.to_le_bytes());
            }
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |array| numbers.iter().for_each(|number| array.u32(*number)));
            }
        }
    }

    /// Writes properties, `a(sv)`.
    pub fn properties(&mut self, properties: &[(&str, Value<'_>)]) {
        self.array(8, |array| {
            for (name, value) in properties {
                array.align(8);
                array.text(name);
                array.variant(*value);
            }
        });
    }

    /// Writes an empty array of structures.
    pub fn no_structures(&mut self) {
        self.array(8, |_| {});
    }

    fn field(&mut self, code: u8, signature: &str, text: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(signature);
        if signature == "g" { self.signature(text) } else { self.text(text) }
    }
}

/// A call as bytes.
#[must_use]
pub fn call(serial: u32, to: Target, member: &str, signature: &str, body: &Writer) -> Vec<u8> {
    message(CALL, serial, body, |fields| {
        fields.field(PATH, "o", to.path);
        fields.field(INTERFACE, "s", to.interface);
        fields.field(MEMBER, "s", member);
        fields.field(DESTINATION, "s", to.destination);
        if !signature.is_empty() {
            fields.field(SIGNATURE, "g", signature);
        }
    })
}

fn message(kind: u8, serial: u32, body: &Writer, fields: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut message = Writer(vec![LITTLE, kind, 0, VERSION]);
    message.len(body.0.len());
    message.u32(serial);
    message.array(8, fields);
    message.align(8);
    message.0.extend(&body.0);
    message.0
}

/// How long the message is that starts with `head`; `None` when it is none that can be read here.
#[must_use]
pub fn length(head: &[u8; HEAD]) -> Option<usize> {
    if head[0] != LITTLE || head[3] != VERSION {
        return None;
    }
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let fields = HEAD.checked_add(number(12)?)?.checked_next_multiple_of(8)?;
    fields.checked_add(number(4)?).filter(|len| *len <= MOST)
}

/// Reads a message of the [`length`] that its head told; `None` when it is malformed.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let kind = match bytes.get(1)? {
        2 => Kind::Return,
        3 => Kind::Error,
        4 => Kind::Signal,
        _ => Kind::Other,
    };
    let mut message = Message {
        kind,
        reply_to: 0,
        member: String::new(),
        error: String::new(),
        signature: String::new(),
        body: Vec::new(),
    };
    let mut reader = Reader { bytes, at: 12 };
    let fields = usize::try_from(reader.number()?).ok()?;
    let end = reader.at.checked_add(fields)?;
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (REPLY_SERIAL, "u") => message.reply_to = reader.number()?,
            (code, "s" | "o") => {
                let text = reader.text()?;
                match code {
                    MEMBER => text.clone_into(&mut message.member),
                    ERROR_NAME => text.clone_into(&mut message.error),
                    _ => {}
                }
            }
            (SIGNATURE, "g") => reader.signature()?.clone_into(&mut message.signature),
            (_, "u") => drop(reader.number()?),
            _ => return None,
        }
    }
    message.body = bytes.get(end.checked_next_multiple_of(8)?..)?.to_vec();
    Some(message)
}

impl Message {
    /// Reads the body from its start.
    #[must_use]
    pub fn read(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// Reads values one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// The next value, a number.
    pub fn number(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// The next value, a string or the path of an object.
    pub fn text(&mut self) -> Option<&'a str> {
        let len = usize::try_from(self.number()?).ok()?;
        self.ended(len)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let len = self.byte()?;
        self.ended(len.into())
    }

    /// Text of this length, with the NUL byte after it.
    fn ended(&mut self, len: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(len)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message as a manager sends it: of kind 2 to 4, about a call, with a member or the name of an error.
    pub(in crate::runtime::systemd) fn sent(
        kind: u8,
        reply_to: u32,
        name: &str,
        signature: &str,
        texts: &[&str],
    ) -> Vec<u8> {
        let mut body = Writer::default();
        if signature.starts_with('u') {
            body.u32(7);
        }
        texts.iter().for_each(|text| body.text(text));
        message(kind, 9, &body, |fields| {
            fields.align(8);
            fields.0.push(REPLY_SERIAL);
            fields.signature("u");
            fields.u32(reply_to);
            fields.field(if kind == 3 { ERROR_NAME } else { MEMBER }, "s", name);
            fields.field(SIGNATURE, "g", signature);
        })
    }

    /// The call that every client of a bus begins with, byte by byte.
    #[test]
    fn a_call_is_written_as_the_specification_says() {
        let bus = Target { destination: "org.a", path: "/org/a", interface: "org.a.B" };
        let mut body = Writer::default();
        body.text("hey");
        let bytes = call(1, bus, "Hi", "s", &body);
        let wanted: &[&[u8]] = &[
            b"l\x01\0\x01\x08\0\0\0\x01\0\0\0\x47\0\0\0",
            b"\x01\x01o\0\x06\0\0\0/org/a\0\0",
            b"\x02\x01s\0\x07\0\0\0org.a.B\0",
            b"\x03\x01s\0\x02\0\0\0Hi\0\0\0\0\0\0",
            b"\x06\x01s\0\x05\0\0\0org.a\0\0\0",
            b"\x08\x01g\0\x01s\0\0",
            b"\x03\0\0\0hey\0",
        ];
        assert_eq!(bytes, wanted.concat());
    }

    #[test]
    fn properties_are_aligned_to_eight() {
        let mut body = Writer::default();
        body.text("x");
        body.properties(&[("A", Value::Bool(true)), ("PIDs", Value::Numbers(&[2, 3])), ("T", Value::Big(5))]);
        body.no_structures();
        let wanted: &[&[u8]] = &[
            b"\x01\0\0\0x\0\0\0\x48\0\0\0\0\0\0\0",
            b"\x01\0\0\0A\0\x01b\0\0\0\0\x01\0\0\0",
            b"\x04\0\0\0PIDs\0\x02au\0\0\0\0\x08\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0",
            b"\x01\0\0\0T\0\x01t\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0",
            b"\0\0\0\0\0\0\0\0",
        ];
        assert_eq!(body.0, wanted.concat());
    }

    #[test]
    fn an_answer_is_read() {
        let bytes = sent(4, 0, "JobRemoved", "uoss", &["/job/7", "a.scope", "done"]);
        assert_eq!(length(bytes.first_chunk().unwrap()), Some(bytes.len()));
        let message = parse(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (Kind::Signal, "JobRemoved"));
        let mut body = message.read();
        assert_eq!((body.number(), body.text()), (Some(7), Some("/job/7")));
        assert_eq!((body.text(), body.text(), body.text()), (Some("a.scope"), Some("done"), None));
    }

    #[test]
    fn garbage_is_no_message_and_no_panic() {
        let bytes = sent(3, 3, "org.a.Error", "s", &["no"]);
        for len in 0..bytes.len() {
            let _ = parse(&bytes[..len]);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let _ = length(bytes.first_chunk().unwrap());
                let _ = parse(&bytes).map(|message| message.read().text().map(str::len));
            }
        }
        let mut endless = *bytes.first_chunk::<HEAD>().unwrap();
        endless[4..8].fill(0xff);
        assert_eq!(length(&endless), None);
    }
}
