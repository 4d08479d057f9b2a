//! A listening unix socket that only its owner can open.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use mio::net::UnixListener;
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Why the feed's socket could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another process listens there: two engines on one folder.
    #[error("{} is in use by another process; stop it, or give this one another folder", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket has this name.
    #[error("{} exists and is not a socket; move it away", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("cannot {step} {}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// The socket.
        path: PathBuf,
        /// What it said. A path of more than 107 bytes is too long for a socket.
        source: io::Error,
    },
}

/// The listener, and the file that it leaves when it goes.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that stays is taken for the stale socket that it is by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens at `path`, which gets mode 0600. A socket that a crashed process left there is replaced.
pub(crate) fn listen(path: &Path) -> Result<Socket, BindError> {
    let io = |step| {
        move |source: io::Error| BindError::Io {
            step,
            path: path.to_owned(),
            source,
        }
    };
    remove_stale(path)?;
    let address = SocketAddrUnix::new(path).map_err(|error| io("name the socket")(error.into()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| io("make the socket")(error.into()))?;
    // Linux gives the file the mode of the socket, so that it is never open to others, not even for a moment.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)
        .map_err(|error| io("restrict the socket")(error.into()))?;
    rustix::net::bind(&socket, &address).map_err(|error| io("bind")(error.into()))?;
    rustix::net::listen(&socket, BACKLOG).map_err(|error| io("listen at")(error.into()))?;
    // Elsewhere the mode of the socket has no effect on the file.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(|error| io("restrict")(error.into()))?;
    let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket));
    Ok(Socket {
        listener,
        path: path.to_owned(),
    })
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let path = path.to_owned();
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path });
    }
    if UnixStream::connect(&path).is_ok() {
        return Err(BindError::InUse { path });
    }
    fs::remove_file(&path).map_err(|source| BindError::Io {
        step: "remove the stale",
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_owner_may_open_the_socket_and_it_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("feed.sock");
        let socket = listen(&path).expect("a free name");
        let mode = fs::metadata(&path)
            .expect("the socket's file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(listen(&path), Err(BindError::InUse { .. })));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_another_file_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("feed.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a free name"));
        assert!(path.exists(), "it died without cleaning up");
        listen(&path).expect("nobody listens there");

        fs::write(&path, "precious").expect("a free name");
        assert!(matches!(listen(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error_that_names_it() {
        let path = PathBuf::from("/tmp").join("x".repeat(120));
        let error = listen(&path).expect_err("107 bytes are the most");
        assert!(error.to_string().contains("xxx"), "{error}");
    }
}
