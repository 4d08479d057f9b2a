//! The simulator's own tests: many seeds, the evidence that its oracles can object, and what seeds have found.

mod oracles;
mod regressions;
mod seeds;
