//! Clients that mean harm, each beside an honest one whose reports must arrive in time. The server is the
//! real binary: the released one, or any that `TEST_BINARY` names.

mod bodies;
mod connections;
mod forged;
mod queries;
mod raw;
mod trial;
