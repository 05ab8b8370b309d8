"""The command `deltaring serve`."""

from pathlib import Path
from typing import Annotated

import typer

from deltaring.cli_listen import AllowOrigin, fail, fail_without_websockets, listen
from deltaring.console import BAD_INPUT, WRONG_USAGE
from deltaring.errors import RecordingError


def serve_command(  # noqa: PLR0917 - the command's options
    recordings: Annotated[
        list[Path], typer.Argument(metavar="REC", help="Recordings; each client gets the next.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 8766,
    speed: Annotated[
        float, typer.Option(min=0, help="2 plays twice as fast; 0 as fast as clients take it.")
    ] = 1.0,
    ignore_client: Annotated[
        bool, typer.Option("--ignore-client", help="Wait for nothing that clients send.")
    ] = False,
    loop: Annotated[
        bool, typer.Option("--loop", help="Start again at the end, on the same connection.")
    ] = False,
    allow_origin: AllowOrigin = None,
) -> None:
    """Play recordings to any client as the Realtime endpoint would.

    Frames keep their recorded times. Where the client had sent something, the server waits until a
    client sends the like. After the last frame the connection is closed (1000). The URL is printed
    as soon as the server listens; stop it with Ctrl-C. Exit code 3: a recording cannot be played,
    or the address is taken.
    """
    try:
        from deltaring.server import serve
    except ModuleNotFoundError as error:
        fail_without_websockets(error, "serve")
    serving = serve(
        recordings,
        host=host,
        port=port,
        speed=speed,
        ignore_client=ignore_client,
        loop=loop,
        allow_origin=allow_origin or (),
    )
    try:
        listen(serving, lambda url: [url], "deltaring.server")
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    except (OSError, RecordingError) as error:
        fail(str(error), BAD_INPUT)
