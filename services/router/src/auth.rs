//! Who publishes: an account by its token or an API key, or the platform by a platform key. All by what is watched;
//! nobody is called.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use millrace_domain::{
    AccountSid, AccountStatus, ApiKeySid, KeyAccess, account::Right, secret::SecretHash,
};
use millrace_watch::{Account, Configuration};

use crate::status::Problem;

/// Whose credentials a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An account that is active: publishes its own events.
    Account(AccountSid),
    /// The installation's owner: publishes for every account.
    Platform,
}

/// Tells whose the value of an `authorization` header is. Secrets are compared by their hashes, in constant time.
pub(crate) fn caller(
    configuration: &Configuration,
    authorization: Option<&str>,
) -> Result<Caller, Problem> {
    let header = authorization.ok_or(Problem::Unauthenticated(
        "credentials are required: `Basic` with account SID and auth token or API key and secret, or `Bearer` with a platform key",
    ))?;
    let (scheme, value) = header.split_once(' ').ok_or(WRONG)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        let known = configuration.is_platform_key(&SecretHash::of(value.trim()));
        return if known { Ok(Caller::Platform) } else { Err(WRONG) };
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(WRONG);
    }
    let decoded = STANDARD.decode(value.trim()).ok().and_then(|text| String::from_utf8(text).ok());
    let decoded = decoded.ok_or(WRONG)?;
    let (user, password) = decoded.split_once(':').ok_or(WRONG)?;
    let (account, access) = account(configuration, user, &SecretHash::of(password)).ok_or(WRONG)?;
    match configuration.account_status(account) {
        AccountStatus::Active if !access.may(Right::Publish) => {
            Err(Problem::Denied(format!("a {} key does not publish", access.as_str())))
        }
        AccountStatus::Active => Ok(Caller::Account(account.sid)),
        status => Err(Problem::Denied(format!("account {} is {}", account.sid, status.as_str()))),
    }
}

/// One answer for all that is wrong: it does not tell a wrong SID from a wrong secret.
const WRONG: Problem = Problem::Unauthenticated("the credentials are not valid");

fn account<'a>(
    configuration: &'a Configuration,
    user: &str,
    password: &SecretHash,
) -> Option<(&'a Account, KeyAccess)> {
    if let Ok(sid) = user.parse::<AccountSid>() {
        let account = configuration.account(sid)?;
        return account.takes(password).then_some((account, KeyAccess::Main));
    }
    let key = configuration.api_key(user.parse::<ApiKeySid>().ok()?)?;
    let account = key.secret_hash.matches(password).then(|| configuration.account(key.account));
    account.flatten().map(|account| (account, key.access))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, basic};

    #[test]
    fn knows_accounts_keys_and_the_platform() {
        let configuration = fixture::configuration();
        let caller = |header: &str| caller(&configuration, Some(header)).expect(header);
        let account = Caller::Account(fixture::ACCOUNT);
        assert_eq!(caller(&basic(&fixture::ACCOUNT.to_string(), "token")), account);
        assert_eq!(caller(&basic(&fixture::API_KEY.to_string(), "secret")), account);
        assert_eq!(caller(&basic(&fixture::ACCOUNT.to_string(), "second")), account);
        assert_eq!(caller("Bearer platform"), Caller::Platform);
        assert_eq!(caller("bearer  platform"), Caller::Platform);
    }

    #[test]
    fn refuses_what_is_wrong_and_who_is_suspended() {
        let configuration = fixture::configuration();
        for wrong in [
            "",
            "Basic",
            "Basic !",
            "Digest x",
            "Bearer other",
            &basic(&fixture::ACCOUNT.to_string(), "secret"),
            &basic(&fixture::API_KEY.to_string(), "token"),
            &basic("AC00000000000000000000000000000099", "token"),
            &basic("nobody", "token"),
        ] {
            let refused = caller(&configuration, Some(wrong));
            assert!(matches!(refused, Err(Problem::Unauthenticated(_))), "{wrong}");
        }
        assert!(matches!(caller(&configuration, None), Err(Problem::Unauthenticated(_))));
        for suspended in [fixture::SUSPENDED, fixture::CHILD_OF_SUSPENDED] {
            let suspended = basic(&suspended.to_string(), "token");
            assert!(matches!(caller(&configuration, Some(&suspended)), Err(Problem::Denied(_))));
        }
    }

    #[test]
    fn a_key_publishes_if_its_access_says_so() {
        for access in KeyAccess::ALL {
            let configuration = fixture::with_key_of(access);
            let header = basic(&fixture::API_KEY.to_string(), "secret");
            let told = caller(&configuration, Some(&header));
            match access {
                KeyAccess::ReadOnly => assert!(matches!(told, Err(Problem::Denied(_)))),
                _ => assert_eq!(told, Ok(Caller::Account(fixture::ACCOUNT)), "{access:?}"),
            }
        }
    }
}
