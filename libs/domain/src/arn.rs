//! Amazon resource names of what sinks use: streams and roles.
//!
//! Only what these two need is taken, and strictly: a region becomes part of a host name.

use std::fmt;

/// Longest ARN of a role (AWS STS, `AssumeRole`, `RoleArn`).
const ROLE_MAX_BYTES: usize = 2_048;
/// Longest name of a stream (Kinesis, `CreateStream`, `StreamName`).
const STREAM_MAX_BYTES: usize = 128;
/// Longest region; the longest today has 14.
const REGION_MAX_BYTES: usize = 32;

/// A part of AWS with accounts and regions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AwsPartition {
    /// `aws`.
    Commercial,
    /// `aws-cn`.
    China,
    /// `aws-us-gov`.
    Government,
}

impl AwsPartition {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "aws" => Some(Self::Commercial),
            "aws-cn" => Some(Self::China),
            "aws-us-gov" => Some(Self::Government),
            _ => None,
        }
    }

    /// The partition that a region is of, by its name.
    pub fn of_region(region: &str) -> Self {
        match region {
            region if region.starts_with("cn-") => Self::China,
            region if region.starts_with("us-gov-") => Self::Government,
            _ => Self::Commercial,
        }
    }

    /// A region that every account of the partition has.
    pub fn home_region(self) -> &'static str {
        match self {
            Self::Commercial => "us-east-1",
            Self::China => "cn-north-1",
            Self::Government => "us-gov-west-1",
        }
    }
}

/// Why a text is not the ARN that is wanted, as the end of a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongArn(&'static str);

/// The ARN of a Kinesis data stream, such as `arn:aws:kinesis:eu-west-1:123456789012:stream/events`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamArn {
    text: String,
    /// Its part of AWS.
    pub partition: AwsPartition,
    /// Its region.
    pub region: String,
}

impl StreamArn {
    /// Reads one.
    ///
    /// # Errors
    /// [`WrongArn`] that tells what is wrong.
    pub fn parse(text: &str) -> Result<Self, WrongArn> {
        let fields: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "kinesis", region, account, resource] = fields[..] else {
            return Err(WrongArn(
                "must be the ARN of a stream, such as `arn:aws:kinesis:eu-west-1:123456789012:stream/events`",
            ));
        };
        let partition = partition_of(partition)?;
        if !is_region(region) {
            return Err(WrongArn("must have a region such as `eu-west-1` as its fourth part"));
        }
        if AwsPartition::of_region(region) != partition {
            return Err(WrongArn("has a region that is not of its partition"));
        }
        check_account(account)?;
        if !resource.strip_prefix("stream/").is_some_and(is_stream_name) {
            return Err(WrongArn(
                "must end in `stream/` and a name of at most 128 letters, digits, `_`, `.` and `-`",
            ));
        }
        Ok(Self { text: text.to_owned(), partition, region: region.to_owned() })
    }

    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for StreamArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The ARN of a role, such as `arn:aws:iam::123456789012:role/events`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoleArn {
    text: String,
    /// Its part of AWS.
    pub partition: AwsPartition,
    /// The AWS account it is of: 12 digits.
    pub account: String,
}

/// The AWS accounts whose roles sinks may name: for an operator, whose own roles may trust the deliverer more than they should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleAccounts {
    /// These alone; empty: any.
    pub allow: Vec<String>,
    /// Never these.
    pub refuse: Vec<String>,
}

impl RoleAccounts {
    /// Checks whether a sink may name `role`.
    ///
    /// # Errors
    /// [`WrongArn`]: it may not.
    pub fn check(&self, role: &RoleArn) -> Result<(), WrongArn> {
        let Self { allow, refuse } = self;
        let is_allowed = allow.is_empty() || allow.contains(&role.account);
        match is_allowed && !refuse.contains(&role.account) {
            true => Ok(()),
            false => Err(WrongArn("is of an AWS account that the operator lets no sink use")),
        }
    }
}

impl RoleArn {
    /// Reads one.
    ///
    /// # Errors
    /// [`WrongArn`] that tells what is wrong.
    pub fn parse(text: &str) -> Result<Self, WrongArn> {
        let fields: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = fields[..] else {
            return Err(WrongArn(
                "must be the ARN of a role, such as `arn:aws:iam::123456789012:role/events`",
            ));
        };
        let partition = partition_of(partition)?;
        check_account(account)?;
        if text.len() > ROLE_MAX_BYTES || !resource.strip_prefix("role/").is_some_and(is_role_path)
        {
            return Err(WrongArn("must end in `role/` and the role's path and name"));
        }
        Ok(Self { text: text.to_owned(), partition, account: account.to_owned() })
    }

    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn partition_of(text: &str) -> Result<AwsPartition, WrongArn> {
    AwsPartition::parse(text)
        .ok_or(WrongArn("must be of the partition `aws`, `aws-cn` or `aws-us-gov`"))
}

fn check_account(text: &str) -> Result<(), WrongArn> {
    match text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => Err(WrongArn("must have an AWS account of 12 digits as its fifth part")),
    }
}

