//! The report: as it is sent, and in its normal form.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::{Validate, ValidationError, ValidationErrors};

use super::{
    Dimension, Dropped, InstanceId, MAX_ID_CHARS, MAX_VALUE_CHARS, Profile, ReportId, UNKNOWN,
    Value, dropped, normal_form,
};

/// Longest startup time: a day, in milliseconds. A longer one is a broken clock.
pub const MAX_STARTUP_MS: i64 = 86_400_000;

/// Kind of a report: the field `event`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportKind {
    /// The container started.
    #[default]
    Start,
    /// The container is still running.
    Heartbeat,
}

/// Report in its normal form: every rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Id of the instance that sent it.
    pub instance_id: InstanceId,
    /// Values that it is counted by.
    pub profile: Profile,
    /// Start or heartbeat.
    pub kind: ReportKind,
    /// Startup time in milliseconds, 1 to [`MAX_STARTUP_MS`]; `None` where the sender did not
    /// measure it and for a heartbeat, whose start was counted before.
    pub startup_ms: Option<i64>,
    /// Time by the client's clock. Kept, never used for counting.
    pub timestamp: Option<Timestamp>,
    /// Id of the report itself, by which it is known when it is sent again.
    pub report_id: Option<ReportId>,
}

/// Report as it is sent. Unknown fields are ignored, so that a newer client is not
/// turned away; of the known ones only `instance_id` must be there.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, Validate, ToSchema)]
#[schema(example = json!({
    "instance_id": "0f8fad5bd9cb469fa16570867728950e",
    "image_version": "v11.0.0",
    "architecture": "aarch64",
    "os": "Linux",
    "container_runtime": "docker",
    "startup_time_ms": 2500,
    "db_type": "postgres",
    "telemetry_version": "1.0"
}))]
pub struct ReportBody {
    /// Id of the instance, random: such as 32 hex digits or a UUID.
    #[validate(
        required(message = "must be present"),
        length(min = 1, max = "MAX_ID_CHARS", message = "must have 1 to 128 characters"),
        custom(function = no_controls)
    )]
    #[schema(required = true, min_length = 1, max_length = 128)]
    pub instance_id: Option<String>,
    /// Version of the Mattermost image, with or without the `v`.
    #[validate(
        length(max = "MAX_VALUE_CHARS", message = "must have at most 64 characters"),
        custom(function = no_controls)
    )]
    #[schema(max_length = 64)]
    pub image_version: Option<String>,
    /// Machine architecture; `arm64` is `aarch64`, `amd64` is `x86_64`.
    #[validate(
        length(max = "MAX_VALUE_CHARS", message = "must have at most 64 characters"),
        custom(function = no_controls)
    )]
    #[schema(max_length = 64)]
    pub architecture: Option<String>,
    /// Operating system.
    #[validate(
        length(max = "MAX_VALUE_CHARS", message = "must have at most 64 characters"),
        custom(function = no_controls)
    )]
    #[schema(max_length = 64)]
    pub os: Option<String>,
    /// Container runtime.
    #[validate(
        length(max = "MAX_VALUE_CHARS", message = "must have at most 64 characters"),
        custom(function = no_controls)
    )]
    #[schema(max_length = 64)]
    pub container_runtime: Option<String>,
    /// Startup time in milliseconds, rounded to a whole number; 0 is not measured. One below 0 or
    /// above 86400000 is dropped, and the start is counted.
    #[serde(default, deserialize_with = "dropped::rounded")]
    #[schema(value_type = Option<f64>)]
    pub startup_time_ms: Option<i64>,
    /// Kind of database.
    #[validate(
        length(max = "MAX_VALUE_CHARS", message = "must have at most 64 characters"),
        custom(function = no_controls)
    )]
    #[schema(max_length = 64)]
    pub db_type: Option<String>,
    /// Version of the report's format.
    #[validate(
        length(max = "MAX_VALUE_CHARS", message = "must have at most 64 characters"),
        custom(function = no_controls)
    )]
    #[schema(max_length = 64)]
    pub telemetry_version: Option<String>,
    /// Time by the client's clock (RFC 3339). Kept, never used for counting. One in another form is
    /// dropped, and the report is counted.
    #[serde(default, deserialize_with = "dropped::text_or_number")]
    #[schema(example = "2026-01-31T12:00:00Z")]
    pub timestamp: Option<String>,
    /// `start` (the default) or `heartbeat`.
    #[validate(custom(function = event_kind))]
    #[schema(value_type = Option<ReportKind>)]
    pub event: Option<String>,
    /// A UUID of the report. The same one of the same instance within 48 hours of running is
    /// acknowledged and not counted again, so that a client may retry. One in another form is
    /// dropped, and the report is counted.
    #[serde(default, deserialize_with = "dropped::text_or_number")]
    #[schema(example = "0f8fad5b-d9cb-469f-a165-70867728950e")]
    pub report_id: Option<String>,
}

