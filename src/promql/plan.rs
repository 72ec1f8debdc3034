//! What is to be read and done for an expression.

use super::selector::Selector;

/// What an expression needs, and what is done with it.
#[derive(Debug)]
pub struct Plan {
    pub root: Root,
    /// The series that it needs; [`Node::Read`] names one by its place.
    pub reads: Vec<Read>,
}

/// The outermost part of an expression.
#[derive(Debug)]
pub enum Root {
    /// One with a value at each moment.
    Node(Node),
    /// The samples within a range before the moment.
    Range { selector: Selector, range_ms: i64 },
}

/// Series to be read.
#[derive(Debug)]
pub struct Read {
    pub selector: Selector,
    /// Their growth is wanted, not their value.
    pub growth: Option<Growth>,
    /// Labels of a report that the sum around it will leave: series may be added up where they are
    /// read.
    pub keep: Option<Grouping>,
}

/// Growth of a counter within a range before the moment.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    pub range_ms: i64,
    pub per_second: bool,
}

/// Labels that are left, or dropped.
#[derive(Debug, Clone)]
pub enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

/// An operation on what its parts come to.
#[derive(Debug)]
pub enum Node {
    Number(f64),
    Read(usize),
    Negate(Box<Node>),
    Scalar(Box<Node>),
    Sort { of: Box<Node>, descending: bool },
    HistogramQuantile { quantile: Box<Node>, of: Box<Node> },
    Aggregate(Aggregate),
    Binary(Binary),
}

/// Many series into few.
#[derive(Debug)]
pub struct Aggregate {
    pub how: How,
    pub parameter: Option<Box<Node>>,
    pub grouping: Grouping,
    pub of: Box<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    TopK,
    BottomK,
    Quantile,
}

/// Arithmetic or comparison of two parts.
#[derive(Debug)]
pub struct Binary {
    pub operator: Operator,
    /// A comparison gives 0 or 1 instead of leaving out.
    pub gives_bool: bool,
    /// By which labels series of both sides belong together.
    pub matching: Grouping,
    pub left: Box<Node>,
    pub right: Box<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

impl From<Selector> for Read {
    fn from(selector: Selector) -> Self {
        Self { selector, growth: None, keep: None }
    }
}

impl Grouping {
    pub fn labels(&self) -> &[String] {
        match self {
            Self::By(labels) | Self::Without(labels) => labels,
        }
    }
}
