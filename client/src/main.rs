//! `pool`: every verb of a pool on the command line. See [`cli`].

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
