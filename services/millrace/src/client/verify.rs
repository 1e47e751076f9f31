//! `millrace verify`: whether a saved webhook request is signed right, and if not, what was signed.

use std::{path::PathBuf, process::ExitCode, str::FromStr};

use anyhow::Context;
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace_domain::Secret;
use serde_json::{Value, json};

use crate::client::{
    connection::{secret, signing_secret},
    output::{self, OutputArgs},
    signature::{self, Finding, Keys, Received},
};

/// Most signed bytes shown to a person.
const SHOWN_BYTES: usize = 1024;

/// Check the signatures of a saved webhook request, and show the exact bytes that were signed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The URL that was requested. Without `bodySHA256` in it, the hash of the body is added, as the sender does.
    #[arg(long)]
    url: String,
    /// File with the raw body, byte for byte; leave it out for a GET.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A header of the request, such as `X-Twilio-Signature: …`; may be repeated.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", required = true, value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The account's auth token, the key of X-Twilio-Signature.
    #[arg(long, value_name = "TOKEN", env = "MILLRACE__CLIENT__AUTH_TOKEN", hide_env_values = true, value_parser = secret)]
    auth_token: Option<Secret>,
    /// The sink's signing secret, the key of webhook-signature.
    #[arg(long, value_name = "whsec_…", env = "MILLRACE__CLIENT__SIGNING_SECRET", hide_env_values = true, value_parser = signing_secret)]
    signing_secret: Option<Secret>,
    #[command(flatten)]
    output: OutputArgs,
}

const EXAMPLES: &str = "\
Example:
  millrace verify --url 'https://example.com/events?bodySHA256=2cd3…' --body body.json \\
    --header 'X-Twilio-Signature: ZIRi…=' --auth-token 0123…

Exits with 1 if a signature is wrong.";

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("must be `Name: value`")?;
    let name = HeaderName::from_str(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

/// Checks the request, prints what was found.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let keys =
        Keys { auth_token: args.auth_token.clone(), signing_secret: args.signing_secret.clone() };
    anyhow::ensure!(
        keys.auth_token.is_some() || keys.signing_secret.is_some(),
        "nothing to check with: give --auth-token for X-Twilio-Signature, --signing-secret for webhook-signature"
    );
    let body = match &args.body {
        None => Vec::new(),
        Some(path) => {
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?
        }
    };
    let unhashed = !body.is_empty() && signature::hash_in(&args.url).is_none();
    let url = if unhashed { signature::with_body_hash(&args.url, &body) } else { args.url.clone() };
    let headers: HeaderMap = args.headers.iter().cloned().collect();
    let findings = signature::check(&Received { url: &url, headers: &headers, body: &body }, &keys);
    let right = signature::problems(&findings).is_none();
    if args.output.json {
        output::json(
            &json!({ "valid": right, "checks": findings.iter().map(as_json).collect::<Vec<_>>() }),
        )?;
    } else {
        if unhashed {
            output::line("the URL has no `bodySHA256`: checked with the hash of the body added")?;
        }
        findings.iter().try_for_each(|finding| output::line(&as_text(finding)))?;
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_text(finding: &Finding) -> String {
    let verdict = match &finding.problem {
        None => "right".to_owned(),
        Some(problem) => format!("WRONG, {problem}"),
    };
    let start = finding.signed.get(..SHOWN_BYTES).unwrap_or(&finding.signed);
    let rest = if start.len() < finding.signed.len() { "… (--json shows all)" } else { "" };
    let signed = String::from_utf8_lossy(start);
    format!(
        "{}: {verdict}\n  signed bytes ({}): {signed}{rest}",
        finding.check,
        finding.signed.len()
    )
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "valid": finding.problem.is_none(),
        "problem": finding.problem,
        "signed": String::from_utf8_lossy(&finding.signed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, body: &str, token: Option<&str>) -> (VerifyArgs, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("body.json");
        std::fs::write(&path, body).expect("written");
        let signature = header("X-Twilio-Signature: 0gjCNHq63ZJTkBnhJ2l0JQUs7HI=").expect("valid");
        let args = VerifyArgs {
            url: url.to_owned(),
            body: Some(path),
            headers: vec![signature],
            auth_token: token.map(Secret::new),
            signing_secret: None,
            output: OutputArgs { json: true },
        };
        (args, dir)
    }

    #[test]
    fn a_wrong_signature_exits_with_one_and_no_key_is_an_error() {
        let (wrong, _dir) = args("https://a.example/x", "[]", Some("token"));
        assert_eq!(run(&wrong).expect("checked"), ExitCode::FAILURE);
        let (keyless, _dir) = args("https://a.example/x", "[]", None);
        assert!(run(&keyless).is_err());
    }

    #[test]
    fn shows_what_was_signed() {
        let finding = Finding {
            check: "webhook-signature",
            signed: b"id.1.[]".to_vec(),
            problem: Some("wrong signature `v1,x`".to_owned()),
        };
        assert_eq!(
            as_text(&finding),
            "webhook-signature: WRONG, wrong signature `v1,x`\n  signed bytes (7): id.1.[]"
        );
    }

    #[test]
    fn headers_are_names_and_values() {
        assert!(header("X-A: b: c").is_ok_and(|(name, value)| name == "x-a" && value == "b: c"));
        assert!(header("no colon").is_err() && header("bad name: x").is_err());
    }
}
