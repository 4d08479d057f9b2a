//! What an order's parameters ask for.
//!
//! A requester writes `params` when it buys; nobody has checked it. Two forms are read:
//!
//! - **A command line**: `--level 3 "a file.txt"`. Words are split at spaces; single and double quotes keep them together.
//! - **A JSON object** (a text that begins with `{`):
//!
//! | key | is |
//! | --- | --- |
//! | `cmdline` | a command line, as above |
//! | `command` | the same as a list of words; instead of `cmdline` |
//! | `envvars` | variables: `A=1;B=2`, or an object `{"A": "1"}` |
//! | `dirinuri` | a file that the work finds in its folder; a tar archive is unpacked |
//! | `stdinuri` | a file that it reads from its standard input |
//! | `sweep` | one or a list of `name=0..1023`, `name=0..90:15`, `name=a,b,c`: a work for each combination of values; `{name}` in command, variables and files stands for the value |
//! | `collect` | one or a list of patterns of files that are kept |
//!
//! The app's own parameters have the same form, with `"type": "DOCKER"` and the image as the variable `XWDOCKERIMAGE`; what
//! an order says goes before what the app says, and its words come behind the app's. Keys that are not known are passed
//! over and named: refusing them would lose the pool's stake for a word that some other tool has put there.

use std::fmt;

use serde_json::{Map, Value};
use wire_protocol::file::Source;
use wire_protocol::limits::ROW_BYTES_MAX;
use wire_protocol::placeholders;
use wire_protocol::sweep::{Product, Sweep};
use wire_protocol::template::{Input, InputFile, Outputs, WorkTemplate, row};

/// Bytes of parameters that are read at all. Gas bounds them too: 64 KiB cost a requester 40 million.
const PARAMS_BYTES_MAX: usize = 64 << 10;

/// The variable that names an image.
const IMAGE: &str = "XWDOCKERIMAGE";

/// The works that an order stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// What they have in common.
    pub template: WorkTemplate,
    /// Their rows.
    pub rows: Product,
    /// Keys that were passed over.
    pub ignored: Vec<String>,
}

/// Why an order cannot be run, for its requester.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamsError(String);

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParamsError {}

impl From<String> for ParamsError {
    fn from(problem: String) -> Self {
        Self(problem)
    }
}

impl Job {
    /// Whether it is a sweep, whose result is the root over all of its works.
    #[must_use]
    pub fn is_bag(&self) -> bool {
        !self.template.columns.is_empty()
    }

    /// A row as the engine takes it.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row: u32) -> Vec<u8> {
        let values = self.rows.values(row);
        let bytes: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        row::join(&bytes)
    }
}

/// The works that an order with these parameters stands for, on an app with those.
///
/// # Errors
/// A sentence that says what is wrong with which part.
pub fn parse(app: &str, params: &str) -> Result<Job, ParamsError> {
    let mut said = Said::read("the app's parameters", app)?;
    let order = Said::read("the order's parameters", params)?;
    said.take(order);
    let image = said.variable(IMAGE);
    let runs_in_docker = said.kind.as_deref() == Some("DOCKER") || image.is_some();
    let app = match image {
        Some(image) => format!("docker:{image}"),
        None if runs_in_docker => {
            return Err(format!("the app names no image; {IMAGE} in its `envvars` does").into());
        }
        None => "process".to_owned(),
    };
    let rows = Product::new(said.sweeps)?;
    let template = WorkTemplate {
        app,
        command: said.command,
        env: said
            .variables
            .into_iter()
            .filter(|(name, _)| name != IMAGE)
            .collect(),
        input: said.stdin.map_or(Input::None, Input::File),
        files: said.files,
        outputs: Outputs {
            collect: said.collect,
            consensus: None,
        },
        columns: rows.columns(),
        ..WorkTemplate::default()
    };
    check(&template, &rows)?;
    Ok(Job {
        template,
        rows,
        ignored: said.ignored,
    })
}

fn check(template: &WorkTemplate, rows: &Product) -> Result<(), ParamsError> {
    let variables = template.env.iter().map(|(_, value)| value);
    let sources = template.files.iter().map(|file| &file.source);
    let stdin = match &template.input {
        Input::File(source) => Some(source),
        _ => None,
    };
    for text in template
        .command
        .iter()
        .chain(variables)
        .chain(sources)
        .chain(stdin)
    {
        placeholders::check(text, &template.columns)?;
    }
    template
        .validate()
        .map_err(|invalid| ParamsError(invalid.to_string()))?;
    // Lists and numbers: the longest row is made of the longest values, and the first and last are long enough a look
    // for ranges.
    for row in [0, rows.count() - 1] {
        let bytes: usize = rows.values(row).iter().map(|value| value.len() + 8).sum();
        if bytes > ROW_BYTES_MAX {
            return Err(format!("row {row} of its sweeps is longer than {ROW_BYTES_MAX} bytes").into());
        }
    }
    Ok(())
}

