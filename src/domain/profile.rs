//! One combination of dimension values.

use super::{Dimension, Value};

/// Combination of one value of each dimension.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Profile([Value; Dimension::ALL.len()]);

impl Profile {
    /// Combines the values that `value` returns for each dimension.
    pub fn new(value: impl FnMut(Dimension) -> Value) -> Self {
        Self(Dimension::ALL.map(value))
    }

    /// The value of one dimension.
    #[must_use]
    pub fn get(&self, dimension: Dimension) -> &Value {
        &self.0[dimension as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dimension_has_a_place_of_its_own() {
        let named = |dimension: Dimension| {
            Value::parse(dimension, Some(format!("of_{}", dimension.name()))).unwrap()
        };
        let profile = Profile::new(named);
        for dimension in Dimension::ALL {
            assert_eq!(profile.get(dimension), &named(dimension));
        }
    }
}
