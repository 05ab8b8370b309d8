import asyncio
import base64
import contextlib
import json
import logging
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import deltaring
from deltaring.errors import RecordingError
from deltaring.recording import Recording
from tests.outcome import outcome
from tests.wire import audio_frame, frame, pcm, session

pytest.importorskip("websockets", reason="the extra `record`")

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from deltaring.proxy import Proxy

SECRET = "sk-5eCr3t"
Handler = Callable[[ServerConnection], Awaitable[None]]


class Bench:
    """An upstream, a proxy before it, and what went through."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        """What the upstream was asked."""
        self.ended: list[tuple[int | None, str | None]] = []
        """How the upstream saw its sessions end."""
        self.proxy: Proxy
        self.url: str
        """Of the proxy, without a path."""

    @contextlib.asynccontextmanager
    async def run(
        self, handler: Handler, *, path: str = "", serving: Any = None, **options: Any
    ) -> AsyncIterator["Bench"]:
        async def upstream(websocket: ServerConnection) -> None:
            self.requests.append(websocket.request)  # type: ignore[arg-type]
            with contextlib.suppress(ConnectionClosed):
                await handler(websocket)
            await websocket.wait_closed()
            self.ended.append((websocket.close_code, websocket.close_reason))

        serving = {"compression": None, "max_size": None, **(serving or {})}
        async with serve(upstream, "127.0.0.1", 0, **serving) as server:
            port = server.sockets[0].getsockname()[1]
            scheme = "wss" if "ssl" in serving else "ws"
            url = f"{scheme}://localhost:{port}{path}"
            self.proxy = Proxy(url, self.folder / "session.jsonl", **options)
            async with self.proxy.listen(port=0) as listening:
                self.url = url_of(listening)
                yield self

    def connect(self, path: str = "", **options: Any) -> connect:
        return connect(self.url + path, **{"compression": None, "max_size": None, **options})

    def records(self, number: int = 0) -> list[Any]:
        recording = Recording(self.proxy.recordings[number])
        found = list(recording)
        assert not recording.problems
        return found


def url_of(listening: Any) -> str:
    return f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(main(), 30)

    return asyncio.run(limited())


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition; `run` has the patience."""
    while not condition():
        await asyncio.sleep(0.005)


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def flood(websocket: ServerConnection) -> None:
    while True:
        await websocket.send(bytes(1 << 20))


async def closed(websocket: ClientConnection) -> tuple[int | None, str | None]:
    await websocket.wait_closed()
    return websocket.close_code, websocket.close_reason


# --- frames ---------------------------------------------------------------------------------------


def play(example: Path) -> Handler:
    async def handler(websocket: ServerConnection) -> None:
        for record in Recording(example):
            if record.source == "server":
                await websocket.send(record.frame, text=True)
        await websocket.close()

    return handler


def test_a_session_that_went_through_replays_the_same(bench: Bench, example: Path) -> None:
    async def main() -> list[bytes]:
        async with bench.run(play(example)), bench.connect() as websocket:
            return [message.encode() async for message in websocket]

    got = run(main)
    sent = [record.frame for record in Recording(example) if record.source == "server"]
    kept = [record.frame for record in bench.records()]
    assert got == kept == sent
    here, there = deltaring.Decoder(), deltaring.Decoder()
    assert [outcome(here, data) for data in kept] == [outcome(there, data) for data in sent]
    assert here.stats.audio > 0


@pytest.mark.parametrize(
    "message", ["Grüße 你好 \U0001f600\0\\u0041", "", b"", b"\0\xff\xfe", '{ "type" : "a" }']
)
def test_a_message_passes_both_ways_as_it_is(bench: Bench, message: str | bytes) -> None:
    async def main() -> Any:
        async with bench.run(echo), bench.connect() as websocket:
            await websocket.send(message)
            return await websocket.recv()

    assert run(main) == message


def test_3_megabytes_pass_both_ways(bench: Bench) -> None:
    message = frame("conversation.item.created", item={"audio": "A" * 3_476_354}).decode()

    async def main() -> Any:
        async with bench.run(echo), bench.connect() as websocket:
            await websocket.send(message)
            return await websocket.recv()

    assert run(main) == message
    assert [record.frame.decode() for record in bench.records()] == [message] * 2


