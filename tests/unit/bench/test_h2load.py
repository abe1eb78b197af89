from __future__ import annotations

import pytest

from bench.figures import NotMeasured
from bench.h2load import framed, parse

OUTPUT = """starting benchmark...
spawning thread #0: 4 total client(s). 2500 total requests
progress: 10% done
finished in {time}, 812.34 req/s, 1.20MB/s
requests: 2500 total, 2500 started, 2500 done, 2498 succeeded, 2 failed, 0 errored, 0 timeout
status codes: 2500 2xx, 0 3xx, 0 4xx, 0 5xx
"""


@pytest.mark.parametrize(("time", "seconds"), [("3.08s", 3.08), ("812.40ms", 0.8124), ("950us", 0.00095)])
def test_the_output_is_read(time: str, seconds: float) -> None:
    sent = parse(OUTPUT.format(time=time))
    assert (sent.calls, sent.succeeded) == (2500, 2498)
    assert sent.seconds == pytest.approx(seconds)


def test_an_output_that_says_nothing_is_no_measurement() -> None:
    with pytest.raises(NotMeasured, match="connection refused"):
        parse("connection refused")


def test_a_message_is_framed_as_grpc_sends_it() -> None:
    assert framed(b"abc") == b"\x00\x00\x00\x00\x03abc"
