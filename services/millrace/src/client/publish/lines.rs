//! Reads lines, however long the file and however long a line: one that is too long is told, not held.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    /// How many bytes of the input it took, its end included.
    pub(super) taken: u64,
    /// Its bytes, without the end; `None`: it is longer than allowed.
    pub(super) text: Option<Vec<u8>>,
}

/// Lines of at most `max_bytes`.
pub(super) struct Lines<R> {
    reader: R,
    max_bytes: usize,
    number: u64,
    taken: u64,
    text: Vec<u8>,
    too_long: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Reads `reader`.
    pub(super) fn new(reader: R, max_bytes: usize) -> Self {
        Self { reader, max_bytes, number: 0, taken: 0, text: Vec::new(), too_long: false }
    }

    /// Reads the next line; `None` at the end. May be cancelled at any wait without losing a byte.
    ///
    /// # Errors
    /// What reading fails with.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok((self.taken > 0).then(|| self.line()));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.split_at(end.unwrap_or(chunk.len())).0;
            if self.text.len() + part.len() > self.max_bytes {
                self.too_long = true;
                self.text.clear();
            } else if !self.too_long {
                self.text.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.taken += u64::try_from(taken).unwrap_or(u64::MAX);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(self.line()));
            }
        }
    }

    fn line(&mut self) -> Line {
        self.number += 1;
        let mut text = std::mem::take(&mut self.text);
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        if self.number == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        let too_long = std::mem::take(&mut self.too_long);
        Line {
            number: self.number,
            taken: std::mem::take(&mut self.taken),
            text: (!too_long).then_some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    async fn read(input: &[u8]) -> Vec<(u64, Option<String>)> {
        // A small buffer, so that lines come in parts.
        let mut lines = Lines::new(BufReader::with_capacity(3, input), 8);
        let (mut read, mut taken) = (Vec::new(), 0);
        while let Some(line) = lines.next().await.expect("memory is readable") {
            taken += line.taken;
            let text = line.text.map(|text| String::from_utf8(text).expect("UTF-8"));
            read.push((line.number, text));
        }
        assert_eq!(taken, u64::try_from(input.len()).expect("short"));
        read
    }

    #[tokio::test]
    async fn reads_every_line_with_its_number() {
        let read = read(b"\xef\xbb\xbfone\r\n\ntwo\nthree").await;
        let expected = [(1, "one"), (2, ""), (3, "two"), (4, "three")];
        assert_eq!(read, expected.map(|(number, text)| (number, Some(text.to_owned()))));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_and_the_next_is_read() {
        let read = read(b"12345678\n1234567890123456789\nok\n").await;
        let expected = [(1, Some("12345678")), (2, None), (3, Some("ok"))];
        assert_eq!(read, expected.map(|(number, text)| (number, text.map(str::to_owned))));
    }

    #[tokio::test]
    async fn nothing_has_no_lines() {
        assert!(read(b"").await.is_empty());
    }
}
