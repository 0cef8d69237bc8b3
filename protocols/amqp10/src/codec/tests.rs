//! Tables of good and bad encodings (part 1).

use bytes::BytesMut;
use evergate_model::Value;
use proptest::prelude::*;

use super::*;

#[test]
fn every_simple_encoding_is_read() {
    let table: [(&[u8], Value<'_>); 41] = [
        (&[0x40], Value::Null),
        (&[0x41], Value::Bool(true)),
        (&[0x42], Value::Bool(false)),
        (&[0x56, 0], Value::Bool(false)),
        (&[0x56, 1], Value::Bool(true)),
        (&[0x50, 255], Value::Ubyte(255)),
        (&[0x51, 0xff], Value::Byte(-1)),
        (&[0x60, 1, 2], Value::Ushort(0x102)),
        (&[0x61, 0xff, 0xfe], Value::Short(-2)),
        (&[0x43], Value::Uint(0)),
        (&[0x52, 200], Value::Uint(200)),
        (&[0x70, 0, 1, 0, 0], Value::Uint(65_536)),
        (&[0x54, 0x80], Value::Int(-128)),
        (&[0x71, 0xff, 0xff, 0xff, 0x7f], Value::Int(-129)),
        (&[0x44], Value::Ulong(0)),
        (&[0x53, 7], Value::Ulong(7)),
        (&[0x80, 0, 0, 0, 1, 0, 0, 0, 0], Value::Ulong(1 << 32)),
        (&[0x55, 0xfe], Value::Long(-2)),
        (&[0x81, 0x80, 0, 0, 0, 0, 0, 0, 0], Value::Long(i64::MIN)),
        (&[0x72, 0x3f, 0x80, 0, 0], Value::Float(1.0)),
        (&[0x82, 0x40, 0, 0, 0, 0, 0, 0, 0], Value::Double(2.0)),
        (&[0x73, 0, 1, 0xf6, 0], Value::Char('😀')),
        (&[0x74, 1, 2, 3, 4], Value::Decimal32([1, 2, 3, 4])),
        (&[0x84, 1, 2, 3, 4, 5, 6, 7, 8], Value::Decimal64([1, 2, 3, 4, 5, 6, 7, 8])),
        (
            &[0x94, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            Value::Decimal128([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        ),
        (&[0x98, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], Value::Uuid([9; 16])),
        (&[0x83, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Value::Timestamp(-1)),
        (&[0xa0, 0], Value::Binary([][..].into())),
        (&[0xa0, 2, 0, 255], Value::Binary([0, 255][..].into())),
        (&[0xb0, 0, 0, 0, 1, 7], Value::Binary([7][..].into())),
        (&[0xa1, 0], Value::text("")),
        (&[0xa1, 2, 0xc3, 0xa9], Value::text("é")),
        (&[0xb1, 0, 0, 0, 1, b'x'], Value::text("x")),
        (&[0xa3, 1, b'x'], Value::Symbol("x".into())),
        (&[0xb3, 0, 0, 0, 1, b'x'], Value::Symbol("x".into())),
        // Longer encodings than needed are still the value.
        (&[0x70, 0, 0, 0, 0], Value::Uint(0)),
        (&[0x80, 0, 0, 0, 0, 0, 0, 0, 0], Value::Ulong(0)),
        (&[0x71, 0, 0, 0, 1], Value::Int(1)),
        (&[0x81, 0, 0, 0, 0, 0, 0, 0, 1], Value::Long(1)),
        (&[0xb1, 0, 0, 0, 0], Value::text("")),
        (&[0xb3, 0, 0, 0, 0], Value::Symbol("".into())),
    ];
    for (bytes, value) in table {
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.item(), Ok(Item::Simple(value)), "{bytes:02x?}");
        assert!(reader.is_empty());
        for end in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..end]).item(), Err(DecodeError::Truncated), "{bytes:02x?} cut at {end}");
        }
    }
}

#[test]
fn bad_encodings_are_refused_for_what_they_are() {
    let table: [(&[u8], DecodeError); 15] = [
        (&[], DecodeError::Truncated),
        (&[0x3f], DecodeError::UnknownType(0x3f)),
        (&[0x46], DecodeError::UnknownType(0x46)),
        (&[0xa2, 1, 0], DecodeError::UnknownType(0xa2)),
        (&[0x56, 2], DecodeError::WrongType),
        (&[0x73, 0, 0, 0xd8, 0], DecodeError::BadText), // half a surrogate pair
        (&[0xa1, 1, 0xff], DecodeError::BadText),
        (&[0xa3, 2, 0xc3, 0xa9], DecodeError::BadText), // a symbol is ASCII
        (&[0xa1, 5, b'x'], DecodeError::Truncated),
        (&[0xb0, 0xff, 0xff, 0xff, 0xff, 1], DecodeError::Truncated),
        (&[0xc0, 1, 200], DecodeError::BadLength),     // 200 values in no bytes
        (&[0xc0, 0], DecodeError::Truncated),          // a size without room for the count
        (&[0xc1, 2, 1, 0x40], DecodeError::BadLength), // half a pair
        (&[0xe0, 2, 9, 0x50], DecodeError::BadLength), // nine elements in no bytes
        (&[0x00, 0x00, 0x53, 1, 0x40], DecodeError::WrongType), // a described descriptor
    ];
    for (bytes, error) in table {
        assert_eq!(Reader::new(bytes).item().unwrap_err(), error, "{bytes:02x?}");
    }
}

