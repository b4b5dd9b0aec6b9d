"""Bodies that are too long, too slow, or never come."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from tests.serve.access.conftest import DEADLINE_S, Site, guarded, with_key

ASK = "/v1/chat/completions"
MB = 10**6


def pieces(total: int, size: int = 65536) -> Iterator[bytes]:
    """A body without a length."""
    while total > 0:
        yield b"x" * min(size, total)
        total -= size


def head(length: int) -> bytes:
    return f"POST {ASK} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()


def connected(site: Site) -> socket.socket:
    sock = socket.create_connection(site.address)
    sock.settimeout(DEADLINE_S)
    return sock


def until_closed(sock: socket.socket) -> bytes:
    said = b""
    while part := sock.recv(65536):
        said += part
    return said


@pytest.mark.parametrize("length", [0, 1, 65536, MB])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_up_to_the_limit_arrive_whole(tmp_path: Path, length: int, chunked: bool) -> None:
    with guarded(tmp_path, max_body_mb=1) as site:
        answer = site.client.post(ASK, content=pieces(length, 4000) if chunked else b"x" * length)
        assert answer.json()["bytes"] == length


@pytest.mark.parametrize("length", [MB + 1, 2 * MB, 10 * MB])
@pytest.mark.parametrize("chunked", [False, True])
def test_longer_ones_are_refused(tmp_path: Path, length: int, chunked: bool) -> None:
    with guarded(tmp_path, max_body_mb=1) as site:
        answer = site.client.post(ASK, content=pieces(length) if chunked else b"x" * length)
        assert answer.status_code == 413
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "request_too_large")
        assert "1 MB" in error["message"]
        assert site.application.calls == []
        assert site.lines(1)[0]["error_code"] == "request_too_large"
        assert site.client.get("/health").status_code == 200


def test_a_long_body_is_refused_before_it_comes(tmp_path: Path) -> None:
    with guarded(tmp_path) as site, connected(site) as sock:
        sock.sendall(head(10**12))
        said = until_closed(sock)
        assert said.startswith(b"HTTP/1.1 413") and b"request_too_large" in said


def test_an_endless_body_is_not_read_on(tmp_path: Path) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += MB
            yield b"x" * MB

    with guarded(tmp_path, max_body_mb=1) as site:
        with suppress(httpx2.TransportError):  # it may be cut off in the midst of sending
            assert site.client.post(ASK, content=endless()).status_code == 413
        assert sent < 30 * MB
        assert site.lines(1)[0]["status"] == 413


def test_a_slow_body_is_given_up(tmp_path: Path) -> None:
    with guarded(tmp_path, body_timeout_s=0.3) as site, connected(site) as sock:
        sock.sendall(head(1000) + b"x")
        said = until_closed(sock)
        assert said.startswith(b"HTTP/1.1 408") and b'"code": "request_timeout"' in said
        assert b"connection: close" in said.lower()
        assert site.application.calls == []


def test_a_client_that_leaves_while_it_sends(tmp_path: Path) -> None:
    with guarded(tmp_path) as site:
        with connected(site) as sock:
            sock.sendall(head(1000) + b"x")
        line = site.lines(1)[0]
        assert (line["status"], line["disconnect"]) == (None, True)
        assert site.application.calls == []


def test_an_answer_may_take_longer_than_the_body(tmp_path: Path) -> None:
    with guarded(tmp_path, body_timeout_s=0.2) as site:
        with site.client.stream("POST", "/v1/stream", content=b"{}") as answer:
            chunks = answer.iter_text()
            assert next(chunks) == "data: 1\n\n"
            began = time.monotonic()
            while time.monotonic() - began < 0.4:  # twice the limit
                time.sleep(0.05)
            for _ in range(3):
                site.application.next_chunk()
            assert list(chunks)[-1] == "data: 3\n\n"
        assert site.lines(1)[0]["disconnect"] is False


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"only {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096) if soft > 0 else soft, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_connections_that_send_nothing(tmp_path: Path) -> None:
    """They hinder nobody, reach no route, and are given up."""
    path, header = with_key(tmp_path)
    bearer = f"Authorization: {header['authorization']}\r\n"
    with guarded(tmp_path, keys_file=path, body_timeout_s=5) as site, ExitStack() as stack:
        idle = [stack.enter_context(connected(site)) for _ in range(1000)]
        for sock in idle[:600]:  # the others do not even say what they want
            sock.sendall(head(1000).replace(b"Host", bearer.encode() + b"Host"))
        before = time.process_time()
        answers = [site.client.post(ASK, content=b"x", headers=header) for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 10
        assert len(site.application.calls) == 10
        assert time.process_time() - before < 15  # it is far less; what it must not do is grow with them
        assert all(until_closed(sock).startswith(b"HTTP/1.1 408") for sock in idle[:600])
        assert len(site.application.calls) == 10
