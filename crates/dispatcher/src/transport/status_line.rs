//! The status line of an answer over HTTP/1, whatever follows it.
//!
//! The HTTP library gives an answer when its head is complete and right. A
//! receiver that says `200` has done its work, also where the headers behind
//! that are no HTTP or never end; so the status is read here as well, from the
//! bytes themselves (RFC 9112, section 4).

/// `HTTP/1.1 200` and what ends the status.
const LONG_ENOUGH: usize = 13;

/// What has come of an answer so far.
#[derive(Debug, Default)]
pub(super) struct StatusLine {
    place: Place,
    /// Whether anything has come at all.
    heard: bool,
}

#[derive(Debug)]
enum Place {
    /// In the status line.
    Line([u8; LONG_ENOUGH], usize),
    /// In the headers of an informational answer (1xx), after so many ends of
    /// lines in a row.
    Informational(u8),
    /// It is known.
    Known(u16),
    /// It is not the status line of an answer.
    Unknown,
}

impl Default for Place {
    fn default() -> Self {
        Self::Line([0; LONG_ENOUGH], 0)
    }
}

impl StatusLine {
    /// The status, once it has come. That of informational answers does not
    /// count.
    pub(super) fn status(&self) -> Option<u16> {
        match self.place {
            Place::Known(status) => Some(status),
            Place::Line(..) | Place::Informational(_) | Place::Unknown => None,
        }
    }

    /// Whether any byte of an answer has come.
    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    /// Reads on. `false` if nothing more is to be learnt from what follows.
    pub(super) fn read(&mut self, bytes: &[u8]) -> bool {
        self.heard |= !bytes.is_empty();
        for byte in bytes {
            match &mut self.place {
                Place::Line(_, 0) if matches!(byte, b'\r' | b'\n') => {}
                Place::Line(line, length) => {
                    line[*length] = *byte;
                    *length += 1;
                    if *length == LONG_ENOUGH || *byte == b'\n' {
                        self.place = match status_in(&line[..*length]) {
                            Some(100..=199) => Place::Informational(0),
                            Some(status) => Place::Known(status),
                            None => Place::Unknown,
                        };
                    }
                }
                Place::Informational(ends) => match byte {
                    b'\n' if *ends == 1 => self.place = Place::default(),
                    b'\n' => *ends = 1,
                    b'\r' => {}
                    _ => *ends = 0,
                },
                Place::Known(_) | Place::Unknown => return false,
            }
        }
        matches!(self.place, Place::Line(..) | Place::Informational(_))
    }
}

/// The status in the first bytes of a status line.
fn status_in(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, end) = rest.split_at_checked(3)?;
    let is_whole = matches!(end.first(), Some(b' ' | b'\r' | b'\n'));
    let text = std::str::from_utf8(digits).ok().filter(|_| is_whole)?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<u16> {
        let mut whole = StatusLine::default();
        whole.read(text.as_bytes());
        let mut single = StatusLine::default();
        for byte in text.bytes() {
            single.read(&[byte]);
        }
        assert_eq!(whole.status(), single.status(), "it does not matter in which pieces it comes: {text:?}");
        whole.status()
    }

    #[test]
    fn the_status_is_known_as_soon_as_it_has_come() {
        for (text, status) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.1 200 ", Some(200)),
            ("HTTP/1.0 503\r\n", Some(503)),
            ("HTTP/1.1 204\n", Some(204)),
            ("\r\n\r\nHTTP/1.1 201 Created", Some(201)),
            ("HTTP/1.1 200", None),
            ("HTTP/1.1 2000 ", None),
            ("HTTP/1.1 2OO OK", None),
            ("HTTP/2 200 OK\r\n\r\n", None),
            ("ICY 200 OK\r\n\r\n\r\n", None),
            ("\x16\x03\x01 HTTP/1.1 200 OK\r\n", None),
            ("", None),
        ] {
            assert_eq!(read(text), status, "{text:?}");
        }
    }

    #[test]
    fn informational_answers_are_passed_over() {
        let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        assert_eq!(read(early), None);
        assert_eq!(read(&format!("{early}{early}HTTP/1.1 200 OK\r\n")), Some(200));
        assert_eq!(read("HTTP/1.1 100 Continue\n\nHTTP/1.1 202 Accepted\r\n"), Some(202));
        assert_eq!(
            read("HTTP/1.1 103 Early Hints\r\nHTTP/1.1 200 OK\r\n"),
            None,
            "that is one of its headers"
        );
    }

    #[test]
    fn nothing_is_read_behind_the_status() {
        let mut line = StatusLine::default();
        assert!(!line.is_heard());
        assert!(line.read(b"HTTP/1.1 "));
        assert!(line.is_heard());
        assert!(!line.read(b"500 Oh\r\n"));
        assert!(!line.read(b"HTTP/1.1 200 OK\r\n"));
        assert_eq!(line.status(), Some(500));
    }
}
