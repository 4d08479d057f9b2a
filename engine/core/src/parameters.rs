//! How the parameters of a work are shown.

use wire_protocol::template::{WorkTemplate, row};

/// Bytes of a value that is shown; the rest is cut.
const VALUE_BYTES_MAX: usize = 256;

/// The values of a row by column; bytes that are not UTF-8 are replaced.
pub(crate) fn shown(template: &WorkTemplate, row: &[u8]) -> Vec<(String, String)> {
    let values = row::split(template.columns.len(), row).unwrap_or_default();
    template
        .columns
        .iter()
        .cloned()
        .zip(values.into_iter().map(text))
        .collect()
}

/// As many bytes as [`shown`] can have, about.
pub(crate) fn shown_bytes_max(template: &WorkTemplate) -> usize {
    let bytes = template
        .columns
        .iter()
        .map(|name| name.len() + VALUE_BYTES_MAX + 4);
    bytes.sum()
}

fn text(value: &[u8]) -> String {
    let cut = value.len().min(VALUE_BYTES_MAX);
    let ellipsis = if cut < value.len() { "…" } else { "" };
    format!("{}{ellipsis}", String::from_utf8_lossy(&value[..cut]))
}
