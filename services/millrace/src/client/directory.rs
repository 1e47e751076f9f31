//! A directory of event types and schemas, as a platform team keeps it in its repository: `types/*.json`, and
//! `schemas/<schema id>/<version>.json`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use millrace_domain::schema::{EventTypeStatus, Validation, check_name, is_reserved};
use serde::Deserialize;

/// The versions of a schema, by number.
pub(crate) type Versions = BTreeMap<u32, Version>;

/// What a directory has.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// By schema id.
    pub(crate) schemas: BTreeMap<String, Versions>,
    /// By name.
    pub(crate) types: BTreeMap<String, TypeFile>,
}

/// A version's document, and where it is from.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// What a file says of an event type. It says all of it: what is left out is as by default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypeFile {
    #[serde(rename = "type")]
    pub(crate) name: String,
    /// Not of a type of the catalogue, of which only the validation can be changed.
    pub(crate) schema_id: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) status: Option<EventTypeStatus>,
    pub(crate) documentation_url: Option<String>,
    pub(crate) validation: Option<Validation>,
}

impl Directory {
    /// Reads a directory, whole.
    ///
    /// # Errors
    /// What cannot be read or is no file of this kind, by its path; a directory that has neither types nor schemas.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        ensure!(root.is_dir(), "`{}` is no directory", root.display());
        let mut directory = Self::default();
        for path in entries(&root.join("schemas"))? {
            let (schema_id, versions) = schema(&path)?;
            directory.schemas.insert(schema_id, versions);
        }
        for path in entries(&root.join("types"))? {
            let file = event_type(&path)?;
            let name = file.name.clone();
            let before = directory.types.insert(name, file);
            if let Some(before) = before {
                anyhow::bail!(
                    "`{}`: the type `{}` is in another file too",
                    path.display(),
                    before.name
                );
            }
        }
        let found = !directory.schemas.is_empty() || !directory.types.is_empty();
        ensure!(
            found,
            "`{}` has neither `schemas/<id>/<n>.json` nor `types/*.json`",
            root.display()
        );
        Ok(directory)
    }
}

/// The entries of a directory in order; hidden ones are left out. None where it is not there.
fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let listed = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
    let mut paths = listed.with_context(|| format!("cannot list `{}`", directory.display()))?;
    paths.retain(|path| name(path).is_some_and(|name| !name.starts_with('.')));
    paths.sort();
    Ok(paths)
}

fn schema(path: &Path) -> anyhow::Result<(String, Versions)> {
    let schema_id = name(path).unwrap_or_default().to_owned();
    check_name("the name of the directory", &schema_id)
        .with_context(|| format!("`{}` is no schema", path.display()))?;
    ensure!(path.is_dir(), "`{}`: a schema is a directory of `<version>.json`", path.display());
    let mut versions = Versions::new();
    for path in entries(path)? {
        let stem = name(&path).and_then(|name| name.strip_suffix(".json"));
        // Written as a number is: `01.json` would be the same version again.
        let number =
            stem.and_then(|stem| stem.parse::<u32>().ok().filter(|n| n.to_string() == stem));
        let number = number.filter(|number| *number > 0);
        let number = number.with_context(|| {
            format!("`{}` must be named by its version, such as `1.json`", path.display())
        })?;
        let text = read(&path)?;
        versions.insert(number, Version { path, text });
    }
    Ok((schema_id, versions))
}

fn event_type(path: &Path) -> anyhow::Result<TypeFile> {
    let json = name(path).is_some_and(|name| name.ends_with(".json"));
    ensure!(json, "`{}` must be a `.json` file", path.display());
    let file: TypeFile = serde_json::from_str(&read(path)?)
        .with_context(|| format!("`{}` is no event type", path.display()))?;
    let own = !is_reserved(&file.name);
    let place = path.display();
    ensure!(!own || file.schema_id.is_some(), "`{place}`: `schema_id` is missing");
    let only_validation = file.validation.is_some()
        && file.description.is_none()
        && file.status.is_none()
        && file.documentation_url.is_none();
    ensure!(
        own || only_validation,
        "`{place}`: of a type of the catalogue only `validation` can be set"
    );
    Ok(file)
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> anyhow::Result<Directory> {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        Directory::read(root.path())
    }

    #[test]
    fn the_example_of_the_documentation_is_one() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/catalogue");
        let directory = Directory::read(Path::new(root)).expect("a directory");
        assert_eq!(directory.schemas["Example.Order"].keys().collect::<Vec<_>>(), [&1, &2]);
        assert_eq!(directory.types.len(), 3);
    }

    #[test]
    fn what_is_out_of_place_is_named() {
        let type_file = r#"{"type":"com.example.a","schema_id":"A"}"#;
        for (files, told) in [
            (&[][..], "neither"),
            (&[("types/a.json", type_file), ("types/b.json", type_file)], "another file too"),
            (&[("types/a.yaml", type_file)], "must be a `.json`"),
            (&[("types/a.json", r#"{"type":"com.example.a"}"#)], "`schema_id` is missing"),
            (&[("types/a.json", r#"{"type":"a","schema_id":"A","x":1}"#)], "no event type"),
            (
                &[("types/a.json", r#"{"type":"com.twilio.a","status":"restricted"}"#)],
                "only `validation`",
            ),
            (&[("schemas/A/first.json", "{}")], "named by its version"),
            (&[("schemas/A/0.json", "{}")], "named by its version"),
            (&[("schemas/A/01.json", "{}")], "named by its version"),
            (&[("schemas/A.json", "{}")], "directory of"),
            (&[("schemas/a b/1.json", "{}")], "no schema"),
        ] {
            let error = format!("{:#}", with(files).expect_err(told));
            assert!(error.contains(told), "{error}");
        }
        let fine =
            with(&[("types/a.json", type_file), ("types/.hidden", ""), ("schemas/A/1.json", "{}")]);
        assert_eq!(fine.expect("a directory").types.len(), 1);
    }
}
