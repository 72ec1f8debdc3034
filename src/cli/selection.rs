//! The arguments that select reports.

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::domain::{Dimension, InstanceId, ReportKind, Selection, Value};

#[derive(Debug, Args)]
pub struct SelectionArguments {
    /// Reports of this instance only
    #[arg(long, value_name = "ID", value_parser = instance)]
    instance: Option<InstanceId>,
    /// Reports that state this value only, such as `os=templeos`; may be given for several fields
    #[arg(long, value_name = "FIELD=VALUE", value_parser = value)]
    value: Vec<(Dimension, Value)>,
    /// Reports of this kind only
    #[arg(long)]
    kind: Option<Kind>,
    /// Reports received at this time or later only (RFC 3339, or a day, UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Reports received before this time only
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Start,
    Heartbeat,
}

impl SelectionArguments {
    /// The selection. One value a field can be selected.
    pub fn selection(self) -> anyhow::Result<Selection> {
        let mut seen = Vec::new();
        for (dimension, _) in &self.value {
            ensure!(!seen.contains(dimension), "{} can have one value only", dimension.name());
            seen.push(*dimension);
        }
        Ok(Selection {
            instance: self.instance,
            values: self.value,
            kind: self.kind.map(|kind| match kind {
                Kind::Start => ReportKind::Start,
                Kind::Heartbeat => ReportKind::Heartbeat,
            }),
            from: self.from,
            until: self.until,
        })
    }
}

pub fn instance(id: &str) -> Result<InstanceId, String> {
    InstanceId::parse(id.to_owned()).ok_or_else(|| "no report can have this id".to_owned())
}

fn value(text: &str) -> Result<(Dimension, Value), String> {
    let names =
        || format!("it is FIELD=VALUE, of {}", Dimension::ALL.map(Dimension::name).join(", "));
    let (name, value) = text.split_once('=').ok_or_else(names)?;
    let dimension = Dimension::named(name).ok_or_else(names)?;
    let value = Value::parse(dimension, Some(value.to_owned()));
    Ok((dimension, value.ok_or("no report can have this value")?))
}

fn time(text: &str) -> anyhow::Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let day: Date = text.parse().context("it is a time such as 2026-01-31T12:00:00Z, or a day")?;
    Ok(day.to_zoned_datetime(TimeZone::UTC)?.timestamp())
}
