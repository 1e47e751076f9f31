//! What a sink's requests carry besides, as arguments and as a field.

use millrace_domain::sink::Headers;
use millrace_proto::v1;

/// Headers of a sink's requests.
#[derive(clap::Args)]
pub(super) struct HeaderArgs {
    /// Put this header into every request, such as `X-Api-Key: …`; give it again for another. All of them replace all that were.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<Header>,
}

#[derive(Clone)]
struct Header {
    name: String,
    value: String,
}

impl HeaderArgs {
    /// Puts what is given into `sink`; tells whether something is.
    pub(super) fn apply(&self, sink: &mut v1::Sink) -> bool {
        let headers = self.header.iter().map(|it| (it.name.clone(), it.value.clone()));
        sink.headers = headers.collect();
        !self.header.is_empty()
    }
}

/// Which headers a sink's requests carry; their values are secret.
pub(super) fn field(sink: &v1::Sink) -> Option<(&'static str, String)> {
    let mut names: Vec<_> = sink.headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    (!names.is_empty()).then(|| ("headers", names.join(", ")))
}

fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once(':').ok_or("must be `NAME: VALUE`")?;
    let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
    Headers::checked([(name.clone(), value.clone())]).map_err(|refusal| refusal.message)?;
    Ok(Header { name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let Ok(read) = header("X-Api-Key:  a:b ") else { panic!("valid") };
        assert_eq!((read.name.as_str(), read.value.as_str()), ("X-Api-Key", "a:b"));
        for wrong in ["X-Api-Key", "X-Api-Key:", ": x", "Host: x", "a b: x"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
