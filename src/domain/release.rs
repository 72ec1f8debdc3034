//! Order among release versions.

/// True if a version is `v` and numbers between dots, nothing else.
pub fn is_release(version: &str) -> bool {
    version.strip_prefix('v').is_some_and(|numbers| {
        numbers
            .split('.')
            .all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The newer of two versions, compared number by number. A version that is no release is never
/// the newer one.
#[must_use]
pub fn newer_release(newest: Option<String>, version: String) -> Option<String> {
    let numbers = |version: &str| -> Option<Vec<u64>> {
        let numbers = version.strip_prefix('v')?;
        numbers.split('.').map(|number| number.parse().ok()).collect()
    };
    let Some(candidate) = numbers(&version).filter(|_| is_release(&version)) else {
        return newest;
    };
    if newest.as_deref().and_then(numbers).is_some_and(|newest| newest >= candidate) {
        return newest;
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        let versions =
            ["v9.11.3", "v10.2", "unknown", "v10.2.0", "v10.1.9", "v10.3-rc1", "nightly"];
        let newest = versions.map(str::to_owned).into_iter().fold(None, newer_release);
        assert_eq!(newest.as_deref(), Some("v10.2.0"));
        assert_eq!(newer_release(None, "unknown".to_owned()), None);
    }
}
