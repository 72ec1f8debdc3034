//! The images stay within their limits of size.

use std::process::Command;

use crate::support::containers::{Base, Image, docker, platform};

const MEGABYTE: u64 = 1 << 20;

/// The bytes of an image's files, and the same compressed as a registry keeps them.
fn measure(base: Base) -> (u64, u64) {
    /// A container that is never started, for its files. Removed when dropped.
    struct Files(String);
    impl Drop for Files {
        fn drop(&mut self) {
            let _ = Command::new("docker").args(["rm", "--volumes", &self.0]).output();
        }
    }
    let image = Image::build(base);
    let files = Files(docker(["create", &format!("--platform={}", platform()), image.name()]));
    let count = |filter: &str| {
        let pipe = format!("set -o pipefail; docker export {} | {filter} | wc -c", files.0);
        let output = Command::new("bash").args(["-c", &pipe]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let sizes = (count("cat"), count("gzip"));
    println!("{base:?}: {} bytes, {} compressed", sizes.0, sizes.1);
    sizes
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; run it with: cargo test --test suite containers:: -- --ignored"]
async fn the_images_are_small() {
    let (unpacked, compressed) = measure(Base::Alpine);
    // Code for amd64 is a seventh larger.
    let limit = if platform().ends_with("arm64") { 15 } else { 16 };
    assert!(unpacked <= limit * MEGABYTE, "{unpacked}");
    // Alpine alone has nearly 4.
    assert!(compressed <= 7 * MEGABYTE, "{compressed}");
    let (unpacked, compressed) = measure(Base::Scratch);
    assert!(unpacked <= 8 * MEGABYTE, "{unpacked}");
    assert!(compressed <= 7 * MEGABYTE / 2, "{compressed}");
}
