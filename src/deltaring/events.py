"""The server events of the OpenAI Realtime API, beta and GA, as msgspec Structs.

Rule: one class per `type` string, named after it in CamelCase (`error` is `ErrorEvent`), and only
ids, indices, deltas and transcripts are typed strictly. What servers vary is a union of what was
seen, or open; `frame.parse` decodes an event whose open part does not fit once more, with that part
as plain Python objects, so that nobody's dialect costs an event.

Sources: [sdk] the types of openai-python 3.54.0, [wire] recorded frames of OpenAI, Azure, xAI and
others, [spec] OpenAI's API description of August 2026. A class without a mark is in [sdk], and its
fields were seen on the [wire] where recordings have it. Absent ids are `""` and absent indices 0,
because several servers leave them out. Milliseconds are counted from the start of the session's
audio. Events are immutable and hold no cycles, so the garbage collector does not track them.
"""

from typing import Any, ClassVar, TypeAlias

from msgspec import Struct

from deltaring.errors import FrameError

# --- nested models: flat, everything optional ------------------------------------------------


class ContentPart(Struct, frozen=True, gc=False):
    """One part of an item's content, of any role. Unstated fields are None."""

    type: str | None = ""
    """input_text, input_audio, input_image, text, audio, output_text, output_audio, ..."""
    text: str | None = None
    audio: str | None = None
    """Base64 in the session's format; sent only by `conversation.item.retrieved` and clones."""
    transcript: str | None = None
    id: str | None = None
    image_url: str | None = None
    detail: str | None = None
    format: str | None = None


class ResponseItem(Struct, frozen=True, gc=False):
    """A conversation item: message, function_call, function_call_output or one of the MCP kinds."""

    id: str | None = ""
    object: str | None = None
    type: str | None = ""
    role: str | None = None
    content: list[ContentPart] | None = []
    status: str | None = None
    """in_progress, completed, incomplete"""
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    """JSON text, as the model wrote it."""
    output: str | list[Any] | dict[str, Any] | None = None
    phase: str | None = None
    """commentary or final_answer [wire]"""
    server_label: str | None = None
    tools: list[Any] | None = None
    approval_request_id: str | None = None
    approve: bool | None = None
    reason: str | None = None
    error: dict[str, Any] | str | None = None


class CachedTokensDetails(Struct, frozen=True, gc=False):
    """How the cached input tokens split. They are part of `cached_tokens`, not on top of it."""

    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class InputTokenDetails(Struct, frozen=True, gc=False):
    """How input tokens split; the cached ones are counted inside the others as well."""

    cached_tokens: int | None = None
    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    cached_tokens_details: CachedTokensDetails | None = None


class OutputTokenDetails(Struct, frozen=True, gc=False):
    """How output tokens split."""

    text_tokens: int | None = None
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    """[wire]"""


class RealtimeUsage(Struct, frozen=True, gc=False):
    """Tokens of one response. xAI sends `{}` inside the response and the figures beside it."""

    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: InputTokenDetails | None = None
    output_token_details: OutputTokenDetails | None = None


class TranscriptionUsage(Struct, frozen=True, gc=False):
    """What an input transcription cost: tokens, or seconds of audio, as `type` says."""

    type: str | None = None
    """tokens or duration"""
    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: InputTokenDetails | None = None
    seconds: float | None = None


class ResponseInfo(Struct, frozen=True, gc=False):
    """A response as `response.created` and `response.done` show it."""

    id: str | None = ""
    object: str | None = None
    status: str | None = ""
    """in_progress, completed, cancelled, incomplete, failed"""
    status_details: dict[str, Any] | str | None = None
    """A string at xAI."""
    output: list[ResponseItem] | None = []
    usage: RealtimeUsage | None = None
    conversation_id: str | None = None
    modalities: list[str] | None = None
    """beta; GA says `output_modalities`"""
    output_modalities: list[str] | None = None
    voice: str | dict[str, Any] | None = None
    output_audio_format: str | None = None
    """beta; GA says `audio["output"]["format"]`"""
    audio: dict[str, Any] | None = None
    temperature: float | None = None
    max_output_tokens: int | str | None = None
    metadata: dict[str, Any] | None = None


