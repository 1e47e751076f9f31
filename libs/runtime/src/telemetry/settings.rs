//! Section `telemetry`: which traces are recorded, and where they go.

use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};

use crate::config::MaskedSecret;

/// Which traces are recorded, and where they go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// What the process is called in traces (`OTEL_SERVICE_NAME`); empty: `millrace-` and what it is.
    pub service_name: String,
    /// The share of traces that begin here which are recorded, between 0 and 1 (`OTEL_TRACES_SAMPLER`, and
    /// `OTEL_TRACES_SAMPLER_ARG` for the samplers by ratio). A trace that a caller began is recorded if the caller records it.
    pub sample_ratio: f64,
    /// Whether callers decide on the traces that they began, as by the samplers `parentbased_…`. If not, `sample_ratio` does for
    /// all, the same in every process.
    pub follow_callers: bool,
    /// Where traces go.
    pub otlp: OtlpSettings,
}

/// Where traces go.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpSettings {
    /// URL of a collector that takes OTLP by gRPC, such as `http://collector:4317` (`OTEL_EXPORTER_OTLP_ENDPOINT`); empty: there
    /// are no traces, and nothing is spent on them.
    pub endpoint: String,
    /// Headers of every export, `name=value` parted by commas, values percent-encoded (`OTEL_EXPORTER_OTLP_HEADERS`).
    pub headers: MaskedSecret,
    /// File with the certificates (PEM) to trust where the URL is `https`, in place of the public ones
    /// (`OTEL_EXPORTER_OTLP_CERTIFICATE`).
    pub tls_ca: String,
    /// Longest wait for the collector's answer (`OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds). Between 100 ms and 60 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Most spans that wait for the collector; further ones are dropped and counted. Between 64 and 1,000,000; a span takes about
    /// 1 kB.
    pub queue_spans: usize,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            service_name: String::new(),
            sample_ratio: 0.01,
            follow_callers: true,
            otlp: OtlpSettings::default(),
        }
    }
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            headers: MaskedSecret::default(),
            tls_ca: String::new(),
            timeout: Duration::from_secs(10),
            queue_spans: 8_192,
        }
    }
}

impl TelemetrySettings {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first setting that is wrong, by name; no secret is shown.
    pub fn check(&self) -> anyhow::Result<()> {
        let otlp = &self.otlp;
        anyhow::ensure!(
            (0.0..=1.0).contains(&self.sample_ratio),
            "wrong setting `telemetry.sample_ratio`: must be between 0 and 1"
        );
        let waits = Duration::from_millis(100)..=Duration::from_secs(60);
        anyhow::ensure!(
            waits.contains(&otlp.timeout),
            "wrong setting `telemetry.otlp.timeout`: must be between 100ms and 60s"
        );
        anyhow::ensure!(
            (64..=1_000_000).contains(&otlp.queue_spans),
            "wrong setting `telemetry.otlp.queue_spans`: must be between 64 and 1000000"
        );
        // Without an endpoint there are no traces, and what they would need does not matter.
        if otlp.endpoint.is_empty() {
            return Ok(());
        }
        otlp.uri()?;
        otlp.header_map()?;
        otlp.authorities().map(drop)
    }
}

impl OtlpSettings {
    /// Where the collector is.
    pub(super) fn uri(&self) -> anyhow::Result<Uri> {
        let uri = self.endpoint.parse::<Uri>().ok();
        uri.filter(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")))
            .context("wrong setting `telemetry.otlp.endpoint`: must be an `http` or `https` URL, such as `http://collector:4317`")
    }

    /// The headers of an export.
    pub(super) fn header_map(&self) -> anyhow::Result<http::HeaderMap> {
        let wrong = "wrong setting `telemetry.otlp.headers`: must be `name=value`, parted by commas, each value percent-encoded";
        let parts = self.headers.reveal().split(',').map(str::trim);
        let header = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.trim()).ok()?, value))
        };
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(|part| header(part).context(wrong)).collect()
    }

    /// The certificates to trust.
    pub(super) fn authorities(&self) -> anyhow::Result<RootCertStore> {
        let path = &self.tls_ca;
        if path.is_empty() {
            return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
        }
        let wrong = "wrong setting `telemetry.otlp.tls_ca`";
        let pem = std::fs::read(path).with_context(|| format!("{wrong}: cannot read `{path}`"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.ok().and_then(|it| roots.add(it).ok());
            certificate
                .with_context(|| format!("{wrong}: `{path}` holds what is no certificate"))?;
        }
        anyhow::ensure!(!roots.is_empty(), "{wrong}: `{path}` holds no certificate (PEM)");
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut TelemetrySettings)) -> anyhow::Result<()> {
        let mut settings = TelemetrySettings::default();
        settings.otlp.endpoint = "https://a.example:4317".to_owned();
        change(&mut settings);
        settings.check()
    }

    #[test]
    fn a_setting_out_of_bounds_is_named() {
        TelemetrySettings::default().check().expect("the defaults are within their bounds");
        with(|_| {}).expect("a URL");
        let wrong: [(&str, anyhow::Result<()>); 7] = [
            ("sample_ratio", with(|it| it.sample_ratio = 1.1)),
            ("sample_ratio", with(|it| it.sample_ratio = f64::NAN)),
            ("otlp.endpoint", with(|it| it.otlp.endpoint = "collector:4317".to_owned())),
            ("otlp.timeout", with(|it| it.otlp.timeout = Duration::ZERO)),
            ("otlp.queue_spans", with(|it| it.otlp.queue_spans = 0)),
            ("otlp.tls_ca", with(|it| it.otlp.tls_ca = "/nowhere".to_owned())),
            ("otlp.tls_ca", with(|it| it.otlp.tls_ca = "/dev/null".to_owned())),
        ];
        for (name, checked) in wrong {
            let error = checked.expect_err(name).to_string();
            assert!(error.contains(&format!("`telemetry.{name}`")), "{error}");
        }
        with(|it| {
            it.otlp.tls_ca = "/nowhere".to_owned();
            it.otlp.endpoint = String::new();
        })
        .expect("it is for nothing");
    }

    #[test]
    fn headers_are_read_as_the_standard_variable_and_never_shown() {
        let headers = MaskedSecret::new("api-key=a%2Cb, x-tenant=1");
        let otlp = OtlpSettings { headers, ..OtlpSettings::default() };
        let map = otlp.header_map().expect("valid");
        assert_eq!(map["api-key"], "a,b");
        assert_eq!(map["x-tenant"], "1");
        for wrong in ["hunter2", "a b=hunter2", "a=hunter2%0A"] {
            let error = with(|it| it.otlp.headers = MaskedSecret::new(wrong)).expect_err("wrong");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
