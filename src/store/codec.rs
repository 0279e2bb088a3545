//! Values as they lie in columns: times as milliseconds since 1970 in UTC, identifiers, fingerprints and addresses as
//! their bytes, states and reasons as their numbers, whatever has a shape of its own as JSON.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ulid::Ulid;

use crate::policy::finding::Fingerprint;
use crate::target::state::{Reason, State};
use crate::target::{Target, Transport};

pub(super) type Sql<T> = rusqlite::Result<T>;

/// A stored value is not what this program writes.
pub(super) fn unreadable(column: usize, why: impl std::fmt::Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.to_string().into())
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Sql<Timestamp> {
    to_time(column, row.get(column)?)
}

pub(super) fn optional_time(row: &Row<'_>, column: usize) -> Sql<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(|ms| to_time(column, ms)).transpose()
}

fn to_time(column: usize, ms: i64) -> Sql<Timestamp> {
    Timestamp::from_millisecond(ms).map_err(|error| unreadable(column, error))
}

pub(super) fn ulid(row: &Row<'_>, column: usize) -> Sql<Ulid> {
    Ok(Ulid::from_bytes(row.get(column)?))
}

/// A fingerprint's 32 digits as 16 bytes; whatever else it may be one day, as its text.
pub(super) fn bytes_of(fingerprint: &Fingerprint) -> Vec<u8> {
    match u128::from_str_radix(fingerprint.as_str(), 16) {
        Ok(number) if fingerprint.as_str().len() == 32 => number.to_be_bytes().to_vec(),
        _ => fingerprint.as_str().as_bytes().to_vec(),
    }
}

/// The digits of a fingerprint.
pub(super) fn digits(row: &Row<'_>, column: usize) -> Sql<String> {
    let bytes: [u8; 16] = row.get(column)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// An address in its one spelling: 4 bytes or 16.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn address(row: &Row<'_>, column: usize) -> Sql<IpAddr> {
    let bytes = row.get_ref(column)?.as_blob()?;
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(octets.into());
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(octets) => Ok(octets.into()),
        Err(_) => Err(unreadable(column, "an address has 4 bytes or 16")),
    }
}

/// The number of a transport: that of its protocol (IANA).
pub(super) fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
    }
}

/// A target in three columns: address, port, transport.
pub(super) fn target(row: &Row<'_>, column: usize) -> Sql<Target> {
    let transport = match row.get(column + 2)? {
        6u8 => Transport::Tcp,
        other => return Err(unreadable(column + 2, format!("protocol {other}"))),
    };
    Ok(Target { ip: address(row, column)?, port: row.get(column + 1)?, transport })
}

/// The number of a state: its place in [`State::ALL`].
pub(super) fn number(state: State) -> u8 {
    match state {
        State::Open => 0,
        State::Closed => 1,
        State::Filtered => 2,
        State::Unreachable => 3,
        State::Conflict => 4,
        State::Unknown => 5,
    }
}

pub(super) fn state(row: &Row<'_>, column: usize) -> Sql<State> {
    let number: usize = row.get::<_, u8>(column)?.into();
    State::ALL.get(number).copied().ok_or_else(|| unreadable(column, format!("state {number}")))
}

pub(super) fn reason(row: &Row<'_>, column: usize) -> Sql<Option<Reason>> {
    let Some(code) = row.get::<_, Option<u8>>(column)? else { return Ok(None) };
    Reason::from_code(code).map(Some).ok_or_else(|| unreadable(column, format!("reason {code}")))
}

/// A count, which is never so high that it does not fit.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(row: &Row<'_>, column: usize) -> Sql<u64> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, count))
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Sql<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Sql<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

/// The word for a value that has one in JSON.
pub(super) fn from_word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Sql<T> {
    serde_json::from_value(row.get::<_, String>(column)?.into()).map_err(|error| unreadable(column, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_states_are_their_places() {
        for (place, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(number(state)), place);
        }
    }

    #[test]
    fn addresses_have_one_spelling() {
        let mapped = "::ffff:198.18.0.1".parse().expect("an address");
        assert_eq!(octets(mapped), [198, 18, 0, 1]);
        assert_eq!(octets("2001:db8::1".parse().expect("an address")).len(), 16);
    }
}