class SessionInfo(Struct, frozen=True, gc=False):
    """A session's configuration in any dialect: beta is flat, GA nests under `audio`.

    A null means unset or unchanged; OpenAI sends nulls for most of what is not configured.
    """

    id: str | None = ""
    object: str | None = None
    type: str | None = None
    """realtime, transcription, translation (GA)"""
    model: str | None = ""
    modalities: list[str] | None = []
    output_modalities: list[str] | None = None
    instructions: str | None = ""
    voice: str | dict[str, Any] | None = None
    """An object at Azure Voice Live."""
    input_audio_format: str | None = None
    output_audio_format: str | None = None
    input_audio_transcription: dict[str, Any] | None = None
    input_audio_noise_reduction: dict[str, Any] | None = None
    turn_detection: dict[str, Any] | None = None
    tools: list[Any] | None = []
    tool_choice: str | dict[str, Any] | None = None
    temperature: float | None = None
    max_response_output_tokens: int | str | None = None
    """A number or "inf"; GA says `max_output_tokens`."""
    max_output_tokens: int | str | None = None
    speed: float | None = None
    tracing: str | dict[str, Any] | None = None
    truncation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    include: list[str] | None = None
    audio: dict[str, Any] | None = None
    """GA: `{"input": {...}, "output": {"format": {"type", "rate"}, "voice", "speed"}}`."""
    expires_at: int | None = None
    """Unix seconds."""
    client_secret: dict[str, Any] | str | None = None


class ConversationInfo(Struct, frozen=True, gc=False):
    """The conversation of a session."""

    id: str | None = ""
    object: str | None = None


class RealtimeError(Struct, frozen=True, gc=False):
    """What went wrong, and the client event that caused it, where there is one."""

    type: str | None = None
    code: str | int | None = None
    message: str | None = ""
    param: str | None = None
    event_id: str | None = None
    """The `event_id` of the client's event, not of this one."""


class RateLimit(Struct, frozen=True, gc=False):
    """One rate limit after a response; some sessions are told only of `tokens` [wire]."""

    name: str | None = ""
    """requests or tokens"""
    limit: int | None = None
    remaining: int | None = None
    reset_seconds: float | None = None


class LogProb(Struct, frozen=True, gc=False):
    """A transcribed token and its log probability."""

    token: str = ""
    logprob: float | None = None
    bytes: list[int] | None = None


class TranscriptionLanguage(Struct, frozen=True, gc=False):
    """A language heard in the input."""

    code: str = ""


def field_of(part: Any, name: str) -> Any:
    """Return a field of a nested part, which is a dict where it did not fit its declared form.

    None where there is no such field.
    """
    return part.get(name) if isinstance(part, dict) else getattr(part, name, None)


def text_of(part: Any, name: str) -> str:
    """Return a field of a nested part that is a text; "" for anything else."""
    value = field_of(part, name)
    return value if isinstance(value, str) else ""


# --- bases -----------------------------------------------------------------------------------


class Event(Struct, frozen=True, gc=False, tag_field="type"):
    """Base of the events with a known type. `type` is the string on the wire."""

    event_id: str = ""
    type: ClassVar[str]
    is_error: ClassVar[bool] = False


class _ItemEvent(Event, frozen=True, gc=False):
    item_id: str = ""


class _ResponseItemEvent(Event, frozen=True, gc=False):
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0


class _PartEvent(_ResponseItemEvent, frozen=True, gc=False):
    content_index: int = 0


# --- session and conversation ----------------------------------------------------------------


class SessionCreated(Event, frozen=True, gc=False, kw_only=True, tag="session.created"):
    """The first event of a connection; in the middle of a recording it marks a reconnect."""

    session: SessionInfo


class SessionUpdated(Event, frozen=True, gc=False, kw_only=True, tag="session.updated"):
    """The session's configuration after a `session.update`, whole."""

    session: SessionInfo


class SessionClosed(Event, frozen=True, gc=False, tag="session.closed"):
    """A translation session has ended."""


