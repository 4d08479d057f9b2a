//! What a submission says about its works: one template for all of them, and a row of parameters each.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::file::{SOURCE_BYTES_MAX, Source};
use crate::joining::Address;
use crate::limits::{
    FILES_PER_WORK_MAX, LIST_LEN_MAX, NAME_BYTES_MAX, ROW_BYTES_MAX, TEMPLATE_BYTES_MAX, TICKET_BYTES_MAX,
};
use crate::placeholders;
use crate::resources::Packing;
use crate::units::{Bytes, Millis};

pub use crate::rows::{Rows, row};

/// All that the works of one bag have in common.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkTemplate {
    /// What runs the work: an executor, and after a colon what it needs to know
    /// (`process`, `null`, `docker:alpine@sha256:…`).
    pub app: String,
    /// The command and its arguments; `{column}` stands for the row's value of that column.
    pub command: Vec<String>,
    /// Environment variables of the command; values are expanded like arguments.
    pub env: Vec<(String, String)>,
    /// What the command reads from its standard input.
    pub input: Input,
    /// Files that are in its folder before it starts.
    pub files: Vec<InputFile>,
    /// What is kept of the files that it leaves in its folder.
    pub outputs: Outputs,
    /// Names of the parameters that each row gives values for. At most one: a row is the bare value.
    pub columns: Vec<String>,
    /// Which workers may run it.
    pub requirements: Requirements,
    /// 0 (last) to 9 (first); default 4. Within a tenant's share and across tenants, a higher priority goes first.
    pub priority: Priority,
    /// What the worker enforces while it runs.
    pub limits: Limits,
    /// What happens when an attempt fails or its worker is lost.
    pub retry: Retry,
    /// Time from acceptance after which a work that is not done becomes `Expired`. `None`: never.
    pub time_to_live: Option<Millis>,
    /// Free text for people and filters.
    pub label: String,
    /// The [`crate::category::Category`] whose ceilings are the limits that are not given, and which no limit may pass.
    /// `None`: limits are as they are given.
    pub category: Option<String>,
    /// What the worker needs to have its result taken elsewhere, by whoever is to pay for it (an order of a chain, say): bytes
    /// that mean nothing to the engine, at most [`TICKET_BYTES_MAX`]. None: nothing is to be done with it.
    pub ticket: Vec<u8>,
}

/// Where a command's standard input comes from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Input {
    /// It reads nothing.
    #[default]
    None,
    /// These bytes, for all works of the bag.
    Inline(Vec<u8>),
    /// The work's own row, as it stands.
    Row,
    /// A file, by its [`Source`], in which `{column}` stands for the row's value. Workers fetch it before they start
    /// the work.
    File(String),
}

/// A file that a work finds in its folder.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct InputFile {
    /// Where in the folder, relative to it.
    pub path: String,
    /// Where it comes from: a [`Source`], in which `{column}` stands for the row's value.
    pub source: String,
    /// It is a tar archive, and `path` the folder that it is unpacked into (`.`: the work's own).
    pub unpack: bool,
}

/// What is kept of the files of a work that has succeeded: one archive, and what of it is compared.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outputs {
    /// Patterns of files of the work's folder. `*` and `?` stop at `/`, `**` does not. None: nothing is kept.
    pub collect: Vec<String>,
    /// The file whose content counts when results of replicas are compared, relative to the folder. `None`: all that
    /// is kept.
    pub consensus: Option<String>,
}

impl Outputs {
    /// Nothing is kept and nothing compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.collect.is_empty() && self.consensus.is_none()
    }
}

/// Order of service: 9 goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u8);

impl Priority {
    /// The number of priorities.
    pub const COUNT: usize = 10;
    /// The most urgent one.
    pub const MAX: Self = Self(9);
}

impl Default for Priority {
    fn default() -> Self {
        Self(4)
    }
}

