//! The container runs without any privilege.

use testcontainers::ImageExt as _;

use crate::support::{
    containers::{Base, Image, Server, Volume},
    stock,
};

/// Everything that the stacks ask for, on a volume that nothing has written to before.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn it_runs_without_any_privilege() {
    let (image, volume) = (Image::build(Base::Alpine), Volume::new());
    let server = Server::start_with(&image, &volume, |request| {
        request
            .with_readonly_rootfs(true)
            .with_cap_drop("ALL")
            .with_security_opt("no-new-privileges:true")
    })
    .await;
    server.wait_until_healthy().await;
    let answer = server
        .client()
        .post(server.url("/collect").await)
        .json(&stock("hardened"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.json("/metrics").await["total_deployments"], 1);

    // The server's process at the kernel.
    let status = server.exec(&["cat", "/proc/1/status"]);
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "65532 65532 65532 65532");
    assert_eq!(field("Gid:"), "65532 65532 65532 65532");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");

    // The volume belongs to that user, and no other may write to what is on it.
    let files = server.exec(&["stat", "-c", "%n %u:%g %a", "/data", "/data/telemetry.db"]);
    assert_eq!(files, "/data 65532:65532 755\n/data/telemetry.db 65532:65532 644");
    let strangers = server.exec(&["find", "/data", "!", "-user", "65532", "-o", "-perm", "-o+w"]);
    assert_eq!(strangers, "");
    // It could not write to any other place.
    let mounts = server.exec(&["cat", "/proc/1/mounts"]);
    let options = |place: &str| {
        let mount = mounts.lines().find(|mount| mount.split(' ').nth(1) == Some(place)).unwrap();
        mount.split(' ').nth(3).unwrap().to_owned()
    };
    assert!(options("/").starts_with("ro,"), "{mounts}");
    assert!(options("/data").starts_with("rw,"), "{mounts}");
}
