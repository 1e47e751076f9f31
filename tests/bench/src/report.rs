//! The report: the figures of each case as they come, and all that have a target once more at the end, as a table.

use crate::{calibrate::Drift, case::Case, figures::Figure};

/// What a case measured.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) figures: Vec<Figure>,
    /// What explains them.
    pub(crate) notes: Vec<String>,
    pub(crate) drift: Drift,
}

impl Outcome {
    /// Adds a figure.
    pub(crate) fn figure(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Adds a line that explains.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Prints one case.
pub(crate) fn print(case: Case, outcome: &Outcome) {
    println!("\n{}: {}", case.name(), case.about());
    for figure in &outcome.figures {
        let verdict = match figure.verdict() {
            Some((target, true)) => format!("   target {target}: met"),
            Some((target, false)) => format!("   target {target}: MISSED"),
            None => String::new(),
        };
        println!("  {:<44}{:>22}{verdict}", figure.what, figure.measured());
    }
    for note in &outcome.notes {
        println!("  {note}");
    }
    println!("  machine drift within the case {}", outcome.drift.told());
}

/// Prints what has a target as a table.
pub(crate) fn table(outcomes: &[(Case, Outcome)]) {
    println!("\n| case | figure | measured | target | |\n|---|---|---|---|---|");
    for (case, outcome) in outcomes {
        for figure in &outcome.figures {
            if let Some((target, met)) = figure.verdict() {
                let word = if met { "met" } else { "missed" };
                let (what, measured) = (figure.what, figure.measured());
                println!("| {} | {what} | {measured} | {target} | {word} |", case.name());
            }
        }
    }
}