/// `us-east-1`, `us-gov-west-1`: lower-case words, and a number at the end.
fn is_region(text: &str) -> bool {
    let mut words = text.split('-').rev();
    let number = words.next().unwrap_or_default();
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let words: Vec<&str> = words.collect();
    text.len() <= REGION_MAX_BYTES
        && is_number
        && words.len() >= 2
        && words.into_iter().all(is_word)
}

fn is_stream_name(text: &str) -> bool {
    (1..=STREAM_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Path and name of a role (IAM, `CreateRole`: path `!` to `~`, name `[\w+=,.@-]{1,64}`).
fn is_role_path(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
        && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_says_whose_roles_sinks_may_name() {
        let role = RoleArn::parse("arn:aws:iam::123456789012:role/events").expect("a role");
        let check = |allow: &[&str], refuse: &[&str]| {
            let list = |accounts: &[&str]| accounts.iter().map(|it| (*it).to_owned()).collect();
            RoleAccounts { allow: list(allow), refuse: list(refuse) }.check(&role).is_ok()
        };
        let (own, other) = ("123456789012", "210987654321");
        assert!(check(&[], &[]) && check(&[other, own], &[]) && check(&[], &[other]));
        assert!(!check(&[other], &[]) && !check(&[], &[other, own]) && !check(&[own], &[own]));
    }

    #[test]
    fn reads_streams_of_every_partition() {
        for (text, partition, region) in [
            (
                "arn:aws:kinesis:us-east-1:123456789012:stream/a",
                AwsPartition::Commercial,
                "us-east-1",
            ),
            (
                "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a_b.c-D",
                AwsPartition::China,
                "cn-north-1",
            ),
            (
                "arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/a",
                AwsPartition::Government,
                "us-gov-west-1",
            ),
        ] {
            let read = StreamArn::parse(text).expect(text);
            assert_eq!((read.partition, read.region.as_str()), (partition, region));
            assert_eq!(read.as_str(), text);
            assert_eq!(AwsPartition::of_region(partition.home_region()), partition);
        }
    }

    #[test]
    fn refuses_what_is_no_stream() {
        for text in [
            "",
            "events",
            "arn:aws:kinesis:us-east-1:123456789012",
            "arn:aws:s3:us-east-1:123456789012:stream/a",
            "arn:aws-x:kinesis:us-east-1:123456789012:stream/a",
            "arn:aws:kinesis:cn-north-1:123456789012:stream/a",
            "arn:aws-cn:kinesis:us-east-1:123456789012:stream/a",
            "arn:aws:kinesis::123456789012:stream/a",
            "arn:aws:kinesis:evil.example/:123456789012:stream/a",
            "arn:aws:kinesis:us-east-1.evil-1:123456789012:stream/a",
            "arn:aws:kinesis:US-EAST-1:123456789012:stream/a",
            "arn:aws:kinesis:us-east-1:12345678901:stream/a",
            "arn:aws:kinesis:us-east-1:12345678901x:stream/a",
            "arn:aws:kinesis:us-east-1:123456789012:stream/",
            "arn:aws:kinesis:us-east-1:123456789012:stream/a b",
            "arn:aws:kinesis:us-east-1:123456789012:stream/a:b",
            "arn:aws:kinesis:us-east-1:123456789012:stream/a\n",
            "arn:aws:kinesis:us-east-1:123456789012:table/a",
            " arn:aws:kinesis:us-east-1:123456789012:stream/a",
        ] {
            StreamArn::parse(text).expect_err(text);
        }
        let long = format!("arn:aws:kinesis:us-east-1:123456789012:stream/{}", "a".repeat(129));
        StreamArn::parse(&long).expect_err("too long");
    }

    #[test]
    fn reads_roles_and_refuses_what_is_none() {
        for text in [
            "arn:aws:iam::123456789012:role/events",
            "arn:aws-cn:iam::123456789012:role/a/b/events+=,.@-_",
        ] {
            assert_eq!(RoleArn::parse(text).expect(text).as_str(), text);
        }
        for text in [
            "",
            "arn:aws:iam::123456789012:user/events",
            "arn:aws:iam:us-east-1:123456789012:role/events",
            "arn:aws:sts::123456789012:role/events",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::1234:role/events",
            "arn:aws:iam::123456789012:role/a/",
        ] {
            RoleArn::parse(text).expect_err(text);
        }
    }
}
