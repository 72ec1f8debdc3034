//! The shell client in a container, before an entrypoint that reports as the stock one does.

use testcontainers::{
    ContainerAsync, GenericImage, ImageExt as _, core::Mount, runners::AsyncRunner as _,
};

use crate::support::containers::{
    Base, Image, Server, Volume, base_image, docker, platform, unique,
};

const CLIENT: &str = include_str!("../../../client/telemetry.sh");
/// Reports as the stock entrypoint does, and becomes its arguments.
const ENTRYPOINT: &str = r#"
if [ "${DISABLE_TELEMETRY:-0}" != 1 ]; then
    wget -q -O - --header 'Content-Type: application/json' --post-data '{"instance_id":"stock"}' \
        "$TELEMETRY_ENDPOINT"
fi
exec "$@"
"#;
/// Answers any request at Mattermost's address, and ends in a way of its own.
const SERVICE: &str = r"
trap 'exit 7' TERM
cat >/answer <<'END'
while read -r line && [ ${#line} -gt 1 ]; do :; done
printf 'HTTP/1.0 200 OK\r\n\r\n'
END
nc -lk -p 8065 -e /bin/sh /answer &
wait
";

async fn start(server: &str, network: &str, volume: &Volume) -> ContainerAsync<GenericImage> {
    let base = base_image();
    let (name, tag) = base.split_once(':').unwrap();
    GenericImage::new(name, tag)
        .with_entrypoint("/bin/sh")
        .with_cmd(["/telemetry.sh", "/bin/sh", "/entrypoint.sh", "/bin/sh", "/service.sh"])
        .with_platform(platform())
        .with_network(network)
        .with_mount(Mount::volume_mount(&volume.name, "/mattermost/data"))
        .with_env_var("TELEMETRY_ENDPOINT", format!("http://{server}:8080/collect"))
        .with_env_var("TELEMETRY_HEARTBEAT_SECONDS", "1")
        .with_copy_to("/telemetry.sh", CLIENT.as_bytes().to_vec())
        .with_copy_to("/entrypoint.sh", ENTRYPOINT.as_bytes().to_vec())
        .with_copy_to("/service.sh", SERVICE.as_bytes().to_vec())
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn a_container_reports_each_start_once_under_one_id() {
    let (image, volume, data) = (Image::build(Base::Scratch), Volume::new(), Volume::new());
    let (name, network) = (unique("server"), unique("network"));
    let server = Server::start_with(&image, &volume, |request| {
        request.with_container_name(&name).with_network(&network)
    })
    .await;
    server.wait_until_ready().await;

    // Not one container that starts again: one that takes the place of the other, as in an upgrade.
    for starts in 1..=2 {
        let before = server.json("/metrics").await["total_heartbeats"].as_u64().unwrap();
        let app = start(&name, &network, &data).await;
        server
            .wait_until("a heartbeat", async || {
                server.json("/metrics").await["total_heartbeats"].as_u64().unwrap() > before
            })
            .await;
        let counted = server.json("/metrics").await;
        assert_eq!(counted["total_deployments"], starts);
        assert_eq!(counted["unique_instances"], 1);

        docker(["stop", app.id()]);
        assert_eq!(docker(["inspect", "--format={{.State.ExitCode}}", app.id()]), "7");
    }
    let reports = server.json("/deployments").await;
    let start = reports.as_array().unwrap().last().unwrap();
    assert_eq!(start["container_runtime"], "docker");
    assert!(start["startup_time_ms"].as_u64().unwrap() > 0);
}
