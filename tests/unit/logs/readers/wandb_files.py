"""The other direction of the W&B reader, for tests: records into framed bytes."""

import struct
import zlib

BLOCK = 32_768


def framed(records):
    """Records as a `.wandb` file, cut over blocks as LevelDB cuts them."""
    out = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        rest = record
        is_first = True
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += bytes(left)
                left = BLOCK
            piece = rest[: left - 7]
            rest = rest[len(piece) :]
            kind = {(1, 1): 1, (1, 0): 2, (0, 0): 3, (0, 1): 4}[
                is_first, not rest
            ]
            body = bytes([kind]) + piece
            out += (
                struct.pack("<IHB", zlib.crc32(body), len(piece), kind) + piece
            )
            is_first = False
            if not rest:
                break
    return bytes(out)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def bytes_field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def run_record(run_id, trunk="", at_step=0.0):
    """A Record with a RunRecord (17), a BranchPoint (23) in it."""
    run = bytes_field(1, run_id.encode())
    if trunk:
        branch = bytes_field(1, trunk.encode())
        branch += varint(2 << 3 | 1) + struct.pack("<d", at_step)
        run += bytes_field(23, branch)
    return bytes_field(17, run)
