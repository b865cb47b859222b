//! Builds the tree of a template from its tokens.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::ast::{Command, Node, Operand, Pipe, Term, Tree};
use super::lex::{Keyword, Kind, Token, lex};
use super::{
    ErrorKind, Excerpt, Fault, LITERAL_HINT, MAX_BYTES, Trim, builtins, nearest, number, place,
    quote,
};

/// How deep actions and parentheses may nest, together.
const MAX_DEPTH: usize = 100;

/// Parses `source`, in which the functions `names` and Go's own may be called.
pub(super) fn parse(source: &str, names: &[&str], trim: Trim) -> Result<Tree, Fault> {
    if source.len() > MAX_BYTES {
        let message = format!("the template is {} bytes long, above {MAX_BYTES}", source.len());
        return Err(Fault::new(0, ErrorKind::Limit, message));
    }
    let (tokens, fault) = lex(source, trim);
    let mut parser = Parser {
        source,
        names,
        tokens,
        at: 0,
        fault,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        defined: BTreeMap::new(),
    };
    let root = parser.top()?;
    Ok(Tree { root, defined: parser.defined })
}

struct Parser<'p> {
    source: &'p str,
    names: &'p [&'p str],
    tokens: Vec<Token>,
    at: usize,
    /// What ended the tokens early; reported when the parser gets there.
    fault: Option<Fault>,
    variables: Vec<String>,
    /// How many ranges are open, for `break` and `continue`.
    ranges: usize,
    depth: usize,
    defined: BTreeMap<Vec<u8>, Vec<Node>>,
}

/// What closed a list of nodes.
enum Closer {
    End,
    /// `{{ else }}`.
    Else,
    /// `{{ else if` or `{{ else with`, at the keyword.
    ElseChain(Keyword),
}

/// An action that has a body, for messages.
#[derive(Clone, Copy)]
struct Opener {
    name: &'static str,
    at: usize,
}

type Parsed<T> = Result<T, Fault>;