class TranscriptionSessionCreated(
    Event, frozen=True, gc=False, kw_only=True, tag="transcription_session.created"
):
    """First event of a beta transcription session [spec]; servers do send it (VoxInput #22)."""

    session: SessionInfo


class TranscriptionSessionUpdated(
    Event, frozen=True, gc=False, kw_only=True, tag="transcription_session.updated"
):
    """The configuration of a beta transcription session after an update."""

    session: SessionInfo


class ConversationCreated(Event, frozen=True, gc=False, kw_only=True, tag="conversation.created"):
    """Right after `session.created`: beta and xAI; not seen from OpenAI's GA [wire]."""

    conversation: ConversationInfo


class ConversationItemCreated(
    Event, frozen=True, gc=False, kw_only=True, tag="conversation.item.created"
):
    """An item entered the conversation (beta). With audio inside it may be megabytes long."""

    previous_item_id: str | None = None
    item: ResponseItem


class ConversationItemAdded(
    Event, frozen=True, gc=False, kw_only=True, tag="conversation.item.added"
):
    """An item entered the conversation (GA); it may still be filled."""

    previous_item_id: str | None = None
    item: ResponseItem


class ConversationItemDone(
    Event, frozen=True, gc=False, kw_only=True, tag="conversation.item.done"
):
    """An item of the conversation is complete (GA)."""

    previous_item_id: str | None = None
    item: ResponseItem


class ConversationItemRetrieved(
    Event, frozen=True, gc=False, kw_only=True, tag="conversation.item.retrieved"
):
    """The answer to `conversation.item.retrieve`; the item's audio is inside, as base64."""

    item: ResponseItem


class ConversationItemDeleted(_ItemEvent, frozen=True, gc=False, tag="conversation.item.deleted"):
    """The answer to `conversation.item.delete`."""


class ConversationItemTruncated(
    _ItemEvent, frozen=True, gc=False, tag="conversation.item.truncated"
):
    """The answer to `conversation.item.truncate`: the item now ends where playback stopped."""

    content_index: int = 0
    audio_end_ms: int | None = None
    """Milliseconds of the item's own audio."""


# --- transcription of the input --------------------------------------------------------------


class ConversationItemInputAudioTranscriptionDelta(
    _ItemEvent, frozen=True, gc=False, tag="conversation.item.input_audio_transcription.delta"
):
    """A piece of the user's words, while they are transcribed."""

    content_index: int | None = 0
    delta: str | None = None
    logprobs: list[LogProb] | None = None


class ConversationItemInputAudioTranscriptionCompleted(
    _ItemEvent,
    frozen=True,
    gc=False,
    kw_only=True,
    tag="conversation.item.input_audio_transcription.completed",
):
    """The user's words, final. May come long after the reply to them."""

    content_index: int = 0
    transcript: str
    usage: TranscriptionUsage | None = None
    languages: list[TranscriptionLanguage] | None = None
    logprobs: list[LogProb] | None = None


class ConversationItemInputAudioTranscriptionSegment(
    _ItemEvent,
    frozen=True,
    gc=False,
    kw_only=True,
    tag="conversation.item.input_audio_transcription.segment",
):
    """A piece of the user's words with its speaker (diarizing models, GA)."""

    content_index: int = 0
    id: str = ""
    text: str
    speaker: str | None = ""
    start: float | None = None
    """Seconds."""
    end: float | None = None
    """Seconds."""


class ConversationItemInputAudioTranscriptionFailed(
    _ItemEvent,
    frozen=True,
    gc=False,
    kw_only=True,
    tag="conversation.item.input_audio_transcription.failed",
):
    """The user's words could not be transcribed; the conversation goes on."""

    content_index: int = 0
    error: RealtimeError


# --- audio buffers ---------------------------------------------------------------------------


class InputAudioBufferCommitted(
    _ItemEvent, frozen=True, gc=False, tag="input_audio_buffer.committed"
):
    """The input buffer has become a user item, by the client's word or the server's VAD."""

    previous_item_id: str | None = None


class InputAudioBufferCleared(Event, frozen=True, gc=False, tag="input_audio_buffer.cleared"):
    """The answer to `input_audio_buffer.clear`."""