/// What one of the two has said.
#[derive(Default)]
struct Said {
    kind: Option<String>,
    command: Vec<String>,
    variables: Vec<(String, String)>,
    files: Vec<InputFile>,
    stdin: Option<String>,
    sweeps: Vec<Sweep>,
    collect: Vec<String>,
    ignored: Vec<String>,
}

impl Said {
    fn read(whose: &str, text: &str) -> Result<Self, ParamsError> {
        if text.len() > PARAMS_BYTES_MAX {
            return Err(format!(
                "{whose} are {} bytes long; at most {PARAMS_BYTES_MAX} are read",
                text.len()
            )
            .into());
        }
        let about = |problem: String| ParamsError(format!("{whose}: {problem}"));
        if !text.trim_start().starts_with('{') {
            let command = words(text).map_err(about)?;
            return Ok(Self {
                command,
                ..Self::default()
            });
        }
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| about(format!("this is no JSON object: {error}")))?;
        let mut said = Self::default();
        for (key, value) in object {
            said.read_key(&key, &value)
                .map_err(|problem| about(format!("`{}`: {problem}", cut(&key))))?;
        }
        Ok(said)
    }

    fn read_key(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "type" => self.kind = Some(text(value)?.to_uppercase()),
            "cmdline" => self.command = words(text(value)?)?,
            "command" => self.command = list(value)?,
            "envvars" => self.variables = variables(value)?,
            "dirinuri" => self.files.push(file(text(value)?)?),
            "stdinuri" => self.stdin = Some(source(text(value)?)?),
            "sweep" => {
                let sweeps = list(value)?;
                self.sweeps = sweeps.iter().map(|text| sweep(text)).collect::<Result<_, _>>()?;
            }
            "collect" => self.collect = list(value)?,
            other => self.ignored.push(cut(other)),
        }
        Ok(())
    }

    /// The order's words, which go before the app's but for the command, to which they are added.
    fn take(&mut self, order: Self) {
        self.command.extend(order.command);
        self.variables
            .retain(|(name, _)| order.variables.iter().all(|(other, _)| other != name));
        self.variables.extend(order.variables);
        self.files.extend(order.files);
        self.stdin = order.stdin.or(self.stdin.take());
        self.sweeps.extend(order.sweeps);
        self.collect.extend(order.collect);
        self.ignored.extend(order.ignored);
    }

    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.clone())
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "a text is expected".to_owned())
}

/// One text, or a list of them.
fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(one) => Ok(vec![one.clone()]),
        Value::Array(many) => many.iter().map(|one| text(one).map(str::to_owned)).collect(),
        _ => Err("a text, or a list of texts, is expected".into()),
    }
}

fn variables(value: &Value) -> Result<Vec<(String, String)>, String> {
    match value {
        Value::Object(object) => {
            let pair = |(name, value): (&String, &Value)| Ok((name.clone(), text(value)?.to_owned()));
            object.iter().map(pair).collect()
        }
        value => text(value)?
            .split(';')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair
                    .split_once('=')
                    .ok_or_else(|| format!("`{}` has no `=`; write A=1;B=2", cut(pair)))?;
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect(),
    }
}

/// Where something comes from; with placeholders it is checked when they are filled in.
fn source(text: &str) -> Result<String, String> {
    if !text.contains('{') {
        Source::parse(text).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

fn file(uri: &str) -> Result<InputFile, String> {
    let source = source(uri)?;
    let path = uri.split(['#', '?']).next().unwrap_or_default();
    let name = path.rsplit(['/', ':']).next().unwrap_or_default();
    let unpack = [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end));
    let path = match (unpack, name) {
        (true, _) => ".",
        (false, "" | "." | "..") => "input",
        (false, name) => name,
    };
    Ok(InputFile {
        path: path.to_owned(),
        source,
        unpack,
    })
}

/// The words of a command line.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote is not closed in `{}`", cut(line)));
    }
    words.extend(word);
    Ok(words)
}

/// A sweep, whose name a requester has chosen.
fn sweep(text: &str) -> Result<Sweep, String> {
    let sweep: Sweep = text.parse()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if sweep.name().chars().all(is_name) {
        return Ok(sweep);
    }
    let name = cut(sweep.name());
    Err(format!(
        "`{name}` is no name of a parameter; use letters, digits, `-` and `_`"
    ))
}

/// The beginning of a stranger's text, for a message.
fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests;
