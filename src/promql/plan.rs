//! From the text of an expression to what is to be read and done. Refuses, by its name, what
//! this server does not understand.

use std::time::Duration;

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{
        self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, Offset,
        VectorMatchCardinality, VectorSelector, token,
    },
};

use super::{
    MAX_LENGTH, MAX_STEPS,
    error::QueryError,
    series::{Grid, NAME},
};

type Result<T> = std::result::Result<T, QueryError>;

/// Operations within each other; more than any person writes.
const MAX_DEPTH: usize = 50;
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

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

/// Which series, and how long before the moment.
#[derive(Debug, Clone)]
pub struct Selector {
    /// Conditions on labels, the name among them.
    pub matchers: Vec<Matcher>,
    /// How long before, in milliseconds.
    pub offset_ms: i64,
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
            Expr::MatrixSelector(range) => Root::Range {
                selector: Selector::new(&range.vs)?,
                range_ms: milliseconds(range.range)?,
            },
            Expr::StringLiteral(_) => return Err(QueryError::unsupported("a string literal")),
            expr => Root::Node(node(expr, &mut reads, 0)?),
        };
        Ok(Self { root, reads })
    }
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

    fn new(selector: &VectorSelector) -> Result<Self> {
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

fn milliseconds(duration: Duration) -> Result<i64> {
    const CENTURIES: u128 = 1000 * 365 * 86_400_000;
    let length = duration.as_millis();
    i64::try_from(length)
        .ok()
        .filter(|_| length < CENTURIES)
        .ok_or_else(|| QueryError::BadData("a duration is out of range".into()))
}

fn parse(expression: &str) -> Result<Expr> {
    if expression.len() > MAX_LENGTH {
        return Err(QueryError::BadData(format!("the expression is over {MAX_LENGTH} bytes")));
    }
    // The parser takes a time that grows with the square of the depth.
    let mut open: usize = 0;
    for byte in expression.bytes() {
        match byte {
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > 4 * MAX_DEPTH {
            return Err(too_deep());
        }
    }
    parser::parse(expression)
        .map_err(|error| QueryError::BadData(format!("invalid parameter \"query\": {error}")))
}

fn too_deep() -> QueryError {
    QueryError::BadData(format!("the expression is nested more than {MAX_DEPTH} deep"))
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
                    let growth =
                        Growth { range_ms: milliseconds(*range)?, per_second: name == "rate" };
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
