//! A selector's text as tokens.

use std::borrow::Cow;

use winnow::Parser;
use winnow::combinator::{alt, delimited, peek, repeat};
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, one_of, take_till, take_while};

use super::error::Fault;
use super::number::{self, Literal, LiteralError};

/// JMS's white space. [JMS 2.0, 3.8.1.1]
pub(super) const WHITESPACE: [char; 5] = [' ', '\t', '\u{c}', '\n', '\r'];

/// A token and where it stands, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind<'s>,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'s> {
    /// An identifier, plain or in double quotes.
    Name(Cow<'s, str>),
    /// A literal in single quotes, without them.
    Text(Cow<'s, str>),
    Number(Literal),
    Keyword(Keyword),
    Symbol(Symbol),
}

/// The reserved words. [JMS 2.0, 3.8.1.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Null,
    True,
    False,
    Not,
    And,
    Or,
    Between,
    Like,
    In,
    Is,
    Escape,
}

const KEYWORDS: [(&str, Keyword); 11] = [
    ("NULL", Keyword::Null),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
    ("NOT", Keyword::Not),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("BETWEEN", Keyword::Between),
    ("LIKE", Keyword::Like),
    ("IN", Keyword::In),
    ("IS", Keyword::Is),
    ("ESCAPE", Keyword::Escape),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Star,
    Slash,
    Open,
    Close,
    Comma,
}

impl From<Keyword> for Kind<'_> {
    fn from(keyword: Keyword) -> Self {
        Self::Keyword(keyword)
    }
}

impl From<Symbol> for Kind<'_> {
    fn from(symbol: Symbol) -> Self {
        Self::Symbol(symbol)
    }
}

type Input<'s> = LocatingSlice<&'s str>;
type Read<O> = Result<O, Fault>;

/// The tokens of `text` from the byte `start`.
pub(super) fn tokens(text: &str, start: usize) -> Read<Vec<Token<'_>>> {
    let mut input = LocatingSlice::new(text);
    input.next_slice(start);
    let mut tokens = Vec::new();
    loop {
        whitespace(&mut input)?;
        if input.is_empty() {
            return Ok(tokens);
        }
        let start = input.current_token_start();
        let kind = token(&mut input, start)?;
        tokens.push(Token { kind, start, end: input.previous_token_end() });
    }
}

fn whitespace(input: &mut Input<'_>) -> Read<()> {
    take_while(0.., WHITESPACE).void().parse_next(input)
}

fn token<'s>(input: &mut Input<'s>, start: usize) -> Read<Kind<'s>> {
    match peek(any).parse_next(input)? {
        '\'' => quoted(input, '\'', start).map(Kind::Text),
        '"' => match quoted(input, '"', start)? {
            name if name.is_empty() => Err(Fault::new(start, "the name is empty")),
            name => Ok(Kind::Name(name)),
        },
        '0'..='9' | '.' => numeric(input, start).map(Kind::Number),
        c if is_identifier_start(c) => word(input),
        c => symbol(input).map(Kind::Symbol).map_err(|_| Fault::new(start, unexpected(c))),
    }
}

/// What stands between two quotes; a doubled quote stands for itself.
fn quoted<'s>(input: &mut Input<'s>, quote: char, start: usize) -> Read<Cow<'s, str>> {
    let part = delimited(quote, take_till(0.., quote), quote);
    let parts: Read<Vec<&str>> = repeat(1.., part).parse_next(input);
    match parts {
        // What follows a last part is no quote, unless that one is never closed.
        Ok(parts) if !input.starts_with(quote) => match parts[..] {
            [whole] => Ok(Cow::Borrowed(whole)),
            _ => Ok(Cow::Owned(parts.join(&*quote.to_string()))),
        },
        _ => Err(Fault::new(start, format!("the closing {quote} is missing for the one"))),
    }
}

fn numeric(input: &mut Input<'_>, start: usize) -> Read<Literal> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let is_mantissa = |c: char| c.is_ascii_digit() || matches!(c, '.' | '_');
    let signed_exponent =
        (take_while(1.., is_mantissa), one_of(['e', 'E']), one_of(['+', '-']), take_while(1.., is_part)).take();
    let word: &str = alt((signed_exponent, take_while(1.., is_part))).parse_next(input)?;
    number::literal(word).map_err(|error| {
        let reason = match error {
            LiteralError::Malformed => "malformed number",
            LiteralError::OutOfRange => "a number out of range",
        };
        Fault::new(start, reason)
    })
}

fn word<'s>(input: &mut Input<'s>) -> Read<Kind<'s>> {
    let word: &'s str = take_while(1.., is_identifier_part).parse_next(input)?;
    let keyword = KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    Ok(keyword.map_or(Kind::Name(Cow::Borrowed(word)), |(_, keyword)| Kind::Keyword(*keyword)))
}

fn symbol(input: &mut Input<'_>) -> Read<Symbol> {
    alt((
        "<>".value(Symbol::NotEqual),
        "<=".value(Symbol::LessOrEqual),
        ">=".value(Symbol::GreaterOrEqual),
        '<'.value(Symbol::Less),
        '>'.value(Symbol::Greater),
        '='.value(Symbol::Equal),
        '+'.value(Symbol::Plus),
        '-'.value(Symbol::Minus),
        alt((
            '*'.value(Symbol::Star),
            '/'.value(Symbol::Slash),
            '('.value(Symbol::Open),
            ')'.value(Symbol::Close),
            ','.value(Symbol::Comma),
        )),
    ))
    .parse_next(input)
}

fn unexpected(c: char) -> String {
    match c {
        '!' => "unexpected ! (not equal is written <>)".to_owned(),
        c if c.is_control() || c.is_whitespace() => format!("unexpected character U+{:04X}", u32::from(c)),
        c => format!("unexpected {c}"),
    }
}

/// Java's `isJavaIdentifierStart`, of Unicode's rare symbols only the currencies. [JMS 2.0, 3.8.1.1]
fn is_identifier_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '$' | '_' | '¢'..='¥' | '\u{20a0}'..='\u{20cf}')
}

/// Java's `isJavaIdentifierPart`, and the point that names such as `amqp.priority` have.
fn is_identifier_part(c: char) -> bool {
    is_identifier_start(c) || c.is_numeric() || c == '.' || matches!(c, '\u{300}'..='\u{36f}')
}
