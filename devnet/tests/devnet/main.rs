//! The real contracts on a real chain, by way of `wire-chain` alone.

mod endpoints;
mod orders;
mod reorganised;
mod start;
mod support;
mod transactions;
mod views;
