//! `application/x-www-form-urlencoded`, read strictly: bytes that are no UTF-8 are refused and not replaced.

use percent_encoding::percent_decode;

use crate::status::{Failure, Kind, code};

/// The fields of a form or of a query, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=1&b=2`, with `+` for a space and percent-encoded bytes.
    ///
    /// # Errors
    /// A value that is not UTF-8, by its field.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let pairs = bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// Every value of a field.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let values: Vec<_> = self.0.iter().filter(|(field, _)| field == name).collect();
        values.into_iter().map(|(_, value)| value.as_str())
    }

    /// The value of a field that may be missing.
    ///
    /// # Errors
    /// If it is given twice.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            Some(_) => Err(Failure::invalid(code::BAD_REQUEST, name, "is given twice")),
            None => Ok(first),
        }
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    /// If it is missing or given twice.
    pub(super) fn required(&self, name: &str, code: u32) -> Result<&str, Failure> {
        let value = self.one(name)?;
        // As Event Streams says it: the name comes last.
        let message = || format!("Missing required parameter {name}");
        value.ok_or_else(|| Failure::new(Kind::Invalid, code, message()))
    }

    /// Refuses a field that would mean something if it were known here.
    pub(super) fn refuse(&self, name: &str, why: &str) -> Result<(), Failure> {
        match self.all(name).next() {
            Some(_) => Err(Failure::invalid(code::BAD_REQUEST, name, why)),
            None => Ok(()),
        }
    }
}

fn pair(pair: &[u8]) -> Result<(String, String), Failure> {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = text(halves.next().unwrap_or_default()).ok_or_else(|| {
        Failure::new(Kind::Invalid, code::BAD_REQUEST, "the name of a parameter is not UTF-8")
    })?;
    match text(halves.next().unwrap_or_default()) {
        Some(value) => Ok((name, value)),
        None => Err(Failure::invalid(code::BAD_REQUEST, name, "is not UTF-8")),
    }
}

fn text(encoded: &[u8]) -> Option<String> {
    let spaced: Vec<u8> = encoded.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_sdks_send_and_what_they_do_not() {
        let fields = Fields::parse(b"a=1+2&b=%C3%A9&&c&a=%7B%22x%22%3A+%22%2B%22%7D&d=%zz&=e");
        let fields = fields.expect("valid");
        assert_eq!(fields.all("a").collect::<Vec<_>>(), ["1 2", r#"{"x": "+"}"#]);
        assert_eq!(fields.one("b"), Ok(Some("é")));
        assert_eq!(fields.one("c"), Ok(Some("")));
        assert_eq!(fields.one("d"), Ok(Some("%zz")));
        assert_eq!(fields.one("f"), Ok(None));
        assert_eq!(fields.one("a").expect_err("twice").field, "a");
    }

    #[test]
    fn refuses_what_is_no_text_and_names_the_field() {
        assert_eq!(Fields::parse(b"a=1&b=%ff%fe").expect_err("no UTF-8").field, "b");
        assert_eq!(Fields::parse(b"b=\xff").expect_err("no UTF-8").field, "b");
        assert_eq!(Fields::parse(b"%ff=1").expect_err("no UTF-8").field, "");
    }
}
