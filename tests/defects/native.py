"""Defects of the compiled kernel. Each one costs a build."""

from tests.defects.defect import Defect


def _defect(name: str, harm: str, file: str, old: str, new: str, tests: str) -> Defect:
    return Defect(name, harm, f"kernel/{file}", old, new, tests, "native")


_FEED = [
    _defect(
        "wrong-track-on-interleave-native",
        "Where two items interleave, the words of one are put into the other.",
        "feed.c",
        "           && is_text(PyTuple_GET_ITEM(key, 1), found->item_id)\n",
        "",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "odd-byte-dropped-native",
        "From the first odd delta on, the audio is noise.",
        "feed.c",
        "PyBytes_FromStringAndSize(&rest, odd)",
        "PyBytes_FromStringAndSize(&rest, 0)",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "counter-not-moved-on-drop-native",
        "What did not fit is lost, and nobody is told.",
        "feed.c",
        "        set_slot(p->ring, bound.ring_dropped, c->dropped);\n",
        "",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "overwrite-of-unread-audio-native",
        "A full ring writes over what nobody has heard yet.",
        "feed.c",
        "p->overrun ? 0 : capacity - (p->written - consumed);",
        "p->overrun ? 0 : capacity;",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "reset-while-reading-native",
        "Each delta begins anew at the start of the memory, where unread audio lies.",
        "feed.c",
        "    p->restart = consumed == p->written && p->accepted;\n",
        "    p->restart = consumed <= p->written && p->accepted;\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "commit-before-trailer-native",
        "The counters move although the end of the payload is no base64.",
        "feed.c",
        "    if (last < 0)\n        return 0;\n    int failed",
        "    if (last < 0)\n        last = 0;\n    int failed",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "late-delta-not-counted-native",
        "Nobody learns that a server sends audio after it said that this was all.",
        "feed.c",
        "PyLong_FromLongLong(p->late + 1)",
        "PyLong_FromLongLong(p->late)",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "positions-without-what-was-dropped-native",
        "After an overrun, start and stop of the deltas no longer tell where in the reply they are.",
        "feed.c",
        "    long long before = p->written + p->dropped;\n",
        "    long long before = p->written;\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "hole-after-an-overrun-native",
        "A reply goes on after samples that are missing, and all that is played is out of time.",
        "feed.c",
        "p->overrun ? 0 : capacity - (p->written - consumed);",
        "capacity - (p->written - consumed);",
        "test_native.py test_kernel.py test_decoder.py",
    ),
]

_HEADER = [
    _defect(
        "naive-marker-search-native",
        "What stands before the first brace is not looked at.",
        "header.c",
        "        if (!take(&c, '{') || !take_key(&c, 1, &key))\n",
        "        while (c.at < c.end && *c.at != '{')\n            c.at++;\n"
        "        if (!take(&c, '{') || !take_key(&c, 1, &key))\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "trailer-not-proven-native",
        "What stands behind the last brace is not looked at.",
        "header.c",
        "    return take(&c, '}') && c.at == c.end && (seen & TYPE)",
        "    return take(&c, '}') && (seen & TYPE)",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "first-duplicate-wins-native",
        "Of two payloads in a frame the first is played, where JSON has it that the last counts.",
        "header.c",
        "        if ((seen & key) || !take_value(&c, key, found))\n",
        "        if (!(seen & key ? take_scalar(&c) : take_value(&c, key, found)))\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "header-remembered-wrongly-native",
        "Where two items interleave, a header is taken for the last one's.",
        "header.c",
        "    if (memcmp(frame, memo->bytes, start)\n"
        "        || memcmp(frame + end, memo->bytes + end, memo->size - end))\n",
        "    if (memcmp(frame, memo->bytes, start))\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "escapes-taken-literally-native",
        "An id with an escape in it leads to a track of another name.",
        "header.c",
        """byte < 0x7f && byte != '"' && byte != '\\\\';""",
        """byte < 0x7f && byte != '"';""",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "index-with-leading-zeros-native",
        "What is no JSON is an event.",
        "header.c",
        "    return c->at > start && (*start != '0' || c->at == start + 1);\n",
        "    return c->at > start;\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
]

_REST = [
    _defect(
        "non-strict-base64-native",
        "Text that is no base64 is played as noise.",
        "base64.c",
        "    return bad & 0x80;\n",
        "    return 0;\n",
        "test_native.py",
    ),
    _defect(
        "padding-within-the-payload-native",
        "A payload that ends in too much padding is taken.",
        "base64.c",
        "    if (base64_scalar(text, 1, bytes))\n        return -1;\n",
        "    base64_scalar(text, 1, bytes);\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "g711-across-the-wrap-native",
        "Telephony clicks where the ring wraps.",
        "sink.c",
        "        bytes += count;\n        size -= count;\n",
        "        size -= count;\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "run-that-takes-the-clients-frames-native",
        "In bulk, what a client sent is written as the assistant's audio.",
        "scan.c",
        '|| !take_mark(line, "\\"server\\",")',
        '|| (!take_mark(line, "\\"server\\",") && !take_mark(line, "\\"client\\","))',
        "test_run.py",
    ),
    _defect(
        "row-of-the-wrong-length-native",
        "Who cuts lines out of a buffer by a run's rows gets the LF, too.",
        "scan.c",
        "    *to = (row){r->at, end - start, time,",
        "    *to = (row){r->at, end - start + 1, time,",
        "test_run.py",
    ),
    _defect(
        "run-that-overtakes-what-is-cut-off-native",
        "A last line whose rest has not been read yet is taken for a whole one.",
        "scan.c",
        "    if (!end)\n        return 0;\n",
        "    if (!end)\n        end = r->stop > r->at ? (const uint8_t *)r->buffer.buf + r->stop - 1 : start;\n",
        "test_run.py",
    ),
    _defect(
        "samples-heard-twice-native",
        "After each wrap of the ring, a piece of audio is heard again.",
        "reader.c",
        "PyLong_FromLongLong(consumed + count)",
        "PyLong_FromLongLong(consumed + first)",
        "test_ring.py test_native.py",
    ),
    _defect(
        "buffer-of-another-type-native",
        "A callback with an array of unsigned samples gets noise and no error.",
        "reader.c",
        "buffer.format && buffer.format[0] == format\n        && !buffer.format[1])",
        "buffer.format && format\n        && !buffer.format[1])",
        "test_ring.py test_native.py",
    ),
    _defect(
        "meaning-of-short-events-lost-native",
        "Tracks are never done, since audio.done is a short frame.",
        "entry.c",
        "    int means = PyDict_Contains(self->objects[HANDLERS], (PyObject *)Py_TYPE(event));\n",
        "    int means = 0;\n",
        "test_native.py test_kernel.py test_decoder.py",
    ),
    _defect(
        "longer-than-max-frame-native",
        "The limit that a user set is not kept.",
        "entry.c",
        "!read_count(decoder, self->slots[MAX_FRAME], &longest) || from->size > longest",
        "!read_count(decoder, self->slots[MAX_FRAME], &longest)",
        "test_native.py test_kernel.py test_decoder.py",
    ),
]

DEFECTS = [*_FEED, *_HEADER, *_REST]
