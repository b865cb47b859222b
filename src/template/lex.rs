//! Cuts a template into tokens.

use std::ops::Range;

use super::{ErrorKind, Excerpt, Fault, LITERAL_HINT, Trim};

/// A piece of the source.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// What a token is. Keywords are `Keyword`; `true` and `false` are `Bool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    LeftDelim,
    RightDelim,
    Space,
    Bool,
    /// A printable ASCII character that starts nothing else, such as `,`.
    Char,
    /// `'a'`.
    CharConstant,
    /// `1+2i`.
    Complex,
    Number,
    /// `"a"`.
    Str,
    /// `` `a` ``.
    RawStr,
    Identifier,
    /// `.A`, one name.
    Field,
    /// `$` or `$a`.
    Variable,
    Dot,
    Pipe,
    /// `=`.
    Assign,
    /// `:=`.
    Declare,
    LeftParen,
    RightParen,
    Keyword(Keyword),
    Eof,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// Cuts `source`. A fault comes with the tokens before it, as the parser may find an earlier one.
pub(super) fn lex(source: &str, trim: Trim) -> (Vec<Token>, Option<Fault>) {
    let mut lexer = Lexer { source, trim, at: 0, start: 0, tokens: Vec::new() };
    let fault = lexer.run().err();
    if fault.is_none() {
        lexer.start = source.len();
        lexer.at = source.len();
        lexer.emit(Kind::Eof);
    }
    (lexer.tokens, fault)
}

struct Lexer<'s> {
    source: &'s str,
    trim: Trim,
    at: usize,
    /// Where the token being read begins.
    start: usize,
    tokens: Vec<Token>,
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
/// A trim marker is a minus and a space.
const MARKER: usize = 2;

impl<'s> Lexer<'s> {
    fn run(&mut self) -> Result<(), Fault> {
        while self.at < self.source.len() {
            self.text();
            if self.rest().starts_with(LEFT) {
                self.action()?;
            }
        }
        Ok(())
    }

    /// Text up to the next action or the end.
    fn text(&mut self) {
        let rest = self.rest();
        let length = rest.find(LEFT).unwrap_or(rest.len());
        let (text, after) = rest.split_at(length);
        let marked = after.strip_prefix(LEFT).is_some_and(has_left_marker);
        let kept = if marked { text.trim_end_matches(self.trimmed()) } else { text };
        let begin = self.at;
        self.start = begin;
        self.at = begin + kept.len();
        if !kept.is_empty() {
            self.emit(Kind::Text);
        }
        self.at = begin + length;
    }

    /// From `{{` to behind `}}`, or a comment.
    fn action(&mut self) -> Result<(), Fault> {
        let open = self.at;
        self.start = open;
        self.at += LEFT.len();
        let marked = has_left_marker(self.rest());
        let inside = self.at + if marked { MARKER } else { 0 };
        if self.source.get(inside..).is_some_and(|s| s.starts_with("/*")) {
            self.at = inside;
            return self.comment(open);
        }
        self.emit(Kind::LeftDelim);
        self.at = inside;
        let mut parens = Vec::new();
        loop {
            self.start = self.at;
            if let Some(marked) = self.at_right() {
                if let Some(paren) = parens.pop() {
                    return Err(Fault::new(paren, ErrorKind::Unbalanced, "( is not closed by )"));
                }
                self.close(marked);
                return Ok(());
            }
            self.token(open, &mut parens)?;
        }
    }

    fn comment(&mut self, open: usize) -> Result<(), Fault> {
        let unclosed = |what| Err(Fault::new(open, ErrorKind::Unbalanced, what));
        let Some(length) = self.rest().get(2..).and_then(|s| s.find("*/")) else {
            return unclosed("the comment is not closed by */}}");
        };
        self.at += length + 4;
        let Some(marked) = self.at_right() else {
            return unclosed("a comment fills its action: write */}} or */ -}} right at its end");
        };
        self.at += RIGHT.len() + if marked { MARKER } else { 0 };
        self.skip_trimmed(marked);
        Ok(())
    }

