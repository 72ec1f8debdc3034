//! The plan of an expression: the series that it reads, and the operations on them.

use super::{grouping::Grouping, selector::Selector};

/// The series that an expression reads, and the operations on them.
#[derive(Debug)]
pub struct Plan {
    /// The outermost operation.
    pub root: Root,
    /// The series that are read; `Node::Read` names one by its place.
    pub reads: Vec<Read>,
}

/// The outermost part of an expression.
#[derive(Debug)]
pub enum Root {
    /// An expression with a value at each moment.
    Node(Node),
    /// The samples within a range before the moment.
    Range { selector: Selector, range_ms: i64 },
}

/// Series to be read.
#[derive(Debug)]
pub struct Read {
    pub selector: Selector,
    /// The growth that is read instead of the value.
    pub growth: Option<Growth>,
    /// Labels of a report that the sum around the series keeps: the database may add up series that
    /// differ in no other label.
    pub keep: Option<Grouping>,
    /// Number of series that are enough, if the answer is these series: where there are too many, no
    /// more are read.
    pub limit: Option<usize>,
}

/// Growth of a counter within a range before the moment.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    pub range_ms: i64,
    pub per_second: bool,
}

/// An operation on the values of its operands.
#[derive(Debug)]
pub enum Node {
    Number(f64),
    Read(usize),
    Negate(Box<Node>),
    Scalar(Box<Node>),
    Sort { operand: Box<Node>, descending: bool },
    HistogramQuantile { quantile: Box<Node>, operand: Box<Node> },
    Aggregate(Aggregate),
    Binary(Binary),
}

/// An aggregation of many series into few.
#[derive(Debug)]
pub struct Aggregate {
    pub aggregation: Aggregation,
    /// The number that some aggregations take before the series.
    pub parameter: Option<Box<Node>>,
    pub grouping: Grouping,
    pub operand: Box<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    TopK,
    BottomK,
    Quantile,
}

/// Arithmetic or comparison of two operands.
#[derive(Debug)]
pub struct Binary {
    pub operator: Operator,
    /// A comparison gives 0 or 1 instead of leaving series out.
    pub gives_bool: bool,
    /// The labels by which a series of one side belongs to one of the other.
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

impl Operator {
    pub const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterOrEqual
                | Self::LessOrEqual
        )
    }
}

impl From<Selector> for Read {
    fn from(selector: Selector) -> Self {
        Self { selector, growth: None, keep: None, limit: None }
    }
}