def test_32_mebibytes_pass(bench: Bench) -> None:
    async def main() -> int:
        async with bench.run(echo), bench.connect() as websocket:
            await websocket.send(bytes(32 << 20))
            return len(await websocket.recv())

    assert run(main) == 32 << 20


def test_more_is_too_big_for_both_sides(bench: Bench) -> None:
    async def flood(websocket: ServerConnection) -> None:
        await websocket.send(bytes((32 << 20) + 1))

    async def main() -> Any:
        async with bench.run(flood), bench.connect() as websocket:
            end = await closed(websocket)
            await until(lambda: bench.ended)
            return end

    assert run(main)[0] == 1009
    assert not bench.records()


def test_a_fragmented_message_passes_whole(bench: Bench) -> None:
    async def main() -> Any:
        async with bench.run(echo), bench.connect() as websocket:
            await websocket.send(['{"type"', ":", '"a"}'])
            return await websocket.recv()

    assert run(main) == '{"type":"a"}'


def test_both_directions_are_recorded_in_the_order_of_their_times(bench: Bench) -> None:
    async def main() -> None:
        async with bench.run(echo), bench.connect() as websocket:
            for number in range(20):
                await websocket.send(frame("a", number=number).decode())
                await websocket.recv()

    run(main)
    records = bench.records()
    assert [record.source for record in records] == ["client", "server"] * 20
    times = [record.time for record in records]
    assert times == sorted(times)


def test_compression_is_declined_and_not_offered(bench: Bench) -> None:
    async def main() -> Any:
        serving = {"compression": "deflate"}
        async with bench.run(echo, serving=serving), bench.connect(compression="deflate") as client:
            return client.response.headers

    assert "Sec-WebSocket-Extensions" not in run(main)
    assert "Sec-WebSocket-Extensions" not in bench.requests[0].headers


def test_a_client_that_does_not_read_slows_the_upstream_down(bench: Bench) -> None:
    """What is in flight is bounded by the buffers of sockets, however much the upstream has."""
    sent = 0

    async def flood(websocket: ServerConnection) -> None:
        nonlocal sent
        while True:
            await websocket.send(bytes(1 << 20))
            sent += 1

    async def main() -> int:
        async with bench.run(flood), bench.connect(max_queue=1) as websocket:
            before = -1
            while sent > before:  # until nothing more goes through
                before = sent
                await asyncio.sleep(0.3)
            websocket.transport.abort()
            await websocket.wait_closed()
            return sent

    assert run(main) < 200


# --- the ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "maintenance"), (4008, "expirée")])
def test_the_upstreams_close_reaches_the_client(bench: Bench, code: int, reason: str) -> None:
    async def leave(websocket: ServerConnection) -> None:
        await websocket.send("last words")
        await websocket.close(code, reason)

    async def main() -> Any:
        async with bench.run(leave), bench.connect() as websocket:
            return await websocket.recv(), await closed(websocket)

    assert run(main) == ("last words", (code, reason))


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1001, ""), (3000, "bye")])
def test_the_clients_close_reaches_the_upstream(bench: Bench, code: int, reason: str) -> None:
    async def main() -> None:
        async with bench.run(echo), bench.connect() as websocket:
            await websocket.close(code, reason)
            await until(lambda: bench.ended)

    run(main)
    assert bench.ended == [(code, reason)]


def test_a_client_that_hangs_up_on_an_upstream_that_has_more_to_say(bench: Bench) -> None:
    """The upstream's answer is behind all that: unread, it held the session for two minutes."""

    async def main() -> None:
        async with bench.run(flood), bench.connect(max_queue=None) as websocket:
            await websocket.recv()
            await websocket.close(1000, "enough")
            await until(lambda: bench.ended and bench.proxy.counts.received)

    run(main)
    assert bench.ended == [(1000, "enough")]


