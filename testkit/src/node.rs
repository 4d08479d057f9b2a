//! A node of Ethereum that says what a test wants, or stands before a real one and delays, cuts and changes what it says.
//!
//! It speaks just enough HTTP: a request, an answer, and the connection is closed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What a node does with a request, which may be a batch.
pub enum Said {
    /// Answers this, with status 200.
    Json(Value),
    /// Answers with a status, headers (`retry-after: 1`) and a body of its own.
    Http(u16, &'static str, String),
    /// Asks the real node, and answers with what becomes of its answer.
    Forward(SocketAddr, fn(&Value, Value) -> Value),
    /// Does that only after a while.
    Later(Duration, Box<Said>),
    /// Closes the connection in the middle of an answer.
    Cut,
    /// Never answers.
    Nothing,
}

/// A node. Dropped, its port is closed.
#[derive(Debug)]
pub struct FakeNode {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl FakeNode {
    /// One that does this with each request.
    ///
    /// # Panics
    /// There is no port on loopback.
    pub async fn start(react: impl Fn(&Value) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its own");
        let heard = Arc::<Mutex<Vec<Value>>>::default();
        let (all, react) = (Arc::clone(&heard), Arc::new(react));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (heard, react) = (Arc::clone(&all), Arc::clone(&react));
                tokio::spawn(async move {
                    let Some(request) = read_body(&mut stream).await else {
                        return;
                    };
                    heard.lock().expect("nobody panics with it").push(request.clone());
                    let said = react(&request);
                    // Whoever asked may be gone.
                    let _ = answer(&mut stream, &request, said).await;
                });
            }
        });
        Self { address, heard, task }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that it was asked, in order.
    ///
    /// # Panics
    /// A reaction has.
    #[must_use]
    pub fn heard(&self) -> Vec<Value> {
        self.heard.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(stream: &mut TcpStream, request: &Value, said: Said) -> std::io::Result<()> {
    let mut said = said;
    while let Said::Later(after, then) = said {
        sleep(after).await;
        said = *then;
    }
    let (status, headers, body) = match said {
        Said::Json(value) => (200, "", value.to_string()),
        Said::Http(status, headers, body) => (status, headers, body),
        Said::Forward(to, change) => match forward(to, request).await {
            Some(value) => (200, "", change(request, value).to_string()),
            None => (502, "", String::new()),
        },
        Said::Cut => {
            return stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"js")
                .await;
        }
        Said::Nothing | Said::Later(..) => {
            sleep(Duration::from_secs(3_600)).await;
            return Ok(());
        }
    };
    let headers = if headers.is_empty() {
        String::new()
    } else {
        format!("{headers}\r\n")
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

async fn forward(to: SocketAddr, request: &Value) -> Option<Value> {
    let mut stream = TcpStream::connect(to).await.ok()?;
    let body = request.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()?;
    read_body(&mut stream).await
}

/// The body of a request or an answer whose length its head says.
async fn read_body(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        if let Some(body) = body_of(&bytes) {
            return serde_json::from_slice(body).ok();
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn body_of(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    let body = &bytes[end + 4..];
    body.get(..length.trim().parse().ok()?)
}
