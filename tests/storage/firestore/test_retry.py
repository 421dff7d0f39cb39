"""Pauses between retries grow up to a limit."""

from itertools import islice

from storage.firestore.retry import backoff


def test_pauses_double_up_to_the_limit() -> None:
    """Jitter shortens a pause by at most half, so that processes do not retry at the same time."""
    pauses = list(islice(backoff(0.1, 1.0), 8))

    for pause, longest in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0], strict=True):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses)
