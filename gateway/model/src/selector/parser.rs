//! The grammar: tokens to a [`Program`]. [JMS 2.0, 3.8.1.1]
//!
//! One token ahead always tells what follows, so that every error is final and points at the token
//! that does not fit. Only parentheses recurse.

use winnow::combinator::{alt, opt, repeat};
use winnow::error::ErrMode;
use winnow::stream::{Stateful, Stream, TokenSlice};
use winnow::token::any;
use winnow::{ModalParser, ModalResult, Parser};

use super::error::Fault;
use super::expression::{Arithmetic, Between, Comparison, Expression, Name, Names, Program};
use super::identifier::{Header, NOT_SELECTABLE};
use super::lexer::{self, Keyword, Kind, Symbol, Token};
use super::like::Pattern;
use super::{NESTING_MAX, NODES_MAX};

/// ActiveMQ's prefix for messages whose properties are all text.
const CONVERT_PREFIX: &str = "convert_string_expressions:";
/// How much of a token an error shows.
const EXCERPT_CHARS_MAX: usize = 24;

type Input<'t, 's> = Stateful<TokenSlice<'t, Token<'s>>, State<'t, 's>>;
type Parsed<O> = ModalResult<O, Fault>;

/// What is counted and collected on the way.
#[derive(Debug)]
struct State<'t, 's> {
    /// What the tokens' positions are in.
    text: &'s str,
    /// All of them, to look back at.
    tokens: &'t [Token<'s>],
    nesting: usize,
    nodes: usize,
    names: Names,
    needs_view: bool,
}

/// Compiles a text without white space around it.
pub(super) fn compile(text: &str) -> Result<Program, Fault> {
    let (body, convert) = match text.strip_prefix(CONVERT_PREFIX) {
        Some(body) => (body, true),
        None => (text, false),
    };
    let mut tokens = lexer::tokens(body)?;
    for token in &mut tokens {
        token.start += text.len() - body.len();
        token.end += text.len() - body.len();
    }
    let state = State { text, tokens: &tokens, nesting: 0, nodes: 0, names: Names::default(), needs_view: false };
    let mut input = Stateful { input: TokenSlice::new(&tokens), state };
    let root = whole(&mut input).map_err(|error| error.into_inner().unwrap_or_else(|_| Fault::new(0, "incomplete")))?;
    let State { names, needs_view, .. } = input.state;
    Ok(Program { root, convert, needs_view, names })
}

fn whole(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    if input.eof_offset() == 0 {
        return Ok(Expression::Bool(true));
    }
    let root = condition(input, disjunction)?;
    if input.eof_offset() > 0 {
        return Err(expected(input, "an operator or the end"));
    }
    Ok(root)
}

fn disjunction(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    logical(input, Keyword::Or, conjunction, Expression::Or)
}

fn conjunction(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    logical(input, Keyword::And, negation, Expression::And)
}

/// `term`, or several with `keyword` between them.
fn logical(
    input: &mut Input<'_, '_>,
    keyword_between: Keyword,
    term: fn(&mut Input<'_, '_>) -> Parsed<Expression>,
    join: fn(Box<[Expression]>) -> Expression,
) -> Parsed<Expression> {
    let start = position(input);
    let first = term(input)?;
    if opt(keyword(keyword_between)).parse_next(input)?.is_none() {
        return Ok(first);
    }
    let mut terms = vec![checked_condition(first, start)?];
    loop {
        count(input, 1)?;
        terms.push(condition(input, term)?);
        if opt(keyword(keyword_between)).parse_next(input)?.is_none() {
            return Ok(join(terms.into()));
        }
    }
}

fn negation(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let nots: usize = repeat(0.., keyword(Keyword::Not)).parse_next(input)?;
    count(input, nots)?;
    if nots == 0 {
        return predicate(input);
    }
    let inner = Expression::Not(Box::new(condition(input, predicate)?));
    Ok(if nots % 2 == 1 { inner } else { Expression::Not(Box::new(inner)) })
}