#[test]
fn only_what_holds_all_the_way_down_is_valid() {
    let good: [&[u8]; 9] = [
        &[0x45],
        &[0xc0, 3, 2, 0x41, 0x42],
        &[0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x40],
        &[0xc1, 3, 2, 0x43, 0x40],
        &[0xe0, 4, 2, 0x50, 1, 2],
        &[0xe0, 2, 16, 0x41],
        &[0xe0, 6, 2, 0xa3, 1, b'a', 1, b'b'],
        &[0xe0, 5, 1, 0x00, 0xa3, 0, 0x41],
        &[0x00, 0x53, 1, 0x00, 0x53, 2, 0x45],
    ];
    for bytes in good {
        let mut reader = Reader::new(bytes);
        assert_eq!(validate(&mut reader, 3), Ok(()), "{bytes:02x?}");
        assert!(reader.is_empty());
    }
    let bad: [&[u8]; 7] = [
        &[0xc0, 3, 1, 0x41, 0x42],       // more than it counts
        &[0xc0, 2, 2, 0x41],             // fewer than it counts
        &[0xc0, 5, 1, 0xc0, 2, 1, 0x3f], // an unknown type inside
        &[0xe0, 2, 17, 0x41],            // too many of nothing
        &[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x45],
        &[0xe0, 4, 1, 0x50, 0xaa, 0xbb], // more than it counts
        &[0xe0, 4, 1, 0xa1, 1, 0xff],
    ];
    for bytes in bad {
        assert!(validate(&mut Reader::new(bytes), 3).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn nesting_ends_at_the_limit() {
    let nested = |depth: usize| {
        let mut bytes = vec![0x40];
        for _ in 0..depth {
            let mut list = vec![0xc0, bytes.len() as u8 + 1, 1];
            list.extend_from_slice(&bytes);
            bytes = list;
        }
        bytes
    };
    assert_eq!(validate(&mut Reader::new(&nested(8)), 8), Ok(()));
    assert_eq!(validate(&mut Reader::new(&nested(9)), 8), Err(DecodeError::TooDeep));
}

#[test]
fn descriptors_around_one_value_nest_alike_deep_for_reading_and_stepping_over() {
    let described = |depth: usize| [&[0x00, 0x53, 1].repeat(depth)[..], &[0x40]].concat();
    let bytes = described(32);
    assert!(Reader::new(&bytes).item().is_ok());
    assert_eq!(Reader::new(&bytes).raw(), Ok(&bytes[..]));
    let bytes = described(33);
    assert_eq!(Reader::new(&bytes).item(), Err(DecodeError::TooDeep));
    assert_eq!(Reader::new(&bytes).raw(), Err(DecodeError::TooDeep));
}

#[test]
fn fields_may_be_absent_null_or_of_the_wrong_type() {
    let bytes = [0xc0, 6, 4, 0x40, 0x52, 7, 0xa3, 0];
    let mut fields = Fields::of(&bytes).unwrap();
    assert_eq!(fields.u32(), Ok(None));
    assert_eq!(fields.u32(), Ok(Some(7)));
    assert_eq!(fields.u32(), Err(DecodeError::WrongType));
    let mut absent = Fields::of(&[0x45]).unwrap();
    assert_eq!(
        (absent.flag(), absent.string(), absent.raw(), absent.symbols()),
        (Ok(false), Ok(None), Ok(None), Ok(vec![]))
    );
    let one = [0xc0, 4, 1, 0xa3, 1, b'q'];
    assert_eq!(Fields::of(&one).unwrap().symbols(), Ok(vec!["q".to_owned()]));
    let many = [0xc0, 9, 1, 0xe0, 6, 2, 0xa3, 1, b'a', 1, b'b'];
    assert_eq!(Fields::of(&many).unwrap().symbols(), Ok(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_list_is_written_without_its_trailing_nulls() {
    let mut buf = BytesMut::new();
    ListWriter::described(&mut buf, 0x10).null().uint(5).null().symbols::<&str>(&[]).close();
    assert_eq!(buf[..], [0x00, 0x53, 0x10, 0xd0, 0, 0, 0, 7, 0, 0, 0, 2, 0x40, 0x52, 5]);
}

fn any_value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        any::<u32>().prop_map(Value::Uint),
        (0..600u32).prop_map(Value::Uint),
        any::<u64>().prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        any::<i32>().prop_map(Value::Int),
        any::<i64>().prop_map(Value::Long),
        (-200..200i64).prop_map(Value::Long),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Binary(bytes.into())),
        ".{0,300}".prop_map(|text| Value::String(text.into())),
        "[a-z]{0,9}".prop_map(|text| Value::Symbol(text.into())),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        let mut buf = BytesMut::new();
        put_value(&mut buf, &value);
        let mut reader = Reader::new(&buf);
        prop_assert_eq!(reader.raw().map(<[u8]>::len), Ok(buf.len()));
        prop_assert_eq!(Reader::new(&buf).simple(), Ok(value));
    }

    #[test]
    fn reading_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new(&bytes);
        while !reader.is_empty() && validate(&mut reader, 16).is_ok() {}
        let _ = Reader::new(&bytes).raw();
        let _ = Fields::described(&mut Reader::new(&bytes)).and_then(|(_, mut fields)| fields.symbols());
    }
}
