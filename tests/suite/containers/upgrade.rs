//! A volume of the reference server is taken over, or refused unchanged; its stack is upgraded by the
//! steps of `docs/upgrade.md`.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::compose::{COOLIFY, STACK, Stack};
use crate::support::{
    REFERENCE_SCHEMA,
    containers::{Base, Image, Server, Volume, base_image, platform, unique},
    stock,
};

/// As many reports as the reference server left, a third of the ids twice.
const REPORTS: i64 = 3000;
const REPORT_SQL: &str = "
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
    INSERT INTO deployments (instance_id, image_version, architecture, container_runtime,
                             startup_time_ms, db_type, telemetry_version, created_at)
    SELECT printf('%032x', i % 2000), 'v11.' || (i % 7) || '.0', 'arm64', '', i, 'postgres', '1.0',
           datetime(1750000000 + i * 100, 'unixepoch')
    FROM n";

/// The database file of a reference server.
async fn reference_database() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("telemetry.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(REFERENCE_SCHEMA).execute(&mut connection).await.unwrap();
    sqlx::query(REPORT_SQL).bind(REPORTS).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    std::fs::read(file).unwrap()
}

/// A volume as a server that ran as root left it.
async fn left_by_the_reference_server() -> Volume {
    let volume = Volume::with_database(reference_database().await).await;
    let files = volume.run(&["stat", "-c", "%n %u:%g", "/data", "/data/telemetry.db"]);
    assert_eq!(files, "/data 0:0\n/data/telemetry.db 0:0");
    volume
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn a_volume_of_the_reference_server_is_taken_over() {
    let (image, volume) = (Image::build(Base::Alpine), left_by_the_reference_server().await);
    volume.give_away();
    let server = Server::start(&image, &volume).await;
    server.wait_until_healthy().await;
    let metrics: Value = server.json("/metrics").await;
    assert_eq!(metrics["total_deployments"], REPORTS);
    assert_eq!(metrics["unique_instances"], 2000);
    assert_eq!(metrics["architecture_breakdown"][0]["architecture"], "aarch64");

    // It goes on as any other database.
    let answer = server
        .client()
        .post(server.url("/collect").await)
        .json(&stock("new"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.json("/metrics").await["total_deployments"], REPORTS + 1);
    let verdict = server.exec(&["/usr/bin/mattermost-telemetry", "verify"]);
    assert!(verdict.ends_with("\nclean"), "{verdict}");
}

/// The step that the documentation asks for is needed, and its absence does no damage.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn a_volume_that_belongs_to_root_is_refused_and_left_as_it_is() {
    let (image, volume) = (Image::build(Base::Scratch), left_by_the_reference_server().await);
    let before = volume.run(&["sha256sum", "/data/telemetry.db"]);
    let server = Server::start(&image, &volume).await;
    assert_eq!(server.wait_until_ended().await, 1);
    let log = server.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("/data/telemetry.db"), "{log}");
    assert_eq!(volume.run(&["sha256sum", "/data/telemetry.db"]), before);
    assert_eq!(volume.run(&["ls", "/data"]), "telemetry.db");
}

