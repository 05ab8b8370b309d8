"""set_serial(): the stream number of an Ogg file, which its encoder draws at random.

Rule: nothing of the file changes but that number and the checksums that cover it (RFC 3533,
section 6), so that the same audio gives the same file.
"""

import struct
import zlib
from typing import BinaryIO

_SERIAL, _CHECKSUM, _SEGMENTS = 14, 22, 26  # bytes into a page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ONES = 0xFFFFFFFF


def set_serial(file: BinaryIO, serial: int) -> None:
    """Write `serial` into each page of an Ogg file of one stream. Raises ValueError for another."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(_SEGMENTS + 1)
        if not head:
            return
        if head[:4] != b"OggS" or len(head) <= _SEGMENTS:
            raise ValueError(f"byte {at}: no page of an Ogg file")
        lengths = file.read(head[_SEGMENTS])
        page = bytearray(head + lengths + file.read(sum(lengths)))
        struct.pack_into("<I", page, _SERIAL, serial)
        struct.pack_into("<I", page, _CHECKSUM, 0)
        struct.pack_into("<I", page, _CHECKSUM, checksum(page))
        file.seek(at)
        file.write(page)
        at += len(page)


def checksum(page: bytes | bytearray) -> int:
    """Return Ogg's CRC of a page whose own checksum is 0.

    It is zlib's with the bits of each byte and of the result the other way round, beginning at 0
    and not inverted.
    """
    mirrored = zlib.crc32(page.translate(_REVERSED), _ONES) ^ _ONES
    return int(f"{mirrored:032b}"[::-1], 2)
