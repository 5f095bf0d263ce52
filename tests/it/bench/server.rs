//! A server with as much of a hub as the load needs, and one fault.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// What is for one goes to all: which is none where it is for all.
    Broadcasts,
    /// Every fifth message comes twice.
    Doubles,
    /// Every fifth message comes to nobody.
    Loses,
    /// Every fifth message comes after the next.
    Reorders,
    /// With the fifth message it closes a stream.
    Closes,
    /// It takes no message after the fifth.
    IsBusy,
    TakesNoStream,
}

/// It serves until it is dropped.
pub struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    fault: Fault,
    ends: AtomicBool,
    /// Every socket, to be shut down at the end.
    sockets: Mutex<Vec<TcpStream>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: Vec<TcpStream>,
    requests: Vec<String>,
    messages: usize,
    held_back: Option<String>,
}

impl Fake {
    pub fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            fault,
            ends: AtomicBool::new(false),
            sockets: Mutex::default(),
            state: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || serving.accept(&listener));
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The text of every request.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().requests.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        // The listener looks again.
        drop(TcpStream::connect(self.address));
        for socket in &*self.shared.sockets.lock().unwrap() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut connections = Vec::new();
        for socket in listener.incoming() {
            if self.ends.load(Ordering::Acquire) {
                break;
            }
            let socket = socket.expect("a connection");
            let handle = socket.try_clone().expect("a handle");
            self.sockets.lock().unwrap().push(handle);
            let serving = Arc::clone(self);
            connections.push(std::thread::spawn(move || serving.serve(socket)));
        }
        for connection in connections {
            connection.join().expect("it was served");
        }
    }

    fn serve(&self, mut socket: TcpStream) {
        let mut reader = BufReader::new(socket.try_clone().expect("a handle"));
        while let Some((head, body)) = request(&mut reader) {
            let mut state = self.state.lock().unwrap();
            state.requests.push(format!("{head}{body}"));
            if head.starts_with("GET ") {
                if self.fault == Fault::TakesNoStream {
                    let _ = socket.write_all(BUSY);
                    continue;
                }
                let _ = socket.write_all(WELCOME);
                state.streams.push(socket.try_clone().expect("a handle"));
            } else {
                state.messages += 1;
                let is_busy = self.fault == Fault::IsBusy && state.messages > 5;
                let _ = socket.write_all(if is_busy { BUSY } else { CREATED });
                if !is_busy {
                    state.deliver(self.fault, body);
                }
            }
        }
    }
}

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfull";
const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
const WELCOME: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
    id: e-1\nevent: connected\ndata: {}\n\n\
    data: of an earlier run: ~T1600000000000000000~\n\n";

/// The head of a request and its body; none at the end of a connection.
fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.map_or(0, |it| it.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).expect("UTF-8")))
}

impl State {
    fn deliver(&mut self, fault: Fault, message: String) {
        let is_fifth = self.messages.is_multiple_of(5);
        match fault {
            Fault::Loses if is_fifth => return,
            Fault::Doubles if is_fifth => self.send(&message),
            Fault::Closes if is_fifth => {
                let _ = self.streams[0].shutdown(Shutdown::Both);
            }
            Fault::Reorders if is_fifth => {
                self.held_back = Some(message);
                return;
            }
            _ => {}
        }
        self.send(&message);
        if let Some(earlier) = self.held_back.take() {
            self.send(&earlier);
        }
    }

    fn send(&mut self, message: &str) {
        for stream in &mut self.streams {
            let _ = write!(stream, "data: {message}\n\n");
        }
    }
}
