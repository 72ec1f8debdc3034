use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a new value is counted as once its dimension has as many values as it may have.
pub const OTHER: &str = "other";

/// What reports are counted by. Named as the field of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Version of the Mattermost image.
    ImageVersion,
    /// Machine architecture.
    Architecture,
    /// Operating system.
    Os,
    /// Container runtime.
    ContainerRuntime,
    /// Kind of database that Mattermost uses.
    DbType,
    /// Version of the report's format.
    TelemetryVersion,
}

impl Dimension {
    /// Every dimension, in the order of the report's fields.
    pub const ALL: [Self; 6] = [
        Self::ImageVersion,
        Self::Architecture,
        Self::Os,
        Self::ContainerRuntime,
        Self::DbType,
        Self::TelemetryVersion,
    ];

    /// The field of the report, the column of the database and the label of a series.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImageVersion => "image_version",
            Self::Architecture => "architecture",
            Self::Os => "os",
            Self::ContainerRuntime => "container_runtime",
            Self::DbType => "db_type",
            Self::TelemetryVersion => "telemetry_version",
        }
    }

    /// How many different values are kept apart, for ever. Beyond it a new value counts as
    /// [`OTHER`]. Releases (`v1.2.3`) have a budget of their own, so that made-up or nightly
    /// version names cannot take the place of a real release.
    #[must_use]
    pub fn limit(self, value: &str) -> usize {
        match self {
            Self::ImageVersion if is_release(value) => 1000,
            Self::ImageVersion => 200,
            _ => 50,
        }
    }
}

/// Whether a version is `v` and numbers between dots, nothing else.
pub fn is_release(version: &str) -> bool {
    version.strip_prefix('v').is_some_and(|numbers| {
        numbers
            .split('.')
            .all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The newer one of two versions, of which only releases count: by their numbers, one after the
/// other.
#[must_use]
pub fn newer_release(newest: Option<String>, version: String) -> Option<String> {
    let numbers = |version: &str| -> Option<Vec<u64>> {
        let numbers = version.strip_prefix('v')?;
        numbers.split('.').map(|number| number.parse().ok()).collect()
    };
    let Some(of_version) = numbers(&version).filter(|_| is_release(&version)) else {
        return newest;
    };
    if newest.as_deref().and_then(numbers).is_some_and(|of_newest| of_newest >= of_version) {
        return newest;
    }
    Some(version)
}

/// One combination of dimension values, each in its normal form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Profile {
    /// Normal form of the report's field of this name, as are all below.
    pub image_version: String,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub architecture: String,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub os: String,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub container_runtime: String,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub db_type: String,
    #[expect(missing_docs, reason = "named as the report's field")]
    pub telemetry_version: String,
}

impl Profile {
    /// The value of one dimension.
    #[must_use]
    pub fn get(&self, dimension: Dimension) -> &str {
        match dimension {
            Dimension::ImageVersion => &self.image_version,
            Dimension::Architecture => &self.architecture,
            Dimension::Os => &self.os,
            Dimension::ContainerRuntime => &self.container_runtime,
            Dimension::DbType => &self.db_type,
            Dimension::TelemetryVersion => &self.telemetry_version,
        }
    }

    /// The value of one dimension, to be changed.
    pub fn get_mut(&mut self, dimension: Dimension) -> &mut String {
        match dimension {
            Dimension::ImageVersion => &mut self.image_version,
            Dimension::Architecture => &mut self.architecture,
            Dimension::Os => &mut self.os,
            Dimension::ContainerRuntime => &mut self.container_runtime,
            Dimension::DbType => &mut self.db_type,
            Dimension::TelemetryVersion => &mut self.telemetry_version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_is_told_by_numbers() {
        let versions =
            ["v9.11.3", "v10.2", "unknown", "v10.2.0", "v10.1.9", "v10.3-rc1", "nightly"];
        let newest = versions.map(str::to_owned).into_iter().fold(None, newer_release);
        assert_eq!(newest.as_deref(), Some("v10.2.0"));
        assert_eq!(newer_release(None, "unknown".to_owned()), None);
    }
}
