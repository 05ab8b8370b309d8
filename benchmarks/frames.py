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

GA, BETA = "response.output_audio.delta", "response.audio.delta"

_BEFORE = {
    "openai": '{"type":"NAME","event_id":"event_E4ySzfnOcWHFSZXcbUmTo",'
    '"response_id":"resp_E4ySzvKWmfZzGYRJLuvPM","item_id":"item_E4ySzyEXmG1cqrBzxotNa",'
    '"output_index":0,"content_index":0,"delta":"',
    "voice_live": '{"event_id":"event_6ADcOnOJHZFwBFZoVUUTwE","type":"NAME",'
    '"response_id":"resp_E4BAqe5bKD2fzpGWYUcxW","item_id":"item_E4BAqvdWBX2CPiTEwdsGK",'
    '"output_index":0,"content_index":0,"delta":"',
    "xai": '{"type":"NAME","event_id":"10c9589b-0f2a-4af1-bf27-700fba2d077d",'
    '"item_id":"73235c8c-89df-4be3-938b-6d53b04c54fc",'
    '"response_id":"1424e44c-2aa2-4309-8100-a69dc832a391","delta":"',
}
_AFTER = {
    "openai": '"}',
    "voice_live": '"}',
    "xai": '","content_index":0,"output_index":0,"rid":"417c5cb6-96ff-43bb-86c5-ceacabc8fac9",'
    '"audio_duration_ms":642,"ts":1785214081361,"previous_item_id":null}',
}
LAYOUTS = list(_BEFORE)


def delta(size: int, name: str = GA, layout: str = "openai") -> bytes:
    """Return an audio delta of `size` bytes under that name, in that server's key order."""
    payload = base64.b64encode(pcm(size)).decode()
    return (_BEFORE[layout].replace("NAME", name) + payload + _AFTER[layout]).encode()


_ITEM = (
    '{"id":"item_E4ySzyEXmG1cqrBzxotNa","type":"message","status":"completed","role":"assistant",'
    '"content":[{"type":"output_audio","transcript":"Hello, how can I help you today?"}]}'
)
_AUDIO = '"audio":{"output":{"format":{"type":"audio/pcm","rate":24000},"voice":"marin"}}'
_USAGE = (
    '{"total_tokens":146,"input_tokens":40,"output_tokens":106,"input_token_details":'
    '{"text_tokens":14,"audio_tokens":26,"image_tokens":0,"cached_tokens":0,'
    '"cached_tokens_details":{"text_tokens":0,"audio_tokens":0,"image_tokens":0}},'
    '"output_token_details":{"text_tokens":29,"audio_tokens":77}}'
)
EVENTS = {
    "response.output_audio_transcript.delta": TRANSCRIPT_DELTA,
    "response.output_audio.done": f'{{"type":"response.output_audio.done",{_IDS[:-1]}}}'.encode(),
    "input_audio_buffer.speech_started": (
        b'{"type":"input_audio_buffer.speech_started","event_id":"event_E4ySyVUG8EXd7oqdUhepN",'
        b'"audio_start_ms":1556,"item_id":"item_E4ySyG6RNy8D0s5RY4wHG"}'
    ),
    "response.output_item.done": (
        '{"type":"response.output_item.done","event_id":"event_E4yT0PvROHU4DYPXb1zPk",'
        f'"response_id":"resp_E4ySzvKWmfZzGYRJLuvPM","output_index":0,"item":{_ITEM}}}'
    ).encode(),
    "response.done": (
        '{"type":"response.done","event_id":"event_E4yT0jFrf06RYzCUYf7hq","response":'
        '{"object":"realtime.response","id":"resp_E4ySzvKWmfZzGYRJLuvPM","status":"completed",'
        f'"status_details":null,"output":[{_ITEM}],"conversation_id":"conv_E4ySyOZ7cfEjOpKcChziC",'
        f'"output_modalities":["audio"],"max_output_tokens":"inf",{_AUDIO},"usage":{_USAGE},'
        '"metadata":null}}'
    ).encode(),
    "input_audio_buffer.speech_stopped": (
        b'{"type":"input_audio_buffer.speech_stopped","event_id":"event_E4ySz1rMwzXYcEvZU9bxa",'
        b'"audio_end_ms":3008,"item_id":"item_E4ySyG6RNy8D0s5RY4wHG"}'
    ),
    "response.function_call_arguments.delta": (
        b'{"type":"response.function_call_arguments.delta","event_id":"event_E4yT3uYfBqOaX3bJvwvQd",'
        b'"response_id":"resp_E4yT2f6ZB1tpqSGMOnFVz","item_id":"item_E4yT2Zo4nWvIYeqVxqkfd",'
        b'"output_index":0,"call_id":"call_rXb6PEb7rW5G3WVr","delta":"{\\"ci","obfuscation":"d8wPq"}'
    ),
    "conversation.item.input_audio_transcription.delta": (
        b'{"type":"conversation.item.input_audio_transcription.delta",'
        b'"event_id":"event_E4ySzuNTIuKo3ZPQFYIhe","item_id":"item_E4ySyG6RNy8D0s5RY4wHG",'
        b'"content_index":0,"delta":" weather","obfuscation":"Qx2Jt9"}'
    ),
    "error": (
        b'{"type":"error","event_id":"event_E4yT5fF1HVbwYqPOZbKxe","error":'
        b'{"type":"invalid_request_error","code":"response_cancel_not_active",'
        b'"message":"Cancellation failed: no active response found","param":null,"event_id":null}}'
    ),
    "rate_limits.updated": (
        b'{"type":"rate_limits.updated","event_id":"event_E4yT0zFmo7Ry2X7ZC5bqH","rate_limits":'
        b'[{"name":"tokens","limit":800000,"remaining":795000,"reset_seconds":0.375}]}'
    ),
    "unknown": b'{"type":"ping","event_id":"c63c9f6c-c969-4ba4","timestamp":1785214080296}',
}
"""One frame of a kind, as OpenAI's GA servers send them (and xAI's ping)."""
