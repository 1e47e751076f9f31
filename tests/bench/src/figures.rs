//! What a case comes to: figures, each with the target it is held against.

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
}

impl Target {
    /// Tells whether `figure` is as it must be.
    pub(crate) fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
            Self::Below(bound) => figure < bound,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {}", number(bound)),
            Self::AtMost(bound) => format!("≤ {}", number(bound)),
            Self::Below(bound) => format!("< {}", number(bound)),
        }
    }
}

/// One figure of a case.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What was measured, with its unit.
    pub(crate) what: &'static str,
    /// The figure; of several pairs the median.
    pub(crate) value: f64,
    /// The least and the most of several pairs.
    pub(crate) spread: Option<(f64, f64)>,
    /// What it must be; `None`: it only informs.
    pub(crate) target: Option<Target>,
}

impl Figure {
    /// A figure with a target.
    pub(crate) fn held(what: &'static str, value: f64, target: Target) -> Self {
        Self { what, value, spread: None, target: Some(target) }
    }

    /// A figure that only informs.
    pub(crate) fn told(what: &'static str, value: f64) -> Self {
        Self { what, value, spread: None, target: None }
    }

    /// The median of several values, and their spread.
    pub(crate) fn median(what: &'static str, mut values: Vec<f64>, target: Option<Target>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let middle = |at: usize| values.get(at).copied().unwrap_or_default();
        let value =
            f64::midpoint(middle(values.len().saturating_sub(1) / 2), middle(values.len() / 2));
        let spread = values.first().copied().zip(values.last().copied());
        Self { what, value, spread, target }
    }

    /// The figure in words.
    pub(crate) fn measured(&self) -> String {
        match self.spread {
            Some((least, most)) => {
                format!("{} ({}–{})", number(self.value), number(least), number(most))
            }
            None => number(self.value),
        }
    }

    /// The target in words, and whether it is met.
    pub(crate) fn verdict(&self) -> Option<(String, bool)> {
        let target = self.target?;
        Some((target.words(), target.is_met_by(self.value)))
    }
}

/// A number for people: three digits or more, thousands apart.
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !apart.ends_with('-') {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// A count as a number to divide; none here is large enough to lose a digit that is printed.
pub(crate) fn float<T: TryInto<u64>>(count: T) -> f64 {
    let count = count.try_into().unwrap_or(u64::MAX);
    std::time::Duration::from_nanos(count).as_secs_f64() * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.104, "0.10"), (12.345, "12.3"), (999.6, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn of_several_values_the_median_is_held_against_the_target() {
        let figure = Figure::median("ratio", vec![0.99, 0.9, 0.97], Some(Target::AtLeast(0.95)));
        assert_eq!(figure.measured(), "0.97 (0.90–0.99)");
        assert_eq!(figure.verdict(), Some(("≥ 0.95".to_owned(), true)));
        assert!(!Target::Below(1.0).is_met_by(1.0));
    }
}
