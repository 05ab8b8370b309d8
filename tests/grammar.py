"""JSON documents made from the rules of RFC 8259, each with what a decoder must do with it.

Rule: every document follows from a section of the RFC, or breaks one rule of it once. Sections: 2
(structure and whitespace), 3 (literal names), 4 (objects), 5 (arrays), 6 (numbers), 7 (strings),
8.1 (UTF-8) and 9 (limits, which are ours to set).
"""

import itertools
import json
from collections.abc import Iterator
from typing import NamedTuple

ACCEPT = "accept"
REFUSE = "refuse"
UNREAD = "unread"
"""Grammatical but no UTF-8: refused where somebody reads the text, passed over where nobody does."""


class Document(NamedTuple):
    """A text in JSON or nearly so, to be put wherever a value may stand."""

    name: str
    text: bytes
    verdict: str


def documents() -> list[Document]:
    """Return all of them; names are unique."""
    sections = (
        _whitespace, _structure, _literals, _objects, _arrays, _numbers, _wrong_numbers, _strings,
        _wrong_strings, _characters, _wrong_characters, _limits,
    )  # fmt: skip
    return [
        Document(f"{section.__name__[1:]} {number}: {text[:24]!r}", text, verdict)
        for section in sections
        for number, (verdict, text) in enumerate(section())
    ]


Verdicts = Iterator[tuple[str, bytes]]


def _whitespace() -> Verdicts:
    gaps = b'%s{%s"a"%s:%s[%s1%s,%s2%s]%s}%s'
    count = gaps.count(b"%s")
    for space in (b" ", b"\t", b"\n", b"\r", b" \r\n\t "):
        yield ACCEPT, gaps % ((space,) * count)
    for space in (
        "\v",
        "\f",
        "\0",
        "\x85",
        "\xa0",
        "\u1680",
        "\u2028",
        "\u3000",
        "\ufeff",
        "\\n",
        "/**/",
    ):
        for gap in range(count):
            yield REFUSE, gaps % tuple(space.encode() * (at == gap) for at in range(count))


def _structure() -> Verdicts:
    for text in (b"", b" ", b"1 2", b'""""', b"[][]", b"{}[]", b"[]]", b"{}}", b"[],", b"1,", b"[]x", b"{}//", b"{}#",
                 b",", b":", b"]", b"}", b"[", b"{", b'"', b"[}", b"{]", b'{"a":1]', b"[1}", b"(1)", b"<1>", b"\\"):  # fmt: skip
        yield REFUSE, text


def _literals() -> Verdicts:
    for name in (b"true", b"false", b"null"):
        yield ACCEPT, name
        yield REFUSE, name + name
        for changed in (name.upper(), name.title(), name[::-1]):
            yield REFUSE, changed
        for at in range(len(name)):
            yield REFUSE, name[:at] + name[at + 1 :]
            yield REFUSE, name[:at] + name[at : at + 1] + name[at:]
    for name in (b"None", b"undefined", b"nil", b"yes", b"a"):
        yield REFUSE, name


def _objects() -> Verdicts:
    for text in (b"{}", b'{"":0}', b'{"a":{}}', b'{"a":1,"b":[],"c":{"d":null}}', b'{"a":1,"a":2}', b'{"a":1,"a":1}',
                 b'{"\\u0061":1,"a":2}', b'{"\\u0000":0}', b'{"type":"error"}', b'{"__proto__":[]}'):  # fmt: skip
        yield ACCEPT, text
    for text in (b'{"a"}', b'{"a":}', b'{:1}', b'{1}', b'{1:1}', b"{null:1}", b"{a:1}", b"{'a':1}", b'{"a":1,}', b'{,"a":1}',
                 b'{"a":1,,"b":2}', b'{"a":1 "b":2}', b'{"a"::1}', b'{"a" 1}', b'{"a"=1}', b'{"a",1}', b'{"a":1;"b":2}',
                 b'{"a":1', b'{"a":', b'{"a"', b'{"a', b'{"a":1,', b'{"a":1,"b"', b'{{"a":1}}', b'{["a"]:1}', b'{"a":"a" 1}'):  # fmt: skip
        yield REFUSE, text


def _arrays() -> Verdicts:
    for text in (b"[]", b"[0]", b'[1,"a",null,true,false,{},[]]', b"[[[[]]],[]]", b'[""]'):
        yield ACCEPT, text
    for text in (b"[,]", b"[1,]", b"[,1]", b"[1,,2]", b"[1 2]", b"[1;2]", b"[1:2]", b'["a":1]', b"[1", b"[1,", b"[[1]", b"[a]",
                 b"[1]]", b"[*]", b"[...]", b"[1 true]", b'["" ,]'):  # fmt: skip
        yield REFUSE, text


