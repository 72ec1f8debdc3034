//! Reasons for which an operator should look at the server, and the limits from which on they hold.

/// Free space that the database needs whatever it grows by, in bytes: room for a million reports.
const FREE_BYTES: u64 = 100_000_000;
/// Refused reports an hour that are usual even where fewer are.
const USUAL_REFUSED: f64 = 10.0;

/// Reason for which an operator should look at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// No report comes although there used to be reports.
    Silence,
    /// No good backup is young enough.
    Backup,
    /// The disk is nearly full, or refuses.
    Disk,
    /// The clock is doubtful.
    Clock,
}

impl Attention {
    /// All of them, in the order in which they are stated.
    pub const ALL: [Self; 4] = [Self::Silence, Self::Backup, Self::Disk, Self::Clock];

    /// Name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Backup => "backup",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }

    /// Remedy in one sentence, which reveals nothing about the fleet.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Silence => {
                "Send a report by hand: if it is stored, look at the clients, else at what stands \
                 between them and this server."
            }
            Self::Backup => {
                "Look for the failed backup in the log, and free space or fix permissions in the \
                 folder of backups."
            }
            Self::Disk => {
                "Free space on the disk of the database; where there is enough, the log has the \
                 reason for which it cannot be written."
            }
            Self::Clock => "Set the machine's clock, or run `clock confirm` if it is right.",
        }
    }
}

/// True if the space that is left is too little: less than a million reports take, or than the
/// database grew by in the last week.
#[must_use]
pub const fn is_disk_low(free_bytes: u64, grown_in_a_week: u64) -> bool {
    free_bytes < FREE_BYTES || free_bytes < grown_in_a_week
}

/// Reports that were refused in the last hour, as a multiple of those of a usual hour: the mean of the
/// day before it, and ten at least.
#[must_use]
pub fn refused_ratio(last_hour: f64, day_before: f64) -> f64 {
    last_hour / (day_before / 24.0).max(USUAL_REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_the_floor_and_below_a_week() {
        assert!(is_disk_low(99_999_999, 0));
        assert!(!is_disk_low(100_000_000, 0));
        assert!(is_disk_low(499_999_999, 500_000_000));
        assert!(!is_disk_low(500_000_000, 500_000_000));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "exact")]
    fn ten_refusals_an_hour_are_usual() {
        assert_eq!(refused_ratio(0.0, 0.0), 0.0);
        assert_eq!(refused_ratio(30.0, 0.0), 3.0);
        assert_eq!(refused_ratio(30.0, 240.0), 3.0);
        assert_eq!(refused_ratio(30.0, 480.0), 1.5);
    }

    #[test]
    fn a_remedy_is_one_sentence() {
        for reason in Attention::ALL {
            let remedy = reason.remedy();
            assert!(remedy.ends_with('.') && remedy.matches(". ").count() == 0, "{remedy}");
        }
    }
}
