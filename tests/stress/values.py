"""Reads values of AMQP 1.0, as far as a gateway sends them: numbers, booleans, texts, binaries, lists, described ones."""

# Bytes of a value by the upper half of its constructor; the others say their size themselves.
FIXED = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
CONSTANTS = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0, 0x45: []}
TEXTS = {0xA1, 0xB1, 0xA3, 0xB3}
LISTS = {0xC0: 1, 0xD0: 4}


def read(data, at=0):
    """A value and where it ends. Of a described one (descriptor, value); maps and arrays as bytes."""
    code = data[at]
    at += 1
    if code == 0x00:
        descriptor, at = read(data, at)
        value, at = read(data, at)
        return (descriptor, value), at
    if code in CONSTANTS:
        return CONSTANTS[code], at
    if size := FIXED.get(code >> 4):
        value = int.from_bytes(data[at : at + size], "big")
        return (bool(value) if code == 0x56 else value), at + size
    width = 4 if code >> 4 in (0xB, 0xD, 0xF) else 1
    size = int.from_bytes(data[at : at + width], "big")
    at += width
    end = at + size
    if code in LISTS:
        count = int.from_bytes(data[at : at + LISTS[code]], "big")
        at += LISTS[code]
        items = []
        for _ in range(count):
            item, at = read(data, at)
            items.append(item)
        return items, end
    value = bytes(data[at:end])
    return (value.decode() if code in TEXTS else value), end
