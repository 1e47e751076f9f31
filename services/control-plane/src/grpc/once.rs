//! Creations that are done once however often they are asked for: `request_id`, kept for 24 h.

use millrace_store::{
    Resource,
    repeats::{Answered, Asked, Name, once},
};
use prost::Message;
use ring::digest;
use tonic::Response;

use super::{Face, committed};
use crate::{
    auth::Caller,
    commit::Committed,
    random,
    status::{About, Failure, Kind, code, unavailable},
};

/// Longest `request_id`.
const ID_MAX_BYTES: usize = 128;

/// A request that may be asked again.
pub(super) struct Named {
    name: Name,
    digest: [u8; 32],
}

impl Named {
    /// Takes the `id` of a request of `method`, the rest of which is `body`.
    pub(super) fn of(
        caller: Caller,
        id: String,
        (method, body): (&str, &impl Message),
    ) -> Result<Self, Failure> {
        if id.len() > ID_MAX_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                format!("must be up to {ID_MAX_BYTES} printable ASCII characters without spaces");
            return Err(Failure::invalid(code::BAD_REQUEST, "request_id", message));
        }
        let caller = match caller {
            Caller::Account(sid, _) => sid.to_string(),
            Caller::Platform => "platform".to_owned(),
        };
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(method.as_bytes());
        context.update(&[0]);
        context.update(&body.encode_to_vec());
        let digest = context.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes");
        Ok(Self { name: Name { caller, id }, digest })
    }
}

impl Face {
    /// Does `work`, or answers what it was answered before under the same id. `render` makes the answer of what was made.
    pub(super) async fn once<M: Message + Default + 'static>(
        &self,
        named: Named,
        render: impl Fn(&Resource) -> Option<M> + Send + Sync + 'static,
        work: impl Future<Output = Result<Response<M>, Failure>> + Send,
    ) -> Result<Response<M>, Failure> {
        if named.name.id.is_empty() {
            return work.await;
        }
        if let Some(answered) = self.answered(&named).await? {
            return self.again(answered).await;
        }
        let asked = Asked {
            name: named.name.clone(),
            digest: named.digest,
            now: random::now(),
            render: Box::new(move |made| render(made).map(|answer| answer.encode_to_vec())),
        };
        match once(asked, work).await {
            // Somebody else was faster, and may have taken the last place or the SID that this one wanted.
            Err(failure) => match self.answered(&named).await {
                Ok(Some(answered)) => self.again(answered).await,
                Ok(None) => Err(failure),
                Err(other) if failure.kind == Kind::Repeated => Err(other),
                Err(_) => Err(failure),
            },
            done => done,
        }
    }

    async fn answered(&self, named: &Named) -> Result<Option<Answered>, Failure> {
        let answered = self.app.store.answered(&named.name, random::now()).await;
        let answered = answered.map_err(|error| Failure::of_store(error, About::Account))?;
        match answered {
            Some(answered) if answered.digest != named.digest => Err(Failure::invalid(
                code::CONFLICT,
                "request_id",
                "was that of another request within the last 24 hours",
            )),
            answered => Ok(answered),
        }
    }

    /// Waits as a mutation does until its version is in force, and answers as it did.
    async fn again<M: Message + Default>(
        &self,
        answered: Answered,
    ) -> Result<Response<M>, Failure> {
        let Ok(message) = M::decode(answered.answer.as_slice()) else { return Err(unavailable()) };
        let done: Committed<M> = self.app.accounts.commits.answer(message, answered.version).await;
        Ok(committed(done, |message| message))
    }
}
