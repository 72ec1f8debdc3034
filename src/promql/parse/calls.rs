//! Functions and aggregations.

use super::{
    super::{
        error::QueryError,
        plan::{Aggregate, Grouping, Growth, How, Node, Read},
    },
    Parser, Part, Result,
    lexer::Token,
};

const AGGREGATIONS: [(&str, How); 8] = [
    ("sum", How::Sum),
    ("avg", How::Avg),
    ("min", How::Min),
    ("max", How::Max),
    ("count", How::Count),
    ("topk", How::TopK),
    ("bottomk", How::BottomK),
    ("quantile", How::Quantile),
];

/// Those that this server does not have.
const OTHER_AGGREGATIONS: [&str; 6] =
    ["stddev", "stdvar", "group", "count_values", "limitk", "limit_ratio"];

impl Parser<'_> {
    /// Whether a word that was just taken is not a series' name but an aggregation.
    pub(super) fn begins_aggregation(&self, word: &str) -> bool {
        let mut known = AGGREGATIONS.iter().map(|(name, _)| *name).chain(OTHER_AGGREGATIONS);
        let goes_on = match self.next.0 {
            Token::Symbol("(") => true,
            Token::Word(word) => super::is(word, &["by", "without"]),
            _ => false,
        };
        goes_on && known.any(|name| name.eq_ignore_ascii_case(word))
    }

    /// An aggregation, after its name.
    pub(super) fn aggregation(&mut self, name: &str) -> Result<Part> {
        let known = AGGREGATIONS.iter().find(|(of, _)| of.eq_ignore_ascii_case(name));
        let Some((name, how)) = known.copied() else {
            return Err(QueryError::unsupported(format!("the aggregation {name}")));
        };
        let before = self.grouping("by", "without")?;
        self.expect("(")?;
        let parameter = match how {
            How::TopK | How::BottomK | How::Quantile => {
                let parameter = self.scalar(name)?;
                self.expect(",")?;
                Some(parameter)
            }
            _ => None,
        };
        let of = self.vector(name)?;
        self.expect(")")?;
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping("by", "without")?.unwrap_or(Grouping::By(Vec::new())),
        };
        // The sum of growths is the growth of the sum: the database adds up faster than we do.
        if let (How::Sum, Node::Read(read)) = (how, &*of) {
            self.reads[*read].keep = Some(grouping.clone());
        }
        Ok(Part::Vector(Node::Aggregate(Aggregate { how, parameter, grouping, of })))
    }

    /// A function, after its name.
    pub(super) fn function(&mut self, name: &str) -> Result<Part> {
        self.expect("(")?;
        let part = match name {
            "scalar" => Part::Scalar(Node::Scalar(self.vector(name)?)),
            "sort" => Part::Vector(Node::Sort { of: self.vector(name)?, descending: false }),
            "sort_desc" => Part::Vector(Node::Sort { of: self.vector(name)?, descending: true }),
            "histogram_quantile" => {
                let quantile = self.scalar(name)?;
                self.expect(",")?;
                Part::Vector(Node::HistogramQuantile { quantile, of: self.vector(name)? })
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
                Ok(self.read(Read { selector, growth: Some(growth), keep: None }))
            }
            part => Err(self.wrong_type(at, "range vector", name, &part)),
        }
    }

    fn scalar(&mut self, within: &str) -> Result<Box<Node>> {
        let at = self.next.1;
        match self.expression(0)? {
            Part::Scalar(node) => Ok(Box::new(node)),
            part => Err(self.wrong_type(at, "scalar", within, &part)),
        }
    }

    fn vector(&mut self, within: &str) -> Result<Box<Node>> {
        let at = self.next.1;
        match self.expression(0)? {
            Part::Vector(node) => Ok(Box::new(node)),
            part => Err(self.wrong_type(at, "instant vector", within, &part)),
        }
    }

    fn wrong_type(&self, at: usize, expected: &str, within: &str, part: &Part) -> QueryError {
        self.error(at, format!("expected type {expected} in {within}(), got {}", part.kind()))
    }
}
