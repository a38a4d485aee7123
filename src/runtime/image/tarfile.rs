//! The tar format of layers: POSIX pax archives, member by member, with bounded memory on both sides.
//!
//! Not here: walking folders and making files. Names are bytes and are passed on unchecked.

use std::io::{Error, ErrorKind, Read, Result, Write};
use tar::{EntryType, Header};

/// The most bytes that one extended header may have: names, links, attributes.
const EXTENSION_MAX: u64 = 1 << 20;
const BLOCK: usize = 512;
const XATTR: &[u8] = b"SCHILY.xattr.";

/// One member of an archive, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryType,
    pub(super) perm: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Where a link leads.
    pub(super) link: Vec<u8>,
    /// What a device node stands for.
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Member {
    /// A member without content, owner and attributes.
    pub(super) fn new(path: Vec<u8>, kind: EntryType) -> Self {
        Self {
            path,
            kind,
            perm: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }

    fn has_data(&self) -> bool {
        matches!(self.kind, EntryType::Regular | EntryType::Continuous)
    }
}

fn bad(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, what.into())
}

/// The bytes between the end of `size` bytes and the next block.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(512) - size
}

/// Writes an archive.
pub(super) struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes the headers of a member. Its `size` bytes of data, if it has any, go to [`Writer::data`] next.
    pub(super) fn member(&mut self, member: &Member) -> Result<()> {
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        header.set_entry_type(member.kind);
        header.set_mode(member.perm);
        field(&mut header.as_mut_bytes()[..100], b"path", &member.path, &mut records);
        field(&mut header.as_mut_bytes()[157..257], b"linkpath", &member.link, &mut records);
        let number = |key: &[u8], value: u64, max: u64, records: &mut Vec<u8>| {
            if value > max {
                record(records, key, value.to_string().as_bytes());
            }
            value.min(max)
        };
        header.set_uid(number(b"uid", member.uid, 0o777_7777, &mut records));
        header.set_gid(number(b"gid", member.gid, 0o777_7777, &mut records));
        header.set_size(number(b"size", member.size, 0o777_7777_7777, &mut records));
        match u64::try_from(member.mtime) {
            Ok(mtime) => header.set_mtime(number(b"mtime", mtime, 0o777_7777_7777, &mut records)),
            Err(_) => {
                record(&mut records, b"mtime", member.mtime.to_string().as_bytes());
                header.set_mtime(0);
            }
        }
        if matches!(member.kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(member.device.0)?;
            header.set_device_minor(member.device.1)?;
        }
        for (name, value) in &member.xattrs {
            record(&mut records, &[XATTR, name].concat(), value);
        }
        if !records.is_empty() {
            self.extension(&records)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn extension(&mut self, records: &[u8]) -> Result<()> {
        let size = u64::try_from(records.len()).map_err(|_| bad("too many attributes"))?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.as_mut_bytes()[..12].copy_from_slice(b"PaxHeaders.0");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(records)?;
        self.pad(size)
    }

    /// Writes a part of the data of the last member.
    pub(super) fn data(&mut self, data: &[u8]) -> Result<()> {
        self.out.write_all(data)
    }

    /// Fills the last block of data of a member of `size` bytes.
    pub(super) fn pad(&mut self, size: u64) -> Result<()> {
        let len = usize::try_from(padding(size)).unwrap_or_default();
        self.out.write_all(&[0; BLOCK][..len])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }
}

/// Puts a name into its header field, or into an extended record when it is too long for that.
fn field(slot: &mut [u8], key: &[u8], value: &[u8], records: &mut Vec<u8>) {
    if value.len() > slot.len() {
        record(records, key, value);
    }
    let len = value.len().min(slot.len());
    slot[..len].copy_from_slice(&value[..len]);
}

/// Appends `length key=value\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    records.extend_from_slice(len.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Reads an archive. The data of the last member is read through [`Read`]; what is left of it is skipped.
pub(super) struct Reader<R> {
    input: R,
    left: u64,
    pad: u64,
}

/// What extended headers say about the member that follows.
#[derive(Default)]
struct Extra {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, left: 0, pad: 0 }
    }

    /// The next member, or nothing at the end.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut extra = Extra::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::XHeader => extra.read_pax(&self.extension(&header)?)?,
                // Applies to all that follow; nothing in it concerns files. Its size is bounded all the same.
                EntryType::XGlobalHeader => drop(self.extension(&header)?),
                EntryType::GNULongName => extra.path = Some(trimmed(self.extension(&header)?)),
                EntryType::GNULongLink => extra.link = Some(trimmed(self.extension(&header)?)),
                _ => return self.member(&header, extra).map(Some),
            }
        }
    }

    fn skip(&mut self) -> Result<()> {
        let mut rest = self.left.checked_add(self.pad).ok_or_else(|| bad("a size is out of range"))?;
        (self.left, self.pad) = (0, 0);
        let mut buf = [0; 8 * BLOCK];
        while rest > 0 {
            let len = usize::try_from(rest).unwrap_or(buf.len()).min(buf.len());
            self.input.read_exact(&mut buf[..len]).map_err(truncated)?;
            rest -= u64::try_from(len).unwrap_or(rest);
        }
        Ok(())
    }

    /// The next header; nothing at the end mark, or where the input ends between two members.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut have = 0;
        while have < BLOCK {
            match self.input.read(&mut block[have..])? {
                0 if have == 0 => return Ok(None),
                0 => return Err(truncated(ErrorKind::UnexpectedEof.into())),
                len => have += len,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let plain: u32 = block
            .iter()
            .enumerate()
            .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) })
            .sum();
        if header.cksum().ok() != Some(plain) {
            return Err(bad("not a tar archive: a header has a wrong checksum"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.entry_size()?;
        if size > EXTENSION_MAX {
            return Err(bad(format!("an extended header has {size} bytes; {EXTENSION_MAX} are allowed")));
        }
        let mut data = Vec::new();
        (&mut self.input).take(size).read_to_end(&mut data)?;
        if u64::try_from(data.len()).ok() != Some(size) {
            return Err(truncated(ErrorKind::UnexpectedEof.into()));
        }
        self.pad = padding(size);
        Ok(data)
    }

    fn member(&mut self, header: &Header, extra: Extra) -> Result<Member> {
        let path = extra.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let old_folder = header.entry_type() == EntryType::Regular && path.ends_with(b"/");
        let kind = if old_folder { EntryType::Directory } else { header.entry_type() };
        let mut member = Member::new(path, kind);
        member.perm = header.mode()? & 0o7777;
        member.uid = extra.uid.map_or_else(|| header.uid(), Ok)?;
        member.gid = extra.gid.map_or_else(|| header.gid(), Ok)?;
        member.mtime = match extra.mtime {
            Some(mtime) => mtime,
            None => i64::try_from(header.mtime()?).map_err(|_| bad("a time is out of range"))?,
        };
        member.link = extra.link.unwrap_or_else(|| {
            header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
        });
        member.xattrs = extra.xattrs;
        if matches!(kind, EntryType::Char | EntryType::Block) {
            member.device =
                (header.device_major()?.unwrap_or_default(), header.device_minor()?.unwrap_or_default());
        }
        // Members of other types have no data, whatever their size field says (as Go's archive/tar reads them).
        if member.has_data() {
            member.size = extra.size.map_or_else(|| header.entry_size(), Ok)?;
            self.left = member.size;
            self.pad =
                member.size.checked_next_multiple_of(512).ok_or_else(|| bad("a size is out of range"))?
                    - member.size;
        }
        Ok(member)
    }

    /// The input behind the archive.
    pub(super) fn into_inner(self) -> R {
        self.input
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(buf.len()).min(buf.len());
        if want == 0 {
            return Ok(0);
        }
        let len = self.input.read(&mut buf[..want])?;
        if len == 0 {
            return Err(truncated(ErrorKind::UnexpectedEof.into()));
        }
        self.left -= u64::try_from(len).unwrap_or(self.left);
        Ok(len)
    }
}

fn truncated(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::UnexpectedEof, "the archive ends in the middle of a file")
        }
        _ => error,
    }
}

