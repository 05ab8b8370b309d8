"""What the commands that listen share: they print where, and go on until a signal comes."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Annotated, ClassVar, NoReturn, TypeVar

import typer

from deltaring import console

Listening = TypeVar("Listening")

AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(metavar="ORIGIN", help="Let pages of ORIGIN connect; * is any. Repeatable."),
]


def listen(
    listening: AbstractAsyncContextManager[Listening],
    urls: Callable[[Listening], Iterable[str]],
    logger: str,
) -> None:
    """Enter the context, print its URLs on standard output, and leave it at a signal.

    What `logger` has to say is printed as all commands print what they have to say.
    """
    log = logging.getLogger(logger)
    log.setLevel(logging.INFO)
    log.addHandler(_Complaints())
    with suppress(KeyboardInterrupt):  # where the loop takes no signals (Windows)
        asyncio.run(_until_stopped(listening, urls))


async def _until_stopped(
    listening: AbstractAsyncContextManager[Listening], urls: Callable[[Listening], Iterable[str]]
) -> None:
    stop = asyncio.Event()
    with suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with listening as server:
        for url in urls(server):
            typer.echo(url)
        await stop.wait()


class _Complaints(logging.Handler):
    _LABELS: ClassVar = {logging.ERROR: ("error", "red"), logging.WARNING: ("bad", "yellow")}

    def emit(self, record: logging.LogRecord) -> None:
        label, style = self._LABELS.get(record.levelno, ("note", ""))
        console.complain(label, style, record.getMessage())


def fail(text: str, code: int) -> NoReturn:
    """Say what is wrong, and leave with that exit code."""
    console.complain("error", "red", text)
    raise typer.Exit(code)


def fail_without_websockets(error: ModuleNotFoundError, extra: str) -> NoReturn:
    """Say what to install, if that is what is missing; a release that is too old lacks a part."""
    if not (error.name or "").startswith("websockets"):
        raise error
    fail(f"this needs websockets: pip install 'deltaring[{extra}]'", console.WRONG_USAGE)