fn predicate(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let start = position(input);
    let left = sum(input)?;
    if let Some(comparison) = opt(comparison).parse_next(input)? {
        return compare(input, left, comparison, start);
    }
    if opt(keyword(Keyword::Is)).parse_next(input)?.is_some() {
        return is_null(input, &left, start);
    }
    let negated = opt(keyword(Keyword::Not)).parse_next(input)?.is_some();
    let test = alt((
        keyword(Keyword::Between).value(Keyword::Between),
        keyword(Keyword::In).value(Keyword::In),
        keyword(Keyword::Like).value(Keyword::Like),
    ));
    let found = match opt(test).parse_next(input)? {
        Some(Keyword::Between) => return between(input, left, start, negated),
        Some(Keyword::In) => in_list(input, &left, start)?,
        Some(_) => like(input, &left, start)?,
        None if negated => return Err(expected(input, "BETWEEN, IN or LIKE")),
        None => return Ok(left),
    };
    count(input, 1)?;
    Ok(if negated { Expression::Not(Box::new(found)) } else { found })
}

/// Text and booleans are equal or not; they have no order. [JMS 2.0, 3.8.1.2]
fn compare(input: &mut Input<'_, '_>, left: Expression, comparison: Comparison, start: usize) -> Parsed<Expression> {
    count(input, 1)?;
    let right_start = position(input);
    let right = sum(input)?;
    if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
        for (side, start) in [(&left, start), (&right, right_start)] {
            if !side.is_numeric() {
                return Err(cut(start, "only numbers have an order; compare others with = or <>"));
            }
        }
    }
    Ok(Expression::Compare(Box::new((left, right)), comparison))
}

fn is_null(input: &mut Input<'_, '_>, left: &Expression, start: usize) -> Parsed<Expression> {
    count(input, 1)?;
    let name = checked_name(left, start, "IS NULL needs a name before it")?;
    let negated = opt(keyword(Keyword::Not)).parse_next(input)?.is_some();
    if opt(keyword(Keyword::Null)).parse_next(input)?.is_none() {
        return Err(expected(input, if negated { "NULL" } else { "NULL or NOT NULL" }));
    }
    let found = Expression::IsNull(name);
    Ok(if negated { Expression::Not(Box::new(found)) } else { found })
}

fn between(input: &mut Input<'_, '_>, left: Expression, start: usize, negated: bool) -> Parsed<Expression> {
    count(input, 1)?;
    let value = checked_number(left, start)?;
    let low = numeric(input, sum)?;
    if opt(keyword(Keyword::And)).parse_next(input)?.is_none() {
        return Err(expected(input, "AND"));
    }
    let high = numeric(input, sum)?;
    Ok(Expression::Between(Box::new(Between { value, low, high, negated })))
}

fn in_list(input: &mut Input<'_, '_>, left: &Expression, start: usize) -> Parsed<Expression> {
    let name = checked_name(left, start, "IN needs a name before it")?;
    if opt(symbol(Symbol::Open)).parse_next(input)?.is_none() {
        return Err(expected(input, "("));
    }
    let mut list: Vec<Box<str>> = Vec::new();
    loop {
        count(input, 1)?;
        list.push(literal_text(input)?.0.into());
        if opt(symbol(Symbol::Comma)).parse_next(input)?.is_none() {
            break;
        }
    }
    if opt(symbol(Symbol::Close)).parse_next(input)?.is_none() {
        return Err(expected(input, ", or )"));
    }
    list.sort_unstable();
    list.dedup();
    Ok(Expression::In(name, list.into()))
}

fn like(input: &mut Input<'_, '_>, left: &Expression, start: usize) -> Parsed<Expression> {
    let name = checked_name(left, start, "LIKE needs a name before it")?;
    let (pattern, pattern_start) = literal_text(input)?;
    let escape = if opt(keyword(Keyword::Escape)).parse_next(input)?.is_some() {
        let (text, start) = literal_text(input)?;
        let mut chars = text.chars();
        let (Some(escape), None) = (chars.next(), chars.next()) else {
            return Err(cut(start, "ESCAPE needs one character"));
        };
        Some(escape)
    } else {
        None
    };
    let Some(pattern) = Pattern::new(pattern, escape) else {
        return Err(cut(pattern_start, "nothing follows the escape character at the end of the pattern"));
    };
    count(input, pattern.nodes())?;
    Ok(Expression::Like(name, pattern))
}

