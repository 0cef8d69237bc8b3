use super::*;

#[test]
fn filters_match_as_mqtt_4_7_says() {
    let table = [
        ("sport/tennis/#", "sport/tennis", true),
        ("sport/tennis/#", "sport/tennis/a/b", true),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "a//b", true),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("#", "_LOG", false),
        ("$SYS/#", "$SYS/x", true),
        ("_LOG", "_LOG", true),
        ("a/b", "a/b/c", false),
        ("a/b/c", "a/b", false),
    ];
    for (filter, topic, expected) in table {
        assert_eq!(Filter::new(filter).unwrap().matches(topic), expected, "{filter} on {topic}");
    }
}

#[test]
fn misplaced_wildcards_are_refused() {
    for text in ["a#", "a/#/b", "a+/b", "+a", "#/"] {
        assert_eq!(Filter::new(text), Err(FilterError::MisplacedWildcard), "{text}");
    }
    assert_eq!(Filter::new(""), Err(FilterError::Empty));
    assert!(Filter::new(["a"; 128].join("/")).is_ok());
    assert_eq!(Filter::new(["a"; 129].join("/")), Err(FilterError::TooDeep));
    for text in ["#", "+", "+/#", "/", "a//+"] {
        assert!(Filter::new(text).is_ok(), "{text}");
    }
}

#[test]
fn globs_match_whole_names() {
    let table = [
        ("shop/*", "shop/eu", true),
        ("shop/*", "shop/eu/1", false),
        ("shop/*", "shop/", true),
        ("shop/*", "shop", false),
        ("shop/*", "a shop/eu", false),
        ("shop/**", "shop/eu/1", true),
        ("**/1", "shop/eu/1", true),
        ("shop/*/orders", "shop/eu/orders", true),
        ("shop/e?", "shop/eu", true),
        ("shop/e?", "shop/e", false),
        ("shop?eu", "shop/eu", false),
        ("shop/[a-f]u", "shop/eu", true),
        ("shop/[!a-f]u", "shop/eu", false),
        ("shop/[!a-f]u", "shop/xu", true),
        ("shop[!a]eu", "shop/eu", false),
        ("a[]-]b", "a-b", true),
        ("a[]-]b", "a]b", true),
        ("a[x.-]b", "a.b", true),
        ("a.b", "axb", false),
        (r"a\*b", "a*b", true),
        (r"a\*b", "axb", false),
        ("caf\u{e9}/*", "caf\u{e9}/x", true),
        ("a*", "a\nb", true),
        ("**", "$SYS/x", false),
        ("**", "_LOG", false),
        ("?SYS/x", "$SYS/x", false),
        ("[$]SYS/x", "$SYS/x", false),
        ("$SYS/*", "$SYS/x", true),
        ("_*", "_LOG", true),
    ];
    for (glob, topic, expected) in table {
        assert_eq!(Filter::glob(glob).unwrap().matches(topic), expected, "{glob} on {topic}");
    }
    for glob in ["a[", "a[b", "a[]", r"a\", "[z-a]", "[+-0]", "[a/]"] {
        assert_eq!(Filter::glob(glob), Err(FilterError::Glob), "{glob}");
    }
}

#[test]
fn regular_expressions_match_whole_names() {
    let table = [
        ("shop/(eu|us)/[0-9]+", "shop/eu/17", true),
        ("shop/(eu|us)/[0-9]+", "shop/eu/17x", false),
        ("a|ab", "ab", true),
        ("b", "abc", false),
        ("ab?", "a", true),
        ("abc*", "ab", true),
        ("(?i)SHOP", "shop", true),
        (".+", "caf\u{e9}", true),
        (r"caf[^/]", "caf\u{e9}", true),
        (r"\w+", "a_1", true),
        (r"\w+", "caf\u{e9}", false),
        (r"[\w-]+/[^\d]\S", "a-b/cd", true),
        (r"\d{4}-\d{2}-\d{2}/\w+/\w{1,20}", "2026-07-01/a/b", true),
        (r".*\bred\b.*", "a/red/b", true),
        (r".*\bred\b.*", "a/reddish", false),
        (r"a\B.*", "ab", true),
        (r"a\\d", r"a\d", true),
        (r"(?x) a \s", "a ", true),
        (".*", "$SYS/x", false),
        (".*", "_LOG", false),
        (r"\$SYS/.*", "$SYS/x", true),
        ("_LOG", "_LOG", true),
        (r"\$SYS/(a|x)", "$SYS/x", true),
        ("_LOG|.*", "_ADMIN", false),
        ("_?.*", "_LOG", false),
        (r"a\.b", "a.b", true),
        (r"a\.b", "axb", false),
    ];
    for (regex, topic, expected) in table {
        assert_eq!(Filter::regex(regex).unwrap().matches(topic), expected, "{regex} on {topic}");
    }
    for regex in ["a)|(b", "(", r"(a)\1", "(?=a)", "*a"] {
        assert!(Filter::regex(regex).is_err(), "{regex}");
    }
    assert_eq!(Filter::regex(&"a".repeat(5000)), Err(FilterError::PatternTooLarge));
    assert_eq!(Filter::regex(""), Err(FilterError::Empty));
}

