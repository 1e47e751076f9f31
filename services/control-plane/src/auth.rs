//! Who asks: an account by its token or an API key, or the platform by a platform key.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use millrace_domain::{
    AccountSid, AccountStatus, ApiKeySid, KeyAccess, account::Right, secret::SecretHash,
};
use millrace_store::{Error, ResourceStore};

use crate::{
    attribution,
    operations::Takes,
    status::{About, Failure, Kind, code},
    throttle::Throttle,
};

/// Whose credentials a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An account, by credentials that are good for this: sees itself only.
    Account(AccountSid, KeyAccess),
    /// The installation's owner: sees every account.
    Platform,
}

impl Caller {
    /// The account that a request is about: the caller's own, or the one that a platform key names in `field`.
    pub(crate) fn account(
        self,
        field: &str,
        named: Option<AccountSid>,
    ) -> Result<AccountSid, Failure> {
        match (self, named) {
            (Self::Account(own, _), Some(named)) if named != own => Err(Failure::new(
                Kind::PermissionDenied,
                code::DENIED,
                "must be the caller's own account",
            )
            .at(field)),
            (Self::Account(own, _), _) => Ok(own),
            (Self::Platform, Some(named)) => Ok(named),
            (Self::Platform, None) => Err(Failure::invalid(
                code::BAD_REQUEST,
                field,
                "is required with a platform key: the account to act for",
            )),
        }
    }

    /// Whether the credentials are good for that.
    pub(crate) fn may(self, right: Right) -> bool {
        match self {
            Self::Account(_, access) => access.may(right),
            Self::Platform => true,
        }
    }

    fn must_be_good_for(self, right: Right) -> Result<(), Failure> {
        match self {
            Self::Account(_, access) if !access.may(right) => {
                let message = format!("a {} key may not do this", access.as_str());
                Err(Failure::new(Kind::PermissionDenied, code::DENIED, message))
            }
            _ => Ok(()),
        }
    }

    /// Refuses everybody but the platform.
    pub(crate) fn must_be_platform(self) -> Result<(), Failure> {
        match self {
            Self::Platform => Ok(()),
            Self::Account(..) => {
                Err(Failure::new(Kind::PermissionDenied, code::DENIED, "takes a platform key"))
            }
        }
    }
}

/// Checks credentials.
#[derive(Clone)]
pub(crate) struct Auth {
    store: Arc<dyn ResourceStore>,
    platform_keys: Arc<[SecretHash]>,
    throttle: Arc<Throttle>,
}

impl Auth {
    pub(crate) fn new(
        store: Arc<dyn ResourceStore>,
        platform_keys: Arc<[SecretHash]>,
        throttle: Throttle,
    ) -> Self {
        Self { store, platform_keys, throttle: Arc::new(throttle) }
    }

    /// Lets a caller in who may do what takes this: tells whose the value of an `authorization` header is. Secrets are compared
    /// by their hashes, in constant time. An account asks no more often than it may; a platform key as often as it likes.
    pub(crate) async fn authorize(
        &self,
        authorization: Option<&[u8]>,
        takes: Takes,
    ) -> Result<Caller, Failure> {
        let caller = self.known(authorization).await?;
        if let Caller::Account(account, _) = caller {
            self.throttle.take(account).map_err(too_often)?;
        }
        match takes {
            Takes::Right(right) => caller.must_be_good_for(right).map(|()| caller),
            Takes::Platform => caller.must_be_platform().map(|()| caller),
            Takes::Internal | Takes::Nothing => Err(wrong()),
        }
    }

    /// Whose the value of an `authorization` header is, and what it is good for.
    async fn known(&self, authorization: Option<&[u8]>) -> Result<Caller, Failure> {
        let Some(header) = authorization else {
            return Err(unauthenticated(
                "credentials are required: `Basic` with account SID and auth token or with API key and secret",
            ));
        };
        let header = std::str::from_utf8(header).map_err(|_| wrong())?;
        let (scheme, value) = header.split_once(' ').ok_or_else(wrong)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.platform(value.trim());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(wrong());
        }
        let decoded = STANDARD.decode(value.trim()).ok().and_then(|b| String::from_utf8(b).ok());
        let decoded = decoded.ok_or_else(wrong)?;
        let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
        let caller = self.account(user, SecretHash::of(password)).await?;
        attribution::is_user(user);
        Ok(caller)
    }

    fn platform(&self, key: &str) -> Result<Caller, Failure> {
        let hash = SecretHash::of(key);
        // Every key is compared, whichever matches.
        let known = self.platform_keys.iter().fold(false, |known, key| known | key.matches(&hash));
        if !known {
            return Err(wrong());
        }
        attribution::is_platform(&hash);
        Ok(Caller::Platform)
    }

    async fn account(&self, user: &str, password: SecretHash) -> Result<Caller, Failure> {
        let (account, access) = if let Ok(sid) = user.parse::<AccountSid>() {
            let account = self.read(self.store.account(sid).await)?;
            (account.filter(|account| account.takes(&password)), KeyAccess::Main)
        } else if let Ok(sid) = user.parse::<ApiKeySid>() {
            let key = self.read(self.store.api_key(sid).await)?;
            match key.filter(|key| key.secret_hash.matches(&password)) {
                Some(key) => (self.read(self.store.account(key.account).await)?, key.access),
                None => (None, KeyAccess::Main),
            }
        } else {
            (None, KeyAccess::Main)
        };
        let account = account.ok_or_else(wrong)?;
        let parent = match account.parent {
            Some(parent) => self.read(self.store.account(parent).await)?,
            None => None,
        };
        let status = account.status.under(parent.map(|parent| parent.status));
        active(status).map(|()| Caller::Account(account.sid, access))
    }

    /// No row is no error here: the answer does not tell a wrong SID from a wrong secret.
    fn read<T>(&self, row: Result<T, Error>) -> Result<Option<T>, Failure> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Failure::of_store(error, About::Account)),
        }
    }
}

fn active(status: AccountStatus) -> Result<(), Failure> {
    match status {
        AccountStatus::Active => Ok(()),
        status => Err(Failure::new(
            Kind::PermissionDenied,
            code::ACCOUNT_INACTIVE,
            format!("the account is {}", status.as_str()),
        )),
    }
}

fn too_often(wait: Duration) -> Failure {
    let message =
        "the account asks too often; this request was not done, and may be sent again later";
    Failure::new(Kind::NoRoom, code::NO_ROOM, message).retry_after(wait)
}

fn wrong() -> Failure {
    unauthenticated("the credentials are wrong")
}

fn unauthenticated(message: &str) -> Failure {
    Failure::new(Kind::Unauthenticated, code::UNAUTHENTICATED, message)
}
