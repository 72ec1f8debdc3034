//! Evidence for a value that is not proven yet.

/// Distinct instances that prove a value.
const INSTANCES: usize = 3;
/// Distinct days of receipt (UTC) that prove a value.
const DAYS: usize = 2;

const DAY_MS: i64 = 86_400_000;

/// One sighting of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Instance, as the hexadecimal digits of its key.
    pub instance: String,
    /// Days since 1970.
    pub day: i64,
}

impl Seen {
    pub fn new(instance: String, received_ms: i64) -> Self {
        Self { instance, day: received_ms.div_euclid(DAY_MS) }
    }
}

/// Instances and days of a value, no more than a proof takes.
#[derive(Debug, Default)]
pub struct Evidence {
    instances: Vec<String>,
    days: Vec<i64>,
}

impl Evidence {
    pub fn grows_by(&self, seen: &Seen) -> bool {
        self.needs_instance(&seen.instance) || self.needs_day(seen.day)
    }

    /// Adds a sighting. Returns whether it brought anything.
    pub fn add(&mut self, seen: &Seen) -> bool {
        let (instance, day) = (self.needs_instance(&seen.instance), self.needs_day(seen.day));
        if instance {
            self.instances.push(seen.instance.clone());
        }
        if day {
            self.days.push(seen.day);
        }
        instance || day
    }

    pub fn is_proof(&self) -> bool {
        self.instances.len() >= INSTANCES && self.days.len() >= DAYS
    }

    fn needs_instance(&self, instance: &str) -> bool {
        self.instances.len() < INSTANCES && !self.instances.iter().any(|known| known == instance)
    }

    fn needs_day(&self, day: i64) -> bool {
        // A report without a date is of no day.
        day >= 0 && self.days.len() < DAYS && !self.days.contains(&day)
    }
}
