//! How a server is found: it stands where it stands, or sentinels tell.

use std::fmt;

use ::redis::{Client, ConnectionInfo, ErrorKind, RedisError, RedisResult, cmd};

use super::{
    node::{self, Terms},
    target::{Address, client},
};

/// How a server is found, each time that it is connected to.
pub(crate) enum Find {
    /// It stands there. A name is looked up each time.
    At(Address, Client),
    /// The primary that sentinels elected.
    Elected {
        /// Who knows.
        sentinels: Vec<ConnectionInfo>,
        /// What they call it.
        name: String,
        /// How it is spoken to, wherever it is.
        primary: ConnectionInfo,
    },
}

impl Find {
    /// A server that stands at `info`.
    pub(crate) fn at(info: ConnectionInfo, terms: &Terms) -> RedisResult<Self> {
        Ok(Self::At(Address::of(&info), client(info, terms.tls_ca.as_deref())?))
    }

    /// What connects to it.
    pub(super) async fn client(&self, terms: &Terms) -> RedisResult<Client> {
        match self {
            Self::At(_, client) => Ok(client.clone()),
            Self::Elected { sentinels, name, primary } => {
                let address = elected(sentinels, name, terms).await?;
                client(address.with(primary), terms.tls_ca.as_deref())
            }
        }
    }
}

/// Asks one sentinel after the other; the first that knows is believed. That the server it names is the primary is
/// checked on connecting.
async fn elected(sentinels: &[ConnectionInfo], name: &str, terms: &Terms) -> RedisResult<Address> {
    let mut last = unknown(name);
    // Another one first each time: one that hangs must not hold up every attempt.
    let first = fastrand::usize(..sentinels.len().max(1));
    for sentinel in sentinels.iter().cycle().skip(first).take(sentinels.len()) {
        match ask(sentinel, name, terms).await {
            Ok(Some((host, port))) => return Ok(Address { host, port }),
            Ok(None) => last = unknown(name),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn ask(
    sentinel: &ConnectionInfo,
    name: &str,
    terms: &Terms,
) -> RedisResult<Option<(String, u16)>> {
    let client = client(sentinel.clone(), terms.tls_ca.as_deref())?;
    let mut connection = node::open(&client, node::CONNECT_TIMEOUT).await?;
    let ask = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).take();
    ask.query_async(&mut connection).await
}

fn unknown(name: &str) -> RedisError {
    let why = format!("no sentinel knows the primary `{name}`");
    RedisError::from((ErrorKind::Io, "no primary", why))
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address, _) => address.fmt(f),
            Self::Elected { name, .. } => write!(f, "primary `{name}`"),
        }
    }
}