fn sum(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let operator = |input: &mut Input<'_, '_>| {
        alt((symbol(Symbol::Plus).value(Arithmetic::Add), symbol(Symbol::Minus).value(Arithmetic::Subtract)))
            .parse_next(input)
    };
    arithmetic(input, operator, product)
}

fn product(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let operator = |input: &mut Input<'_, '_>| {
        alt((symbol(Symbol::Star).value(Arithmetic::Multiply), symbol(Symbol::Slash).value(Arithmetic::Divide)))
            .parse_next(input)
    };
    arithmetic(input, operator, factor)
}

/// `term`, or several with operators of one precedence between them.
fn arithmetic(
    input: &mut Input<'_, '_>,
    operator: fn(&mut Input<'_, '_>) -> Parsed<Arithmetic>,
    term: fn(&mut Input<'_, '_>) -> Parsed<Expression>,
) -> Parsed<Expression> {
    let start = position(input);
    let first = term(input)?;
    let Some(mut next) = opt(operator).parse_next(input)? else { return Ok(first) };
    let first = checked_number(first, start)?;
    let mut rest = Vec::new();
    loop {
        count(input, 1)?;
        rest.push((next, numeric(input, term)?));
        match opt(operator).parse_next(input)? {
            Some(operator) => next = operator,
            None => return Ok(Expression::Arithmetic(Box::new(first), rest.into())),
        }
    }
}

/// A value with its signs. The sign belongs to a literal: the smallest `long` has no positive.
fn factor(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    let (mut signed, mut negative) = (false, false);
    while let Some(minus) =
        opt(alt((symbol(Symbol::Minus).value(true), symbol(Symbol::Plus).value(false)))).parse_next(input)?
    {
        count(input, 1)?;
        signed = true;
        negative ^= minus;
    }
    let start = position(input);
    if let Some(Token { kind: Kind::Number(literal), .. }) = input.peek_token() {
        count(input, 1)?;
        any.void().parse_next(input)?;
        let number = literal.value(negative).ok_or_else(|| cut(start, "a number out of range"))?;
        return Ok(Expression::Number(number));
    }
    let value = primary(input)?;
    if !signed {
        return Ok(value);
    }
    let value = checked_number(value, start)?;
    Ok(if negative { Expression::Negative(Box::new(value)) } else { value })
}

fn primary(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    count(input, 1)?;
    let expression = match input.peek_token().map(|token| &token.kind) {
        Some(Kind::Symbol(Symbol::Open)) => return nested(input),
        Some(Kind::Text(text)) => Expression::Text((**text).into()),
        Some(Kind::Keyword(Keyword::True)) => Expression::Bool(true),
        Some(Kind::Keyword(Keyword::False)) => Expression::Bool(false),
        Some(Kind::Name(name)) => Expression::Name(named(input, name)?),
        Some(Kind::Keyword(Keyword::Null)) => {
            return Err(cut(position(input), "NULL is no value; it is tested with IS NULL"));
        }
        _ => return Err(expected(input, "a value")),
    };
    any.void().parse_next(input)?;
    Ok(expression)
}

fn nested(input: &mut Input<'_, '_>) -> Parsed<Expression> {
    if input.state.nesting == NESTING_MAX {
        return Err(cut(position(input), format!("parentheses nest deeper than {NESTING_MAX}")));
    }
    input.state.nesting += 1;
    any.void().parse_next(input)?;
    let inner = disjunction(input)?;
    if opt(symbol(Symbol::Close)).parse_next(input)?.is_none() {
        return Err(expected(input, "an operator or )"));
    }
    input.state.nesting -= 1;
    Ok(inner)
}

fn named(input: &mut Input<'_, '_>, name: &str) -> Parsed<Name> {
    if NOT_SELECTABLE.contains(&name) {
        return Err(cut(position(input), format!("{name} cannot be selected by")));
    }
    let name = Header::named(name).map_or_else(|| Name::Property(input.state.names.mention(name)), Name::Header);
    input.state.needs_view |= match name {
        Name::Header(header) => header.needs_view(),
        Name::Property(_) => true,
    };
    Ok(name)
}

