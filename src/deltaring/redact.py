"""Secrets, voices and words kept out of what is written down.

Rule: a frame with nothing to hide goes out as the same bytes; of any other only the values that
are hidden change; one that cannot be read, and so cannot be checked, does not go out at all.
"""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from pybase64 import b64decode, b64encode

from deltaring.audio import find_format, stated_format
from deltaring.frame import check_depth
from deltaring.pure import spans_audio_delta

KINDS = ("audio", "text")
"""What can be hidden on demand."""

_MARK = '"[redacted]"'
_CREDENTIALS = frozenset(("authorization", "headers"))  # of MCP servers, among a session's tools

_AUDIO_DELTAS = frozenset(
    ("response.audio.delta", "response.output_audio.delta", "session.output_audio.delta")
)
_SILENT = {"g711_ulaw": 0xFF, "g711_alaw": 0xD5}
"""The code of the least sample (ITU-T G.711); in PCM it is 0, as in what is not known."""
_RESPONSES = 256  # whose formats are remembered: as many as a decoder remembers

# Under `text` a string stays only if its key says that it is an id or a setting: a field that some
# server adds tomorrow may hold words.
_SETTINGS = frozenset(
    (
        "code", "delay", "detail", "eagerness", "effort", "format", "id", "include",
        "input_audio_format", "language", "languages", "max_output_tokens",
        "max_response_output_tokens", "modalities", "model", "name", "object",
        "output_audio_format", "output_modalities", "param", "phase", "require_approval", "rid",
        "role", "server_label", "server_url", "status", "tool_choice", "tracing", "truncation",
        "type", "voice",
    )
)  # fmt: skip
# Below these no key says anything, and numbers can tell as much as words: a function's arguments,
# or a token's `bytes`.
_FREE = frozenset(("arguments", "bytes", "input_schema", "metadata", "parameters", "variables"))


def check_kinds(redact: Collection[str]) -> frozenset[str]:
    """Return what is to be hidden, or raise ValueError if that is not all of KINDS."""
    if isinstance(redact, str) or not set(redact) <= set(KINDS):
        raise ValueError(f"what can be redacted is {' and '.join(KINDS)}, not {redact!r}")
    return frozenset(redact)


class Redaction:
    """What is hidden in the frames of one session.

        redaction = Redaction(audio=True)
        kept = redaction.apply(frame, "server")

    Secrets are blanked with "[redacted]": all below `client_secret` but its `expires_at`, and all
    below `authorization` and `headers` of `tools`, wherever these stand; the `server_url` of a tool
    loses its query and its user. Names of headers stay.
    """

    def __init__(self, *, secrets: bool = True, audio: bool = False, text: bool = False) -> None:
        """Choose what is hidden.

        secrets: credentials, as above.
        audio: base64 audio of both sides becomes silence of as many bytes, in the format that the
            session stated; base64 that is broken becomes "".
        text: every string becomes "" that is no id, type or setting, and every number 0 in what
            functions take and return, in metadata, and in tokens' `bytes`. Keys stay.
        """
        self._secrets, self._audio, self._text = secrets, audio, text
        self._silence = _Silence()
        self.redacted = 0
        """Frames of which something was hidden."""
        self.withheld = 0
        """Frames that were held back whole, since they are no JSON objects."""

    def apply(self, frame: bytes, source: str) -> bytes:
        """Return the frame without what is to be hidden: the same object where that is nothing.

        source: "server" or "client". In place of a frame that is no JSON object (binary data, for
        one) comes `{"type":"deltaring.withheld","bytes":<its length>}`.
        """
        if not (self._secrets or self._audio or self._text):
            return frame
        if not self._audio and spans_audio_delta(frame, 0, len(frame)):
            return frame  # proven to hold ids and base64 only: nothing need be parsed
        try:
            text, document = _read(frame)
        except (ValueError, RecursionError):
            self.withheld += 1
            return b'{"type":"deltaring.withheld","bytes":%d}' % len(frame)
        self._silence.learn(document, source)
        kept = self._rewrite(text, document)
        if kept is None:
            return frame
        self.redacted += 1
        return kept.encode(errors="surrogatepass")

    def _rewrite(self, text: str, document: dict[str, Any]) -> str | None:
        """Return the text with new values in it, or None if all may stay."""
        if not (self._audio or self._text or _may_hold_secrets(text)):
            return None
        audio = {leaf.path[:-1] for leaf in _leaves(text) if _says_audio(leaf)}
        parts: list[str] = []
        done = 0
        for leaf in _leaves(text):  # again, as a list of them would take a hundred times the text
            value = self._replacement(leaf, audio, document)
            if value is not None and value != leaf.token:
                parts += text[done : leaf.start], value
                done = leaf.start + len(leaf.token)
        return "".join((*parts, text[done:])) if parts else None

    def _replacement(
        self, leaf: "_Leaf", audio: Collection["_Path"], document: dict[str, Any]
    ) -> str | None:
        """Return what stands in the place of a value, or None if it stays.

        audio: paths of the objects that are audio deltas.
        """
        path, _, token = leaf
        if token in ("null", "true", "false"):
            return None
        if self._secrets and _is_secret(path):
            return _MARK
        if self._secrets and leaf.is_string and "tools" in path and path[-1] == "server_url":
            return _bare(token)
        if path[-1] == "audio" or (path[-1] == "delta" and path[:-1] in audio):
            return self._silence.of(token, document) if self._audio and leaf.is_string else None
        return _wordless(leaf) if self._text else None


