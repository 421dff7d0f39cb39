"""A WebSocket frame as a client sends it."""

import struct


def frame(opcode: int, payload: bytes = b"", *, is_final: bool = True) -> bytes:
    """Return a masked frame. The mask is zero."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + struct.pack("!H", size) if size < 2**16 else b"\xff" + struct.pack("!Q", size)
    return bytes([(0x80 if is_final else 0) | opcode]) + length + bytes(4) + payload
