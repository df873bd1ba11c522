//! Just enough HTTP/1.1 for a load generator that shares two processors with
//! what it measures: whole libraries would cost more than the server.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads messages from a connection.
pub(crate) struct Messages<R> {
    from: R,
    buffer: Vec<u8>,
    used: usize,
}

/// A message: its head, and how long its body is.
pub(crate) struct Message<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: Vec::with_capacity(16 * 1024), used: 0 }
    }

    /// The next message, or `None` when the other side has closed.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Message<'_>>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        let length = header(&self.buffer[..head], b"content-length: ")
            .and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok())
            .unwrap_or(0);
        while self.buffer.len() < head + length {
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
        self.used = head + length;
        Ok(Some(Message { head: &self.buffer[..head], body: &self.buffer[head..self.used] }))
    }
}

/// Where `wanted` begins.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

/// The value of a header; `name` in lower case, with colon and space.
pub(crate) fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let lines = head.split(|byte| *byte == b'\n');
    let line = lines
        .into_iter()
        .find(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name))?;
    Some(line[name.len()..].trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_by_their_length() {
        let stream = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nokPOST / HTTP/1.1\r\nwebhook-id: evt_1\r\n\r\n";
        let mut messages = Messages::new(stream.as_slice());
        let first = messages.next().await.expect("reads").expect("a message");
        assert_eq!(first.body, b"ok");
        let second = messages.next().await.expect("reads").expect("a message");
        assert_eq!(header(second.head, b"webhook-id: "), Some(b"evt_1".as_slice()));
        assert!(messages.next().await.expect("reads").is_none());
    }
}
