//! pool
fn main() {}