def _numbers() -> Verdicts:
    parts = itertools.product(
        ("", "-"), ("0", "7", "120"), ("", ".0", ".25"), ("", "e0", "E2", "e+1", "e-3")
    )
    for text in map("".join, parts):
        yield ACCEPT, text.encode()
    for text in ("1e999", "-1E999", "1e-999", "9" * 19, "9" * 30, "-" + "9" * 400, "0." + "1" * 400,
                 "1" * 5_000, "9223372036854775808", "-9223372036854775809", "18446744073709551616"):  # fmt: skip
        yield ACCEPT, text.encode()


def _wrong_numbers() -> Verdicts:
    for text in ("-", "+1", "--1", "-+1", "01", "-01", "00", "1.", "-1.", ".5", "-.5", "1.e1", "1..2", "1.2.3", "1e", "1E+",
                 "1e-", "1e1.5", "1ee1", "1e+-1", "e1", "0x1F", "0o7", "0b1", "1_000", "1,000.0", "1L", "1f", "- 1", "1 .5",
                 "1e 1", "NaN", "nan", "Infinity", "-Infinity", "inf", "\uff11", "\u0661", "1\u00b2", "\u22121", "1a", "0e", "-0x"):  # fmt: skip
        yield REFUSE, text.encode()


def _strings() -> Verdicts:
    for text in (r"", "a", "'", "/", r"\"", r"\\", r"\/", r"\b\f\n\r\t", r"\u0041", r"\u00e9\u00E9", r"\u0000", r"\u001f",
                 r"\uFFFF\ufffe", r"\ud83d\ude00", r"\uDBFF\uDFFF", r"\\u0041", r"\\\"", "{[,:]}", "//", "\x7f", "\\\\" * 50):  # fmt: skip
        yield ACCEPT, b'"%s"' % text.encode()
    # Half a character (section 8.2): grammatical, and ours to decide.
    for text in (
        r"\ud83d",
        r"\ude00",
        r"\ud83d\ud83d",
        r"\ude00\ud83d",
        r"\ud83d\n",
        r"\uD83D\u0041",
        r"a\udfffb",
        r"\\\ud83d",
    ):
        yield ACCEPT, b'"%s"' % text.encode()
        yield ACCEPT, b'{"%s":["%s"]}' % (text.encode(), text.encode())


def _wrong_strings() -> Verdicts:
    for code in range(0x20):
        yield REFUSE, b'"a%cb"' % code
    for character in "aAeU'0x1.-{ ":
        yield REFUSE, b'"\\%s1234"' % character.encode()
    for escape in (r"\u", r"\u1", r"\u12", r"\u123", r"\u123g", r"\u 123", r"\u+123", r"\u-123", r"\U0041", r"\u{41}", r"\ud83d\u12",
                   r"\ud83d\x", "\\\xe9", "\\\n", "\\\0"):  # fmt: skip
        yield REFUSE, b'["%s"]' % escape.encode()
    for text in (
        b'"',
        b'"a',
        b'"\\"',
        b'"\\',
        b'a"',
        b"'a'",
        b"`a`",
        "\u201ca\u201d".encode(),
        b'"a"b"',
        b'""a',
        b'u"a"',
        b'\\"a\\"',
    ):
        yield REFUSE, text


def _characters() -> Verdicts:
    for code in (0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFEFF, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF):
        yield ACCEPT, json.dumps(chr(code), ensure_ascii=False).encode()
        yield ACCEPT, json.dumps({chr(code): [chr(code)]}, ensure_ascii=False).encode()


def _wrong_characters() -> Verdicts:
    """Bytes that are no UTF-8 (RFC 3629), inside of a string; and texts in other encodings."""
    for wrong in (b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80",
                  b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80", b"\xfe", b"\xff",
                  b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xe9"):  # fmt: skip
        yield UNREAD, b'"%s"' % wrong
        yield UNREAD, b'["a%sb"]' % wrong
    yield UNREAD, b'{"a":["b",{"c":"\xff"}]}'
    yield UNREAD, b'["\\ud83d\xff"]'
    yield UNREAD, b'[1e999,"\xed\xa0\x80"]'
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le", "cp037"):
        yield REFUSE, '["\xe9"]'.encode(encoding)
    for wrong in (b"\xff", b"\xe9", b"[\xff]", b"[1,\xe9]", b"1\xff"):
        yield REFUSE, wrong


def _limits() -> Verdicts:
    # 128 levels of a frame are always accepted; what stands around takes up to three of them.
    for opener, closer in ((b"[", b"]"), (b'{"a":', b"}")):
        yield ACCEPT, opener * 125 + b"0" + closer * 125
        yield REFUSE, opener * 1_001 + b"0" + closer * 1_001
        yield REFUSE, opener * 125 + b"0" + closer * 124
        yield REFUSE, opener * 125 + b"0" + closer * 126
    yield ACCEPT, b'"%s"' % (b"[{" * 1_000)
    yield ACCEPT, b"[%s]" % b",".join([b"[]"] * 1_000)
    yield REFUSE, b"[" * 100_000
