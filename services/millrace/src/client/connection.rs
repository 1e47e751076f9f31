//! Which server to speak to, as whom, and the gRPC channel to it.

use std::{convert::Infallible, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use millrace_domain::{Secret, signature::SIGNING_SECRET_PREFIX};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::client::failure;

/// Where `millrace dev` and a control-plane listen unless told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the answer to one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Metadata by which a publish says which configuration it relies on.
const CONFIG_VERSION: &str = "millrace-config-version";

/// The server and the credentials, given after a client command; they win over [`DefaultArgs`].
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection (or by the environment: MILLRACE__CLIENT__SERVER, …)")]
pub(crate) struct ConnectionArgs {
    /// Where the control-plane, or `millrace dev`, serves [default: http://127.0.0.1:8080].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Where the router serves, which takes publishes [default: the server].
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) router: Option<String>,
    /// The account to act for, or the `SK…` of an API key; with a platform key, the account to act on.
    #[arg(long, global = true, value_name = "AC…")]
    pub(crate) account_sid: Option<String>,
    /// The account's auth token, or the secret of the API key.
    #[arg(long, global = true, value_name = "TOKEN", value_parser = secret)]
    pub(crate) auth_token: Option<Secret>,
    /// A platform key, which acts for any account and registers event types.
    #[arg(long, global = true, value_name = "KEY", value_parser = secret)]
    pub(crate) platform_key: Option<Secret>,
}

/// The same, given before a client command or by the environment.
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Connection of the client commands")]
pub(crate) struct DefaultArgs {
    /// Where the control-plane, or `millrace dev`, serves [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL", env = "MILLRACE__CLIENT__SERVER")]
    server: Option<String>,
    /// Where the router serves, which takes publishes [default: the server].
    #[arg(long, value_name = "URL", env = "MILLRACE__CLIENT__ROUTER")]
    router: Option<String>,
    /// The account to act for, or the `SK…` of an API key; with a platform key, the account to act on.
    #[arg(long, value_name = "AC…", env = "MILLRACE__CLIENT__ACCOUNT_SID")]
    account_sid: Option<String>,
    /// The account's auth token, or the secret of the API key.
    #[arg(long, value_name = "TOKEN", env = "MILLRACE__CLIENT__AUTH_TOKEN", hide_env_values = true, value_parser = secret)]
    auth_token: Option<Secret>,
    /// A platform key, which acts for any account and registers event types.
    #[arg(long, value_name = "KEY", env = "MILLRACE__CLIENT__PLATFORM_KEY", hide_env_values = true, value_parser = secret)]
    platform_key: Option<Secret>,
}

/// Reads a secret of the command line.
pub(crate) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Reads the signing secret of a sink.
pub(crate) fn signing_secret(text: &str) -> Result<Secret, String> {
    let decoded = text.strip_prefix(SIGNING_SECRET_PREFIX).map(|text| BASE64_STANDARD.decode(text));
    match decoded {
        Some(Ok(_)) => Ok(Secret::new(text)),
        _ => Err("must be `whsec_` and Base64; `millrace sinks get` shows it".to_owned()),
    }
}

/// As whom a call is made.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// An account by its auth token, or by an API key.
    Account { sid: String, secret: Secret },
    /// The platform, acting on an account where a call is about one (empty: none was given).
    Platform { key: Secret, account: String },
}

impl Credentials {
    /// The account that a request must name: a platform key has none of its own.
    pub(crate) fn account_named(&self) -> String {
        match self {
            Self::Account { .. } => String::new(),
            Self::Platform { account, .. } => account.clone(),
        }
    }

    /// The same, where what is asked about may be a subaccount's.
    pub(crate) fn account_or(&self, subaccount: Option<String>) -> String {
        subaccount.unwrap_or_else(|| self.account_named())
    }

    fn authorization(&self) -> String {
        match self {
            Self::Account { sid, secret } => {
                let pair = format!("{sid}:{}", secret.reveal());
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            }
            Self::Platform { key, .. } => format!("Bearer {}", key.reveal()),
        }
    }
}

impl ConnectionArgs {
    /// Takes from `defaults` what was not given.
    pub(crate) fn or(self, defaults: DefaultArgs) -> Self {
        Self {
            server: self.server.or(defaults.server),
            router: self.router.or(defaults.router),
            account_sid: self.account_sid.or(defaults.account_sid),
            auth_token: self.auth_token.or(defaults.auth_token),
            platform_key: self.platform_key.or(defaults.platform_key),
        }
    }

    /// Where resources are managed.
    pub(crate) fn server(&self) -> &str {
        self.server.as_deref().filter(|url| !url.is_empty()).unwrap_or(DEFAULT_SERVER)
    }

    /// The account's credentials where there are any, else the platform key: for resources of an account.
    pub(crate) fn as_account(&self) -> anyhow::Result<Credentials> {
        self.account().or_else(|| self.platform()).ok_or_else(|| {
            anyhow::anyhow!(
                "who is calling? Give --account-sid and --auth-token (or --platform-key and --account-sid), \
                 or their environment variables; `millrace dev` prints all three"
            )
        })
    }

    /// The platform key where there is one, else the account's credentials: for publishing and for looking things up.
    pub(crate) fn as_producer(&self) -> anyhow::Result<Credentials> {
        self.platform().map_or_else(|| self.as_account(), Ok)
    }

