//! A server on loopback that answers what a test tells it to, one request per connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::registry::driver::Document;

/// What came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    head: String,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What happens after the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The connection is closed.
    Close,
    /// Nothing, for a long time.
    Hang,
    /// The body goes on without end.
    Endless,
}

/// What goes.
pub(super) struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    length: Option<u64>,
    then: Then,
}

impl Reply {
    pub(super) fn new(status: u16) -> Reply {
        Reply { status, headers: String::new(), body: Vec::new(), length: Some(0), then: Then::Close }
    }

    /// Nothing at all: the connection is closed.
    pub(super) fn hang_up() -> Reply {
        Reply::new(0)
    }

    pub(super) fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply::new(200).body(body)
    }

    pub(super) fn document(document: &Document) -> Reply {
        Reply::ok(document.bytes.to_vec()).header("Content-Type", &document.descriptor.media_type)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self.length = Some(self.body.len() as u64);
        self
    }

    /// Announces another length than the body has, or none.
    pub(super) fn length(mut self, length: impl Into<Option<u64>>) -> Reply {
        self.length = length.into();
        self
    }

    pub(super) fn then(mut self, then: Then) -> Reply {
        self.then = then;
        self
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// The server; it ends with its guard.
pub(super) struct Scripted {
    /// `127.0.0.1:port`.
    pub(super) host: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    connections: Mutex<usize>,
    sent: Mutex<u64>,
}

impl Scripted {
    /// Answers with what `script` makes of a request and of how many came before it. Who speaks TLS is hung up on.
    pub(super) async fn start(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let seen = Arc::new(Seen::default());
        let script: Arc<Script> = Arc::new(script);
        let for_task = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *for_task.connections.lock().expect("lock") += 1;
                tokio::spawn(serve(stream, script.clone(), for_task.clone()));
            }
        });
        Scripted { host, seen, task }
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().expect("lock").clone()
    }

    /// How many connections there were, also those that made no request.
    pub(super) fn connections(&self) -> usize {
        *self.seen.connections.lock().expect("lock")
    }

    /// How many bytes of bodies could be sent.
    pub(super) fn sent(&self) -> u64 {
        *self.seen.sent.lock().expect("lock")
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, seen: Arc<Seen>) {
    let Some(request) = receive(&mut stream).await else { return };
    let before = {
        let mut requests = seen.requests.lock().expect("lock");
        requests.push(request.clone());
        requests.len() - 1
    };
    let reply = script(&request, before);
    if reply.status == 0 {
        return;
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\nConnection: close\r\n{}", reply.status, reply.headers);
    if let Some(length) = reply.length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&reply.body).await.is_err() {
        return;
    }
    match reply.then {
        Then::Close => {}
        Then::Hang => tokio::time::sleep(Duration::from_secs(3600)).await,
        Then::Endless => {
            let block = [b' '; 16 << 10];
            while stream.write_all(&block).await.is_ok() {
                *seen.sent.lock().expect("lock") += block.len() as u64;
            }
        }
    }
    let _ = stream.shutdown().await;
    // Closing with unread input would throw away what the client has not read yet.
    let _ = stream.read(&mut [0; 1024]).await;
}

async fn receive(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        // A TLS record begins with its type; 22 is a handshake.
        if bytes.first() == Some(&22) || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut first = head.lines().next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let mut request = Request { method, target, head, body: String::new() };
    let length: usize = request.header("content-length").unwrap_or("0").parse().ok()?;
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}
