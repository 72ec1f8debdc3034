//! Several servers: a load balancer in front of them, and engines that gather them. These tests need
//! `haproxy`, `caddy`, `nginx`, `prometheus` and `victoria-metrics`.

mod balancer;
mod engines;
mod extrapolation;
mod front;
mod gathered;
mod kill;
