//! Normal forms of the strings in a report. Each function is idempotent: applied to its
//! own result it changes nothing.

/// Value of an empty, blank or missing field.
pub const UNKNOWN: &str = "unknown";

/// Removes surrounding blanks and folds letters to lower case, so that neither makes a new value.
pub fn folded(text: String) -> String {
    let trimmed = text.trim();
    if trimmed.len() == text.len() && !has_uppercase(&text) {
        return text; // The common case: nothing to do, nothing allocated.
    }
    // Some letters are longer in lower case, and a few lower-case forms are still
    // "upper case" to Unicode; applying it once is stable all the same.
    trimmed.to_lowercase()
}

/// True if a text has an upper-case letter. Nearly every text is ASCII, whose bytes are looked at faster.
fn has_uppercase(text: &str) -> bool {
    if text.is_ascii() {
        return text.bytes().any(|byte| byte.is_ascii_uppercase());
    }
    text.chars().any(char::is_uppercase)
}

/// True if a text has a control character.
pub fn has_controls(text: &str) -> bool {
    if text.is_ascii() {
        return text.bytes().any(|byte| byte.is_ascii_control());
    }
    text.chars().any(char::is_control)
}

/// Folds a value; [`UNKNOWN`] where there is none.
pub fn value(given: Option<String>) -> String {
    match given.map(folded) {
        Some(value) if !value.is_empty() => value,
        _ => UNKNOWN.to_owned(),
    }
}

/// `11.0.0` and `V11.0.0` are `v11.0.0`; names such as `latest` stay as they are.
pub fn version(given: Option<String>) -> String {
    let mut version = value(given);
    if version.starts_with(|first: char| first.is_ascii_digit()) {
        version.insert(0, 'v');
    }
    version
}

/// The names that Docker and the kernel give to one machine are one architecture.
pub fn architecture(given: Option<String>) -> String {
    let name = value(given);
    match name.as_str() {
        "arm64" => "aarch64".to_owned(),
        "amd64" => "x86_64".to_owned(),
        _ => name,
    }
}
