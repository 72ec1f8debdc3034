//! Which series, within which time.

use super::{
    super::{
        error::QueryError,
        matcher::{Condition, Matcher, pattern},
        plan::{Node, Read},
        selector::Selector,
        series::NAME,
    },
    Parser, Part, RESERVED, Result, is,
    lexer::{self, Token},
};

/// Regular expressions of one query.
const MAX_PATTERNS: usize = 20;
/// Longest range, offset or step.
const CENTURIES_MS: i64 = 1000 * 365 * 86_400_000;

/// Reads what selects some series, such as `name{label="value"}`.
///
/// # Errors
/// If it is anything else.
pub fn selector(text: &str) -> Result<Selector> {
    selector_after(&mut 0, text)
}

/// Reads several of them.
///
/// # Errors
/// If one is anything else.
pub fn selectors<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Selector>> {
    let mut patterns = 0;
    texts.into_iter().map(|text| selector_after(&mut patterns, text)).collect()
}

/// Reads one, after a number of regular expressions.
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

/// Reads a length of time: `5m`, `1h30m`, or a number of seconds. In milliseconds.
///
/// # Errors
/// If it is neither, or does not lie between a millisecond and some centuries.
pub fn duration(text: &str) -> Result<i64> {
    let length = match text.parse::<f64>() {
        Ok(seconds) => milliseconds(seconds),
        Err(_) => lexer::duration(text).and_then(within_centuries),
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

/// A number of seconds in milliseconds; none where it is out of range.
fn milliseconds(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "what is too large stays so")]
    let length = seconds.is_finite().then(|| (seconds * 1000.0).round() as i64)?;
    within_centuries(length)
}

fn within_centuries(length: i64) -> Option<i64> {
    (length.unsigned_abs() < CENTURIES_MS.unsigned_abs()).then_some(length)
}

impl Parser<'_> {
    /// Series, after their name, and after the brace if there is one; or samples of them.
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

    /// Sees to it that no range, offset or moment follows, which stand after series only, and once.
    pub(super) fn end_of_operand(&mut self) -> Result<()> {
        let at = self.next.1;
        match self.next.0 {
            Token::Symbol("@") => Err(QueryError::unsupported("the @ modifier")),
            Token::Symbol("[") => {
                self.advance()?;
                self.range()?;
                Err(self.error(at, "a range stands after the selector of series only, and once"))
            }
            Token::Word(word) if is(word, &["offset"]) => Err(self.error(
                at,
                "an offset stands after the selector of series or of a range only, and once",
            )),
            _ => Ok(()),
        }
    }

    /// The length of a range, after its bracket.
    fn range(&mut self) -> Result<i64> {
        let at = self.next.1;
        let length = self.length()?;
        if self.next.0 == Token::Symbol(":") {
            return Err(QueryError::unsupported("a subquery"));
        }
        self.expect("]")?;
        if length == 0 {
            return Err(self.error(at, "a range must be a millisecond or longer"));
        }
        Ok(length)
    }

    /// A length of time, in milliseconds: a duration, or a number of seconds.
    fn length(&mut self) -> Result<i64> {
        let (token, at) = self.advance()?;
        let length = match token {
            Token::Duration(length) => within_centuries(length),
            Token::Number(seconds) => milliseconds(seconds),
            token => {
                return Err(self.error(at, format!("unexpected {token}, expected a duration")));
            }
        };
        length.ok_or_else(|| self.error(at, "a duration is out of range"))
    }

    /// The conditions of a selector, after its name, and after the brace if there is one.
    fn matchers(&mut self, name: Option<&str>, brace: bool) -> Result<Vec<Matcher>> {
        let at = self.next.1;
        let mut matchers: Vec<Matcher> = name.map(Matcher::name_is).into_iter().collect();
        if brace {
            matchers.extend(self.list("}", Self::matcher)?);
        }
        if name.is_some() && matchers[1..].iter().any(|of| of.name == NAME) {
            return Err(self.error(at, "metric name must not be set twice"));
        }
        if matchers.iter().all(|of| of.is_match("")) {
            let what = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(at, what));
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<Matcher> {
        let quoted = matches!(self.next.0, Token::Text(_));
        let name = self.label()?;
        if quoted && matches!(self.next.0, Token::Symbol("," | "}")) {
            // Alone, it is the name of the series.
            return Ok(Matcher::name_is(&name));
        }
        let (operator, at) = self.advance()?;
        if !matches!(operator, Token::Symbol("=" | "!=" | "=~" | "!~")) {
            let what =
                format!("unexpected {operator}, expected one of \"=\", \"!=\", \"=~\", \"!~\"");
            return Err(self.error(at, what));
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
        Ok(Matcher { name, condition })
    }

    fn pattern(&mut self, text: &str) -> Result<regex_lite::Regex> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(QueryError::BadData(format!(
                "the query has more than {MAX_PATTERNS} regular expressions"
            )));
        }
        pattern(text, self.patterns)
    }
}
