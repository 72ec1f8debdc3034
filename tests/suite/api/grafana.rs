//! `grafana provision`: the files that it writes, each once.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{alerts::rules::RULES, support::binary};

const FOLDERS: [&str; 2] = ["dashboards", "provisioning"];

fn provision(target: &Path) -> Command {
    let mut command = binary();
    command.args(["grafana", "provision"]).arg(target);
    command
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The files below the two folders, hidden ones left out, with their content.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.file_name().unwrap().to_str().unwrap().starts_with('.') {
                let name = path.strip_prefix(root).unwrap().to_owned();
                files.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

/// Marks of each file, which differ once it is written again.
fn marks(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mark = |path: &Path| {
        let file = fs::metadata(path).unwrap();
        (file.ino(), file.mtime(), file.mtime_nsec())
    };
    let entries = tree(root).into_keys().chain(FOLDERS.map(PathBuf::from));
    entries.map(|name| (name.clone(), mark(&root.join(name)))).collect()
}

#[test]
fn the_files_written_are_those_of_the_repository() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("new/volume");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let files = tree(&repository).len();
    assert_eq!(said(&mut provision(&target)), format!("{files} written, 0 unchanged, 0 removed\n"));
    assert_eq!(tree(&target), tree(&repository));
}

#[test]
fn another_user_can_read_it_whatever_the_umask() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("volume");
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_mattermost-telemetry");
    command.env_clear().args(["-c", r#"umask 077; exec "$0" grafana provision "$1""#, program]);
    said(command.arg(&target));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for name in tree(&target).keys() {
        assert_eq!(mode(&target.join(name)), 0o644, "{}", name.display());
    }
    for name in ["", "dashboards", "provisioning", "provisioning/datasources"] {
        assert_eq!(mode(&target.join(name)), 0o755, "{name}");
    }
    // A mode that was changed is put right; the file itself stays.
    let file = target.join("provisioning/datasources/telemetry.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(said(&mut provision(&target)).starts_with("0 written"));
    assert_eq!(mode(&file), 0o644);
}

#[test]
fn a_second_run_changes_nothing() {
    let folder = TempDir::new().unwrap();
    said(&mut provision(folder.path()));
    let before = marks(folder.path());
    let files = tree(folder.path()).len();
    let second = said(&mut provision(folder.path()));
    assert_eq!(second, format!("0 written, {files} unchanged, 0 removed\n"));
    assert_eq!(marks(folder.path()), before);
}

#[test]
fn a_changed_file_is_written_again_and_nothing_else_is_touched() {
    let folder = TempDir::new().unwrap();
    said(&mut provision(folder.path()));
    let changed = folder.path().join("provisioning/dashboards/telemetry.yaml");
    let content = fs::read_to_string(&changed).unwrap();
    fs::write(&changed, "apiVersion: 1\n").unwrap();
    let own = folder.path().join("dashboards/own.json");
    fs::write(&own, "{}").unwrap();
    assert!(said(&mut provision(folder.path())).starts_with("1 written"));
    assert_eq!(fs::read_to_string(&changed).unwrap(), content);
    assert_eq!(fs::read_to_string(&own).unwrap(), "{}");
}

#[test]
fn a_file_of_an_older_version_that_is_no_more_is_removed() {
    let folder = TempDir::new().unwrap();
    said(&mut provision(folder.path()));
    let outside = folder.path().join("outside.json");
    let old = folder.path().join("dashboards/old.json");
    let gone = folder.path().join("dashboards/gone.json");
    for file in [&outside, &old] {
        fs::write(file, "{}").unwrap();
    }
    let list = folder.path().join(".provisioned");
    let listed = fs::read_to_string(&list).unwrap();
    let older =
        format!("{listed}dashboards/old.json\ndashboards/gone.json\ndashboards/../outside.json\n");
    fs::write(&list, older).unwrap();
    assert!(said(&mut provision(folder.path())).ends_with("1 removed\n"));
    assert!(!old.exists() && !gone.exists());
    assert!(outside.exists(), "only what is in the two folders is ever removed");
    assert_eq!(fs::read_to_string(&list).unwrap(), listed);
}

#[test]
fn a_given_address_stands_in_place_of_the_variable() {
    let folder = TempDir::new().unwrap();
    let server = ["--server", "https://telemetry.example.com/base"];
    said(provision(folder.path()).args(server).args(["--dashboards", "/srv/$dash boards"]));
    let mut expected = tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana"));
    for (file, variable, written) in [
        ("datasources", "${TELEMETRY_URL}", r#""https://telemetry.example.com/base""#),
        // A string of YAML, and no variable of Grafana's.
        ("dashboards", "${TELEMETRY_DASHBOARDS}", r#""/srv/$$dash boards""#),
    ] {
        let name = Path::new("provisioning").join(file).join("telemetry.yaml");
        let content = expected.get_mut(&name).unwrap();
        assert_eq!(content.matches(variable).count(), 1, "{}", name.display());
        *content = content.replace(variable, written);
    }
    assert_eq!(tree(folder.path()), expected);

    // The environment does the same; an empty variable is none.
    let before = marks(folder.path());
    let set = [("TELEMETRY_URL", server[1]), ("TELEMETRY_DASHBOARDS", "/srv/$dash boards")];
    said(provision(folder.path()).envs(set));
    assert_eq!(marks(folder.path()), before);
    said(provision(folder.path()).envs([("TELEMETRY_URL", ""), ("TELEMETRY_DASHBOARDS", "")]));
    let source = Path::new("provisioning/datasources/telemetry.yaml");
    assert!(tree(folder.path())[source].contains("url: ${TELEMETRY_URL}\n"));
}

#[test]
fn the_overview_links_to_the_page_of_the_server() {
    let folder = TempDir::new().unwrap();
    let overview = Path::new("dashboards/overview.json");
    let link = || -> serde_json::Value {
        let board: serde_json::Value =
            serde_json::from_str(&tree(folder.path())[overview]).unwrap();
        board["links"][1]["url"].clone()
    };
    said(&mut provision(folder.path()));
    assert_eq!(link(), "http://localhost:8080/");
    said(provision(folder.path()).args(["--page", "https://telemetry.example.com/"]));
    assert_eq!(link(), "https://telemetry.example.com/");
    said(provision(folder.path()).env("TELEMETRY_PAGE", "http://10.0.0.1/base"));
    assert_eq!(link(), "http://10.0.0.1/base/");
    said(provision(folder.path()).env("TELEMETRY_PAGE", ""));
    assert_eq!(link(), "http://localhost:8080/");
}

/// A contact point is written where one is set, and each rule names it: a policy would replace the
/// operator's own.
#[test]
fn alerts_are_sent_where_it_is_set() {
    let folder = TempDir::new().unwrap();
    let (contact, rules) = (
        Path::new("provisioning/alerting/contact.yaml"),
        Path::new("provisioning/alerting/telemetry.yaml"),
    );
    let set = [
        ("ALERT_WEBHOOK_URL", "https://hooks.example.com/a?key=$1"),
        ("ALERT_MAIL", "ops@example.com, second@example.com"),
    ];
    let written = said(provision(folder.path()).envs(set));
    let files = tree(folder.path());
    assert_eq!(written, format!("{} written, 0 unchanged, 0 removed\n", files.len()));
    let expected = r#"apiVersion: 1

contactPoints:
  - orgId: 1
    name: Mattermost telemetry
    receivers:
      - uid: telemetry-webhook
        type: webhook
        settings:
          url: "https://hooks.example.com/a?key=$$1"
      - uid: telemetry-mail
        type: email
        settings:
          addresses: "ops@example.com,second@example.com"
"#;
    assert_eq!(files[contact], expected);
    let routed = "        isPaused: false\n        notification_settings:\n          receiver: \
                  Mattermost telemetry\n";
    assert_eq!(files[rules].matches(routed).count(), RULES.len());
    assert!(!files.values().any(|file| file.contains("policies:")));

    // One of them alone; the argument does the same.
    said(provision(folder.path()).args(["--alert-mail", "ops@example.com"]));
    let mail = &tree(folder.path())[contact];
    assert!(mail.contains("type: email") && !mail.contains("webhook"), "{mail}");

    // An empty variable is none: the file goes, and the rules follow the operator's policies.
    let without =
        said(provision(folder.path()).envs([("ALERT_WEBHOOK_URL", ""), ("ALERT_MAIL", "")]));
    assert!(without.ends_with("1 removed\n"), "{without}");
    assert_eq!(tree(folder.path()), tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")));
}

#[test]
fn a_failure_is_reported_in_one_line() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let blocked = folder.path().join("blocked");
    fs::create_dir_all(blocked.join("provisioning/datasources/telemetry.yaml")).unwrap();
    let cases: [(&Path, &[&str], &str); 10] = [
        (&file, &[], "cannot create the folder"),
        (&file.join("below"), &[], "cannot create the folder"),
        (&blocked, &[], "cannot write"),
        (folder.path(), &["--server", "telemetry:8080"], "--server"),
        (folder.path(), &["--server", "ftp://telemetry"], "--server"),
        (folder.path(), &["--alert-webhook", "hooks.example.com"], "--alert-webhook"),
        (folder.path(), &["--alert-mail", "ops"], "--alert-mail"),
        (folder.path(), &["--alert-mail", "ops@example.com,"], "--alert-mail"),
        (folder.path(), &["--alert-mail", "ops@example.com second@example.com"], "--alert-mail"),
        (folder.path(), &["--alert-mail", "a@b@example.com"], "--alert-mail"),
    ];
    for (target, arguments, expected) in cases {
        let output = provision(target).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let left: Vec<PathBuf> = fs::read_dir(blocked.join("provisioning/datasources"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left, [blocked.join("provisioning/datasources/telemetry.yaml")], "no part file");
}

/// The dashboards of several servers: each selector selects collectors, and no token goes to the engine.
#[test]
fn the_dashboards_of_several_servers() {
    let folder = TempDir::new().unwrap();
    said(provision(folder.path()).args(["--collectors", "--server", "http://engine:9090"]));
    let files = tree(folder.path());
    let plain = tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana"));
    assert!(files.keys().eq(plain.keys()));
    let source = &files[Path::new("provisioning/datasources/telemetry.yaml")];
    assert!(source.contains("url: \"http://engine:9090\"\n"), "{source}");
    assert!(
        source.contains("uid: mattermost-telemetry\n") && !source.contains("TOKEN"),
        "{source}"
    );
    let boards = files.iter().filter(|(name, _)| name.starts_with("dashboards"));
    for (name, text) in boards {
        let board: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(board["templating"]["list"][0]["name"], "collector", "{}", name.display());
        let exprs = text.matches("\"expr\": ").count();
        assert!(exprs > 10, "{}", name.display());
        for line in text.lines().filter(|line| line.contains("\"expr\": ")) {
            let metrics = line.matches("mattermost_").count() + line.matches("telemetry_").count();
            assert_eq!(line.matches("collector=~").count(), metrics, "{line}");
        }
        assert!(
            !text.contains("mattermost_recent_start") && !text.contains("Which reports came last")
        );
    }
}