class InputAudioBufferSpeechStarted(
    _ItemEvent, frozen=True, gc=False, tag="input_audio_buffer.speech_started"
):
    """The server's VAD heard speech: the moment for barge-in."""

    audio_start_ms: int | None = None


class InputAudioBufferSpeechStopped(
    Event, frozen=True, gc=False, tag="input_audio_buffer.speech_stopped"
):
    """The server's VAD heard the speech end."""

    item_id: str | None = ""
    audio_end_ms: int | None = None


class InputAudioBufferTimeoutTriggered(
    _ItemEvent, frozen=True, gc=False, tag="input_audio_buffer.timeout_triggered"
):
    """Nobody spoke for `idle_timeout_ms` (GA)."""

    audio_start_ms: int | None = None
    audio_end_ms: int | None = None


class InputAudioBufferDtmfEventReceived(
    Event, frozen=True, gc=False, kw_only=True, tag="input_audio_buffer.dtmf_event_received"
):
    """A key was pressed on a SIP call (GA)."""

    event: str
    """0 to 9, *, #, A to D"""
    received_at: int | float | None = None
    """Unix seconds."""


class _OutputAudioBufferEvent(Event, frozen=True, gc=False):
    response_id: str = ""


class OutputAudioBufferStarted(
    _OutputAudioBufferEvent, frozen=True, gc=False, tag="output_audio_buffer.started"
):
    """WebRTC and SIP: the server began to play the response."""


class OutputAudioBufferStopped(
    _OutputAudioBufferEvent, frozen=True, gc=False, tag="output_audio_buffer.stopped"
):
    """WebRTC and SIP: the response has been played to its end."""

    audio_end_ms: int | None = None
    item_id: str | None = ""


class OutputAudioBufferCleared(
    _OutputAudioBufferEvent, frozen=True, gc=False, tag="output_audio_buffer.cleared"
):
    """WebRTC and SIP: playback was cut, by the user or by `output_audio_buffer.clear`."""


# --- responses -------------------------------------------------------------------------------


class ResponseCreated(Event, frozen=True, gc=False, kw_only=True, tag="response.created"):
    """A response begins."""

    response: ResponseInfo


class ResponseDone(Event, frozen=True, gc=False, kw_only=True, tag="response.done"):
    """A response is over, however it ended; the items are inside, their audio is not."""

    response: ResponseInfo
    usage: RealtimeUsage | None = None
    """xAI only; elsewhere `response.usage`."""


class ResponseOutputItemAdded(
    Event, frozen=True, gc=False, kw_only=True, tag="response.output_item.added"
):
    """An item of the response begins."""

    response_id: str = ""
    output_index: int = 0
    item: ResponseItem


class ResponseOutputItemDone(
    Event, frozen=True, gc=False, kw_only=True, tag="response.output_item.done"
):
    """An item of the response is complete, or was cut."""

    response_id: str = ""
    output_index: int = 0
    item: ResponseItem


class ResponseContentPartAdded(
    _PartEvent, frozen=True, gc=False, tag="response.content_part.added"
):
    """A content part begins. Azure GA sends `part` a second time as `content`."""

    part: ContentPart | None = None


class ResponseContentPartDone(_PartEvent, frozen=True, gc=False, tag="response.content_part.done"):
    """A content part is complete; xAI leaves `part` out."""

    part: ContentPart | None = None


class ResponseTextDelta(_PartEvent, frozen=True, gc=False, kw_only=True, tag="response.text.delta"):
    """A piece of written text (beta)."""

    delta: str


class ResponseOutputTextDelta(
    ResponseTextDelta, frozen=True, gc=False, tag="response.output_text.delta"
):
    """A piece of written text (GA)."""


class ResponseTextDone(_PartEvent, frozen=True, gc=False, kw_only=True, tag="response.text.done"):
    """The written text, final (beta)."""

    text: str


class ResponseOutputTextDone(
    ResponseTextDone, frozen=True, gc=False, tag="response.output_text.done"
):
    """The written text, final (GA)."""


