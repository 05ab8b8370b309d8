"""The terminal: what all commands share to read arguments and to print.

Rule: results go to standard output and complaints to standard error; nothing that came from a file
or a server may command the terminal.
"""

import sys
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deltaring.recording import Recording
from deltaring.sources import STDIN, RemoteFile, is_url

BAD_INPUT = 3
WRONG_USAGE = 2
SHOWN = 10  # problems of a recording that are printed

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document in place of tables.")]

Recordings = Annotated[
    list[str],
    typer.Argument(
        metavar="REC",
        help="Recordings (JSON lines or HAR, also .gz and .zst): files, folders, patterns, URLs; "
        "- reads standard input.",
    ),
]

err = Console(stderr=True, emoji=False)
# In a pipe there is no terminal to fit into: lines stay whole.
out = Console(emoji=False, width=None if sys.stdout.isatty() else 10_000)


def printable(text: str) -> str:
    """Text without what a terminal would obey, and without what UTF-8 cannot hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def complain(label: str, style: str, text: str) -> None:
    """Print a line to standard error; `style` is the label's colour."""
    err.print(Text.assemble((f"{label:<6}", style), printable(text)), soft_wrap=True)


def duration(seconds: float) -> str:
    """Minutes and seconds, to the millisecond."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:06.3f}"


def print_json(document: Any) -> None:
    """Print one JSON document, indented."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def table(*columns: str, header: bool = True) -> Table:
    """A plain table: text to the left, numbers to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for column in columns:
        text = column in (columns[0], "folder", "value")
        made.add_column(column, justify="left" if text else "right", overflow="fold")
    return made


def open_recording(name: str) -> Recording:
    """The recording that a source names: a file, a URL, or - for standard input."""
    if is_url(name):
        return Recording(RemoteFile(name))
    if name != STDIN:
        return Recording(name)
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return Recording(sys.stdin.buffer, name=name)