/// What a worker must have. An empty or zero field asks for nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Requirements {
    /// Operating system, as `std::env::consts::OS` spells it (`linux`).
    pub os: Option<String>,
    /// Processor architecture, as `std::env::consts::ARCH` spells it (`x86_64`).
    pub arch: Option<String>,
    /// Processor cores of the machine.
    pub cores: u32,
    /// Memory of the machine.
    pub memory: Bytes,
    /// Free disk space of the worker's folder.
    pub disk: Bytes,
    /// Graphics processors.
    pub gpus: u32,
    /// Tags that the worker must carry, all of them.
    pub tags: Vec<String>,
    /// A group that the worker must belong to.
    pub group: Option<String>,
    /// Further countable resources by name, each at most once.
    pub custom: Vec<(String, u64)>,
    /// The worker that has proved to hold this wallet, and no other.
    pub wallet: Option<Address>,
}

/// What a worker has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Offer {
    /// Executors it can run works with (`process`, `null`, `docker`).
    pub executors: Vec<String>,
    /// Operating system, as `std::env::consts::OS` spells it.
    pub os: String,
    /// Processor architecture, as `std::env::consts::ARCH` spells it.
    pub arch: String,
    /// Processor cores.
    pub cores: u32,
    /// Memory in all.
    pub memory: Bytes,
    /// Free disk space in its folder when it joined.
    pub disk: Bytes,
    /// Graphics processors.
    pub gpus: u32,
    /// Tags, for works that ask for them.
    pub tags: Vec<String>,
    /// Groups that it belongs to.
    pub groups: Vec<String>,
    /// Further countable resources by name.
    pub custom: Vec<(String, u64)>,
    /// Works that it runs at once.
    pub slots: u32,
    /// Works that it may hold beyond those that run, so that a free slot never waits for a round trip.
    pub prefill: u32,
    /// What decides how many works run at once.
    pub packing: Packing,
}

/// The first requirement that an offer does not meet, for people to read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unmet {
    /// Which requirement.
    pub what: String,
    /// What the work asks for.
    pub asked: String,
    /// What the worker has.
    pub offered: String,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the work asks for {}, the worker has {}",
            self.what, self.asked, self.offered
        )
    }
}

impl Requirements {
    /// Why a worker with this offer cannot run a work of this executor with these requirements, whatever its wallet.
    /// `None`: it can. Dispatch and explanations both ask here, so they never disagree.
    #[must_use]
    pub fn unmet(&self, executor: &str, offer: &Offer) -> Option<Unmet> {
        let unmet = |what: &str, asked: &dyn fmt::Display, offered: &dyn fmt::Display| {
            Some(Unmet {
                what: what.to_owned(),
                asked: asked.to_string(),
                offered: offered.to_string(),
            })
        };
        let list = |items: &[String]| {
            if items.is_empty() {
                "none".to_owned()
            } else {
                items.join(", ")
            }
        };
        if !offer.executors.iter().any(|has| has == executor) {
            return unmet("executor", &executor, &list(&offer.executors));
        }
        if let Some(os) = self.os.as_ref().filter(|os| **os != offer.os) {
            return unmet("os", os, &offer.os);
        }
        if let Some(arch) = self.arch.as_ref().filter(|arch| **arch != offer.arch) {
            return unmet("arch", arch, &offer.arch);
        }
        if self.cores > offer.cores {
            return unmet("cores", &self.cores, &offer.cores);
        }
        if self.memory > offer.memory {
            return unmet("memory", &self.memory, &offer.memory);
        }
        if self.disk > offer.disk {
            return unmet("disk", &self.disk, &offer.disk);
        }
        if self.gpus > offer.gpus {
            return unmet("gpus", &self.gpus, &offer.gpus);
        }
        if let Some(tag) = self.tags.iter().find(|tag| !offer.tags.contains(tag)) {
            return unmet("tag", tag, &list(&offer.tags));
        }
        if let Some(group) = self.group.as_ref().filter(|group| !offer.groups.contains(group)) {
            return unmet("group", group, &list(&offer.groups));
        }
        for (name, amount) in &self.custom {
            let has = offer
                .custom
                .iter()
                .find(|(has, _)| has == name)
                .map_or(0, |(_, has)| *has);
            if *amount > has {
                return unmet(name, amount, &has);
            }
        }
        None
    }

