use bytes::Bytes;
use evergate_model::{Address, Encoding, Meta};

use super::*;

fn target(queue: u64, durable: bool) -> Target {
    Target { shard: ShardId(0), queue: QueueId(queue), durable, at_most_once: false }
}

fn binding(filter: &str, durable: bool, no_local: Option<&str>) -> Binding {
    let filter = Filter::new(filter).unwrap();
    Binding { no_local: no_local.map(Arc::from), ..Binding::new(filter, durable) }
}

fn message(topic: &str) -> Message {
    Message::new(Meta::new(Address::topic(topic)), Encoding::Plain, Bytes::new(), Bytes::new())
}

fn found(routes: &Routes, topic: &str, client_id: &str) -> Vec<(u64, bool)> {
    let mut found = Vec::new();
    routes.find(&message(topic), client_id, &mut RouteCache::default(), &mut found);
    found.iter().map(|target| (target.queue.0, target.durable)).collect()
}

#[test]
fn what_is_found_agrees_with_the_filter_on_every_pair() {
    let parts = ["a", "b", "", "$s", "_l", "+"];
    let mut filters = vec!["#".to_owned()];
    for x in parts {
        filters.extend([x.to_owned(), format!("{x}/#")]);
        for y in parts {
            filters.extend([format!("{x}/{y}"), format!("{x}/{y}/#")]);
        }
    }
    filters.retain(|filter| !filter.is_empty());
    for text in &filters {
        let mut routes = Routes::default();
        let binding = binding(text, true, None);
        routes.bind(&binding, target(1, true));
        for topic in filters.iter().filter(|topic| !topic.contains(['+', '#'])) {
            let expected = binding.filter.matches(topic);
            assert_eq!(!found(&routes, topic, "").is_empty(), expected, "{text} on {topic}");
        }
        routes.unbind(QueueId(1), &binding.filter);
        assert!(routes.levels.is_empty());
    }
}

#[test]
fn overlapping_bindings_reach_a_queue_once_and_durably_if_any_is() {
    let mut routes = Routes::default();
    routes.bind(&binding("a/#", false, None), target(1, true));
    routes.bind(&binding("a/+", true, None), target(1, true));
    routes.bind(&binding("a/b", true, None), target(2, false));
    assert_eq!(found(&routes, "a/b", ""), [(1, true), (2, false)]);
}

#[test]
fn no_local_skips_what_the_client_itself_published() {
    let mut routes = Routes::default();
    routes.bind(&binding("a", true, Some("me")), target(1, true));
    assert_eq!(found(&routes, "a", "me"), []);
    assert_eq!(found(&routes, "a", "you"), [(1, true)]);
}

fn glob(text: &str) -> Binding {
    Binding::new(Filter::glob(text).unwrap(), true)
}

#[test]
fn patterns_find_what_they_match_beside_filters_with_levels() {
    let mut routes = Routes::default();
    routes.bind(&binding("shop/+", false, None), target(1, true));
    routes.bind(&glob("shop/e*"), target(1, true));
    routes.bind(&glob("**/eu"), target(2, true));
    routes.bind(&Binding::new(Filter::regex("shop/(us|uk)").unwrap(), true), target(3, true));
    assert_eq!(found(&routes, "shop/eu", ""), [(1, true), (2, true)]);
    assert_eq!(found(&routes, "shop/uk", ""), [(1, false), (3, true)]);
    assert_eq!(found(&routes, "shops/eu", ""), [(2, true)]);
    for (queue, filter) in [(1, "shop/e*"), (2, "**/eu")] {
        routes.unbind(QueueId(queue), &Filter::glob(filter).unwrap());
    }
    routes.unbind(QueueId(3), &Filter::regex("shop/(us|uk)").unwrap());
    assert!(routes.patterns.is_empty());
}

#[test]
fn a_publishers_cache_follows_every_change() {
    let (mut routes, mut cache, mut found) = (Routes::default(), RouteCache::default(), Vec::new());
    let mut count = |routes: &Routes, topic: &str| {
        routes.find(&message(topic), "", &mut cache, &mut found);
        found.len()
    };
    routes.bind(&glob("a/*"), target(1, true));
    assert_eq!(count(&routes, "a/b"), 1);
    routes.bind(&glob("a/*"), target(2, true));
    assert_eq!(count(&routes, "a/b"), 2);
    routes.bind(&glob("*/b"), target(3, true));
    assert_eq!(count(&routes, "a/b"), 3);
    routes.unbind(QueueId(1), &Filter::glob("a/*").unwrap());
    assert_eq!(count(&routes, "a/b"), 2);
    routes.unbind(QueueId(3), &Filter::glob("*/b").unwrap());
    assert_eq!(count(&routes, "a/b"), 1);
    for number in 0..5000 {
        assert_eq!(count(&routes, &format!("a/{number}")), 1);
    }
}

#[test]
fn what_a_bindings_selector_does_not_select_does_not_come_through_it() {
    let mut routes = Routes::default();
    let selective = |text: &str, selector: &str| Binding {
        selector: Some(Selector::parse(selector).unwrap()),
        ..binding(text, true, None)
    };
    routes.bind(&selective("a/#", "JMSPriority > 4"), target(1, true));
    routes.bind(&selective("a/+", "JMSPriority < 2"), target(1, true));
    routes.bind(&selective("a/b", "JMSPriority = 4"), target(2, true));
    let count = |priority: u8| {
        let (mut found, mut message) = (Vec::new(), message("a/b"));
        message.meta.priority = priority;
        routes.find(&message, "", &mut RouteCache::default(), &mut found);
        found.iter().map(|target| target.queue.0).collect::<Vec<_>>()
    };
    assert_eq!([count(9), count(1), count(4), count(3)], [vec![1], vec![1], vec![2], vec![]]);
}

#[test]
fn one_filter_may_have_very_many_queues_and_few_again() {
    let mut routes = Routes::default();
    for queue in 0..1000 {
        routes.bind(&binding("a", true, None), target(queue, true));
        routes.bind(&binding("a", queue % 2 == 0, None), target(queue, true));
    }
    assert_eq!(found(&routes, "a", "").len(), 1000);
    assert_eq!(found(&routes, "a", "")[1], (1, false));
    for queue in 1..1000 {
        routes.unbind(QueueId(queue), &Filter::new("a").unwrap());
    }
    assert_eq!(found(&routes, "a", ""), [(0, true)]);
}

#[test]
fn what_is_for_one_queue_goes_to_no_other_that_its_topic_leads_to() {
    let mut routes = Routes::default();
    routes.bind(&binding("a/#", true, None), target(1, true));
    routes.bind(&binding("a/b", true, None), target(2, true));
    let reached = |routes: &Routes, only: u64| {
        let (mut message, mut found) = (message("a/b"), Vec::new());
        message.meta.rare_mut().only_to = Some(QueueId(only));
        routes.find(&message, "", &mut RouteCache::default(), &mut found);
        found.iter().map(|target| target.queue.0).collect::<Vec<_>>()
    };
    assert_eq!((reached(&routes, 1), reached(&routes, 2), reached(&routes, 3)), (vec![1], vec![2], vec![]));
    // On its way to a queue by name that says nothing.
    routes.add_queue("_DMQ".into(), target(9, true));
    let mut letter = message("a/b");
    letter.meta.rare_mut().only_to = Some(QueueId(1));
    letter.meta.address = Address::queue("_DMQ");
    let mut found = Vec::new();
    routes.find(&letter, "", &mut RouteCache::default(), &mut found);
    assert_eq!(found, [target(9, true)]);
}
