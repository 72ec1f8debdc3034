//! The parser: turns the text of an expression into its plan. An error names the construct that this
//! server does not support.
//!
//! The grammar is that of [Prometheus](https://prometheus.io/docs/prometheus/latest/querying/basics/),
//! the precedence of its operators included.

mod calls;
mod lexer;
mod selectors;

use lexer::{Lexer, Token};

use super::{
    error::{QueryError, Result},
    grouping::Grouping,
    limits,
    plan::{Binary, Node, Operator, Plan, Read, Root},
    selector::Selector,
};

pub use selectors::{duration, selector, selectors};

/// Precedence of a multiplication, and of a sign before an expression.
const PRODUCT: u8 = 3;
/// Words that are no name of a series at the beginning of an expression.
const RESERVED: [&str; 8] =
    ["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"];

/// Parses an expression.
///
/// # Errors
/// If the text is no expression, has an unsupported construct or is over a limit.
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
    /// Series with one value at each moment.
    Vector(Node),
    /// Series with the samples of a range.
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
    /// The next token, and its position.
    next: (Token<'a>, usize),
    /// Number of parts so far; see [`limits::PARTS`].
    parts: usize,
    /// Number of regular expressions so far.
    patterns: usize,
    reads: Vec<Read>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self> {
        if text.len() > limits::EXPRESSION_BYTES {
            return Err(QueryError::BadData(format!(
                "the expression is longer than {} bytes",
                limits::EXPRESSION_BYTES
            )));
        }
        let mut lexer = Lexer::new(text);
        let next = lexer.next()?;
        Ok(Self { lexer, next, parts: 0, patterns: 0, reads: Vec::new() })
    }

    /// Parses an expression whose operators have at least the precedence `least`.
    fn expression(&mut self, least: u8) -> Result<Part> {
        self.parts += 1;
        if self.parts > limits::PARTS {
            return Err(QueryError::BadData(format!(
                "the expression has more than {} parts",
                limits::PARTS
            )));
        }
        let mut left = self.operand()?;
        while let Some((operator, precedence)) = self.operator()?
            && precedence >= least
        {
            left = self.operation(left, operator, precedence)?;
        }
        Ok(left)
    }

    /// The next operator with its precedence, if an operator comes next.
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

    /// Parses the rest of an operation, from its operator on.
    fn operation(&mut self, left: Part, operator: Operator, precedence: u8) -> Result<Part> {
        let (_, at) = self.advance()?;
        let gives_bool = self.take_word(&["bool"])?.is_some();
        if gives_bool && !operator.compares() {
            return Err(self.error(at, "bool modifier can only be used on comparison operators"));
        }
        let matching = self.grouping("on", "ignoring")?;
        if let Some(word) = self.take_word(&["group_left", "group_right"])? {
            return Err(QueryError::unsupported(word));
        }
        // Of all operators only the power groups from the right.
        let least = if operator == Operator::Power { precedence } else { precedence + 1 };
        let (left, right, scalars) = match (left, self.expression(least)?) {
            (Part::Scalar(left), Part::Scalar(right)) => (left, right, 2),
            (Part::Scalar(left), Part::Vector(right))
            | (Part::Vector(left), Part::Scalar(right)) => (left, right, 1),
            (Part::Vector(left), Part::Vector(right)) => (left, right, 0),
            _ => {
                let message = "binary expression must contain only scalar and instant vector types";
                return Err(self.error(at, message));
            }
        };
        if scalars == 2 && operator.compares() && !gives_bool {
            return Err(self.error(at, "comparisons between scalars must use BOOL modifier"));
        }
        let has_labels = |grouping: &Grouping| !grouping.labels().is_empty();
        if scalars > 0 && matching.as_ref().is_some_and(has_labels) {
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

    /// Parses an operand, the part between two operators.
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
        // A power has a higher precedence than a sign before it.
        let part = self.expression(PRODUCT + 1)?;
        let negate = |node| if sign == "-" { Node::Negate(Box::new(node)) } else { node };
        match part {
            Part::Scalar(node) => Ok(Part::Scalar(negate(node))),
            Part::Vector(node) => Ok(Part::Vector(negate(node))),
            Part::Range { .. } => Err(self.error(at, "a sign cannot stand before a range vector")),
        }
    }

    /// Parses labels in parentheses after one of two keywords, if one comes next. The first keyword
    /// keeps the labels, the second drops them.
    fn grouping(&mut self, keep: &'static str, drop: &'static str) -> Result<Option<Grouping>> {
        let Some(word) = self.take_word(&[keep, drop])? else {
            return Ok(None);
        };
        self.expect("(")?;
        let labels = self.list(")", Self::label)?;
        Ok(Some(if word == keep { Grouping::By(labels) } else { Grouping::Without(labels) }))
    }

    /// Parses a list of items with commas between them, up to a bracket. A comma may also stand before
    /// the bracket.
    fn list<T>(
        &mut self,
        end: &'static str,
        item: impl Fn(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.take(end)? {
            items.push(item(self)?);
            if !self.take(",")? && self.next.0 != Token::Symbol(end) {
                return Err(self.unexpected(&format!("expected \",\" or {end:?}")));
            }
        }
        Ok(items)
    }

    /// Parses the name of a label, which may be quoted.
    fn label(&mut self) -> Result<String> {
        match self.advance()? {
            (Token::Word(label), _) if !label.contains(':') => Ok(label.to_owned()),
            (Token::Text(label), _) => Ok(label),
            (token, at) => Err(self.error(at, format!("unexpected {token}, expected a label"))),
        }
    }

    /// Takes the next token and its position.
    fn advance(&mut self) -> Result<(Token<'a>, usize)> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Takes a symbol if it comes next; true if it does.
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

    /// Takes one of some keywords if it comes next, and returns it in the spelling of the list.
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

    fn unexpected(&self, expected: &str) -> QueryError {
        let (token, at) = &self.next;
        self.error(*at, format!("unexpected {token}, {expected}"))
    }

    fn error(&self, at: usize, message: impl std::fmt::Display) -> QueryError {
        self.lexer.error(at, message)
    }
}

/// True if a word is one of some keywords, in upper or lower case.
fn is(word: &str, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
