//! SHA-256 digests of streams: hashing while reading or writing, and the chain id of a stack of layers.

use crate::runtime::units::is_hex;
use sha2::{Digest as _, Sha256};
use std::io::{Read, Result, Write};

/// The digest of `data` as `sha256:` and 64 hexadecimal digits.
pub(super) fn of(data: &[u8]) -> String {
    show(&Sha256::digest(data))
}

fn show(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(7 + 64);
    text.push_str("sha256:");
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The hexadecimal digits of a valid SHA-256 digest.
pub(super) fn hex(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && is_hex(hex)).then_some(hex)
}

/// The chain id of a stack of layers, bottom first: what identifies the unpacked stack (image-spec, config.md).
pub(super) fn chain_id<S: AsRef<str>>(diff_ids: &[S]) -> Option<String> {
    let (first, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(first.as_ref().to_owned(), |chain, diff_id| {
        of(format!("{chain} {}", diff_id.as_ref()).as_bytes())
    }))
}

/// Hashes and counts what passes on its way to a writer or from a reader.
pub(super) struct Hashed<T> {
    inner: T,
    hash: Sha256,
    size: u64,
}

impl<T> Hashed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// What is inside, the digest and the number of bytes that passed.
    pub(super) fn finish(self) -> (T, String, u64) {
        (self.inner, show(&self.hash.finalize()), self.size)
    }

    fn pass(&mut self, data: &[u8]) {
        self.hash.update(data);
        // A usize always fits.
        self.size = self.size.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> Result<usize> {
        let len = self.inner.write(data)?;
        self.pass(&data[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = self.inner.read(buf)?;
        self.pass(&buf[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_are_those_of_sha256sum() {
        assert_eq!(of(b""), EMPTY);
        let mut hashed = Hashed::new(Vec::new());
        hashed.write_all(b"ab").unwrap();
        hashed.write_all(b"c").unwrap();
        let (data, digest, size) = hashed.finish();
        assert_eq!((data.as_slice(), size), (&b"abc"[..], 3));
        assert_eq!(digest, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(&digest).map(str::len), Some(64));
        assert_eq!(hex("sha256:../../x"), None);
    }

    #[test]
    fn one_layer_is_its_own_chain() {
        assert_eq!(chain_id::<&str>(&[]), None);
        assert_eq!(chain_id(&[EMPTY]).as_deref(), Some(EMPTY));
        assert_eq!(chain_id(&[EMPTY, EMPTY]), Some(of(format!("{EMPTY} {EMPTY}").as_bytes())));
    }
}