impl ReportBody {
    /// Puts every field into its normal form. Changes nothing in a body that is in it.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        for dimension in Dimension::ALL {
            let field = self.field(dimension);
            *field = Some(dimension.normal_form(field.take()));
        }
        Self {
            instance_id: self.instance_id.map(normal_form::folded),
            startup_time_ms: self.startup_time_ms.filter(|&time| time != 0), // 0 is not measured.
            timestamp: self.timestamp.map(|time| time.trim().to_owned()),
            event: self.event.map(normal_form::folded).as_deref().and_then(present),
            report_id: self.report_id.map(|id| id.trim().to_owned()),
            ..self
        }
    }

    /// Normalises, drops what only the field produces, then checks every rule.
    ///
    /// # Errors
    /// Each broken rule, by field.
    pub fn accept(self) -> Result<Accepted, ValidationErrors> {
        let mut body = self.normalised();
        let dropped = body.drop_faults();
        body.validate()?;
        Ok(Accepted { report: body.checked(), dropped })
    }

    /// The report of [`ReportBody::accept`].
    ///
    /// # Errors
    /// Each broken rule, by field.
    pub fn into_report(self) -> Result<Report, ValidationErrors> {
        self.accept().map(|accepted| accepted.report)
    }

    /// Makes a report of a record that is known to have happened, whatever it looks like: a
    /// field that breaks a rule is cut to fit instead of being refused. For records of the
    /// reference server, which had fewer rules and whose rows must not be lost.
    #[must_use]
    pub fn salvage(self) -> Salvaged {
        let mut given = self.normalised();
        let dropped = !given.drop_faults().is_empty();
        // Nearly every record keeps the rules.
        if given.validate().is_ok() {
            return Salvaged { report: given.checked(), altered: dropped };
        }
        let fit = |text: Option<String>, max: u64| -> Option<String> {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            text.map(|text| text.chars().filter(|c| !c.is_control()).take(max).collect())
        };
        let mut cut = Self {
            instance_id: fit(given.instance_id.clone(), MAX_ID_CHARS)
                .filter(|id| !id.trim().is_empty())
                .or_else(|| Some(UNKNOWN.to_owned())),
            event: given.event.clone().filter(|event| event_kind(event).is_ok()),
            ..given.clone()
        };
        // Twice, since the normal form of what is left may be a character longer.
        for _ in 0..2 {
            for dimension in Dimension::ALL {
                let field = cut.field(dimension);
                *field = fit(field.take(), MAX_VALUE_CHARS);
            }
            cut = cut.normalised();
        }
        let altered = dropped || cut != given;
        Salvaged { report: cut.checked(), altered }
    }

    /// Drops the values that only the field produces.
    fn drop_faults(&mut self) -> Vec<Dropped> {
        let startup = self.startup_time_ms.and_then(dropped::startup_fault);
        let timestamp = self.timestamp.as_deref().and_then(dropped::timestamp_fault);
        let report_id = self.report_id.as_deref().and_then(dropped::report_id_fault);
        if startup.is_some() {
            self.startup_time_ms = None;
        }
        if timestamp.is_some() {
            self.timestamp = None;
        }
        if report_id.is_some() {
            self.report_id = None;
        }
        startup.into_iter().chain(timestamp).chain(report_id).collect()
    }

    /// The field of a dimension.
    fn field(&mut self, dimension: Dimension) -> &mut Option<String> {
        match dimension {
            Dimension::ImageVersion => &mut self.image_version,
            Dimension::Architecture => &mut self.architecture,
            Dimension::Os => &mut self.os,
            Dimension::ContainerRuntime => &mut self.container_runtime,
            Dimension::DbType => &mut self.db_type,
            Dimension::TelemetryVersion => &mut self.telemetry_version,
        }
    }

    /// The report of a body that keeps the rules.
    fn checked(mut self) -> Report {
        const CHECKED: &str = "the rules of the body are those of its parts";
        let kind = match self.event.as_deref() {
            Some("heartbeat") => ReportKind::Heartbeat,
            _ => ReportKind::Start,
        };
        let profile = Profile::new(|dimension| {
            Value::parse(dimension, self.field(dimension).take()).expect(CHECKED)
        });
        Report {
            instance_id: self.instance_id.and_then(InstanceId::parse).expect(CHECKED),
            profile,
            kind,
            startup_ms: self.startup_time_ms.filter(|_| kind == ReportKind::Start),
            timestamp: self.timestamp.and_then(|time| time.parse().ok()),
            report_id: self.report_id.as_deref().and_then(ReportId::parse),
        }
    }
}

