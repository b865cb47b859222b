//! Builds the tree of a template from its tokens.

mod expression;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::ast::{Node, Tree};
use super::lex::{Keyword, Kind, Token, lex};
use super::{ErrorKind, Excerpt, Fault, LITERAL_HINT, MAX_BYTES, Trim, place, quote};

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

/// Whether a definition holds nothing but space.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text { text, .. } if text.trim().is_empty()))
}
