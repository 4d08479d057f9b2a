//! (opens with what it is for)
fn main() {}
