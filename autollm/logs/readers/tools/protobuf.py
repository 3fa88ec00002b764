"""Protocol buffers, the wire format: bytes to numbered fields, without a schema.

A message is a dictionary from field number to the values that stand there, in order:
int for varints, bytes for what has a length and for fixed 4 or 8 bytes. Which field
means what is said by each reader, with the name that the tool's own schema gives it.

Invariant: reading never goes beyond the message; cut or foreign bytes are a RecordError.
"""

from __future__ import annotations

import struct

from autollm.core.errors import RecordError

Message = dict[int, list[int | bytes]]

_VARINT = 0
_LENGTH = 2
_FIXED = {1: 8, 5: 4}
"""Kinds of a fixed length: their bytes."""
_MAX_SHIFT = 63  # a varint holds 64 bits, seven a byte


def parse_message(data: bytes) -> Message:
    """The fields of one message.

    Raises:
        RecordError: the bytes are none.
    """
    fields: Message = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
        else:
            n_bytes = _FIXED.get(kind, -1)
            if kind == _LENGTH:
                n_bytes, at = _varint(data, at)
            if n_bytes < 0:
                raise RecordError(f"wire type {kind}, expected 0, 1, 2 or 5")
            value = data[at : at + n_bytes]
            at += n_bytes
            if at > len(data):
                raise RecordError("a message that is cut short")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _MAX_SHIFT + 1, 7):
        if at >= len(data):
            raise RecordError("a message that is cut short")
        byte = data[at]
        at += 1
        if byte < 0x80:
            return value | byte << shift, at
        value |= (byte & 0x7F) << shift
    raise RecordError("a number of more than 64 bits")


def messages(fields: Message, field_number: int) -> list[Message]:
    """The messages in a field.

    Raises:
        RecordError: it holds something else.
    """
    values = fields.get(field_number, [])
    return [parse_message(_bytes(value)) for value in values]


def message(fields: Message, field_number: int) -> Message:
    """The last message in a field; an absent one is empty.

    Raises:
        RecordError: it holds something else.
    """
    values = fields.get(field_number)
    return parse_message(_bytes(values[-1])) if values else {}


def texts(fields: Message, field_number: int) -> list[str]:
    """The texts in a field.

    Raises:
        RecordError: they are none.
    """
    try:
        values = fields.get(field_number, [])
        return [_bytes(value).decode("utf-8") for value in values]
    except UnicodeDecodeError:
        raise RecordError("a text that is not UTF-8") from None


def text(fields: Message, field_number: int) -> str:
    """The last text in a field; "" when absent. Raises: see `texts`."""
    found = texts(fields, field_number)
    return found[-1] if found else ""


def integer(fields: Message, field_number: int) -> int:
    """The last signed 64-bit number in a field; 0 when absent, as the format says.

    Raises:
        RecordError: it holds something else.
    """
    value = fields.get(field_number, [0])[-1]
    if not isinstance(value, int):
        raise RecordError(
            f"field {field_number} holds bytes, expected a number"
        )
    return value - 2**64 if value >= 2**63 else value


def real(fields: Message, field_number: int) -> float | None:
    """The last float or double in a field; None when absent.

    Raises:
        RecordError: it holds something else.
    """
    if field_number not in fields:
        return None
    value = _bytes(fields[field_number][-1])
    if len(value) not in (4, 8):
        raise RecordError(f"a number of {len(value)} bytes, expected 4 or 8")
    return struct.unpack("<f" if len(value) == 4 else "<d", value)[0]


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise RecordError("a number where bytes were expected")
    return value
