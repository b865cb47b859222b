//! Go's `fmt.Print`, `Println` and `Printf`, with Go's notes on wrong calls such as
//! `%!d(string=x)`.

mod verbs;

use super::quote::decode_rune;
use super::value::Value;
use super::{Data, MAX_BYTES};

/// Collects what a print function writes.
#[derive(Debug, Default)]
pub(super) struct Printer {
    out: Vec<u8>,
    flags: Flags,
    failure: Option<Failure>,
}

/// Why a print function gives up.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Failure {
    #[error("the text is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the value nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("%p prints an address, which a configuration has no use for; use %v")]
    Address,
}

/// How deep a printed value may nest.
const MAX_DEPTH: usize = 200;
/// The largest width or precision Go takes.
const MAX_NUMBER: usize = 1_000_000;

#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of a verb")]
struct Flags {
    width: Option<usize>,
    precision: Option<usize>,
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%#v`: Go syntax.
    sharp_v: bool,
}

impl Printer {
    /// Go's `fmt.Print`: a space between two values unless one is a string.
    pub(super) fn print(&mut self, args: &[Value<'_>]) {
        let mut after_text = true;
        for arg in args {
            let text = matches!(arg.pointee(), Value::Str(_));
            if !text && !after_text {
                self.push(b" ");
            }
            self.argument(arg, 'v');
            after_text = text;
        }
    }

    /// Go's `fmt.Println`.
    pub(super) fn println(&mut self, args: &[Value<'_>]) {
        for (at, arg) in args.iter().enumerate() {
            if at > 0 {
                self.push(b" ");
            }
            self.argument(arg, 'v');
        }
        self.push(b"\n");
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Failure> {
        self.failure.map_or(Ok(self.out), Err)
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        if self.out.len() + bytes.len() > MAX_BYTES {
            self.failure = Some(Failure::TooLong);
            return;
        }
        self.out.extend_from_slice(bytes);
    }

    fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// One argument as `verb` wants it.
    fn argument(&mut self, value: &Value<'_>, verb: char) {
        let value = value.pointee();
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad(b"<nil>"),
            (Value::Nil, _) | (Value::List(_) | Value::Map(_), 'w') => self.bad_verb(value, verb),
            (_, 'T') => self.string(value.go_type().as_bytes(), 's', value),
            (Value::List(_) | Value::Map(_), 'p') => self.failure = Some(Failure::Address),
            _ => self.value(value, verb, 0),
        }
    }

    fn value(&mut self, value: &Value<'_>, verb: char, depth: usize) {
        if self.failure.is_some() {
            return;
        }
        if depth > MAX_DEPTH {
            self.failure = Some(Failure::TooDeep);
            return;
        }
        match value.pointee() {
            Value::Nil | Value::Pointer(_) if self.flags.sharp_v => self.push(b"interface {}(nil)"),
            Value::Nil | Value::Pointer(_) => self.push(b"<nil>"),
            Value::Bool(b) if matches!(verb, 't' | 'v') => {
                self.pad(if *b { b"true" } else { b"false" });
            }
            Value::Bool(_) => self.bad_verb(value, verb),
            Value::Int(i, kind) => self.integer(*i, *kind, verb),
            Value::Float(f) => self.float(*f, verb),
            Value::Complex(re, im) => self.complex(*re, *im, verb),
            Value::Str(s) => self.string(s, verb, value),
            Value::List(list) => self.items(list.as_slice(), verb, depth),
            Value::Map(map) => {
                let sharp_v = self.flags.sharp_v;
                self.push(if sharp_v { b"map[string]interface {}{" } else { b"map[" });
                for (at, (key, item)) in map.fields().iter().enumerate() {
                    self.separate(at);
                    let key = Data::Str(key.clone());
                    self.value(&Value::borrowed(&key), verb, depth + 1);
                    self.push(b":");
                    self.value(&Value::borrowed(item), verb, depth + 1);
                }
                self.push(if sharp_v { b"}" } else { b"]" });
            }
        }
    }

    fn items(&mut self, items: &[Data], verb: char, depth: usize) {
        let sharp_v = self.flags.sharp_v;
        self.push(if sharp_v { b"[]interface {}{" } else { b"[" });
        for (at, item) in items.iter().enumerate() {
            self.separate(at);
            self.value(&Value::borrowed(item), verb, depth + 1);
        }
        self.push(if sharp_v { b"}" } else { b"]" });
    }

    fn separate(&mut self, at: usize) {
        if at > 0 {
            self.push(if self.flags.sharp_v { b", " } else { b" " });
        }
    }

    /// Go's note that `verb` does not suit the value.
    fn bad_verb(&mut self, value: &Value<'_>, verb: char) {
        self.push(b"%!");
        self.push_char(verb);
        self.push(b"(");
        if matches!(value.pointee(), Value::Nil) {
            self.push(b"<nil>");
        } else {
            self.typed(value);
        }
        self.push(b")");
    }

    fn typed(&mut self, value: &Value<'_>) {
        self.push(value.go_type().as_bytes());
        self.push(b"=");
        self.value(value, 'v', 0);
    }
}

/// Go's `fmt.Printf`.
pub(super) fn printf(printer: &mut Printer, layout: &[u8], args: &[Value<'_>]) {
    let mut run = Run { printer, layout, args, at: 0, arg: 0, reordered: false, good_index: true };
    while run.at < layout.len() {
        run.text();
        if run.at < layout.len() {
            run.at += 1;
            run.verb();
        }
    }
    run.extra();
}

struct Run<'p, 'v, 'a> {
    printer: &'p mut Printer,
    layout: &'p [u8],
    args: &'v [Value<'a>],
    at: usize,
    /// The argument the next verb prints.
    arg: usize,
    /// A verb chose its argument, as in `%[2]d`.
    reordered: bool,
    /// The indexes of the current verb are right.
    good_index: bool,
}

impl Run<'_, '_, '_> {
    /// Text up to the next `%`.
    fn text(&mut self) {
        let rest = self.layout.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
        self.printer.push(rest.get(..length).unwrap_or_default());
        self.at += length;
    }