    /// The platform key: for what belongs to the installation.
    pub(crate) fn as_platform(&self) -> anyhow::Result<Credentials> {
        self.platform().ok_or_else(|| {
            anyhow::anyhow!(
                "this takes a platform key: give --platform-key or MILLRACE__CLIENT__PLATFORM_KEY; \
                 `millrace dev` prints one"
            )
        })
    }

    /// Where publishes go.
    pub(crate) fn router(&self) -> &str {
        self.router.as_deref().filter(|url| !url.is_empty()).unwrap_or_else(|| self.server())
    }

    fn account(&self) -> Option<Credentials> {
        let sid = self.account_sid.clone().filter(|sid| !sid.is_empty())?;
        let secret = self.auth_token.clone().filter(|token| !token.reveal().is_empty())?;
        Some(Credentials::Account { sid, secret })
    }

    fn platform(&self) -> Option<Credentials> {
        let key = self.platform_key.clone().filter(|key| !key.reveal().is_empty())?;
        Some(Credentials::Platform { key, account: self.account_sid.clone().unwrap_or_default() })
    }
}

/// A channel that says who calls.
pub(crate) type Connection = InterceptedService<Channel, Caller>;

/// Puts the credentials on every call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    authorization: MetadataValue<Ascii>,
    config_version: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.authorization.clone());
        if let Some(version) = &self.config_version {
            request.metadata_mut().insert(CONFIG_VERSION, version.clone());
        }
        Ok(request)
    }
}

/// Connects to `server` as `credentials`.
///
/// # Errors
/// A URL that is none, credentials that no header can carry, a server that cannot be reached.
pub(crate) async fn connect(server: &str, credentials: &Credentials) -> anyhow::Result<Connection> {
    connect_relying_on(server, credentials, None).await
}

/// As [`connect`]; every call says that it relies on the configuration `config_version` (the header
/// `Millrace-Config-Version` of the answer to a change).
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_relying_on(
    server: &str,
    credentials: &Credentials,
    config_version: Option<&str>,
) -> anyhow::Result<Connection> {
    let mut authorization: MetadataValue<Ascii> = credentials
        .authorization()
        .parse()
        .map_err(|_| anyhow::anyhow!("the credentials must be printable ASCII"))?;
    authorization.set_sensitive(true);
    let config_version = config_version
        .map(str::parse)
        .transpose()
        .map_err(|_| anyhow::anyhow!("the configuration version must be ASCII"))?;
    let channel =
        endpoint(server)?.connect().await.map_err(|error| failure::unreachable(server, &error))?;
    Ok(InterceptedService::new(channel, Caller { authorization, config_version }))
}

fn endpoint(server: &str) -> anyhow::Result<Endpoint> {
    let wrong =
        || anyhow::anyhow!("`{server}` is no URL of a server: give one such as `{DEFAULT_SERVER}`");
    let url = url::Url::parse(server).map_err(|_| wrong())?;
    match url.scheme() {
        "http" if url.has_host() => {}
        "https" => anyhow::bail!(
            "`{server}`: the client commands do not speak TLS yet; reach the server by `http`, such as through a tunnel"
        ),
        _ => return Err(wrong()),
    }
    let endpoint = Endpoint::from_shared(server.to_owned()).map_err(|_| wrong())?;
    Ok(endpoint
        .user_agent(concat!("millrace-cli/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .tcp_nodelay(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(sid: Option<&str>, token: Option<&str>, key: Option<&str>) -> ConnectionArgs {
        ConnectionArgs {
            account_sid: sid.map(str::to_owned),
            auth_token: token.map(Secret::new),
            platform_key: key.map(Secret::new),
            ..ConnectionArgs::default()
        }
    }

    #[test]
    fn an_account_acts_for_itself_and_a_platform_key_names_the_account() {
        let both = args(Some("AC1"), Some("t"), Some("k"));
        let account = both.as_account().expect("given");
        assert_eq!(
            (account.authorization().as_str(), account.account_named()),
            ("Basic QUMxOnQ=", String::new())
        );
        let producer = both.as_producer().expect("given");
        assert_eq!(
            (producer.authorization().as_str(), producer.account_named()),
            ("Bearer k", "AC1".to_owned())
        );
    }

    #[test]
    fn missing_or_empty_credentials_say_what_to_give() {
        let none = args(None, None, None).as_account().expect_err("none").to_string();
        assert!(none.contains("--auth-token"), "{none}");
        assert!(args(Some("AC1"), Some(""), Some("")).as_producer().is_err());
        assert!(args(Some("AC1"), Some("t"), None).as_platform().is_err());
    }

    #[test]
    fn what_comes_after_the_command_wins() {
        let defaults = || DefaultArgs {
            server: Some("http://a".to_owned()),
            platform_key: Some(Secret::new("k")),
            ..DefaultArgs::default()
        };
        let given =
            ConnectionArgs { server: Some("http://b".to_owned()), ..args(None, None, None) };
        let merged = given.or(defaults());
        assert_eq!((merged.server(), merged.router()), ("http://b", "http://b"));
        assert!(merged.as_platform().is_ok());
        assert_eq!(args(None, None, None).or(defaults()).server(), "http://a");
        assert_eq!(args(None, None, None).server(), DEFAULT_SERVER);
    }

    #[test]
    fn a_wrong_server_url_is_told_before_anything_is_sent() {
        for wrong in ["localhost:8080", "ftp://a", "nonsense", "https://a.example"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        assert!(endpoint("http://127.0.0.1:8080").is_ok());
    }
}
