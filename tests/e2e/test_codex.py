"""The real codex CLI, which holds no key, completes a turn."""

from pathlib import Path

from tests.e2e.conftest import Stack, options
from tests.kit import responses_api
from tests.kit.certificates import Authority
from tests.kit.clients.installed import agent_version
from tests.kit.codex import Codex
from tests.kit.daemon import Daemon
from tests.kit.origin import Origin
from tests.kit.squid import Squid
from tests.kit.tools import need_sandbox


def test_codex_completes_a_turn_over_http_streamed(own_stack: Stack, tmp_path: Path) -> None:
    need_sandbox("codex", "squid")
    turn = Codex(tmp_path, own_stack.port).exec("Say hello")
    assert turn.code == 0, turn.stderr
    assert responses_api.TEXT in turn.stdout
    seen = own_stack.origin.wait_for(b"POST /v1/responses ")
    assert b'"stream":true' in seen.body.replace(b" ", b"")
    assert seen.values(b"authorization") == [b"Bearer THE-KEY"]
    assert f"codex_exec/{agent_version('codex')}".encode() in seen.head
    own_stack.daemon.wait_for_output("/v1/responses")
    assert " 426 " not in own_stack.daemon.output()


def test_codex_completes_a_turn_over_websocket(own_stack: Stack, tmp_path: Path) -> None:
    need_sandbox("codex", "squid")
    config = Codex.default_config(own_stack.port) + "supports_websockets = true\n"
    turn = Codex(tmp_path, own_stack.port, config).exec("Say hello", deadline=30)
    assert turn.code == 0, turn.stderr
    assert responses_api.TEXT in turn.stdout
    seen = own_stack.origin.wait_for(b"GET /v1/responses ", lambda seen: bool(seen.ended))
    assert seen.values(b"upgrade") == [b"websocket"]
    assert seen.values(b"authorization") == [b"Bearer THE-KEY"]
    assert "Say hello" in str(seen.messages)
    assert not own_stack.origin.find(b"POST /v1/responses ")
    own_stack.daemon.wait_for_output("status=101")


def test_codex_falls_back_at_once_where_websocket_is_refused(
    authority: Authority, own_origin: Origin, squid: Squid, canary: str, tmp_path: Path
) -> None:
    need_sandbox("codex", "squid")
    with Daemon(
        *options(authority, own_origin, squid), "--websocket", "refuse", env={"OPENAI_API_KEY": canary}
    ) as daemon:
        daemon.ready("/readyz")
        config = Codex.default_config(daemon.port) + "supports_websockets = true\n"
        turn = Codex(tmp_path, daemon.port, config).exec("Say hello", deadline=30)
        assert turn.code == 0, turn.stderr
        assert responses_api.TEXT in turn.stdout
        daemon.wait_for_output("status=426")
    assert not own_origin.find(b"GET /v1/responses ")
    assert own_origin.find(b"POST /v1/responses ")


def test_codex_pointed_here_without_the_base_path_works(own_stack: Stack, tmp_path: Path) -> None:
    """gh-aw gives its agents a base URL without /v1."""
    need_sandbox("codex", "squid")
    config = Codex.default_config(own_stack.port).replace("/v1", "")
    turn = Codex(tmp_path, own_stack.port, config).exec("Say hello")
    assert turn.code == 0, turn.stderr
    assert own_stack.origin.find(b"POST /v1/responses ")
