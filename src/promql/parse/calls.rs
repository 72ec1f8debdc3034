//! Calls of functions and aggregations.

use super::{Parser, Part, lexer::Token};
use crate::promql::{
    error::{QueryError, Result},
    grouping::Grouping,
    plan::{Aggregate, Aggregation, Growth, Node, Read},
};

const AGGREGATIONS: [(&str, Aggregation); 8] = [
    ("sum", Aggregation::Sum),
    ("avg", Aggregation::Avg),
    ("min", Aggregation::Min),
    ("max", Aggregation::Max),
    ("count", Aggregation::Count),
    ("topk", Aggregation::TopK),
    ("bottomk", Aggregation::BottomK),
    ("quantile", Aggregation::Quantile),
];

/// Aggregations of PromQL that this server does not have.
const OTHER_AGGREGATIONS: [&str; 6] =
    ["stddev", "stdvar", "group", "count_values", "limitk", "limit_ratio"];

impl Parser<'_> {
    /// True if the word that was just taken is an aggregation and not the name of a series.
    pub(super) fn begins_aggregation(&self, word: &str) -> bool {
        let mut known = AGGREGATIONS.iter().map(|(name, _)| *name).chain(OTHER_AGGREGATIONS);
        let is_call = match self.next.0 {
            Token::Symbol("(") => true,
            Token::Word(word) => super::is(word, &["by", "without"]),
            _ => false,
        };
        is_call && known.any(|name| name.eq_ignore_ascii_case(word))
    }

    /// Parses an aggregation, after its name.
    pub(super) fn aggregation(&mut self, name: &str) -> Result<Part> {
        let known = AGGREGATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((name, aggregation)) = known.copied() else {
            return Err(QueryError::unsupported(format!("the aggregation {name}")));
        };
        let before = self.grouping("by", "without")?;
        self.expect("(")?;
        let parameter = match aggregation {
            Aggregation::TopK | Aggregation::BottomK | Aggregation::Quantile => {
                let parameter = self.scalar(name)?;
                self.expect(",")?;
                Some(parameter)
            }
            _ => None,
        };
        let operand = self.vector(name)?;
        self.expect(")")?;
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping("by", "without")?.unwrap_or(Grouping::By(Vec::new())),
        };
        // The database adds up faster than the evaluation, and the growth of a sum is the sum of
        // the growths.
        if let (Aggregation::Sum, Node::Read(read)) = (aggregation, &*operand) {
            self.reads[*read].keep = Some(grouping.clone());
        }
        let aggregate = Aggregate { aggregation, parameter, grouping, operand };
        Ok(Part::Vector(Node::Aggregate(aggregate)))
    }

    /// Parses a function, after its name.
    pub(super) fn function(&mut self, name: &str) -> Result<Part> {
        self.expect("(")?;
        let part = match name {
            "scalar" => Part::Scalar(Node::Scalar(self.vector(name)?)),
            "sort" | "sort_desc" => {
                let operand = self.vector(name)?;
                Part::Vector(Node::Sort { operand, descending: name == "sort_desc" })
            }
            "histogram_quantile" => {
                let quantile = self.scalar(name)?;
                self.expect(",")?;
                let operand = self.vector(name)?;
                Part::Vector(Node::HistogramQuantile { quantile, operand })
            }
            "increase" | "rate" => self.growth(name)?,
            _ => return Err(QueryError::unsupported(format!("the function {name}()"))),
        };
        self.expect(")")?;
        Ok(part)
    }

    fn growth(&mut self, name: &str) -> Result<Part> {
        let at = self.next.1;
        match self.expression(0)? {
            Part::Range { selector, range_ms } => {
                let growth = Growth { range_ms, per_second: name == "rate" };
                Ok(self.read(Read { growth: Some(growth), ..Read::from(selector) }))
            }
            part => Err(self.wrong_type(at, "range vector", name, &part)),
        }
    }

    fn scalar(&mut self, call: &str) -> Result<Box<Node>> {
        let at = self.next.1;
        match self.expression(0)? {
            Part::Scalar(node) => Ok(Box::new(node)),
            part => Err(self.wrong_type(at, "scalar", call, &part)),
        }
    }

    fn vector(&mut self, call: &str) -> Result<Box<Node>> {
        let at = self.next.1;
        match self.expression(0)? {
            Part::Vector(node) => Ok(Box::new(node)),
            part => Err(self.wrong_type(at, "instant vector", call, &part)),
        }
    }

    fn wrong_type(&self, at: usize, expected: &str, call: &str, part: &Part) -> QueryError {
        self.error(at, format!("expected type {expected} in {call}(), got {}", part.kind()))
    }
}
