//! LIKE: `%` stands for any number of characters, `_` for one. A match takes time in proportion to the text alone.

/// A character, or `None` where any one will do.
type Piece = Option<char>;

/// Pieces between two `%`, if a `_` is among them: a bit for each, in one word.
pub(super) const SHIFTED_MAX: usize = u64::BITS as usize;

/// What a search through the text counts for in the size of the selector, beside the characters of the pattern.
pub(super) const SEARCH_NODES: usize = 32;

/// A LIKE pattern, compiled.
#[derive(Debug, PartialEq)]
pub(super) struct Pattern {
    /// Before the first `%`.
    first: Box<[Piece]>,
    /// `None`: there is no `%`.
    behind: Option<Behind>,
    nodes: usize,
}

#[derive(Debug, PartialEq)]
struct Behind {
    /// Between two `%`.
    between: Box<[Segment]>,
    /// Behind the last `%`.
    last: Box<[Piece]>,
}

/// What stands between two `%`; never empty.
#[derive(Debug, PartialEq)]
enum Segment {
    Text(Box<str>),
    Shifted(Shifted),
}

/// Pieces with `_` among them. Bit i of a mask: piece i may be this character.
#[derive(Debug, PartialEq)]
struct Shifted {
    /// Sorted.
    masks: Box<[(char, u64)]>,
    /// Of all other characters.
    others: u64,
    /// The bit of the last piece.
    last: u64,
}

impl Pattern {
    /// The error is for people.
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Result<Self, &'static str> {
        let mut nodes = 0;
        let mut runs = vec![Vec::new()];
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            nodes += 1;
            let piece = match c {
                c if Some(c) == escape => {
                    Some(chars.next().ok_or("nothing follows the escape character at the end of the pattern")?)
                }
                '%' => {
                    runs.push(Vec::new());
                    continue;
                }
                '_' => None,
                c => Some(c),
            };
            runs.last_mut().into_iter().for_each(|run| run.push(piece));
        }
        let mut runs = runs.into_iter();
        let first = runs.next().unwrap_or_default().into();
        let behind = match runs.next_back() {
            Some(last) => {
                let between: Box<[_]> =
                    runs.filter(|run| !run.is_empty()).map(|run| Segment::new(&run)).collect::<Result<_, _>>()?;
                Some(Behind { between, last: last.into() })
            }
            None => None,
        };
        if behind.as_ref().is_some_and(|behind| !behind.between.is_empty()) {
            nodes += SEARCH_NODES;
        }
        Ok(Self { first, behind, nodes })
    }

    /// How much it counts for in the size of the selector.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(mut rest) = without_start(text, &self.first) else { return false };
        let Some(Behind { between, last }) = &self.behind else { return rest.is_empty() };
        rest = match without_end(rest, last) {
            Some(rest) => rest,
            None => return false,
        };
        // Each is taken where it is found first: that leaves most to those behind it.
        between.iter().all(|segment| match segment.behind_first(rest) {
            Some(behind) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
}

fn is_one(piece: Piece, found: Option<char>) -> bool {
    found.is_some_and(|found| piece.is_none_or(|wanted| wanted == found))
}

fn without_start<'a>(text: &'a str, pieces: &[Piece]) -> Option<&'a str> {
    let mut chars = text.chars();
    pieces.iter().all(|piece| is_one(*piece, chars.next())).then_some(chars.as_str())
}

fn without_end<'a>(text: &'a str, pieces: &[Piece]) -> Option<&'a str> {
    let mut chars = text.chars();
    pieces.iter().rev().all(|piece| is_one(*piece, chars.next_back())).then_some(chars.as_str())
}

impl Segment {
    fn new(pieces: &[Piece]) -> Result<Self, &'static str> {
        if let Some(text) = pieces.iter().copied().collect::<Option<String>>() {
            return Ok(Self::Text(text.into()));
        }
        if pieces.len() > SHIFTED_MAX {
            return Err("between two % there may be at most 64 characters if _ is among them");
        }
        let bits = || pieces.iter().enumerate().map(|(at, piece)| (1 << at, *piece));
        let mask = |c: Piece| bits().filter(|(_, piece)| piece.is_none() || *piece == c).map(|(bit, _)| bit).sum();
        let mut chars: Vec<char> = pieces.iter().copied().flatten().collect();
        chars.sort_unstable();
        chars.dedup();
        let masks = chars.into_iter().map(|c| (c, mask(Some(c)))).collect();
        Ok(Self::Shifted(Shifted { masks, others: mask(None), last: 1 << (pieces.len() - 1) }))
    }

    /// What is behind the first place where it is found.
    fn behind_first<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            // Two-way search: linear, whatever the texts.
            Self::Text(wanted) => text.find(&**wanted).map(|at| &text[at + wanted.len()..]),
            Self::Shifted(shifted) => shifted.behind_first(text),
        }
    }
}

impl Shifted {
    /// Bit i of `begun`: the last i + 1 characters are the first i + 1 pieces.
    fn behind_first<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut begun: u64 = 0;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let mask = match self.masks.binary_search_by_key(&c, |(c, _)| *c) {
                Ok(at) => self.masks[at].1,
                Err(_) => self.others,
            };
            begun = (begun << 1 | 1) & mask;
            if begun & self.last != 0 {
                return Some(chars.as_str());
            }
        }
        None
    }
}