#[test]
fn a_pattern_too_large_is_refused_and_ordinary_ones_are_far_from_it() {
    for hostile in
        [r"(\w{1,99}){99}", ".*a[ab]{3000}", ".*a[ab]{12}", "((a|b|[ab]|ab|.*){30}c){2}", "(.*a.{9}){3}|.{9}"]
    {
        assert_eq!(Filter::regex(hostile), Err(FilterError::PatternTooLarge), "{hostile}");
    }
    let devices = |count: u32| (0..count).map(|number| format!("dev-{number:04}")).collect::<Vec<_>>().join("|");
    for ordinary in [
        r"dev-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.*",
        r"plant/(berlin|paris|london)/line\d{1,3}/(temp|pressure|flow)",
        r"[A-Za-z0-9_-]{1,64}/\w+/\d{4}-\d{2}-\d{2}",
        "[^/]{1,32}/x/.*/y/.*",
        &format!("plant/({})/.*", devices(100)),
    ] {
        assert!(Filter::regex(ordinary).is_ok(), "{ordinary}");
    }
    // At the edge.
    assert!(Filter::regex(".{1,60}").is_ok());
    assert_eq!(Filter::regex(".{1,70}"), Err(FilterError::PatternTooLarge));
}

#[test]
fn patterns_match_no_name_beyond_their_limit() {
    let (edge, beyond) = ("a".repeat(Filter::PATTERN_NAME_BYTES_MAX), "a".repeat(Filter::PATTERN_NAME_BYTES_MAX + 1));
    for pattern in [Filter::regex("a+"), Filter::glob("a*")] {
        let pattern = pattern.unwrap();
        assert!(pattern.matches(&edge) && !pattern.matches(&beyond));
    }
    assert!(Filter::new("#").unwrap().matches(&beyond), "filters with levels do");
}

#[test]
fn every_kind_of_filter_comes_back_from_its_text() {
    for filter in [Filter::new("a/#").unwrap(), Filter::glob("a/**").unwrap(), Filter::regex("a/.*").unwrap()] {
        let again = Filter::parse(filter.as_str()).unwrap();
        assert_eq!(again, filter);
        assert_eq!(again.is_pattern(), filter.is_pattern());
        assert!(again.matches("a/b/c") && !again.matches("b"));
    }
    // No filter with levels is taken for a pattern.
    assert_eq!(Filter::new("#glob:a"), Err(FilterError::MisplacedWildcard));
}

#[test]
fn a_filter_matches_only_what_begins_with_its_literal_prefix() {
    let filters = [
        Filter::new("a/b/#").unwrap(),
        Filter::new("a/+").unwrap(),
        Filter::glob("a/b*").unwrap(),
        Filter::glob(r"a\*/**").unwrap(),
        Filter::regex("a/b+").unwrap(),
        Filter::regex(r"a\*/(b|c)").unwrap(),
        Filter::regex("a/b?c{2}").unwrap(),
        Filter::regex("a|b").unwrap(),
        Filter::regex("a/[(]?b|b").unwrap(),
    ];
    let topics = ["a", "b", "a/", "a/b", "a/bb", "a/b/c", "a*/b", "a/cc", "a/bcc"];
    for filter in &filters {
        let matching: Vec<_> = topics.iter().filter(|topic| filter.matches(topic)).collect();
        assert!(!matching.is_empty(), "{filter}");
        assert!(matching.iter().all(|topic| topic.starts_with(filter.literal_prefix())), "{filter}");
    }
}

#[test]
fn what_clients_and_operators_write_is_read_back() {
    for (text, matching, other) in [
        ("x/+", "x/y", "x"),
        ("$glob/x/*", "x/y", "y/x"),
        ("$regex/x/[0-9]+", "x/1", "x/y"),
        ("$share/x", "$share/x", "x"),
    ] {
        let filter = Filter::read(text).unwrap();
        assert_eq!(filter.written(), text);
        assert!(filter.matches(matching) && !filter.matches(other), "{text}");
    }
    for wrong in ["", "x/#/y", "$glob/[", "$regex/("] {
        assert!(Filter::read(wrong).is_err(), "{wrong}");
    }
}
