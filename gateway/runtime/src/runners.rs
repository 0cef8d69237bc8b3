//! Who runs the shards. A runner takes each shard that has something to do in turn; a second one joins it when turns
//! become long, and so on, up to one for each shard. So a gateway with little to do keeps what it touches in one
//! processor's cache, and its wakes and commits carry more each; one with much to do uses all processors.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evergate_model::Time;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;

/// For a turn that takes longer than this others should not wait.
const LONG: Duration = Duration::from_millis(1);
/// Nothing is due.
const NEVER: u64 = u64::MAX;

/// What runners run.
pub trait Work: Send {
    /// Does what there is to do. False: there was nothing. Calls `step` every few microseconds or so, for what else
    /// waits to be told when it takes long.
    fn run(&mut self, now: Time, step: &mut dyn FnMut()) -> bool;
    /// When there is something to do although nobody asks for it.
    fn due(&self) -> Option<Time>;
}

/// One thing to run; one runner at a time does.
pub struct Seat<W> {
    work: Mutex<W>,
    due: AtomicU64,
}

/// Wakes runners.
#[derive(Debug, Default)]
pub struct Wake {
    /// How many run, or were told to.
    awake: AtomicUsize,
    told: Notify,
}

impl Wake {
    /// There is something to do. To be called after it can be seen.
    pub fn one(&self) {
        if self.awake.load(Ordering::SeqCst) == 0
            && self.awake.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        {
            self.told.notify_one();
        }
    }

    /// One more, if not so many are awake.
    fn another(&self, most: usize) {
        let more = |awake| (awake < most).then_some(awake + 1);
        if self.awake.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
            self.told.notify_one();
        }
    }
}

impl<W: Work> Seat<W> {
    pub fn new(work: W) -> Self {
        let due = AtomicU64::new(work.due().map_or(NEVER, |at| at.0));
        Self { work: Mutex::new(work), due }
    }

    fn due(&self) -> Option<Time> {
        Some(Time(self.due.load(Ordering::SeqCst))).filter(|at| at.0 != NEVER)
    }

    /// Runs it, unless somebody else does. `call_another` is called once that takes long.
    fn turn(&self, now: Time, call_another: impl FnOnce()) -> bool {
        let Some(mut work) = self.work.try_lock() else { return false };
        let (begin, mut call_another) = (Instant::now(), Some(call_another));
        let worked = work.run(now, &mut || {
            if begin.elapsed() > LONG
                && let Some(call_another) = call_another.take()
            {
                call_another();
            }
        });
        self.due.store(work.due().map_or(NEVER, |at| at.0), Ordering::SeqCst);
        worked
    }
}

