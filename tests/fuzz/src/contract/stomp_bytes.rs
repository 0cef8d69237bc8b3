//! STOMP bytes: openings, seeds, and whether what a session writes can be read.

use bytes::BytesMut;
use evergate_stomp::codec::{Command, Decoder, Frame, Version};
use evergate_stomp::{Limits, StompConfig, StompSession};

/// Every version.
pub const VERSIONS: [Version; 3] = [Version::V1_2, Version::V1_1, Version::V1_0];

/// No frame that a session writes is too large.
pub const NO_LIMIT: Limits = Limits {
    line_bytes_max: usize::MAX,
    headers_max: usize::MAX,
    head_bytes_max: usize::MAX,
    body_bytes_max: usize::MAX,
};

/// A new session.
pub fn session() -> StompSession {
    StompSession::new(StompConfig::default(), crate::formats(), 7)
}

/// CONNECT.
pub fn connect(version: Version) -> Vec<u8> {
    let version = version.as_str();
    format!("CONNECT\naccept-version:{version}\nhost:h\nclient-id:c\nheart-beat:1000,1000\n\n\0").into_bytes()
}

/// SUBSCRIBE without acknowledgement.
pub fn subscribe(destination: &str) -> Vec<u8> {
    format!("SUBSCRIBE\nid:0\ndestination:{destination}\nack:auto\n\n\0").into_bytes()
}

const TALK: &[&str] = &[
    "SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client\nprefetch-count:10\nreceipt:r1\n\n\0",
    "SUBSCRIBE\nid:2\ndestination:/topic/a/+\nack:client-individual\n\n\0",
    "SUBSCRIBE\nid:3\ndestination:/topic/a/b\ndurable:true\n\n\0",
    "SUBSCRIBE\nid:4\ndestination:/topic/#\nshared:group\ndurable:true\n\n\0",
    "SUBSCRIBE\nid:5\ndestination:/temp-queue/t\n\n\0",
    "SUBSCRIBE\nid:6\ndestination:/temp-topic/t\n\n\0",
    "SEND\ndestination:/queue/q\npersistent:true\npriority:7\nexpires:99\nreceipt:r2\nreply-to:/temp-queue/t\n\nbody\0",
    "SEND\ndestination:/topic/a/b\ncontent-type:text/plain\ncontent-length:3\nk\\c:v\\n\\\\\nmessage-id:m\n\na\0b\0",
    "SEND\r\ndestination:queue://q\r\ncorrelation-id:1\r\ngroup-sequence:1\r\nsubject:s\r\n\r\n\0\r\n",
    "SEND\ndestination:/temp-queue/t\n\n\0\n\n",
    "ACK\nid:7.1.1\nmessage-id:7.1.1\nsubscription:1\nreceipt:r3\n\n\0",
    "NACK\nid:7.1.2\nmessage-id:7.1.2\nsubscription:1\n\n\0",
    "UNSUBSCRIBE\nid:1\nreceipt:r4\n\n\0",
    "UNSUBSCRIBE\nid:3\ndestination:/topic/a/b\ndurable:true\n\n\0",
    "UNSUBSCRIBE\nid:9\ndestination:/topic/x\ndurable:true\nreceipt:r5\n\n\0",
    "SUBSCRIBE\nid:7\ndestination:/queue/q\nbrowser:true\nselector:a = 1 OR JMSPriority > 4\n\n\0",
    "SUBSCRIBE\nid:8\ndestination:/queue/s\nx-stream-offset:offset=3\nconsumer-priority:-1\nexclusive:true\n\n\0",
    "SUBSCRIBE\nid:9\ndestination:/glob/a/*\nno-local:true\nselector:a IS NULL\n\n\0",
    "SEND\ndestination:/queue/q\nreply-to:/temp-queue/u\ndelay:5\nttl:9\ngroup-id:g\ndedup-id:d\ndiscardable:true\n\n\0",
    "BEGIN\ntransaction:t\nreceipt:r6\n\n\0",
    "SEND\ndestination:/queue/q\ntransaction:t\n\nin\0",
    "ACK\nid:7-0-1\nmessage-id:7-0-1\nsubscription:1\ntransaction:t\n\n\0",
    "NACK\nid:7-0-2\nmessage-id:7-0-2\nsubscription:1\nrequeue:true\ntransaction:t\n\n\0",
    "ABORT\ntransaction:t\n\n\0",
    "COMMIT\ntransaction:t\nreceipt:r7\n\n\0",
    "DISCONNECT\nreceipt:bye\n\n\0",
];

/// Each frame alone and all of them together, by version.
pub fn seeds() -> Vec<(Version, Vec<u8>)> {
    let mut seeds = Vec::new();
    for version in VERSIONS {
        let mut all = connect(version);
        seeds.push((version, all.clone()));
        seeds.extend(TALK.iter().map(|frame| (version, frame.as_bytes().to_vec())));
        all.extend(TALK.iter().flat_map(|frame| frame.bytes()));
        seeds.push((version, all));
    }
    seeds
}

/// Every frame in `wire`, which a session wrote to a client of `version`.
pub fn frames(wire: &[u8], version: Version) -> Vec<Frame> {
    let mut bytes = BytesMut::from(wire);
    let mut decoder = Decoder::new(NO_LIMIT);
    decoder.set_version(version);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.decode(&mut bytes).expect("what a session writes can be read") {
        let ours = matches!(frame.command, Command::Connected | Command::Message | Command::Receipt | Command::Error);
        assert!(ours, "{frame:?}");
        frames.push(frame);
    }
    assert!(bytes.is_empty(), "a session writes whole frames");
    frames
}

/// Every frame in `bytes`, which the codec wrote.
pub fn read(bytes: &[u8], version: Version) -> Vec<Frame> {
    let mut bytes = BytesMut::from(bytes);
    let mut decoder = Decoder::new(NO_LIMIT);
    decoder.set_version(version);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.decode(&mut bytes).expect("a written frame can be read") {
        frames.push(frame);
    }
    assert!(bytes.is_empty());
    frames
}

/// Whether the version can write all of the frame's headers as they are.
pub fn can_write(frame: &Frame, version: Version) -> bool {
    frame.headers.iter().all(|(name, value)| {
        let legacy = version == Version::V1_0 || frame.command.is_raw();
        let forbidden: &[char] = if legacy {
            &['\0', '\r', '\n']
        } else if version == Version::V1_1 {
            &['\0', '\r']
        } else {
            &['\0']
        };
        let plain = |text: &str| !text.contains(forbidden) && (version != Version::V1_0 || text.trim() == text);
        plain(name) && plain(value) && !(legacy && name.contains(':'))
    })
}
