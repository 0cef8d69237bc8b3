use std::fs;
use std::path::{Path, PathBuf};

use evergate_model::Policy;
use rcgen::generate_simple_self_signed;
use tempfile::TempDir;

use super::schema::{Listener, Queue, Tls, User};
use super::units::ByteSize;
use super::*;

/// Of no password in particular.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn with(content: &str, variables: &[(&str, &str)]) -> Result<Checked, Problems> {
    let files = Files::new();
    let path = files.write("evergate.toml", content);
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(&path), variables, None)
}

/// The only problem, without its directory.
fn problem(content: &str, variables: &[(&str, &str)]) -> String {
    let problems = with(content, variables).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    let text = problems.to_string();
    text.split_once("/evergate.toml").map_or(text.clone(), |(_, rest)| format!("evergate.toml{rest}"))
}

#[test]
fn without_a_file_everything_listens_on_loopback() {
    let checked = with("", &[]).unwrap();
    let shown: Vec<_> = checked.listeners.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["mqtt  127.0.0.1:1883", "amqp  127.0.0.1:5672", "stomp 127.0.0.1:61613", "http  127.0.0.1:15672"]
    );
    assert_eq!(checked.config, Config::default());
    assert!(checked.warnings.is_empty());
}

#[test]
fn an_unknown_key_is_refused_with_its_line_what_is_allowed_and_a_guess() {
    let text = problem("# first\n[listen]\nmqtt = \"\"\nampq = \"127.0.0.1:5672\"\n", &[]);
    assert!(text.starts_with("evergate.toml:4:1: unknown key `ampq`\n  4 | ampq = "), "{text}");
    assert!(text.contains("allowed: mqtt, amqp, stomp, http\n"), "{text}");
    assert!(text.contains("next: write `amqp` if"), "{text}");
    for (content, start) in [
        ("[journal]\nurl = \"sqlite:x\"\n[lisen]\n", "evergate.toml:3:2: unknown key `lisen`"),
        (
            "[[listener]]\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:1\"\nssl = true\n",
            "evergate.toml:4:1: unknown key `ssl`",
        ),
    ] {
        let text = problem(content, &[]);
        assert!(text.starts_with(start), "{text}");
    }
}

#[test]
fn wrong_values_are_told_with_line_and_what_is_allowed() {
    for (content, wanted) in [
        (
            "[limits]\n\nconnections_max = \"many\"\n",
            ["evergate.toml:3:19: this is string \"many\"", "from 0 to 4294967295"],
        ),
        ("[limits]\nconnections_max = -1\n", ["evergate.toml:2:19: this is integer `-1`", "from 0 to 4294967295"]),
        ("[limits]\nmessage_bytes_max = \"64 MiBi\"\n", ["evergate.toml:2:21: this is string \"64 MiBi\"", "KiB, MiB"]),
        ("[listen]\nmqtt = \"1883\"\n", ["evergate.toml:2:8: this is string \"1883\"", "127.0.0.1:1883"]),
        ("[log]\nformat = \"xml\"\n", ["evergate.toml:2:10: `xml` is no choice", "allowed: text, json"]),
        ("[tls]\nkey = \"k\"\n", ["evergate.toml:1:1: the key `certificate` is missing", "next: add it"]),
        ("[listen\n", ["evergate.toml:1:", "next: correct the TOML"]),
    ] {
        let text = problem(content, &[]);
        assert!(text.starts_with(wanted[0]) && text.contains(wanted[1]), "{text}");
    }
}

#[test]
fn sizes_are_integers_or_text_with_a_unit() {
    for (text, bytes) in [
        ("16777216", 16 << 20),
        ("\"32 MiB\"", 32 << 20),
        ("\"32mib\"", 32 << 20),
        ("\"5 MB\"", 5_000_000),
        ("\"1_000 kB\"", 1_000_000),
    ] {
        let checked = with(&format!("[limits]\nmessage_bytes_max = {text}\n"), &[]).unwrap();
        assert_eq!(checked.config.limits.message_bytes_max, ByteSize(bytes), "{text}");
    }
    assert_eq!(ByteSize(1536).to_string(), "1536 B");
    assert_eq!(ByteSize(64 << 20).to_string(), "64 MiB");
}

