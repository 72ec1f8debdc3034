//! From text to what PromQL's parser makes of it, and which series that selects.

use std::time::Duration;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{self, Expr, Offset, VectorSelector},
};

use super::{
    MAX_STEPS,
    error::QueryError,
    guard,
    series::{Grid, NAME},
};

type Result<T> = std::result::Result<T, QueryError>;

/// Operations within each other; more than any person writes.
pub const MAX_DEPTH: usize = 50;
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// Which series, and how long before the moment.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Conditions on labels, the name among them.
    pub matchers: Vec<Matcher>,
    /// How long before, in milliseconds.
    pub offset_ms: i64,
}

impl Selector {
    /// The series selector of a `match[]`.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self> {
        match parse(text)? {
            Expr::VectorSelector(selector) => Self::new(&selector),
            _ => Err(QueryError::BadData(format!("{text:?} is not a series selector"))),
        }
    }

    pub(super) fn new(selector: &VectorSelector) -> Result<Self> {
        if selector.at.is_some() {
            return Err(QueryError::unsupported("the @ modifier"));
        }
        if !selector.matchers.or_matchers.is_empty() {
            return Err(QueryError::unsupported("\"or\" between matchers"));
        }
        let name = selector.name.iter().map(|name| Matcher::new(MatchOp::Equal, NAME, name));
        let matchers = name.chain(selector.matchers.matchers.iter().cloned()).collect();
        let offset_ms = match selector.offset {
            None => 0,
            Some(Offset::Pos(offset)) => milliseconds(offset)?,
            Some(Offset::Neg(offset)) => -milliseconds(offset)?,
        };
        Ok(Self { matchers, offset_ms })
    }

    /// Whether a name is one that it selects.
    pub(super) fn selects_name(&self, name: &str) -> bool {
        self.matchers.iter().filter(|of| of.name == NAME).all(|matcher| matcher.is_match(name))
    }

    /// The samples within a range before `time`: the deployments are counted each hour, the
    /// server itself each minute.
    pub(super) fn samples_within(&self, time: i64, range_ms: i64) -> Result<Grid> {
        let of_server = self.matchers.iter().any(|of| {
            of.name == NAME && matches!(of.op, MatchOp::Equal) && of.value.starts_with("telemetry_")
        });
        let step = if of_server { MINUTE_MS } else { HOUR_MS };
        let end = time - self.offset_ms;
        let start = (end - range_ms).div_euclid(step) + 1;
        let count = usize::try_from(end.div_euclid(step) - start + 1).unwrap_or(0);
        if count > MAX_STEPS {
            return Err(QueryError::BadData(format!(
                "the range has more than {MAX_STEPS} samples a series"
            )));
        }
        Ok(Grid { start: start * step, step, count })
    }
}

/// Reads a length of time: `5m`, `1h30m`, or a number of seconds.
///
/// # Errors
/// If it is neither, or does not lie between a millisecond and some centuries.
pub fn duration(text: &str) -> Result<i64> {
    let broken = || QueryError::BadData(format!("cannot parse {text:?} to a valid duration"));
    let length = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| broken())?,
        Err(_) => promql_parser::util::parse_duration(text).map_err(|_| broken())?,
    };
    match milliseconds(length)? {
        0 => Err(QueryError::BadData(
            "zero or negative query resolution step widths are not accepted. \
             Try a positive integer"
                .into(),
        )),
        length => Ok(length),
    }
}

/// A length of time of an expression.
pub fn milliseconds(duration: Duration) -> Result<i64> {
    const CENTURIES: u128 = 1000 * 365 * 86_400_000;
    let length = duration.as_millis();
    i64::try_from(length)
        .ok()
        .filter(|_| length < CENTURIES)
        .ok_or_else(|| QueryError::BadData("a duration is out of range".into()))
}

/// Has an expression parsed.
pub fn parse(expression: &str) -> Result<Expr> {
    guard::check(expression)?;
    parser::parse(expression)
        .map_err(|error| QueryError::BadData(format!("invalid parameter \"query\": {error}")))
}

/// More than [`MAX_DEPTH`].
pub fn too_deep() -> QueryError {
    QueryError::BadData(format!("the expression is nested more than {MAX_DEPTH} deep"))
}
