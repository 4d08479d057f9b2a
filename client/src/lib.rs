//! (opens with what it is for)
