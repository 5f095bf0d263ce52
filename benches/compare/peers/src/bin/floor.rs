//! `floor PORT`: what a broadcast costs at least. One thread that waits for sockets and sends: GET subscribes, POST
//! sends its body as one event to every subscriber and answers 202. There is no store, no sign-in, no queue and no user;
//! a subscriber that does not take an event whole is closed.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
/// As Linux allows: connections that wait for a server which is busy sending are not to be lost.
const BACKLOG: i32 = 4096;
const LARGEST_REQUEST: usize = 64 * 1024;

const SUBSCRIBED: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
const REFUSED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

struct Connection {
    socket: TcpStream,
    subscribed: bool,
}

enum Request<'a> {
    Subscribe,
    Publish(&'a [u8]),
    /// Anything else, and what did not come in one piece: a load on the same machine sends it in one.
    Other,
}

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .ok_or("usage: floor PORT")?
        .parse()?;
    let mut listener = listen(port)?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Slab::new();
    let mut buffer = vec![0; LARGEST_REQUEST];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
            } else if !serve(event, &mut connections, &mut buffer) || event.is_read_closed() {
                connections.try_remove(event.token().0);
            }
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nodelay(true)?;
        let place = connections.vacant_entry();
        poll.registry()
            .register(&mut socket, Token(place.key()), Interest::READABLE)?;
        place.insert(Connection {
            socket,
            subscribed: false,
        });
    }
}

/// Whether the connection lives on.
fn serve(event: &Event, connections: &mut Slab<Connection>, buffer: &mut [u8]) -> bool {
    let Some(connection) = connections.get_mut(event.token().0) else {
        return true;
    };
    let read = match connection.socket.read(buffer) {
        Ok(0) => return false,
        Ok(read) => read,
        Err(error) => return error.kind() == ErrorKind::WouldBlock,
    };
    match request(&buffer[..read]) {
        Request::Subscribe => {
            connection.subscribed = true;
            sent(&mut connection.socket, SUBSCRIBED)
        }
        Request::Publish(body) => {
            let answered = sent(&mut connection.socket, ACCEPTED);
            broadcast(connections, body);
            answered
        }
        Request::Other => {
            sent(&mut connection.socket, REFUSED);
            false
        }
    }
}

fn broadcast(connections: &mut Slab<Connection>, body: &[u8]) {
    let chunk = chunk(body);
    connections
        .retain(|_, connection| !connection.subscribed || sent(&mut connection.socket, &chunk));
}

fn chunk(body: &[u8]) -> Vec<u8> {
    let event = [b"data: ", body, b"\n\n"].concat();
    [format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n"].concat()
}

fn sent(socket: &mut TcpStream, bytes: &[u8]) -> bool {
    matches!(socket.write(bytes), Ok(written) if written == bytes.len())
}

fn request(bytes: &[u8]) -> Request<'_> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Request::Other;
    };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    match length(head) {
        None if head.starts_with(b"GET ") => Request::Subscribe,
        Some(length) if head.starts_with(b"POST ") && length == body.len() => {
            Request::Publish(body)
        }
        _ => Request::Other,
    }
}

fn length(head: &[u8]) -> Option<usize> {
    std::str::from_utf8(head).ok()?.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })
}