class ResponseAudioDelta(
    _PartEvent, frozen=True, gc=False, kw_only=True, tag="response.audio.delta"
):
    """A chunk of speech, as base64 text (beta). A `Decoder` returns `AudioDelta` in its place."""

    delta: str
    """Strict base64 in the format of the session; any number of bytes, odd ones too."""


class ResponseOutputAudioDelta(
    ResponseAudioDelta, frozen=True, gc=False, tag="response.output_audio.delta"
):
    """A chunk of speech, as base64 text (GA). A `Decoder` returns `AudioDelta` in its place."""


class ResponseAudioDone(_PartEvent, frozen=True, gc=False, tag="response.audio.done"):
    """The speech of a content part has been sent (beta). Deltas may still follow [wire]."""


class ResponseOutputAudioDone(
    ResponseAudioDone, frozen=True, gc=False, tag="response.output_audio.done"
):
    """The speech of a content part has been sent (GA). Deltas may still follow [wire]."""


class ResponseAudioTranscriptDelta(
    _PartEvent, frozen=True, gc=False, kw_only=True, tag="response.audio_transcript.delta"
):
    """A piece of the words being spoken (beta); it comes ahead of its audio."""

    delta: str


class ResponseOutputAudioTranscriptDelta(
    ResponseAudioTranscriptDelta,
    frozen=True,
    gc=False,
    tag="response.output_audio_transcript.delta",
):
    """A piece of the words being spoken (GA); it comes ahead of its audio."""


class ResponseAudioTranscriptDone(
    _PartEvent, frozen=True, gc=False, kw_only=True, tag="response.audio_transcript.done"
):
    """The spoken words, final (beta)."""

    transcript: str


class ResponseOutputAudioTranscriptDone(
    ResponseAudioTranscriptDone,
    frozen=True,
    gc=False,
    tag="response.output_audio_transcript.done",
):
    """The spoken words, final (GA)."""


class ResponseFunctionCallArgumentsDelta(
    _ResponseItemEvent,
    frozen=True,
    gc=False,
    kw_only=True,
    tag="response.function_call_arguments.delta",
):
    """A piece of a function call's arguments, as JSON text."""

    call_id: str = ""
    delta: str


class ResponseFunctionCallArgumentsDone(
    _ResponseItemEvent,
    frozen=True,
    gc=False,
    kw_only=True,
    tag="response.function_call_arguments.done",
):
    """A function call's arguments, whole."""

    call_id: str = ""
    name: str | None = ""
    """GA and Voice Live; beta leaves it to `response.output_item.done`."""
    arguments: str


class ResponseMcpCallArgumentsDelta(
    _ResponseItemEvent,
    frozen=True,
    gc=False,
    kw_only=True,
    tag="response.mcp_call_arguments.delta",
):
    """A piece of an MCP call's arguments, as JSON text (GA)."""

    delta: str
    obfuscation: str | None = None
    """Padding against traffic analysis; without meaning."""


class ResponseMcpCallArgumentsDone(
    _ResponseItemEvent,
    frozen=True,
    gc=False,
    kw_only=True,
    tag="response.mcp_call_arguments.done",
):
    """An MCP call's arguments, whole (GA)."""

    arguments: str


class _McpCallEvent(_ItemEvent, frozen=True, gc=False):
    output_index: int = 0


class ResponseMcpCallInProgress(
    _McpCallEvent, frozen=True, gc=False, tag="response.mcp_call.in_progress"
):
    """The server calls the MCP tool (GA)."""


class ResponseMcpCallCompleted(
    _McpCallEvent, frozen=True, gc=False, tag="response.mcp_call.completed"
):
    """The MCP tool has answered (GA)."""


class ResponseMcpCallFailed(_McpCallEvent, frozen=True, gc=False, tag="response.mcp_call.failed"):
    """The MCP tool could not be called or failed (GA)."""


class McpListToolsInProgress(_ItemEvent, frozen=True, gc=False, tag="mcp_list_tools.in_progress"):
    """The server asks an MCP server for its tools (GA)."""