    fn close(&mut self, marked: bool) {
        if marked {
            self.at += MARKER;
            self.start = self.at;
        }
        self.at += RIGHT.len();
        self.emit(Kind::RightDelim);
        self.skip_trimmed(marked);
    }

    fn skip_trimmed(&mut self, marked: bool) {
        if marked {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches(self.trimmed()).len();
        }
    }

    /// One token inside an action.
    fn token(&mut self, open: usize, parens: &mut Vec<usize>) -> Result<(), Fault> {
        let Some(c) = self.next() else {
            let message = format!("{{{{ is not closed by }}}}; {LITERAL_HINT}");
            return Err(Fault::new(open, ErrorKind::Unbalanced, message));
        };
        match c {
            _ if is_space(c) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return Err(self.fault("a : must be followed by = to declare a variable"));
                }
                self.emit(Kind::Declare);
            }
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::Str, "the string")?,
            '\'' => self.quoted('\'', Kind::CharConstant, "the character")?,
            '`' => {
                let Some(length) = self.rest().find('`') else {
                    return Err(self.unclosed("the string", "`"));
                };
                self.at += length + 1;
                self.emit(Kind::RawStr);
            }
            '$' => self.name(Kind::Variable, Kind::Variable)?,
            '.' if !self.rest().starts_with(|c: char| c.is_ascii_digit()) => {
                self.name(Kind::Field, Kind::Dot)?;
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.at = self.start;
                self.number()?;
            }
            '(' => {
                parens.push(self.start);
                self.emit(Kind::LeftParen);
            }
            ')' => {
                if parens.pop().is_none() {
                    let message = ") closes no (";
                    return Err(Fault::new(self.start, ErrorKind::Unbalanced, message));
                }
                self.emit(Kind::RightParen);
            }
            _ if is_alphanumeric(c) => self.identifier()?,
            ' '..='~' => self.emit(Kind::Char),
            _ => {
                let message = format!("{c:?} has no meaning in an action; {LITERAL_HINT}");
                return Err(self.fault(message));
            }
        }
        Ok(())
    }

    /// A run of spaces, but not the one that belongs to a closing trim marker.
    fn space(&mut self) {
        while self.rest().starts_with(is_space) {
            self.at += 1;
        }
        let last = self.at - 1;
        if self.source.get(last..).is_some_and(is_marked_right) {
            self.at = last;
        }
        if self.at > self.start {
            self.emit(Kind::Space);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, what: &str) -> Result<(), Fault> {
        loop {
            let mut c = self.next();
            if c == Some('\\') {
                c = self.next();
                if c.is_some_and(|c| c != '\n') {
                    continue;
                }
            }
            match c {
                None | Some('\n') => return Err(self.unclosed(what, &quote.to_string())),
                Some(c) if c == quote => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    /// The name after `.` or `$`; `bare` when there is none.
    fn name(&mut self, kind: Kind, bare: Kind) -> Result<(), Fault> {
        if self.at_terminator() {
            self.emit(bare);
            return Ok(());
        }
        self.skip(is_alphanumeric);
        self.end_of_name()?;
        self.emit(kind);
        Ok(())
    }

    fn identifier(&mut self) -> Result<(), Fault> {
        self.skip(is_alphanumeric);
        self.end_of_name()?;
        let word = self.source.get(self.start..self.at).unwrap_or_default();
        let kind = match word {
            "block" => Kind::Keyword(Keyword::Block),
            "break" => Kind::Keyword(Keyword::Break),
            "continue" => Kind::Keyword(Keyword::Continue),
            "define" => Kind::Keyword(Keyword::Define),
            "else" => Kind::Keyword(Keyword::Else),
            "end" => Kind::Keyword(Keyword::End),
            "if" => Kind::Keyword(Keyword::If),
            "nil" => Kind::Keyword(Keyword::Nil),
            "range" => Kind::Keyword(Keyword::Range),
            "template" => Kind::Keyword(Keyword::Template),
            "with" => Kind::Keyword(Keyword::With),
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn end_of_name(&self) -> Result<(), Fault> {
        if self.at_terminator() {
            return Ok(());
        }
        let name = Excerpt(self.source.get(self.start..self.at).unwrap_or_default());
        let next = self.rest().chars().next().unwrap_or_default();
        // `a-b` reads as a field in YAML, so say how to reach such a key.
        let hint = if next == '-' {
            "reach a key with a dash by {{ index . \"a-b\" }}"
        } else {
            LITERAL_HINT
        };
        let message = format!("{next:?} cannot follow {name}; {hint}");
        Err(Fault::new(self.at, ErrorKind::Parse, message))
    }

    fn number(&mut self) -> Result<(), Fault> {
        let mut kind = Kind::Number;
        let mut valid = self.scan_number();
        if valid && self.rest().starts_with(['+', '-']) {
            kind = Kind::Complex;
            valid = self.scan_number() && self.text_read().ends_with('i');
        }
        if !valid {
            let message = format!("{} is not a number", Excerpt(self.text_read()));
            return Err(self.fault(message));
        }
        self.emit(kind);
        Ok(())
    }

    /// Takes what looks like a number; whether it is one the parser finds out.
    fn scan_number(&mut self) -> bool {
        self.accept(['+', '-']);
        let mut radix = 10;
        if self.accept(['0']) {
            if self.accept(['x', 'X']) {
                radix = 16;
            } else if self.accept(['o', 'O']) {
                radix = 8;
            } else if self.accept(['b', 'B']) {
                radix = 2;
            }
        }
        let digit = |c: char| c == '_' || c.is_digit(radix);
        self.skip(digit);
        if self.accept(['.']) {
            self.skip(digit);
        }
        if radix == 10 && self.accept(['e', 'E']) || radix == 16 && self.accept(['p', 'P']) {
            self.accept(['+', '-']);
            self.skip(|c| c == '_' || c.is_ascii_digit());
        }
        self.accept(['i']);
        if self.rest().starts_with(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }

    fn accept<const N: usize>(&mut self, set: [char; N]) -> bool {
        let accepted = self.rest().starts_with(set);
        if accepted {
            self.at += 1;
        }
        accepted
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    /// Whether a name may end here.
    fn at_terminator(&self) -> bool {
        let rest = self.rest();
        rest.is_empty()
            || rest.starts_with(is_space)
            || rest.starts_with(['.', ',', '|', ':', ')', '('])
            || rest.starts_with(RIGHT)
    }

    /// Whether an action ends here, and then whether with a trim marker.
    fn at_right(&self) -> Option<bool> {
        if is_marked_right(self.rest()) {
            return Some(true);
        }
        self.rest().starts_with(RIGHT).then_some(false)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn text_read(&self) -> &'s str {
        self.source.get(self.start..self.at).unwrap_or_default()
    }

    fn trimmed(&self) -> &'static [char] {
        match self.trim {
            Trim::Whitespace => &[' ', '\t', '\r', '\n'],
            Trim::Spaces => &[' '],
        }
    }

    fn emit(&mut self, kind: Kind) {
        let span = self.start..self.at;
        self.tokens.push(Token { kind, span });
        self.start = self.at;
    }

    fn unclosed(&self, what: &str, quote: &str) -> Fault {
        let message = format!("{what} is not closed by {quote}");
        Fault::new(self.start, ErrorKind::Parse, message)
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.start, ErrorKind::Parse, message)
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    // Go takes decimal digits only, so not every number of Unicode.
    c == '_' || c.is_alphabetic() || c.is_ascii_digit()
}

fn has_left_marker(inside: &str) -> bool {
    inside.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

fn is_marked_right(rest: &str) -> bool {
    rest.strip_prefix(is_space)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest.starts_with(RIGHT))
}
