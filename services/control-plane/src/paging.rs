//! Pages of lists, for both faces: sizes, and tokens that name the key after which a page starts. So a list stays whole
//! while rows come and go. A token is good for the list, the account and the filters that it was given for, and for nothing else.

use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use millrace_domain::AccountSid;
use ring::digest;

/// Rows of a page where the caller does not say (Event Streams: 50).
pub(crate) const SIZE_DEFAULT: u32 = 50;
/// Most rows of a page (Event Streams: 1,000).
pub(crate) const SIZE_MAX: u32 = 1_000;

/// Bytes of a token that say what it is good for: enough that no two lists are taken for one by chance.
const MARK_BYTES: usize = 8;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope([u8; MARK_BYTES]);

impl Scope {
    /// One list, such as `/v1/Sinks`, as one account sees it (`None`: everybody sees the same) through `filters`.
    pub(crate) fn of(list: &str, account: Option<AccountSid>, filters: &[u8]) -> Self {
        let account = account.map_or_else(String::new, |account| account.to_string());
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [list.as_bytes(), account.as_bytes(), filters] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut mark = [0; MARK_BYTES];
        mark.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(mark)
    }

    /// The token of the page after `key`.
    pub(crate) fn token(&self, key: &impl ToString) -> String {
        URL_SAFE_NO_PAD.encode([&self.0, key.to_string().as_bytes()].concat())
    }

    /// Reads a token; `None` for what this server never gave for this.
    pub(crate) fn key<K: FromStr>(&self, token: &str) -> Option<K> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let key = bytes.strip_prefix(&self.0)?;
        let text = std::str::from_utf8(key).ok().filter(|text| !text.chars().any(char::is_control));
        text?.parse().ok()
    }
}

/// Takes the row that was asked for beyond the page, and tells whether there was one.
pub(crate) fn cut<T>(rows: &mut Vec<T>, size: u32) -> bool {
    let size = usize::try_from(size).expect("a page is small");
    let more = rows.len() > size;
    rows.truncate(size);
    more
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_read_where_it_was_given_and_nowhere_else(
            list in "[a-c]{0,3}", other in "[a-c]{0,3}", filters in "[=&a]{0,3}", else_ in "[=&a]{0,3}",
            account in 0..3_u128, stranger in 0..3_u128, key in "[a-z.]{1,20}",
        ) {
            let given = Scope::of(&list, Some(AccountSid::from_u128(account)), filters.as_bytes());
            let read = Scope::of(&other, Some(AccountSid::from_u128(stranger)), else_.as_bytes());
            let same = (list, filters, account) == (other, else_, stranger);
            prop_assert_eq!(read.key::<String>(&given.token(&key)), same.then_some(key));
        }

        #[test]
        fn what_was_never_given_is_refused(token in "\\PC{0,60}") {
            let scope = Scope::of("/v1/Sinks", None, b"");
            prop_assert_eq!(scope.key::<String>(&token), None);
        }
    }
}