fn trimmed(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    name
}

impl Extra {
    fn read_pax(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let broken = || bad("an extended header is malformed");
            let space = data.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let len = parse(&data[..space]).and_then(|len| usize::try_from(len).ok()).ok_or_else(broken)?;
            let text =
                data.get(space + 1..len).and_then(|text| text.strip_suffix(b"\n")).ok_or_else(broken)?;
            let equals = text.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            self.set(&text[..equals], &text[equals + 1..])?;
            data = &data[len..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let number = || parse(value).ok_or_else(|| bad("a number in an extended header is malformed"));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                let (sign, digits) = match whole.strip_prefix(b"-") {
                    Some(digits) => (-1, digits),
                    None => (1, whole),
                };
                let seconds = parse(digits).and_then(|seconds| i64::try_from(seconds).ok());
                let seconds = seconds.ok_or_else(|| bad("a time in an extended header is malformed"))?;
                self.mtime = Some(sign * seconds);
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(bad("sparse members are not supported in layers"));
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn parse(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(members: &[(Member, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (member, data) in members {
            writer.member(member).unwrap();
            writer.data(data).unwrap();
            writer.pad(member.size).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut file = Member::new(b"a/file".to_vec(), EntryType::Regular);
        file.size = 3;
        file.perm = 0o4755;
        file.mtime = -5;
        file.uid = 4_000_000_000;
        file.xattrs = vec![(b"security.capability".to_vec(), vec![0, 1, b'\n', b'=', 255])];
        let mut link = Member::new([b"deep/".repeat(60), b"link".to_vec()].concat(), EntryType::Symlink);
        link.link = vec![b'x'; 3000];
        let mut node = Member::new(b"dev/null".to_vec(), EntryType::Char);
        node.device = (1, 3);
        let mut raw = Member::new(b"\xff\xfe".to_vec(), EntryType::Directory);
        raw.path.push(b'/');
        raw.mtime = 1_700_000_000;
        let members = [(file, &b"abc"[..]), (link, b""), (node, b""), (raw, b"")];
        let archive = round(&members);
        let mut reader = Reader::new(&archive[..]);
        for (member, data) in &members {
            assert_eq!(reader.next().unwrap().as_ref(), Some(member));
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            assert_eq!(&found, data);
        }
        assert_eq!(reader.next().unwrap(), None);
        // A second reader skips data that nobody reads, and the tar crate agrees with both.
        let mut reader = Reader::new(&archive[..]);
        assert_eq!(std::iter::from_fn(|| reader.next().unwrap()).count(), 4);
        let mut other = tar::Archive::new(&archive[..]);
        let paths: Vec<Vec<u8>> =
            other.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
        assert_eq!(paths, members.iter().map(|(member, _)| member.path.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn damage_is_noticed() {
        let mut file = Member::new(b"f".to_vec(), EntryType::Regular);
        file.size = 1 << 30;
        let archive = round(&[(file.clone(), b"short")]);
        let mut reader = Reader::new(&archive[..]);
        reader.next().unwrap();
        assert!(reader.next().unwrap_err().to_string().contains("in the middle"));
        assert!(Reader::new(&archive[..100]).next().is_err());
        assert!(Reader::new(&b"x".repeat(1024)[..]).next().unwrap_err().to_string().contains("checksum"));
        assert_eq!(Reader::new(&b""[..]).next().unwrap(), None);
    }

    #[test]
    fn extended_headers_are_bounded_and_checked() {
        let archive = |kind: EntryType, size: u64, data: &[u8]| {
            let mut header = Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_mode(0);
            header.set_cksum();
            [header.as_bytes(), data].concat()
        };
        let huge = archive(EntryType::GNULongName, 4 << 30, b"");
        assert!(Reader::new(&huge[..]).next().unwrap_err().to_string().contains("allowed"));
        for text in [
            &b"9999 path=x\n"[..],
            b"x path=x\n",
            b"9 pathx\n\n\n",
            b"11 size=-1\n",
            b"27 GNU.sparse.major=1234567\n",
        ] {
            let mut data = text.to_vec();
            data.resize(512, 0);
            let len = u64::try_from(text.len()).unwrap();
            let evil = archive(EntryType::XHeader, len, &data);
            assert!(Reader::new(&evil[..]).next().is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
