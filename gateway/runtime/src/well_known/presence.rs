//! `_PRESENCE/<client id>`: a client has come, or has gone.

use std::fmt::Write;

use serde_json::json;

use crate::connections::Connection;
use crate::gateway::Gateway;

/// Where presence is told; the client's id follows.
const TOPIC: &str = "_PRESENCE";

/// Tells that a client is there, or, with the reason, that it has left.
pub fn announce_presence(gateway: &Gateway, connection: &Connection, left: Option<&str>) {
    let peer = connection.peer.lock().clone();
    let mut body = json!({
        "event": if left.is_some() { "left" } else { "connected" },
        "client_id": &*peer.client_id,
        "user": &*peer.user,
        "protocol": peer.protocol,
        "listener": &*connection.listener,
        "remote": connection.remote.to_string(),
        "connection": connection.id.0,
        "at_ms": gateway.clock.now().0,
    });
    if let Some(reason) = left {
        body["reason"] = reason.into();
    }
    gateway.announce(&topic(&peer.client_id), body.to_string(), false);
}

/// A client id may have any characters; in a topic's level some would mean something else.
fn topic(client_id: &str) -> String {
    let mut topic = format!("{TOPIC}/");
    for char in client_id.chars() {
        match char {
            // Into a String this cannot fail.
            '%' | '/' | '+' | '#' | '\0' => drop(write!(topic, "%{:02X}", char as u32)),
            _ => topic.push(char),
        }
    }
    topic
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_client_id_is_one_level_whatever_it_holds() {
        assert_eq!(super::topic("a/b+#%"), "_PRESENCE/a%2Fb%2B%23%25");
        assert_eq!(super::topic(""), "_PRESENCE/");
    }
}
