//! A page over HTTP/1.1, for checking what a container serves: one request, one connection, no redirects, no TLS.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::net::Netns;
use crate::runtime::net::tcp::{Deadline, Stream, resolve};
use crate::runtime::session::Session;
use crate::runtime::units::show_bytes;
use std::time::Duration;

const OP: &str = "net::http_get";
/// The status line and the headers together, and each line between chunks.
const HEAD_MAX: usize = 64 << 10;

/// How a page is asked for.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// How long everything may take together.
    pub timeout: Duration,
    /// Headers beside, or in place of, those that are always sent (`Host`, `User-Agent`, `Accept`).
    pub headers: Vec<(String, String)>,
    /// How many bytes the body may have.
    pub max_bytes: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), headers: Vec::new(), max_bytes: 16 << 20 }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status, such as 200.
    pub status: u16,
    /// The headers in the order in which they came, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its transfer encoding.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Fetches `url` from the namespace `target`, or from here.
///
/// A status such as 404 is an answer and no error; a redirect is an answer too and is not followed.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for `https`; [`ErrorKind::InvalidArgument`] for a bad URL or header;
/// [`ErrorKind::NotFound`] when nothing listens; [`ErrorKind::Timeout`]; [`ErrorKind::Interrupted`] by a signal;
/// [`ErrorKind::LimitReached`] for a body over `max_bytes`; [`ErrorKind::Corrupt`] for an answer that is not HTTP or
/// ends early.
pub fn http_get(
    session: &Session,
    target: Option<&Netns>,
    url: &str,
    options: &HttpOptions,
) -> Result<HttpResponse> {
    let place = parse_url(url)?;
    let request = request(&place, &options.headers)?;
    let peers = resolve(OP, &place.host, place.port)?;
    let fetch = || {
        let deadline = Deadline::new(session, OP, options.timeout);
        let stream = Stream::connect(target, &peers, deadline)?;
        stream.send(request.as_bytes())?;
        Reader::new(|buf| stream.receive(buf)).response(options.max_bytes)
    };
    fetch().map_err(|error: Error| error.subject(url))
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    path: String,
}

