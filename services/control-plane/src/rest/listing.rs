//! A page of a list as `events/v1` answers it: rows under their key, and `meta` with the neighbours' URLs.

use std::{collections::VecDeque, future::Future, marker::PhantomData, str::FromStr};

use axum::{http::StatusCode, response::Response};
use form_urlencoded::byte_serialize;
use millrace_domain::AccountSid;
use serde_json::{Map, Value, json};

use super::{answer::json as answer, form::Fields, request::Base};
use crate::{
    paging::{self, SIZE_DEFAULT, SIZE_MAX, Scope},
    status::{Failure, code},
};

/// What a query says of the page.
pub(super) struct Paged<K> {
    size: u32,
    /// For the caller only: the token says where a page starts.
    index: u64,
    token: Option<String>,
    /// Repeated in every URL, before the rest.
    filters: Vec<(&'static str, String)>,
    /// A long list: the page before is not looked for.
    forward: bool,
    key: PhantomData<K>,
}

/// A page whose list is known, and so what its token says.
struct Found<'a, K> {
    paged: &'a Paged<K>,
    place: &'a Place<'a>,
    scope: Scope,
    after: Option<K>,
}

/// Rows of a page, and where its neighbours start.
struct Rows<T, K> {
    rows: Vec<T>,
    next: Option<K>,
    previous: Previous<K>,
}

/// Where a page and its neighbours are.
struct Links {
    first: String,
    previous: Option<String>,
    this: String,
    next: Option<String>,
}

enum Previous<K> {
    None,
    First,
    After(K),
}

impl<K: FromStr + ToString + Clone + Ord> Paged<K> {
    /// Reads `PageSize`, `Page` and `PageToken`; `filters` are the query's other parameters that count.
    pub(super) fn read(query: &Fields, filters: &[&'static str]) -> Result<Self, Failure> {
        let mut kept = Vec::new();
        for filter in filters {
            if let Some(value) = query.one(filter)? {
                kept.push((*filter, value.to_owned()));
            }
        }
        let (size, index) = (size(query)?, index(query)?);
        let token = query.one("PageToken")?.filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(Self { size, index, token, filters: kept, forward: false, key: PhantomData })
    }

    /// As [`Self::read`], for a list that is too long to look for the page before.
    pub(super) fn read_forward(query: &Fields, filters: &[&'static str]) -> Result<Self, Failure> {
        Ok(Self { forward: true, ..Self::read(query, filters)? })
    }

    /// Reads the page by `list`, which gives up to so many rows after a key, and answers it.
    pub(super) async fn answer<T, F, R>(
        self,
        place: Place<'_>,
        list: impl Fn(Option<K>, u32) -> F,
        key: impl Fn(&T) -> K,
        render: R,
    ) -> Result<Response, Failure>
    where
        F: Future<Output = Result<Vec<T>, Failure>>,
        R: Fn(&T) -> Value,
    {
        let (rows, links) = self.page(&place, list, key).await?;
        let meta = json!({
            "page": self.index,
            "page_size": self.size,
            "first_page_url": links.first,
            "previous_page_url": links.previous,
            "url": links.this,
            "next_page_url": links.next,
            "key": place.key,
        });
        let mut body = Map::new();
        body.insert(place.key.to_owned(), rows.iter().map(render).collect());
        body.insert("meta".to_owned(), meta);
        Ok(answer(StatusCode::OK, Value::Object(body)))
    }

    /// As [`Self::answer`], as the 2010 API answers it: beside the rows stand their numbers and the neighbours' URIs.
    pub(super) async fn answer_2010<T, F, R>(
        self,
        place: Place<'_>,
        list: impl Fn(Option<K>, u32) -> F,
        key: impl Fn(&T) -> K,
        render: R,
    ) -> Result<Response, Failure>
    where
        F: Future<Output = Result<Vec<T>, Failure>>,
        R: Fn(&T) -> Value,
    {
        let (rows, links) = self.page(&place, list, key).await?;
        let start = self.index.saturating_mul(self.size.into());
        let mut body = json!({
            "page": self.index,
            "page_size": self.size,
            "start": start,
            "end": start.saturating_add((rows.len() as u64).saturating_sub(1)),
            "first_page_uri": links.first,
            "previous_page_uri": links.previous,
            "uri": links.this,
            "next_page_uri": links.next,
        });
        body[place.key] = rows.iter().map(render).collect();
        Ok(answer(StatusCode::OK, body))
    }

    /// Reads the page, and tells where it and its neighbours are.
    async fn page<T, F>(
        &self,
        place: &Place<'_>,
        list: impl Fn(Option<K>, u32) -> F,
        key: impl Fn(&T) -> K,
    ) -> Result<(Vec<T>, Links), Failure>
    where
        F: Future<Output = Result<Vec<T>, Failure>>,
    {
        let found = self.find(place)?;
        let Rows { rows, next, previous } = found.rows(list, key).await?;
        let before = self.index.saturating_sub(1);
        let links = Links {
            first: found.url(0, None),
            previous: match &previous {
                Previous::None => None,
                Previous::First => Some(found.url(before, None)),
                Previous::After(key) => Some(found.url(before, Some(key))),
            },
            this: found.url(self.index, found.after.as_ref()),
            next: next.map(|key| found.url(self.index.saturating_add(1), Some(&key))),
        };
        Ok((rows, links))
    }

    /// Reads the token as one of `place` and these filters.
    fn find<'a>(&'a self, place: &'a Place<'a>) -> Result<Found<'a, K>, Failure> {
        let scope = Scope::of(place.path, place.account, self.filters().as_bytes());
        let after = match &self.token {
            Some(token) => Some(scope.key(token).ok_or_else(wrong_token)?),
            None => None,
        };
        Ok(Found { paged: self, place, scope, after })
    }

