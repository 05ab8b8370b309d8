"""Defects on the way from a frame to samples in a ring: the Python half."""

from tests.defects.defect import Defect

_RING = [
    Defect(
        "index-before-data",
        "The audio callback plays what was in the memory before.",
        "deltaring/ring.py",
        """            self._buffer[start:stop] = data
            self.written = written + count
            return count
""",
        """            self.written = written + count
            self._buffer[start:stop] = data
            return count
""",
        "test_ring.py",
        "both",
        race=True,
    ),
    Defect(
        "index-before-data-around-the-wrap",
        "The same where a write goes around the end of the memory.",
        "deltaring/ring.py",
        """            self._buffer[start : start + first] = data[:first]
            self._buffer[: size - first] = data[first:size]
            self.written += count
""",
        """            self.written += count
            self._buffer[start : start + first] = data[:first]
            self._buffer[: size - first] = data[first:size]
""",
        "test_ring.py",
        "both",
        race=True,
    ),
    Defect(
        "early-free",
        "The producer writes over samples that the callback is still copying.",
        "deltaring/ring.py",
        """        start = consumed - self._origin
        if start + count <= self.capacity:  # before the end of the memory
""",
        """        self.consumed = consumed + count
        start = consumed - self._origin
        if start + count <= self.capacity:  # before the end of the memory
""",
        "test_ring.py",
        "both",
        race=True,
    ),
    Defect(
        "reset-while-reading",
        "The ring begins anew in place of wrapping, under a consumer that has not read all.",
        "deltaring/ring.py",
        """        count = min(count, self.writable)
        if count:
""",
        """        count = min(count, self.writable)
        if count:
            self._origin = self.written
""",
        "test_ring.py",
        "both",
        race=True,
    ),
    Defect(
        "overwrite-of-unread-audio",
        "A full ring writes over what nobody has heard yet.",
        "deltaring/ring.py",
        "        count = min(count, self.writable)\n        if count:\n            start = (self.written",
        "        count = min(count, self.capacity)\n        if count:\n            start = (self.written",
        "test_ring.py",
        "both",
    ),
    Defect(
        "counter-not-moved-on-drop",
        "What did not fit is lost, and nobody is told.",
        "deltaring/ring.py",
        "        self.dropped += array.size - accepted\n",
        "",
        "test_ring.py",
    ),
    Defect(
        "commit-of-more-than-there-is-room",
        "A producer that miscounts writes over unread audio.",
        "deltaring/ring.py",
        "        if not 0 <= count <= self.writable:\n",
        "        if count < 0:\n",
        "test_ring.py",
    ),
    Defect(
        "recent-samples-that-are-others",
        "Where the first word of an answer is looked for, there is other audio by now.",
        "deltaring/ring.py",
        "kept = self._origin <= start <= stop <= self.written <= start + self.capacity",
        "kept = start <= stop <= self.written <= start + self.capacity",
        "test_ring.py",
    ),
]

_TRACK = [
    Defect(
        "odd-byte-dropped",
        "From the first odd delta on, the audio is noise: its bytes are paired wrongly.",
        "deltaring/track.py",
        "        self._carry = data[whole:]\n",
        '        self._carry = b""\n',
        "test_track.py",
    ),
    Defect(
        "odd-byte-padded",
        "Half a sample becomes a click, and what follows is noise.",
        "deltaring/track.py",
        "        data = self._carry + data\n",
        "        data += bytes(len(data) & 1)\n",
        "test_track.py",
    ),
    Defect(
        "counter-not-moved-on-drop-of-a-delta",
        "Positions run behind what was received once a ring was full.",
        "deltaring/track.py",
        "            ring.dropped += dropped\n",
        "",
        "test_track.py",
    ),
    Defect(
        "hole-after-an-overrun",
        "A reply goes on after samples that are missing, and all that is played is out of time.",
        "deltaring/track.py",
        "        if not self.overrun:\n            self.ring._put(data)\n",
        "        self.ring._put(data)\n",
        "test_track.py",
    ),
    Defect(
        "late-delta-not-counted",
        "Nobody learns that a server sends audio after it said that this was all.",
        "deltaring/track.py",
        "            self._late += 1\n",
        "            pass\n",
        "test_track.py",
    ),
]

