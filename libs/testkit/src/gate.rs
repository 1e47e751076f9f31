//! A gate on the way between processes: shut, nothing passes, and nobody is told.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Forwards connections to another address; ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
    _running: JoinSet<()>,
}

impl Gate {
    /// An open gate to `target`, on a port of its own.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn to(target: SocketAddr) -> Self {
        Self::among(vec![target]).await
    }

    /// An open gate to several that do the same, on a port of its own: each connection goes to the next of them that takes it.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn among(targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("some port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (open, state) = watch::channel(true);
        let mut running = JoinSet::new();
        running.spawn(accept_all(listener, targets.into(), state));
        Self { address, open, _running: running }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nothing pass from now on: what is sent waits, connections stay, new ones are silent.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Lets pass what waited, and everything after.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn accept_all(
    listener: TcpListener,
    targets: Arc<[SocketAddr]>,
    open: watch::Receiver<bool>,
) {
    let (mut connections, mut first) = (JoinSet::new(), 0);
    while let Ok((near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (open, targets) = (open.clone(), Arc::clone(&targets));
        first += 1;
        // However it ends, both sides see it, which is all that a way can tell them.
        connections.spawn(async move { connect(near, &targets, first, open).await.ok() });
    }
}

async fn connect(
    near: TcpStream,
    targets: &[SocketAddr],
    first: usize,
    mut open: watch::Receiver<bool>,
) -> io::Result<()> {
    passes(&mut open).await;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = next(targets, first).await?.into_split();
    // Either direction that ends ends both: half-open connections are nothing that services keep.
    tokio::select! {
        ended = forward(near_in, far_out, open.clone()) => ended,
        ended = forward(far_in, near_out, open) => ended,
    }
}

/// A connection to one of `targets`, the one numbered `first` being asked first.
async fn next(targets: &[SocketAddr], first: usize) -> io::Result<TcpStream> {
    let mut refused = io::ErrorKind::NotFound.into();
    for number in first..first + targets.len() {
        match TcpStream::connect(targets[number % targets.len()]).await {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        passes(&mut open).await;
        to.write_all(buffer.get(..length).unwrap_or_default()).await?;
    }
}

/// Waits until the gate is open. One that is gone lets nothing pass, and takes its connections along.
async fn passes(open: &mut watch::Receiver<bool>) {
    if open.wait_for(|open| *open).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_while_it_is_shut_comes_when_it_opens() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let gate = Gate::to(listener.local_addr().expect("bound")).await;
        let mut near = TcpStream::connect(gate.address()).await.expect("it listens");
        let (mut far, _) = listener.accept().await.expect("it connects");
        gate.shut();
        near.write_all(b"now").await.expect("sent");
        let mut read = [0; 3];
        let early = timeout(Duration::from_millis(100), far.read_exact(&mut read)).await;
        assert!(early.is_err(), "nothing passes");
        gate.open();
        far.read_exact(&mut read).await.expect("it passes");
        assert_eq!(&read, b"now");
    }
}
