//! WebSocket (RFC 6455) as a byte stream: the payloads of the peer's messages in a row, and binary
//! messages back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

mod upgrade;

#[cfg(test)]
mod tests;

pub use upgrade::{Subprotocol, Upgrade, UpgradeRefused};

/// Largest message sent: a longer write becomes several. It bounds the copy that a frame needs.
const SENT_BYTES_MAX: usize = 64 * 1024;

/// Messages without content, pings mostly, that are taken before others have their turn.
const MESSAGES_A_TURN: usize = 64;

/// An upgraded connection.
#[derive(Debug)]
pub struct WebSocket {
    inner: WebSocketStream<TokioIo<Upgraded>>,
    subprotocol: Subprotocol,
    /// What is left of the message read last.
    unread: Bytes,
}

impl WebSocket {
    /// What the peer and we agreed to speak.
    pub fn subprotocol(&self) -> Subprotocol {
        self.subprotocol
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        for _ in 0..MESSAGES_A_TURN {
            let bytes = match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                None => return Poll::Ready(Ok(Bytes::new())),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) if self.subprotocol.takes_text() => text.into(),
                Some(Ok(Message::Text(_))) => {
                    // [MQTT-6.0.0-1]; AMQP over WebSocket, section 2.4
                    self.fail(cx, CloseCode::Unsupported);
                    return Poll::Ready(Err(invalid("a text message, where the subprotocol wants binary ones")));
                }
                // Pings and a close are answered by the library, with the next read or write; after a close
                // it then ends the stream (RFC 6455, sections 5.5.1 and 5.5.2).
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => {
                    if let Some(code) = close_code(&error) {
                        self.fail(cx, code);
                    }
                    return Poll::Ready(Err(into_io(error)));
                }
            };
            // An empty message is no end of stream.
            if !bytes.is_empty() {
                return Poll::Ready(Ok(bytes));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the peer what is wrong before the connection ends (RFC 6455, section 7.1.7). Who does not
    /// read is not waited for.
    fn fail(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        let close = CloseFrame { code, reason: Utf8Bytes::default() };
        if Pin::new(&mut self.inner).start_send(Message::Close(Some(close))).is_ok() {
            let _ = Pin::new(&mut self.inner).poll_flush(cx); // the connection ends either way
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.inner).poll_ready(cx)).map_err(into_io)?;
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>().min(SENT_BYTES_MAX);
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        let mut message = BytesMut::with_capacity(length);
        for slice in slices {
            let room = length - message.len();
            message.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Pin::new(&mut self.inner).start_send(Message::Binary(message.freeze())).map_err(into_io)?;
        Poll::Ready(Ok(length))
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.is_empty() {
            this.unread = ready!(this.poll_message(cx))?;
        }
        let length = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread[..length]);
        this.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx).map_err(into_io)
    }

    /// Sends a close frame. The peer's own is read as the end of the stream.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(cx).map_err(into_io)
    }
}

/// What the peer did wrong; `None`: it is gone (RFC 6455, section 7.4.1).
fn close_code(error: &tungstenite::Error) -> Option<CloseCode> {
    match error {
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
        tungstenite::Error::Protocol(_) => Some(CloseCode::Protocol),
        tungstenite::Error::Utf8(_) => Some(CloseCode::Invalid),
        tungstenite::Error::Capacity(_) => Some(CloseCode::Size),
        _ => None,
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn into_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        // A peer that goes without a close frame is as gone as a TCP peer without a FIN.
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            io::ErrorKind::ConnectionReset.into()
        }
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
