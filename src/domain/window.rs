//! The windows within which instances count as active.

use super::Hour;

/// Window within which an instance counts as active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

impl Window {
    /// Every window, from the shortest to the longest. What is counted by window has one place
    /// for each, in this order.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];
    /// The longest window.
    pub const LONGEST: Self = Self::Month;

    /// Name on the wire and in a series' label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// Length in hours.
    #[must_use]
    pub const fn hours(self) -> i64 {
        match self {
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
        }
    }

    /// First hour of the window that ends in `now`: so many whole hours before the present one,
    /// so that the window is never shorter than its name.
    #[must_use]
    pub const fn first_hour(self, now: Hour) -> Hour {
        now.plus(-self.hours())
    }
}
