//! How a fuzzer's bytes are read: a plan, a script of choices, and the bytes of the peer.

/// Longest peer's stream: what a session may keep before it is authenticated is never less.
const STREAM_BYTES_MAX: usize = 32 * 1024;

/// The parts of one input.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Chooses what is done.
    pub plan: u8,
    /// The script's bytes.
    pub script: &'a [u8],
    /// What the peer sends.
    pub stream: &'a [u8],
}

impl<'a> Input<'a> {
    /// Splits `data`: a byte of plan, a byte of length, that many bytes of script, the stream.
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (&[plan, length], rest) = data.split_first_chunk::<2>()?;
        let (script, stream) = rest.split_at(usize::from(length % 32).min(rest.len()));
        Some(Self { plan, script, stream: &stream[..stream.len().min(STREAM_BYTES_MAX)] })
    }

    /// The choices that the script makes.
    pub fn choices(&self) -> Choices<'a> {
        Choices { script: self.script, at: 0 }
    }
}

/// The bytes that [`Input::new`] splits so.
pub fn join(plan: u8, script: &[u8], stream: &[u8]) -> Vec<u8> {
    let mut data = vec![plan, script.len() as u8];
    data.extend_from_slice(script);
    data.extend_from_slice(stream);
    data
}

/// Choices, over and over. Without a script every one is 0, which stands for what is usual.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    script: &'a [u8],
    at: usize,
}

impl Choices<'_> {
    /// The next choice.
    pub fn next(&mut self) -> u8 {
        let choice = self.script.get(self.at % self.script.len().max(1)).copied().unwrap_or(0);
        self.at += 1;
        choice
    }

    /// Cuts a chunk off the front of `stream`: all of it without a script.
    pub fn chunk<'s>(&mut self, stream: &mut &'s [u8]) -> &'s [u8] {
        let length = match self.next() {
            0 => stream.len(),
            choice => usize::from(choice).min(stream.len()),
        };
        let (chunk, rest) = stream.split_at(length);
        *stream = rest;
        chunk
    }
}
