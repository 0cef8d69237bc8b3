use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;

fn hash(password: &str) -> String {
    let salt = SaltString::encode_b64(b"salt of a test").unwrap();
    Argon2::default().hash_password(password.as_bytes(), &salt).unwrap().to_string()
}

fn accounts(anonymous: bool) -> Accounts {
    Accounts::new([("ada".to_owned(), hash("right")), ("bob".to_owned(), hash("other"))], anonymous).unwrap()
}

fn password(user: &str, password: &str) -> Credentials {
    Credentials::Password { user: user.into(), password: Bytes::copy_from_slice(password.as_bytes()) }
}

#[tokio::test]
async fn the_right_password_comes_in_and_every_other_does_not() {
    let accounts = accounts(false);
    for _ in 0..2 {
        assert_eq!(accounts.check(&password("ada", "right"), Reach::Network).await, Access::Granted("ada".into()));
        assert_eq!(accounts.check(&password("ada", "other"), Reach::Network).await, Access::Denied);
        assert_eq!(accounts.check(&password("bob", "right"), Reach::Loopback).await, Access::Denied);
        assert_eq!(accounts.check(&password("eve", "right"), Reach::Loopback).await, Access::Denied);
        assert_eq!(accounts.check(&password("eve", ""), Reach::Loopback).await, Access::Denied);
    }
}

#[tokio::test]
async fn without_a_name_one_comes_in_only_where_it_was_said_or_on_loopback_without_accounts() {
    let cases = [
        (accounts(false), Reach::Loopback, false),
        (accounts(false), Reach::Network, false),
        (accounts(true), Reach::Network, true),
        (Accounts::new([], false).unwrap(), Reach::Loopback, true),
        (Accounts::new([], false).unwrap(), Reach::Network, false),
    ];
    for (accounts, reach, admitted) in cases {
        let access = accounts.check(&Credentials::Anonymous, reach).await;
        assert_eq!(access == Access::Granted("".into()), admitted, "{accounts:?} {reach:?}");
    }
}

#[tokio::test]
async fn without_accounts_a_password_is_as_good_as_none() {
    let accounts = Accounts::new([], false).unwrap();
    assert_eq!(accounts.check(&password("guest", "guest"), Reach::Loopback).await, Access::Granted("".into()));
    assert_eq!(accounts.check(&password("guest", "guest"), Reach::Network).await, Access::Denied);
}

#[tokio::test]
async fn a_thousand_reconnects_of_one_user_cost_one_argon2_run() {
    let accounts = accounts(false);
    let began = Instant::now();
    assert!(accounts.inner.verify("ada", b"right"));
    let one = began.elapsed();
    let began = Instant::now();
    let checks = (0..1000).map(|_| {
        let accounts = accounts.clone();
        tokio::spawn(async move { accounts.check(&password("ada", "right"), Reach::Network).await })
    });
    for check in checks.collect::<Vec<_>>() {
        assert_eq!(check.await.unwrap(), Access::Granted("ada".into()));
    }
    // A thousand runs would take 500 times one at least (two at a time).
    assert!(began.elapsed() < one * 50 + Duration::from_millis(500), "{:?}, one takes {one:?}", began.elapsed());
    assert_eq!(accounts.inner.verified.read().len(), 1);
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let accounts = accounts(false);
    let time = |user: &'static str| {
        let began = Instant::now();
        assert!(!accounts.inner.verify(user, b"wrong"));
        began.elapsed()
    };
    let fastest = |user| (0..5).map(|_| time(user)).min().unwrap();
    let (known, unknown) = (fastest("ada"), fastest("eve"));
    assert!(unknown * 3 > known && known * 3 > unknown, "known {known:?}, unknown {unknown:?}");
}

#[test]
fn what_is_no_argon2_hash_is_refused_with_the_users_name() {
    for bad in ["secret", "", "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"] {
        let error = Accounts::new([("ada".to_owned(), bad.to_owned())], false).unwrap_err().to_string();
        assert!(error.starts_with("the password of user \"ada\" is not an argon2 hash"), "{error}");
    }
}

#[test]
fn the_debug_form_tells_no_hash() {
    assert_eq!(format!("{:?}", accounts(false)), "Accounts { users: 2, .. }");
}
