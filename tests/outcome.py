"""What a decoder made of a frame, in a form that can be compared."""

from typing import Any

import deltaring


def outcome(decoder: deltaring.Decoder, frame: Any) -> tuple[Any, ...]:
    """Decode; return the event with its samples, or the class of the error."""
    try:
        event = decoder.decode(frame)
    except deltaring.FrameError as error:
        return (type(error),)
    if not isinstance(event, deltaring.AudioDelta):
        return type(event), event
    track = event.track
    ring = track.ring
    return (
        deltaring.AudioDelta,
        (event.type, event.event_id, event.response_id, event.item_id, event.output_index),
        (event.start, event.stop, event.dropped, track.key, track.serial, track.format),
        (track.sample_rate, track.done, track.overrun, track.pending),
        (ring.written, ring.consumed, ring.dropped, ring.capacity),
        ring.read(ring.readable).tobytes(),
    )


def comparable(stats: deltaring.Stats) -> dict[str, int]:
    """The counters but `fast`, which is all that the fast path may change."""
    return {name: getattr(stats, name) for name in stats.__struct_fields__ if name != "fast"}