    /// The same for what it asks of a worker's wallet.
    #[must_use]
    pub fn unmet_by_wallet(&self, wallet: Option<Address>) -> Option<Unmet> {
        let asked = self.wallet.filter(|asked| Some(*asked) != wallet)?;
        Some(Unmet {
            what: "wallet".to_owned(),
            asked: asked.to_string(),
            offered: wallet.map_or_else(|| "none".to_owned(), |wallet| wallet.to_string()),
        })
    }
}

/// What the worker enforces while a work runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Time from start to end, then the work is killed. Default 5 min. Zero, in a submission with a category: the
    /// category's.
    pub wall_clock: Millis,
    /// Bytes kept of standard output and standard error together; the rest is dropped and the result
    /// marked as cut. Default and maximum 64 KiB less a few bytes.
    pub output: Bytes,
    /// Address space of each of its processes; zero: no limit of its own. Default zero.
    pub memory: Bytes,
    /// Processes and threads of the user at once; zero: no limit of its own. Default zero.
    pub processes: u32,
    /// What its folder may hold, inputs and outputs together; zero: what the worker's operator allows. Default zero.
    pub disk: Bytes,
    /// Bytes of the archive of its outputs; zero: what the pool's file store allows. Default zero.
    pub files: Bytes,
}

impl Limits {
    /// The most that [`Limits::output`] may say.
    pub const OUTPUT_MAX: Bytes = Bytes(crate::limits::RESULT_BYTES_MAX as u64 - 128);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall_clock: Millis::from_secs(300),
            output: Self::OUTPUT_MAX,
            memory: Bytes(0),
            processes: 0,
            disk: Bytes(0),
            files: Bytes(0),
        }
    }
}

/// What happens when an attempt does not succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, at least 1, at most 1 000. Default 3.
    pub attempts_max: u16,
    /// Wait before the second attempt; each further one waits twice as long. Jitter takes up to half of it away.
    pub backoff_min: Millis,
    /// The longest wait.
    pub backoff_max: Millis,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff_min: Millis(200),
            backoff_max: Millis::from_secs(60),
        }
    }
}

impl Default for WorkTemplate {
    fn default() -> Self {
        Self {
            app: "process".to_owned(),
            command: Vec::new(),
            env: Vec::new(),
            input: Input::None,
            files: Vec::new(),
            outputs: Outputs::default(),
            columns: Vec::new(),
            requirements: Requirements::default(),
            priority: Priority::default(),
            limits: Limits::default(),
            retry: Retry::default(),
            time_to_live: None,
            label: String::new(),
            category: None,
            ticket: Vec::new(),
        }
    }
}

