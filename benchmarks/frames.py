"""Canned frames. They are never changed, only added to: results of years must stay comparable."""

import base64
import random

_IDS = (
    '"event_id":"event_E4ySzfnOcWHFSZXcbUmTo","response_id":"resp_E4ySzvKWmfZzGYRJLuvPM",'
    '"item_id":"item_E4ySzyEXmG1cqrBzxotNa","output_index":0,"content_index":0,'
)


def pcm(size: int) -> bytes:
    """Return `size` bytes of noise, always the same."""
    return random.Random(size).randbytes(size)


def audio_delta(size: int) -> bytes:
    """Return a GA audio delta of `size` bytes of PCM, as OpenAI sends it."""
    payload = base64.b64encode(pcm(size)).decode()
    return (f'{{"type":"response.output_audio.delta",{_IDS}"delta":"{payload}"}}').encode()


TRANSCRIPT_DELTA = (
    f'{{"type":"response.output_audio_transcript.delta",{_IDS}'
    '"delta":"Hi","obfuscation":"5YY5imXvSxhAyd"}'
).encode()
"""251 bytes."""
