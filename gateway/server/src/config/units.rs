//! Values with a form of their own: sizes in bytes, addresses to listen on.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use evergate_model::deserialize_size;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, written as an integer or as text with a unit: `"64 MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Those that sizes are shown in.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_size(deserializer).map(Self)
    }
}

/// Where to listen: one address, a list, or none (`""`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<SocketAddr>);

impl Addresses {
    /// Loopback, this port.
    pub fn loopback(port: u16) -> Self {
        Self(vec![(Ipv4Addr::LOCALHOST, port).into()])
    }
}

/// `127.0.0.1:1883`, `[::1]:1883`, `localhost:1883`.
pub(super) fn parse_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()),
        None => text.parse().ok(),
    }
}

/// For serde's `deserialize_with` on a single address.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let list = Addresses::deserialize(deserializer)?;
    match list.0.as_slice() {
        [one] => Ok(*one),
        _ => Err(de::Error::custom("one address is wanted here, such as \"127.0.0.1:8883\"")),
    }
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_str(""),
            [one] => serializer.collect_str(one),
            several => serializer.collect_seq(several.iter().map(ToString::to_string)),
        }
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Addresses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an address with a port such as \"127.0.0.1:1883\", \"[::1]:1883\" or \"0.0.0.0:1883\", a list of them, or \"\" for off",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
                if text.is_empty() {
                    return Ok(Addresses(Vec::new()));
                }
                let address = parse_address(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))?;
                Ok(Addresses(vec![address]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
                let mut addresses = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    let address = parse_address(&text)
                        .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&text), &self))?;
                    addresses.push(address);
                }
                Ok(Addresses(addresses))
            }
        }
        deserializer.deserialize_any(Form)
    }
}
