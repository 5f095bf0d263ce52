//! The streams: many sockets, opened a few at a time and read as they have something.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::answer::{self, Head};
use super::histogram::Histogram;
use super::marks::{self, Scanner};
use super::tally::Tally;

/// So many are being connected at a time, at most: more would overrun a listener's queue, and each that does waits for a
/// second. Whoever is connected and has asked does not count.
const CONNECTING: usize = 64;
/// The longest head, and as much of a body as tells whether a hub lets a stream in, in bytes.
const MAX_OPENING_BYTES: usize = 16 * 1024;
/// From one address to another there are about 28,000 ports. On this machine each so many streams have an address of their
/// own: all of 127.0.0.0/8 is here.
const PER_SOURCE: usize = 20_000;

/// What a server says to a stream that it lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// The status is 200.
    Status,
    /// A hub says `connected` as well; in a 200 it may also say `bye`.
    Connected,
}

/// All streams of a run, by their numbers.
pub(super) struct Streams {
    server: SocketAddr,
    welcome: Welcome,
    all: Vec<Stream>,
    /// For each stream and publisher, the last mark.
    last: Vec<u64>,
    publishers: usize,
    connecting: usize,
    pub(super) open: usize,
    /// Refused, or cut before they were open.
    pub(super) failed: u64,
    /// Closed after they were open.
    pub(super) closed: u64,
    /// What was said to the first that failed.
    pub(super) failure: Option<String>,
    /// From asking to being open.
    pub(super) openings: Histogram,
    /// The id that the last one was welcomed with.
    pub(super) place: Option<String>,
}

#[derive(Debug, Default)]
struct Stream {
    socket: Option<TcpStream>,
    state: State,
    scanner: Scanner,
    seen: u64,
    began: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    /// What is still to be written of the request.
    Asking(Vec<u8>),
    /// What there is of an answer.
    Waiting(Vec<u8>),
    Open,
}