class McpListToolsCompleted(_ItemEvent, frozen=True, gc=False, tag="mcp_list_tools.completed"):
    """The MCP server's tools are known (GA)."""


class McpListToolsFailed(_ItemEvent, frozen=True, gc=False, tag="mcp_list_tools.failed"):
    """The MCP server did not tell its tools (GA)."""


# --- translation sessions --------------------------------------------------------------------


class SessionInputTranscriptDelta(
    Event, frozen=True, gc=False, kw_only=True, tag="session.input_transcript.delta"
):
    """A piece of what the speaker said (translation)."""

    delta: str
    elapsed_ms: int | None = None


class SessionOutputTranscriptDelta(
    Event, frozen=True, gc=False, kw_only=True, tag="session.output_transcript.delta"
):
    """A piece of the translated words (translation)."""

    delta: str
    elapsed_ms: int | None = None


class SessionOutputAudioDelta(
    Event, frozen=True, gc=False, kw_only=True, tag="session.output_audio.delta"
):
    """A chunk of translated speech, about 200 ms. It belongs to no response and to no ring."""

    delta: str
    """Base64 of samples as `format`, `sample_rate` and `channels` say."""
    sample_rate: int | None = None
    """Hertz."""
    channels: int | None = None
    format: str | None = None
    elapsed_ms: int | None = None


# --- limits and errors -----------------------------------------------------------------------


class RateLimitsUpdated(Event, frozen=True, gc=False, kw_only=True, tag="rate_limits.updated"):
    """Limits after a response; OpenAI sends it some 40 ms after `response.done` [wire]."""

    rate_limits: list[RateLimit]


class ErrorEvent(Event, frozen=True, gc=False, kw_only=True, tag="error"):
    """Something the client did or the server met. The session goes on, most of the time."""

    error: RealtimeError
    is_error: ClassVar[bool] = True


# --- what is no known event ------------------------------------------------------------------


class UnknownEvent(Struct, frozen=True, gc=False):
    """An event whose type this catalogue does not have: an extension, or a newer protocol."""

    type: str
    event_id: str
    raw: bytes
    """A copy of the whole frame."""
    is_error: ClassVar[bool] = False


class InvalidEvent(Struct, frozen=True, gc=False):
    """A frame that `on_invalid="keep"` kept in place of raising `error`."""

    type: str
    """As far as it could be read; `""` where it could not."""
    event_id: str
    raw: bytes
    """A copy of the whole frame; empty for one that was too large to be looked at."""
    error: FrameError
    """The `FrameError` that was not raised."""
    is_error: ClassVar[bool] = False


KnownEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | SessionClosed
    | TranscriptionSessionCreated
    | TranscriptionSessionUpdated
    | ConversationCreated
    | ConversationItemCreated
    | ConversationItemAdded
    | ConversationItemDone
    | ConversationItemRetrieved
    | ConversationItemDeleted
    | ConversationItemTruncated
    | ConversationItemInputAudioTranscriptionDelta
    | ConversationItemInputAudioTranscriptionCompleted
    | ConversationItemInputAudioTranscriptionSegment
    | ConversationItemInputAudioTranscriptionFailed
    | InputAudioBufferCommitted
    | InputAudioBufferCleared
    | InputAudioBufferSpeechStarted
    | InputAudioBufferSpeechStopped
    | InputAudioBufferTimeoutTriggered
    | InputAudioBufferDtmfEventReceived
    | OutputAudioBufferStarted
    | OutputAudioBufferStopped
    | OutputAudioBufferCleared
    | ResponseCreated
    | ResponseDone
    | ResponseOutputItemAdded
    | ResponseOutputItemDone
    | ResponseContentPartAdded
    | ResponseContentPartDone
    | ResponseTextDelta
    | ResponseOutputTextDelta
    | ResponseTextDone
    | ResponseOutputTextDone
    | ResponseAudioDelta
    | ResponseOutputAudioDelta
    | ResponseAudioDone
    | ResponseOutputAudioDone
    | ResponseAudioTranscriptDelta
    | ResponseOutputAudioTranscriptDelta
    | ResponseAudioTranscriptDone
    | ResponseOutputAudioTranscriptDone
    | ResponseFunctionCallArgumentsDelta
    | ResponseFunctionCallArgumentsDone
    | ResponseMcpCallArgumentsDelta
    | ResponseMcpCallArgumentsDone
    | ResponseMcpCallInProgress
    | ResponseMcpCallCompleted
    | ResponseMcpCallFailed
    | McpListToolsInProgress
    | McpListToolsCompleted
    | McpListToolsFailed
    | SessionInputTranscriptDelta
    | SessionOutputTranscriptDelta
    | SessionOutputAudioDelta
    | RateLimitsUpdated
    | ErrorEvent
)
"""The tagged union that frames are decoded to: 58 types."""