def test_an_upstream_that_hangs_up_on_a_client_that_has_more_to_say(bench: Bench) -> None:
    async def leave(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.close(1001, "enough")

    async def main() -> Any:
        async with bench.run(leave, serving={"max_queue": None}), bench.connect() as websocket:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await websocket.send(bytes(1 << 20))
            await until(lambda: bench.ended and bench.proxy.counts.sent)
            return await closed(websocket)

    assert run(main) == (1001, "enough")
    assert bench.ended == [(1001, "enough")]


def test_a_lost_upstream_is_lost_to_the_client_after_all_that_it_sent(bench: Bench) -> None:
    async def crash(websocket: ServerConnection) -> None:
        for number in range(30):
            await websocket.send(str(number) * 300_000)
        websocket.transport.close()

    async def main() -> Any:
        async with bench.run(crash), bench.connect() as websocket:
            got = [await websocket.recv() for _ in range(30)]
            return got, await closed(websocket)

    got, end = run(main)
    assert got == [str(number) * 300_000 for number in range(30)]
    assert end[0] == 1006


def test_a_close_without_a_code_is_a_normal_one(bench: Bench) -> None:
    async def leave(websocket: ServerConnection) -> None:
        websocket.transport.write(b"\x88\x00")  # an empty close frame
        await websocket.wait_closed()

    async def main() -> Any:
        async with bench.run(leave), bench.connect() as websocket:
            return await closed(websocket)

    assert run(main) == (1000, "")


def test_a_lost_client_is_lost_to_the_upstream(bench: Bench) -> None:
    async def main() -> None:
        async with bench.run(echo), bench.connect() as websocket:
            websocket.transport.abort()
            await until(lambda: bench.ended)

    run(main)
    assert bench.ended[0][0] == 1006


def test_a_proxy_that_stops_says_goodbye_to_both_sides(bench: Bench) -> None:
    async def main() -> Any:
        async with contextlib.AsyncExitStack() as outside:
            async with bench.run(echo):
                websocket = await outside.enter_async_context(bench.connect())
                await websocket.send('{"type":"a"}')
                await websocket.recv()
            return await closed(websocket)

    assert run(main)[0] == 1001
    assert bench.ended[0][0] == 1001
    assert len(bench.records()) == 2
    assert bench.proxy.counts.sent == 1


# --- the handshake --------------------------------------------------------------------------------


def test_the_clients_headers_are_passed_on_and_none_is_added(bench: Bench) -> None:
    sent = {
        "Authorization": f"Bearer {SECRET}",
        "OpenAI-Beta": "realtime=v1",
        "OpenAI-Organization": "org-1",
        "api-key": SECRET,
        "Cookie": "a=b",
    }

    async def main() -> None:
        options = dict(additional_headers=sent, user_agent_header="agent/1")
        async with bench.run(echo), bench.connect(**options):
            pass

    run(main)
    own = {"host", "upgrade", "connection"}
    headers = {
        name: value
        for name, value in bench.requests[0].headers.raw_items()
        if name.lower() not in own and not name.lower().startswith("sec-websocket-")
    }
    assert headers == {**sent, "User-Agent": "agent/1"}


def test_a_client_without_a_user_agent_stays_without(bench: Bench) -> None:
    async def main() -> None:
        async with bench.run(echo), bench.connect(user_agent_header=None):
            pass

    run(main)
    assert "User-Agent" not in bench.requests[0].headers
    assert "Authorization" not in bench.requests[0].headers


def test_a_header_that_comes_twice_is_passed_on_twice(bench: Bench) -> None:
    headers = Headers([("X-Tag", "a"), ("X-Tag", "b")])

    async def main() -> None:
        async with bench.run(echo), bench.connect(additional_headers=headers):
            pass

    run(main)
    assert bench.requests[0].headers.get_all("X-Tag") == ["a", "b"]


def test_headers_for_the_next_hop_stop_here(bench: Bench) -> None:
    headers = Headers([("Connection", "X-Hop"), ("X-Hop", "1"), ("Proxy-Authorization", SECRET)])

    async def main() -> None:
        async with bench.run(echo), bench.connect(additional_headers=headers):
            pass

    run(main)
    assert "X-Hop" not in bench.requests[0].headers
    assert "Proxy-Authorization" not in bench.requests[0].headers


def test_subprotocols_are_passed_on_and_the_upstreams_choice_comes_back(bench: Bench) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{SECRET}"]

    async def main() -> Any:
        serving = {"subprotocols": ["realtime"]}
        async with bench.run(echo, serving=serving), bench.connect(subprotocols=offered) as client:
            return client.subprotocol

    assert run(main) == "realtime"
    assert bench.requests[0].headers["Sec-WebSocket-Protocol"].split(", ") == offered


@pytest.mark.parametrize(
    ("upstream", "asked", "path"),
    [
        ("", "/v1/realtime?model=a&b=%20", "/v1/realtime?model=a&b=%20"),
        ("/", "/v1/realtime", "/v1/realtime"),
        ("/v1/realtime", "/other?model=a", "/v1/realtime?model=a"),
        ("/v1/realtime", "", "/v1/realtime"),
        ("/v1/realtime?model=a", "/other?model=b", "/v1/realtime?model=a"),
        ("?model=a", "/v1", "/v1?model=a"),
        ("", "//elsewhere/v1", "//elsewhere/v1"),
    ],
)
def test_path_and_query_are_the_upstreams_or_else_the_clients(
    bench: Bench, upstream: str, asked: str, path: str
) -> None:
    async def main() -> None:
        async with bench.run(echo, path=upstream), bench.connect(asked):
            pass

    run(main)
    assert bench.requests[0].path == path


async def ask(url: str, request: bytes) -> bytes:
    """Send raw bytes to the proxy, and return its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


HANDSHAKE = b"".join(
    line + b"\r\n"
    for line in (
        b"GET / HTTP/1.1",
        b"Host: a",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"",
    )
)


def refuse(status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """Have the upstream answer no handshake but with this."""

    def respond(websocket: ServerConnection, request: Request) -> Response:
        length = {"Content-Length": str(len(body))}
        return Response(status, "Because", Headers({**headers, **length}), body)

    return {"process_request": respond}


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_refusal_of_the_upstream_is_passed_on(bench: Bench, status: int) -> None:
    serving = refuse(status, {"Retry-After": "7"}, b'{"error":{"code":"invalid_api_key"}}')

    async def main() -> Any:
        async with bench.run(echo, serving=serving):
            with pytest.raises(InvalidStatus) as caught:
                await bench.connect()
            return caught.value.response

    response = run(main)
    assert (response.status_code, response.reason_phrase) == (status, "Because")
    assert response.headers["Retry-After"] == "7"
    assert response.body == b'{"error":{"code":"invalid_api_key"}}'
    assert not bench.proxy.recordings
    assert bench.proxy.refused == 1


def test_a_redirect_is_passed_on_and_not_followed(bench: Bench) -> None:
    asked = []

    def redirect(websocket: ServerConnection, request: Request) -> Response | None:
        asked.append(request.path)
        if request.path == "/new":
            return None
        return Response(307, "Moved", Headers({"Location": "/new", "Content-Length": "0"}), b"")

    async def main() -> bytes:
        async with bench.run(echo, path="/old", serving={"process_request": redirect}):
            return await ask(bench.url, HANDSHAKE)

    answer = run(main)
    assert answer.startswith(b"HTTP/1.1 307 Moved\r\n")
    assert b"\r\nLocation: /new\r\n" in answer
    assert asked == ["/old"]


def test_an_upstream_that_is_not_there_is_a_bad_gateway(tmp_path: Path) -> None:
    proxy = Proxy("ws://127.0.0.1:1/v1?key=" + SECRET, tmp_path / "session.jsonl")

    async def main() -> Any:
        async with proxy.listen(port=0) as listening:
            port = listening.sockets[0].getsockname()[1]
            with pytest.raises(InvalidStatus) as caught:
                await connect(f"ws://127.0.0.1:{port}")
            return caught.value.response

    response = run(main)
    assert response.status_code == 502
    assert SECRET.encode() not in response.body
    assert not list(tmp_path.iterdir())


def test_an_upstream_that_speaks_no_websocket_is_a_bad_gateway(tmp_path: Path) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test ESMTP\r\n")
        writer.close()

    async def main() -> int:
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = Proxy(f"ws://127.0.0.1:{port}", tmp_path / "session.jsonl")
        async with server, proxy.listen(port=0) as listening:
            with pytest.raises(InvalidStatus) as caught:
                await connect(url_of(listening))
            return caught.value.response.status_code

    assert run(main) == 502


def test_a_page_is_refused_before_the_upstream_is_asked(bench: Bench) -> None:
    async def main() -> int:
        async with bench.run(echo):
            with pytest.raises(InvalidStatus) as caught:
                await bench.connect(origin="https://evil.test")
            return caught.value.response.status_code

    assert run(main) == 403
    assert not bench.requests


@pytest.mark.parametrize("allowed", ["https://app.test", "*"])
def test_an_allowed_page_may_connect(bench: Bench, allowed: str) -> None:
    async def main() -> None:
        options = dict(origin="https://app.test")
        async with bench.run(echo, allow_origin=[allowed]), bench.connect(**options):
            pass

    run(main)
    assert bench.requests[0].headers["Origin"] == "https://app.test"


def test_another_page_than_the_allowed_one_is_refused(bench: Bench) -> None:
    async def main() -> int:
        async with bench.run(echo, allow_origin=["https://app.test"]):
            with pytest.raises(InvalidStatus) as caught:
                await bench.connect(origin="https://app.test.evil.test")
            return caught.value.response.status_code

    assert run(main) == 403


@pytest.mark.parametrize("target", ["http://evil.test/", "@evil.test/", ".evil.test/"])
def test_a_path_cannot_become_another_host(bench: Bench, target: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"

    async def main() -> bytes:
        async with bench.run(echo):
            return await ask(bench.url, request.encode())

    assert run(main).startswith(b"HTTP/1.1 400 ")


def test_an_upstream_url_that_cannot_be_is_not_quoted(bench: Bench) -> None:
    request = HANDSHAKE.replace(b"GET /", b"GET /v1?key=%s#fragment" % SECRET.encode())

    async def main() -> bytes:
        async with bench.run(echo):
            return await ask(bench.url, request)

    answer = run(main)
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert SECRET.encode() not in answer


def test_the_proxy_does_not_name_itself(bench: Bench) -> None:
    async def main() -> Any:
        async with bench.run(echo), bench.connect() as websocket:
            return websocket.response.headers

    assert "Server" not in run(main)


def test_what_is_no_handshake_does_not_reach_the_upstream(bench: Bench) -> None:
    async def main() -> bytes:
        async with bench.run(echo):
            return await ask(bench.url, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert run(main).startswith(b"HTTP/1.1 426 ")
    assert not bench.requests


@pytest.mark.parametrize("handler", [echo, flood])
def test_a_failed_handshake_leaves_no_upstream_open(bench: Bench, handler: Handler) -> None:
    async def main() -> bytes:
        async with bench.run(handler):
            answer = await ask(bench.url, HANDSHAKE.replace(b"WebSocket-Key", b"No-Key"))
            await until(lambda: bench.ended)
            return answer

    assert run(main).startswith(b"HTTP/1.1 400 ")
    assert not bench.proxy.recordings


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Iterator[Any]:
    """A server's TLS context with a certificate for localhost that nobody vouches for."""
    import ssl

    if not shutil.which("openssl"):
        pytest.skip("certificates are made with openssl")
    made = tmp_path / "tls.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", f"{made}.key", "-out", str(made)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, f"{made}.key")
    return made, context


