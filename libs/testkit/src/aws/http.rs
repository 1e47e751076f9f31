//! HTTP/1.1 as far as the SDKs of AWS speak it: a request with a length, an answer with one.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::{Course, State, answer};

/// A request, whole.
pub(super) struct Request {
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A header by its name in lower case; empty: there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// Accepts connections for ever. They end with this future.
pub(super) async fn accept_all(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let state = Arc::clone(&state);
        // However it ends, the peer sees it, and the test with it.
        connections.spawn(async move { serve(stream, &state).await.ok() });
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        let (course, answer) = answer::to(&request, state);
        match course {
            Course::Hang => pending().await,
            Course::Close => return Ok(()),
            Course::Late(delay) => sleep(delay).await,
            _ => {}
        }
        let Answer { status, content_type, body } = answer;
        let length = body.len();
        let whole = format!(
            "HTTP/1.1 {status} Told\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(whole.as_bytes()).await?;
    }
    Ok(())
}

/// `None`: the peer closed between requests.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let head_length = loop {
        match buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None if stream.read_buf(buffer).await? == 0 => return Ok(None),
            None => {}
        }
    };
    let head: Vec<u8> = buffer.drain(..head_length).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = head.split("\r\n").skip(1).filter_map(header).collect();
    let mut request = Request { headers, body: Vec::new() };
    let length = request.header("content-length").parse().unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    request.body = buffer.drain(..length).collect();
    Ok(Some(request))
}