ServerEvent: TypeAlias = KnownEvent | UnknownEvent | InvalidEvent
"""Whatever `decode` can return."""

EVENT_CLASSES: dict[str, type[Event]] = {}
"""Every known type string and its class."""

for _class in KnownEvent.__args__:
    # The tag is written once, in the class line; `type` shows it without an instance or a lookup.
    _class.type = _class.__struct_config__.tag
    EVENT_CLASSES[_class.type] = _class
del _class

# Written out: type checkers read it.
__all__ = [
    "EVENT_CLASSES",
    "CachedTokensDetails",
    "ContentPart",
    "ConversationCreated",
    "ConversationInfo",
    "ConversationItemAdded",
    "ConversationItemCreated",
    "ConversationItemDeleted",
    "ConversationItemDone",
    "ConversationItemInputAudioTranscriptionCompleted",
    "ConversationItemInputAudioTranscriptionDelta",
    "ConversationItemInputAudioTranscriptionFailed",
    "ConversationItemInputAudioTranscriptionSegment",
    "ConversationItemRetrieved",
    "ConversationItemTruncated",
    "ErrorEvent",
    "Event",
    "InputAudioBufferCleared",
    "InputAudioBufferCommitted",
    "InputAudioBufferDtmfEventReceived",
    "InputAudioBufferSpeechStarted",
    "InputAudioBufferSpeechStopped",
    "InputAudioBufferTimeoutTriggered",
    "InputTokenDetails",
    "InvalidEvent",
    "KnownEvent",
    "LogProb",
    "McpListToolsCompleted",
    "McpListToolsFailed",
    "McpListToolsInProgress",
    "OutputAudioBufferCleared",
    "OutputAudioBufferStarted",
    "OutputAudioBufferStopped",
    "OutputTokenDetails",
    "RateLimit",
    "RateLimitsUpdated",
    "RealtimeError",
    "RealtimeUsage",
    "ResponseAudioDelta",
    "ResponseAudioDone",
    "ResponseAudioTranscriptDelta",
    "ResponseAudioTranscriptDone",
    "ResponseContentPartAdded",
    "ResponseContentPartDone",
    "ResponseCreated",
    "ResponseDone",
    "ResponseFunctionCallArgumentsDelta",
    "ResponseFunctionCallArgumentsDone",
    "ResponseInfo",
    "ResponseItem",
    "ResponseMcpCallArgumentsDelta",
    "ResponseMcpCallArgumentsDone",
    "ResponseMcpCallCompleted",
    "ResponseMcpCallFailed",
    "ResponseMcpCallInProgress",
    "ResponseOutputAudioDelta",
    "ResponseOutputAudioDone",
    "ResponseOutputAudioTranscriptDelta",
    "ResponseOutputAudioTranscriptDone",
    "ResponseOutputItemAdded",
    "ResponseOutputItemDone",
    "ResponseOutputTextDelta",
    "ResponseOutputTextDone",
    "ResponseTextDelta",
    "ResponseTextDone",
    "ServerEvent",
    "SessionClosed",
    "SessionCreated",
    "SessionInfo",
    "SessionInputTranscriptDelta",
    "SessionOutputAudioDelta",
    "SessionOutputTranscriptDelta",
    "SessionUpdated",
    "TranscriptionLanguage",
    "TranscriptionSessionCreated",
    "TranscriptionSessionUpdated",
    "TranscriptionUsage",
    "UnknownEvent",
]
