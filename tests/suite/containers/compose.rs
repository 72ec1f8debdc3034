//! The stacks, as Compose itself reads them, beside the image as the engine describes it.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::containers::{Base, Image, docker, unique};

pub const STACK: &str = "docker-compose.yml";
pub const COOLIFY: &str = "docker-compose.coolify.yml";
/// An addition to the stack.
const BACKUP: &str = "docker-compose.backup.yml";

/// `docker compose` on files that are one stack, without the settings of an `.env` beside them.
fn compose(files: &[&str]) -> Vec<String> {
    let file =
        |file| format!("--file={}", Path::new(env!("CARGO_MANIFEST_DIR")).join(file).display());
    let command = ["compose", "--env-file=/dev/null"].map(str::to_owned);
    command.into_iter().chain(files.iter().map(file)).collect()
}

/// A stack as Compose understands it, with everything filled in; or its error.
fn config(files: &[&str], settings: &[(&str, &str)]) -> Result<Value, String> {
    let mut command = Command::new("docker");
    command.args(compose(files)).args(["config", "--format=json"]).envs(settings.iter().copied());
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    if !output.status.success() {
        return Err(errors);
    }
    // A variable without a default, or a name that Compose does not know.
    assert_eq!(errors, "", "{files:?}");
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// A file as Compose understands it, with everything filled in.
pub fn read(file: &str, settings: &[(&str, &str)]) -> Value {
    config(&[file], settings).unwrap()
}

fn nanoseconds(duration: &Value) -> i128 {
    duration.as_str().unwrap().parse::<SignedDuration>().unwrap().as_nanos()
}

fn texts(values: &Value) -> BTreeSet<&str> {
    values.as_array().into_iter().flatten().map(|value| value.as_str().unwrap()).collect()
}

/// Asserts what both files have in common about the server.
fn assert_agrees(service: &Value, image: &Image) {
    let config = &image.inspect()["Config"];

    let check = &service["healthcheck"];
    let own = &config["Healthcheck"];
    assert_eq!(check["test"], own["Test"]);
    assert_eq!(nanoseconds(&check["interval"]), i128::from(own["Interval"].as_i64().unwrap()));
    assert_eq!(nanoseconds(&check["timeout"]), i128::from(own["Timeout"].as_i64().unwrap()));
    assert_eq!(
        nanoseconds(&check["start_period"]),
        i128::from(own["StartPeriod"].as_i64().unwrap())
    );
    assert_eq!(check["retries"], own["Retries"]);

    // One volume, where the image has its own: nothing is left in an anonymous one.
    let volumes = service["volumes"].as_array().unwrap();
    let places: Vec<_> = volumes.iter().map(|volume| volume["target"].as_str().unwrap()).collect();
    let own: Vec<_> = config["Volumes"].as_object().unwrap().keys().collect();
    assert_eq!(places, own);
    assert!(volumes.iter().all(|volume| volume["type"] == "volume"), "{volumes:?}");

    // The image's own user, which its volume belongs to, and its own signal and command.
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["StopSignal"], "SIGTERM");
    for left_to_the_image in ["user", "stop_signal", "entrypoint", "command", "working_dir"] {
        assert_eq!(service[left_to_the_image], Value::Null, "{left_to_the_image}");
    }
    // Docker's own grace period is ten seconds; the server's limit is below that.
    assert!(nanoseconds(&service["stop_grace_period"]) >= 10_000_000_000);

    assert_eq!(service["read_only"], true);
    assert_eq!(texts(&service["cap_drop"]), ["ALL"].into());
    assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"].into());

    // Each setting is one that the server has, and none moves what the image fixes.
    let help = docker(["run", "--rm", image.name(), "serve", "--help"]);
    let own = texts(&config["Env"]);
    for setting in service["environment"].as_object().unwrap().keys() {
        let is_known = [']', '='].iter().any(|end| help.contains(&format!("[env: {setting}{end}")));
        assert!(is_known || setting.starts_with("SERVICE_URL_"), "{setting}\n{help}");
        let prefix = format!("{setting}=");
        assert!(!own.iter().any(|variable| variable.starts_with(&prefix)), "{setting}");
    }
}

/// The image's one port, as a number.
fn port(image: &Image) -> String {
    let ports = &image.inspect()["Config"]["ExposedPorts"];
    let ports: Vec<_> = ports.as_object().unwrap().keys().collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    ports[0].trim_end_matches("/tcp").to_owned()
}

