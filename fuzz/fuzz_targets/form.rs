//! Any form and query string are refused, or have the parameters that `form_urlencoded` finds in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mattermost_telemetry::http::Form;

/// Parameters of one request.
const PARAMETERS: usize = 1000;
/// Different names that are compared.
const NAMES: usize = 20;
/// The end of the year 9999, in milliseconds since 1970.
const LAST: i64 = 253_402_300_799_999;

fuzz_target!(|bytes: &[u8]| {
    // The first line is the form, the rest the query string.
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (encoded, query) = bytes.split_at(line);
    let query = String::from_utf8_lossy(query);
    let decoded = |bytes| form_urlencoded::parse(bytes).into_owned();
    let pairs: Vec<_> = decoded(encoded).chain(decoded(query.as_bytes())).collect();
    let Ok(form) = Form::parse(encoded, &query) else {
        assert!(pairs.len() > PARAMETERS);
        return;
    };
    assert!(pairs.len() <= PARAMETERS);
    let written = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
    let again = Form::parse(written.as_bytes(), "").expect("no more parameters than before");
    for (name, _) in pairs.iter().take(NAMES) {
        let wanted: Vec<_> =
            pairs.iter().filter(|pair| pair.0 == *name).map(|pair| &pair.1).collect();
        assert_eq!(form.all(name).collect::<Vec<_>>(), wanted);
        assert_eq!(again.all(name).collect::<Vec<_>>(), wanted);
        assert_eq!(form.get(name), Some(wanted[0].as_str()));
        assert_eq!(form.required(name).is_ok(), !wanted[0].is_empty());
        if let Ok(Some(time)) = form.time(name) {
            assert!((-LAST..=LAST).contains(&time), "{time}");
            // 53 bits hold it.
            let seconds = time as f64 / 1000.0;
            let same = Form::parse(format!("time={seconds}").as_bytes(), "").unwrap().time("time");
            assert_eq!(same.unwrap(), Some(time));
        }
    }
    if let Ok(Some(limit)) = form.limit() {
        assert!(limit > 0);
        assert_eq!(form.metadata_limit().ok(), Some(Some(limit)));
    }
});