impl Streams {
    pub(super) fn new(
        server: SocketAddr,
        welcome: Welcome,
        count: usize,
        publishers: usize,
    ) -> Self {
        Self {
            server,
            welcome,
            all: std::iter::repeat_with(Stream::default)
                .take(count)
                .collect(),
            last: vec![0; count * publishers],
            publishers,
            connecting: 0,
            open: 0,
            failed: 0,
            closed: 0,
            failure: None,
            openings: Histogram::new(),
            place: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many have been let in.
    pub(super) fn opened(&self) -> u64 {
        self.open as u64 + self.closed
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = u64> {
        self.all.iter().map(|stream| stream.seen)
    }

    /// Whether another may be opened now.
    pub(super) fn has_room(&self) -> bool {
        self.connecting < CONNECTING
    }

    /// Begins to open one.
    pub(super) fn open(
        &mut self,
        number: usize,
        request: Vec<u8>,
        registry: &Registry,
        now: u64,
    ) -> anyhow::Result<()> {
        let socket = self.connect(number);
        let mut socket = socket.with_context(|| format!("cannot connect stream {number}"))?;
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut socket, Token(number), both)?;
        let stream = &mut self.all[number];
        *stream = Stream {
            socket: Some(socket),
            state: State::Asking(request),
            began: now,
            ..Stream::default()
        };
        self.connecting += 1;
        // Where client and server are one machine it is connected by now.
        self.ask(number, registry);
        Ok(())
    }

    fn connect(&self, number: usize) -> std::io::Result<TcpStream> {
        let is_local = matches!(self.server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let Some(source) = (number / PER_SOURCE).checked_sub(1).filter(|_| is_local) else {
            return TcpStream::connect(self.server);
        };
        let [high, low] = u16::try_from(source).unwrap_or(u16::MAX).to_be_bytes();
        let source = SocketAddr::from((Ipv4Addr::new(127, 77, high, low), 0));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&source.into())?;
        match socket.connect(&self.server.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    /// Writes what is left of the request.
    fn ask(&mut self, number: usize, registry: &Registry) {
        let Stream {
            socket: Some(socket),
            state: State::Asking(request),
            ..
        } = &mut self.all[number]
        else {
            return;
        };
        match socket.write(request) {
            Ok(written) if written == request.len() => {
                self.connecting -= 1;
                self.all[number].state = State::Waiting(Vec::new());
                self.only_reads(number, registry);
            }
            Ok(written) => drop(request.drain(..written)),
            Err(error) if is_not_yet(&error) => {}
            Err(error) => self.fail(number, || error.to_string()),
        }
    }

    fn only_reads(&mut self, number: usize, registry: &Registry) {
        let Some(socket) = &mut self.all[number].socket else {
            return;
        };
        if let Err(error) = registry.reregister(socket, Token(number), Interest::READABLE) {
            self.fail(number, || error.to_string());
        }
    }

    fn fail(&mut self, number: usize, why: impl FnOnce() -> String) {
        let stream = &mut self.all[number];
        match stream.state {
            State::Closed => return,
            State::Asking(_) => self.connecting -= 1,
            State::Waiting(_) => {}
            State::Open => {
                self.open -= 1;
                self.closed += 1;
            }
        }
        if !matches!(stream.state, State::Open) {
            self.failed += 1;
            self.failure.get_or_insert_with(why);
        }
        // Closing the socket also takes it out of the poll.
        stream.socket = None;
        stream.state = State::Closed;
    }

    /// Does what an event calls for.
    pub(super) fn ready(
        &mut self,
        event: &Event,
        registry: &Registry,
        buffer: &mut [u8],
        now: u64,
        tally: &mut Tally,
    ) {
        let number = event.token().0;
        if event.is_writable() {
            self.ask(number, registry);
        }
        // An end has no event of its own if it comes with the last bytes.
        let to_the_end = event.is_read_closed() || event.is_error();
        if event.is_readable() || to_the_end {
            self.read(number, to_the_end, buffer, now, tally);
        }
    }

    fn read(
        &mut self,
        number: usize,
        to_the_end: bool,
        buffer: &mut [u8],
        now: u64,
        tally: &mut Tally,
    ) {
        loop {
            let Some(socket) = &mut self.all[number].socket else {
                return;
            };
            match socket.read(buffer) {
                Ok(0) => {
                    let said = self.all[number].said();
                    return self.fail(number, || format!("its connection was closed{said}"));
                }
                Ok(length) => {
                    self.took(number, &buffer[..length], now, tally);
                    // Less than there is room for is all that there was: epoll(7).
                    if length < buffer.len() && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_not_yet(&error) => return,
                Err(error) => return self.fail(number, || error.to_string()),
            }
        }
    }

    fn took(&mut self, number: usize, bytes: &[u8], now: u64, tally: &mut Tally) {
        let Some(stream) = self.all.get_mut(number) else {
            return;
        };
        if let State::Waiting(opening) = &mut stream.state {
            opening.extend_from_slice(bytes);
            let opening = std::mem::take(opening);
            self.welcomed(number, opening, now, tally);
        } else {
            self.scan(number, bytes, now, tally);
        }
    }

    /// Looks at what a server has answered so far.
    fn welcomed(&mut self, number: usize, opening: Vec<u8>, now: u64, tally: &mut Tally) {
        let head = Head::of(&opening);
        let body = head.map_or(&[][..], |head| &opening[head.length..]);
        let refused = match head {
            Some(head) if head.status != 200 => true,
            Some(_) => contains(body, b"event: bye\n"),
            None => false,
        };
        let connected = self.welcome == Welcome::Status || contains(body, b"event: connected\n");
        let is_open = head.is_some() && connected && !refused;
        if refused || !is_open && opening.len() > MAX_OPENING_BYTES {
            return self.fail(number, || answer::in_words(&opening));
        }
        if !is_open {
            self.all[number].state = State::Waiting(opening);
            return;
        }
        if self.welcome == Welcome::Connected {
            self.place = first_id(body);
        }
        self.open += 1;
        let stream = &mut self.all[number];
        stream.state = State::Open;
        self.openings.add(now.saturating_sub(stream.began));
        self.scan(number, body, now, tally);
    }

    fn scan(&mut self, number: usize, bytes: &[u8], now: u64, tally: &mut Tally) {
        let stream = &mut self.all[number];
        let last = &mut self.last[number * self.publishers..][..self.publishers];
        tally.bytes += bytes.len() as u64;
        stream.scanner.scan(bytes, |mark| {
            if !tally.is_ours(mark) {
                return;
            }
            stream.seen += 1;
            // A number that no publisher has comes from somebody else's message.
            if let Some(last) = last.get_mut(marks::publisher(mark)) {
                tally.out_of_order += u64::from(mark < *last);
                *last = mark;
            }
            tally.arrived(mark, now);
        });
    }
}

impl Stream {
    /// What its server had said before it closed.
    fn said(&self) -> String {
        match &self.state {
            State::Waiting(opening) if !opening.is_empty() => {
                format!(" after {}", answer::in_words(opening))
            }
            _ => String::new(),
        }
    }
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find(text, words).is_some()
}

/// The id of the first event in an event stream.
fn first_id(body: &[u8]) -> Option<String> {
    let begin = memchr::memmem::find(body, b"id: ")? + 4;
    let length = memchr::memchr(b'\n', &body[begin..])?;
    String::from_utf8(body[begin..begin + length].to_vec()).ok()
}

/// Whether a socket only is not ready: it is being connected, or has nothing at the moment.
pub(super) fn is_not_yet(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}
