//! The fields of a report that it is counted by.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::normal_form;

/// Value that a value without a label of its own is counted as.
pub const OTHER: &str = "other";

/// Field of a report that it is counted by.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
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

    /// Name of the report's field, the database's column and the series' label.
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

    /// Normal form of a client's text for this field.
    #[must_use]
    pub fn normal_form(self, given: Option<String>) -> String {
        match self {
            Self::ImageVersion => normal_form::version(given),
            Self::Architecture => normal_form::architecture(given),
            Self::Os | Self::ContainerRuntime | Self::DbType | Self::TelemetryVersion => {
                normal_form::value(given)
            }
        }
    }

    /// The dimension with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name)
    }
}
