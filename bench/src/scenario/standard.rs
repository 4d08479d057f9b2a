//! The standard set.

/// A scenario that is part of the program.
pub(crate) struct Standard {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// All of them, in the order in which they are worth running.
pub(crate) const STANDARD: &[Standard] = &[
    standard("throughput", include_str!("../../scenarios/throughput.toml")),
    standard("latency", include_str!("../../scenarios/latency.toml")),
    standard(
        "submit-single",
        include_str!("../../scenarios/submit-single.toml"),
    ),
    standard("mixed", include_str!("../../scenarios/mixed.toml")),
    standard("fan-out", include_str!("../../scenarios/fan-out.toml")),
    standard("reconnect", include_str!("../../scenarios/reconnect.toml")),
    standard("recover", include_str!("../../scenarios/recover.toml")),
    standard("sidecar-lag", include_str!("../../scenarios/sidecar-lag.toml")),
    standard("sidecar", include_str!("../../scenarios/sidecar.toml")),
    standard("overload", include_str!("../../scenarios/overload.toml")),
    standard("faults", include_str!("../../scenarios/faults.toml")),
];

const fn standard(name: &'static str, text: &'static str) -> Standard {
    Standard { name, text }
}
