//! The thread itself, on a chain that makes a block each second.
