//! Selectors of series, with their matchers, range and offset.

use super::{
    Parser, Part, RESERVED, is,
    lexer::{self, Token},
};
use crate::promql::{
    error::{QueryError, Result},
    limits,
    matcher::{Condition, Matcher, Pattern},
    plan::{Node, Read},
    selector::Selector,
    series::NAME,
};

/// Parses a selector, such as `name{label="value"}`, without range and offset.
///
/// # Errors
/// If the text is anything else.
pub fn selector(text: &str) -> Result<Selector> {
    selector_after(&mut 0, text)
}

/// Parses the selectors of one request, which share the limit on regular expressions.
///
/// # Errors
/// If one of the texts is anything else.
pub fn selectors<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Selector>> {
    let mut patterns = 0;
    texts.into_iter().map(|text| selector_after(&mut patterns, text)).collect()
}

/// Parses a selector. `patterns` is the number of regular expressions in those before it.
fn selector_after(patterns: &mut usize, text: &str) -> Result<Selector> {
    let mut parser = Parser { patterns: *patterns, ..Parser::new(text)? };
    let matchers = match parser.advance()? {
        (Token::Word(name), _) if !is(name, &RESERVED) => {
            let brace = parser.take("{")?;
            parser.matchers(Some(name), brace)?
        }
        (Token::Symbol("{"), _) => parser.matchers(None, true)?,
        (token, at) => return Err(parser.error(at, format!("unexpected {token}"))),
    };
    parser.end()?;
    *patterns = parser.patterns;
    Ok(Selector { matchers, offset_ms: 0 })
}

/// Parses a step in milliseconds: `5m`, `1h30m`, or a number of seconds.
///
/// # Errors
/// If the text is neither, or the step is out of range.
pub fn duration(text: &str) -> Result<i64> {
    let length = match text.parse::<f64>() {
        Ok(seconds) => milliseconds(seconds),
        Err(_) => lexer::duration(text).and_then(in_range),
    };
    match length {
        Some(..=0) => Err(QueryError::BadData(
            "zero or negative query resolution step widths are not accepted. \
             Try a positive integer"
                .into(),
        )),
        Some(length) => Ok(length),
        None => Err(QueryError::BadData(format!("cannot parse {text:?} to a valid duration"))),
    }
}

/// A number of seconds in milliseconds; `None` where it is out of range.
fn milliseconds(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a number that is too large stays so")]
    let length = seconds.is_finite().then(|| (seconds * 1000.0).round() as i64)?;
    in_range(length)
}

fn in_range(length: i64) -> Option<i64> {
    (length.unsigned_abs() < limits::DURATION_MS.unsigned_abs()).then_some(length)
}

impl Parser<'_> {
    /// Parses the rest of a selector, after its name and its brace, if it has them.
    pub(super) fn series(&mut self, name: Option<&str>, brace: bool) -> Result<Part> {
        let matchers = self.matchers(name, brace)?;
        let range_ms = if self.take("[")? { Some(self.range()?) } else { None };
        let mut offset_ms = 0;
        if self.take_word(&["offset"])?.is_some() {
            let sign = if self.take("-")? { -1 } else { 1 };
            if sign == 1 {
                self.take("+")?;
            }
            offset_ms = sign * self.length()?;
        }
        self.end_of_operand()?;
        let selector = Selector { matchers, offset_ms };
        Ok(match range_ms {
            Some(range_ms) => Part::Range { selector, range_ms },
            None => self.read(Read::from(selector)),
        })
    }

    pub(super) fn read(&mut self, read: Read) -> Part {
        self.reads.push(read);
        Part::Vector(Node::Read(self.reads.len() - 1))
    }

    /// Refuses a range, an offset or a moment after an operand: they belong to a selector, and each
    /// may stand there once.
    pub(super) fn end_of_operand(&mut self) -> Result<()> {
        let at = self.next.1;
        match self.next.0 {
            Token::Symbol("@") => Err(QueryError::unsupported("the @ modifier")),
            Token::Symbol("[") => {
                self.advance()?;
                self.range()?;
                Err(self.error(at, "a range may follow only a selector, and only once"))
            }
            Token::Word(word) if is(word, &["offset"]) => {
                Err(self
                    .error(at, "an offset may follow only a selector or its range, and only once"))
            }
            _ => Ok(()),
        }
    }

    /// Parses the length of a range, after its bracket.
    fn range(&mut self) -> Result<i64> {
        let at = self.next.1;
        let length = self.length()?;
        if self.next.0 == Token::Symbol(":") {
            return Err(QueryError::unsupported("a subquery"));
        }
        self.expect("]")?;
        if length == 0 {
            return Err(self.error(at, "a range must be at least one millisecond"));
        }
        Ok(length)
    }

    /// Parses a length of time in milliseconds: a duration, or a number of seconds.
    fn length(&mut self) -> Result<i64> {
        let (token, at) = self.advance()?;
        let length = match token {
            Token::Duration(length) => in_range(length),
            Token::Number(seconds) => milliseconds(seconds),
            token => {
                return Err(self.error(at, format!("unexpected {token}, expected a duration")));
            }
        };
        length.ok_or_else(|| self.error(at, "a duration is out of range"))
    }

    /// Parses the matchers of a selector, after its name and its brace, if it has them.
    fn matchers(&mut self, name: Option<&str>, brace: bool) -> Result<Vec<Matcher>> {
        let at = self.next.1;
        let mut matchers: Vec<Matcher> = name.map(Matcher::name_is).into_iter().collect();
        if brace {
            matchers.extend(self.list("}", Self::matcher)?);
        }
        if name.is_some() && matchers[1..].iter().any(|matcher| matcher.label == NAME) {
            return Err(self.error(at, "metric name must not be set twice"));
        }
        if matchers.iter().all(|matcher| matcher.is_match("")) {
            let message = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(at, message));
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<Matcher> {
        let quoted = matches!(self.next.0, Token::Text(_));
        let label = self.label()?;
        if quoted && matches!(self.next.0, Token::Symbol("," | "}")) {
            // A quoted text without a condition is the name of the series.
            return Ok(Matcher::name_is(&label));
        }
        let (operator, at) = self.advance()?;
        if !matches!(operator, Token::Symbol("=" | "!=" | "=~" | "!~")) {
            let message =
                format!("unexpected {operator}, expected one of \"=\", \"!=\", \"=~\", \"!~\"");
            return Err(self.error(at, message));
        }
        let value = match self.advance()? {
            (Token::Text(value), _) => value,
            (token, at) => {
                return Err(self.error(at, format!("unexpected {token}, expected a string")));
            }
        };
        let condition = match operator {
            Token::Symbol("=") => Condition::Is(value),
            Token::Symbol("!=") => Condition::IsNot(value),
            Token::Symbol("=~") => Condition::Matches(self.pattern(&value)?),
            _ => Condition::MatchesNot(self.pattern(&value)?),
        };
        if matches!(self.next.0, Token::Word(word) if is(word, &["or"])) {
            return Err(QueryError::unsupported("\"or\" between matchers"));
        }
        Ok(Matcher::new(label, condition))
    }

    fn pattern(&mut self, text: &str) -> Result<Pattern> {
        if let Some(texts) = Pattern::one_of(text) {
            return Ok(texts);
        }
        self.patterns += 1;
        if self.patterns > limits::PATTERNS {
            return Err(QueryError::BadData(format!(
                "the query has more than {} regular expressions",
                limits::PATTERNS
            )));
        }
        Pattern::regex(text, self.patterns)
    }
}
