//! What is printed on standard output: tables for people, JSON for programs.
//!
//! Every JSON object says what it is in `schema`, as `workerpool/v1/<kind>`. Within a version fields are added,
//! never renamed or removed.

use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use serde::Serialize;
use wire_protocol::ids::WorkId;

use super::args::Format;

/// Something that can be printed in every form.
pub(crate) trait Show {
    /// The last part of its schema name.
    const KIND: &'static str;
    /// Its fields in JSON, without `schema`.
    type Json<'a>: Serialize
    where
        Self: 'a;
    fn json(&self) -> Self::Json<'_>;
    /// Head of a table of such things.
    const COLUMNS: &'static [&'static str];
    /// Its line in that table.
    fn cells(&self) -> Vec<String>;
    /// Alone, for a person.
    fn text(&self) -> String;
}

/// A JSON object with its schema in front.
#[derive(Serialize)]
struct Labelled<T> {
    schema: String,
    #[serde(flatten)]
    fields: T,
}

pub(crate) fn json_of<T: Show>(item: &T) -> String {
    json_line(T::KIND, item.json())
}

/// One line of JSON with this kind of schema.
pub(crate) fn json_line(kind: &str, fields: impl Serialize) -> String {
    let labelled = Labelled {
        schema: format!("workerpool/v1/{kind}"),
        fields,
    };
    serde_json::to_string(&labelled).expect("what is printed has string keys and no maps that fail")
}

/// Standard output in the form that was asked for.
pub(crate) struct Output {
    pub(crate) format: Format,
    colour: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            format,
            colour: !plain && io::stdout().is_terminal(),
        }
    }

    /// Prints one thing.
    pub(crate) fn one<T: Show>(&self, item: &T) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Table => writeln!(out, "{}", plain(item.text().trim_end())),
            Format::Json | Format::Jsonl => writeln!(out, "{}", json_of(item)),
        }
    }

    /// Begins a list; its pages are printed as they come.
    pub(crate) fn list<T: Show>(&self) -> List<'_, T> {
        List {
            output: self,
            empty: true,
            kind: std::marker::PhantomData,
        }
    }

    /// Tells a person how to go on with a list that goes on behind `next`.
    pub(crate) fn more(&self, next: Option<WorkId>) -> io::Result<()> {
        match (next, self.format) {
            (Some(next), Format::Table) => {
                writeln!(io::stderr(), "there may be more: --after {next}, or --all")
            }
            _ => Ok(()),
        }
    }

    /// Prints a whole list.
    pub(crate) fn all<T: Show>(&self, items: &[T]) -> io::Result<()> {
        let mut list = self.list();
        list.page(items)?;
        list.end()
    }
}

/// A list that is being printed.
pub(crate) struct List<'a, T> {
    output: &'a Output,
    empty: bool,
    kind: std::marker::PhantomData<T>,
}

impl<T: Show> List<'_, T> {
    pub(crate) fn page(&mut self, items: &[T]) -> io::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        // Standard output writes every line by itself, which costs more than making it.
        let mut out = BufWriter::new(io::stdout().lock());
        match self.output.format {
            Format::Table => writeln!(out, "{}", table(items, self.output.colour))?,
            Format::Jsonl => items
                .iter()
                .try_for_each(|item| writeln!(out, "{}", json_of(item)))?,
            Format::Json => {
                for item in items {
                    write!(out, "{}{}", if self.empty { "[" } else { ",\n " }, json_of(item))?;
                    self.empty = false;
                }
            }
        }
        self.empty = false;
        out.flush()
    }

    pub(crate) fn end(self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match (self.output.format, self.empty) {
            (Format::Json, true) => writeln!(out, "[]"),
            (Format::Json, false) => writeln!(out, "]"),
            (Format::Table, true) => writeln!(io::stderr(), "there are none"),
            _ => Ok(()),
        }
    }
}

fn table<T: Show>(items: &[T], colour: bool) -> Table {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !colour {
        table.force_no_tty();
    }
    let head = |name: &&str| {
        let cell = Cell::new(name.to_uppercase());
        if colour {
            cell.add_attribute(Attribute::Bold)
        } else {
            cell
        }
    };
    table.set_header(T::COLUMNS.iter().map(head));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 1));
    });
    for item in items {
        let cells = item.cells().into_iter().map(|text| match colour_of(&text) {
            Some(of_state) if colour => Cell::new(text).fg(of_state),
            _ => Cell::new(plain(&text).replace('\n', " ")),
        });
        table.add_row(cells);
    }
    table
}

/// Text that other people chose, without what could take over a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// States are words that mean the same in every column.
fn colour_of(text: &str) -> Option<Color> {
    match text {
        "succeeded" | "ready" => Some(Color::Green),
        "failed" | "lost" => Some(Color::Red),
        "running" | "leased" => Some(Color::Cyan),
        "cancelled" | "expired" | "cordoned" | "draining" => Some(Color::Yellow),
        _ => None,
    }
}

/// Lines of `name  value` with the values below each other; values over several lines stay together.
pub(crate) fn fields(lines: &[(&str, String)]) -> String {
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        let value = value.replace('\n', &format!("\n{:1$}", "", width + 2));
        text.push_str(&format!("{name:width$}  {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_take_over_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[2Jb\r\nc\u{9b}"),
            "a\u{fffd}[2Jb\u{fffd}\nc\u{fffd}"
        );
    }

    #[test]
    fn values_over_several_lines_stay_in_their_column() {
        let lines = [
            ("a", "1\n2".to_owned()),
            ("long", "3".to_owned()),
            ("none", String::new()),
        ];
        assert_eq!(fields(&lines), "a     1\n      2\nlong  3\n");
    }
}
