//! Why an input was refused: which field, and what to do about it.

/// The kind of a refusal, the same word in gRPC, in JSON and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The field's value is missing or not what it must be.
    InvalidArgument,
    /// The field names something that does not exist.
    NotFound,
    /// The caller may not do this.
    PermissionDenied,
    /// The value is over a limit of size or number.
    TooLarge,
    /// No room now; try again later.
    ResourceExhausted,
    /// Not possible at the moment; the same request may be repeated.
    Unavailable,
}

impl RefusalCode {
    /// The word in `snake_case`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::TooLarge => "too_large",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
        }
    }
}

/// One refused input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Refusal {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// The field as the caller spelt it, with its path (`data`, `types[2].schema_version`).
    pub field: String,
    /// What is wrong and what would be right; never repeats a secret.
    pub message: String,
}

impl Refusal {
    /// A value that is missing or wrong.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: RefusalCode::InvalidArgument, field: field.into(), message: message.into() }
    }

    /// A value over a limit.
    pub fn too_large(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: RefusalCode::TooLarge, field: field.into(), message: message.into() }
    }

    /// A reference to nothing.
    pub fn not_found(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: RefusalCode::NotFound, field: field.into(), message: message.into() }
    }
}
