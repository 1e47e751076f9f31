//! What is printed: aligned columns for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// How to print.
#[derive(Clone, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Prints a line to standard output.
///
/// # Errors
/// A closed pipe, which ends the process quietly; a full disk.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints a JSON value.
///
/// # Errors
/// As [`line()`].
pub(crate) fn json(value: &Value) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Says that a resource is gone.
///
/// # Errors
/// As [`line()`].
pub(crate) fn deleted(output: &OutputArgs, what: &str, sid: &str) -> anyhow::Result<()> {
    if output.json {
        return json(&json!({ "deleted": sid }));
    }
    line(&format!("deleted the {what} {sid}"))
}

/// Tells whether nobody reads what is printed any more, such as after `| head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Lines up rows under their headings, without rules: easy on the eye and on `grep`.
pub(crate) fn columns(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(headings).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trimmed(&table)
}

/// Lines up names and values, one a line.
pub(crate) fn fields(pairs: Vec<(&str, String)>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.add_rows(pairs.into_iter().map(|(name, value)| vec![format!("{name}:"), value]));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    trimmed(&table)
}

/// Rules a table; columns from `numbers_from` on hold numbers.
pub(crate) fn ruled(headings: &[&str], rows: Vec<Vec<String>>, numbers_from: usize) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(headings).add_rows(rows);
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_spaces() {
        let rows = vec![
            vec!["DG1".to_owned(), "active".to_owned()],
            vec!["DG23".to_owned(), "failed".to_owned()],
        ];
        assert_eq!(columns(&["SID", "STATUS"], rows), "SID   STATUS\nDG1   active\nDG23  failed");
    }

    #[test]
    fn fields_line_up() {
        let pairs = vec![("sid", "DG1".to_owned()), ("description", "a b".to_owned())];
        assert_eq!(fields(pairs), "sid:          DG1\ndescription:  a b");
    }

    #[test]
    fn a_closed_pipe_is_recognised() {
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_closed_pipe(&closed) && !is_closed_pipe(&anyhow::anyhow!("other")));
    }
}