impl From<Report> for ReportBody {
    /// The body that is this report.
    fn from(report: Report) -> Self {
        let mut body = Self {
            instance_id: Some(report.instance_id.into()),
            startup_time_ms: report.startup_ms,
            timestamp: report.timestamp.map(|time| time.to_string()),
            event: (report.kind == ReportKind::Heartbeat).then(|| "heartbeat".to_owned()),
            report_id: report.report_id.map(|id| id.to_string()),
            ..Self::default()
        };
        for dimension in Dimension::ALL {
            *body.field(dimension) = Some(report.profile.get(dimension).to_string());
        }
        body
    }
}

/// Result of [`ReportBody::accept`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The report.
    pub report: Report,
    /// Values that the report was sent with and does not have.
    pub dropped: Vec<Dropped>,
}

/// Result of [`ReportBody::salvage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// The report.
    pub report: Report,
    /// True if anything beyond the normal form had to be changed.
    pub altered: bool,
}

/// The text without surrounding blanks, if there is any.
fn present(text: &str) -> Option<String> {
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

fn no_controls(value: &str) -> Result<(), ValidationError> {
    if normal_form::has_controls(value) {
        return Err(ValidationError::new("control_character")
            .with_message("must not contain control characters".into()));
    }
    Ok(())
}

fn event_kind(value: &str) -> Result<(), ValidationError> {
    match value {
        "start" | "heartbeat" => Ok(()),
        _ => {
            Err(ValidationError::new("event").with_message("must be `start` or `heartbeat`".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;

    /// Any text, with what the rules are about made frequent.
    fn text() -> impl Strategy<Value = Option<String>> {
        option::of(prop_oneof![
            ".{0,70}",
            any::<String>(),
            "[ \t]{0,3}[vV]?[0-9.]{1,5}[ \n]{0,3}",
            Just("ARM64 ".to_owned()),
            Just("İ".repeat(64)),
        ])
    }

    prop_compose! {
        fn body()(
            instance_id in text(),
            image_version in text(),
            architecture in text(),
            os in text(),
            container_runtime in text(),
            startup_time_ms in option::of(prop_oneof![any::<i64>(), -2..3_i64, 1..100_000_000_i64]),
            db_type in text(),
            telemetry_version in text(),
            timestamp in prop_oneof![
                text(),
                any::<i32>().prop_map(|at| Some(Timestamp::from_second(at.into()).unwrap().to_string())),
            ],
            event in text(),
            report_id in prop_oneof![text(), "[0-9a-f]{32}".prop_map(Some)],
        ) -> ReportBody {
            ReportBody {
                instance_id, image_version, architecture, os, container_runtime,
                startup_time_ms, db_type, telemetry_version, timestamp, event, report_id,
            }
        }
    }

    /// The rules, put another way than the code that enforces them.
    fn assert_keeps_the_rules(report: &Report) {
        let id = &report.instance_id;
        assert!(!id.trim().is_empty() && id.chars().count() <= 128, "{id:?}");
        let values = Dimension::ALL.map(|dimension| &**report.profile.get(dimension));
        for value in values {
            assert!(!value.is_empty() && value.chars().count() <= 64, "{value:?}");
            assert_eq!(value.trim(), value);
        }
        for value in values.into_iter().chain([&**id]) {
            assert!(!value.chars().any(char::is_control), "{value:?}");
        }
        assert!(report.startup_ms.is_none_or(|time| (1..=86_400_000).contains(&time)));
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(body in body()) {
            let once = body.normalised();
            prop_assert_eq!(once.clone().normalised(), once);
        }

        #[test]
        fn what_is_accepted_keeps_the_rules(body in body()) {
            if let Ok(Accepted { report, .. }) = body.accept() {
                assert_keeps_the_rules(&report);
                let again = ReportBody::from(report.clone()).accept();
                prop_assert_eq!(again, Ok(Accepted { report, dropped: Vec::new() }));
            }
        }

        #[test]
        fn what_is_salvaged_keeps_the_rules(body in body()) {
            let Salvaged { report, altered } = body.clone().salvage();
            assert_keeps_the_rules(&report);
            // Nothing is altered that could be accepted as it is, and the other way round.
            match body.accept() {
                Ok(accepted) => {
                    prop_assert_eq!(altered, !accepted.dropped.is_empty());
                    prop_assert_eq!(accepted.report, report);
                }
                Err(_) => prop_assert!(altered),
            }
        }
    }
}
