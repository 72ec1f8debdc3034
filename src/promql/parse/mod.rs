//! From the text of an expression to its plan. Refuses, by its name, what this server does not
//! understand.
//!
//! The grammar is that of [Prometheus](https://prometheus.io/docs/prometheus/latest/querying/basics/),
//! the precedence of its operators included.

mod calls;
mod lexer;
mod selectors;

use lexer::{Lexer, Token};

use super::{
    error::QueryError,
    plan::{Binary, Grouping, Node, Operator, Plan, Read, Root},
    selector::Selector,
};

pub use selectors::{duration, selector, selectors};

type Result<T> = std::result::Result<T, QueryError>;

/// Longest expression, in bytes; the body of a form is not longer either.
const MAX_LENGTH: usize = 16 * 1024;
/// Operands, arguments and pairs of parentheses; more than any person writes. What they make up
/// is not deeper either.
const MAX_PARTS: usize = 100;
/// How tightly a multiplication binds, and a sign before an expression.
const PRODUCT: u8 = 3;
/// Words that name no series where an expression begins.
const RESERVED: [&str; 8] =
    ["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"];

/// Reads an expression.
///
/// # Errors
/// If it is none, or has something that is not supported.
pub fn expression(text: &str) -> Result<Plan> {
    let mut parser = Parser::new(text)?;
    if parser.next.0 == Token::End {
        return Err(parser.error(0, "no expression found in input"));
    }
    let part = parser.expression(0)?;
    parser.end()?;
    let root = match part {
        Part::Scalar(node) | Part::Vector(node) => Root::Node(node),
        Part::Range { selector, range_ms } => Root::Range { selector, range_ms },
    };
    Ok(Plan { root, reads: parser.reads })
}

/// A part of an expression, by the type of its value.
enum Part {
    Scalar(Node),
    /// One value of each of some series.
    Vector(Node),
    /// Samples of some series.
    Range {
        selector: Selector,
        range_ms: i64,
    },
}

