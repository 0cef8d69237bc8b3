//! What the parser reads from: the tokens, and what is counted and collected on the way.

use std::borrow::Cow;

use winnow::combinator::opt;
use winnow::error::ErrMode;
use winnow::stream::{Stateful, Stream, TokenSlice};
use winnow::token::any;
use winnow::{ModalParser, ModalResult, Parser};

use super::error::Fault;
use super::expression::Names;
use super::lexer::{Kind, Token};
use super::{NESTING_MAX, NODES_MAX};

/// How much of a token an error shows.
const EXCERPT_CHARS_MAX: usize = 24;

pub(super) type Input<'t, 's> = Stateful<TokenSlice<'t, Token<'s>>, State<'t, 's>>;
pub(super) type Parsed<O> = ModalResult<O, Fault>;

#[derive(Debug)]
pub(super) struct State<'t, 's> {
    /// What the tokens' positions are in.
    text: &'s str,
    /// All of them, to look back at.
    tokens: &'t [Token<'s>],
    nesting: usize,
    nodes: usize,
    pub(super) names: Names,
    pub(super) needs_view: bool,
}

pub(super) fn input<'t, 's>(text: &'s str, tokens: &'t [Token<'s>]) -> Input<'t, 's> {
    let state = State { text, tokens, nesting: 0, nodes: 0, names: Names::default(), needs_view: false };
    Stateful { input: TokenSlice::new(tokens), state }
}

/// The token `wanted`, for combinators.
pub(super) fn token<'t, 's: 't>(wanted: impl Into<Kind<'static>>) -> impl ModalParser<Input<'t, 's>, (), Fault> {
    let wanted = wanted.into();
    any.verify(move |token: &Token<'_>| token.kind == wanted).void()
}

/// Whether the next token is `wanted`; if so, it is taken.
pub(super) fn accept(input: &mut Input<'_, '_>, wanted: impl Into<Kind<'static>>) -> Parsed<bool> {
    Ok(opt(token(wanted)).parse_next(input)?.is_some())
}

/// Takes `wanted`, or fails for want of `what`.
pub(super) fn require(input: &mut Input<'_, '_>, wanted: impl Into<Kind<'static>>, what: &str) -> Parsed<()> {
    if accept(input, wanted)? { Ok(()) } else { Err(expected(input, what)) }
}

/// Takes the next token, which the caller has looked at.
pub(super) fn skip(input: &mut Input<'_, '_>) -> Parsed<()> {
    any.void().parse_next(input)
}

/// Counts nodes against their limit.
pub(super) fn count(input: &mut Input<'_, '_>, nodes: usize) -> Parsed<()> {
    input.state.nodes += nodes;
    if input.state.nodes > NODES_MAX {
        return Err(cut(position(input), format!("it has more than {NODES_MAX} names, literals and operators")));
    }
    Ok(())
}

/// Enters a parenthesis.
pub(super) fn enter(input: &mut Input<'_, '_>) -> Parsed<()> {
    if input.state.nesting == NESTING_MAX {
        return Err(cut(position(input), format!("parentheses nest deeper than {NESTING_MAX}")));
    }
    input.state.nesting += 1;
    skip(input)
}

/// Leaves it.
pub(super) fn leave(input: &mut Input<'_, '_>) {
    input.state.nesting -= 1;
}

/// Where the next token begins.
pub(super) fn position(input: &Input<'_, '_>) -> usize {
    let state = &input.state;
    state.tokens.get(state.tokens.len() - input.eof_offset()).map_or(state.text.len(), |token| token.start)
}

/// An error: `what` should stand where the next token is.
pub(super) fn expected(input: &Input<'_, '_>, what: &str) -> ErrMode<Fault> {
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

/// An error that no other way to read the text mends.
pub(super) fn cut(offset: usize, reason: impl Into<Cow<'static, str>>) -> ErrMode<Fault> {
    ErrMode::Cut(Fault::new(offset, reason))
}
