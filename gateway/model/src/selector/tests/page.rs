//! What docs/selectors.md shows holds.

use crate::Selector;
use crate::selector::identifier::{HEADERS, NOT_SELECTABLE};
use crate::selector::like::{SEARCH_NODES, SHIFTED_MAX};
use crate::selector::{COMPARED_BYTES_MAX, NESTING_MAX, NODES_MAX, TEXT_BYTES_MAX};

const PAGE: &str = include_str!("../../../../../docs/selectors.md");

/// The lines of the blocks in `language`.
fn lines(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let blocks = PAGE.split(&*fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let lines: Vec<_> = blocks.flat_map(str::lines).collect();
    assert!(!lines.is_empty(), "the page shows no {language}");
    lines
}

#[test]
fn the_examples_of_the_page_are_selectors() {
    for line in lines("sql") {
        Selector::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn the_errors_of_the_page_are_those_that_are_given() {
    let lines = lines("text");
    let errors: Vec<_> = lines.windows(2).filter(|pair| pair[1].starts_with("selector: ")).collect();
    assert!(errors.len() >= 5);
    for pair in errors {
        assert_eq!(Selector::parse(pair[0]).unwrap_err().to_string(), pair[1]);
    }
}

#[test]
fn the_page_names_every_header_and_limit() {
    for name in HEADERS.iter().map(|(name, _)| name).chain(NOT_SELECTABLE) {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
    assert!(PAGE.contains(&format!("| text | {} KiB |", TEXT_BYTES_MAX / 1024)));
    assert!(PAGE.contains(&format!("| parentheses in each other | {NESTING_MAX} |")));
    assert!(PAGE.contains(&format!("characters of LIKE patterns | {NODES_MAX} |")));
    assert!(PAGE.contains(&format!("something between two `%` | {SEARCH_NODES} |")));
    assert!(PAGE.contains(&format!("if `_` is among them | {SHIFTED_MAX} |")));
    assert!(PAGE.contains(&format!("more than {} KiB", COMPARED_BYTES_MAX / 1024)));
}
