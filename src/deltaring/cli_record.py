"""The command `deltaring record`.

Rule: standard output has the URL to connect to, then nothing until the summary at the end.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaring import console
from deltaring.cli_listen import AllowOrigin, fail, fail_without_websockets, listen
from deltaring.console import BAD_INPUT, WRONG_USAGE
from deltaring.redact import KINDS

if TYPE_CHECKING:  # its extra may be missing, and the other commands run without
    from websockets.asyncio.server import Server

    from deltaring.proxy import Proxy


def record_command(  # noqa: PLR0917 - the command's options
    upstream: Annotated[
        str, typer.Option(metavar="URL", help="The server to pass on to: ws:// or wss://.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="REC", help="File to make; further sessions get REC-2, REC-3."
        ),
    ],
    address: Annotated[
        str,
        typer.Option("--listen", metavar="HOST:PORT", help="Where clients connect; port 0 is any."),
    ] = "127.0.0.1:8765",
    redact: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help=f"Blank {' or '.join(KINDS)}; repeatable."),
    ] = None,
    keep_secrets: Annotated[
        bool, typer.Option("--keep-secrets", help="Write credentials in frames, too.")
    ] = False,
    insecure_listen: Annotated[
        bool, typer.Option("--insecure-listen", help="Allow a HOST that others can reach.")
    ] = False,
    allow_origin: AllowOrigin = None,
) -> None:
    """Pass live sessions on to a server, and record each in a file of its own.

    Point a client at the URL that is printed, with the credentials it always uses. Where the
    upstream's URL has no path or no query, the client's is passed on. Stop with Ctrl-C. Exit code
    3: a session could not be recorded, or not to its end.
    """
    try:
        from deltaring.proxy import Proxy
    except ModuleNotFoundError as error:
        fail_without_websockets(error, "record")
    try:
        host, port = _address(address)
        proxy = Proxy(
            upstream,
            _new_file(out),
            redact=redact or (),
            keep_secrets=keep_secrets,
            allow_origin=allow_origin or (),
        )
        listen(proxy.listen(host, port, insecure=insecure_listen), _urls, "deltaring.proxy")
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    except OSError as error:
        fail(f"cannot listen on {address}: {error.strerror or error}", BAD_INPUT)
    _summarize(proxy)


def _urls(server: "Server") -> Iterator[str]:
    for socket in server.sockets:
        host, port = socket.getsockname()[:2]
        yield f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"--listen is HOST:PORT, not {listen!r}")
    return host.strip("[]"), int(port)


def _new_file(out: Path) -> Path:
    if not out.name or not out.parent.is_dir():
        raise ValueError(f"there is no folder for {str(out)!r}")
    return out


def _summarize(proxy: "Proxy") -> None:
    counts = proxy.counts
    facts = console.table("fact", "value", header=False)
    for label, value in (
        ("connections", f"{proxy.connections:,}, and {proxy.refused:,} refused"),
        ("frames", f"{counts.received:,} server, {counts.sent:,} client"),
        ("bytes", f"{counts.received_bytes:,} server, {counts.sent_bytes:,} client"),
        ("redacted", f"{counts.redacted:,} frames"),
        ("withheld", f"{counts.withheld:,} frames"),
    ):
        facts.add_row(label, value)
    console.out.print(facts)
    if counts.withheld:
        console.complain("note", "", "withheld frames are no JSON: they may hold secrets")
    if proxy.failures:
        raise typer.Exit(BAD_INPUT)
