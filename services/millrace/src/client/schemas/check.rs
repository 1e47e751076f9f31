//! `millrace schemas check`: what a server would refuse, said before it is asked.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use millrace_schema::Document;
use serde_json::{Value, json};

use super::server::{self, Client};
use crate::client::{
    directory::{self, Directory, Version, Versions},
    output::{self, OutputArgs},
};

/// What was found of one document.
pub(super) struct Checked {
    name: String,
    /// Empty: it is in order.
    pub(super) problems: Vec<String>,
}

/// Checks a document or a directory of them, and prints what was found of each.
pub(super) async fn command(
    output: &OutputArgs,
    path: &Path,
    client: Option<&Client>,
) -> anyhow::Result<ExitCode> {
    let mut checked = Vec::new();
    if path.is_file() {
        let text = directory::read(path)?;
        let problems = Document::parse(&text).err().map(|problem| problem.to_string());
        let name = path.display().to_string();
        checked.push(Checked { name, problems: problems.into_iter().collect() });
    } else {
        for (schema_id, versions) in &Directory::read(path)?.schemas {
            let known = match client {
                Some(client) => server::versions(client, schema_id).await?,
                None => BTreeMap::new(),
            };
            checked.extend(schema(schema_id, versions, &known));
        }
    }
    print(output, &checked)?;
    let failed = checked.iter().any(|checked| !checked.problems.is_empty());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Checks the versions of a schema: each by itself, and with the one before, which may be `known` elsewhere only.
pub(super) fn schema(
    schema_id: &str,
    versions: &Versions,
    known: &BTreeMap<u32, String>,
) -> Vec<Checked> {
    let check = |(number, version): (&u32, &Version)| {
        let mut problems = Vec::new();
        match Document::parse(&version.text) {
            Ok(document) => {
                problems.extend(with_known(&version.text, known.get(number)));
                problems.extend(with_before(*number, &document, versions, known));
            }
            Err(problem) => problems.push(problem.to_string()),
        }
        Checked { name: format!("{schema_id} {number}"), problems }
    };
    versions.iter().map(check).collect()
}

/// A version that the server has is never changed; one without a document may get one.
fn with_known(text: &str, known: Option<&String>) -> Option<String> {
    let known = known.filter(|known| !known.is_empty())?;
    (!server::same(text, known)).then(|| {
        "the server has another document of this version: versions never change, add the next"
            .to_owned()
    })
}

fn with_before(
    number: u32,
    document: &Document,
    versions: &Versions,
    known: &BTreeMap<u32, String>,
) -> Vec<String> {
    let Some(before) = number.checked_sub(1).filter(|before| *before > 0) else {
        return Vec::new();
    };
    let here = versions.get(&before).map(|version| version.text.as_str());
    let text = match here.or_else(|| known.get(&before).map(String::as_str)) {
        // Its fields are not known, which promises nothing.
        Some("") => return Vec::new(),
        Some(text) => text,
        None if versions.keys().next() == Some(&number) && known.is_empty() => return Vec::new(),
        None => return vec![format!("version {before} is missing")],
    };
    // Where it does not compile, that is said of it.
    let Ok(older) = Document::parse(text) else { return Vec::new() };
    older.breaks(document).iter().map(ToString::to_string).collect()
}

fn print(output: &OutputArgs, checked: &[Checked]) -> anyhow::Result<()> {
    if output.json {
        let one = |checked: &Checked| json!({"schema": checked.name, "problems": checked.problems});
        return output::json(&Value::Array(checked.iter().map(one).collect()));
    }
    for Checked { name, problems } in checked {
        match problems.as_slice() {
            [] => output::line(&format!("ok   {name}"))?,
            problems => {
                output::line(&format!("bad  {name}"))?;
                for problem in problems {
                    output::line(&format!("     {problem}"))?;
                }
            }
        }
    }
    Ok(())
}

/// Tells the problems of checked documents as one error.
///
/// # Errors
/// If there is any.
pub(super) fn all_in_order(checked: &[Checked]) -> anyhow::Result<()> {
    let problems: Vec<String> = checked
        .iter()
        .flat_map(|checked| checked.problems.iter().map(|it| format!("{}: {it}", checked.name)))
        .collect();
    anyhow::ensure!(problems.is_empty(), "nothing was registered:\n  {}", problems.join("\n  "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn versions(documents: &[(u32, &str)]) -> Versions {
        let version = |(number, text): &(u32, &str)| {
            (*number, Version { path: PathBuf::new(), text: (*text).to_owned() })
        };
        documents.iter().map(version).collect()
    }

    fn problems(documents: &[(u32, &str)], known: &[(u32, &str)]) -> Vec<String> {
        let known = known.iter().map(|(number, text)| (*number, (*text).to_owned())).collect();
        let checked = schema("A", &versions(documents), &known);
        checked.into_iter().flat_map(|checked| checked.problems).collect()
    }

    const ONE: &str = r#"{"properties":{"a":{"type":"string"}}}"#;
    const TWO: &str = r#"{"properties":{"a":{"type":"string"},"b":{"type":"string"}}}"#;

    #[test]
    fn each_version_is_compared_with_the_one_before() {
        assert_eq!(problems(&[(1, ONE), (2, TWO)], &[]), [""; 0]);
        assert_eq!(problems(&[(1, TWO), (2, ONE)], &[]), ["/properties/b: was removed"]);
        assert_eq!(problems(&[(1, ONE), (3, TWO)], &[]), ["version 2 is missing"]);
        assert_eq!(problems(&[(7, ONE), (8, TWO)], &[]), [""; 0], "older ones may be gone");
        assert_eq!(problems(&[(1, "{\"type\":7}")], &[]).len(), 1);
    }

    #[test]
    fn a_server_knows_more() {
        assert_eq!(problems(&[(2, ONE)], &[(1, TWO)]), ["/properties/b: was removed"]);
        assert_eq!(problems(&[(2, ONE)], &[(1, "")]), [""; 0]);
        assert_eq!(
            problems(&[(1, ONE)], &[(1, " {\"properties\": {\"a\": {\"type\": \"string\"}}}")]),
            [""; 0]
        );
        assert!(problems(&[(1, ONE)], &[(1, TWO)])[0].contains("another document"));
        assert_eq!(problems(&[(3, TWO)], &[(1, ONE)]), ["version 2 is missing"]);
    }
}