_POOL = [
    Defect(
        "early-free-of-a-tracks-memory",
        "The next reply is written over the rest of the last one, which nobody has read.",
        "deltaring/pool.py",
        "for track in self._holders.values() if track.drained]:",
        "for track in self._holders.values() if track.done]:",
        "test_pool.py",
        "both",
    ),
    Defect(
        "ring-that-serves-two-tracks",
        "A late delta of one reply is written into the audio of the next.",
        "deltaring/pool.py",
        "            self._free.append(track.ring._detach())\n",
        "            self._free.append(track.ring._memory)\n",
        "test_pool.py",
        "both",
    ),
    Defect(
        "format-of-a-response-ignored",
        "A response in G.711 is taken for PCM: noise.",
        "deltaring/pool.py",
        "return self._own_format or stated or self._session_format",
        "return self._own_format or self._session_format",
        "test_pool.py",
        "both",
    ),
    Defect(
        "route-outlives-its-track",
        "Without ids, the next reply is appended to the last one.",
        "deltaring/pool.py",
        "            del self._current[key]\n        self.route = None\n",
        "            del self._current[key]\n",
        "test_pool.py test_decoder.py",
        "both",
    ),
    Defect(
        "session-created-is-no-new-epoch",
        "After a reconnect, a response with the id of one that was cut stays silent.",
        "deltaring/pool.py",
        "        self._current.clear()\n        self._epoch += 1\n",
        "        self._current.clear()\n",
        "test_pool.py",
    ),
    Defect(
        "session-created-keeps-tracks-open",
        "After a reconnect, audio of the new session is appended to a reply of the old one.",
        "deltaring/pool.py",
        "        self._current.clear()\n        self._epoch += 1\n",
        "        self._epoch += 1\n",
        "test_pool.py",
        "both",
    ),
    Defect(
        "one-track-more-than-allowed",
        "Memory grows beyond what max_tracks promises.",
        "deltaring/pool.py",
        "        if len(self._holders) >= self._max_tracks:\n",
        "        if len(self._holders) > self._max_tracks:\n",
        "test_pool.py",
    ),
    Defect(
        "bytes-of-forgotten-tracks-not-counted",
        "A long session says that it received less audio than it did.",
        "deltaring/pool.py",
        "        self._forgotten_bytes += track.received\n",
        "",
        "test_pool.py",
    ),
]

