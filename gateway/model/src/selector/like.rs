//! LIKE: `%` stands for any number of characters, `_` for one.

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Char(char),
    AnyOne,
    AnyMany,
}

/// A LIKE pattern, compiled.
#[derive(Debug, PartialEq)]
pub(super) struct Pattern(Box<[Piece]>);

impl Pattern {
    /// `None`: the pattern ends with its escape character.
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let piece = match c {
                c if Some(c) == escape => Piece::Char(chars.next()?),
                '%' => Piece::AnyMany,
                '_' => Piece::AnyOne,
                c => Piece::Char(c),
            };
            // Two % are one: the steps of a match do not grow with them.
            if piece != Piece::AnyMany || pieces.last() != Some(&Piece::AnyMany) {
                pieces.push(piece);
            }
        }
        Some(Self(pieces.into()))
    }

    /// How much it counts for in the size of the selector.
    pub(super) fn nodes(&self) -> usize {
        self.0.len()
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.matches_counting(text, &mut 0)
    }

    /// When a piece fails, only the last `%` takes one character more: what the ones before it took
    /// need not be tried again, since the last one could have taken it too. So the steps are at most
    /// pieces times characters.
    pub(super) fn matches_counting(&self, text: &str, steps: &mut u64) -> bool {
        let pieces = &self.0;
        let (mut at, mut rest) = (0, text.chars());
        let mut retry = None;
        loop {
            *steps += 1;
            let before = rest.clone();
            match (pieces.get(at), rest.next()) {
                (Some(Piece::AnyMany), _) => {
                    at += 1;
                    // A % at the end takes whatever follows.
                    if at == pieces.len() {
                        return true;
                    }
                    retry = Some((at, before.clone()));
                    rest = before;
                }
                (None, None) => return true,
                (Some(Piece::AnyOne), Some(_)) => at += 1,
                (Some(Piece::Char(wanted)), Some(found)) if *wanted == found => at += 1,
                // The text is at its end: a % that took more would leave less.
                (Some(_), None) => return false,
                (Some(_) | None, Some(_)) => {
                    let Some((piece, from)) = &mut retry else { return false };
                    from.next();
                    (at, rest) = (*piece, from.clone());
                }
            }
        }
    }
}
