//! Tells cargo of the one input that it does not see by itself: a file that is new in a folder
//! that is embedded.

fn main() {
    println!("cargo::rerun-if-changed=grafana");
}
