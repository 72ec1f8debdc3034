//! `/stats/architecture` and its like: starts by one dimension.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::Dimension,
    http::{
        AppState,
        error::ApiError,
        responses::{DatabaseErrors, TokenErrors},
    },
    storage::Breakdown,
};

/// Declares the count of starts by one dimension, and the route that answers it.
macro_rules! breakdown {
    ($handler:ident, $count:ident, $field:ident, $path:literal, $dimension:expr, $words:literal) => {
        #[doc = concat!("Starts of one ", $words, ".")]
        #[derive(Debug, Serialize, ToSchema)]
        pub struct $count {
            /// The value, in its normal form.
            pub $field: String,
            /// Starts: reports with `event: start`.
            pub count: u64,
        }

        impl From<Breakdown> for $count {
            fn from(breakdown: Breakdown) -> Self {
                Self { $field: breakdown.value.into(), count: breakdown.starts }
            }
        }

        #[doc = concat!("Starts by ", $words, ", most first.")]
        #[utoipa::path(
                    get, path = $path, tag = "statistics",
                    responses((status = 200, body = Vec<$count>), TokenErrors, DatabaseErrors)
                )]
        pub async fn $handler(
            State(state): State<AppState>,
        ) -> Result<Json<Vec<$count>>, ApiError> {
            let counts = state.database.breakdown($dimension).await?;
            Ok(Json(counts.into_iter().map($count::from).collect()))
        }
    };
}

breakdown!(
    architecture,
    ArchitectureCount,
    architecture,
    "/stats/architecture",
    Dimension::Architecture,
    "architecture"
);
breakdown!(version, VersionCount, version, "/stats/version", Dimension::ImageVersion, "version");
breakdown!(os, OsCount, os, "/stats/os", Dimension::Os, "operating system");
breakdown!(
    container_runtime,
    RuntimeCount,
    container_runtime,
    "/stats/container_runtime",
    Dimension::ContainerRuntime,
    "container runtime"
);
breakdown!(db_type, DbTypeCount, db_type, "/stats/db_type", Dimension::DbType, "kind of database");
