//! What the core asks for, done: it decides nothing.

mod node;

pub use node::NodeShell;