def test_an_upstream_that_nobody_vouches_for_is_refused(bench: Bench, certificate: Any) -> None:
    async def main() -> Any:
        async with bench.run(echo, serving={"ssl": certificate[1]}):
            with pytest.raises(InvalidStatus) as caught:
                await bench.connect(additional_headers={"Authorization": SECRET})
            return caught.value.response

    response = run(main)
    assert response.status_code == 502
    assert b"certificate verify failed" in response.body
    assert not bench.requests


def test_an_upstream_with_a_trusted_certificate_is_taken(
    bench: Bench, certificate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    async def main() -> Any:
        async with bench.run(echo, serving={"ssl": certificate[1]}), bench.connect() as websocket:
            await websocket.send("hello")
            return await websocket.recv()

    assert run(main) == "hello"


# --- recordings -----------------------------------------------------------------------------------


def test_no_secret_reaches_the_disk_or_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "deltaring")
    tool = {"type": "mcp", "authorization": SECRET, "headers": {"X-Key": SECRET}}
    created = session(client_secret={"value": SECRET, "expires_at": 1}, tools=[tool])

    async def issue(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.send(created.decode())
        await websocket.send(SECRET)
        await websocket.close(4000, SECRET)

    async def main() -> Any:
        async with (
            bench.run(issue, serving={"subprotocols": ["realtime"]}),
            bench.connect(
                f"/v1/realtime?api-key={SECRET}",
                additional_headers={"Authorization": f"Bearer {SECRET}", "Cookie": SECRET},
                subprotocols=["realtime", f"openai-insecure-api-key.{SECRET}"],
            ) as websocket,
        ):
            await websocket.send(frame("session.update", session={"tools": [tool]}).decode())
            return [message async for message in _all(websocket)]

    assert run(main) == [created.decode(), SECRET]  # the client gets it all
    written = b"".join(path.read_bytes() for path in bench.folder.rglob("*"))
    assert written
    assert SECRET.encode() not in written
    assert base64.b64encode(SECRET.encode())[:-4] not in written
    assert SECRET not in caplog.text
    assert (bench.proxy.counts.redacted, bench.proxy.counts.withheld) == (2, 1)


async def _all(websocket: ClientConnection) -> AsyncIterator[Any]:
    with contextlib.suppress(ConnectionClosed):
        async for message in websocket:
            yield message


def test_secrets_are_kept_on_demand(bench: Bench) -> None:
    message = session(client_secret=SECRET).decode()

    async def main() -> None:
        async with bench.run(echo, keep_secrets=True), bench.connect() as websocket:
            await websocket.send(message)
            await websocket.recv()

    run(main)
    assert [record.frame.decode() for record in bench.records()] == [message] * 2


def test_redaction_is_of_the_file_only(bench: Bench) -> None:
    message = audio_frame(pcm(600)).decode()

    async def main() -> Any:
        async with bench.run(echo, redact=["audio", "text"]), bench.connect() as websocket:
            await websocket.send(message)
            return await websocket.recv()

    assert run(main) == message
    assert json.loads(bench.records()[0].frame)["delta"] == "A" * 800


def test_each_connection_has_a_private_file_of_its_own(bench: Bench) -> None:
    async def main() -> None:
        async with bench.run(echo), bench.connect() as first, bench.connect() as second:
            for websocket, message in ((first, "1"), (second, "2"), (first, "3")):
                await websocket.send(frame(message).decode())
                await websocket.recv()

    run(main)
    assert [path.name for path in bench.proxy.recordings] == ["session.jsonl", "session-2.jsonl"]
    kept = [[json.loads(r.frame)["type"] for r in bench.records(number)] for number in (0, 1)]
    assert kept == [["1", "1", "3", "3"], ["2", "2"]]
    assert {stat.S_IMODE(path.stat().st_mode) for path in bench.proxy.recordings} == {0o600}


def test_a_file_that_is_there_is_left_alone(bench: Bench) -> None:
    for name in ("session.jsonl", "session-3.jsonl"):
        (bench.folder / name).write_bytes(b"mine")

    async def main() -> None:
        async with bench.run(echo), bench.connect(), bench.connect():
            pass

    run(main)
    assert [path.name for path in bench.proxy.recordings] == ["session-2.jsonl", "session-4.jsonl"]
    assert (bench.folder / "session.jsonl").read_bytes() == b"mine"


def test_connections_and_their_frames_are_counted(bench: Bench) -> None:
    async def main() -> None:
        async with bench.run(echo):
            for _ in range(2):
                async with bench.connect() as websocket:
                    await websocket.send('{"type":"a"}')
                    await websocket.recv()

    run(main)
    counts = bench.proxy.counts
    assert bench.proxy.connections == 2
    assert (counts.sent, counts.received, counts.sent_bytes, counts.received_bytes) == (
        2,
        2,
        24,
        24,
    )


@pytest.mark.parametrize("handler", [echo, flood])
def test_a_session_that_cannot_be_recorded_is_refused(
    bench: Bench, handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> Any:
        async with bench.run(handler):
            bench.folder.rename(bench.folder.with_name("moved"))
            async with bench.connect() as websocket:
                end = await closed(websocket)
                await until(lambda: bench.ended)
                return end

    assert run(main) == (1011, "the session cannot be recorded")
    assert (bench.proxy.failures, bench.proxy.connections) == (1, 0)
    assert "No such file" in caplog.text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is a Linux device")
def test_a_session_goes_on_where_its_recording_cannot(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltaring import proxy

    class Full(proxy.Recorder):
        def sent(self, data: Any) -> float:
            if data == "3":
                os.dup2(os.open("/dev/full", os.O_WRONLY), self._writer._file.fileno())
            return super().sent(data)

    monkeypatch.setattr(proxy, "Recorder", Full)

    async def main() -> list[Any]:
        async with bench.run(echo), bench.connect() as websocket:
            got = []
            for message in "12345":
                await websocket.send(message)
                got.append(await websocket.recv())
            return got

    assert run(main) == list("12345")
    assert bench.proxy.failures == 1
    assert len(bench.records()) == 4
    assert caplog.text.count("ended early") == 1


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "upstream",
    ["https://a.test", "a.test", "ws://", f"wss://me:{SECRET}@a.test/", f"wss://{SECRET}@a.test"],
)
def test_another_upstream_is_refused_without_quoting_its_user(
    tmp_path: Path, upstream: str
) -> None:
    with pytest.raises(ValueError, match="upstream") as caught:
        Proxy(upstream, tmp_path / "session.jsonl")
    assert SECRET not in str(caught.value)


def test_another_kind_of_redaction_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="audio and text"):
        Proxy("ws://a.test", tmp_path / "session.jsonl", redact=["video"])


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "a.test"])
def test_a_host_that_others_can_reach_is_refused(tmp_path: Path, host: str) -> None:
    async def main() -> None:
        async with Proxy("ws://a.test", tmp_path / "session.jsonl").listen(host, 0):
            pass

    with pytest.raises(ValueError, match="not loopback"):
        run(main)


