//! The session's incoming window (2.5.6): how many transfer frames the client may send.
//!
//! While a large message comes in the window is as narrow as the journal's pace allows. Else the connection would be
//! full of it from end to end, and whatever the client sends on other links would stand behind megabytes. A client that
//! needs long to begin again, for its distance or because it moves what is left of its message with each window, is
//! given more at a time.

use evergate_model::Time;

/// However long they are.
const FRAMES_MIN: u32 = 16;
/// No more bytes than this are let in at a time, as far as the latest frames tell.
const BYTES_MAX: u64 = 16 << 20;
/// A client that sends nothing for so long, in milliseconds, though it may and nothing here is behind, is slow.
const SLOW_MILLIS: u64 = 20;
/// Of one that is slow again within so many windows it is no accident: it needs wider ones.
const AGAIN_WINDOWS: u64 = 2;
/// What it is given for each millisecond that it was slow: with so much it is as fast as it can be, about.
const BYTES_A_SLOW_MILLI: u64 = 128 << 10;
/// After so many windows in which it was not slow the next are narrower.
const CALM_WINDOWS: u64 = 8;

/// One session's.
pub(super) struct Window {
    /// The id of the client's next transfer.
    pub next_id: u32,
    /// Frames that it may still send.
    pub frames: u32,
    /// How many they were when it was opened.
    opened: u32,
    /// Never more than this.
    frames_max: u32,
    /// Bytes of the largest of the latest frames.
    frame_bytes: u64,
    /// Bytes of large messages that may be under way or await their commit.
    large_bytes: u64,
    /// Never less than this.
    large_bytes_min: u64,
    /// Of those, what awaits its commit.
    pending_bytes: u64,
    /// Bytes since the client was slow, or the window was made narrower.
    calm_bytes: u64,
    /// Since when it is the client's turn, if it is.
    turn: Option<Time>,
}

impl Window {
    /// For a client that begins with the id `next_id`. Its frames may be as long as `frame_bytes`.
    pub fn new(next_id: u32, frames_max: u32, frame_bytes: u32, large_bytes: u64) -> Self {
        let frames = usual_frames(u64::from(frame_bytes).max(1), frames_max);
        Self {
            next_id,
            frames,
            opened: frames,
            frames_max,
            frame_bytes: 1,
            large_bytes,
            large_bytes_min: large_bytes,
            pending_bytes: 0,
            calm_bytes: large_bytes.saturating_mul(AGAIN_WINDOWS),
            turn: None,
        }
    }

    /// A transfer came with so many bytes of its message. False: it may not.
    pub fn take(&mut self, now: Time, bytes: usize) -> bool {
        let Some(left) = self.frames.checked_sub(1) else { return false };
        self.frames = left;
        self.next_id = self.next_id.wrapping_add(1);
        let bytes = bytes as u64;
        self.frame_bytes = bytes.max(self.frame_bytes - self.frame_bytes / 16).max(1);
        self.calm_bytes += bytes;
        let millis = self.turn.take().map_or(0, |turn| now.0.saturating_sub(turn.0));
        if millis >= SLOW_MILLIS {
            self.slow(millis);
        } else if self.calm_bytes >= self.large_bytes.saturating_mul(CALM_WINDOWS) {
            self.large_bytes = (self.large_bytes / 2).max(self.large_bytes_min);
            self.calm_bytes = self.large_bytes.saturating_mul(AGAIN_WINDOWS);
        }
        true
    }

    fn slow(&mut self, millis: u64) {
        if self.calm_bytes <= self.large_bytes.saturating_mul(AGAIN_WINDOWS) {
            let wanted = millis.saturating_mul(BYTES_A_SLOW_MILLI).max(self.large_bytes.saturating_mul(2));
            let most = (u64::from(self.frames_max) * self.frame_bytes).max(self.large_bytes_min);
            self.large_bytes = wanted.min(most);
        }
        self.calm_bytes = 0;
    }

    /// So many bytes of large messages await their commit.
    pub fn pending(&mut self, bytes: u64) {
        self.pending_bytes = bytes;
    }

    /// Whether it may be time to open it: before that nobody needs to look for what comes in.
    pub fn is_half_used(&self) -> bool {
        self.frames <= self.opened / 2
    }

    /// Opens the window if it is time. `is_large`: a large message is coming in. True: the client must be told.
    pub fn open(&mut self, now: Time, is_large: bool) -> bool {
        let frames = if is_large { self.frames_of_large() } else { usual_frames(self.frame_bytes, self.frames_max) };
        let opens = self.frames <= frames.min(self.opened) / 2 && self.frames < frames;
        if opens {
            (self.frames, self.opened) = (frames, frames);
        }
        let is_its_turn = is_large && self.pending_bytes == 0;
        self.turn = is_its_turn.then(|| self.turn.filter(|_| !opens).unwrap_or(now));
        opens
    }

    /// Lets in one frame more, whether it is time or not.
    pub fn widen(&mut self) {
        self.frames = self.frames.saturating_add(1);
    }

    fn frames_of_large(&self) -> u32 {
        let room = self.large_bytes.saturating_sub(self.pending_bytes);
        let frames = u32::try_from(room / self.frame_bytes).unwrap_or(u32::MAX);
        // With nothing to wait for it goes on, however long a frame is.
        frames.max(u32::from(self.pending_bytes == 0)).min(self.frames_max)
    }
}

