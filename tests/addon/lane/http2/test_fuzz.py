# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (C) 2026 the contributors
"""Frames that are cut, swapped, repeated and changed: no exception but the protocol's own, no growth, no end of time.

`python -m tests.addon.lane.http2.test_fuzz 1000000` does it as often as one likes.
"""

import random
import sys
import tracemalloc

import hpack

from addon.lane.http2 import frames
from addon.lane.http2.frames import END_STREAM, frame, ping, rst_stream, settings, window_update
from addon.lane.http2.protocol import MOST_STREAMS
from tests.addon.lane.http2.talking import GET, OPENING, POST, Client, parsed

ROUNDS = 3000


def piece(rng: random.Random, encoder: hpack.Encoder) -> bytes:
    """A frame that makes sense, more or less."""
    number = rng.choice((0, 1, 1, 3, 3, 5, 7, 9, 2, 2**31 - 1))
    path = rng.choice(("/0", "/5", "/70000", "/ready/9", "/wait", "/body"))
    kind = rng.randrange(12)
    if kind < 3:
        head = GET if kind else POST
        more = [("priority", "u=1, i")] if rng.random() < 0.3 else []
        block = encoder.encode([*head[:3], (":path", path), *more])
        if rng.random() < 0.1:
            cut = rng.randrange(len(block) + 1)
            flags = rng.choice((0, END_STREAM))
            return frame(1, flags, number, block[:cut]) + frame(9, rng.choice((0, 4)), number, block[cut:])
        return frame(1, 4 | rng.choice((0, END_STREAM)), number, block)
    if kind == 3:
        return frame(frames.DATA, rng.choice((0, 1, 8)), number, rng.randbytes(rng.randrange(50)))
    if kind == 4:
        return window_update(number, rng.choice((0, 1, 1000, 2**31 - 1)))
    if kind == 5:
        return settings([(rng.randrange(10), rng.choice((0, 1, 16384, 100, 2**31)))])
    if kind == 6:
        return rst_stream(number, rng.randrange(15))
    if kind == 7:
        return ping(rng.randbytes(8), ack=rng.random() < 0.3)
    if kind == 8:
        return frame(frames.PRIORITY, 0, number, rng.randbytes(5))
    if kind == 9:
        return frame(frames.PRIORITY_UPDATE, 0, 0, number.to_bytes(4, "big") + rng.choice((b"u=0", b"i", b"?", b"u=9")))
    if kind == 10:
        return frames.goaway(number, 0)
    return frame(rng.randrange(256), rng.randrange(256), rng.randrange(20), rng.randbytes(rng.randrange(30)))


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randrange(1, 9)]
            case 2:
                changed[at:at] = rng.randbytes(rng.randrange(1, 9))
            case _:
                changed[at:at] = changed[at : at + rng.randrange(1, 60)]
        if not changed:
            break
    return bytes(changed)


def sequence(rng: random.Random) -> int:
    """One connection; returns how many frames came back."""
    client = Client(opened=False)
    encoder = hpack.Encoder()
    data = OPENING + b"".join(piece(rng, encoder) for _ in range(rng.randrange(1, 25)))
    if rng.random() < 0.7:
        data = OPENING + mutated(rng, data[len(OPENING) :]) if rng.random() < 0.8 else mutated(rng, data)
    came_back = 0
    at = 0
    while at < len(data):
        step = rng.choice((1, 7, 100, 5000))
        # A turn takes at least one frame, or there is no next one.
        turns = 0
        again = client.protocol.receive(data[at : at + step], client.now)
        while again:
            turns += 1
            assert turns <= step
            again = client.protocol.receive(b"", client.now)
        client.protocol.pump(rng.choice((0, 100, 1 << 20)))
        came_back += len(list(parsed(b"".join(client.protocol.out))))
        client.protocol.out.clear()
        at += step
        assert len(client.protocol.streams) <= MOST_STREAMS
        assert client.protocol.held < 2 * (frames.MAX_FRAME + frames.HEAD_SIZE)
        assert client.protocol.held < step + frames.MAX_FRAME + frames.HEAD_SIZE
    if rng.random() < 0.5:
        client.protocol.warn()
        client.protocol.finish()
    client.protocol.close()
    # Whatever was asked is over, in one way or the other, and once.
    events = client.answering.events
    asked = [number for name, number in events if name == "asked"]
    over = [number for name, number in events if name in ("done", "gone")]
    assert len(set(over)) == len(over)
    assert set(asked) <= set(over)
    return came_back


def run(rounds: int, seed: int) -> int:
    rng = random.Random(seed)
    return sum(sequence(rng) for _ in range(rounds))


def test_no_sequence_of_frames_is_answered_by_an_exception_or_by_growth() -> None:
    run(ROUNDS // 10, 1)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    came_back = run(ROUNDS, 2)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert came_back > ROUNDS
    assert after - before < 4 * 1024 * 1024  # the memory of short strings, which has a bound


if __name__ == "__main__":
    print(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), "frames came back")