fn parse_url(url: &str) -> Result<Place> {
    let error = |kind, what: &str| Error::new(kind, OP, what).subject(url);
    let invalid =
        |what| error(ErrorKind::InvalidArgument, what).hint("write it as http://10.9.0.2:8000/path");
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("the URL has no scheme"))?;
    if scheme.eq_ignore_ascii_case("https") {
        return Err(error(ErrorKind::Unsupported, "https is not supported").hint("use http, or run curl"));
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(invalid("the scheme is not http"));
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("the URL has a character that must be written as %XX"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    if authority.contains('@') {
        return Err(error(ErrorKind::Unsupported, "a user in a URL is not supported")
            .hint("give an Authorization header"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        // In brackets, colons belong to the address.
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().ok().filter(|port| *port != 0);
            (host, port.ok_or_else(|| invalid("the port is not between 1 and 65535"))?)
        }
        _ => (authority, 80),
    };
    if host.is_empty() {
        return Err(invalid("the URL has no host"));
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Place { host: host.into(), port, path })
}

fn request(place: &Place, headers: &[(String, String)]) -> Result<String> {
    let host = if place.port == 80 { place.host.clone() } else { format!("{}:{}", place.host, place.port) };
    let agent = concat!("cshell/", env!("CARGO_PKG_VERSION"));
    let mut text = format!("GET {} HTTP/1.1\r\nConnection: close\r\n", place.path);
    let given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    for (name, value) in [("Host", host.as_str()), ("User-Agent", agent), ("Accept", "*/*")] {
        if !given(name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in headers {
        let invalid =
            |what: &str| Error::new(ErrorKind::InvalidArgument, OP, format!("header {name:?} {what}"));
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(invalid("is not a name"));
        }
        if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(invalid("has a line break in its value"));
        }
        if ["connection", "content-length", "transfer-encoding", "te", "upgrade"]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own))
        {
            return Err(invalid("is set by the call itself"));
        }
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    Ok(text)
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn corrupt(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, OP, what)
}

/// Reads an answer piece by piece from `receive`, which fills a buffer and returns 0 at the end.
struct Reader<R> {
    receive: R,
    buffer: Vec<u8>,
}

impl<R: FnMut(&mut [u8]) -> Result<usize>> Reader<R> {
    fn new(receive: R) -> Self {
        Self { receive, buffer: Vec::new() }
    }

    /// Receives more; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let mut chunk = [0; 16 << 10];
        let got = (self.receive)(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..got]);
        Ok(got > 0)
    }

    fn line(&mut self) -> Result<String> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.buffer[seen..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=seen + at).collect();
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            seen = self.buffer.len();
            if seen > HEAD_MAX {
                return Err(corrupt(format!("a line of the answer is longer than {}", show_bytes(64 << 10))));
            }
            if !self.fill()? {
                return Err(corrupt("the answer ended in the middle of a line"));
            }
        }
    }

    fn response(mut self, max: usize) -> Result<HttpResponse> {
        loop {
            let status = parse_status(&self.line()?)?;
            let headers = self.headers()?;
            // 1xx announce the answer; 101 would be the last, and was not asked for.
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut response = HttpResponse { status, headers, body: Vec::new() };
            response.body = self.body(&response, max)?;
            return Ok(response);
        }
    }

    fn headers(&mut self) -> Result<Vec<(String, String)>> {
        let mut headers: Vec<(String, String)> = Vec::new();
        let mut size = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(headers);
            }
            size += line.len() + 2;
            if size > HEAD_MAX {
                return Err(corrupt(format!("the headers are longer than {}", show_bytes(64 << 10))));
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| corrupt(format!("{line:?} is not a header")))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, response: &HttpResponse, max: usize) -> Result<Vec<u8>> {
        if matches!(response.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        if let Some(encoding) = response.header("transfer-encoding") {
            if !encoding.eq_ignore_ascii_case("chunked") {
                return Err(corrupt(format!("unknown transfer encoding {encoding:?}")));
            }
            return self.chunks(max);
        }
        match response.header("content-length") {
            None => {
                while self.buffer.len() <= max && self.fill()? {}
                fits(self.buffer.len(), max)?;
                Ok(std::mem::take(&mut self.buffer))
            }
            Some(text) => {
                let length = decimal(text)
                    .ok_or_else(|| corrupt(format!("the content-length {text:?} is no number")))?;
                fits(length, max)?;
                self.exact(length)
            }
        }
    }

    fn exact(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill()? {
                let got = self.buffer.len();
                return Err(corrupt(format!("the answer ended after {got} of {length} bytes")));
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn chunks(&mut self, max: usize) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let hexadecimal = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(size, 16)
                .ok()
                .filter(|_| hexadecimal)
                .ok_or_else(|| corrupt(format!("{line:?} is not the size of a chunk")))?;
            if size == 0 {
                // What may follow are headers, which nobody asked for.
                self.headers()?;
                return Ok(body);
            }
            fits(body.len().saturating_add(size), max)?;
            body.extend_from_slice(&self.exact(size)?);
            if !self.line()?.is_empty() {
                return Err(corrupt("a chunk is longer than it says"));
            }
        }
    }
}

