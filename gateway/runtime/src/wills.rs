//! Wills: published when their client is gone, some of them only when it does not come back in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evergate_model::{Lifetime, Will};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::gateway::Gateway;
use crate::house::HouseRequest;

/// How long a gateway that stops waits for the last wills to be stored.
const LAST_WILLS: Duration = Duration::from_secs(1);

/// Those that wait for their client to come back, by the name of its queue.
#[derive(Debug, Default)]
pub struct Wills {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    by_queue: HashMap<Arc<str>, Kept>,
    last_number: u64,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    will: Will,
    /// The task that waits for its time; gone with it.
    task: AbortHandle,
}

impl Kept {
    fn take(self) -> Will {
        self.task.abort();
        self.will
    }
}

impl Wills {
    /// Keeps a will; returns the one before. `wait` starts a task that takes it, by its number, when its time has come.
    fn keep(&self, queue: Arc<str>, will: Will, wait: impl FnOnce(u64) -> AbortHandle) -> Option<Will> {
        let mut waiting = self.waiting.lock();
        waiting.last_number += 1;
        let number = waiting.last_number;
        let kept = Kept { number, will, task: wait(number) };
        waiting.by_queue.insert(queue, kept).map(Kept::take)
    }

    /// Takes the will of a client; `number`: only if it is this one.
    fn take(&self, queue: &str, number: Option<u64>) -> Option<Will> {
        let mut waiting = self.waiting.lock();
        let kept = waiting.by_queue.get(queue)?;
        if number.is_some_and(|number| number != kept.number) {
            return None;
        }
        waiting.by_queue.remove(queue).map(Kept::take)
    }

    fn take_all(&self) -> Vec<Will> {
        self.waiting.lock().by_queue.drain().map(|(_, kept)| kept.take()).collect()
    }
}

/// How long a will waits: until its client's session ends, if that is earlier. [MQTT-3.1.3-9]
fn delay(asked: Duration, session: Lifetime) -> Duration {
    match session {
        Lifetime::Attached => Duration::ZERO,
        Lifetime::AfterDetach(after) => asked.min(after),
        Lifetime::Permanent => asked,
    }
}

impl Gateway {
    /// Publishes a will, now or when its client has not come back to its session in time. A gateway that stops does not
    /// wait.
    pub(crate) fn publish_will(self: &Arc<Self>, will: Will, session: Option<(Arc<str>, Lifetime)>) {
        let Some((queue, lifetime)) = session else { return self.send_will(will) };
        let delay = delay(will.delay, lifetime);
        if delay.is_zero() || self.is_stopping() {
            return self.send_will(will);
        }
        let gateway = self.clone();
        let before = self.wills.keep(queue.clone(), will, |number| {
            let wait = async move {
                tokio::time::sleep(delay).await;
                if let Some(will) = gateway.wills.take(&queue, Some(number)) {
                    gateway.send_will(will);
                }
            };
            tokio::spawn(wait).abort_handle()
        });
        before.into_iter().for_each(|will| self.send_will(will));
    }

    /// A client is back: if its session was there, the will that waited is not published; if the session has ended, it
    /// is now.
    pub(crate) fn settle_will(&self, queue: &str, resumed: bool) {
        if let Some(will) = self.wills.take(queue, None).filter(|_| !resumed) {
            self.send_will(will);
        }
    }

    fn send_will(&self, will: Will) {
        let Will { mut message, retain, expiry, .. } = will;
        // Its time begins with its publication (MQTT 5, 3.1.3.2.4).
        message.meta.expires_at = expiry.map(|expiry| self.clock.now().after(expiry));
        self.house.push(HouseRequest::Publish { message: Box::new(message), retain });
    }

    /// Publishes the wills that wait, as the gateway stops, and lets them be stored.
    pub(crate) async fn publish_last_wills(&self, deadline: Instant) {
        self.wills.take_all().into_iter().for_each(|will| self.send_will(will));
        let (told, done) = oneshot::channel();
        self.house.push(HouseRequest::TellWhenDone(told));
        // What waits for room waits in vain.
        let _ = timeout_at(deadline.min(Instant::now() + LAST_WILLS), done).await;
    }
}

#[cfg(test)]
mod tests {
    use evergate_model::{Address, Encoding, Message, Meta};

    use super::*;

    fn will(seconds: u64) -> Will {
        let message = Message::new(Meta::new(Address::topic("w")), Encoding::Plain, "".into(), "".into());
        Will { message, retain: false, delay: Duration::from_secs(seconds), expiry: None }
    }

    #[test]
    fn mqtt_3_1_3_9_a_will_waits_no_longer_than_the_session_lives() {
        let seconds = Duration::from_secs;
        for (asked, session, waits) in [
            (30, Lifetime::Attached, 0),
            (30, Lifetime::AfterDetach(seconds(10)), 10),
            (30, Lifetime::AfterDetach(seconds(60)), 30),
            (30, Lifetime::Permanent, 30),
        ] {
            assert_eq!(delay(seconds(asked), session), seconds(waits));
        }
    }

    /// Keeps a will as `q`'s; returns its number, and how many seconds the one before would have waited.
    fn keep(wills: &Wills, seconds: u64) -> (u64, Option<u64>) {
        let mut given = 0;
        let before = wills.keep("q".into(), will(seconds), |number| {
            given = number;
            tokio::spawn(tokio::time::sleep(Duration::from_secs(seconds))).abort_handle()
        });
        (given, before.map(|will| will.delay.as_secs()))
    }

    #[tokio::test]
    async fn who_comes_too_late_does_not_take_the_will_that_followed() {
        let wills = Wills::default();
        let (first, before) = keep(&wills, 1);
        assert!(before.is_none());
        assert!(wills.take("q", None).is_some());
        let (second, _) = keep(&wills, 2);
        assert!(wills.take("q", Some(first)).is_none());
        assert_eq!(wills.take("q", Some(second)).map(|will| will.delay.as_secs()), Some(2));
        assert!(wills.take_all().is_empty());
    }

    #[tokio::test]
    async fn nothing_waits_for_a_will_that_was_taken() {
        let wills = Wills::default();
        let tasks = async || {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            tokio::runtime::Handle::current().metrics().num_alive_tasks()
        };
        for _ in 0..100 {
            keep(&wills, 1_000_000);
            assert_eq!(keep(&wills, 2_000_000).1, Some(1_000_000));
            assert!(wills.take("q", None).is_some());
        }
        keep(&wills, 3_000_000);
        assert_eq!(tasks().await, 1);
        assert_eq!(wills.take_all().len(), 1);
        assert_eq!(tasks().await, 0);
    }
}
