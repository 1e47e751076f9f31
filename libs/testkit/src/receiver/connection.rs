//! HTTP/1.1 by hand, because the faults are the point: accepts, reads requests, answers them or breaks off.

use std::{
    future::pending,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::{Answer, Request, Shared, answer::Course};

/// How a connection ends.
enum End {
    Close,
    Reset,
}

/// Accepts connections for ever. They end with this future.
pub(super) async fn accept_all(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors or the like: the peer waits meanwhile, and the test with it.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let number = shared.connected();
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, tls.clone(), Arc::clone(&shared), number));
    }
}

async fn serve(
    mut stream: TcpStream,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    number: usize,
) {
    // Whatever goes wrong, the peer ended the connection, which is for the test to notice.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match tls {
        None => {
            let end = Connection::new(&mut stream, "http", number).run(&shared).await;
            if matches!(end, Ok(End::Reset)) {
                reset(&stream);
            }
        }
        Some(acceptor) => {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let end = Connection::new(&mut stream, "https", number).run(&shared).await;
            if matches!(end, Ok(End::Reset)) {
                reset(stream.get_ref().0);
            }
        }
    }
}

/// Makes the close that follows a reset.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().expect("an open socket takes the option");
}

struct Connection<'a, S> {
    stream: &'a mut S,
    scheme: &'static str,
    number: usize,
    /// What was read and not used yet.
    buffer: Vec<u8>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    fn new(stream: &'a mut S, scheme: &'static str, number: usize) -> Self {
        Self { stream, scheme, number, buffer: Vec::new() }
    }

    async fn run(mut self, shared: &Shared) -> io::Result<End> {
        while let Some(request) = self.read_request(shared).await? {
            let answer = shared.take(self.scheme, request);
            sleep(answer.delay).await;
            if let Some(end) = self.give(&answer).await? {
                return Ok(end);
            }
        }
        Ok(End::Close)
    }

    /// `None`: the peer closed between requests.
    async fn read_request(&mut self, shared: &Shared) -> io::Result<Option<Request>> {
        let head_length = loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None if self.read_more().await? == 0 => return Ok(None),
                None => {}
            }
        };
        let head: Vec<u8> = self.buffer.drain(..head_length).collect();
        let mut request = parse_head(&head)?;
        let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
        let length = length.map_err(|_| malformed("Content-Length"))?;
        let length = if shared.answers_early(request.path()) { 0 } else { length };
        while self.buffer.len() < length {
            if self.read_more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        request.body = self.buffer.drain(..length).collect();
        request.ids = request.read_ids();
        request.arrived = Instant::now();
        request.connection = self.number;
        Ok(Some(request))
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    /// `None`: the connection goes on.
    async fn give(&mut self, answer: &Answer) -> io::Result<Option<End>> {
        let mut whole = answer.head(Some(answer.body.len()));
        let head_length = whole.len();
        if !matches!(answer.status, 204 | 304) {
            whole.extend_from_slice(&answer.body);
        }
        match answer.course {
            Course::Whole => self.write(&whole).await.map(|()| None),
            Course::ThenClose => self.write(&whole).await.map(|()| Some(End::Close)),
            Course::Early => {
                self.write(&whole).await?;
                // As servers do that close while the peer still sends: otherwise the answer would be lost with the rest.
                while self.read_more().await? > 0 {
                    self.buffer.clear();
                }
                Ok(Some(End::Close))
            }
            Course::Hang => pending().await,
            Course::Close => Ok(Some(End::Close)),
            Course::Reset => Ok(Some(End::Reset)),
            Course::ResetInHead => self.break_off(&whole, head_length / 2).await.map(Some),
            Course::ResetInBody => {
                let half = head_length + answer.body.len() / 2;
                self.break_off(&whole, half).await.map(Some)
            }
            Course::Endless => {
                self.write(&answer.head(None)).await?;
                loop {
                    self.write(format!("1000\r\n{}\r\n", "~".repeat(0x1000)).as_bytes()).await?;
                }
            }
            Course::Drip(interval) => {
                self.write(&answer.head(None)).await?;
                loop {
                    self.write(b"1\r\n~\r\n").await?;
                    sleep(interval).await;
                }
            }
        }
    }

    /// Sends the first `length` bytes of `whole`. The reset that follows discards what the peer has not taken, and no
    /// socket tells whether it has, so it is given a moment.
    async fn break_off(&mut self, whole: &[u8], length: usize) -> io::Result<End> {
        self.write(whole.get(..length).unwrap_or(whole)).await?;
        sleep(Duration::from_millis(50)).await;
        Ok(End::Reset)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}

fn parse_head(head: &[u8]) -> io::Result<Request> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("head"))?;
    let mut lines = head.trim_end().split("\r\n");
    let mut start = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (start.next(), start.next()) else {
        return Err(malformed("request line"));
    };
    let header = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: lines.map(header).collect::<Option<_>>().ok_or_else(|| malformed("header"))?,
        body: Vec::new(),
        arrived: Instant::now(),
        connection: 0,
        ids: Vec::new(),
        status: None,
    })
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the {what} is malformed"))
}