_PURE = [
    Defect(
        "naive-marker-search",
        "A header that stands somewhere inside a frame is taken for the frame's own.",
        "deltaring/pure.py",
        "        match = _TYPE_FIRST.match(frame) or _EVENT_ID_FIRST.match(frame)\n",
        "        match = _TYPE_FIRST.search(frame) or _EVENT_ID_FIRST.search(frame)\n",
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "first-duplicate-wins",
        "Of two payloads in a frame the first is played, where JSON has it that the last counts.",
        "deltaring/pure.py",
        '_XAI_EXTRAS = b"rid", b"latency", b"audio_duration_ms", b"ts", b"previous_item_id"',
        '_XAI_EXTRAS = b"rid", b"latency", b"audio_duration_ms", b"ts", b"previous_item_id", b"delta"',
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "non-strict-base64-at-first-sight",
        "Text that is no base64 is played as if what is wrong with it were not there.",
        "deltaring/pure.py",
        "        return b64decode(memoryview(frame)[start:stop], None, True)\n",
        "        return b64decode(memoryview(frame)[start:stop], None, False)\n",
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "non-strict-base64-on-a-known-route",
        "The same in all frames of a reply but the first.",
        "deltaring/pure.py",
        "                    data = b64decode(memoryview(frame)[start:-2], None, True)\n",
        "                    data = b64decode(memoryview(frame)[start:-2], None, False)\n",
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "commit-before-trailer",
        "Audio is published before what stands behind it is proven; the frame is refused afterwards.",
        "deltaring/pure.py",
        """        if rest is None or data is None:
            return None
        track, type, index = self._track(match, rest)
""",
        """        if data is not None:
            key = match["response_id"].decode(), match["item_id"].decode(), 0
            self._pool.track(key).receive(match["type"].decode(), "", 0, data)
        if rest is None or data is None:
            return None
        track, type, index = self._track(match, rest)
""",
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "trailer-not-proven",
        "The last two bytes of a frame may be anything.",
        "deltaring/pure.py",
        """                and frame[-2:] == b'"}'\n            ):\n""",
        "            ):\n",
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "wrong-track-on-interleave",
        "Where two items interleave, the words of one are put into the other.",
        "deltaring/pure.py",
        "                and frame[end:start] == tail\n",
        "",
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "odd-byte-dropped-on-a-known-route",
        "From the first odd delta on, the audio is noise.",
        "deltaring/pure.py",
        "                if track._plain and not size & 1:\n",
        "                if track._plain:\n",
        "test_kernel.py test_decoder.py",
        "pure",
    ),
    Defect(
        "index-before-data-on-a-known-route",
        "The audio callback plays what was in the memory before.",
        "deltaring/pure.py",
        """                        ring._buffer[at : at + size] = data
                        ring.written = last = first + (size >> 1)
""",
        """                        ring.written = last = first + (size >> 1)
                        ring._buffer[at : at + size] = data
""",
        "test_kernel.py",
        "pure",
        race=True,
    ),
    Defect(
        "reset-while-reading-on-a-known-route",
        "A reply begins anew at the start of the memory, where unread audio lies.",
        "deltaring/pure.py",
        "                    if ring.consumed == first:\n",
        "                    if ring.consumed <= first:\n",
        "test_pure.py",
        "pure",
        race=True,
    ),
    Defect(
        "run-that-takes-frames-of-any-length",
        "In bulk, max_frame means nothing.",
        "deltaring/pure.py",
        "            if not 0 < end - begin <= max_frame:\n",
        "            if not 0 < end - begin:\n",
        "test_run.py",
        "pure",
    ),
    Defect(
        "run-that-takes-the-clients-frames",
        "In bulk, what a client sent is written as the assistant's audio.",
        "deltaring/pure.py",
        """        if source != b"server" or not buffer""".strip(),
        """        if not buffer""".strip(),
        "test_run.py",
        "pure",
    ),
    Defect(
        "frame-that-ends-at-the-wrong-quote",
        "A recorded line with something behind its audio is cut as if that were the frame's.",
        "deltaring/pure.py",
        """    return buffer.find(b'"', match.end(), stop) == stop - 2\n""",
        "    return True\n",
        "test_pure.py",
    ),
]

_FRAME = [
    Defect(
        "unknown-event-mapped-to-another-class",
        "Tomorrow's event arrives as one of today's that is called nearly the same.",
        "deltaring/frame.py",
        "    if name not in EVENT_CLASSES:\n",
        "    name = next((known for known in EVENT_CLASSES if name.startswith(known)), name)\n"
        "    if name not in EVENT_CLASSES:\n",
        "test_frame.py test_events.py",
    ),
    Defect(
        "first-type-wins",
        "A frame of two types is an event of one of them, and not an error.",
        "deltaring/frame.py",
        "    if any(other != name for other in others):\n",
        "    if others and others[-1] is None:\n",
        "test_frame.py test_decoder.py",
    ),
    Defect(
        "deeper-than-msgspec-bears",
        "A frame of a few kilobytes may end the process, on a thread with a small stack.",
        "deltaring/frame.py",
        "    if _many_openers(frame) and _depth(frame) > MAX_DEPTH:\n",
        "    if _many_openers(frame) and _depth(frame) > 3 * MAX_DEPTH:\n",
        "test_frame.py",
    ),
    Defect(
        "half-a-character-lost",
        "Of a text that was cut inside an emoji, nothing shows that something is missing.",
        "deltaring/frame.py",
        r'lambda match: rb"\ufffd" if match[2] else match[0]',
        r'lambda match: b"" if match[2] else match[0]',
        "test_frame.py test_events.py test_decoder.py",
    ),
    Defect(
        "delta-of-any-type",
        "A number comes where a text was promised.",
        "deltaring/frame.py",
        '_STRICT = frozenset(("id", "delta", "transcript", "text", "arguments"))',
        '_STRICT = frozenset(("id", "transcript", "text", "arguments"))',
        "test_frame.py test_events.py test_decoder.py",
    ),
    Defect(
        "unknown-event-without-its-raw-bytes-copied",
        "The event changes when the receiver's buffer is used again.",
        "deltaring/frame.py",
        "    if not isinstance(frame, str):\n        return bytes(frame)\n",
        "    if not isinstance(frame, str):\n        return frame  # type: ignore[return-value]\n",
        "test_frame.py test_events.py test_decoder.py",
    ),
]

