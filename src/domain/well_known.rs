//! Values that are always told apart, in their normal form. Each list names its source. A value that
//! is missing here gets its label once it is proven.

use super::{Dimension, OTHER, UNKNOWN};

/// `uname -m`: `UTS_MACHINE` of each architecture in the Linux kernel's `arch/*/Makefile`, the 32-bit
/// names that it reports to 32-bit programs, and the `GOARCH` and Debian names of the same machines.
const ARCHITECTURES: &[&str] = &[
    "386",
    "aarch64",
    "aarch64_be",
    "alpha",
    "arc",
    "arceb",
    "arm",
    "armel",
    "armhf",
    "armv5tejl",
    "armv5tel",
    "armv6l",
    "armv7b",
    "armv7l",
    "armv8b",
    "armv8l",
    "csky",
    "hexagon",
    "i386",
    "i486",
    "i586",
    "i686",
    "ia64",
    "loong64",
    "loongarch32",
    "loongarch64",
    "m68k",
    "microblaze",
    "mips",
    "mips64",
    "mips64el",
    "mips64le",
    "mipsel",
    "mipsle",
    "nios2",
    "openrisc",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64el",
    "ppc64le",
    "ppcle",
    "riscv32",
    "riscv64",
    "s390",
    "s390x",
    "sh4",
    "sparc",
    "sparc64",
    "x86_64",
    "xtensa",
];

/// `uname -s` of common kernels, `GOOS` of the Go toolchain, and `ID` of `/etc/os-release` of common
/// distributions.
const SYSTEMS: &[&str] = &[
    "aix",
    "almalinux",
    "alpine",
    "amzn",
    "android",
    "arch",
    "archarm",
    "armbian",
    "azurelinux",
    "bottlerocket",
    "centos",
    "chromeos",
    "clear-linux-os",
    "cos",
    "darwin",
    "debian",
    "dragonfly",
    "fedora",
    "flatcar",
    "freebsd",
    "gentoo",
    "gnu",
    "haiku",
    "hp-ux",
    "illumos",
    "ios",
    "kali",
    "linux",
    "linuxmint",
    "macos",
    "manjaro",
    "netbsd",
    "nixos",
    "ol",
    "openbsd",
    "opensuse-leap",
    "opensuse-tumbleweed",
    "photon",
    "plan9",
    "raspbian",
    "rhel",
    "rocky",
    "sled",
    "sles",
    "solaris",
    "sunos",
    "talos",
    "ubuntu",
    "void",
    "windows",
    "windows_nt",
    "wolfi",
];

/// `systemd-detect-virt --container`, the runtimes and managers of the OCI and CRI landscape, and the
/// platforms that run images without naming a runtime.
const RUNTIMES: &[&str] = &[
    "apptainer",
    "bare-metal",
    "buildah",
    "cloud-run",
    "containerd",
    "coolify",
    "cri-o",
    "crio",
    "crun",
    "docker",
    "docker-desktop",
    "docker-swarm",
    "ecs",
    "fargate",
    "garden",
    "gvisor",
    "host",
    "incus",
    "k3s",
    "kata",
    "kubernetes",
    "lxc",
    "lxc-libvirt",
    "lxd",
    "microk8s",
    "nerdctl",
    "nomad",
    "none",
    "openshift",
    "openvz",
    "podman",
    "pouch",
    "proot",
    "rkt",
    "runc",
    "singularity",
    "systemd-nspawn",
    "wsl",
    "youki",
];

/// `MM_SQLSETTINGS_DRIVERNAME` of Mattermost, and the servers that speak the protocols of its two.
const DATABASES: &[&str] = &[
    "alloydb",
    "aurora",
    "aurora-mysql",
    "aurora-postgresql",
    "cloudsql",
    "cockroachdb",
    "mariadb",
    "mysql",
    "percona",
    "pgx",
    "postgres",
    "postgresql",
    "rds",
    "sqlite",
    "sqlite3",
    "timescaledb",
    "yugabytedb",
];

/// Versions of the report's format: the clients' own.
const FORMATS: &[&str] = &["1", "1.0", "1.1", "1.2", "2", "2.0"];

/// True if a value in its normal form is always told apart. A plausible release is not among these:
/// releases share a budget.
#[must_use]
pub fn is_well_known(dimension: Dimension, value: &str) -> bool {
    let listed = match dimension {
        Dimension::ImageVersion => &[],
        Dimension::Architecture => ARCHITECTURES,
        Dimension::Os => SYSTEMS,
        Dimension::ContainerRuntime => RUNTIMES,
        Dimension::DbType => DATABASES,
        Dimension::TelemetryVersion => FORMATS,
    };
    listed.binary_search(&value).is_ok() || value == UNKNOWN || value == OTHER
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Value;

    #[test]
    fn lists_are_sorted_and_in_normal_form() {
        for (dimension, list) in [
            (Dimension::Architecture, ARCHITECTURES),
            (Dimension::Os, SYSTEMS),
            (Dimension::ContainerRuntime, RUNTIMES),
            (Dimension::DbType, DATABASES),
            (Dimension::TelemetryVersion, FORMATS),
        ] {
            assert!(list.is_sorted_by(|a, b| a < b), "{dimension:?}");
            for &value in list {
                let parsed = Value::parse(dimension, Some(value.to_owned())).unwrap();
                assert_eq!(&*parsed, value);
            }
        }
    }

    #[test]
    fn unknown_and_other_are_known_in_every_dimension() {
        for dimension in Dimension::ALL {
            assert!(is_well_known(dimension, UNKNOWN) && is_well_known(dimension, OTHER));
            assert!(!is_well_known(dimension, "made-up"));
        }
    }
}
