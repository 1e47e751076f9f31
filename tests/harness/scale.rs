//! How long tests that break things go on: seconds, or minutes where they are asked to.

/// `long` asks for the long forms.
const FAULTS: &str = "MILLRACE_FAULTS";

/// `short`, or `long` in the long forms (`make faults`).
///
/// # Panics
/// If `MILLRACE_FAULTS` is set to anything but `long`.
pub fn scaled<T>(short: T, long: T) -> T {
    match std::env::var(FAULTS) {
        Ok(asked) if asked == "long" => long,
        Ok(asked) if !asked.is_empty() => {
            panic!("{FAULTS} is `{asked}`: it must be `long` or not set")
        }
        _ => short,
    }
}