    /// What follows a `%`.
    fn verb(&mut self) {
        self.good_index = true;
        self.flags();
        let mut after_index = self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            let width = self.number_argument();
            if width.is_none() {
                self.printer.push(b"%!(BADWIDTH)");
            }
            let flags = &mut self.printer.flags;
            if width.is_some_and(|w| w < 0) {
                flags.minus = true;
                flags.zero = false;
            }
            flags.width = width.and_then(|w| usize::try_from(w.unsigned_abs()).ok());
            after_index = false;
        } else {
            let width = self.number();
            self.printer.flags.width = width;
            if after_index && width.is_some() {
                self.good_index = false;
            }
        }
        // A point at the very end is taken for the verb.
        if self.peek() == Some(b'.') && self.at + 1 < self.layout.len() {
            self.at += 1;
            after_index = self.precision(after_index);
        }
        if !after_index {
            self.index();
        }
        let rest = self.layout.get(self.at..).unwrap_or_default();
        let Some((rune, width)) = decode_rune(rest) else {
            self.printer.push(b"%!(NOVERB)");
            return;
        };
        self.at += width;
        self.apply(rune.unwrap_or(char::REPLACEMENT_CHARACTER));
    }

    fn flags(&mut self) {
        let mut flags = Flags::default();
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        self.printer.flags = flags;
    }

    fn precision(&mut self, after_index: bool) -> bool {
        if after_index {
            self.good_index = false;
        }
        let after_index = self.index();
        if self.peek() != Some(b'*') {
            let precision = self.number();
            self.printer.flags.precision = Some(precision.unwrap_or(0));
            return after_index;
        }
        self.at += 1;
        let precision = self.number_argument();
        let precision = precision.and_then(|p| usize::try_from(p).ok());
        if precision.is_none() {
            self.printer.push(b"%!(BADPREC)");
        }
        self.printer.flags.precision = precision;
        false
    }

    fn apply(&mut self, verb: char) {
        if verb == '%' {
            self.printer.push(b"%");
            return;
        }
        let arg = if self.good_index { self.args.get(self.arg) } else { None };
        let Some(arg) = arg else {
            self.printer.push(b"%!");
            self.printer.push_char(verb);
            self.printer.push(if self.good_index { b"(MISSING)" } else { b"(BADINDEX)" });
            return;
        };
        if matches!(verb, 'v' | 'w') {
            let flags = &mut self.printer.flags;
            flags.sharp_v = std::mem::take(&mut flags.sharp);
            flags.plus = false;
        }
        self.printer.argument(arg, verb);
        self.arg += 1;
    }

    /// Go's note on arguments no verb printed.
    fn extra(&mut self) {
        let rest = self.args.get(self.arg..).unwrap_or_default();
        if self.reordered || rest.is_empty() {
            return;
        }
        self.printer.flags = Flags::default();
        self.printer.push(b"%!(EXTRA ");
        for (at, arg) in rest.iter().enumerate() {
            if at > 0 {
                self.printer.push(b", ");
            }
            if matches!(arg.pointee(), Value::Nil) {
                self.printer.push(b"<nil>");
            } else {
                self.printer.typed(arg.pointee());
            }
        }
        self.printer.push(b")");
    }

    /// Takes `[n]`, which makes the n-th argument the next; tells whether there is one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = self.layout.get(self.at..).unwrap_or_default();
        let close = rest.iter().position(|b| *b == b']');
        let Some(close) = close.filter(|_| rest.len() >= 3) else {
            self.good_index = false;
            self.at += 1;
            return false;
        };
        let start = self.at + 1;
        self.at += close + 1;
        let number = parse_number(rest.get(1..close).unwrap_or_default());
        match number {
            Some((number, length)) if start + length + 1 == self.at => {
                match number.checked_sub(1).filter(|n| *n < self.args.len()) {
                    Some(arg) => self.arg = arg,
                    None => self.good_index = false,
                }
                true
            }
            _ => {
                self.good_index = false;
                false
            }
        }
    }

    /// The number an argument gives for a `*`.
    fn number_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.arg)?;
        self.arg += 1;
        match arg.pointee() {
            Value::Int(i, _) if i.unsigned_abs() <= MAX_NUMBER as u64 => Some(*i),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<usize> {
        let rest = self.layout.get(self.at..).unwrap_or_default();
        let Some((number, length)) = parse_number(rest) else {
            // Go gives up on the whole format here.
            self.at = self.layout.len();
            return None;
        };
        self.at += length;
        (length > 0).then_some(number)
    }

    fn peek(&self) -> Option<u8> {
        self.layout.get(self.at).copied()
    }
}

/// The number `bytes` begins with and its length, which may be 0; `None` when it is too large.
fn parse_number(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    let mut length = 0;
    for digit in bytes.iter().take_while(|b| b.is_ascii_digit()) {
        if number > MAX_NUMBER {
            return None;
        }
        number = number * 10 + usize::from(digit - b'0');
        length += 1;
    }
    Some((number, length))
}
