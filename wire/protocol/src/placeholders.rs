//! Placeholders: how a template's texts take a row's values.
//!
//! `{column}` stands for the row's value of that column, in arguments, in the values of variables and in the sources of
//! files. A placeholder is a brace, letters, digits, `_`, `-` or `.`, and a brace; any other brace means itself, and `{{`
//! and `}}` mean one brace where a placeholder would be read. A placeholder that names no column is an error: a sweep over
//! a misspelt parameter should not run a million times.

/// A piece of a text.
enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// The value of this column.
    Column(&'a str),
}

/// `text` with the row's values in it. The error is a sentence for whoever submitted it.
///
/// # Errors
/// A placeholder names no column, or it gets longer than `bytes_max`.
pub fn expand(text: &str, columns: &[String], values: &[&[u8]], bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Column(name) => out.extend_from_slice(values[column(name, columns)?]),
        }
        if out.len() > bytes_max {
            return Err(format!("with its values it is longer than {bytes_max} bytes"));
        }
    }
    Ok(out)
}

/// Whether all placeholders name columns, and whether there are any.
///
/// # Errors
/// As [`expand`].
pub fn check(text: &str, columns: &[String]) -> Result<bool, String> {
    let mut any = false;
    for piece in pieces(text) {
        if let Piece::Column(name) = piece {
            column(name, columns)?;
            any = true;
        }
    }
    Ok(any)
}

fn column(name: &str, columns: &[String]) -> Result<usize, String> {
    columns.iter().position(|column| column == name).ok_or_else(|| {
        let known = if columns.is_empty() {
            "none".to_owned()
        } else {
            columns.join(", ")
        };
        format!(
            "{{{name}}} names no column (there is {known}); write {{{{{name}}}}} for the braces themselves"
        )
    })
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = placeholder(rest) {
            rest = after;
            return Some(Piece::Column(name));
        }
        let doubled = rest.starts_with("{{") || rest.starts_with("}}");
        let end = match doubled {
            true => 1,
            // A brace that begins nothing is text, and so is what follows it.
            false => rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| matches!(c, '{' | '}'))
                .map_or(rest.len(), |(at, _)| at),
        };
        let (piece, after) = rest.split_at(end);
        rest = if doubled { &after[1..] } else { after };
        Some(Piece::Text(piece))
    })
}

/// The name in the placeholder that `text` begins with, and what follows.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!name.is_empty() && name.chars().all(plain)).then_some((name, after))
}