impl Part {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "scalar",
            Self::Vector(_) => "instant vector",
            Self::Range { .. } => "range vector",
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next token, and where it begins.
    next: (Token<'a>, usize),
    /// How many parts there were.
    parts: usize,
    /// How many regular expressions there were.
    patterns: usize,
    reads: Vec<Read>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self> {
        if text.len() > MAX_LENGTH {
            return Err(QueryError::BadData(format!("the expression is over {MAX_LENGTH} bytes")));
        }
        let mut lexer = Lexer::new(text);
        let next = lexer.next()?;
        Ok(Self { lexer, next, parts: 0, patterns: 0, reads: Vec::new() })
    }

    /// An expression whose operators bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Part> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(QueryError::BadData(format!(
                "the expression has more than {MAX_PARTS} parts"
            )));
        }
        let mut left = self.operand()?;
        while let Some((operator, binds)) = self.operator()?
            && binds >= least
        {
            left = self.operation(left, operator, binds)?;
        }
        Ok(left)
    }

    /// The operator that comes next, if one does, and how tightly it binds.
    fn operator(&self) -> Result<Option<(Operator, u8)>> {
        Ok(Some(match &self.next.0 {
            Token::Symbol("==") => (Operator::Equal, 1),
            Token::Symbol("!=") => (Operator::NotEqual, 1),
            Token::Symbol(">") => (Operator::Greater, 1),
            Token::Symbol("<") => (Operator::Less, 1),
            Token::Symbol(">=") => (Operator::GreaterOrEqual, 1),
            Token::Symbol("<=") => (Operator::LessOrEqual, 1),
            Token::Symbol("+") => (Operator::Add, 2),
            Token::Symbol("-") => (Operator::Subtract, 2),
            Token::Symbol("*") => (Operator::Multiply, PRODUCT),
            Token::Symbol("/") => (Operator::Divide, PRODUCT),
            Token::Symbol("%") => (Operator::Modulo, PRODUCT),
            Token::Symbol("^") => (Operator::Power, PRODUCT + 1),
            Token::Word(word) if is(word, &["and", "or", "unless", "atan2"]) => {
                return Err(QueryError::unsupported(format!("the operator {word}")));
            }
            _ => return Ok(None),
        }))
    }

    /// An operation, from its operator on.
    fn operation(&mut self, left: Part, operator: Operator, binds: u8) -> Result<Part> {
        let (_, at) = self.advance()?;
        let gives_bool = self.take_word(&["bool"])?.is_some();
        if gives_bool && !operator.compares() {
            return Err(self.error(at, "bool modifier can only be used on comparison operators"));
        }
        let matching = self.grouping("on", "ignoring")?;
        if let Some(word) = self.take_word(&["group_left", "group_right"])? {
            return Err(QueryError::unsupported(word));
        }
        // Only powers are taken together from the right.
        let least = if operator == Operator::Power { binds } else { binds + 1 };
        let (left, right, scalars) = match (left, self.expression(least)?) {
            (Part::Scalar(left), Part::Scalar(right)) => (left, right, 2),
            (Part::Scalar(left), Part::Vector(right))
            | (Part::Vector(left), Part::Scalar(right)) => (left, right, 1),
            (Part::Vector(left), Part::Vector(right)) => (left, right, 0),
            _ => {
                let what = "binary expression must contain only scalar and instant vector types";
                return Err(self.error(at, what));
            }
        };
        if scalars == 2 && operator.compares() && !gives_bool {
            return Err(self.error(at, "comparisons between scalars must use BOOL modifier"));
        }
        if scalars > 0 && matching.as_ref().is_some_and(|of| !of.labels().is_empty()) {
            return Err(self.error(at, "vector matching only allowed between instant vectors"));
        }
        let node = Node::Binary(Binary {
            operator,
            gives_bool,
            matching: matching.unwrap_or(Grouping::Without(Vec::new())),
            left: Box::new(left),
            right: Box::new(right),
        });
        Ok(if scalars == 2 { Part::Scalar(node) } else { Part::Vector(node) })
    }

    /// An operand: what stands between operators.
    fn operand(&mut self) -> Result<Part> {
        let (token, at) = self.advance()?;
        let opens = self.next.0 == Token::Symbol("(");
        let part = match token {
            Token::Number(number) => Part::Scalar(Node::Number(number)),
            #[expect(clippy::cast_precision_loss, reason = "a length of time")]
            Token::Duration(length) => Part::Scalar(Node::Number(length as f64 / 1000.0)),
            Token::Text(_) => return Err(QueryError::unsupported("a string literal")),
            Token::Symbol(sign @ ("+" | "-")) => return self.signed(sign, at),
            Token::Symbol("(") => {
                let part = self.expression(0)?;
                self.expect(")")?;
                part
            }
            Token::Symbol("{") => return self.series(None, true),
            Token::Word(word) if is(word, &["inf"]) => Part::Scalar(Node::Number(f64::INFINITY)),
            Token::Word(word) if is(word, &["nan"]) => Part::Scalar(Node::Number(f64::NAN)),
            Token::Word(word) if self.begins_aggregation(word) => self.aggregation(word)?,
            Token::Word(word) if opens && !is(word, &RESERVED) => self.function(word)?,
            Token::Word(word) if !is(word, &RESERVED) => {
                let brace = self.take("{")?;
                return self.series(Some(word), brace);
            }
            token => return Err(self.error(at, format!("unexpected {token}"))),
        };
        self.end_of_operand()?;
        Ok(part)
    }

    fn signed(&mut self, sign: &str, at: usize) -> Result<Part> {
        // A power binds more tightly than a sign before it.
        let part = self.expression(PRODUCT + 1)?;
        let negate = |node| if sign == "-" { Node::Negate(Box::new(node)) } else { node };
        match part {
            Part::Scalar(node) => Ok(Part::Scalar(negate(node))),
            Part::Vector(node) => Ok(Part::Vector(negate(node))),
            Part::Range { .. } => Err(self.error(at, "a sign stands before a range vector")),
        }
    }

    /// Labels in parentheses, after one of two keywords if it comes next: the first keeps them, the
    /// second drops them.
    fn grouping(&mut self, by: &'static str, without: &'static str) -> Result<Option<Grouping>> {
        let Some(word) = self.take_word(&[by, without])? else {
            return Ok(None);
        };
        self.expect("(")?;
        let labels = self.list(")", Self::label)?;
        Ok(Some(if word == by { Grouping::By(labels) } else { Grouping::Without(labels) }))
    }

    /// What commas separate, up to a bracket; a comma may also stand before that.
    fn list<T>(
        &mut self,
        end: &'static str,
        one: impl Fn(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while !self.take(end)? {
            all.push(one(self)?);
            if !self.take(",")? && self.next.0 != Token::Symbol(end) {
                return Err(self.unexpected(&format!("expected \",\" or {end:?}")));
            }
        }
        Ok(all)
    }

    /// A label's name, which may be quoted.
    fn label(&mut self) -> Result<String> {
        match self.advance()? {
            (Token::Word(label), _) if !label.contains(':') => Ok(label.to_owned()),
            (Token::Text(label), _) => Ok(label),
            (token, at) => Err(self.error(at, format!("unexpected {token}, expected a label"))),
        }
    }

    /// Goes on to the next token, and returns the one before.
    fn advance(&mut self) -> Result<(Token<'a>, usize)> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Takes a symbol if it comes next.
    fn take(&mut self, symbol: &'static str) -> Result<bool> {
        let comes = self.next.0 == Token::Symbol(symbol);
        if comes {
            self.advance()?;
        }
        Ok(comes)
    }

    fn expect(&mut self, symbol: &'static str) -> Result<()> {
        if self.take(symbol)? {
            Ok(())
        } else {
            Err(self.unexpected(&format!("expected {symbol:?}")))
        }
    }

    /// Takes one of some keywords if it comes next; the keyword is returned as it is listed.
    fn take_word(&mut self, keywords: &[&'static str]) -> Result<Option<&'static str>> {
        let Token::Word(word) = self.next.0 else {
            return Ok(None);
        };
        let taken = keywords.iter().find(|keyword| keyword.eq_ignore_ascii_case(word)).copied();
        if taken.is_some() {
            self.advance()?;
        }
        Ok(taken)
    }

    fn end(&self) -> Result<()> {
        match self.next.0 {
            Token::End => Ok(()),
            _ => Err(self.unexpected("expected an operator or the end of input")),
        }
    }

    fn unexpected(&self, instead: &str) -> QueryError {
        let (token, at) = &self.next;
        self.error(*at, format!("unexpected {token}, {instead}"))
    }

    fn error(&self, at: usize, what: impl std::fmt::Display) -> QueryError {
        self.lexer.error(at, what)
    }
}

/// Whether a word is one of some keywords, whose letters may be of either case.
fn is(word: &str, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
