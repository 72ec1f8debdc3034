//! Release versions: their form and their order.

/// Largest number in a plausible release. Mattermost counts releases, not years.
const LARGEST_NUMBER: u16 = 999;

/// True if a version is `v` and numbers between dots, nothing else.
#[must_use]
pub fn is_release(version: &str) -> bool {
    version.strip_prefix('v').is_some_and(|numbers| {
        numbers
            .split('.')
            .all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// True if a version looks like a release of Mattermost or a candidate of one (`-rc1`): two or three
/// numbers up to 999, without leading zeros.
#[must_use]
pub fn is_plausible_release(version: &str) -> bool {
    let plausible = |number: &str| {
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let largest = number.parse::<u16>().is_ok_and(|number| number <= LARGEST_NUMBER);
        digits && largest && (number == "0" || !number.starts_with('0'))
    };
    let Some(numbers) = version.strip_prefix('v') else { return false };
    let (numbers, candidate) = match numbers.split_once("-rc") {
        Some((numbers, candidate)) => (numbers, Some(candidate)),
        None => (numbers, None),
    };
    (2..=3).contains(&numbers.split('.').count())
        && numbers.split('.').chain(candidate).all(plausible)
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

    #[test]
    fn plausible_releases_have_two_or_three_numbers() {
        for version in ["v11.0.0", "v9.11", "v0.5.0", "v11.470.0", "v11.2.0-rc1"] {
            assert!(is_plausible_release(version), "{version}");
        }
        let others = [
            "v11",
            "v1.2.3.4",
            "v11.02.0",
            "v1000.0.0",
            "v2026.1.1",
            "v11.0.0-rc",
            "v11.0.0-rc01",
            "v11.0.0-rc+1",
            "v11.0.0-dev",
            "v11.+1",
            "v11..0",
            "v",
            "11.0.0",
            "nightly",
        ];
        for version in others {
            assert!(!is_plausible_release(version), "{version}");
        }
    }
}