#[test]
fn the_environment_wins_over_the_file() {
    let checked = with(
        "[listen]\nmqtt = \"127.0.0.1:2883\"\nstomp = \"\"\n",
        &[
            ("EVERGATE__LISTEN__MQTT", "[\"127.0.0.1:3883\", \"[::1]:3883\"]"),
            ("evergate__listen__amqp", ""),
            ("EVERGATE__LIMITS__MESSAGE_BYTES_MAX", "1 MiB"),
            ("EVERGATE__LIMITS__CONNECTIONS_MAX", "7"),
            ("EVERGATE__AUTH__ANONYMOUS", "true"),
            ("EVERGATE__LOG__EVENTS_FILE", "1234"),
            ("EVERGATE__JOURNAL__URL", "postgres://localhost/evergate"),
            ("EVERGATE_PASSWORD", "one underscore: not a key"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    let shown: Vec<_> = checked.listeners.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["mqtt  127.0.0.1:3883", "mqtt  [::1]:3883", "http  127.0.0.1:15672"]);
    assert_eq!(checked.config.limits.message_bytes_max, ByteSize(1 << 20));
    assert_eq!(checked.config.limits.connections_max, 7);
    assert!(checked.config.auth.anonymous);
    assert_eq!(checked.config.log.events_file, "1234");
    assert_eq!(checked.config.journal.url, "postgres://localhost/evergate");
}

#[test]
fn wrong_variables_are_refused_by_name() {
    for (variable, value, wanted) in [
        ("EVERGATE__LISTEN__MQT", "127.0.0.1:1", "unknown key `mqt`"),
        ("EVERGATE__LISEN__MQTT", "127.0.0.1:1", "unknown key `lisen`"),
        ("EVERGATE__LIMITS__CONNECTIONS_MAX", "many", "this is string \"many\""),
        ("EVERGATE__LISTEN__MQTT__PORT", "1", "`mqtt`"),
        ("EVERGATE__", "1", "unknown key ``"),
        ("EVERGATE__LISTEN__MQTT", "0.0.0.0:1883", "the listener mqtt 0.0.0.0:1883"),
    ] {
        let text = problem("[listen]\nmqtt = \"127.0.0.1:1\"\n", &[(variable, value)]);
        assert!(text.starts_with(&format!("environment variable {variable}: ")) && text.contains(wanted), "{text}");
    }
}

#[test]
fn listening_beyond_loopback_needs_an_account() {
    let open = "[listen]\namqp = [\"127.0.0.1:5672\", \"0.0.0.0:5673\"]\n";
    let text = problem(open, &[]);
    assert!(text.starts_with("evergate.toml:2:1: the listener amqp 0.0.0.0:5673 can be reached"), "{text}");
    assert!(text.contains("evergate user hash"), "{text}");
    // Saying that anybody may come in is no account.
    problem(&format!("{open}[auth]\nanonymous = true\n"), &[]);

    let checked = with(&format!("{open}[[user]]\nname = \"ada\"\npassword = \"{HASH}\"\n"), &[]).unwrap();
    assert_eq!(checked.warnings.len(), 1);
    assert!(checked.warnings[0].contains("amqp 0.0.0.0:5673"), "{}", checked.warnings[0]);
    with("[listen]\namqp = [\"127.0.0.7:5672\", \"[::1]:5672\", \"localhost:5673\"]\n", &[]).unwrap();
}

#[test]
fn a_password_in_place_of_its_hash_is_refused_and_not_shown() {
    let text = problem("[[user]]\nname = \"a\"\npassword = \"hunter2\"\n", &[]);
    assert!(text.starts_with("evergate.toml:3:1: the password of user \"a\" is not an argon2 hash"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn two_users_of_one_name_and_two_listeners_of_one_port_are_refused() {
    let user = format!("[[user]]\nname = \"a\"\npassword = \"{HASH}\"\n");
    let text = problem(&format!("{user}{user}"), &[]);
    assert!(text.starts_with("evergate.toml:5:1: there are two users \"a\""), "{text}");

    let text = problem("[[listener]]\nprotocol = \"stomp\"\naddress = \"127.0.0.1:1883\"\n", &[]);
    assert!(
        text.starts_with("evergate.toml:3:1: stomp 127.0.0.1:1883 and mqtt 127.0.0.1:1883 are the same port"),
        "{text}"
    );
    problem(&format!("[listen]\namqp = \"0.0.0.0:1883\"\n{user}"), &[]);
    with("[listen]\nmqtt = \"127.0.0.1:0\"\namqp = \"127.0.0.1:0\"\n", &[]).unwrap();
}

#[test]
fn tls_needs_files_that_are_there_and_belong_together() {
    let files = Files::new();
    let (one, other) = (self_signed(), self_signed());
    let certificate = files.write("server.pem", &one.0);
    let (key, wrong) = (files.write("server.key", &one.1), files.write("other.key", &other.1));
    let listener = "[[listener]]\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:8883\"\ntls = true\n";
    let tls = |certificate: &Path, key: &Path| {
        format!(
            "{listener}[tls]\ncertificate = {:?}\nkey = {:?}\n",
            certificate.to_str().unwrap(),
            key.to_str().unwrap()
        )
    };

    let text = problem(listener, &[]);
    assert!(text.starts_with("evergate.toml:4:1: the listener mqtt 127.0.0.1:8883 wants TLS"), "{text}");
    let text = problem(&tls(Path::new("/nowhere/x.pem"), &key), &[]);
    assert!(text.starts_with("evergate.toml:6:1: cannot read /nowhere/x.pem"), "{text}");
    let text = problem(&tls(&certificate, Path::new("/nowhere/x.key")), &[]);
    assert!(text.starts_with("evergate.toml:7:1: cannot read /nowhere/x.key"), "{text}");
    let text = problem(&tls(&certificate, &wrong), &[]);
    assert!(text.contains("does not belong to the key in"), "{text}");

    let checked = with(&tls(&certificate, &key), &[]).unwrap();
    assert!(checked.tls.is_some());
    assert_eq!(checked.listeners.last().unwrap().to_string(), "mqtt  127.0.0.1:8883 (TLS)");
}

fn self_signed() -> (String, String) {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn limits_must_fit_each_other() {
    for (content, wanted) in [
        ("[limits]\nconnections_max = 0\n", "limits.connections_max is 0"),
        (
            "[limits]\nmessage_bytes_max = \"16 MiB\"\npublish_window_bytes = \"1 MiB\"\n",
            "limits.publish_window_bytes is 1 MiB",
        ),
        ("[limits]\nmemory_bytes_max = \"17 MiB\"\n", "limits.memory_bytes_max is 17 MiB"),
        ("[amqp]\nframe_bytes_max = 511\n", "amqp.frame_bytes_max is 511 B"),
        ("[stomp]\nline_bytes_max = \"1 MiB\"\n", "stomp.head_bytes_max is 64 KiB"),
        ("[journal]\nurl = \"mysql://x\"\n", "this is no journal"),
        ("[http]\nallowed_hosts = [\"*\"]\n", "\"*\" is no host name"),
        ("[http]\nallowed_origins = [\"gate.example\"]\n", "\"gate.example\" is no origin"),
        ("[listen]\nmqtt = \"\"\namqp = \"\"\nstomp = \"\"\nhttp = \"\"\n", "every listener is off"),
    ] {
        let text = problem(content, &[]);
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn retained_messages_leave_half_of_the_memory_to_the_others() {
    for (memory, retained, in_force) in [(200, 99, 99), (200, 100, 100), (200, 101, 100), (64, 128, 32)] {
        let content =
            format!("[limits]\nmemory_bytes_max = \"{memory} MiB\"\nretained_bytes_max = \"{retained} MiB\"\n");
        assert_eq!(with(&content, &[]).unwrap().config.limits.retained_bytes_in_force(), in_force << 20, "{content}");
    }
}

#[test]
fn policies_are_read_and_what_makes_no_sense_in_them_is_refused_with_its_line() {
    let checked = with("[[policy]]\nmatch = \"a/#\"\nbytes_max = \"2 KiB\"\non_full = \"drop-oldest\"\n", &[]).unwrap();
    let wanted = Policy {
        matches: "a/#".into(),
        bytes_max: Some(2048),
        on_full: Some(evergate_model::OnFull::DropOldest),
        ..Policy::default()
    };
    assert_eq!(checked.config.policy, [wanted]);
    let variable = ("EVERGATE__POLICY", "[{match = \"a\", messages_max = 5}]");
    assert_eq!(with("", &[variable]).unwrap().config.policy[0].messages_max, Some(5));
    for (lines, start, wanted) in [
        ("messages_max = 0\n", "evergate.toml:4:1:", "messages_max: 0 would leave nothing"),
        ("mesages_max = 1\n", "evergate.toml:4:1:", "write `messages_max` if"),
        ("on_full = \"panic\"\n", "evergate.toml:4:11:", "allowed: block, reject, drop-oldest"),
        ("bytes_max = \"2 KiBi\"\n", "evergate.toml:4:13:", "KiB, MiB"),
        ("stream = true\nlast_value_key = \"k\"\n", "evergate.toml:4:1:", "either a stream or"),
    ] {
        let text = problem(&format!("# first\n[[policy]]\nmatch = \"a\"\n{lines}"), &[]);
        assert!(text.starts_with(start) && text.contains(wanted), "{text}");
    }
    let text = problem("[[policy]]\nmatch = \"a#\"\n", &[]);
    assert!(text.starts_with("evergate.toml:2:1: the policy for \"a#\": match: "), "{text}");
    let text = problem("[[policy]]\nmessages_max = 1\n", &[]);
    assert!(text.starts_with("evergate.toml:1:1: this policy: match: it is missing"), "{text}");
}

#[test]
fn queues_of_the_configuration_are_read_and_checked() {
    let checked = with(
        "[[queue]]\nname = \"orders-eu\"\nbind = [\"shop/eu/#\"]\nbind_glob = [\"shop/*/eu\"]\n\
         selector = \"JMSPriority > 4\"\n[queue.settings]\nmessages_max = 5\n",
        &[],
    )
    .unwrap();
    let definition = &checked.queues[0];
    assert_eq!((&*definition.name, definition.settings.messages_max), ("orders-eu", Some(5)));
    let bound: Vec<_> = definition.bindings.iter().map(|binding| binding.filter.as_str()).collect();
    assert_eq!(bound, ["shop/eu/#", "#glob:shop/*/eu"]);
    assert!(definition.bindings.iter().all(|binding| binding.selector.is_some()));
    for (lines, start, wanted) in [
        ("name = \"a\"\nbind = [\"a#\"]\n", "evergate.toml:3:1:", "\"a#\": + must fill a level"),
        ("name = \"a\"\nbind_regex = [\"(\"]\n", "evergate.toml:3:1:", "regular expression is not valid"),
        ("name = \"a\"\nselector = \"x >\"\n", "evergate.toml:3:1:", "the queue \"a\""),
        ("name = \"$a\"\n", "evergate.toml:2:1:", "names that begin with $ or _"),
        ("bind = [\"a\"]\n", "evergate.toml:1:1:", "the destination name is empty"),
        ("name = \"a\"\nsettings.match = \"a\"\n", "evergate.toml:3:1:", "have no match"),
        ("name = \"a\"\n[[queue]]\nname = \"a\"\n", "evergate.toml:4:1:", "two queues \"a\""),
    ] {
        let text = problem(&format!("[[queue]]\n{lines}"), &[]);
        assert!(text.starts_with(start) && text.contains(wanted), "{text}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let problems = with("[limits]\nconnections_max = 0\n[listen]\nmqtt = \"0.0.0.0:1\"\n", &[]).unwrap_err();
    assert_eq!(problems.0.len(), 2, "{problems}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let problems = load(Some(Path::new("/nowhere/evergate.toml")), [], None).unwrap_err().to_string();
    assert!(problems.starts_with("/nowhere/evergate.toml: cannot be read: "), "{problems}");
}

#[test]
fn the_journal_of_the_command_line_wins_and_is_named_when_wrong() {
    let files = Files::new();
    let empty = files.write("e.toml", "");
    let checked = load(Some(&empty), [], Some("sqlite:/tmp/x".into())).unwrap();
    assert_eq!(checked.config.journal.url, "sqlite:/tmp/x");
    let problems = load(Some(&empty), [], Some("x".into())).unwrap_err().to_string();
    assert!(problems.starts_with("argument --journal: this is no journal"), "{problems}");
}

const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// A section's table in the page, by its heading.
fn section(name: &str) -> &'static str {
    let headings = [format!("\n## `[{name}]`"), format!("\n## `[[{name}]]`")];
    let start = headings.iter().find_map(|heading| PAGE.find(heading)).unwrap_or_else(|| panic!("no section {name}"));
    let rest = &PAGE[start + 3..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

fn every_key() -> Policy {
    Policy {
        matches: "a".into(),
        messages_max: Some(1),
        bytes_max: Some(1),
        on_full: Some(evergate_model::OnFull::Block),
        time_to_live_ms: Some(1),
        on_expiry: Some(evergate_model::Unwanted::Discard),
        deliveries_max: Some(1),
        redelivery_delay_ms: Some(1),
        redelivery_factor_percent: Some(100),
        redelivery_delay_max_ms: Some(1),
        on_failure: Some(evergate_model::Unwanted::Discard),
        last_value_key: Some("k".into()),
        stream: Some(false),
        stream_age_max_ms: Some(1),
        stream_bytes_max: Some(1),
        consumers: Some(evergate_model::Consumers::Competing),
        dispatch: Some(evergate_model::Dispatch::Eager),
        dedup_count: Some(1),
        dedup_time_ms: Some(1),
        dedup_by_message_id: Some(true),
        dedup_by_correlation_id: Some(true),
        auto_create: Some(true),
        auto_delete_after_ms: Some(1),
    }
}

#[test]
fn the_page_names_every_key_with_its_default() {
    let full = Config {
        tls: Some(Tls { certificate: "c".into(), key: "k".into(), client_ca: Some("a".into()) }),
        listener: vec![Listener { protocol: Protocol::Mqtt, address: "127.0.0.1:1".parse().unwrap(), tls: false }],
        user: vec![User { name: "n".into(), password: "p".into(), admin: true }],
        policy: vec![every_key()],
        queue: vec![Queue { selector: Some("a = 1".into()), ..Queue::default() }],
        ..Config::default()
    };
    let table = toml::Table::try_from(&full).unwrap();
    let mut keys = 0;
    for (name, value) in &table {
        let page = section(name);
        let (inner, has_default) = match value {
            toml::Value::Table(inner) => (inner, name != "tls"),
            toml::Value::Array(list) => (list[0].as_table().unwrap(), false),
            other => panic!("{name}: {other}"),
        };
        for (key, default) in inner {
            keys += 1;
            let row = if has_default { format!("| `{key}` | `{default}` |") } else { format!("| `{key}` |") };
            assert!(page.contains(&row), "section {name} lacks the row {row}");
        }
        // And no row of a key that is gone.
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let key = line.split('`').nth(1).unwrap();
            assert!(inner.contains_key(key), "section {name} has a row for {key}");
        }
    }
    assert!(keys > 40);
}

#[test]
fn the_examples_of_policies_are_valid() {
    const POLICIES: &str = include_str!("../../../../docs/policies.md");
    let examples: Vec<&str> =
        POLICIES.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let checked = with(example, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!checked.config.policy.is_empty() || !checked.queues.is_empty());
    }
}

#[test]
fn the_pages_example_is_valid() {
    let example = PAGE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let files = Files::new();
    let made = self_signed();
    let certificate = files.write("server.pem", &made.0);
    let key = files.write("server.key", &made.1);
    let here = example
        .replace("/etc/evergate/server.pem", certificate.to_str().unwrap())
        .replace("/etc/evergate/server.key", key.to_str().unwrap());
    let checked = with(&here, &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(checked.listeners.iter().any(|listener| listener.tls));
    assert!(
        checked.accounts.admits_anonymous(evergate_runtime::net::Reach::Loopback) == checked.config.user.is_empty()
    );
}

#[test]
fn a_filter_that_cannot_be_read_or_that_hides_even_errors_is_refused_with_its_line() {
    for wrong in ["==", "info,evergate_runtime=dbug", "inof", "bogus,evergate_runtime=debug"] {
        let text = problem(&format!("[log]\nfilter = {wrong:?}\n"), &[]);
        assert!(text.starts_with("evergate.toml:2:1: "), "{text}");
        assert!(text.contains("allowed: off, error, warn"), "{text}");
    }
    for right in ["", "off", "INFO", "Warn", "info,rustls", "evergate_runtime=debug", "evergate=info", "3"] {
        let checked = with(&format!("[log]\nfilter = {right:?}\n"), &[]);
        assert!(checked.is_ok(), "{right}: {checked:?}");
    }
}

#[test]
fn an_event_file_that_is_a_directory_is_refused_with_its_line() {
    let text = problem("[log]\nevents_file = \"/\"\n", &[]);
    assert!(text.starts_with("evergate.toml:2:1: / is a directory"), "{text}");
}

#[test]
fn an_address_of_postgresql_that_cannot_be_right_is_refused_without_its_password() {
    for (wrong, why) in [
        ("postgres://ada:hunter2@h:99999/d", "`port`"),
        ("postgres://ada:hunter2@h/d?sslmode=bogus", "`sslmode`"),
        ("postgres://h/d?password=hunter2&pasword=x", "`pasword`"),
        ("postgres:///d?password=hunter2", "no host"),
    ] {
        let text = problem(&format!("[journal]\nurl = {wrong:?}\n"), &[]);
        assert!(text.starts_with("evergate.toml:2:1: the address of PostgreSQL is wrong"), "{text}");
        assert!(text.contains(why) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_hash_without_its_digest_is_refused() {
    let (cut, _) = HASH.rsplit_once('$').unwrap();
    let text = problem(&format!("[[user]]\nname = \"a\"\npassword = \"{cut}\"\n"), &[]);
    assert!(text.contains("is not an argon2 hash (it was cut off"), "{text}");
}