/// A project folder with the reference's stack running in it, its history on the volume.
struct Project {
    stack: Stack,
    name: String,
    image: Image,
    folder: TempDir,
    /// Names of the volumes, where something other than Compose gives them.
    names: [(&'static str, String); 2],
}

impl Project {
    /// Starts the reference's stack. Coolify names the volumes itself, with `-` for `_`.
    async fn of_the_reference(on_coolify: bool) -> Self {
        let (name, folder) = (unique("upgrade"), TempDir::new().unwrap());
        let names = ["telemetry_data", "grafana_data"].map(|volume| {
            let by_coolify = volume.replace('_', "-");
            (volume, format!("{name}_{}", if on_coolify { &by_coolify } else { volume }))
        });
        let file = format!("--file={}", folder.path().join(STACK).display());
        let command = vec!["compose".to_owned(), file, format!("--project-name={name}")];
        let image = Image::build(Base::Alpine);
        let project = Self { stack: Stack { command }, name, image, folder, names };
        project.write_file(include_str!("reference-compose.yml"));
        project.compose(&["up", "--detach", "--pull=never"]);
        let database = project.folder.path().join("seed.db");
        fs::write(&database, reference_database().await).unwrap();
        project.compose(&["cp", database.to_str().unwrap(), "telemetry:/data/telemetry.db"]);
        project
    }

    /// Writes the compose file, with the names of its volumes.
    fn write_file(&self, text: &str) {
        let text = self.names.iter().fold(text.to_owned(), |text, (volume, name)| {
            let declared = format!("\n  {volume}:\n");
            assert!(text.contains(&declared), "no volume {volume}");
            text.replace(&declared, &format!("{declared}    name: {name}\n"))
        });
        fs::write(self.folder.path().join(STACK), text).unwrap();
    }

    /// Runs a command in the folder and returns what it printed.
    fn run(&self, command: &mut Command) -> String {
        let output = command
            .current_dir(self.folder.path())
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("DOCKER_DEFAULT_PLATFORM", platform())
            .env("REFERENCE_IMAGE", base_image())
            .env("TELEMETRY_IMAGE", self.image.name())
            .env("TELEMETRY_PORT", "127.0.0.1:0")
            .env("SERVICE_PASSWORD_GRAFANA", "made-by-coolify")
            .output()
            .unwrap();
        assert!(output.status.success(), "{command:?} {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn compose(&self, arguments: &[&str]) -> String {
        self.run(Command::new("docker").args(&self.stack.command).args(arguments))
    }

    /// Runs a line of the page in a shell.
    fn step(&self, line: &str) {
        let line = ["PROJECT", "UUID"]
            .iter()
            .fold(line.to_owned(), |line, name| line.replace(name, &self.name))
            .replace(" alpine ", &format!(" {} ", base_image()));
        self.run(Command::new("sh").args(["-c", &line]));
    }

    /// The history is in the new server, which is healthy, and a copy of the old file is there.
    fn assert_upgraded(&self) {
        let asked = "http://127.0.0.1:8080/metrics";
        let metrics = self.compose(&["exec", "-T", "telemetry", "wget", "-q", "-O", "-", asked]);
        let metrics: Value = serde_json::from_str(&metrics).unwrap();
        assert_eq!(metrics["total_deployments"], REPORTS);
        assert_eq!(metrics["unique_instances"], 2000);
        let binary = "/usr/bin/mattermost-telemetry";
        let verdict = self.compose(&["exec", "-T", "telemetry", binary, "verify"]);
        assert!(verdict.ends_with("\nclean"), "{verdict}");
        let read = |file: &str| fs::read(self.folder.path().join(file)).unwrap();
        assert!(read("reference/telemetry.db") == read("seed.db"), "the copy differs");
        // Grafana, whose image may be missing here, finds its own data.
        let stack: Value =
            serde_json::from_str(&self.compose(&["config", "--format=json"])).unwrap();
        assert_eq!(stack["volumes"]["grafana_data"]["name"], self.names[1].1);
        let mounts = stack["services"]["grafana"]["volumes"].as_array().unwrap();
        assert!(mounts.iter().any(|mount| mount["source"] == "grafana_data"), "{mounts:?}");
    }
}

/// The lines of the first code block of a section of the page.
fn steps(section: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/upgrade.md");
    let (_, text) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, block) = text.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn file_of_the_project(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Grafana is left out, since its image may be missing.
const UP: &[&str] = &["up", "--detach", "--wait", "--no-build", "--pull=never", "telemetry"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_stack_of_the_reference_is_upgraded_in_place() {
    let project = Project::of_the_reference(false).await;
    let mut steps = steps("With docker compose");
    assert_eq!(steps.pop(), Some("docker compose up -d"));
    for step in steps {
        if step.starts_with('#') {
            project.write_file(&file_of_the_project(STACK));
        } else {
            project.step(step);
        }
    }
    project.compose(UP);
    project.assert_upgraded();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_coolify_stack_of_the_reference_is_upgraded_in_place() {
    let project = Project::of_the_reference(true).await;
    project.compose(&["down"]);
    for step in steps("On Coolify") {
        project.step(step);
    }
    project.write_file(&file_of_the_project(COOLIFY));
    project.compose(UP);
    project.assert_upgraded();
}