    /// The filters as they stand in URLs, each with an ampersand after it.
    fn filters(&self) -> String {
        let mut filters = String::new();
        for (name, value) in &self.filters {
            filters.push_str(name);
            filters.push('=');
            filters.extend(byte_serialize(value.as_bytes()));
            filters.push('&');
        }
        filters
    }
}

impl<K: FromStr + ToString + Clone + Ord> Found<'_, K> {
    async fn rows<T, F>(
        &self,
        list: impl Fn(Option<K>, u32) -> F,
        key: impl Fn(&T) -> K,
    ) -> Result<Rows<T, K>, Failure>
    where
        F: Future<Output = Result<Vec<T>, Failure>>,
    {
        let size = self.paged.size;
        let mut rows = list(self.after.clone(), size + 1).await?;
        let more = paging::cut(&mut rows, size);
        let next = rows.last().filter(|_| more).map(&key);
        let previous = match &self.after {
            None => Previous::None,
            Some(_) if self.paged.forward => Previous::None,
            Some(after) => self.previous(after, list, key).await?,
        };
        Ok(Rows { rows, next, previous })
    }

    /// Finds the start of the page before by reading the list up to this one: lists are short, and few callers go back.
    async fn previous<T, F>(
        &self,
        after: &K,
        list: impl Fn(Option<K>, u32) -> F,
        key: impl Fn(&T) -> K,
    ) -> Result<Previous<K>, Failure>
    where
        F: Future<Output = Result<Vec<T>, Failure>>,
    {
        let kept = usize::try_from(self.paged.size).expect("a page is small") + 1;
        let (mut before, mut start) = (VecDeque::with_capacity(kept + 1), None);
        loop {
            let rows = list(start, SIZE_MAX).await?;
            let (keys, full) = (rows.iter().map(&key), rows.len() >= SIZE_MAX as usize);
            start = rows.last().map(&key);
            for key in keys.take_while(|key| key <= after) {
                before.push_back(key);
                if before.len() > kept {
                    before.pop_front();
                }
            }
            if !full || start.as_ref().is_none_or(|last| last >= after) {
                break;
            }
        }
        Ok(match before.pop_front() {
            None => Previous::None,
            Some(key) if before.len() + 1 == kept => Previous::After(key),
            Some(_) => Previous::First,
        })
    }

    fn url(&self, index: u64, after: Option<&K>) -> String {
        let Self { paged, place, scope, .. } = self;
        let (base, path, filters) = (&place.base.0, place.path, paged.filters());
        let mut url = format!("{base}{path}?{filters}PageSize={}&Page={index}", paged.size);
        if let Some(after) = after {
            url.push_str("&PageToken=");
            url.push_str(&scope.token(after));
        }
        url
    }
}

/// What a token is answered with that is not of the list.
pub(super) fn wrong_token() -> Failure {
    let message = "is not a token that this list gave for these filters";
    Failure::invalid(code::PAGING, "PageToken", message)
}

/// Which list, and where it is.
pub(super) struct Place<'a> {
    pub(super) key: &'static str,
    pub(super) path: &'a str,
    /// Whose list it is; `None`: everybody sees the same.
    pub(super) account: Option<AccountSid>,
    pub(super) base: &'a Base,
}

fn size(query: &Fields) -> Result<u32, Failure> {
    let Some(text) = query.one("PageSize")? else { return Ok(SIZE_DEFAULT) };
    // A number of any length is a number.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(size @ 1..=SIZE_MAX) => Ok(size),
        read if digits && read != Ok(0) => {
            Err(Failure::invalid(code::PAGE_SIZE, "PageSize", format!("is larger than {SIZE_MAX}")))
        }
        _ => Err(Failure::invalid(
            code::PAGING,
            "PageSize",
            format!("must be a whole number from 1 to {SIZE_MAX}"),
        )),
    }
}

fn index(query: &Fields) -> Result<u64, Failure> {
    let Some(text) = query.one("Page")? else { return Ok(0) };
    let wrong = |_| Failure::invalid(code::PAGING, "Page", "must be a whole number from 0");
    text.parse::<u64>().map_err(wrong)
}
