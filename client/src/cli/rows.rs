//! Where the rows of a submission come from: sweeps, a CSV or JSONL file, or nothing (one work without
//! parameters).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Map, Value};
use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::sweep::Product;
use wire_protocol::template::row;

use super::exit::{Exit, Failure};

/// How `--from` is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum FileFormat {
    /// Comma-separated values; the first line names the columns.
    Csv,
    /// One JSON object a line; the keys of the first name the columns.
    Jsonl,
}

/// Rows of parameters.
#[derive(Debug)]
pub(crate) enum Parameters {
    /// One work without parameters.
    None,
    /// Computed.
    Sweep(Product),
    /// Read.
    Table(Table),
}

/// Rows that were read from a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Parameters {
    /// Reads `--from`; `-` is standard input, whose format must be said.
    pub(crate) fn from_file(path: &Path, format: Option<FileFormat>) -> Result<Self, Failure> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let format = match (format, extension) {
            (Some(format), _) => format,
            (None, Some("csv")) => FileFormat::Csv,
            (None, Some("jsonl" | "ndjson")) => FileFormat::Jsonl,
            (None, _) => {
                let message = format!("the format of {} cannot be told from its name", path.display());
                return Err(Failure::usage(message).cure("give --format csv or --format jsonl"));
            }
        };
        let cannot = |error: io::Error| {
            Failure::caused(Exit::Config, format!("cannot read {}", path.display()), &error)
        };
        let mut text = String::new();
        if path == Path::new("-") {
            io::stdin().read_to_string(&mut text).map_err(cannot)?;
        } else {
            File::open(path)
                .and_then(|mut file| file.read_to_string(&mut text))
                .map_err(cannot)?;
        }
        let table = match format {
            FileFormat::Csv => Table::from_csv(&text),
            FileFormat::Jsonl => Table::from_jsonl(&text),
        };
        let named = |problem| Failure::usage(format!("{}: {problem}", path.display()));
        Ok(Self::Table(table.map_err(named)?))
    }

    pub(crate) fn columns(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Sweep(product) => product.columns(),
            Self::Table(table) => table.columns.clone(),
        }
    }

    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::None => 1,
            Self::Sweep(product) => product.count(),
            Self::Table(table) => u32::try_from(table.rows.len()).expect("bounded when it was read"),
        }
    }

    pub(crate) fn values(&self, row: u32) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Sweep(product) => product.values(row),
            Self::Table(table) => table.rows[row as usize].clone(),
        }
    }

    /// The rows as they are sent.
    pub(crate) fn encoded(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..self.len()).map(|index| {
            let values = self.values(index);
            let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
            row::join(&values)
        })
    }
}

impl Table {
    fn from_csv(text: &str) -> Result<Self, String> {
        let mut reader =
            csv::ReaderBuilder::new().from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let columns: Vec<String> = reader
            .headers()
            .map_err(|error| error.to_string())?
            .iter()
            .map(str::to_owned)
            .collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            rows.push(record.iter().map(str::to_owned).collect());
        }
        Self { columns, rows }.checked()
    }

    fn from_jsonl(text: &str) -> Result<Self, String> {
        let mut columns: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        for (index, line) in lines {
            let number = index + 1;
            let mut object: Map<String, Value> = serde_json::from_str(line)
                .map_err(|error| format!("line {number} is no JSON object: {error}"))?;
            if rows.is_empty() {
                columns = object.keys().cloned().collect();
            }
            let row: Option<Vec<String>> = columns
                .iter()
                .map(|column| object.remove(column).map(text_of))
                .collect();
            match row {
                Some(row) if object.is_empty() => rows.push(row),
                _ => {
                    return Err(format!(
                        "line {number} has other keys than the first; all lines need {}",
                        columns.join(", ")
                    ));
                }
            }
        }
        Self { columns, rows }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let mut names = HashSet::new();
        if let Some(twice) = self.columns.iter().find(|column| !names.insert(column.as_str())) {
            return Err(format!("the column `{twice}` is there twice"));
        }
        match self.rows.len() {
            0 => Err("there is no row, so there would be no work".to_owned()),
            rows if rows > BAG_ROWS_MAX as usize => Err(format!(
                "there are {rows} rows; at most {BAG_ROWS_MAX} fit in one submission, so split the file"
            )),
            _ => Ok(self),
        }
    }
}