_Path: TypeAlias = tuple[str, ...]


class _Leaf(NamedTuple):
    """A value that is no object and no list."""

    path: _Path
    """The keys that lead to it; lists add none."""
    start: int
    token: str
    """As it stands in the text."""

    @property
    def is_string(self) -> bool:
        return self.token.startswith('"')


def _read(frame: bytes) -> tuple[str, dict[str, Any]]:
    """Return the frame's text and what it says. Raises ValueError or RecursionError."""
    check_depth(frame)
    text = frame.decode(errors="surrogatepass")
    # Numbers do not matter here, and int() refuses those of 4,300 digits.
    document = json.loads(text, parse_int=str, parse_float=str)
    if not isinstance(document, dict):
        raise ValueError("no object")
    return text, document


# A string, with the colon that makes it a key; a bracket; a number or a name. No backtracking.
_TOKEN = re.compile(
    r'("[^"\\]*+(?:\\.[^"\\]*+)*+")([ \t\n\r]*+:)?|[\[\]{}]|[^\s\[\]{},:"]++', re.DOTALL
)


def _leaves(text: str) -> Iterator[_Leaf]:
    """Yield the values of a valid document in their order, those of duplicate keys, too."""
    path: list[str | None] = []  # of each open object its present key, of each list None
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match[2]:
            path[-1] = _value(match[1])
        elif token in "[{":
            path.append(None)
        elif token in "]}":
            path.pop()
        else:
            yield _Leaf(tuple(key for key in path if key is not None), match.start(), token)


def _value(token: str) -> str:
    return str(json.loads(token)) if "\\" in token else token[1:-1]


def _may_hold_secrets(text: str) -> bool:
    """Whether keys of secrets can be in the text: spelled out, or with the escape for letters."""
    return "client_secret" in text or "tools" in text or "\\u" in text


def _is_secret(path: _Path) -> bool:
    if "client_secret" in path and path[-1] != "expires_at":
        return True
    return "tools" in path and not _CREDENTIALS.isdisjoint(path[path.index("tools") :])


def _bare(token: str) -> str:
    """Return a URL's token without user, query and fragment; tools of MCP may have keys there."""
    url = _value(token)
    bare = re.sub(r"//[^/?#]*@", "//", re.split(r"[?#]", url)[0])
    return token if bare == url else json.dumps(bare)


def _says_audio(leaf: _Leaf) -> bool:
    return leaf.path[-1] == "type" and leaf.is_string and _value(leaf.token) in _AUDIO_DELTAS


def _wordless(leaf: _Leaf) -> str | None:
    """Return the value that a word or its like becomes, or None for ids, settings and figures."""
    path = leaf.path
    if _is_free(path):
        return '""' if leaf.is_string else "0"
    if not leaf.is_string or path[-1] in _SETTINGS or path[-1].endswith("_id"):
        return None
    if path[-1] == "reason" and "status_details" in path:  # of a response; of an item it is prose
        return None
    return '""'


def _is_free(path: _Path) -> bool:
    """Whether a value is of a part that has no schema. `output` is, unless it is a list of items
    or a side of the audio."""
    return not _FREE.isdisjoint(path) or any(
        key == "output" and parent not in ("response", "audio")
        for parent, key in zip(("", *path), path, strict=False)
    )


class _Silence:
    """Which byte is silent: what a session and its responses said about their formats."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._input = self._output = 0
        self._responses: dict[object, int] = {}  # "" is the latest, for deltas that name none

    def learn(self, document: dict[str, Any], source: str) -> None:
        """Take the formats that a frame states.

        A client's session.update counts for what it sends next, and not yet for what it receives.
        """
        session, response = document.get("session"), document.get("response")
        if document.get("type") == "session.created":
            self._start()
        if isinstance(session, dict):
            self._input = _silent(session, "input", self._input)
            if source == "server":
                self._output = _silent(session, "output", self._output)
        if isinstance(response, dict) and document.get("type") == "response.created":
            self._learn_response(response)

    def _learn_response(self, response: dict[str, Any]) -> None:
        own = _silent(response, "output", -1)
        for key in (str(response.get("id")), ""):
            self._responses.pop(key, None)
            if own >= 0:
                self._responses[key] = own
        if len(self._responses) > _RESPONSES:
            del self._responses[next(iter(self._responses))]

    def of(self, token: str, document: dict[str, Any]) -> str:
        """Return the token of silence that is as long as a token's audio."""
        try:
            size = len(b64decode(_value(token), None, True))
        except ValueError:
            return '""'
        return f'"{b64encode(bytes([self._byte(document)]) * size).decode()}"'

    def _byte(self, document: dict[str, Any]) -> int:
        name = str(document.get("type"))
        if name == "session.output_audio.delta":
            return self._output
        if name.startswith("response."):
            return self._responses.get(str(document.get("response_id", "")), self._output)
        return self._input


def _silent(stating: dict[str, Any], side: Literal["input", "output"], default: int) -> int:
    """Return the silent byte of the format that a session or response states for a side."""
    stated = stated_format(stating.get("audio"), stating.get(f"{side}_audio_format"), side)
    return default if stated is None else _SILENT.get(find_format(stated[0]).name, 0)
