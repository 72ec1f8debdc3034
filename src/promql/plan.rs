//! From the text of an expression to what is to be read and done. Refuses, by its name, what
//! this server does not understand.

use std::time::Duration;

use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, VectorMatchCardinality,
    token,
};

use super::{
    error::QueryError,
    selector::{MAX_DEPTH, Selector, milliseconds, parse, too_deep},
};

type Result<T> = std::result::Result<T, QueryError>;

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

impl Plan {
    pub fn parse(expression: &str) -> Result<Self> {
        let expr = parse(expression)?;
        let mut reads = Vec::new();
        let root = match without_parentheses(&expr) {
            Expr::MatrixSelector(range) => {
                Root::Range { selector: Selector::new(&range.vs)?, range_ms: length(range.range)? }
            }
            Expr::StringLiteral(_) => return Err(QueryError::unsupported("a string literal")),
            expr => Root::Node(node(expr, &mut reads, 0)?),
        };
        Ok(Self { root, reads })
    }
}

fn without_parentheses(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(inner) = expr {
        expr = &inner.expr;
    }
    expr
}

fn node(expr: &Expr, reads: &mut Vec<Read>, depth: usize) -> Result<Node> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    let depth = depth + 1;
    match without_parentheses(expr) {
        Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
        Expr::VectorSelector(selector) => Ok(reading(Selector::new(selector)?.into(), reads)),
        Expr::Unary(unary) => Ok(Node::Negate(Box::new(node(&unary.expr, reads, depth)?))),
        Expr::Call(call) => function(call, reads, depth),
        Expr::Aggregate(aggregate) => aggregation(aggregate, reads, depth),
        Expr::Binary(binary) => operation(binary, reads, depth),
        Expr::MatrixSelector(_) => Err(QueryError::BadData(
            "a range vector stands where an instant vector is needed".into(),
        )),
        Expr::Subquery(_) => Err(QueryError::unsupported("a subquery")),
        Expr::StringLiteral(_) => Err(QueryError::unsupported("a string literal")),
        Expr::Paren(_) | Expr::Extension(_) => Err(QueryError::unsupported("the expression")),
    }
}

/// The length of a range.
fn length(range: Duration) -> Result<i64> {
    match milliseconds(range)? {
        0 => Err(QueryError::BadData("a range must be a millisecond or longer".into())),
        length => Ok(length),
    }
}

fn reading(read: Read, reads: &mut Vec<Read>) -> Node {
    reads.push(read);
    Node::Read(reads.len() - 1)
}

fn function(call: &Call, reads: &mut Vec<Read>, depth: usize) -> Result<Node> {
    let name = call.func.name;
    let arguments = &call.args.args;
    let mut part = |number: usize| -> Result<Box<Node>> {
        let argument = arguments.get(number).ok_or_else(|| {
            QueryError::BadData(format!("{name}() needs more arguments than it has"))
        })?;
        Ok(Box::new(node(argument, reads, depth)?))
    };
    match name {
        "scalar" => Ok(Node::Scalar(part(0)?)),
        "sort" => Ok(Node::Sort { of: part(0)?, descending: false }),
        "sort_desc" => Ok(Node::Sort { of: part(0)?, descending: true }),
        "histogram_quantile" => Ok(Node::HistogramQuantile { quantile: part(0)?, of: part(1)? }),
        "increase" | "rate" => {
            match arguments.first().map(|argument| without_parentheses(argument)) {
                Some(Expr::MatrixSelector(MatrixSelector { vs, range })) => {
                    let growth = Growth { range_ms: length(*range)?, per_second: name == "rate" };
                    let selector = Selector::new(vs)?;
                    Ok(reading(Read { selector, growth: Some(growth), keep: None }, reads))
                }
                _ => Err(QueryError::unsupported(format!("{name}() of a subquery"))),
            }
        }
        _ => Err(QueryError::unsupported(format!("the function {name}()"))),
    }
}

fn aggregation(expr: &AggregateExpr, reads: &mut Vec<Read>, depth: usize) -> Result<Node> {
    let how = match expr.op.id() {
        token::T_SUM => How::Sum,
        token::T_AVG => How::Avg,
        token::T_MIN => How::Min,
        token::T_MAX => How::Max,
        token::T_COUNT => How::Count,
        token::T_TOPK => How::TopK,
        token::T_BOTTOMK => How::BottomK,
        token::T_QUANTILE => How::Quantile,
        _ => return Err(QueryError::unsupported(format!("the aggregation {}", expr.op))),
    };
    let grouping = expr.modifier.as_ref().map_or(Grouping::By(Vec::new()), Grouping::from);
    let parameter = match &expr.param {
        Some(parameter) => Some(Box::new(node(parameter, reads, depth)?)),
        None => None,
    };
    let of = node(&expr.expr, reads, depth)?;
    // The sum of growths is the growth of the sum: the database adds up faster than we do.
    if let (How::Sum, Node::Read(read)) = (how, &of) {
        reads[*read].keep = Some(grouping.clone());
    }
    Ok(Node::Aggregate(Aggregate { how, parameter, grouping, of: Box::new(of) }))
}

fn operation(expr: &BinaryExpr, reads: &mut Vec<Read>, depth: usize) -> Result<Node> {
    let operator = match expr.op.id() {
        token::T_ADD => Operator::Add,
        token::T_SUB => Operator::Subtract,
        token::T_MUL => Operator::Multiply,
        token::T_DIV => Operator::Divide,
        token::T_MOD => Operator::Modulo,
        token::T_POW => Operator::Power,
        token::T_EQLC => Operator::Equal,
        token::T_NEQ => Operator::NotEqual,
        token::T_GTR => Operator::Greater,
        token::T_LSS => Operator::Less,
        token::T_GTE => Operator::GreaterOrEqual,
        token::T_LTE => Operator::LessOrEqual,
        _ => return Err(QueryError::unsupported(format!("the operator {}", expr.op))),
    };
    let mut matching = Grouping::Without(Vec::new());
    let mut gives_bool = false;
    if let Some(modifier) = &expr.modifier {
        match modifier.card {
            VectorMatchCardinality::OneToOne => {}
            VectorMatchCardinality::ManyToOne(_) => {
                return Err(QueryError::unsupported("group_left"));
            }
            VectorMatchCardinality::OneToMany(_) => {
                return Err(QueryError::unsupported("group_right"));
            }
            VectorMatchCardinality::ManyToMany => {
                return Err(QueryError::unsupported("many-to-many matching"));
            }
        }
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return Err(QueryError::unsupported("fill"));
        }
        gives_bool = modifier.return_bool;
        if let Some(labels) = &modifier.matching {
            matching = Grouping::from(labels);
        }
    }
    Ok(Node::Binary(Binary {
        operator,
        gives_bool,
        matching,
        left: Box::new(node(&expr.lhs, reads, depth)?),
        right: Box::new(node(&expr.rhs, reads, depth)?),
    }))
}

impl From<&LabelModifier> for Grouping {
    fn from(modifier: &LabelModifier) -> Self {
        match modifier {
            LabelModifier::Include(labels) => Self::By(labels.labels.clone()),
            LabelModifier::Exclude(labels) => Self::Without(labels.labels.clone()),
        }
    }
}
