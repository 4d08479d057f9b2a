//! The Redis protocol, as much of it as the bench needs: commands are arrays of strings, replies are parsed whole.
//!
//! Protocol: <https://redis.io/docs/latest/develop/reference/protocol-spec/>, version 2.

use std::io::Write as _;

use anyhow::{Context, Result, bail};

use super::wire::{Parsed, Wire, line, number};

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Nil,
    Number(i64),
    Text(Vec<u8>),
    List(Vec<Value>),
}

impl Value {
    /// # Errors
    /// If it is something else.
    pub(super) fn text(&self) -> Result<&[u8]> {
        match self {
            Self::Text(bytes) => Ok(bytes),
            other => bail!("the server answered {other:?} in the place of a text"),
        }
    }

    /// The values of a list; none for nil, which stands for a list that is empty in time.
    ///
    /// # Errors
    /// If it is something else.
    pub(super) fn list(&self) -> Result<&[Value]> {
        match self {
            Self::List(values) => Ok(values),
            Self::Nil => Ok(&[]),
            other => bail!("the server answered {other:?} in the place of a list"),
        }
    }
}

/// Appends a command.
pub(super) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    array(out, words.len());
    for word in words {
        bulk(out, word);
    }
}

/// Appends the head of a command of so many words.
pub(super) fn array(out: &mut Vec<u8>, words: usize) {
    let _ = write!(out, "*{words}\r\n");
}

/// Appends one word of a command.
pub(super) fn bulk(out: &mut Vec<u8>, word: &[u8]) {
    let _ = write!(out, "${}\r\n", word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Parses a reply.
///
/// # Errors
/// If the server reports an error, or it is no reply.
pub(super) fn value(input: &[u8]) -> Parsed<Value> {
    let Some((text, head)) = line(input) else {
        return Ok(None);
    };
    let (kind, rest) = text.split_first().context("the server sent an empty line")?;
    match kind {
        b'+' => Ok(Some((Value::Text(rest.to_vec()), head))),
        b':' => Ok(Some((Value::Number(number(rest)?), head))),
        b'$' | b'*' if rest == b"-1" => Ok(Some((Value::Nil, head))),
        b'$' => {
            let end = head + number::<usize>(rest)?;
            let body = input.get(head..end + 2);
            Ok(body.map(|body| (Value::Text(body[..body.len() - 2].to_vec()), end + 2)))
        }
        b'*' => list(input, head, number(rest)?),
        b'-' => bail!("the server refused: {}", String::from_utf8_lossy(rest)),
        _ => bail!("the server sent {:?}", String::from_utf8_lossy(text)),
    }
}

fn list(input: &[u8], mut at: usize, count: usize) -> Parsed<Value> {
    let mut values = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let Some((value, bytes)) = value(&input[at..])? else {
            return Ok(None);
        };
        values.push(value);
        at += bytes;
    }
    Ok(Some((Value::List(values), at)))
}

/// Sends one command and waits for its reply.
pub(super) async fn ask(wire: &mut Wire, words: &[&[u8]]) -> Result<Value> {
    command(&mut wire.out, words);
    wire.send().await?;
    wire.next(value).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"LPUSH", b"works", b""]);
        assert_eq!(out, b"*3\r\n$5\r\nLPUSH\r\n$5\r\nworks\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_of_all_kinds_are_parsed_and_halves_are_waited_for() {
        let whole = b"*4\r\n+OK\r\n:-2\r\n$3\r\na\r\n\r\n*2\r\n$-1\r\n*-1\r\n";
        let text = |bytes: &[u8]| Value::Text(bytes.to_vec());
        let inner = Value::List(vec![Value::Nil, Value::Nil]);
        let expected = Value::List(vec![text(b"OK"), Value::Number(-2), text(b"a\r\n"), inner]);
        assert_eq!(value(whole).expect("fine"), Some((expected, whole.len())));
        for end in 0..whole.len() {
            assert_eq!(value(&whole[..end]).expect("fine"), None, "{end}");
        }
    }

    #[test]
    fn an_error_of_the_server_is_an_error() {
        let failed = value(b"-OOM command not allowed\r\n").expect_err("refused");
        assert!(failed.to_string().contains("OOM"), "{failed}");
        assert!(value(b"?\r\n").is_err() && value(b"\r\n").is_err());
    }
}
