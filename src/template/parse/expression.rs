//! Pipelines, commands and operands.

use super::super::ast::{Command, Operand, Pipe, Term};
use super::super::lex::{Keyword, Kind, Token};
use super::super::{ErrorKind, Excerpt, Fault, LITERAL_HINT, builtins, nearest, number};
use super::{Parsed, Parser, fault};

/// How many variables may be in sight at once, as each use looks through them.
const MAX_VARIABLES: usize = 1000;

impl Parser<'_> {
    /// `declarations? command ('|' command)*` up to and with the token `end`.
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
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
            match sign.kind {
                Kind::Assign | Kind::Declare => {
                    self.declare(&variable, &mut declared)?;
                    return Ok((sign.kind == Kind::Assign, declared));
                }
                Kind::Char if self.slice(&sign) == "," => {
                    self.declare(&variable, &mut declared)?;
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

    fn declare(&mut self, variable: &Token, declared: &mut Vec<String>) -> Parsed<()> {
        if self.variables.len() > MAX_VARIABLES {
            let message = format!("more than {MAX_VARIABLES} variables are in sight");
            return Err(fault(variable, ErrorKind::Limit, message));
        }
        let name = self.slice(variable);
        declared.push(name.to_owned());
        self.variables.push(name.to_owned());
        Ok(())
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
            Kind::Str | Kind::RawStr => Term::Str(self.unquote(&token)?),
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
        fault(token, ErrorKind::Undefined, message)
    }

    fn field_name(&self, token: &Token) -> String {
        let text = self.slice(token);
        text.strip_prefix('.').unwrap_or(text).to_owned()
    }
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
