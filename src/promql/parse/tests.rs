//! Tests of the parser.

use std::ops::Add as _;

use proptest::prelude::*;

use super::*;

fn plan(text: &str) -> String {
    let plan = expression(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    format!("{plan:?}")
}

fn refused(text: &str) -> String {
    expression(text).map_or_else(|error| error.to_string(), |plan| panic!("{text}: {plan:?}"))
}

#[test]
fn operators_have_the_precedence_of_prometheus() {
    for (text, meant) in [
        ("a - b - c", "(a - b) - c"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("a + b * c ^ d", "a + (b * (c ^ d))"),
        ("a * b / c % d", "((a * b) / c) % d"),
        ("a > b + c == d", "(a > (b + c)) == d"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a ^ -b * c", "(a ^ (-b)) * c"),
        ("a - -b", "a - (-b)"),
        ("-a offset 1h", "-(a offset 1h)"),
        ("a + on (os) b * ignoring (os) c", "a + on (os) (b * ignoring (os) c)"),
    ] {
        assert_eq!(plan(text), plan(meant), "{text}");
    }
    assert_ne!(plan("a - b - c"), plan("a - (b - c)"));
    assert_ne!(plan("-a ^ b"), plan("(-a) ^ b"));
}

#[test]
fn several_spellings_mean_the_same() {
    for (text, meant) in [
        ("SUM(x) By (os,)", "sum by (os) (x)"),
        ("sum by (\"os\") (x)", "sum by (os) (x)"),
        ("a * ON(os) b", "a * on (os) b"),
        ("x{os='a',}", "x{os=\"a\"}"),
        ("{__name__=\"x\"}", "x"),
        ("{\"x\"}", "x"),
        ("x{\"os\"=`a`}", "x{os=\"a\"}"),
        ("x[5400]", "x[1h30m]"),
        ("x[90m] OFFSET +1d", "x[1h30m] offset 86400"),
        ("rate((x[5m]))", "rate(x[5m])"),
        ("+x", "x"),
        ("5m", "300"),
        ("nan + INF", "NaN + Inf"),
        ("x # a comment\n+ 1", "x + 1"),
        ("sum{os=\"a\"} + by", "{__name__=\"sum\",os=\"a\"} + {__name__=\"by\"}"),
    ] {
        assert_eq!(plan(text), plan(meant), "{text}");
    }
}

#[test]
fn a_plan_names_the_series_that_are_read() {
    let plan = expression(
        "sum by (os) (increase(x{le!=\"1\",os=~\"a|b+\"}[1h] offset -1d)) / ignoring (os) y",
    )
    .unwrap();
    let [starts, other] = &plan.reads[..] else { panic!("{:?}", plan.reads) };
    let selects = |read: &Read| {
        let matchers = read.selector.matchers.iter();
        let shown = matchers.map(|matcher| format!("{} {:?}", matcher.label, matcher.condition));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(
        selects(starts),
        ["__name__ Is(\"x\")", "le IsNot(\"1.0\")", "os Matches(Regex(Regex(\"^(?:a|b+)$\")))"]
    );
    assert_eq!(starts.selector.offset_ms, -86_400_000);
    assert_eq!(format!("{:?}", starts.keep), "Some(By([\"os\"]))");
    assert_eq!(
        format!("{:?}", starts.growth),
        "Some(Growth { range_ms: 3600000, per_second: false })"
    );
    assert_eq!(selects(other), ["__name__ Is(\"y\")"]);
    assert_eq!(
        format!("{:?}", plan.root),
        "Node(Binary(Binary { operator: Divide, gives_bool: false, matching: Without([\"os\"]), \
         left: Aggregate(Aggregate { aggregation: Sum, parameter: None, grouping: By([\"os\"]), \
         operand: Read(0) }), \
         right: Read(1) }))"
    );
}

#[test]
fn an_error_names_its_place() {
    for (text, message) in [
        (" # nothing", "1: no expression found in input"),
        ("x +", "4: unexpected end of input"),
        ("(x", "3: unexpected end of input, expected \")\""),
        ("x)", "2: unexpected \")\", expected an operator or the end of input"),
        ("x y", "3: unexpected \"y\", expected an operator or the end of input"),
        ("bool", "1: unexpected \"bool\""),
        ("atan2 + 1", "1: unexpected \"atan2\""),
        ("x + bool 1", "3: bool modifier can only be used on comparison operators"),
        ("1 > 2", "3: comparisons between scalars must use BOOL modifier"),
        ("x + on (os) 1", "3: vector matching only allowed between instant vectors"),
        ("1 + x[5m]", "3: binary expression must contain only scalar and instant vector types"),
        ("-x[5m]", "1: a sign cannot stand before a range vector"),
        ("sum(1)", "5: expected type instant vector in sum(), got scalar"),
        ("sum(x, y)", "6: unexpected \",\", expected \")\""),
        ("sum by (os,,) (x)", "12: unexpected \",\", expected a label"),
        ("sum by (a:b) (x)", "9: unexpected \"a:b\", expected a label"),
        ("topk(x)", "6: expected type scalar in topk(), got instant vector"),
        ("rate(x)", "6: expected type range vector in rate(), got instant vector"),
        ("sort()", "6: unexpected \")\""),
        ("scalar(x[1m])", "8: expected type instant vector in scalar(), got range vector"),
        ("x[5m", "5: unexpected end of input, expected \"]\""),
        ("x[]", "3: unexpected \"]\", expected a duration"),
        ("x[0s]", "3: a range must be at least one millisecond"),
        ("x[1e300]", "3: a duration is out of range"),
        ("x offset 1001y", "10: a duration is out of range"),
        ("x[5m][5m]", "6: a range may follow only a selector, and only once"),
        ("x offset 5m [5m]", "13: a range may follow only a selector, and only once"),
        ("sum(x) offset 5m", "8: an offset may follow only a selector or its range, and only once"),
        ("{}", "2: vector selector must contain at least one non-empty matcher"),
        ("{os=~\".*\"}", "2: vector selector must contain at least one non-empty matcher"),
        ("x{__name__=\"y\"}", "3: metric name must not be set twice"),
        ("x{,}", "3: unexpected \",\", expected a label"),
        ("x{os}", "5: unexpected \"}\", expected one of \"=\", \"!=\", \"=~\", \"!~\""),
        ("x{os==\"a\"}", "5: unexpected \"==\", expected one of \"=\", \"!=\", \"=~\", \"!~\""),
        ("x{os=a}", "6: unexpected \"a\", expected a string"),
        ("x{os=\"a\" db_type=\"b\"}", "10: unexpected \"db_type\", expected \",\" or \"}\""),
    ] {
        assert_eq!(refused(text), format!("parse error at character {message}"), "{text}");
    }
}

#[test]
fn an_unsupported_construct_is_named() {
    for (text, name) in [
        ("abs(x)", "the function abs()"),
        ("x and y", "the operator and"),
        ("x atan2 y", "the operator atan2"),
        ("stddev by (os) (x)", "the aggregation stddev"),
        ("count_values(\"a\", x)", "the aggregation count_values"),
        ("x * on (os) group_left (db_type) y", "group_left"),
        ("x @ 3", "the @ modifier"),
        ("(x) @ end()", "the @ modifier"),
        ("x[1d:1h]", "a subquery"),
        ("sum(x)[1d:]", "a subquery"),
        ("x{os=\"a\" or os=\"b\"}", "\"or\" between matchers"),
        ("\"text\"", "a string literal"),
    ] {
        assert_eq!(refused(text), format!("{name} is not supported by this server"), "{text}");
    }
}

#[test]
fn an_expression_over_a_limit_is_refused() {
    let sum = |terms: usize| vec!["1"; terms].join(" + ");
    plan(&sum(limits::PARTS));
    plan(&"(".repeat(limits::PARTS - 1).add("1").add(&")".repeat(limits::PARTS - 1)));
    let stairs = (1..40).fold("1".to_owned(), |text, n| format!("({text}){}", "+1".repeat(n)));
    for text in [
        sum(limits::PARTS + 1),
        stairs,
        "(".repeat(8000),
        "-".repeat(8000),
        "1^".repeat(8000),
        "sum(".repeat(4000),
        "x + on () ".repeat(1000),
    ] {
        assert_eq!(refused(&text), "the expression has more than 100 parts");
    }
    let patterns = |count: usize| format!("x{{{}}}", "a=~\"b+\",".repeat(count));
    plan(&patterns(20));
    assert!(refused(&patterns(21)).contains("more than 20 regular expressions"));
    let versions: Vec<String> = (0..1000).map(|n| format!("v11\\\\.{n}\\\\.0")).collect();
    let listed = format!("x{{v=~\"({})\"}}", versions.join("|"));
    plan(&listed);
    // Lists of plain texts are no regular expressions, and do not count as such.
    plan(&format!("{listed} / {listed} / {listed}"));
    plan(&format!("x{{{}}}", "a=~\"b|c\",".repeat(50)));
    assert!(refused("x{os=~\"(\"}").starts_with("illegal regular expression \"(\""));
    assert!(refused("x{os=~\"(a{200}){200}\"}").starts_with("illegal regular expression"));
    assert_eq!(
        refused(&" ".repeat(limits::EXPRESSION_BYTES + 1)),
        "the expression is longer than 131072 bytes"
    );
}

#[test]
fn a_selector_stands_alone() {
    for text in ["x", "x{os=\"a\"}", "{os=\"a\"}", "{\"x\",os=\"a\"}"] {
        assert_eq!(selector(text).unwrap().offset_ms, 0, "{text}");
    }
    for text in ["", "1", "inf", "bool", "x offset 1h", "x[5m]", "sum(x)", "{}", "-x"] {
        assert!(selector(text).is_err(), "{text}");
    }
    let ten = |label: &str| format!("x{{{}}}", format!("{label}=~\"a+\",").repeat(10));
    assert_eq!(selectors([&*ten("os"), &ten("db_type")]).unwrap().len(), 2);
    let error = selectors([&*ten("os"), &ten("db_type"), "x{os=~\"a+\"}"]).unwrap_err();
    assert_eq!(error.to_string(), "the query has more than 20 regular expressions");
}

#[test]
fn steps() {
    for (text, length) in [("15", 15_000), ("0.5", 500), ("1h30m", 5_400_000), ("1e3", 1_000_000)] {
        assert_eq!(duration(text).unwrap(), length, "{text}");
    }
    for text in ["", "0", "-1", "0s", "soon", "1m1h", "inf", "NaN", "1e300", "1001y"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

const PIECES: [&str; 40] = [
    "x",
    "a:b",
    "sum",
    "topk",
    "rate",
    "scalar",
    "histogram_quantile",
    "by",
    "on",
    "bool",
    "offset",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    "+",
    "-",
    "*",
    "^",
    "==",
    "<",
    "=",
    "=~",
    "os",
    "\"a\"",
    "'b'",
    "`c`",
    "1",
    "0.9",
    "0x1f",
    "5m",
    "1h30m",
    ":",
    "@",
    "# c\n",
    "\u{e9}",
    "\\",
];

proptest! {
    /// Any sequence is parsed or refused without a panic, and parentheses around the whole change
    /// nothing.
    #[test]
    fn any_sequence_of_pieces(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12)) {
        let text = pieces.join(" ");
        let enclosed = format!("({text}\n)");
        match (expression(&text), expression(&enclosed)) {
            (Ok(alone), Ok(enclosed)) => prop_assert_eq!(format!("{alone:?}"), format!("{enclosed:?}")),
            (Err(_), Err(_)) => {}
            (alone, enclosed) => prop_assert!(false, "{text}: {alone:?} {enclosed:?}"),
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,60}") {
        let _ = expression(&text);
        let _ = selector(&text);
        let _ = duration(&text);
    }
}