_DECODER = [
    Defect(
        "non-strict-base64",
        "Text that is no base64 is played as if what is wrong with it were not there.",
        "deltaring/decoder.py",
        "            data = b64decode(event.delta, None, True)\n",
        "            data = b64decode(event.delta, None, False)\n",
        "test_decoder.py",
    ),
    Defect(
        "published-before-the-error",
        "A frame that is refused leaves a track behind.",
        "deltaring/decoder.py",
        "            data = b64decode(event.delta, None, True)\n",
        "            self._pool.track((event.response_id, event.item_id, event.content_index))\n"
        "            data = b64decode(event.delta, None, True)\n",
        "test_decoder.py",
    ),
    Defect(
        "longer-than-max-frame",
        "The limit that a user set is not kept.",
        "deltaring/decoder.py",
        "                if size > self._max_frame:\n                    raise too_large(size, self._max_frame)\n",
        "",
        "test_decoder.py",
        "both",
    ),
    Defect(
        "kept-frames-not-counted-as-invalid",
        "A monitor that looks at stats.invalid sees nothing.",
        "deltaring/decoder.py",
        "            self._invalid += 1\n            if not self._keep:\n",
        "            self._invalid += not self._keep\n            if not self._keep:\n",
        "test_decoder.py",
    ),
    Defect(
        "tracks-that-change-while-they-are-looked-at",
        "A loop over decoder.tracks in another thread dies of the next reply.",
        "deltaring/decoder.py",
        "        return self._pool.tracks.copy()\n",
        "        return self._pool.tracks\n",
        "test_decoder.py test_pool.py",
    ),
    Defect(
        "end-of-audio-unheard",
        "In GA, tracks are never done: each reply holds a ring until its response is.",
        "deltaring/decoder.py",
        "    ResponseOutputAudioDone: Decoder._audio_done,\n",
        "",
        "test_decoder.py test_pool.py",
        "both",
    ),
]

_LEAVES = [
    Defect(
        "a-law-of-the-wrong-steps",
        "Telephony sounds harsh.",
        "deltaring/audio.py",
        "np.where(segment == 0, 0x08, 0x108)",
        "np.where(segment == 0, 0x08, 0x100)",
        "test_audio.py",
    ),
    Defect(
        "betas-format-before-gas",
        "Where a server states both (xAI), telephony is taken for PCM.",
        "deltaring/audio.py",
        "    for stated in ((name, rate), (flat, None)):\n",
        "    for stated in ((flat, None), (name, rate)):\n",
        "test_audio.py",
    ),
    Defect(
        "rate-believed-whatever-it-is",
        "A server has a ring of terabytes made, by one number.",
        "deltaring/audio.py",
        "return int(value) if MIN_RATE <= value <= MAX_RATE else default",
        "return int(value)",
        "test_audio.py",
    ),
    Defect(
        "ga-class-that-is-no-beta-class",
        "An agent written for beta's events is deaf to the transcripts of GA.",
        "deltaring/events.py",
        "class ResponseOutputAudioTranscriptDelta(\n    ResponseAudioTranscriptDelta,\n    frozen=True,\n    gc=False,\n",
        "class ResponseOutputAudioTranscriptDelta(\n    _PartEvent,\n    frozen=True,\n    gc=False,\n    kw_only=True,\n",
        "test_events.py",
    ),
    Defect(
        "envelope-of-any-source",
        "In bulk, a line that is no line of a recording is taken for one.",
        "deltaring/run.py",
        '"source": ?"(server|client)"',
        '"source": ?"([a-z]+)"',
        "test_run.py test_recording.py",
        "pure",
    ),
    Defect(
        "kernel-that-was-asked-for-and-is-not-there",
        "Who asked for the compiled kernel gets the pure one, and is not told.",
        "deltaring/kernel.py",
        '        if _WANTED == "native":\n            raise\n',
        "",
        "test_kernel.py",
    ),
]

DEFECTS = [*_RING, *_TRACK, *_POOL, *_PURE, *_FRAME, *_DECODER, *_LEAVES]
