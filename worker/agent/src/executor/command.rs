//! From template and row to the words of a command.
//!
//! What a placeholder is stands in [`wire_protocol::placeholders`].

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use wire_protocol::placeholders;
use wire_protocol::template::{WorkTemplate, row};

/// Bytes of all words together. The kernel takes 2 MiB as a rule, and 128 KiB a word.
const BYTES_MAX: usize = 1 << 20;

/// What a work runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// The command and its arguments; at least one.
    pub(super) command: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
}

impl Words {
    /// Expands the template. The error is a sentence for whoever submitted it.
    pub(super) fn expand(template: &WorkTemplate, row: &[u8]) -> Result<Self, String> {
        let words = Self::expand_optional(template, row)?;
        if words.command.first().is_none_or(|command| command.is_empty()) {
            return Err("the command is empty".to_owned());
        }
        Ok(words)
    }

    /// The same of a template whose command may be left out, because an image has one.
    pub(super) fn expand_optional(template: &WorkTemplate, row: &[u8]) -> Result<Self, String> {
        let columns = &template.columns;
        let values = row::split(columns.len(), row)
            .map_err(|error| format!("the row does not fit {} columns: {error}", columns.len()))?;
        let mut left = BYTES_MAX;
        let mut expand = |text: &str| expand(text, columns, &values, &mut left);
        let command = template
            .command
            .iter()
            .map(|word| expand(word))
            .collect::<Result<Vec<_>, _>>()?;
        let env = template
            .env
            .iter()
            .map(|(name, value)| Ok((OsString::from(name), expand(value)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { command, env })
    }
}

fn expand(text: &str, columns: &[String], values: &[&[u8]], left: &mut usize) -> Result<OsString, String> {
    let out = placeholders::expand(text, columns, values, BYTES_MAX)?;
    *left = left
        .checked_sub(out.len())
        .ok_or_else(|| format!("the command is longer than {BYTES_MAX} bytes with its values"))?;
    if out.contains(&0) {
        return Err("a value holds a NUL byte, which no argument or variable can".to_owned());
    }
    Ok(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(columns: &[&str], command: &[&str], row: &[u8]) -> Result<Vec<OsString>, String> {
        let template = WorkTemplate {
            columns: columns.iter().map(ToString::to_string).collect(),
            command: command.iter().map(ToString::to_string).collect(),
            ..WorkTemplate::default()
        };
        Words::expand(&template, row).map(|words| words.command)
    }

    #[test]
    fn placeholders_take_the_rows_values() {
        let two = row::join(&[b"7", b"a b"]);
        for (columns, text, row, expected) in [
            (&["tile"][..], "x{tile}y{tile}", &b"42"[..], "x42y42"),
            (&["tile"], "{{tile}} {tile}", b"{x}", "{tile} {x}"),
            (&["a", "b"], "{b}-{a}", &two, "a b-7"),
            (
                &[],
                "{} { } {print $1} }{ ${",
                b"ignored",
                "{} { } {print $1} }{ ${",
            ),
            (&[], "a}}b{{c", b"", "a}b{c"),
            (&["é"], "{é}", b"1", "1"),
            (&["n"], "{n}", b"", ""),
        ] {
            assert_eq!(
                words(columns, &["cmd", text], row),
                Ok(vec!["cmd".into(), expected.into()]),
                "{text}"
            );
        }
    }

    #[test]
    fn values_need_not_be_text() {
        let expanded = words(&["v"], &["cmd", "{v}"], b"\xff\xfe").expect("bytes are fine");
        assert_eq!(expanded[1].clone().into_vec(), b"\xff\xfe");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_sentence() {
        for (columns, text, row, problem) in [
            (
                &["tile"][..],
                "{title}",
                &b"1"[..],
                "{title} names no column (there is tile)",
            ),
            (&[], "{HOME}", b"", "{{HOME}}"),
            (&["a", "b"], "{a}", b"\x05x", "does not fit 2 columns"),
            (&["a"], "{a}", b"x\0y", "NUL"),
        ] {
            let error = words(columns, &["cmd", text], row).expect_err(text);
            assert!(error.contains(problem), "{error}");
        }
        assert!(words(&["a"], &["{a}"], b"").is_err(), "an empty command");
    }

    #[test]
    fn a_small_template_cannot_grow_without_bound() {
        let many = "{a}".repeat(1_000);
        let error = words(&["a"], &["cmd", &many, &many], &[b'x'; 2_000]).expect_err("two megabytes each");
        assert!(error.contains("longer than"), "{error}");
    }
}