fn usual_frames(frame_bytes: u64, frames_max: u32) -> u32 {
    let frames = u32::try_from(BYTES_MAX / frame_bytes).unwrap_or(u32::MAX);
    frames.max(FRAMES_MIN).min(frames_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 64 << 10;

    fn window() -> Window {
        Window::new(7, 2048, 64 << 10, 512 << 10)
    }

    /// 16 frames are left of the first ones.
    fn nearly_used() -> Window {
        Window { frames: 16, ..window() }
    }

    /// Takes frames, opening it whenever it is time. Returns how far it was opened each time.
    fn send(window: &mut Window, now: u64, count: usize, bytes: usize, is_large: bool) -> Vec<u32> {
        let mut opened = Vec::new();
        for _ in 0..count {
            assert!(window.take(Time(now), bytes));
            if window.open(Time(now), is_large) {
                opened.push(window.frames);
            }
        }
        opened
    }

    #[test]
    fn it_is_wide_for_short_frames_and_no_more_than_16_mib_of_long_ones() {
        let mut window = window();
        assert_eq!(window.frames, 256);
        assert_eq!(send(&mut window, 0, 128, 100, false), [2048]);
        assert_eq!(window.next_id, 7 + 128);
        assert_eq!(send(&mut window, 0, 1920 + 128 + 128, FRAME, false), [256; 3]);
    }

    #[test]
    fn beyond_it_nothing_is_taken() {
        let mut window = Window::new(0, 3, 64 << 10, 512 << 10);
        let taken: Vec<bool> = (0..4).map(|_| window.take(Time(0), 1)).collect();
        assert_eq!(taken, [true, true, true, false]);
    }

    #[test]
    fn of_a_large_message_it_lets_in_what_the_journal_has_room_for() {
        let mut window = nearly_used();
        assert_eq!(send(&mut window, 0, 12, FRAME, true), [8]);
        for (pending, frames) in [(512 << 10, None), (448 << 10, None), (256 << 10, Some(4)), (0, Some(8))] {
            window.frames = 1;
            window.pending(pending);
            assert_eq!(window.open(Time(0), true).then_some(window.frames), frames, "{pending} pending");
        }
        window.pending(1 << 20);
        assert_eq!(send(&mut window, 0, 8, FRAME, true), []);
        assert!(!window.take(Time(0), FRAME), "no frame before something is committed");
        window.pending(384 << 10);
        assert!(window.open(Time(0), true));
        assert_eq!(window.frames, 2);
        // It is over: the window is as before.
        window.frames = 1;
        window.pending(0);
        assert!(window.open(Time(0), false));
        assert_eq!(window.frames, 256);
    }

    #[test]
    fn one_frame_more_is_let_in_at_any_time() {
        let mut window = Window::new(0, 3, 64 << 10, 512 << 10);
        window.pending(1 << 30);
        window.widen();
        let taken: Vec<bool> = (0..5).map(|_| window.take(Time(0), 1)).collect();
        assert_eq!(taken, [true, true, true, true, false]);
    }

    #[test]
    fn frames_longer_than_its_bytes_come_one_by_one() {
        let mut window = Window::new(0, 2048, 64 << 10, 100);
        window.frames = 1;
        for _ in 0..10 {
            assert_eq!(send(&mut window, 0, 1, FRAME, true), [1]);
        }
    }

    #[test]
    fn a_client_that_is_slow_to_begin_again_gets_more_at_a_time_and_less_when_it_is_not() {
        let mut window = nearly_used();
        assert_eq!(send(&mut window, 0, 12, FRAME, true), [8]);
        let mut now = 0;
        let mut widest = Vec::new();
        for slow in [1, 1, 2, 20, 100] {
            now += slow * SLOW_MILLIS;
            let count = window.frames as usize;
            widest.extend(send(&mut window, now, count, FRAME, true).into_iter().max());
        }
        // Once may be an accident. Then what it needs, and in the end what it is given at all.
        assert_eq!(widest, [8, 40, 80, 800, 2048]);
        let narrower = send(&mut window, now, 100_000, FRAME, true);
        assert!(narrower.is_sorted_by(|wide, narrow| wide >= narrow), "{narrower:?}");
        assert_eq!(narrower.last(), Some(&8));
    }

    #[test]
    fn a_client_that_is_slow_now_and_then_gets_no_more() {
        let mut window = nearly_used();
        for now in (0..20).map(|round| round * SLOW_MILLIS) {
            let opened = send(&mut window, now, 60, FRAME, true);
            assert!(opened.iter().all(|frames| *frames <= 8), "{opened:?}");
        }
    }

    #[test]
    fn a_client_is_not_slow_while_it_is_the_journal() {
        let mut window = nearly_used();
        assert_eq!(send(&mut window, 0, 12, FRAME, true), [8]);
        for now in (1..=20).map(|round| round * 10 * SLOW_MILLIS) {
            // Nothing may come before the commit, and what follows comes at once.
            window.pending(512 << 10);
            window.frames = 0;
            assert!(!window.open(Time(now), true));
            window.pending(0);
            assert!(window.open(Time(now + 5 * SLOW_MILLIS), true));
            assert_eq!(window.frames, 8);
            assert!(window.take(Time(now + 5 * SLOW_MILLIS + 1), FRAME));
        }
    }
}