impl<'p> Parser<'p> {
    /// The whole template, which alone may define others.
    fn top(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::Eof => return Ok(nodes),
                Kind::LeftDelim => {
                    self.at += 1;
                    let keyword = self.peek_solid()?;
                    match keyword.kind {
                        Kind::Keyword(Keyword::Define) => {
                            self.at += 1;
                            self.define(token.span.start)?;
                        }
                        Kind::Keyword(Keyword::End) => {
                            let message = "{{ end }} closes nothing that is open";
                            return Err(fault(&keyword, ErrorKind::Unbalanced, message));
                        }
                        Kind::Keyword(Keyword::Else) => {
                            let message =
                                "{{ else }} stands outside of {{ if }}, {{ with }} and {{ range }}";
                            return Err(fault(&keyword, ErrorKind::Unbalanced, message));
                        }
                        _ => nodes.push(self.action(token.span.start)?),
                    }
                }
                _ => nodes.push(self.text()?),
            }
        }
    }

    fn text(&mut self) -> Parsed<Node> {
        let token = self.next_solid()?;
        if token.kind != Kind::Text {
            return Err(self.unexpected(&token, "here"));
        }
        Ok(Node::Text { at: token.span.start, text: self.slice(&token).to_owned() })
    }

    /// Nodes up to the `end` or `else` that closes `opener`.
    fn list(&mut self, opener: Opener) -> Parsed<(Vec<Node>, Closer)> {
        let mut nodes = Vec::new();
        loop {
            let token = self.peek_solid()?;
            match token.kind {
                Kind::Eof => {
                    let (line, column) = place(self.source, opener.at);
                    let message = format!(
                        "unclosed {{{{ {} }}}} opened at line {line}, column {column}: write {{{{ end }}}} after its body",
                        opener.name
                    );
                    return Err(Fault::new(opener.at, ErrorKind::Unbalanced, message));
                }
                Kind::LeftDelim => {
                    self.at += 1;
                    match self.peek_solid()?.kind {
                        Kind::Keyword(Keyword::End) => {
                            self.at += 1;
                            self.right_delim("{{ end }}")?;
                            return Ok((nodes, Closer::End));
                        }
                        Kind::Keyword(Keyword::Else) => {
                            self.at += 1;
                            return Ok((nodes, self.after_else()?));
                        }
                        _ => nodes.push(self.action(token.span.start)?),
                    }
                }
                _ => nodes.push(self.text()?),
            }
        }
    }

    fn after_else(&mut self) -> Parsed<Closer> {
        if let Kind::Keyword(keyword @ (Keyword::If | Keyword::With)) = self.peek_solid()?.kind {
            return Ok(Closer::ElseChain(keyword));
        }
        self.right_delim("{{ else }}")?;
        Ok(Closer::Else)
    }

    /// The body of `opener`, which has no else.
    fn closed_list(&mut self, opener: Opener) -> Parsed<Vec<Node>> {
        let (nodes, closer) = self.list(opener)?;
        if matches!(closer, Closer::End) {
            return Ok(nodes);
        }
        let message = format!("{{{{ {} }}}} has no {{{{ else }}}} here", opener.name);
        Err(fault(&self.previous(), ErrorKind::Unbalanced, message))
    }

    /// One action; its `{{`, at `open`, is past.
    fn action(&mut self, open: usize) -> Parsed<Node> {
        self.deeper(open)?;
        let token = self.peek_solid()?;
        let node = match token.kind {
            Kind::Keyword(keyword) if keyword != Keyword::Nil => {
                self.at += 1;
                self.keyword(keyword, &token, open)
            }
            _ => self.pipeline("action", Kind::RightDelim).map(Node::Action),
        };
        self.depth -= 1;
        node
    }

    fn keyword(&mut self, keyword: Keyword, token: &Token, open: usize) -> Parsed<Node> {
        match keyword {
            Keyword::If => self.branch("if", open),
            Keyword::With => self.branch("with", open),
            Keyword::Range => self.range(open),
            Keyword::Block => self.block(open),
            Keyword::Template => self.call(),
            Keyword::Break => self.leave(token, Node::Break),
            Keyword::Continue => self.leave(token, Node::Continue),
            Keyword::Define => {
                let message = "{{ define }} must stand outside of every other action";
                Err(fault(token, ErrorKind::Parse, message))
            }
            Keyword::End | Keyword::Else | Keyword::Nil => Err(self.unexpected(token, "here")),
        }
    }

    fn leave(&mut self, token: &Token, node: Node) -> Parsed<Node> {
        let name = self.slice(token);
        if self.ranges == 0 {
            let message = format!("{{{{ {name} }}}} outside of {{{{ range }}}}");
            return Err(fault(token, ErrorKind::Parse, message));
        }
        self.right_delim("{{ break }} or {{ continue }}")?;
        Ok(node)
    }

    /// `if` or `with` with all its arms.
    fn branch(&mut self, name: &'static str, open: usize) -> Parsed<Node> {
        let opener = Opener { name, at: open };
        let with = name == "with";
        let chain = if with { Keyword::With } else { Keyword::If };
        let visible = self.variables.len();
        let mut arms = Vec::new();
        let otherwise = loop {
            let pipe = self.pipeline(name, Kind::RightDelim)?;
            let (body, closer) = self.list(opener)?;
            arms.push((pipe, body));
            match closer {
                Closer::End => break Vec::new(),
                Closer::ElseChain(keyword) if keyword == chain => {
                    self.next_solid()?;
                }
                Closer::ElseChain(_) => {
                    let token = self.peek_solid()?;
                    let word = self.slice(&token);
                    let message =
                        format!("{{{{ {name} }}}} cannot go on with {{{{ else {word} }}}}");
                    return Err(fault(&token, ErrorKind::Parse, message));
                }
                Closer::Else => break self.closed_list(opener)?,
            }
        };
        self.variables.truncate(visible);
        Ok(Node::Branch { arms, otherwise, with })
    }

    fn range(&mut self, open: usize) -> Parsed<Node> {
        let opener = Opener { name: "range", at: open };
        let visible = self.variables.len();
        let pipe = self.pipeline("range", Kind::RightDelim)?;
        self.ranges += 1;
        let (body, closer) = self.list(opener)?;
        self.ranges -= 1;
        let otherwise = match closer {
            Closer::End => Vec::new(),
            Closer::Else => self.closed_list(opener)?,
            Closer::ElseChain(_) => {
                let message = "{{ range }} has no {{ else if }} or {{ else with }}";
                return Err(fault(&self.peek_solid()?, ErrorKind::Parse, message));
            }
        };
        self.variables.truncate(visible);
        Ok(Node::Range { pipe, body, otherwise })
    }

    fn define(&mut self, open: usize) -> Parsed<()> {
        let token = self.next_solid()?;
        let name = self.template_name(&token, "define")?;
        self.right_delim("{{ define }}")?;
        self.definition(name, Opener { name: "define", at: open })
    }

    fn block(&mut self, open: usize) -> Parsed<Node> {
        let token = self.next_solid()?;
        let name = self.template_name(&token, "block")?;
        let pipe = self.pipeline("block", Kind::RightDelim)?;
        self.definition(name.clone(), Opener { name: "block", at: open })?;
        Ok(Node::Call { at: token.span.start, name, pipe: Some(pipe) })
    }

    /// The body of a define or block, which sees no variable and no range of its surroundings.
    fn definition(&mut self, name: Vec<u8>, opener: Opener) -> Parsed<()> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let body = self.closed_list(opener)?;
        self.variables = variables;
        self.ranges = ranges;
        match self.defined.entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(body);
            }
            // As in Go, a body of nothing but space gives way to another.
            Entry::Occupied(mut old) if is_empty(old.get()) => {
                old.insert(body);
            }
            Entry::Occupied(old) => {
                if !is_empty(&body) {
                    let name = quote::to_text(old.key());
                    let message = format!("the template {} is defined twice", Excerpt(&name));
                    return Err(Fault::new(opener.at, ErrorKind::Parse, message));
                }
            }
        }
        Ok(())
    }

    fn call(&mut self) -> Parsed<Node> {
        let token = self.next_solid()?;
        let name = self.template_name(&token, "template")?;
        let pipe = if self.peek_solid()?.kind == Kind::RightDelim {
            self.at += 1;
            None
        } else {
            Some(self.pipeline("template", Kind::RightDelim)?)
        };
        Ok(Node::Call { at: token.span.start, name, pipe })
    }

    fn template_name(&mut self, token: &Token, keyword: &str) -> Parsed<Vec<u8>> {
        match token.kind {
            Kind::Str | Kind::RawStr => self.unquote(token),
            _ => {
                let found = Excerpt(self.slice(token));
                let message =
                    format!("{{{{ {keyword} }}}} needs a template's name in quotes, not {found}");
                Err(fault(token, ErrorKind::Parse, message))
            }
        }
    }

    /// `declarations? command ('|' command)*` up to and with the token `end`.
    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let at = self.peek_solid()?.span.start;
        let (assign, declared) = self.declarations(context)?;
        let mut commands: Vec<Command> = Vec::new();
        loop {
            let token = self.peek_solid()?;
            if token.kind == end {
                self.at += 1;
                break;
            }
            if !starts_operand(token.kind) {
                return Err(self.unexpected(&token, &format!("in {context}")));
            }
            commands.push(self.command()?);
        }
        if commands.is_empty() {
            let message = format!("the {context} has no value; {LITERAL_HINT}");
            return Err(Fault::new(at, ErrorKind::Parse, message));
        }
        for command in commands.iter().skip(1) {
            if matches!(
                command.first.term,
                Term::Dot | Term::Nil | Term::Bool(_) | Term::Number(_) | Term::Str(_)
            ) {
                let message = "a pipe must lead to a function, not to a value";
                return Err(Fault::new(command.first.at, ErrorKind::Parse, message));
            }
        }
        Ok(Pipe { at, assign, declared, commands })
    }

    /// `$x :=`, `$x =` or, in a range, `$i, $e :=`.
    fn declarations(&mut self, context: &str) -> Parsed<(bool, Vec<String>)> {
        let mut declared = Vec::new();
        loop {
            let start = self.at;
            let variable = self.peek_solid()?;
            if variable.kind != Kind::Variable {
                return Ok((false, declared));
            }
            self.next_solid()?;
            let sign = self.next_solid()?;
            let name = self.slice(&variable).to_owned();
            match sign.kind {
                Kind::Assign | Kind::Declare => {
                    self.declare(&name, &mut declared);
                    return Ok((sign.kind == Kind::Assign, declared));
                }
                Kind::Char if self.slice(&sign) == "," => {
                    self.declare(&name, &mut declared);
                    let next = self.peek_solid()?;
                    let more =
                        matches!(next.kind, Kind::Variable | Kind::RightDelim | Kind::RightParen);
                    if context != "range" || declared.len() > 1 || !more {
                        let message = "only a range can declare two variables, as in {{ range $i, $e := .Items }}";
                        return Err(fault(&sign, ErrorKind::Parse, message));
                    }
                }
                _ => {
                    self.at = start;
                    return Ok((false, declared));
                }
            }
        }
    }

    fn declare(&mut self, name: &str, declared: &mut Vec<String>) {
        declared.push(name.to_owned());
        self.variables.push(name.to_owned());
    }

    /// `operand (space operand)*`, taking the `|` that may follow.
    fn command(&mut self) -> Parsed<Command> {
        self.peek_solid()?;
        let mut operands = Vec::new();
        loop {
            self.peek_solid()?;
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let token = self.next()?;
            match token.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => {
                    self.at -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&token, "after a value")),
            }
        }
        let mut operands = operands.into_iter();
        let Some(first) = operands.next() else {
            return Err(fault(&self.previous(), ErrorKind::Parse, "nothing stands before the |"));
        };
        Ok(Command { first, args: operands.collect() })
    }

    /// `term .Field*`, or nothing when the next token starts no term.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(mut operand) = self.term()? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        while self.peek()?.kind == Kind::Field {
            let token = self.next()?;
            fields.push(self.field_name(&token));
        }
        if fields.is_empty() {
            return Ok(Some(operand));
        }
        match &mut operand.term {
            Term::Field(names) | Term::Variable(_, names) => names.append(&mut fields),
            Term::Dot | Term::Nil | Term::Bool(_) | Term::Number(_) | Term::Str(_) => {
                let message = format!("a constant has no field .{}", fields.join("."));
                return Err(Fault::new(operand.at, ErrorKind::Parse, message));
            }
            Term::Function(_) | Term::Paren(_) | Term::Chain(..) => {
                operand = Operand { at: operand.at, term: Term::Chain(Box::new(operand), fields) };
            }
        }
        Ok(Some(operand))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.peek_solid()?;
        if !starts_operand(token.kind) {
            return Ok(None);
        }
        self.at += 1;
        let text = self.slice(&token);
        let bad = |message: String| fault(&token, ErrorKind::Parse, message);
        let term = match token.kind {
            Kind::Identifier => {
                self.check_function(&token)?;
                Term::Function(self.slice(&token).to_owned())
            }
            Kind::Dot => Term::Dot,
            Kind::Variable => {
                if !self.variables.iter().any(|known| known == text) {
                    return Err(self.unknown_variable(&token));
                }
                Term::Variable(text.to_owned(), Vec::new())
            }
            Kind::Field => Term::Field(vec![self.field_name(&token)]),
            Kind::Bool => Term::Bool(text == "true"),
            Kind::Number => Term::Number(number::number(text).map_err(bad)?),
            Kind::CharConstant => Term::Number(number::character(text).map_err(bad)?),
            Kind::Complex => Term::Number(number::complex(text).map_err(bad)?),
            Kind::Str | Kind::RawStr => Term::Str(self.unquote(&token)?.into()),
            Kind::LeftParen => {
                self.deeper(token.span.start)?;
                let pipe = self.pipeline("parentheses", Kind::RightParen)?;
                self.depth -= 1;
                Term::Paren(Box::new(pipe))
            }
            _ => Term::Nil,
        };
        Ok(Some(Operand { at: token.span.start, term }))
    }

    fn check_function(&self, token: &Token) -> Parsed<()> {
        let name = self.slice(token);
        let known = || builtins::NAMES.iter().chain(self.names).copied();
        if known().any(|known| known == name) {
            return Ok(());
        }
        let meant = nearest(name, known())
            .map(|near| format!(" (did you mean {near:?}?)"))
            .unwrap_or_default();
        let name = Excerpt(name);
        let message = format!("function {name} is not defined{meant}; {LITERAL_HINT}");
        Err(fault(token, ErrorKind::UnknownFunction, message))
    }

    fn unknown_variable(&self, token: &Token) -> Fault {
        let name = self.slice(token);
        let meant = nearest(name, self.variables.iter().skip(1).map(String::as_str))
            .map(|near| format!(" (did you mean {near}?)"))
            .unwrap_or_default();
        let message = format!(
            "variable {} is not defined{meant}; declare it with {{{{ $x := ... }}}}",
            Excerpt(name)
        );
        fault(token, ErrorKind::Parse, message)
    }

    fn deeper(&mut self, at: usize) -> Parsed<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("actions and parentheses nest deeper than {MAX_DEPTH} levels");
            return Err(Fault::new(at, ErrorKind::Limit, message));
        }
        Ok(())
    }

    fn right_delim(&mut self, context: &str) -> Parsed<()> {
        let token = self.next_solid()?;
        if token.kind == Kind::RightDelim {
            return Ok(());
        }
        Err(self.unexpected(&token, &format!("in {context}")))
    }

    fn unquote(&self, token: &Token) -> Parsed<Vec<u8>> {
        quote::unquote(self.slice(token)).map_err(|m| fault(token, ErrorKind::Parse, m))
    }

    fn field_name(&self, token: &Token) -> String {
        let text = self.slice(token);
        text.strip_prefix('.').unwrap_or(text).to_owned()
    }

    fn unexpected(&self, token: &Token, context: &str) -> Fault {
        let message = match token.kind {
            Kind::Eof => format!("the template ends {context}"),
            _ => format!("{} is unexpected {context}; {LITERAL_HINT}", Excerpt(self.slice(token))),
        };
        fault(token, ErrorKind::Parse, message)
    }

    fn slice(&self, token: &Token) -> &'p str {
        self.source.get(token.span.clone()).unwrap_or_default()
    }

    fn peek(&mut self) -> Parsed<Token> {
        if let Some(token) = self.tokens.get(self.at) {
            return Ok(token.clone());
        }
        Err(self.fault.take().unwrap_or_else(|| {
            Fault::new(self.source.len(), ErrorKind::Parse, "the template ends too early")
        }))
    }

    fn next(&mut self) -> Parsed<Token> {
        let token = self.peek()?;
        if token.kind != Kind::Eof {
            self.at += 1;
        }
        Ok(token)
    }

    /// The next token that is no space; the spaces before it are taken.
    fn peek_solid(&mut self) -> Parsed<Token> {
        while self.peek()?.kind == Kind::Space {
            self.at += 1;
        }
        self.peek()
    }

    fn next_solid(&mut self) -> Parsed<Token> {
        self.peek_solid()?;
        self.next()
    }

    fn previous(&self) -> Token {
        let end = self.source.len();
        self.tokens
            .get(self.at.saturating_sub(1))
            .cloned()
            .unwrap_or(Token { kind: Kind::Eof, span: end..end })
    }
}

fn fault(token: &Token, kind: ErrorKind, message: impl Into<String>) -> Fault {
    Fault::new(token.span.start, kind, message)
}

fn starts_operand(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Bool
            | Kind::CharConstant
            | Kind::Complex
            | Kind::Dot
            | Kind::Field
            | Kind::Identifier
            | Kind::Number
            | Kind::Keyword(Keyword::Nil)
            | Kind::RawStr
            | Kind::Str
            | Kind::Variable
            | Kind::LeftParen
    )
}

/// Whether a definition holds nothing but space.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text { text, .. } if text.trim().is_empty()))
}
