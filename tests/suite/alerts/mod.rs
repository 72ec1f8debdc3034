//! Alert rules: their table, the files that are made of it, and each rule on a running server, firing and
//! not firing.

mod files;
mod firing;
mod promtool;
pub mod rules;
