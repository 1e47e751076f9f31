//! `millrace.v1.AccountService`.

use std::mem;

use millrace_domain::{Account, AccountSid, AccountUpdate, ApiKey, ApiKeySid, Secret};
use millrace_proto::v1::{self, account_service_server::AccountService};
use millrace_store::{AccountFilter, Resource};
use prost_types::FieldMask;
use tonic::{Request, Response, Status};

use super::{Asked, Face, committed, once::Named, optional_sid, required, sid};
use crate::{
    accounts::{NewAccount, NewKey},
    auth::Caller,
    paging::Scope,
    status::{Failure, code},
};

#[tonic::async_trait]
impl AccountService for Face {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        self.within(request, |caller, mut request| async move {
            let id = mem::take(&mut request.request_id);
            let named = Named::of(caller, id, ("CreateAccount", &request))?;
            // The auth token is in it, as in the account itself: sealed.
            let render = |made: &Resource| match made {
                Resource::Account(account) => Some(answer(account)),
                _ => None,
            };
            self.once(named, render, self.create_one(caller, request)).await
        })
        .await
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        self.within(request, |caller, request| async move {
            let sid = optional_sid("sid", &request.sid)?;
            let account = self.app.accounts.fetch(caller, sid).await?;
            Ok(Response::new(v1::GetAccountResponse { account: Some((&account).into()) }))
        })
        .await
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        self.within(request, |caller, request| async move {
            let named = optional_sid("account_sid", &request.account_sid)?;
            let family = self.app.accounts.family(caller, named).await?;
            let status = v1::AccountStatus::try_from(request.status)
                .map_err(|_| Failure::invalid(code::BAD_REQUEST, "status", "is no status"))?;
            let name = Some(request.friendly_name).filter(|name| !name.is_empty());
            let filters = format!("{}/{}", request.status, name.as_deref().unwrap_or_default());
            let scope = Scope::of("ListAccounts", family, filters.as_bytes());
            let asked = Asked::<AccountSid>::read(scope, request.page_size, &request.page_token)?;
            let filter = AccountFilter { family, friendly_name: name, status: status.to_domain() };
            let mut listed = self.app.accounts.list(&filter, asked.after, asked.size + 1).await?;
            let next_page_token = asked.next(&mut listed, |row: &Account| row.sid);
            let accounts = listed.iter().map(Into::into).collect();
            Ok(Response::new(v1::ListAccountsResponse { accounts, next_page_token }))
        })
        .await
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::UpdateAccountResponse>, Status> {
        self.within(request, |caller, request| async move {
            let account = required("account", request.account)?;
            let sid = optional_sid("account.sid", &account.sid)?;
            let update = update(&account, request.update_mask.as_ref())?;
            let updated = self.app.accounts.update(caller, sid, update).await;
            let names = [("friendly_name", "account.friendly_name"), ("Status", "account.status")];
            let done = updated.map_err(|failure| failure.spelt(&names))?;
            Ok(committed(done, |account| v1::UpdateAccountResponse {
                account: Some((&account).into()),
            }))
        })
        .await
    }

    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        self.within(request, |caller, mut request| async move {
            let id = mem::take(&mut request.request_id);
            let named = Named::of(caller, id, ("CreateApiKey", &request))?;
            // A secret is kept nowhere, so what is answered again has none.
            let render = |made: &Resource| match made {
                Resource::ApiKey(key) => Some(key_answer(key, None)),
                _ => None,
            };
            self.once(named, render, self.create_key(caller, request)).await
        })
        .await
    }

    async fn get_api_key(
        &self,
        request: Request<v1::GetApiKeyRequest>,
    ) -> Result<Response<v1::GetApiKeyResponse>, Status> {
        self.within(request, |caller, request| async move {
            let sid = sid("sid", &request.sid)?;
            let key = self.app.accounts.fetch_api_key(caller, None, sid).await?;
            let api_key = Some(v1::ApiKey::new(&key, None));
            Ok(Response::new(v1::GetApiKeyResponse { api_key }))
        })
        .await
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        self.within(request, |caller, request| async move {
            let named = optional_sid("account_sid", &request.account_sid)?;
            let account = self.app.accounts.managed(caller, "account_sid", named).await?.sid;
            let scope = Scope::of("ListApiKeys", Some(account), b"");
            let asked = Asked::<ApiKeySid>::read(scope, request.page_size, &request.page_token)?;
            let mut listed =
                self.app.accounts.api_keys(account, asked.after, asked.size + 1).await?;
            let next_page_token = asked.next(&mut listed, |row: &ApiKey| row.sid);
            let api_keys = listed.iter().map(|key| v1::ApiKey::new(key, None)).collect();
            Ok(Response::new(v1::ListApiKeysResponse { api_keys, next_page_token }))
        })
        .await
    }

    async fn update_api_key(
        &self,
        request: Request<v1::UpdateApiKeyRequest>,
    ) -> Result<Response<v1::UpdateApiKeyResponse>, Status> {
        self.within(request, |caller, request| async move {
            let mask = request.update_mask.unwrap_or_default();
            if let Some(path) = mask.paths.iter().find(|path| *path != "friendly_name") {
                let message = format!("only `friendly_name` can be changed, not `{path}`");
                return Err(Failure::invalid(code::BAD_REQUEST, "update_mask", message));
            }
            let asked = required("api_key", request.api_key)?;
            let sid = sid("api_key.sid", &asked.sid)?;
            if mask.paths.is_empty() && asked.friendly_name.is_empty() {
                let key = self.app.accounts.fetch_api_key(caller, None, sid).await?;
                let api_key = Some(v1::ApiKey::new(&key, None));
                return Ok(Response::new(v1::UpdateApiKeyResponse { api_key }));
            }
            let key = (None, sid);
            let renamed = self.app.accounts.rename_api_key(caller, key, &asked.friendly_name).await;
            let names = [("friendly_name", "api_key.friendly_name")];
            let done = renamed.map_err(|failure| failure.spelt(&names))?;
            Ok(committed(done, |key| v1::UpdateApiKeyResponse {
                api_key: Some(v1::ApiKey::new(&key, None)),
            }))
        })
        .await
    }

    async fn delete_api_key(
        &self,
        request: Request<v1::DeleteApiKeyRequest>,
    ) -> Result<Response<v1::DeleteApiKeyResponse>, Status> {
        self.within(request, |caller, request| async move {
            let sid = sid("sid", &request.sid)?;
            let done = self.app.accounts.delete_api_key(caller, None, sid).await?;
            Ok(committed(done, |()| v1::DeleteApiKeyResponse {}))
        })
        .await
    }

    async fn create_secondary_auth_token(
        &self,
        request: Request<v1::CreateSecondaryAuthTokenRequest>,
    ) -> Result<Response<v1::CreateSecondaryAuthTokenResponse>, Status> {
        self.within(request, |caller, mut request| async move {
            let id = mem::take(&mut request.request_id);
            let named = Named::of(caller, id, ("CreateSecondaryAuthToken", &request))?;
            let answer = |account: &Account| v1::CreateSecondaryAuthTokenResponse {
                account: Some(account.into()),
            };
            let render = move |made: &Resource| match made {
                Resource::Account(account) => Some(answer(account)),
                _ => None,
            };
            let work = async {
                let account = optional_sid("account_sid", &request.account_sid)?;
                let done = self.app.accounts.create_secondary(caller, account).await?;
                Ok(committed(done, |account| answer(&account)))
            };
            self.once(named, render, work).await
        })
        .await
    }

    async fn delete_secondary_auth_token(
        &self,
        request: Request<v1::DeleteSecondaryAuthTokenRequest>,
    ) -> Result<Response<v1::DeleteSecondaryAuthTokenResponse>, Status> {
        self.within(request, |caller, request| async move {
            let account = optional_sid("account_sid", &request.account_sid)?;
            let done = self.app.accounts.delete_secondary(caller, account).await?;
            Ok(committed(done, |()| v1::DeleteSecondaryAuthTokenResponse {}))
        })
        .await
    }

    async fn promote_secondary_auth_token(
        &self,
        request: Request<v1::PromoteSecondaryAuthTokenRequest>,
    ) -> Result<Response<v1::PromoteSecondaryAuthTokenResponse>, Status> {
        self.within(request, |caller, request| async move {
            let account = optional_sid("account_sid", &request.account_sid)?;
            let done = self.app.accounts.promote_secondary(caller, account).await?;
            Ok(committed(done, |account| v1::PromoteSecondaryAuthTokenResponse {
                account: Some((&account).into()),
            }))
        })
        .await
    }
}