/// A text literal and where it begins.
fn literal_text<'t>(input: &mut Input<'t, '_>) -> Parsed<(&'t str, usize)> {
    match input.peek_token() {
        Some(Token { kind: Kind::Text(text), start, .. }) => {
            any.void().parse_next(input)?;
            Ok((text, *start))
        }
        _ => Err(expected(input, "a text in single quotes")),
    }
}

fn keyword<'t, 's: 't>(wanted: Keyword) -> impl ModalParser<Input<'t, 's>, (), Fault> {
    any.verify(move |token: &Token<'_>| token.kind == Kind::Keyword(wanted)).void()
}

fn symbol<'t, 's: 't>(wanted: Symbol) -> impl ModalParser<Input<'t, 's>, (), Fault> {
    any.verify(move |token: &Token<'_>| token.kind == Kind::Symbol(wanted)).void()
}

fn comparison(input: &mut Input<'_, '_>) -> Parsed<Comparison> {
    any.verify_map(|token: &Token<'_>| match token.kind {
        Kind::Symbol(Symbol::Equal) => Some(Comparison::Equal),
        Kind::Symbol(Symbol::NotEqual) => Some(Comparison::NotEqual),
        Kind::Symbol(Symbol::Less) => Some(Comparison::Less),
        Kind::Symbol(Symbol::LessOrEqual) => Some(Comparison::LessOrEqual),
        Kind::Symbol(Symbol::Greater) => Some(Comparison::Greater),
        Kind::Symbol(Symbol::GreaterOrEqual) => Some(Comparison::GreaterOrEqual),
        _ => None,
    })
    .parse_next(input)
}

fn condition(input: &mut Input<'_, '_>, term: fn(&mut Input<'_, '_>) -> Parsed<Expression>) -> Parsed<Expression> {
    let start = position(input);
    checked_condition(term(input)?, start)
}

fn numeric(input: &mut Input<'_, '_>, term: fn(&mut Input<'_, '_>) -> Parsed<Expression>) -> Parsed<Expression> {
    let start = position(input);
    checked_number(term(input)?, start)
}

fn checked_condition(expression: Expression, start: usize) -> Parsed<Expression> {
    if expression.is_condition() { Ok(expression) } else { Err(cut(start, "expected a condition, found a value")) }
}

fn checked_number(expression: Expression, start: usize) -> Parsed<Expression> {
    if expression.is_numeric() { Ok(expression) } else { Err(cut(start, "expected a number")) }
}

fn checked_name(expression: &Expression, start: usize, reason: &'static str) -> Parsed<Name> {
    if let Expression::Name(name) = expression { Ok(*name) } else { Err(cut(start, reason)) }
}

fn count(input: &mut Input<'_, '_>, nodes: usize) -> Parsed<()> {
    input.state.nodes += nodes;
    if input.state.nodes > NODES_MAX {
        return Err(cut(position(input), format!("it has more than {NODES_MAX} names, literals and operators")));
    }
    Ok(())
}

/// Where the next token begins.
fn position(input: &Input<'_, '_>) -> usize {
    let state = &input.state;
    state.tokens.get(state.tokens.len() - input.eof_offset()).map_or(state.text.len(), |token| token.start)
}

fn expected(input: &Input<'_, '_>, what: &str) -> ErrMode<Fault> {
    let state = &input.state;
    let before = (state.tokens.len() - input.eof_offset()).checked_sub(1);
    let Some(token) = before.map(|index| &state.tokens[index]) else {
        return cut(position(input), format!("expected {what}"));
    };
    let mut chars = state.text[token.start..token.end].chars();
    // Errors are one line.
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut excerpt: String = chars.by_ref().take(EXCERPT_CHARS_MAX).map(visible).collect();
    if chars.next().is_some() {
        excerpt.push('…');
    }
    cut(position(input), format!("expected {what} after {excerpt}"))
}

fn cut(offset: usize, reason: impl Into<std::borrow::Cow<'static, str>>) -> ErrMode<Fault> {
    ErrMode::Cut(Fault::new(offset, reason))
}
