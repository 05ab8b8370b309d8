"""Defects of reading recordings, and of what is kept out of them."""

from tests.defects.defect import Defect

_LINES = [
    Defect(
        "line-number-off-by-one",
        "After an empty line, every problem is looked for one line too far up.",
        "deltaring/lines.py",
        "        self.skip(end - self.start, end)\n",
        "        self.skip(end - self.start - 1, end)\n",
        "test_lines.py",
    ),
    Defect(
        "offset-lost-when-the-buffer-moves",
        "Beyond the first 256 KiB, a problem's byte offset leads somewhere else.",
        "deltaring/lines.py",
        "            self._base += self.start\n            self.start, self.stop = 0, size\n",
        "            self.start, self.stop = 0, size\n",
        "test_lines.py",
    ),
    Defect(
        "line-of-any-length",
        "A file without a line end is read into memory whole.",
        "deltaring/lines.py",
        "        if self._too_long or size > self._limit:\n",
        "        if self._too_long or size > 1_000 * self._limit:\n",
        "test_lines.py",
    ),
    Defect(
        "last-line-lost",
        "The last frame of a recording without a line end is not read.",
        "deltaring/lines.py",
        "                    return self._too_long or self.stop > self.start\n",
        "                    return self._too_long\n",
        "test_lines.py",
    ),
]

_RECORDING = [
    Defect(
        "line-number-off-by-one-after-a-run",
        "Behind a run of audio, every problem is looked for one line too far down.",
        "deltaring/recording.py",
        "self.line, self.offset = self.line + count - 1, self.offset + size",
        "self.line, self.offset = self.line + count, self.offset + size",
        "test_recording.py test_run.py test_eventlog.py",
    ),
    Defect(
        "bad-line-swallowed",
        "A line that is no JSON is passed over, and nobody is told.",
        "deltaring/recording.py",
        "            if line.complete or not isinstance(error, InvalidJSON):\n                self.report(str(error))\n",
        "            if line.complete or not isinstance(error, InvalidJSON):\n                pass\n",
        "test_recording.py",
    ),
    Defect(
        "cut-off-file-that-looks-whole",
        "Half of a compressed recording is taken for all of it.",
        "deltaring/recording.py",
        """        except EOFError:
            self.broken = f"truncated {self._kind} stream"
""",
        """        except EOFError:
            pass
""",
        "test_recording.py",
    ),
    Defect(
        "line-behind-a-torn-one",
        "After a crash, the first line of the next session is lost with the last of this one.",
        "deltaring/recording.py",
        """        if self._torn:
            line = b"\\n" + line
""",
        "",
        "test_recording.py",
    ),
    Defect(
        "frame-of-two-lines",
        "A frame with a line end in it becomes two lines that nobody can read.",
        "deltaring/recording.py",
        """    if b"\\n" not in frame and b"\\r" not in frame and _is_object(frame, event):""",
        """    if _is_object(frame, event):""",
        "test_recording.py",
    ),
    Defect(
        "first-bytes-lost",
        "What was read to recognise the format is missing.",
        "deltaring/recording.py",
        "        source = io.BufferedReader(_Pushback(head, source))\n",
        "        source = io.BufferedReader(_Pushback(head[4:], source))\n",
        "test_recording.py",
    ),
    Defect(
        "time-without-a-zone-in-local-time",
        "Times of a recording depend on where it is read.",
        "deltaring/recording.py",
        "        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()\n",
        "        return moment.timestamp() + (0 if moment.tzinfo else 3_600)\n",
        "test_recording.py",
    ),
]

_HAR = [
    Defect(
        "client-and-server-swapped",
        "In a browser's HAR, the user says what the assistant said.",
        "deltaring/har.py",
        '_SOURCES = {"send": "client", "receive": "server"}',
        '_SOURCES = {"send": "server", "receive": "client"}',
        "test_har.py",
        needs="ijson",
    ),
    Defect(
        "offset-of-a-message-off-by-one",
        "A problem's byte offset is that of what follows the message's brace.",
        "deltaring/har.py",
        "        offset = self._base + self._start - 1\n",
        "        offset = self._base + self._start\n",
        "test_har.py",
        needs="ijson",
    ),
    Defect(
        "cut-off-har-that-looks-whole",
        "Half of a HAR is taken for all of it.",
        "deltaring/har.py",
        '            self.broken = "truncated HAR"\n',
        "            pass\n",
        "test_har.py",
        needs="ijson",
    ),
    Defect(
        "control-frames-are-messages",
        "Pings and closes of a HAR become bad frames.",
        "deltaring/har.py",
        "    if fields.opcode not in (_TEXT, _BINARY):\n        return None\n",
        "",
        "test_har.py",
        needs="ijson",
    ),
]

_REDACT = [
    Defect(
        "secret-below-a-secret",
        "The values of a tool's headers are written down.",
        "deltaring/redact.py",
        'not _CREDENTIALS.isdisjoint(path[path.index("tools") :])',
        "path[-1] in _CREDENTIALS",
        "test_redact.py",
    ),
    Defect(
        "secret-behind-an-escape",
        "A key that is written with an escape hides its secret from the redaction.",
        "deltaring/redact.py",
        ' or "\\\\u" in text\n',
        "\n",
        "test_redact.py",
    ),
    Defect(
        "silence-that-crackles",
        "Redacted telephony is a loud hum.",
        "deltaring/redact.py",
        '_SILENT = {"g711_ulaw": 0xFF, "g711_alaw": 0xD5}',
        '_SILENT = {"g711_ulaw": 0x00, "g711_alaw": 0xD5}',
        "test_redact.py",
    ),
    Defect(
        "unreadable-frames-written-down",
        "What could not be checked for secrets is recorded all the same.",
        "deltaring/redact.py",
        """            return b'{"type":"deltaring.withheld","bytes":%d}' % len(frame)\n""",
        "            return frame\n",
        "test_redact.py",
    ),
    Defect(
        "second-of-two-secrets",
        "Of two keys of one name, only the last value is hidden.",
        "deltaring/redact.py",
        "            if value is not None and value != leaf.token:\n                parts +=",
        "            if value is not None and value != leaf.token and not parts:\n                parts +=",
        "test_redact.py",
    ),
]

DEFECTS = [*_LINES, *_RECORDING, *_HAR, *_REDACT]
