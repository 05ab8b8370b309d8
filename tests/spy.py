"""What a consumer in another thread could see of a ring while its producer writes."""

from deltaring import AudioRing


def spy_on(ring: AudioRing) -> list[int]:
    """Note the value of `written` at each store into the ring's memory.

    No thread switch falls between the two in CPython, so that threads alone could not tell.
    """
    seen: list[int] = []

    class Spy:
        def __setitem__(self, where: slice, data: bytes) -> None:
            seen.append(ring.written)
            memory[where] = data

    memory, ring._buffer = ring._buffer, Spy()  # type: ignore[assignment]
    return seen
