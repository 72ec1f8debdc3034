//! The shell client, `client/telemetry.sh`, in each shell and with each program that it sends by. These
//! tests need `dash`, `bash`, `busybox`, `curl` and `wget`.

mod delivery;
mod facts;
mod identity;
mod peer;
mod shell;
mod wrapping;

/// Path at which Mattermost says that it runs.
const PING: &str = "/api/v4/system/ping";
