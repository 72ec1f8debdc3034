//! The images start on an empty volume, become healthy, and take a report from another container.

use testcontainers::ImageExt as _;

use crate::support::{
    containers::{Base, Image, Server, Volume, architecture, base_image, docker, platform, unique},
    stock,
};

/// From nothing to healthy on an empty volume, for what the image can stand on.
async fn becomes_healthy(base: Base) {
    let (image, volume) = (Image::build(base), Volume::new());
    let server = Server::start(&image, &volume).await;
    server.wait_until_healthy().await;
    assert_eq!(server.json("/metrics").await["total_deployments"], 0);
    assert_eq!(image.inspect()["Architecture"], architecture());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_alpine_image_becomes_healthy_on_an_empty_volume() {
    becomes_healthy(Base::Alpine).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_scratch_image_becomes_healthy_on_an_empty_volume() {
    becomes_healthy(Base::Scratch).await;
}

/// The health check is one that can fail.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_health_check_sees_that_nothing_answers() {
    let (image, volume) = (Image::build(Base::Scratch), Volume::new());
    let server = Server::start(&image, &volume).await;
    server.wait_until_ready().await;
    let check: Vec<String> =
        serde_json::from_value(image.inspect()["Config"]["Healthcheck"]["Test"].clone()).unwrap();
    assert_eq!(check[0], "CMD");
    let check: Vec<&str> = check[1..].iter().map(String::as_str).collect();
    server.exec(&check);

    // The same command, asked for a port on which there is no server.
    let exit_code = std::process::Command::new("docker")
        .args(["exec", "--env=SERVER_ADDRESS=0.0.0.0:8081", server.id()])
        .args(&check)
        .output()
        .unwrap()
        .status
        .code();
    assert_eq!(exit_code, Some(1));
}

/// As in a stack: the client knows the server by its name on their network.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn a_report_comes_from_another_container() {
    let (image, volume) = (Image::build(Base::Alpine), Volume::new());
    let (name, network) = (unique("server"), unique("network"));
    let server = Server::start_with(&image, &volume, |request| {
        request.with_container_name(&name).with_network(&network)
    })
    .await;
    server.wait_until_ready().await;
    let answer = docker([
        "run",
        "--rm",
        &format!("--platform={}", platform()),
        &format!("--network={network}"),
        &base_image(),
        "wget",
        "--quiet",
        "--output-document=-",
        "--header=Content-Type: application/json",
        &format!("--post-data={}", stock("0f8fad5bd9cb469fa16570867728950e")),
        &format!("http://{name}:8080/collect"),
    ]);
    assert_eq!(answer, r#"{"status":"success","message":"Telemetry collected"}"#);

    let reports = server.json("/deployments").await;
    assert_eq!(reports.as_array().unwrap().len(), 1);
    assert_eq!(reports[0]["instance_id"], "0f8fad5bd9cb469fa16570867728950e");
    assert_eq!(reports[0]["container_runtime"], "unknown");
}
