//! Who may use a `millrace dev`: given by flags, kept in the data directory, or new.

use anyhow::Context as _;
use millrace_domain::{AccountSid, Secret, secret::hex};
use millrace_store::Keyring;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    DevArgs, RESOURCES,
    data::{self, Place},
};

/// File of the data directory that keeps it.
const FILE: &str = "identity.json";

/// Credentials, and the key that seals secrets at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    /// The account.
    pub(crate) account_sid: AccountSid,
    /// Its auth token.
    pub(crate) auth_token: Secret,
    /// The platform key.
    pub(crate) platform_key: Secret,
    /// As [`Keyring::parse`] reads it.
    pub(crate) seal_key: Secret,
}

/// The identity kept in `place`, changed by what the flags say, and kept there.
///
/// # Errors
/// A flag with a wrong value; a file that cannot be read or written.
pub(super) fn of(args: &DevArgs, place: &Place) -> anyhow::Result<Identity> {
    let file = place.file(FILE);
    let kept = match &file {
        Some(file) => data::read(file)?
            .map(|text| serde_json::from_str::<Identity>(&text))
            .transpose()
            .with_context(|| format!("cannot read `{}`", file.display()))?,
        None => None,
    };
    if let (None, Some(file), Some(resources)) = (&kept, &file, place.file(RESOURCES)) {
        // A new identity has another seal key: nothing in there would open.
        anyhow::ensure!(
            !resources.exists(),
            "`{}` is missing but `{}` is there, whose secrets only its key opens: bring it back, or give another --data-dir",
            file.display(),
            resources.display()
        );
    }
    let mut identity = kept.unwrap_or_else(new);
    if let Some(sid) = &args.account_sid {
        identity.account_sid = sid.parse().context("wrong --account-sid")?;
    }
    if let Some(token) = &args.auth_token {
        anyhow::ensure!(
            (32..=128).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()),
            "wrong --auth-token: must be 32 to 128 printable characters without spaces"
        );
        identity.auth_token = Secret::new(token);
    }
    if let Some(key) = &args.platform_key {
        anyhow::ensure!(
            key.len() >= 16 && key.bytes().all(|b| b.is_ascii_graphic()),
            "wrong --platform-key: must be at least 16 printable characters without spaces"
        );
        identity.platform_key = Secret::new(key);
    }
    if let Some(file) = &file {
        data::write(file, &serde_json::to_string_pretty(&identity)?)?;
    }
    Ok(identity)
}

fn new() -> Identity {
    Identity {
        account_sid: AccountSid::from_uuid(Uuid::now_v7()),
        auth_token: Secret::new(random_hex::<16>()),
        platform_key: Secret::new(random_hex::<24>()),
        seal_key: Keyring::generate("dev"),
    }
}

/// `N` random bytes in hex.
pub(crate) fn random_hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::data::DataDirectory;

    #[test]
    fn an_identity_is_not_made_anew_beside_what_only_the_old_one_opens() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        let place = Place::Directory(DataDirectory::open(Some(path.clone())).expect("free"));
        let made = of(&DevArgs::ephemeral(), &place).expect("a new one");
        std::fs::write(path.join(RESOURCES), "rows").expect("writable");
        let kept = of(&DevArgs::ephemeral(), &place).expect("the same");
        assert_eq!(kept.account_sid, made.account_sid);
        std::fs::remove_file(path.join(FILE)).expect("there");
        let error = of(&DevArgs::ephemeral(), &place).expect_err("lost").to_string();
        assert!(error.contains("identity.json` is missing"), "{error}");
        assert!(!path.join(FILE).exists());
    }
}
