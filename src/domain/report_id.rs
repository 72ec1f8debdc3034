//! The id of a report, by which a report that is sent again is known.

use std::fmt;

/// A UUID that is not nil. A client that sends the same report again sends the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReportId(u128);

impl ReportId {
    /// Parses a client's text in any usual form: with hyphens or without, in braces, as a URN, in
    /// upper or lower case; `None` where it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const HYPHENS: [usize; 4] = [8, 13, 18, 23];
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_prefix("urn:uuid:").unwrap_or(&text);
        let text = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
        let digits = match text.len() {
            32 => text.to_owned(),
            36 if HYPHENS.iter().all(|&at| text.as_bytes()[at] == b'-') => text.replace('-', ""),
            _ => return None,
        };
        let hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).ok().filter(|&number| hex && number != 0)?;
        Some(Self(number))
    }

    /// Its 128 bits.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        f.write_str(&parts.join("-"))
    }
}

impl fmt::Debug for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_usual_form_is_the_same_id() {
        let id = ReportId::parse("0f8fad5b-d9cb-469f-a165-70867728950e");
        assert!(id.is_some());
        for form in [
            "0f8fad5bd9cb469fa16570867728950e",
            " 0F8FAD5B-D9CB-469F-A165-70867728950E\r\n",
            "{0f8fad5b-d9cb-469f-a165-70867728950e}",
            "urn:uuid:0F8fad5b-d9cb-469f-a165-70867728950e",
        ] {
            assert_eq!(ReportId::parse(form), id, "{form}");
        }
    }

    #[test]
    fn other_texts_are_no_id() {
        for text in [
            "",
            "7",
            "00000000-0000-0000-0000-000000000000",
            "0f8fad5b-d9cb-469f-a165-70867728950",
            "0f8fad5bd-9cb-469f-a165-70867728950e",
            "+f8fad5bd9cb469fa16570867728950e",
            "{0f8fad5b-d9cb-469f-a165-70867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950g",
            "0f8fad5b-----------------70867728950e",
        ] {
            assert_eq!(ReportId::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_id_is_what_it_shows(bits in 1..=u128::MAX, text in ".{0,40}") {
            let id = ReportId::parse(&format!("{bits:032x}")).unwrap();
            prop_assert_eq!(id.bits(), bits);
            prop_assert_eq!(ReportId::parse(&id.to_string()), Some(id));
            let _ = ReportId::parse(&text);
        }
    }
}
