//! Section `sinks`: what an operator says of the types of sink. Control-plane and deliverer have the same.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Section `sinks`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinksSettings {
    /// Kinesis data streams.
    pub kinesis: KinesisSettings,
    /// Segment sources.
    pub segment: SegmentSettings,
    /// Receivers of CloudEvents.
    pub cloudevents: CloudEventsSettings,
    /// Files.
    pub file: FileSettings,
}

/// Section `sinks.kinesis`. What Millrace assumes roles with is what AWS' default chain finds, not a setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KinesisSettings {
    /// Where Kinesis is, such as a VPC endpoint; empty: where AWS has it for the region of a stream.
    pub endpoint: String,
    /// The same of STS.
    pub sts_endpoint: String,
    /// Most bytes of a record, its partition key included: a stream takes 1 MiB unless its owner says otherwise. Between 1 kB and
    /// 10 MiB.
    pub record_max_bytes: usize,
    /// AWS accounts whose roles sinks may name, of 12 digits each; empty: any.
    pub allow_accounts: Vec<String>,
    /// AWS accounts whose roles sinks may not name, such as the one that Millrace runs in.
    pub refuse_accounts: Vec<String>,
}

/// Section `sinks.cloudevents`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudEventsSettings {
    /// What receivers are told that events come from, in the handshake (`WebHook-Request-Origin`), such as a DNS name of yours.
    pub origin: String,
}

impl Default for CloudEventsSettings {
    fn default() -> Self {
        Self { origin: "millrace".to_owned() }
    }
}

/// Section `sinks.segment`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentSettings {
    /// Where Segment's HTTP API is, such as a proxy of your own; `/v1/batch` is appended. The address guard applies.
    pub endpoint: String,
    /// The same for sinks of region `eu`.
    pub endpoint_eu: String,
}

/// Section `sinks.file`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileSettings {
    /// The folder that sinks of type `file` write below, an absolute path on the deliverers' disk; empty: there are no such sinks.
    pub root: PathBuf,
    /// Bytes from which on a file is set aside and a new one begun. Between 64 kB and 64 GB.
    pub max_bytes: u64,
    /// Most files that are kept of a sink, the one that is written included; the oldest goes. Between 2 and 1,000.
    pub max_files: u32,
}

impl Default for KinesisSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            sts_endpoint: String::new(),
            record_max_bytes: 1024 * 1024,
            allow_accounts: Vec::new(),
            refuse_accounts: Vec::new(),
        }
    }
}

impl Default for SegmentSettings {
    /// <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>
    fn default() -> Self {
        Self {
            endpoint: "https://api.segment.io".to_owned(),
            endpoint_eu: "https://events.eu1.segmentapis.com".to_owned(),
        }
    }
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { root: PathBuf::new(), max_bytes: 100 * 1024 * 1024, max_files: 10 }
    }
}

impl FileSettings {
    /// The root, where there is one.
    pub fn root(&self) -> Option<&Path> {
        Some(self.root.as_path()).filter(|root| !root.as_os_str().is_empty())
    }
}

impl SinksSettings {
    /// Checks what types cannot. Whether a folder is there is for who writes to say.
    ///
    /// # Errors
    /// The first setting that is wrong, by name.
    pub fn check(&self) -> anyhow::Result<()> {
        let KinesisSettings {
            endpoint,
            sts_endpoint,
            record_max_bytes,
            allow_accounts,
            refuse_accounts,
        } = &self.kinesis;
        for (name, endpoint) in [("endpoint", endpoint), ("sts_endpoint", sts_endpoint)] {
            anyhow::ensure!(
                endpoint.is_empty() || is_base(endpoint),
                "wrong setting `sinks.kinesis.{name}`: must be a URL such as `https://vpce-1a2b.kinesis.eu-west-1.vpce.amazonaws.com`, or empty"
            );
        }
        anyhow::ensure!(
            (1024..=10 * 1024 * 1024).contains(record_max_bytes),
            "wrong setting `sinks.kinesis.record_max_bytes`: must be between 1024 and 10485760"
        );
        for (name, accounts) in
            [("allow_accounts", allow_accounts), ("refuse_accounts", refuse_accounts)]
        {
            anyhow::ensure!(
                accounts.iter().all(|account| is_aws_account(account)),
                "wrong setting `sinks.kinesis.{name}`: must be AWS accounts of 12 digits, such as `[\"123456789012\"]`"
            );
        }
        let SegmentSettings { endpoint, endpoint_eu } = &self.segment;
        for (name, endpoint) in [("endpoint", endpoint), ("endpoint_eu", endpoint_eu)] {
            anyhow::ensure!(
                is_base(endpoint),
                "wrong setting `sinks.segment.{name}`: must be a URL such as `https://api.segment.io`, without a query"
            );
        }
        let origin = &self.cloudevents.origin;
        anyhow::ensure!(
            (1..=253).contains(&origin.len())
                && origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','),
            "wrong setting `sinks.cloudevents.origin`: must be visible ASCII such as `events.example.com`"
        );
        anyhow::ensure!(
            self.file.root().is_none_or(Path::is_absolute),
            "wrong setting `sinks.file.root`: must be an absolute path"
        );
        anyhow::ensure!(
            (64 * 1024..=64 * 1024 * 1024 * 1024).contains(&self.file.max_bytes),
            "wrong setting `sinks.file.max_bytes`: must be between 65536 and 68719476736"
        );
        anyhow::ensure!(
            (2..=1_000).contains(&self.file.max_files),
            "wrong setting `sinks.file.max_files`: must be between 2 and 1000"
        );
        Ok(())
    }
}

fn is_aws_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A URL that a path can be appended to.
fn is_base(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && !rest.contains(['?', '#', '@'])
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right_and_what_is_wrong_is_named() {
        assert!(SinksSettings::default().check().is_ok());
        let wrong = |change: fn(&mut SinksSettings)| {
            let mut settings = SinksSettings::default();
            change(&mut settings);
            settings.check().expect_err("wrong").to_string()
        };
        assert!(
            wrong(|s| s.segment.endpoint = "api.segment.io".into()).contains("segment.endpoint`")
        );
        assert!(wrong(|s| s.segment.endpoint_eu = "https://a?b".into()).contains("endpoint_eu"));
        assert!(wrong(|s| s.kinesis.endpoint = "kinesis".into()).contains("kinesis.endpoint`"));
        assert!(wrong(|s| s.kinesis.sts_endpoint = "ftp://a".into()).contains("sts_endpoint"));
        assert!(wrong(|s| s.kinesis.record_max_bytes = 1).contains("record_max_bytes"));
        assert!(wrong(|s| s.kinesis.allow_accounts = vec!["1234".into()]).contains("allow_acc"));
        assert!(wrong(|s| s.kinesis.refuse_accounts = vec![String::new()]).contains("refuse_acc"));
        assert!(wrong(|s| s.file.root = "relative".into()).contains("file.root"));
        assert!(wrong(|s| s.file.max_bytes = 1).contains("file.max_bytes"));
        assert!(wrong(|s| s.file.max_files = 1).contains("file.max_files"));
    }
}
