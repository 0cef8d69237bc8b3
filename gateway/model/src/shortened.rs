//! Texts that hold what a peer sent, which may be long.

use std::borrow::Cow;

/// Characters kept at either end.
const END_CHARS: usize = 200;

/// The text, without its middle if it is long: an error says what is wrong with a name and need not repeat 60 KiB of it.
pub fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= 2 * END_CHARS {
        return text.into();
    }
    let start = text.char_indices().nth(END_CHARS).map(|(at, _)| at);
    let end = text.char_indices().rev().nth(END_CHARS - 1).map(|(at, _)| at);
    match (start, end) {
        (Some(start), Some(end)) if start < end => format!("{}…{}", &text[..start], &text[end..]).into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_middle_of_a_long_text_is_left_out() {
        assert_eq!(shortened("orders is full"), "orders is full");
        let (exact, long) = ("ü".repeat(2 * END_CHARS), "ü".repeat(60_000));
        assert_eq!(shortened(&exact), exact);
        let text = format!("there is no queue {long}: make it first");
        let shown = shortened(&text);
        assert!(shown.starts_with("there is no queue üü") && shown.ends_with("üü: make it first"), "{shown}");
        assert_eq!(shown.chars().count(), 2 * END_CHARS + 1);
    }
}
