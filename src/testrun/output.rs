//! What a test or a file writes: its beginning and its end are kept.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// How much is kept of the beginning, and of the end.
const OUTPUT: usize = 64 * 1024;

/// The beginning and the end of what was written.
#[derive(Default)]
pub(super) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
    /// With this what is written begins anew; empty where it never does.
    mark: Vec<u8>,
    /// What may still become a mark.
    pending: Vec<u8>,
}

impl Output {
    /// That of which only what follows the last `mark` counts.
    pub(super) fn after(mark: &str) -> Self {
        Self { mark: mark.into(), ..Self::default() }
    }

    /// Takes what is there. `false` at the end.
    pub(super) fn fill(&mut self, from: &OwnedFd) -> bool {
        let mut chunk = [0; 16384];
        match rustix::io::read(from, &mut chunk) {
            Ok(0) => false,
            Ok(len) => {
                self.take(&chunk[..len]);
                true
            }
            Err(error) => error == rustix::io::Errno::INTR || error == rustix::io::Errno::AGAIN,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.mark.is_empty() {
            return self.keep(bytes);
        }
        self.pending.extend(bytes);
        let found = self.pending.windows(self.mark.len()).rposition(|part| part == self.mark);
        if let Some(at) = found {
            (self.head, self.tail, self.dropped) = Default::default();
            self.pending.drain(..at + self.mark.len());
        }
        // The end may be the beginning of a mark.
        let whole = self.pending.len().saturating_sub(self.mark.len() - 1);
        let whole: Vec<u8> = self.pending.drain(..whole).collect();
        self.keep(&whole);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (head, tail) = bytes.split_at(bytes.len().min(OUTPUT - self.head.len()));
        self.head.extend(head);
        self.tail.extend(tail);
        let over = self.tail.len().saturating_sub(OUTPUT);
        self.tail.drain(..over);
        self.dropped += over as u64;
    }

    /// As text.
    pub(super) fn text(&mut self) -> String {
        let pending = std::mem::take(&mut self.pending);
        self.keep(&pending);
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.dropped > 0 {
            text.push_str(&format!("\n… {} bytes left out …\n", self.dropped));
        }
        text.push_str(&String::from_utf8_lossy(self.tail.make_contiguous()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_last_mark_counts() {
        let mut output = Output::after("<mark>");
        for part in ["before<ma", "rk>first<mark", ">second", "<m", "ore"] {
            output.take(part.as_bytes());
        }
        assert_eq!(output.text(), "second<more");
        let mut plain = Output::default();
        plain.take(&[b'x'; OUTPUT * 3]);
        assert!(plain.text().contains(&format!("… {OUTPUT} bytes left out …")));
    }
}
