//! Who Millrace is to AWS, and how AWS is reached: looked up once, when it is first needed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};
use aws_credential_types::Credentials;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use millrace_domain::arn::AwsPartition;
use tokio::sync::OnceCell;

use crate::Options;

/// Longest time to connect; the whole has a deadline of its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most clients that are kept: more than there are regions, but a region is what an account says it is.
const CLIENTS_MAX: usize = 128;

pub(crate) struct Own {
    options: Options,
    loaded: OnceCell<SdkConfig>,
    /// Clients for Kinesis by region, without credentials.
    clients: Mutex<HashMap<String, aws_sdk_kinesis::Client>>,
}

impl Own {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, loaded: OnceCell::new(), clients: Mutex::default() }
    }

    /// A client for STS, with Millrace's own credentials, where `partition` can be spoken for.
    pub(crate) async fn sts(&self, partition: AwsPartition) -> aws_sdk_sts::Client {
        let config = self.config().await;
        let region = config.region().map_or("", Region::as_ref);
        let region = sts_region(partition, region);
        let mut builder = aws_sdk_sts::config::Builder::from(config).region(Region::new(region));
        if let Some(endpoint) = &self.options.sts_endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_sts::Client::from_conf(builder.build())
    }

    /// A client for Kinesis in `region`. It has no credentials: each request brings those of its sink's role.
    pub(crate) async fn kinesis(&self, region: &str) -> aws_sdk_kinesis::Client {
        let config = self.config().await;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return client.clone();
        }
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        let mut bare = config.to_builder();
        bare.set_credentials_provider(None);
        let mut builder = aws_sdk_kinesis::config::Builder::from(&bare.build())
            .region(Region::new(region.to_owned()));
        if let Some(endpoint) = &self.options.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let client = aws_sdk_kinesis::Client::from_conf(builder.build());
        clients.insert(region.to_owned(), client.clone());
        client
    }

    async fn config(&self) -> &SdkConfig {
        self.loaded.get_or_init(|| load(&self.options)).await
    }
}

/// Asks the environment and the profile. An instance's own region is not asked for: where there is none to ask, that takes
/// seconds, and any region of the partition serves.
async fn load(options: &Options) -> SdkConfig {
    let http = Builder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(Region::from_static(AwsPartition::Commercial.home_region()));
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(region)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(key) = &options.key {
        let secret = key.secret.reveal();
        loader =
            loader.credentials_provider(Credentials::new(&key.id, secret, None, None, "millrace"));
    }
    loader.load().await
}

/// Where STS is asked for a role of `partition`: in the region that Millrace is in, where that is of the partition.
fn sts_region(partition: AwsPartition, own: &str) -> String {
    let is_there = !own.is_empty() && AwsPartition::of_region(own) == partition;
    if is_there { own } else { partition.home_region() }.to_owned()
}

#[cfg(test)]
mod tests {
    use AwsPartition::{China, Commercial, Government};

    use super::*;

    #[test]
    fn sts_is_asked_in_the_partition_of_the_role() {
        assert_eq!(sts_region(Commercial, "eu-west-1"), "eu-west-1");
        assert_eq!(sts_region(Commercial, "cn-north-1"), "us-east-1");
        assert_eq!(sts_region(China, "eu-west-1"), "cn-north-1");
        assert_eq!(sts_region(China, "cn-northwest-1"), "cn-northwest-1");
        assert_eq!(sts_region(Government, "us-east-1"), "us-gov-west-1");
        assert_eq!(sts_region(Government, "us-gov-east-1"), "us-gov-east-1");
    }
}
