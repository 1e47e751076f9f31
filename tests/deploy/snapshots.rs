//! Two sets of values as they were rendered last: a change of the chart shows in its review.
//!
//! `MILLRACE_UPDATE_SNAPSHOTS=1 cargo test -p millrace-tests --test deploy snapshots` writes them anew.

use crate::{
    chart,
    tools::{directory, helms},
};

/// Set, to write what is rendered in place of comparing it.
const UPDATE: &str = "MILLRACE_UPDATE_SNAPSHOTS";

#[test]
fn the_least_and_everything_render_as_they_did() {
    for set in ["external", "everything"] {
        let rendered = chart::yaml(&helms()[1], set, &[]);
        let file = directory().join(format!("snapshots/{set}.yaml"));
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&file, rendered).expect("writable");
            continue;
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        let mut lines = kept.lines().zip(rendered.lines()).enumerate();
        let differs = lines.find(|(_, (kept, rendered))| kept != rendered);
        assert!(kept == rendered, "{set}: {differs:?}: {UPDATE}=1 writes it anew");
    }
}
