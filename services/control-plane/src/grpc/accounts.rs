//! `millrace.v1.AccountService`.

use millrace_domain::Secret;
use millrace_proto::v1::{self, account_service_server::AccountService};
use tonic::{Request, Response, Status};

use super::{Face, committed, optional_sid};
use crate::accounts::NewAccount;

#[tonic::async_trait]
impl AccountService for Face {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        self.within(request, |caller, request| async move {
            caller.must_be_platform()?;
            let token = Some(request.auth_token).filter(|token| !token.is_empty());
            let new = NewAccount {
                friendly_name: request.friendly_name,
                parent: optional_sid("parent_sid", &request.parent_sid)?,
                sid: optional_sid("sid", &request.sid)?,
                auth_token: token.map(Secret::new),
            };
            let done = self.app.accounts.create(caller, new).await?;
            Ok(committed(done, |account| v1::CreateAccountResponse {
                account: Some((&account).into()),
            }))
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

    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        self.within(request, |caller, request| async move {
            let account = optional_sid("account_sid", &request.account_sid)?;
            let name = request.friendly_name;
            let done = self.app.accounts.create_api_key(caller, account, name).await?;
            Ok(committed(done, |(key, secret)| v1::CreateApiKeyResponse {
                api_key: Some(v1::ApiKey::new(&key, Some(&secret))),
            }))
        })
        .await
    }
}