/// A template that is refused, and why: nothing of the submission was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invalid {
    /// The field, as a path (`limits.output`).
    pub field: String,
    /// What is wrong with its value and what is allowed.
    pub problem: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl WorkTemplate {
    /// The part of [`WorkTemplate::app`] before the colon.
    #[must_use]
    pub fn executor(&self) -> &str {
        self.app
            .split_once(':')
            .map_or(self.app.as_str(), |(executor, _)| executor)
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        let refuse = |field: &str, problem: String| {
            Err(Invalid {
                field: field.to_owned(),
                problem,
            })
        };
        let lists: [(&str, usize); 6] = [
            ("command", self.command.len()),
            ("outputs.collect", self.outputs.collect.len()),
            ("env", self.env.len()),
            ("columns", self.columns.len()),
            ("requirements.tags", self.requirements.tags.len()),
            ("requirements.custom", self.requirements.custom.len()),
        ];
        if let Some((field, len)) = lists.into_iter().find(|(_, len)| *len > LIST_LEN_MAX) {
            return refuse(
                field,
                format!("has {len} entries; at most {LIST_LEN_MAX} are allowed"),
            );
        }
        let requirement_names = [
            ("requirements.os", &self.requirements.os),
            ("requirements.arch", &self.requirements.arch),
            ("requirements.group", &self.requirements.group),
        ];
        let names = [("app", &self.app), ("label", &self.label)]
            .into_iter()
            .chain(self.category.iter().map(|name| ("category", name)))
            .chain(self.columns.iter().map(|column| ("columns", column)))
            .chain(
                self.requirements
                    .tags
                    .iter()
                    .map(|tag| ("requirements.tags", tag)),
            )
            .chain(
                self.requirements
                    .custom
                    .iter()
                    .map(|(name, _)| ("requirements.custom", name)),
            )
            .chain(
                requirement_names
                    .into_iter()
                    .filter_map(|(field, name)| name.as_ref().map(|name| (field, name))),
            );
        for (field, name) in names {
            if name.len() > NAME_BYTES_MAX {
                return refuse(
                    field,
                    format!(
                        "is {} bytes long; at most {NAME_BYTES_MAX} are allowed",
                        name.len()
                    ),
                );
            }
        }
        if self.ticket.len() > TICKET_BYTES_MAX {
            return refuse(
                "ticket",
                format!(
                    "is {} bytes long; at most {TICKET_BYTES_MAX} are allowed",
                    self.ticket.len()
                ),
            );
        }
        if self.executor().is_empty() {
            return refuse("app", "is empty; give an executor such as `process`".to_owned());
        }
        if self.executor() == "process" && self.command.first().is_none_or(String::is_empty) {
            return refuse("command", "is empty; a process work needs a command".to_owned());
        }
        let custom = &self.requirements.custom;
        if let Some((_, (name, _))) = custom
            .iter()
            .enumerate()
            .find(|(i, (name, _))| custom[..*i].iter().any(|(other, _)| other == name))
        {
            return refuse("requirements.custom", format!("names `{name}` twice"));
        }
        if let Some((index, _)) = self
            .columns
            .iter()
            .enumerate()
            .find(|(i, c)| self.columns[..*i].contains(c))
        {
            return refuse("columns", format!("names `{}` twice", self.columns[index]));
        }
        if self
            .env
            .iter()
            .any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
        {
            return refuse(
                "env",
                "has a variable whose name is empty or holds `=`, or that holds a NUL byte".to_owned(),
            );
        }
        if self.command.iter().any(|text| text.contains('\0')) {
            return refuse("command", "holds a NUL byte".to_owned());
        }
        if let Input::Inline(input) = &self.input
            && input.len() > ROW_BYTES_MAX
        {
            return refuse(
                "input",
                format!(
                    "is {} bytes long; at most {ROW_BYTES_MAX} are allowed inline",
                    input.len()
                ),
            );
        }
        self.validate_files()?;
        if self.priority > Priority::MAX {
            return refuse(
                "priority",
                format!("is {}; 0 to {} are allowed", self.priority.0, Priority::MAX.0),
            );
        }
        if self.limits.output > Limits::OUTPUT_MAX {
            let Bytes(max) = Limits::OUTPUT_MAX;
            return refuse(
                "limits.output",
                format!("is {} bytes; at most {max} are allowed", self.limits.output.0),
            );
        }
        if self.limits.wall_clock.0 == 0 && self.category.is_none() {
            return refuse(
                "limits.wall_clock",
                "is zero; a work needs time to run".to_owned(),
            );
        }
        if self.retry.attempts_max == 0 || self.retry.attempts_max > 1_000 {
            return refuse(
                "retry.attempts_max",
                format!("is {}; 1 to 1000 are allowed", self.retry.attempts_max),
            );
        }
        let encoded_bytes = postcard::to_stdvec(self).map_or(usize::MAX, |encoded| encoded.len());
        if encoded_bytes > TEMPLATE_BYTES_MAX {
            return refuse(
                "template",
                format!("is {encoded_bytes} bytes long; at most {TEMPLATE_BYTES_MAX} are allowed"),
            );
        }
        Ok(())
    }
    fn validate_files(&self) -> Result<(), Invalid> {
        let refuse = |field: &str, problem: String| {
            Err(Invalid {
                field: field.to_owned(),
                problem,
            })
        };
        if self.files.len() > FILES_PER_WORK_MAX {
            return refuse(
                "files",
                format!(
                    "has {} entries; at most {FILES_PER_WORK_MAX} are allowed",
                    self.files.len()
                ),
            );
        }
        let has_files = !self.files.is_empty() || !self.outputs.is_empty();
        if has_files && matches!(self.executor(), "null" | "sleep") {
            return refuse(
                "files",
                format!("a work of `{}` has no folder to put them in", self.executor()),
            );
        }
        for (index, file) in self.files.iter().enumerate() {
            if !(file.unpack && file.path == ".")
                && let Err(problem) = check_path(&file.path)
            {
                return refuse("files.path", format!("`{}` {problem}", file.path));
            }
            if self.files[..index].iter().any(|other| other.path == file.path) {
                return refuse("files.path", format!("names `{}` twice", file.path));
            }
        }
        let stdin = match &self.input {
            Input::File(source) => Some(("input", source)),
            _ => None,
        };
        for (field, source) in self
            .files
            .iter()
            .map(|file| ("files.source", &file.source))
            .chain(stdin)
        {
            if source.len() > SOURCE_BYTES_MAX {
                return refuse(field, format!("is longer than {SOURCE_BYTES_MAX} bytes"));
            }
            match placeholders::check(source, &self.columns) {
                Err(problem) => return refuse(field, problem),
                Ok(true) => {}
                // Without a row's values it is the same for all works.
                Ok(false) => {
                    if let Err(problem) = self.source(source, &[]) {
                        return refuse(field, problem);
                    }
                }
            }
        }
        for pattern in &self.outputs.collect {
            if let Err(problem) = check_path(pattern) {
                return refuse("outputs.collect", format!("`{pattern}` {problem}"));
            }
        }
        if let Some(path) = &self.outputs.consensus
            && let Err(problem) = check_path(path)
        {
            return refuse("outputs.consensus", format!("`{path}` {problem}"));
        }
        Ok(())
    }

    fn source(&self, text: &str, values: &[&[u8]]) -> Result<Source, String> {
        let text = placeholders::expand(text, &self.columns, values, SOURCE_BYTES_MAX)?;
        let text = core::str::from_utf8(&text).map_err(|_| "the name of a file is no UTF-8".to_owned())?;
        Source::parse(text).map_err(|error| error.to_string())
    }

    /// Where the files of the work with this row come from: those of [`WorkTemplate::files`] in order, and then that
    /// of the standard input, if it is one. The error is a sentence for whoever submitted it.
    ///
    /// # Errors
    /// The row does not fit the template, or with its values a source is none.
    pub fn sources(&self, row: &[u8]) -> Result<Vec<Source>, String> {
        let values = row::split(self.columns.len(), row)
            .map_err(|error| format!("the row does not fit {} columns: {error}", self.columns.len()))?;
        let stdin = match &self.input {
            Input::File(source) => Some(source),
            _ => None,
        };
        self.files
            .iter()
            .map(|file| &file.source)
            .chain(stdin)
            .map(|source| self.source(source, &values))
            .collect()
    }
}

/// A path, or a pattern of paths, that stays below the folder it is relative to.
fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        Err("is empty")
    } else if path.len() > NAME_BYTES_MAX {
        Err("is longer than 256 bytes")
    } else if path.contains(['\0', '\\']) {
        Err("has a NUL or a backslash in it")
    } else if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        Err("is no plain path relative to the work's folder: no `/` at either end, no `.`, no `..`")
    } else {
        Ok(())
    }
}
