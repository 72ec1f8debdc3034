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
