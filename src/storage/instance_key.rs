//! The short form in which instance ids are stored. Ids are by far the largest part of a report.
//! The usual ones are 128 random bits written as text, so these bits are stored instead, after one
//! byte that names their written form.

use std::fmt::Write as _;

const AS_TEXT: u8 = 0;
const AS_HEX: u8 = 1;
const AS_UUID: u8 = 2;

/// Places of the hyphens in the text of a UUID.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The stored form of `id`, as hexadecimal digits for SQL's `unhex`.
pub fn to_hex(id: &str) -> String {
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut key = String::with_capacity(34);
    if id.len() == 32 && is_hex(id) {
        let _ = write!(key, "{AS_HEX:02x}");
        key.push_str(id);
        return key;
    }
    if id.len() == 36 && HYPHENS.iter().all(|&at| id.as_bytes()[at] == b'-') {
        let digits: String = id.split('-').collect();
        if digits.len() == 32 && is_hex(&digits) {
            let _ = write!(key, "{AS_UUID:02x}");
            key.push_str(&digits);
            return key;
        }
    }
    let _ = write!(key, "{AS_TEXT:02x}");
    key.extend(hex(id.as_bytes()));
    key
}

/// The hexadecimal digits of bytes.
pub fn hex(bytes: &[u8]) -> impl Iterator<Item = char> {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16))
}

/// The id of a stored form.
pub fn to_id(key: &[u8]) -> String {
    let Some((&form, bytes)) = key.split_first() else {
        return String::new();
    };
    if form == AS_TEXT {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut id = String::with_capacity(36);
    for byte in bytes {
        if form == AS_UUID && HYPHENS.contains(&id.len()) {
            id.push('-');
        }
        id.extend(hex(&[*byte]));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn usual_ids_take_17_bytes() {
        for id in ["0f8fad5bd9cb469fa16570867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e"] {
            let key = bytes(&to_hex(id));
            assert_eq!(key.len(), 17);
            assert_eq!(to_id(&key), id);
        }
    }

    proptest! {
        #[test]
        fn every_id_comes_back(id in "[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f-]{36}|.{1,128}") {
            prop_assert_eq!(to_id(&bytes(&to_hex(&id))), id);
        }
    }
}
