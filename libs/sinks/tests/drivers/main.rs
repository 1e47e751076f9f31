//! Every driver passes the one suite, each against a peer of its own.

mod cloudevents;
mod file;
mod http;
mod segment;

use std::{sync::Arc, time::Duration};

use millrace_domain::{
    AccountSid, Secret, SinkConfiguration, SinkDelivery, SinkSid, destination::DestinationPolicy,
    sink::Headers,
};
use millrace_sinks::{HttpOptions, Options, Prepared, SinkSpec, conformance::SECRET};

/// When it is.
const NOW: i64 = 1_767_323_045;

/// Loopback is allowed.
fn options(deadline: Duration) -> Options {
    let networks = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network"));
    let http = HttpOptions {
        policy: DestinationPolicy { allow_http: true, allow_cidrs: networks.to_vec() },
        deadline,
        connect_timeout: deadline / 2,
        extra_roots: Vec::new(),
    };
    Options { http, ..Options::default() }
}

/// A sink whose every secret is [`SECRET`] or has it.
fn spec(configuration: SinkConfiguration) -> SinkSpec {
    SinkSpec {
        sid: SinkSid::from_u128(1),
        account: AccountSid::from_u128(1),
        configuration,
        headers: Headers::default(),
        delivery: SinkDelivery::default(),
        auth_token: Secret::new(SECRET),
        signing_secret: Secret::new("whsec_aHVudGVyMmh1bnRlcjJodW50ZXIy"),
        identities: Arc::default(),
        prepared: Prepared::default(),
    }
}
