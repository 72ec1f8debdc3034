//! Recount of the reports, for a comparison with what is stored: once by their numbers, once by their instances.

pub mod counts;
mod days;
pub mod instances;