def test_a_host_that_others_can_reach_is_taken_on_demand(tmp_path: Path) -> None:
    async def main() -> None:
        proxy = Proxy("ws://a.test", tmp_path / "session.jsonl")
        async with proxy.listen("0.0.0.0", 0, insecure=True) as listening:
            assert listening.sockets

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_loopback_is_taken(tmp_path: Path, host: str) -> None:
    async def main() -> None:
        async with Proxy("ws://a.test", tmp_path / "session.jsonl").listen(host, 0) as listening:
            assert listening.sockets

    run(main)


# --- found by a review ----------------------------------------------------------------------------


@pytest.mark.parametrize("offered", ["realtime, key.sk-5eCr3t x", "realtime, k(ey.sk-5eCr3t"])
def test_a_malformed_subprotocol_is_refused_and_quoted_nowhere(
    bench: Bench, offered: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> bytes:
        async with bench.run(echo):
            line = f"Sec-WebSocket-Protocol: {offered}\r\n\r\n".encode()
            return await ask(bench.url, HANDSHAKE.removesuffix(b"\r\n") + line)

    assert run(main).startswith(b"HTTP/1.1 400 ")
    assert bench.proxy.refused == 1
    assert SECRET not in caplog.text


def test_two_upgrade_headers_are_refused(bench: Bench) -> None:
    async def main() -> bytes:
        async with bench.run(echo):
            return await ask(bench.url, HANDSHAKE.removesuffix(b"\r\n") + b"Upgrade: h2c\r\n\r\n")

    assert run(main).startswith(b"HTTP/1.1 400 ")


def test_a_file_that_others_may_read_is_a_failure_and_leaves_no_upstream_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise RecordingError("others may read this file")

    monkeypatch.setattr("deltaring.proxy.Recorder", refuse)

    async def main() -> tuple[int | None, str | None]:
        async with bench.run(echo), bench.connect() as websocket:
            end = await closed(websocket)
            await until(lambda: bench.ended)
            return end

    assert run(main)[0] == 1011
    assert bench.proxy.failures == 1


def test_a_session_that_takes_nothing_does_not_hold_up_the_end(bench: Bench) -> None:
    async def flood(websocket: ServerConnection) -> None:
        while True:
            await websocket.send("x" * 100_000)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with bench.run(flood):
            reader, writer = await asyncio.open_connection(
                *bench.url.removeprefix("ws://").split(":")
            )
            writer.write(HANDSHAKE)
            await reader.readuntil(b"\r\n\r\n")
            await until(lambda: bench.proxy.connections)
            start = loop.time()
        writer.close()
        return loop.time() - start

    assert run(main) < 15
