//! Numbers in as few bytes as they need: groups of seven bits, as in LEB128.

/// Appends a number.
#[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits are wanted")]
pub fn put(packed: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        packed.push(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

/// Takes the first number off; `None` where there is no whole one.
pub fn take(packed: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0_u64, 0);
    while let Some((&byte, rest)) = packed.split_first() {
        *packed = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
    None
}

/// Appends a number that may be negative.
pub fn put_signed(packed: &mut Vec<u8>, number: i64) {
    put(packed, (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
}

/// Takes the first number off, which may be negative; `None` where there is no whole one.
pub fn take_signed(packed: &mut &[u8]) -> Option<i64> {
    let number = take(packed)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_number_comes_back(numbers: Vec<(u64, i64)>) {
            let mut packed = Vec::new();
            for &(number, signed) in &numbers {
                put(&mut packed, number);
                put_signed(&mut packed, signed);
            }
            let mut rest = &*packed;
            for (number, signed) in numbers {
                prop_assert_eq!(take(&mut rest), Some(number));
                prop_assert_eq!(take_signed(&mut rest), Some(signed));
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(take(&mut rest), None);
        }
    }
}
