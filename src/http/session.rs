//! Cookies of a browser that has shown the token.
//!
//! A value is `EXPIRY.SIGNATURE`: an end in seconds since 1970, and its signature by the token. The
//! server stores nothing: a cookie survives a restart, and a new token ends all of them.

use axum::http::{HeaderMap, HeaderValue, header};
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Prefix of the name behind TLS. A browser takes such a cookie only from this very host, with `Secure`
/// and for all paths.
const HOST: &str = "__Host-";

/// Time by which a clock may be behind the one that made a cookie. A cookie of a clock that was further
/// ahead is not valid: it could be so for decades.
const SLACK: SignedDuration = SignedDuration::from_hours(24);

/// A cookie that the server signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// Opens the read routes.
    Session,
    /// Marks a browser that has signed in before. It opens nothing; see [`super::attempts`].
    Browser,
}

impl Cookie {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "telemetry_session",
            Self::Browser => "telemetry_browser",
        }
    }

    const fn lifetime(self) -> SignedDuration {
        match self {
            Self::Session => SignedDuration::from_hours(30 * 24),
            // Browsers keep no cookie for longer.
            Self::Browser => SignedDuration::from_hours(400 * 24),
        }
    }

    /// The value that is valid until `expiry`.
    fn value(self, token: &str, expiry: i64) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("a key may have any length");
        // The name keeps one cookie from being taken for another one, or for anything else.
        mac.update(format!("mattermost-telemetry {} {expiry}", self.name()).as_bytes());
        format!("{expiry}.{:x}", mac.finalize().into_bytes())
    }

    fn is_valid(self, value: &str, token: &str, now: Timestamp) -> bool {
        let expiry = value.split_once('.').and_then(|(expiry, _)| expiry.parse().ok());
        expiry.is_some_and(|expiry: i64| {
            let (now, longest) = (now.as_second(), self.lifetime() + SLACK);
            now < expiry
                && expiry <= now + longest.as_secs()
                && bool::from(self.value(token, expiry).as_bytes().ct_eq(value.as_bytes()))
        })
    }

    /// The valid value among the cookies of a request.
    pub fn find<'h>(self, headers: &'h HeaderMap, token: &str, now: Timestamp) -> Option<&'h str> {
        let lines = headers.get_all(header::COOKIE).iter();
        // Cookies of other servers on the same host may have bytes that are no text.
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let (name, value) = str::from_utf8(pair).ok()?.trim().split_once('=')?;
            (name.strip_prefix(HOST).unwrap_or(name) == self.name()).then_some(value)
        });
        values.find(|value| self.is_valid(value, token, now))
    }

    /// The header that sets the cookie.
    pub fn set(self, token: &str, now: Timestamp, secure: bool) -> HeaderValue {
        let lifetime = self.lifetime().as_secs();
        self.header(&self.value(token, now.as_second() + lifetime), lifetime, secure)
    }

    /// The headers that remove it, by either name.
    pub fn removal(self) -> [HeaderValue; 2] {
        [false, true].map(|secure| self.header("", 0, secure))
    }

    fn header(self, value: &str, seconds: i64, secure: bool) -> HeaderValue {
        let (prefix, secure) = if secure { (HOST, "; Secure") } else { ("", "") };
        let name = self.name();
        let text = format!(
            "{prefix}{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict{secure}"
        );
        HeaderValue::try_from(text).expect("visible characters")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

    /// The cookies of a request, a header line each.
    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let lines = lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap());
        lines.map(|line| (header::COOKIE, line)).collect()
    }

    fn pair(cookie: Cookie, token: &str, made: Timestamp, secure: bool) -> String {
        let header = cookie.set(token, made, secure);
        header.to_str().unwrap().split_once(';').unwrap().0.to_owned()
    }

    fn opens(line: &str, token: &str, now: Timestamp) -> bool {
        Cookie::Session.find(&headers(&[line.as_bytes()]), token, now).is_some()
    }

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    #[test]
    fn a_session_has_the_attributes_that_keep_it() {
        let signed = "1769817600.7ebdb05facde6f524a3fe92faa40dae43f1cfe2d8288b87f07d68a1e371db45f";
        let attributes = "Max-Age=2592000; Path=/; HttpOnly; SameSite=Strict";
        for (secure, expected) in [
            (false, format!("telemetry_session={signed}; {attributes}")),
            (true, format!("__Host-telemetry_session={signed}; {attributes}; Secure")),
        ] {
            assert_eq!(Cookie::Session.set("secret", NOW, secure), expected);
        }
    }

    #[test]
    fn a_session_lasts_for_thirty_days() {
        let session = pair(Cookie::Session, "secret", NOW, false);
        for (after, open) in [(0, true), (24, true), (30 * 24 - 1, true), (30 * 24, false)] {
            assert_eq!(opens(&session, "secret", NOW + hours(after)), open, "{after} h");
        }
    }

    #[test]
    fn a_session_of_a_wrong_clock_does_not_outlast_others() {
        let in_1970 = pair(Cookie::Session, "secret", Timestamp::UNIX_EPOCH, false);
        assert!(opens(&in_1970, "secret", Timestamp::UNIX_EPOCH));
        assert!(!opens(&in_1970, "secret", NOW));
        let in_2099 =
            pair(Cookie::Session, "secret", "2099-01-01T00:00:00Z".parse().unwrap(), false);
        assert!(!opens(&in_2099, "secret", NOW));
        // A clock that is set back a little ends no session.
        let session = pair(Cookie::Session, "secret", NOW, false);
        for (back, open) in [(0, true), (1, true), (24, true), (25, false), (24 * 365, false)] {
            assert_eq!(opens(&session, "secret", NOW - hours(back)), open, "{back} h");
        }
    }

    #[test]
    fn a_new_token_ends_every_session() {
        let session = pair(Cookie::Session, "secret", NOW, false);
        for token in ["secre", "secrets", "Secret", ""] {
            assert!(!opens(&session, token, NOW), "{token:?}");
        }
    }

    #[test]
    fn the_mark_of_a_browser_is_no_session() {
        let mark = pair(Cookie::Browser, "secret", NOW, false);
        let renamed = mark.replace(Cookie::Browser.name(), Cookie::Session.name());
        assert!(!opens(&mark, "secret", NOW) && !opens(&renamed, "secret", NOW));
        let marks = headers(&[mark.as_bytes()]);
        assert!(Cookie::Browser.find(&marks, "secret", NOW + hours(399 * 24)).is_some());
        assert!(Cookie::Browser.find(&marks, "secret", NOW + hours(400 * 24)).is_none());
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        for secure in [false, true] {
            let session = pair(Cookie::Session, "secret", NOW, secure);
            let name = session.split_once('=').unwrap().0;
            for lines in [
                format!("a=1; {session}"),
                format!("{session};b"),
                format!("=;; ;{session} ; c=\"d\""),
                format!("{name}=; {name}=1.2; {session}"),
                format!("grafana=x\n{session}"),
                format!("ü=ü; {session}"),
            ] {
                let lines: Vec<&[u8]> = lines.as_bytes().split(|byte| *byte == b'\n').collect();
                assert!(
                    Cookie::Session.find(&headers(&lines), "secret", NOW).is_some(),
                    "{lines:?}"
                );
            }
            for line in [format!("x{session}"), format!("a={session}"), session.to_uppercase()] {
                assert!(!opens(&line, "secret", NOW), "{line}");
            }
        }
        let session = pair(Cookie::Session, "secret", NOW, true);
        let latin = [b"a=\xfc; ", session.as_bytes()].concat();
        assert!(Cookie::Session.find(&headers(&[&latin]), "secret", NOW).is_some());
    }

    proptest! {
        #[test]
        fn no_cookie_makes_it_panic(line: Vec<u8>, now in -100_000_000_000..200_000_000_000_i64) {
            let Ok(line) = HeaderValue::from_bytes(&line) else { return Ok(()) };
            let now = Timestamp::from_second(now).unwrap();
            let headers = [(header::COOKIE, line)].into_iter().collect();
            prop_assert_eq!(Cookie::Session.find(&headers, "secret", now), None);
        }

        /// A value that differs in any way from the signed one opens nothing, one of another spelling of
        /// the same number among them.
        #[test]
        fn nothing_but_the_signed_value_opens(
            expiry: i64, at in 0..80_usize, with in "[0-9a-f.+ -]?", after in -3_000_000..3_000_000_i64,
        ) {
            let now = Timestamp::from_second(NOW.as_second() + after).unwrap();
            let value = Cookie::Session.value("secret", NOW.as_second());
            let mut changed = value.clone();
            let at = at % value.len();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != value);
            for value in [changed, format!("0{value}"), format!("+{value}"), format!("{expiry}.")] {
                prop_assert!(!Cookie::Session.is_valid(&value, "secret", now), "{}", value);
            }
            prop_assert_eq!(
                Cookie::Session.is_valid(&value, "secret", now),
                (-31 * 86_400..0).contains(&after)
            );
        }
    }
}
