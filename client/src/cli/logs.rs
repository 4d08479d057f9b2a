//! `pool work logs`: what a work prints, while it runs or out of its result.

use std::io::{self, Write};

use client::{Client, LogEvent, LogOptions, Logs};
use serde::Serialize;
use wire_protocol::ids::{Attempt, WorkId, WorkerId};
use wire_protocol::log::LogStream;
use wire_protocol::view::WorkState;

use super::Context;
use super::args::{Format, LogArgs};
use super::exit::{Exit, Failure};
use super::output::json_line;
use super::views::output_of;

pub(crate) async fn run(context: &Context, args: LogArgs) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let work = args.work.resolve(&client).await?;
    let options = args.options();
    let mut printer = Printer {
        out: io::stdout(),
        json: context.output.format != Format::Table,
        work,
        both: options.stdout && options.stderr,
        worker: None,
        torn: Default::default(),
    };
    let mut logs = client.logs(work, options);
    while let Some(event) = logs.next().await? {
        match event {
            LogEvent::Output {
                attempt,
                worker,
                stream,
                missing,
                bytes,
            } => {
                let worker = Some(worker);
                printer.output(attempt, worker, stream, missing, &bytes)?;
            }
            LogEvent::AttemptEnded { attempt } => printer.attempt_ended(attempt)?,
            LogEvent::Ended { attempt, state } => {
                if let WorkState::Done(_) = state {
                    printer.rest(&client, &logs, options).await?;
                } else if attempt == Attempt(0) || state == WorkState::Queued {
                    let message = format!("{work} is {state} and has printed nothing that is kept yet");
                    let cure = format!("`pool work logs -f {work}` waits for what it prints");
                    return Err(Failure::new(Exit::Conflict, message).cure(cure));
                }
                printer.ended(attempt, state)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Prints bytes as they are, or lines of JSON.
struct Printer<W> {
    out: W,
    json: bool,
    work: WorkId,
    /// Both streams are printed, each to its own; one alone goes to standard output.
    both: bool,
    /// Who printed what came last.
    worker: Option<WorkerId>,
    /// The beginning of a letter whose rest has not come, of each stream; for JSON, which is text.
    torn: [Vec<u8>; 2],
}

#[derive(Serialize)]
struct OutputJson<'a> {
    work: WorkId,
    attempt: u16,
    worker: Option<WorkerId>,
    stream: LogStream,
    /// Bytes that were left out before the text.
    missing: u64,
    /// What is not UTF-8 is replaced.
    text: &'a str,
}

#[derive(Serialize)]
struct EndJson {
    work: WorkId,
    attempt: u16,
    /// Where the work is; none: the next attempt is followed.
    state: Option<String>,
}

impl<W: Write> Printer<W> {
    fn output(
        &mut self,
        attempt: Attempt,
        worker: Option<WorkerId>,
        stream: LogStream,
        missing: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        if self.json {
            return self.line(attempt, worker, stream, missing, bytes);
        }
        if missing > 0 {
            writeln!(io::stderr(), "… {missing} bytes left out")?;
        }
        match stream {
            LogStream::Stderr if self.both => write_all(io::stderr().lock(), bytes),
            _ => write_all(&mut self.out, bytes),
        }
    }

    fn line(
        &mut self,
        attempt: Attempt,
        worker: Option<WorkerId>,
        stream: LogStream,
        missing: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.worker = worker;
        if missing > 0 {
            self.flush(attempt, stream)?;
        }
        let torn = &mut self.torn[usize::from(stream == LogStream::Stderr)];
        let mut text = std::mem::take(torn);
        text.extend_from_slice(bytes);
        *torn = text.split_off(whole_letters(&text));
        if text.is_empty() && missing == 0 {
            return Ok(());
        }
        self.json_line(attempt, stream, missing, &text)
    }

    /// What waits for the rest of a letter that does not come any more.
    fn flush(&mut self, attempt: Attempt, stream: LogStream) -> io::Result<()> {
        let torn = std::mem::take(&mut self.torn[usize::from(stream == LogStream::Stderr)]);
        if torn.is_empty() {
            return Ok(());
        }
        self.json_line(attempt, stream, 0, &torn)
    }

    fn json_line(
        &mut self,
        attempt: Attempt,
        stream: LogStream,
        missing: u64,
        text: &[u8],
    ) -> io::Result<()> {
        let json = OutputJson {
            work: self.work,
            attempt: attempt.0,
            worker: self.worker,
            stream,
            missing,
            text: &String::from_utf8_lossy(text),
        };
        writeln!(self.out, "{}", json_line("log", json))?;
        self.out.flush()
    }

    fn attempt_ended(&mut self, attempt: Attempt) -> io::Result<()> {
        if self.json {
            return self.end(attempt, None);
        }
        writeln!(
            io::stderr(),
            "attempt {} of {} has ended; waits for the next",
            attempt.0,
            self.work
        )
    }

    fn ended(&mut self, attempt: Attempt, state: WorkState) -> io::Result<()> {
        if self.json {
            self.end(attempt, Some(state))?;
        }
        Ok(())
    }

    fn end(&mut self, attempt: Attempt, state: Option<WorkState>) -> io::Result<()> {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            self.flush(attempt, stream)?;
        }
        let end = EndJson {
            work: self.work,
            attempt: attempt.0,
            state: state.map(|state| state.to_string()),
        };
        writeln!(self.out, "{}", json_line("log-end", end))?;
        self.out.flush()
    }

    /// What stands in the result of a work that is done, and was not heard while it ran.
    async fn rest(&mut self, client: &Client, logs: &Logs, options: LogOptions) -> Result<(), Failure> {
        let detail = client.work(self.work).await?;
        let (attempt, worker) = (detail.work.attempt, detail.work.worker);
        let output = output_of(&detail);
        let streams = [
            (
                LogStream::Stdout,
                options.stdout,
                output.stdout,
                output.stdout_cut,
            ),
            (
                LogStream::Stderr,
                options.stderr,
                output.stderr,
                output.stderr_cut,
            ),
        ];
        for (stream, wanted, stored, cut) in streams {
            let position = logs.position(attempt, stream);
            let heard = usize::try_from(position).unwrap_or(usize::MAX);
            if !wanted || heard > stored.len() {
                continue;
            }
            if !stored[heard..].is_empty() {
                self.output(attempt, worker, stream, 0, &stored[heard..])?;
            }
            if cut {
                writeln!(io::stderr(), "the rest was not kept: results hold 64 KiB")?;
            }
        }
        Ok(())
    }
}

fn write_all(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// How much of this is not the beginning of a letter that goes on behind it.
fn whole_letters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // A byte that is wrong for itself: what follows is looked at alone.
        Err(error) => {
            let behind = error.valid_up_to() + error.error_len().unwrap_or(0);
            behind + whole_letters(&bytes[behind..])
        }
        Ok(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_comes_in_two_pieces_is_not_torn() {
        assert_eq!(whole_letters("süß".as_bytes()), 5);
        assert_eq!(whole_letters(&"süß".as_bytes()[..4]), 3);
        assert_eq!(whole_letters(b"a\xffb\xc3"), 3, "wrong bytes are whole");
        assert_eq!(whole_letters(b""), 0);
    }
    #[test]
    fn the_beginning_of_a_letter_is_told_when_its_rest_does_not_come() {
        let mut printer = Printer {
            out: Vec::new(),
            json: true,
            work: WorkId(1),
            both: true,
            worker: None,
            torn: Default::default(),
        };
        let (attempt, worker) = (Attempt(1), Some(WorkerId(7)));
        let mut stdout = |missing, bytes: &[u8]| {
            let told = printer.output(attempt, worker, LogStream::Stdout, missing, bytes);
            told.expect("memory takes it");
        };
        stdout(0, b"s\xc3");
        stdout(0, b"\xbc\xc3");
        stdout(40, b"\xc3");
        stdout(0, b"\x9f\xc3");
        printer.attempt_ended(attempt).expect("memory takes it");
        let lines: Vec<serde_json::Value> = printer
            .out
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect();
        let told: Vec<_> = lines[..lines.len() - 1]
            .iter()
            .map(|line| {
                let text = line["text"].as_str().expect("text").to_owned();
                (line["missing"].as_u64().expect("a number"), text)
            })
            .collect();
        let line = |missing, text: &str| (missing, text.to_owned());
        assert_eq!(
            told,
            [
                line(0, "s"),
                line(0, "ü"),
                line(0, "\u{fffd}"),
                line(40, ""),
                line(0, "ß"),
                line(0, "\u{fffd}"),
            ]
        );
        assert_eq!(lines[lines.len() - 1]["attempt"], 1);
    }
}
