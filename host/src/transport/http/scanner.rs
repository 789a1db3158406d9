//! Where the head of an HTTP/1 response ends, and its status: a scanner that knows lines. The tunnel reads a proxy's
//! response by it, and the filter of heads stands on it.

/// The beginning of every status line of HTTP/1, before its minor version.
const PREFIX: &[u8; 7] = b"HTTP/1.";
/// The part of [`PREFIX`] that says that a response is HTTP, of whatever version.
const PROTOCOL_LENGTH: usize = 5;

/// What has arrived of the response to the current request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Nothing, or complete interim responses only.
    Nothing,
    /// Something that does not begin like HTTP.
    Foreign,
    /// At least the beginning of a head.
    Http,
}

/// Finds the end of a response's head, behind any number of interim responses.
#[derive(Debug)]
pub(super) struct HeadScanner {
    /// True until the end of the status line.
    is_status_line: bool,
    /// Bytes of the current line, without its end.
    column: usize,
    /// Bytes at the beginning of the status line that are those of [`PREFIX`].
    matched: usize,
    /// The code in the status line; `None` once the line is found to be wrong.
    status: Option<u16>,
    /// The byte before was a carriage return.
    is_after_return: bool,
}

/// The column behind the status code.
const STATUS_END: usize = 12;

/// Where a byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Inside,
    /// At the end of the status line.
    StatusLine,
    /// At the end of a line with a field, or of one that goes on with it.
    Field,
    /// At the end of an empty line before the status line, or behind an interim response.
    Blank,
    /// At the end of the final response's head.
    End,
}

impl Default for HeadScanner {
    fn default() -> Self {
        Self { is_status_line: true, column: 0, matched: 0, status: Some(0), is_after_return: false }
    }
}

impl HeadScanner {
    /// Reads on, and returns the number of these bytes up to the end of the final response's head once it is there.
    pub(super) fn scan(&mut self, bytes: &mut [u8]) -> Option<usize> {
        bytes.iter_mut().position(|byte| self.step(byte) == Step::End).map(|at| at + 1)
    }

    /// Reads one byte. Lines end with a line feed, with or without a carriage return before it (RFC 9112, section 2.2).
    pub(super) fn step(&mut self, byte: &mut u8) -> Step {
        let is_after_return = std::mem::replace(&mut self.is_after_return, *byte == b'\r');
        match *byte {
            b'\n' if self.column == 0 && self.is_status_line => return Step::Blank,
            b'\n' if self.column == 0 && self.is_interim() => {
                *self = Self::default();
                return Step::Blank;
            }
            b'\n' if self.column == 0 => return Step::End,
            b'\n' => {
                self.column = 0;
                return if std::mem::take(&mut self.is_status_line) { Step::StatusLine } else { Step::Field };
            }
            b'\r' => {}
            _ => {
                if self.is_status_line {
                    self.read_status_line(byte);
                    if is_after_return && self.column <= STATUS_END {
                        // A carriage return alone is no part of version and code (RFC 9112, section 2.2).
                        self.status = None;
                    }
                }
                self.column += 1;
            }
        }
        Step::Inside
    }

    fn read_status_line(&mut self, byte: &mut u8) {
        match self.column {
            column @ 0..7 => {
                if *byte == PREFIX[column] && self.matched == column {
                    self.matched += 1;
                } else {
                    self.status = None;
                }
            }
            7 if self.status.is_some() && byte.is_ascii_digit() => *byte = (*byte).min(b'1'),
            8 | STATUS_END if *byte == b' ' => {}
            9..12 if byte.is_ascii_digit() => {
                self.status = self.status.map(|status| status * 10 + u16::from(*byte - b'0'));
            }
            0..=STATUS_END => self.status = None,
            // The reason phrase.
            _ => {}
        }
    }

    /// The status of the head that was last read, of three digits; `None` if its status line is not one of HTTP/1.
    pub(super) fn status(&self) -> Option<u16> {
        // RFC 9110, section 15: codes from 600 on are invalid, and treated like 5xx.
        self.status.filter(|status| (100..1000).contains(status))
    }

    /// False once the status line cannot be one of HTTP/1 any more.
    pub(super) fn may_be_http1(&self) -> bool {
        self.status.is_some()
    }

    /// True for `1xx`, except that nothing of HTTP follows a 101.
    fn is_interim(&self) -> bool {
        self.status.is_some_and(|status| (100..200).contains(&status) && status != 101)
    }

    pub(super) fn seen(&self) -> Seen {
        match self {
            Self { is_status_line: true, column: 0, .. } => Seen::Nothing,
            Self { matched: PROTOCOL_LENGTH.., .. } => Seen::Http,
            _ => Seen::Foreign,
        }
    }
}
