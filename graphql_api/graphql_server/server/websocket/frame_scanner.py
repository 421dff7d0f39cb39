"""Finds where WebSocket frames end, without decoding them (RFC 6455, section 5.2)."""

_MAX_HEADER_BYTES = 14


class FrameScanner:
    """Follows the frames of one WebSocket through all data that it receives."""

    def __init__(self) -> None:
        self._header = b""  # the incomplete header of the current frame
        self._bytes_left = 0  # bytes of the current frame after a complete header

    @property
    def is_between_frames(self) -> bool:
        """Whether the last frame is complete."""
        return not self._bytes_left and not self._header

    def end_of_frame(self, data: bytes, start: int) -> int:
        """Return where the current frame ends in `data`, or the end of `data` if the frame is incomplete.

        `start` is the end that the previous call returned, or 0 for new data.
        """
        if not self._bytes_left:
            header = self._header + data[start : start + _MAX_HEADER_BYTES - len(self._header)]
            size = _frame_size(header)
            if size is None:
                self._header = header
                return len(data)
            self._bytes_left = size - len(self._header)
            self._header = b""
        end = min(start + self._bytes_left, len(data))
        self._bytes_left -= end - start
        return end


def _frame_size(header: bytes) -> int | None:
    """Return the size of a frame with its header, or None if the header is incomplete."""
    if len(header) < 2:
        return None
    length = header[1] & 0b0111_1111
    extended_bytes = {126: 2, 127: 8}.get(length, 0)
    if len(header) < 2 + extended_bytes:
        return None
    if extended_bytes:
        length = int.from_bytes(header[2 : 2 + extended_bytes])
    mask_bytes = 4 if header[1] & 0b1000_0000 else 0
    return 2 + extended_bytes + mask_bytes + length
