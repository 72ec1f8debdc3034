//! The lexer: splits an expression into words, numbers and symbols.

use std::borrow::Cow;

use crate::promql::error::{QueryError, Result};

/// Units of a duration in milliseconds, in the order in which they follow each other.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Symbols. A symbol stands before those that it begins with.
const SYMBOLS: [&str; 24] = [
    "==", "!=", ">=", "<=", "=~", "!~", "=", ">", "<", "+", "-", "*", "/", "%", "^", "(", ")", "{",
    "}", "[", "]", ",", ":", "@",
];

/// The smallest part of an expression that has a meaning.
#[derive(Debug, Clone, PartialEq)]
pub enum Token<'a> {
    Number(f64),
    /// A duration in milliseconds.
    Duration(i64),
    /// The value of a string literal.
    Text(String),
    /// A name or a keyword.
    Word(&'a str),
    /// An operator, a bracket or a separator.
    Symbol(&'static str),
    End,
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "number {number}"),
            Self::Duration(_) => f.write_str("duration"),
            Self::Text(text) => write!(f, "string {text:?}"),
            Self::Word(word) => write!(f, "{word:?}"),
            Self::Symbol(symbol) => write!(f, "{symbol:?}"),
            Self::End => f.write_str("end of input"),
        }
    }
}

/// Reads an expression token by token.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    /// Position after the last token, in bytes.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token, and its position in bytes.
    ///
    /// # Errors
    /// If the text goes on with something that is no token.
    pub fn next(&mut self) -> Result<(Token<'a>, usize)> {
        self.skip_blanks_and_comments();
        let begin = self.at;
        let rest = &self.text[begin..];
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, begin));
        };
        let (token, length) = match first {
            '0'..='9' | '.' => self.number_or_duration(rest)?,
            '"' | '\'' | '`' => self.string(rest, first)?,
            _ if begins_word(rest) => {
                let word = leading(rest, |c| is_word(c) || c == ':');
                (Token::Word(word), word.len())
            }
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => (Token::Symbol(symbol), symbol.len()),
                None => return Err(self.error(begin, format!("unexpected character {first:?}"))),
            },
        };
        self.at = begin + length;
        Ok((token, begin))
    }

    /// A parse error at a position in bytes.
    pub fn error(&self, at: usize, message: impl std::fmt::Display) -> QueryError {
        let character = self.text[..at].chars().count() + 1;
        QueryError::BadData(format!("parse error at character {character}: {message}"))
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            self.at += leading(rest, char::is_whitespace).len();
            if !self.text[self.at..].starts_with('#') {
                return;
            }
            self.at += leading(&self.text[self.at..], |c| c != '\n').len();
        }
    }

    fn number_or_duration(&self, rest: &str) -> Result<(Token<'a>, usize)> {
        let mut length = leading(rest, |c| is_word(c) || c == '.').len();
        // The sign of an exponent belongs to the number.
        if rest[..length].ends_with(['e', 'E'])
            && is_decimal(&rest[..length - 1])
            && rest[length..].starts_with(['+', '-'])
        {
            length += 1 + leading(&rest[length + 1..], |c| is_word(c) || c == '.').len();
        }
        let text = &rest[..length];
        let token = number(text)
            .map(Token::Number)
            .or_else(|| duration(text).map(Token::Duration))
            .ok_or_else(|| self.error(self.at, format!("bad number or duration {text:?}")))?;
        Ok((token, length))
    }

    /// A string literal in the syntax of Go.
    fn string(&self, rest: &str, quote: char) -> Result<(Token<'a>, usize)> {
        let broken = |message: &str| self.error(self.at, message);
        let mut value = Vec::new();
        let mut after = &rest[1..];
        loop {
            let next = after.chars().next().ok_or_else(|| broken("unterminated string"))?;
            after = &after[next.len_utf8()..];
            match next {
                _ if next == quote => break,
                '\n' if quote != '`' => return Err(broken("unterminated string")),
                '\\' if quote != '`' => {
                    after = escape(after, quote, &mut value)
                        .ok_or_else(|| broken("unknown escape sequence in a string"))?;
                }
                _ => value.extend(next.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        let value = String::from_utf8(value).map_err(|_| broken("a string is not UTF-8"))?;
        Ok((Token::Text(value), rest.len() - after.len()))
    }
}

/// The beginning of a text, up to the first character that is not wanted.
fn leading(text: &str, wanted: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !wanted(c)).unwrap_or(text.len())]
}

const fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn begins_word(text: &str) -> bool {
    let name = text.trim_start_matches(':');
    name.starts_with(|c| is_word(c) && !c.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// A number in the syntax of Go: decimal, hexadecimal after `0x`, or octal after `0`. Underscores
/// may stand between the digits.
#[expect(clippy::cast_precision_loss, reason = "a number of PromQL is a float")]
fn number(text: &str) -> Option<f64> {
    let text = without_underscores(text)?;
    let whole = |digits, radix| i64::from_str_radix(digits, radix).ok().map(|n| n as f64);
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return whole(digits, 16);
    }
    let octal = text.starts_with('0').then(|| whole(&text, 8)).flatten();
    octal.or_else(|| text.parse().ok())
}

/// A number without its underscores. `None` where one does not stand before a digit and after
/// another digit or the `x`.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let parts: Vec<&str> = text.split('_').collect();
    let separates = |pair: &[&str]| {
        pair[0].ends_with(|c: char| c.is_ascii_hexdigit() || c == 'x' || c == 'X')
            && pair[1].starts_with(|c: char| c.is_ascii_hexdigit())
    };
    parts.windows(2).all(separates).then(|| Cow::Owned(parts.concat()))
}

