//! Images, built by the documented command.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::docker::{docker, remove, unique};

/// The base of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    Alpine,
    Scratch,
}

/// The platform of the image: ARM64, or another for which there is a binary.
pub fn platform() -> String {
    env::var("TEST_PLATFORM").unwrap_or_else(|_| "linux/arm64".to_owned())
}

/// The platform's architecture by the name that images have for it.
pub fn architecture() -> String {
    platform().trim_start_matches("linux/").to_owned()
}

/// The Alpine image: the Dockerfile's, or another where that one cannot be pulled.
pub fn base_image() -> String {
    env::var("TEST_BASE_IMAGE").unwrap_or_else(|_| "alpine:3.22".to_owned())
}

/// The static binary that the images are made of.
fn binary() -> PathBuf {
    let path = env::var_os("TEST_BINARY").map_or_else(
        || {
            let machine = match &*architecture() {
                "arm64" => "aarch64",
                "amd64" => "x86_64",
                other => panic!("no binary for {other}"),
            };
            format!("target/{machine}-unknown-linux-musl/release/mattermost-telemetry").into()
        },
        PathBuf::from,
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.is_file(), "there is no static binary {}: see docs/delivery.md", path.display());
    path
}

/// An image built by the documented command, under a name of its own.
#[derive(Debug)]
pub struct Image {
    name: String,
}

impl Image {
    pub fn build(base: Base) -> Self {
        let binary = binary();
        let base = match base {
            Base::Alpine => base_image(),
            Base::Scratch => "scratch".to_owned(),
        };
        let image = Self { name: unique("image") };
        let dockerfile = concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile");
        docker([
            "build",
            "--quiet",
            &format!("--platform={}", platform()),
            "--build-arg=BINARY=prebuilt",
            &format!("--build-arg=PREBUILT={}", binary.file_name().unwrap().display()),
            &format!("--build-arg=BASE_IMAGE={base}"),
            &format!("--file={dockerfile}"),
            &format!("--tag={}", image.name),
            binary.parent().unwrap().to_str().unwrap(),
        ]);
        image
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image as the engine describes it.
    pub fn inspect(&self) -> Value {
        let mut images: Value = serde_json::from_str(&docker(["inspect", &self.name])).unwrap();
        images[0].take()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        remove("image", &self.name);
    }
}