/// Runs all of `seats` until it is aborted. As many of these are started as there are seats. `has_mail`: whether
/// something waits for the seat with this index.
pub async fn run<W: Work>(wake: &Wake, clock: Clock, seats: &[Seat<W>], has_mail: impl Fn(usize) -> bool) {
    wake.awake.fetch_add(1, Ordering::SeqCst);
    loop {
        let now = clock.now();
        let mut worked = false;
        for seat in seats {
            worked |= seat.turn(now, || wake.another(seats.len()));
        }
        if worked {
            tokio::task::yield_now().await;
            continue;
        }
        let was_last = wake.awake.fetch_sub(1, Ordering::SeqCst) == 1;
        // What came before that came while a runner was awake, so nobody was told. Who has the seat looks again.
        let is_left = |(index, seat): (usize, &Seat<W>)| {
            !seat.work.is_locked() && (has_mail(index) || seat.due().is_some_and(|at| at <= clock.now()))
        };
        if seats.iter().enumerate().any(is_left) {
            wake.awake.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        // The last one to go to sleep knows what is due of all.
        match seats.iter().filter(|_| was_last).filter_map(Seat::due).min() {
            None => wake.told.notified().await,
            Some(at) => tokio::select! {
                () = wake.told.notified() => {}
                () = tokio::time::sleep_until(clock.instant(at)) => {
                    wake.awake.fetch_add(1, Ordering::SeqCst);
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;
    use crate::mailbox::Mailbox;

    const SEATS: usize = 3;

    #[derive(Default)]
    struct Figures {
        mail: [Mailbox<u64>; SEATS],
        done: [AtomicU64; SEATS],
        ticks: AtomicU64,
        wake: Wake,
    }

    /// Takes its mail: the time that each takes, in microseconds. The first is due each 5 ms, too.
    struct Worker {
        index: usize,
        figures: Arc<Figures>,
        due: Option<Time>,
    }

    impl Work for Worker {
        fn run(&mut self, now: Time, step: &mut dyn FnMut()) -> bool {
            let mut mail = Vec::new();
            let any = self.figures.mail[self.index].take(&mut mail);
            for micros in mail {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(micros) {}
                self.figures.done[self.index].fetch_add(1, Ordering::SeqCst);
                step();
            }
            let is_due = self.due.is_some_and(|at| at <= now);
            if is_due {
                self.figures.ticks.fetch_add(1, Ordering::SeqCst);
                self.due = Some(now.after(Duration::from_millis(5)));
            }
            any || is_due
        }

        fn due(&self) -> Option<Time> {
            self.due
        }
    }

    /// Runners; they end when what is returned is dropped.
    fn start(figures: &Arc<Figures>, ticks: bool) -> JoinSet<()> {
        let clock = Clock::start();
        let worker =
            |index| Worker { index, figures: figures.clone(), due: Some(clock.now()).filter(|_| ticks && index == 0) };
        let seats: Arc<[Seat<Worker>]> = (0..SEATS).map(|index| Seat::new(worker(index))).collect();
        let start = |_| {
            let (seats, figures) = (seats.clone(), figures.clone());
            async move { run(&figures.wake, clock, &seats, |index| !figures.mail[index].is_empty()).await }
        };
        (0..SEATS).map(start).collect()
    }

    async fn until(is_true: impl Fn() -> bool, what: &str) {
        let begin = Instant::now();
        while !is_true() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Pushes to all seats from several threads, with pauses in which runners fall asleep; waits until all is done.
    async fn push_and_wait(figures: &Arc<Figures>, count: u64, micros: u64) {
        let before: u64 = figures.done.iter().map(|done| done.load(Ordering::SeqCst)).sum();
        let pushers: Vec<_> = (0..4_u64)
            .map(|pusher| {
                let figures = figures.clone();
                std::thread::spawn(move || {
                    for number in 0..count {
                        figures.mail[(number + pusher) as usize % SEATS].push(micros);
                        figures.wake.one();
                        if number % 7 == pusher {
                            std::thread::sleep(Duration::from_micros(number % 5 * 20));
                        }
                    }
                })
            })
            .collect();
        let done = || figures.done.iter().map(|done| done.load(Ordering::SeqCst)).sum::<u64>() - before;
        until(|| done() == 4 * count, "something is left lying").await;
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_that_is_pushed_is_left_lying_however_runners_fall_asleep() {
        for ticks in [false, true] {
            let figures = Arc::new(Figures::default());
            let _runners = start(&figures, ticks);
            for round in 0..100 {
                push_and_wait(&figures, 30, round % 3).await;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_comes_while_the_last_runner_falls_asleep_is_seen() {
        let figures = Arc::new(Figures::default());
        let _runners = start(&figures, false);
        let pusher = {
            let figures = figures.clone();
            move || {
                for number in 0..20_000_u64 {
                    let index = number as usize % SEATS;
                    let before = figures.done[index].load(Ordering::SeqCst);
                    figures.mail[index].push(0);
                    figures.wake.one();
                    let begin = Instant::now();
                    while figures.done[index].load(Ordering::SeqCst) == before {
                        assert!(begin.elapsed() < Duration::from_secs(10), "push {number} is left lying");
                        std::hint::spin_loop();
                    }
                    // Until the runner is about to fall asleep, at one moment or another.
                    (0..number % 1000).for_each(|_| std::hint::spin_loop());
                }
            }
        };
        tokio::task::spawn_blocking(pusher).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_is_due_is_done_without_mail() {
        let figures = Arc::new(Figures::default());
        let _runners = start(&figures, true);
        until(|| figures.ticks.load(Ordering::SeqCst) >= 20, "it is not due").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn another_joins_when_a_turn_takes_long() {
        let figures = Arc::new(Figures::default());
        let _runners = start(&figures, false);
        // Half a second in one turn, in steps of 2 ms.
        (0..250).for_each(|_| figures.mail[0].push(2000));
        figures.mail[1].push(0);
        figures.wake.one();
        until(|| figures.done[1].load(Ordering::SeqCst) > 0, "nobody joined").await;
        assert!(figures.done[0].load(Ordering::SeqCst) < 250, "it waited for the whole turn");
    }
}
