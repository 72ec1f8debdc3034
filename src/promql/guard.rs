//! What is refused before the parser sees it, because it would cost too much there.

use promql_parser::util::unquote_string;
use regex::RegexBuilder;

use super::{MAX_LENGTH, error::QueryError, selector::MAX_DEPTH};

type Result<T> = std::result::Result<T, QueryError>;

/// Regular expressions of one query.
const MAX_PATTERNS: usize = 20;
/// Memory of a compiled one; an alternative of a thousand versions fits.
const MAX_PATTERN_BYTES: usize = 512 * 1024;

/// Checks an expression's length, depth, regular expressions and durations.
pub fn check(expression: &str) -> Result<()> {
    if expression.len() > MAX_LENGTH {
        return Err(QueryError::BadData(format!("the expression is over {MAX_LENGTH} bytes")));
    }
    let mut rest = expression;
    let (mut open, mut patterns) = (0usize, 0);
    while let Some(next) = rest.chars().next() {
        let mut taken = next.len_utf8();
        match next {
            '"' | '\'' | '`' => taken = quoted(rest).len(),
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            '~' => {
                patterns += 1;
                let after = rest[1..].trim_start();
                if after.starts_with(['"', '\'', '`']) {
                    check_pattern(quoted(after))?;
                }
            }
            '[' => check_duration(&rest[1..])?,
            'o' if rest.starts_with("offset") => {
                check_duration(rest["offset".len()..].trim_start().trim_start_matches('-'))?;
            }
            _ => {}
        }
        // The parser takes a time that grows with the square of the depth.
        if open > 4 * MAX_DEPTH {
            return Err(super::selector::too_deep());
        }
        if patterns > MAX_PATTERNS {
            return Err(QueryError::BadData(format!(
                "the expression has more than {MAX_PATTERNS} regular expressions"
            )));
        }
        rest = &rest[taken..];
    }
    Ok(())
}

/// The string literal that a text begins with, its quotes included; all of it if it has no end.
fn quoted(text: &str) -> &str {
    let mut characters = text.char_indices();
    let Some((_, quote)) = characters.next() else {
        return text;
    };
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return &text[..at + character.len_utf8()];
        }
        if character == '\\' && quote != '`' {
            characters.next();
        }
    }
    text
}

fn check_pattern(literal: &str) -> Result<()> {
    // The parser tells what is wrong with a literal.
    let Ok(pattern) = unquote_string(literal) else {
        return Ok(());
    };
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .map(drop)
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                QueryError::BadData(format!("the regular expression {pattern:?} is too large"))
            }
            _ => QueryError::BadData(format!("illegal regular expression {pattern:?}")),
        })
}

/// A number of seconds may be out of the range that the parser expects.
fn check_duration(text: &str) -> Result<()> {
    let number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let text = text.trim_start().as_bytes();
    let digits = text.iter().take_while(|byte| number(byte)).count();
    let unit = text.get(digits).is_some_and(|next| b"smhdwy".contains(next));
    if digits > 0 && !unit {
        return Err(QueryError::unsupported("a duration without a unit"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(expression: &str) -> String {
        check(expression).map_or_else(|error| error.to_string(), |()| "passed".to_owned())
    }

    #[test]
    fn what_is_within_bounds_passes() {
        let versions: Vec<String> = (0..1000).map(|n| format!("v11\\\\.{n}\\\\.0")).collect();
        for expression in [
            "sum by (a) (rate(x{a=~\"b.*\", c!~'d|e', f=\"[1e300] ((( =~\"}[5m] offset -1h30m))"
                .to_owned(),
            "x{a=~`\\w+`} + offsets".to_owned(),
            format!("x{{v=~\"{}\"}}", versions.join("|")),
        ] {
            assert_eq!(refused(&expression), "passed", "{expression}");
        }
    }

    #[test]
    fn what_would_cost_too_much_does_not() {
        assert!(refused(&"(".repeat(300)).contains("nested"));
        assert!(refused("x{a=~\"\\\\w{400}\"}").contains("too large"));
        assert!(refused("x{a!~ '('}").contains("illegal"));
        assert!(refused(&"x{a=~\"b\"} + ".repeat(21)).contains("more than 20"));
        for expression in ["x[1e300]", "x[ 5 ]", "x offset 1e30", "x offset -3"] {
            assert!(refused(expression).contains("without a unit"), "{expression}");
        }
    }
}
