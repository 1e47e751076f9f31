//! How a receiver answers, faults included.

use std::time::Duration;

/// An answer, or what comes in its place.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delay: Duration,
    pub(super) course: Course,
}

/// How the answering goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// As it should; the connection stays open.
    Whole,
    /// As it should, and then the connection is closed, unannounced.
    ThenClose,
    /// Before the request's body is read, of which nothing is remembered.
    Early,
    /// Nothing at all, and the connection stays open.
    Hang,
    /// The connection is closed in place of an answer.
    Close,
    /// The connection is reset in place of an answer.
    Reset,
    /// The connection is reset after half of the head.
    ResetInHead,
    /// The connection is reset after half of the body.
    ResetInBody,
    /// A body without end, as fast as it is read.
    Endless,
    /// A body without end, one byte at a time.
    Drip(Duration),
}

impl Answer {
    /// An empty 200.
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// An empty answer of `status`.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            delay: Duration::ZERO,
            course: Course::Whole,
        }
    }

    /// Reads the request and never answers.
    pub fn hang() -> Self {
        Self::ok().course(Course::Hang)
    }

    /// Reads the request, then closes the connection.
    pub fn close() -> Self {
        Self::ok().course(Course::Close)
    }

    /// Reads the request, then resets the connection.
    pub fn reset() -> Self {
        Self::ok().course(Course::Reset)
    }

    /// Resets the connection in the middle of the answer's head.
    pub fn reset_in_head() -> Self {
        Self::ok().course(Course::ResetInHead)
    }

    /// Resets the connection in the middle of the answer's body.
    #[must_use]
    pub fn reset_in_body(self) -> Self {
        self.body("the first half and the second").course(Course::ResetInBody)
    }

    /// Answers with a body that never ends.
    #[must_use]
    pub fn endless(self) -> Self {
        self.course(Course::Endless)
    }

    /// Answers with a body that never ends and comes one byte each `interval`.
    #[must_use]
    pub fn drip(self, interval: Duration) -> Self {
        self.course(Course::Drip(interval))
    }

    /// Closes the connection after the answer without having said so: the next request on it meets a closed door.
    #[must_use]
    pub fn then_close(self) -> Self {
        self.course(Course::ThenClose)
    }

    /// Answers as soon as the request's head has come, and forgets the body: a server that refuses its length.
    #[must_use]
    pub fn early(self) -> Self {
        self.header("connection", "close").course(Course::Early)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits before it answers, or before the fault.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn course(mut self, course: Course) -> Self {
        self.course = course;
        self
    }

    pub(super) fn is_early(&self) -> bool {
        self.course == Course::Early
    }

    /// The status, if a whole answer will be given.
    pub(super) fn promised_status(&self) -> Option<u16> {
        matches!(self.course, Course::Whole | Course::ThenClose | Course::Early)
            .then_some(self.status)
    }

    /// The head; without a length: the body is chunked.
    pub(super) fn head(&self, length: Option<usize>) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Told So\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match length {
            Some(_) if matches!(self.status, 204 | 304) => {}
            Some(length) => head.push_str(&format!("content-length: {length}\r\n")),
            None => head.push_str("transfer-encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}
