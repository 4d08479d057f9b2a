//! What is said of an import.

use clap::{Args, Subcommand};
use sidecars_tables::{DatabaseOptions, PredecessorOptions};

#[derive(Subcommand, Debug)]
pub(crate) enum Import {
    /// Take over users, groups of users, apps and categories of XtremWeb-HEP, the scheduler of iExec V2
    #[command(after_help = "\
The predecessor's database is only read, in one state. Stop its scheduler first, so that nothing
is added behind the import. All comes over in one transaction, or nothing; it may be run again, and
then adds what is new there. What came over and was changed here stays as it is here.

  users       become accounts: SUPER_USER admin, ADVANCED_USER operator, STANDARD_USER user,
              WORKER_USER and VWORKER_USER worker; of other rights none. Their passwords, which are
              in clear there, are hashed here, and have to be changed at the first login. Who has
              none there cannot log in until somebody sets one
  usergroups  and who is in them
  apps        of the type DOCKER, with the image that XWDOCKERIMAGE names
  categories  with their limits of time, memory, disk and file; a category that is here stays

Works, results and files do not come over. A row of the same name that is here and did not come from
there is a conflict; then nothing is imported, unless --skip-conflicts leaves those rows out.

Exit code 0: done, or nothing would be in the way; 6: a conflict; 8: all but conflicts.

Examples:
  pool import xwhep --from mysql://root@old-db/iexec --from-password-file secrets/old --dry-run
  pool import xwhep --from mysql://root@old-db:3307/iexec --skip-conflicts -o json
")]
    Xwhep(Box<Xwhep>),
}

#[derive(Args, Debug)]
pub(crate) struct Xwhep {
    #[command(flatten)]
    pub(crate) from: PredecessorOptions,
    /// Say what would come over, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave out what cannot be told apart from what is here, and take over the rest
    #[arg(long)]
    pub(crate) skip_conflicts: bool,
    #[command(flatten)]
    pub(crate) into: DatabaseOptions,
}
