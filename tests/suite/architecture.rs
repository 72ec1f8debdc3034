//! The arrows between the modules, as docs/architecture.md draws them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Floors of the house, from the ground up: a module names only modules of floors below its own.
const FLOORS: [&[&str]; 9] = [
    &["domain", "retry"],
    &["clock"],
    &["config", "simulation", "storage"],
    &["log", "metrics"],
    &["backups", "ingest", "promql"],
    &["http"],
    &["app"],
    &["cli"],
    &["main"],
];

/// The same within `storage`. Its root file wires the rest, and each of them may name it.
const STORAGE_FLOORS: [&[&str]; 5] = [
    &[
        "bundle",
        "calendar",
        "error",
        "instance_key",
        "json",
        "leb128",
        "packed_days",
        "place",
        "profiles",
        "readers",
        "records",
        "report_lists",
    ],
    &["replace", "write"],
    &["read"],
    &["maintain"],
    &["locked", "startup_bounds"],
];

/// The same within `promql`.
const PROMQL_FLOORS: [&[&str]; 8] = [
    &["error", "series"],
    &["grouping", "limits"],
    &["matcher"],
    &["selector"],
    &["plan"],
    &["parse"],
    &["evaluate", "source"],
    &["discovery", "federation"],
];

fn floor(floors: &[&[&str]], module: &str) -> Option<usize> {
    floors.iter().position(|floor| floor.contains(&module))
}

/// Rust files below a folder, or the file itself.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.is_dir() || entry.extension().is_some_and(|end| end == "rs"))
        .flat_map(|entry| files(&entry))
        .collect();
    found.sort();
    found
}

/// The code of a file, without comments and unit tests.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    // Unit tests are the last part of a file.
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// First segments of the paths that follow `root`, such as `crate::`; a list in braces is several.
fn named(code: &str, root: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let follows_a_name =
            code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        if follows_a_name {
            continue;
        }
        let rest = &code[at + root.len()..];
        let mut paths = vec![rest];
        if let Some(list) = rest.strip_prefix('{') {
            paths.clear();
            let (mut depth, mut begin) = (0, 0);
            for (position, character) in list.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => {
                        paths.push(&list[begin..position]);
                        break;
                    }
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        paths.push(&list[begin..position]);
                        begin = position + 1;
                    }
                    _ => {}
                }
            }
        }
        for path in paths {
            let end = |c: char| !c.is_alphanumeric() && c != '_';
            let name = path.trim_start().split(end).next().unwrap_or_default();
            names.insert(name.to_owned());
        }
    }
    names.remove("");
    names
}

/// Arrows that do not point down, as `module -> module (file)`.
fn arrows_up(folder: &Path, floors: &[&[&str]], roots: &[&str]) -> Vec<String> {
    let mut up = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if ["lib", "mod"].contains(&module.as_str())
            || path.extension().is_some_and(|end| end != "rs")
        {
            continue;
        }
        let own = floor(floors, &module).unwrap_or_else(|| panic!("{module} is on no floor"));
        for file in files(&path) {
            for name in roots.iter().flat_map(|root| named(&code(&file), root)) {
                let Some(other) = floor(floors, &name) else { continue };
                seen += 1;
                if name != module && other >= own {
                    up.push(format!("{module} -> {name} ({})", file.display()));
                }
            }
        }
    }
    assert!(seen > 0, "no arrow was found in {}", folder.display());
    up
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn modules_name_only_modules_of_floors_below() {
    let up = arrows_up(&source(), &FLOORS, &["crate::"]);
    assert!(up.is_empty(), "{up:#?}");
}

#[test]
fn the_rooms_of_storage_name_only_rooms_below() {
    let roots = ["crate::storage::", "storage::"];
    let up = arrows_up(&source().join("storage"), &STORAGE_FLOORS, &roots);
    assert!(up.is_empty(), "{up:#?}");
}

#[test]
fn the_steps_of_a_query_name_only_steps_below() {
    let roots = ["crate::promql::", "promql::", "super::"];
    let up = arrows_up(&source().join("promql"), &PROMQL_FLOORS, &roots);
    assert!(up.is_empty(), "{up:#?}");
}

#[test]
fn only_storage_knows_sqlx_and_only_http_knows_axum() {
    for (crate_name, module) in [("sqlx", "storage"), ("axum", "http")] {
        let uses = |file: &PathBuf| code(file).contains(&format!("{crate_name}::"));
        let outside: Vec<PathBuf> = files(&source())
            .into_iter()
            .filter(|file| !file.starts_with(source().join(module)))
            .filter(uses)
            .collect();
        assert!(outside.is_empty(), "{crate_name} outside of {module}: {outside:?}");
    }
}