impl Face {
    async fn create_one(
        &self,
        caller: Caller,
        request: v1::CreateAccountRequest,
    ) -> Result<Response<v1::CreateAccountResponse>, Failure> {
        let token = Some(request.auth_token).filter(|token| !token.is_empty());
        let new = NewAccount {
            friendly_name: request.friendly_name,
            parent: optional_sid("parent_sid", &request.parent_sid)?,
            sid: optional_sid("sid", &request.sid)?,
            auth_token: token.map(Secret::new),
        };
        let done = self.app.accounts.create(caller, new).await?;
        Ok(committed(done, |account| answer(&account)))
    }

    async fn create_key(
        &self,
        caller: Caller,
        request: v1::CreateApiKeyRequest,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Failure> {
        let account = optional_sid("account_sid", &request.account_sid)?;
        let access = v1::KeyAccess::try_from(request.access)
            .map_err(|_| Failure::invalid(code::BAD_REQUEST, "access", "is no access"))?;
        let new = NewKey { friendly_name: request.friendly_name, access: access.to_domain() };
        let done = self.app.accounts.create_api_key(caller, account, new).await?;
        Ok(committed(done, |(key, secret)| key_answer(&key, Some(&secret))))
    }
}

fn answer(account: &Account) -> v1::CreateAccountResponse {
    v1::CreateAccountResponse { account: Some(account.into()) }
}

fn key_answer(key: &ApiKey, secret: Option<&Secret>) -> v1::CreateApiKeyResponse {
    v1::CreateApiKeyResponse { api_key: Some(v1::ApiKey::new(key, secret)) }
}

/// What a mask names of an account; an empty one, what is set.
fn update(account: &v1::Account, mask: Option<&FieldMask>) -> Result<AccountUpdate, Failure> {
    let wrong = |field: &str, message: String| Failure::invalid(code::BAD_REQUEST, field, message);
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    let known = ["friendly_name", "status"];
    if let Some(path) = paths.iter().find(|path| !known.contains(&path.as_str())) {
        let message = format!("only `friendly_name` and `status` can be changed, not `{path}`");
        return Err(wrong("update_mask", message));
    }
    let named = |path: &str| paths.iter().any(|named| named == path);
    let status = v1::AccountStatus::try_from(account.status)
        .map_err(|_| wrong("account.status", "is no status".to_owned()))?
        .to_domain();
    if named("status") && status.is_none() {
        let message = "must be active, suspended or closed".to_owned();
        return Err(wrong("account.status", message));
    }
    let all = paths.is_empty();
    let name = (named("friendly_name") || (all && !account.friendly_name.is_empty()))
        .then(|| account.friendly_name.clone());
    Ok(AccountUpdate { friendly_name: name, status: status.filter(|_| all || named("status")) })
}