/// All that both stacks use together fits into a machine with 1 GB.
fn assert_fits_into_a_small_machine(stack: &Value) {
    let limits = stack["services"].as_object().unwrap().values().filter_map(|service| {
        service["deploy"]["resources"]["limits"]["memory"].as_str()?.parse::<u64>().ok()
    });
    let sum: u64 = limits.sum();
    assert!(sum > 0 && sum <= 640 << 20, "{sum}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_stack_agrees_with_the_image() {
    let (image, stack) = (Image::build(Base::Scratch), read(STACK, &[]));
    let (server, grafana) = (&stack["services"]["telemetry"], &stack["services"]["grafana"]);
    assert_agrees(server, &image);
    assert_fits_into_a_small_machine(&stack);
    let port = port(&image);
    assert_eq!(server["ports"][0]["target"].to_string(), port);
    assert_eq!(server["ports"][0]["published"], "8080");
    assert_eq!(grafana["ports"][0]["published"], "3000");
    // With its default password it can be reached from this machine alone.
    assert_eq!(grafana["ports"][0]["host_ip"], "127.0.0.1");
    let opened = read(STACK, &[("GRAFANA_ADDRESS", "0.0.0.0")]);
    assert_eq!(opened["services"]["grafana"]["ports"][0]["host_ip"], "0.0.0.0");
    assert_eq!(grafana["environment"]["TELEMETRY_URL"], format!("http://telemetry:{port}"));
    assert_eq!(grafana["environment"]["GF_SECURITY_ADMIN_USER"], "admin");
    assert_eq!(grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"], "admin");
    assert_eq!(grafana["depends_on"]["telemetry"]["condition"], "service_healthy");
    for mount in grafana["volumes"].as_array().unwrap() {
        if mount["type"] == "bind" {
            assert_eq!(mount["read_only"], true, "{mount}");
            assert!(std::path::Path::new(mount["source"].as_str().unwrap()).is_dir(), "{mount}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_coolify_stack_agrees_with_the_image() {
    let image = Image::build(Base::Scratch);
    let generated = ("SERVICE_PASSWORD_GRAFANA", "made-by-coolify");
    let stack = read(COOLIFY, &[generated]);
    let server = &stack["services"]["telemetry"];
    assert_agrees(server, &image);
    assert_fits_into_a_small_machine(&stack);
    let port = port(&image);
    assert_eq!(texts(&server["expose"]), [port.as_str()].into());
    assert_eq!(server["environment"][format!("SERVICE_URL_TELEMETRY_{port}")], "/");
    let grafana = &stack["services"]["grafana"];
    assert_eq!(grafana["environment"]["TELEMETRY_URL"], format!("http://telemetry:{port}"));
    assert_eq!(grafana["environment"]["GF_SECURITY_ADMIN_USER"], "admin");
    assert_eq!(grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"], "made-by-coolify");
    let own = read(COOLIFY, &[generated, ("GRAFANA_USER", "eve"), ("GRAFANA_PASSWORD", "own")]);
    let environment = &own["services"]["grafana"]["environment"];
    assert_eq!(environment["GF_SECURITY_ADMIN_USER"], "eve");
    assert_eq!(environment["GF_SECURITY_ADMIN_PASSWORD"], "own");
    for (name, service) in stack["services"].as_object().unwrap() {
        // Coolify names the containers, its proxy reaches their ports, and a pasted stack has
        // no file beside it and nothing to build from. The image is of each platform.
        for absent in ["container_name", "ports", "build", "platform"] {
            assert_eq!(service[absent], Value::Null, "{name}");
        }
        let mounts = service["volumes"].as_array().unwrap();
        assert!(mounts.iter().all(|mount| mount["type"] == "volume"), "{name}: {mounts:?}");
    }
}

/// The replica is of the server's own volume, by its own user, begins after a restore, and has a place.
#[test]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
fn the_replica_of_the_stack_is_of_the_servers_volume() {
    let refusal = config(&[STACK, BACKUP], &[]).unwrap_err();
    assert!(refusal.contains("REPLICA_URL"), "{refusal}");
    let place = ("REPLICA_URL", "s3://bucket/telemetry");
    let stack = config(&[STACK, BACKUP], &[place]).unwrap();
    let services = &stack["services"];
    let waits =
        |service: &str, other: &str| services[service]["depends_on"][other]["condition"].clone();
    assert_eq!(waits("telemetry", "telemetry-restore"), "service_completed_successfully");
    assert_eq!(waits("telemetry-replica", "telemetry"), "service_healthy");
    assert_eq!(services["telemetry-replica"]["user"], "65532:65532");
    let data = &services["telemetry"]["volumes"][0];
    let known = include_str!("../../../litestream.yml");
    for name in ["telemetry-restore", "telemetry-replica"] {
        let service = &services[name];
        assert_eq!(service["volumes"][0], *data, "{name}");
        assert_eq!(service["environment"][place.0], place.1, "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        for variable in service["environment"].as_object().unwrap().keys() {
            let is_own = variable.starts_with("LITESTREAM_") || variable == "GOMEMLIMIT";
            assert!(is_own || known.contains(&format!("${{{variable}}}")), "{name}: {variable}");
        }
    }
    let folder = config(
        &[STACK, BACKUP],
        &[("REPLICA_URL", "file:///replica"), ("REPLICA_FOLDER", "/mnt/disk")],
    );
    let mount = &folder.unwrap()["services"]["telemetry-replica"]["volumes"][2];
    assert_eq!((&mount["type"], &mount["source"]), (&"bind".into(), &"/mnt/disk".into()));
}

/// The change that the file describes: both services of the server are built from one git URL.
#[test]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
fn the_coolify_stack_can_build_from_the_repository() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(COOLIFY)).unwrap();
    assert_eq!(text.matches("  # build: ").count(), 1);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(COOLIFY);
    fs::write(&file, text.replace("  # build: ", "  build: ")).unwrap();
    let source = "https://example.com/mattermost-telemetry.git#v0.1.0";
    let password = ("SERVICE_PASSWORD_GRAFANA", "made-by-coolify");
    let stack = read(file.to_str().unwrap(), &[password, ("TELEMETRY_SOURCE", source)]);
    for (name, service) in stack["services"].as_object().unwrap() {
        let context = if name == "grafana" { Value::Null } else { source.into() };
        assert_eq!(service["build"]["context"], context, "{name}");
    }
}

/// A stack that Compose has started. Taken down when dropped.
pub struct Stack {
    /// Arguments of `docker` that name it.
    pub command: Vec<String>,
}

impl Drop for Stack {
    fn drop(&mut self) {
        let down = ["down", "--volumes", "--timeout=10"];
        let output = Command::new("docker").args(&self.command).args(down).output();
        if !output.as_ref().is_ok_and(|output| output.status.success()) {
            eprintln!("not taken down: {output:?}");
        }
    }
}

/// With all that the file asks for: limits, health check, user, read-only root.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_server_of_the_stack_becomes_healthy() {
    let image = Image::build(Base::Alpine);
    let mut command = compose(&[STACK]);
    command.push(format!("--project-name={}", unique("stack")));
    let stack = Stack { command };
    let output = Command::new("docker")
        .args(&stack.command)
        .args(["up", "--detach", "--wait", "--wait-timeout=90", "--no-build", "--pull=never"])
        .arg("telemetry")
        .env("TELEMETRY_IMAGE", image.name())
        .env("TELEMETRY_PORT", "127.0.0.1:0")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new("docker")
        .args(&stack.command)
        .args(["port", "telemetry", "8080"])
        .output()
        .unwrap();
    let address = String::from_utf8(output.stdout).unwrap();
    let answer = reqwest::get(format!("http://{}/ready", address.trim())).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// As Coolify starts it: by root in a container that may write nothing but the volume. Grafana
/// reads it as another user.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_provisioning_service_of_coolify_writes_files_for_grafana() {
    let image = Image::build(Base::Alpine);
    let project = unique("coolify");
    let mut command = compose(&[COOLIFY]);
    command.push(format!("--project-name={project}"));
    let stack = Stack { command };
    // Twice, as at two deployments.
    for _ in 0..2 {
        let output = Command::new("docker")
            .args(&stack.command)
            .args(["up", "--no-deps", "--pull=never", "--exit-code-from=grafana-provisioning"])
            .arg("grafana-provisioning")
            .env("TELEMETRY_IMAGE", image.name())
            .env("SERVICE_PASSWORD_GRAFANA", "made-by-coolify")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let volume = format!("--volume={project}_grafana-provisioning:/provisioning:ro");
    let read = "cd /provisioning && find . -name '*.json' -o -name '*.yaml' | sort && \
                cat dashboards/overview.json";
    let run = ["run", "--rm", "--network=none", "--user=472:0", "--entrypoint=/bin/sh", &volume];
    let shown = docker(run.into_iter().chain([image.name(), "-c", read]));
    let overview = include_str!("../../../grafana/dashboards/overview.json");
    let files = "./dashboards/overview.json\n./dashboards/server-health.json\n\
                 ./dashboards/startup-time.json\n./provisioning/alerting/telemetry.yaml\n\
                 ./provisioning/dashboards/telemetry.yaml\n\
                 ./provisioning/datasources/telemetry.yaml";
    assert_eq!(shown, format!("{files}\n{}", overview.trim_end()));
}