/// A JSON value as a parameter: strings bare, null empty, everything else as JSON.
fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(columns: &[&str], rows: &[&[&str]]) -> Table {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Table {
            columns: owned(columns),
            rows: rows.iter().map(|row| owned(row)).collect(),
        }
    }

    #[test]
    fn csv_is_read_with_quotes_and_its_header() {
        let text = "\u{feff}scene,frame\ndawn,1\n\"a,\"\"b\"\"\",2\n\"two\nlines\",3\n";
        let expected = table(
            &["scene", "frame"],
            &[&["dawn", "1"], &["a,\"b\"", "2"], &["two\nlines", "3"]],
        );
        assert_eq!(Table::from_csv(text), Ok(expected));
    }

    #[test]
    fn jsonl_is_read_by_the_keys_of_its_first_line() {
        let text = "{\"scene\":\"dawn\",\"frame\":1}\n\n{\"frame\":2.5,\"scene\":null}\n{\"frame\":[1],\"scene\":true}\n";
        let expected = table(
            &["frame", "scene"],
            &[&["1", "dawn"], &["2.5", ""], &["[1]", "true"]],
        );
        let mut read = Table::from_jsonl(text).unwrap();
        // The order of columns is the order of keys that the JSON reader keeps.
        if read.columns == ["scene", "frame"] {
            read.columns.reverse();
            read.rows.iter_mut().for_each(|row| row.reverse());
        }
        assert_eq!(read, expected);
    }

    #[test]
    fn wrong_files_are_told_with_their_line() {
        let csv = |text| Table::from_csv(text).unwrap_err();
        let jsonl = |text| Table::from_jsonl(text).unwrap_err();
        assert!(csv("a,b\n1\n").contains("line: 2"), "{}", csv("a,b\n1\n"));
        assert!(csv("a,a\n1,2\n").contains("`a` is there twice"));
        assert!(csv("a\n").contains("no row"));
        assert!(csv("").contains("no row"));
        assert!(jsonl("").contains("no row"));
        assert!(jsonl("{\"a\":1}\n{\"b\":1}\n").contains("line 2 has other keys"));
        assert!(jsonl("{\"a\":1}\n{\"a\":1,\"b\":1}\n").contains("line 2 has other keys"));
        assert!(jsonl("{\"a\":1}\n[1]\n").contains("line 2 is no JSON object"));
    }

    #[test]
    fn the_format_of_standard_input_must_be_said() {
        let failure = Parameters::from_file(Path::new("-"), None).unwrap_err();
        assert!(failure.to_string().contains("--format csv"), "{failure}");
    }

    proptest! {
        #[test]
        fn a_table_written_as_csv_is_read_back(rows in prop::collection::vec(prop::collection::vec("\\PC{0,12}", 3), 1..20)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["a", "b", "c"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let read = Table::from_csv(&text).unwrap();
            prop_assert_eq!(read.rows, rows);
        }

        #[test]
        fn encoded_rows_split_into_their_values(rows in prop::collection::vec(prop::collection::vec("\\PC{0,12}", 2), 1..20)) {
            let columns = vec!["a".to_owned(), "b".to_owned()];
            let parameters = Parameters::Table(Table { columns, rows: rows.clone() });
            for (encoded, values) in parameters.encoded().zip(&rows) {
                let split = row::split(2, &encoded).unwrap();
                prop_assert_eq!(split, values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>());
            }
        }
    }
}
