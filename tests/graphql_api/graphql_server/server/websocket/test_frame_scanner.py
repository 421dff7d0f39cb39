"""The scanner of WebSocket frames.

The module starts no server: websockets draws random numbers for its pings, also while Hypothesis generates data, and
Hypothesis then fails the test.
"""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from graphql_api.graphql_server.server.websocket.frame_scanner import FrameScanner
from tests.graphql_api.graphql_server.server.frame import frame

BINARY = 2


@given(st.lists(st.sampled_from([0, 1, 5, 125, 126, 300, 65_535, 65_536]), min_size=1, max_size=8), st.data())
def test_the_scanner_finds_the_end_of_each_frame_wherever_data_is_cut(sizes: list[int], data: st.DataObject) -> None:
    """The ends are those of the frames, and of the data."""
    frames = [frame(BINARY, bytes(size)) for size in sizes]
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)) | {0, len(stream)})
    scanner = FrameScanner()

    ends = set()
    for begin, end in itertools.pairwise(cuts):
        position = 0
        while position < end - begin:
            position = scanner.end_of_frame(stream[begin:end], position)
            if scanner.is_between_frames:
                ends.add(begin + position)

    assert ends == {sum(map(len, frames[: number + 1])) for number in range(len(frames))}
