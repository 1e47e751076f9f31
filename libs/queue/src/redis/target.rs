//! Where the queue is: what `queue.url` says.
//!
//! | URL | what it names |
//! |---|---|
//! | `redis://[user[:password]@]host[:port][/database]` | one server |
//! | `redis+sentinel://[user[:password]@]host[:port],…/name[/database]` | sentinels, and the primary that they elect |
//! | `redis+cluster://[user[:password]@]host[:port],…` | some nodes of a cluster; the others are found |
//!
//! `rediss` in place of `redis` is the same over TLS. User and password are those of the servers that hold data.

use std::fmt;

use ::redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
    TlsCertificates,
};

/// Where sentinels listen.
const SENTINEL_PORT: u16 = 26_379;

/// What the URL names.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// One server.
    One(ConnectionInfo),
    /// Sentinels, and what they call the primary.
    Sentinels { sentinels: Vec<ConnectionInfo>, name: String, primary: ConnectionInfo },
    /// Some nodes of a cluster.
    Cluster(Vec<ConnectionInfo>),
}

impl Target {
    /// Reads a URL.
    pub(crate) fn parse(url: &str, sentinel_password: &str) -> RedisResult<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let (plain, mode) = scheme.split_once('+').unwrap_or((scheme, ""));
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (format!("{user}@"), rest),
            None => (String::new(), rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',').filter(|host| !host.is_empty());
        match mode {
            "" => Ok(Self::One(url.into_connection_info()?)),
            "cluster" => {
                let seed = |host| format!("{plain}://{user}{host}").into_connection_info();
                some(hosts.map(seed).collect()).map(Self::Cluster)
            }
            "sentinel" => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                if name.is_empty() {
                    return Err(wrong("it does not tell what the sentinels call the primary"));
                }
                let sentinel = |host| sentinel(plain, host, sentinel_password);
                Ok(Self::Sentinels {
                    sentinels: some(hosts.map(sentinel).collect())?,
                    name: name.to_owned(),
                    primary: format!("{plain}://{user}127.0.0.1/{database}")
                        .into_connection_info()?,
                })
            }
            _ => Err(wrong("its scheme is none of redis, redis+sentinel, redis+cluster")),
        }
    }
}

fn sentinel(scheme: &str, host: &str, password: &str) -> RedisResult<ConnectionInfo> {
    let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
    let info = format!("{scheme}://{host}{port}").into_connection_info()?;
    if password.is_empty() {
        return Ok(info);
    }
    let settings = info.redis_settings().clone().set_password(password);
    Ok(info.set_redis_settings(settings))
}

fn some(infos: RedisResult<Vec<ConnectionInfo>>) -> RedisResult<Vec<ConnectionInfo>> {
    infos.and_then(|infos| if infos.is_empty() { Err(wrong("no host")) } else { Ok(infos) })
}

fn wrong(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "wrong URL of Redis", why.to_owned()))
}

/// Where a server is: what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `host:port`, as Redis writes it: without brackets around an IPv6 address, without a host where it is
    /// the one that was `asked`.
    pub(crate) fn parse(text: &str, asked: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" { &asked.host } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// Where a connection leads.
    pub(crate) fn of(info: &ConnectionInfo) -> Self {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Self { host: host.clone(), port: *port }
            }
            other => Self { host: other.to_string(), port: 0 },
        }
    }

    /// The same as `info`, but there.
    pub(crate) fn with(&self, info: &ConnectionInfo) -> ConnectionInfo {
        let (host, port) = (self.host.clone(), self.port);
        let there = match info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        info.clone().set_addr(there)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What connects to `info`, trusting `ca` (PEM) where it is given, else what the system trusts.
pub(crate) fn client(info: ConnectionInfo, ca: Option<&[u8]>) -> RedisResult<Client> {
    match (info.addr(), ca) {
        (ConnectionAddr::TcpTls { .. }, Some(ca)) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
            Client::build_with_tls(info, certificates)
        }
        _ => Client::open(info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(infos: &[ConnectionInfo]) -> Vec<String> {
        infos.iter().map(|info| Address::of(info).to_string()).collect()
    }

    #[test]
    fn a_url_names_one_server_a_cluster_or_sentinels() {
        let parse = |url| Target::parse(url, "").expect(url);
        let Target::One(one) = parse("redis://u:p@a:1/3") else { panic!("one") };
        assert_eq!((Address::of(&one).to_string(), one.redis_settings().db()), ("a:1".into(), 3));
        let Target::Cluster(seeds) = parse("rediss+cluster://u:p%2Cq@a:1,b,[::1]:2") else {
            panic!("a cluster")
        };
        assert_eq!(addresses(&seeds), ["a:1", "b:6379", "::1:2"]);
        assert!(seeds.iter().all(|seed| seed.redis_settings().password() == Some("p,q")));
        assert!(matches!(seeds[0].addr(), ConnectionAddr::TcpTls { .. }));
        let Target::Sentinels { sentinels, name, primary } =
            parse("redis+sentinel://:p@a,b:5/main/2")
        else {
            panic!("sentinels")
        };
        assert_eq!(
            (addresses(&sentinels), name.as_str()),
            (vec!["a:26379".into(), "b:5".into()], "main")
        );
        assert_eq!(sentinels[0].redis_settings().password(), None);
        assert_eq!(primary.redis_settings().password(), Some("p"));
        assert_eq!(primary.redis_settings().db(), 2);
    }

    #[test]
    fn a_url_that_names_nothing_is_refused_and_says_why() {
        for (url, why) in [
            ("localhost", "no scheme"),
            ("redis+ring://a", "scheme"),
            ("redis+cluster://", "no host"),
            ("redis+sentinel://a", "call the primary"),
        ] {
            let error = Target::parse(url, "").expect_err(url).to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