/// A duration in milliseconds: whole numbers, each with its unit, as in `1h30m`.
pub fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut length = 0i64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = leading(rest, |c| c.is_ascii_digit());
        let unit = leading(&rest[digits.len()..], |c| c.is_ascii_alphabetic());
        rest = &rest[digits.len() + unit.len()..];
        let (_, unit) = units.find(|(name, _)| *name == unit)?;
        length = digits.parse::<i64>().ok()?.checked_mul(*unit)?.checked_add(length)?;
    }
    (!text.is_empty()).then_some(length)
}

/// Reads the part of an escape sequence after its backslash, and returns the text after that.
fn escape<'t>(after: &'t str, quote: char, value: &mut Vec<u8>) -> Option<&'t str> {
    let kind = after.chars().next()?;
    let coded = |skip: usize, digits: usize, radix: u32| {
        let code = after.get(skip..skip + digits)?;
        let all = code.chars().all(|c| c.is_digit(radix));
        let code = all.then(|| u32::from_str_radix(code, radix).ok()).flatten()?;
        Some((code, &after[skip + digits..]))
    };
    let (byte, rest) = match kind {
        'a' => (7, &after[1..]),
        'b' => (8, &after[1..]),
        'f' => (12, &after[1..]),
        'n' => (b'\n', &after[1..]),
        'r' => (b'\r', &after[1..]),
        't' => (b'\t', &after[1..]),
        'v' => (11, &after[1..]),
        '\\' => (b'\\', &after[1..]),
        '\'' | '"' if kind == quote => (u8::try_from(kind).ok()?, &after[1..]),
        'x' | '0'..='7' => {
            let (code, rest) = if kind == 'x' { coded(1, 2, 16)? } else { coded(0, 3, 8)? };
            (u8::try_from(code).ok()?, rest)
        }
        'u' | 'U' => {
            let (code, rest) = coded(1, if kind == 'u' { 4 } else { 8 }, 16)?;
            value.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).bytes());
            return Some(rest);
        }
        _ => return None,
    };
    value.push(byte);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        std::iter::from_fn(|| Some(lexer.next().unwrap().0))
            .take_while(|token| *token != Token::End)
            .collect()
    }

    #[test]
    fn numbers() {
        for (text, number) in [
            ("0", 0.0),
            ("1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-2", 0.01),
            ("2e+1", 20.0),
            ("0x1F", 31.0),
            ("0xe", 14.0),
            ("017", 15.0),
            ("089", 89.0),
            ("0.5", 0.5),
            ("1_000_000.5", 1_000_000.5),
            (".123_4", 0.1234),
            ("0x_1F_00", 7936.0),
            ("0_17", 15.0),
        ] {
            assert_eq!(tokens(text), [Token::Number(number)], "{text}");
        }
        let two = [Token::Number(14.0), Token::Symbol("-"), Token::Number(1.0)];
        assert_eq!(tokens("0xe-1"), two);
    }

    #[test]
    fn durations() {
        for (text, length) in [
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1y2w3d4h5m6s7ms", 31_536_000_000 + 1_209_600_000 + 273_906_007),
            ("0s", 0),
        ] {
            assert_eq!(tokens(text), [Token::Duration(length)], "{text}");
        }
    }

    #[test]
    fn strings() {
        for (text, value) in [
            (r#""a""#, "a"),
            ("'a\"b'", "a\"b"),
            (r"`a\n`", r"a\n"),
            ("`a\nb`", "a\nb"),
            (r#""\a\b\f\n\r\t\v\\\"""#, "\x07\x08\x0c\n\r\t\x0b\\\""),
            (r"'\''", "'"),
            (r#""\x41\101\u00e9\U0001F600""#, "AA\u{e9}\u{1f600}"),
            (r#""\xc3\xa9""#, "\u{e9}"),
        ] {
            assert_eq!(tokens(text), [Token::Text(value.to_owned())], "{text}");
        }
    }

    #[test]
    fn words_symbols_and_comments() {
        let found = tokens("a:b{le=~\"1\"} # not this\n>=[1d:1h] :c");
        let expected = [
            Token::Word("a:b"),
            Token::Symbol("{"),
            Token::Word("le"),
            Token::Symbol("=~"),
            Token::Text("1".to_owned()),
            Token::Symbol("}"),
            Token::Symbol(">="),
            Token::Symbol("["),
            Token::Duration(86_400_000),
            Token::Symbol(":"),
            Token::Duration(3_600_000),
            Token::Symbol("]"),
            Token::Word(":c"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_error_names_its_place() {
        for (text, message) in [
            ("1.2.3", "1: bad number or duration \"1.2.3\""),
            ("1__0", "1: bad number or duration \"1__0\""),
            ("1_", "1: bad number or duration \"1_\""),
            ("1_.5", "1: bad number or duration \"1_.5\""),
            ("1m1h", "1: bad number or duration \"1m1h\""),
            ("1m1m", "1: bad number or duration \"1m1m\""),
            ("5x", "1: bad number or duration \"5x\""),
            ("99999999999999999999y", "1: bad number or duration \"99999999999999999999y\""),
            ("\"a", "1: unterminated string"),
            ("\"a\nb\"", "1: unterminated string"),
            (r#""\q""#, "1: unknown escape sequence in a string"),
            (r#""\'""#, "1: unknown escape sequence in a string"),
            (r#""\x4""#, "1: unknown escape sequence in a string"),
            (r#""\400""#, "1: unknown escape sequence in a string"),
            (r#""\ud800""#, "1: unknown escape sequence in a string"),
            (r#""\xff""#, "1: a string is not UTF-8"),
            ("  \u{e9}", "3: unexpected character '\u{e9}'"),
        ] {
            let error = Lexer::new(text).next().unwrap_err().to_string();
            assert_eq!(error, format!("parse error at character {message}"), "{text}");
        }
    }
}