fn decimal(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn parse_status(line: &str) -> Result<u16> {
    let words = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    words
        .filter(|word| word.len() == 3)
        .and_then(|word| word.parse().ok())
        .filter(|status| (100..600).contains(status))
        .ok_or_else(|| corrupt(format!("the answer is not HTTP: it begins with {:?}", shorten(line))))
}

fn shorten(line: &str) -> String {
    line.chars().take(40).collect()
}

fn fits(length: usize, max: usize) -> Result<()> {
    if length <= max {
        return Ok(());
    }
    let max = show_bytes(u64::try_from(max).unwrap_or(u64::MAX));
    Err(Error::new(ErrorKind::LimitReached, OP, format!("the body is longer than {max}"))
        .hint("raise the limit of the call"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to `text` that arrives in pieces of `piece` bytes.
    fn read(text: &str, piece: usize, max: usize) -> Result<HttpResponse> {
        let mut rest = text.as_bytes();
        Reader::new(move |buf: &mut [u8]| {
            let (now, later) = rest.split_at(piece.min(rest.len()).min(buf.len()));
            buf[..now.len()].copy_from_slice(now);
            rest = later;
            Ok(now.len())
        })
        .response(max)
    }

    #[test]
    fn bodies_of_all_three_framings_are_read_whole_in_any_pieces() {
        let texts = [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhellorest",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: u\r\n\r\n",
            "HTTP/1.0 200 OK\nServer: old\n\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello",
        ];
        for text in texts {
            for piece in [1, 2, 7, 1000] {
                let response = read(text, piece, 5).unwrap();
                assert_eq!(
                    (response.status, response.body.as_slice()),
                    (200, &b"hello"[..]),
                    "{text:?} {piece}"
                );
            }
        }
        let response = read(texts[0], 3, 5).unwrap();
        assert_eq!(response.header("x-a"), Some("b"));
        assert!(read("HTTP/1.1 204 No Content\r\n\r\n", 9, 0).unwrap().body.is_empty());
    }

    #[test]
    fn an_answer_that_lies_or_ends_early_is_corrupt() {
        for text in [
            "",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nhel\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
            "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
        ] {
            assert_eq!(read(text, 4, 100).unwrap_err().kind(), ErrorKind::Corrupt, "{text:?}");
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_it_is_read() {
        let long = "x".repeat(100);
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_owned();
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned();
        let open = format!("HTTP/1.1 200 OK\r\n\r\n{long}");
        for text in [sized, chunked, open] {
            assert_eq!(read(&text, 10, 50).unwrap_err().kind(), ErrorKind::LimitReached, "{text:?}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(2 * HEAD_MAX));
        assert_eq!(read(&endless, 1000, 50).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn urls_are_taken_apart() {
        let parsed = |url| parse_url(url).map(|place| (place.host, place.port, place.path));
        let place = |host: &str, port, path: &str| (host.to_owned(), port, path.to_owned());
        assert_eq!(parsed("http://10.9.0.2").unwrap(), place("10.9.0.2", 80, "/"));
        assert_eq!(parsed("HTTP://localhost:8000/a/b?c#d").unwrap(), place("localhost", 8000, "/a/b?c"));
        assert_eq!(parsed("http://[fd00::1]:81?q").unwrap(), place("[fd00::1]", 81, "/?q"));
        assert_eq!(parsed("http://[fd00::1]/").unwrap(), place("[fd00::1]", 80, "/"));
        for url in [
            "10.9.0.2",
            "ftp://x/",
            "http://",
            "http://:80/",
            "http://x:0/",
            "http://x:99999/",
            "http://x/a b",
        ] {
            assert_eq!(parsed(url).unwrap_err().kind(), ErrorKind::InvalidArgument, "{url}");
        }
        for url in ["https://x/", "http://u:p@x/"] {
            assert_eq!(parsed(url).unwrap_err().kind(), ErrorKind::Unsupported, "{url}");
        }
    }

    #[test]
    fn headers_cannot_smuggle_a_second_request() {
        let place = parse_url("http://10.9.0.2:8000/x").unwrap();
        let with = |name: &str, value: &str| request(&place, &[(name.into(), value.into())]);
        let text = with("host", "web").unwrap();
        assert!(text.starts_with("GET /x HTTP/1.1\r\nConnection: close\r\n"), "{text}");
        assert!(text.contains("host: web\r\n") && !text.contains("Host: 10.9.0.2"), "{text}");
        assert!(with("x", "a\r\nb: c").is_err());
        assert!(with("x y", "a").is_err());
        assert!(with("", "a").is_err());
        assert!(with("Content-Length", "5").is_err());
        assert!(request(&place, &[]).unwrap().contains("Host: 10.9.0.2:8000\r\n"));
    }
}
