"""`awfproxy demo` as a process: what it prints works as printed, and it needs and leaves nothing."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest
from websockets.exceptions import InvalidStatus

from tests.kit.clients.installed import search_path
from tests.kit.daemon import Daemon, environment
from tests.kit.tools import need
from tests.kit.websocket import connect

TEXT = "Hello from the awfproxy demo."


def demo(*arguments, **more):
    script = "import sys; from awfproxy.cli.main import main; sys.exit(main())"
    return Daemon(command=[sys.executable, "-c", script, "demo", *arguments], **more)


def url_of(daemon):
    line = daemon.wait_for_output("awfproxy demo: ready at ")
    return line.rpartition(" ")[2]


def printed(daemon, start):
    """The printed command that begins with `start`, as it stands."""
    daemon.wait_for_output("Ctrl-C here ends the demo.")
    text = daemon.stdout.read_text()
    return re.search(rf"^  ((?:NO_PROXY\S+ no_proxy\S+ )?{start}(?:\\\n|.)*)$", text, re.MULTILINE).group(1)


def run(command, **env):
    """In a shell, as if pasted."""
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def running():
    # Nothing of this may play a part.
    around = {
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "NO_PROXY": "",
        "OPENAI_API_TARGET": "example.invalid",
        "OPENAI_API_BASE_PATH": "/nowhere",
        "SSL_CERT_FILE": "/nonexistent",
        "AWFPROXY_KEY_FILE": "/nonexistent",
        "OPENAI_API_KEY": "",
    }
    with demo("--port", "0", env=around) as daemon:
        url_of(daemon)
        yield daemon


def test_the_first_line_says_that_this_is_the_demo(running):
    assert running.stdout.read_text().splitlines()[0].startswith("awfproxy demo: no key is set")


def test_the_printed_curl_lines_work_past_the_environment_s_proxy(running):
    need("curl")
    proxies = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    assert '"object":"list"' in run(printed(running, "curl http"), **proxies)
    stream = run(printed(running, "curl -N"), **proxies)
    assert stream.startswith("event: response.created\n")
    assert "event: response.completed\n" in stream


def test_the_printed_codex_command_completes_a_turn_without_a_key(running, tmp_path):
    need("codex")
    home = {
        "HOME": str(tmp_path),
        "CODEX_HOME": str(tmp_path),
        "PATH": search_path(),
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    assert TEXT in run(f"cd {tmp_path} && {printed(running, 'codex exec')}", **home)


def test_a_websocket_is_refused_since_the_stand_in_has_none(running):
    port = int(url_of(running).rpartition(":")[2])
    with pytest.raises(InvalidStatus) as refused:
        connect(port, "/v1/responses")
    assert refused.value.response.status_code == 426


def test_a_taken_port_is_71_with_the_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo("--port", str(port)) as daemon:
            assert daemon.exit_code() == 71
            assert f"port {port}" in daemon.last_line
            assert "in use" in daemon.last_line


def test_a_wrong_value_is_78_with_the_variable_s_name():
    with demo(env={"AWFPROXY_BIND": "nowhere"}) as daemon:
        assert daemon.exit_code() == 78
        assert "AWFPROXY_BIND" in daemon.last_line


def test_ctrl_c_ends_it_cleanly_and_nothing_is_left():
    place = tempfile.mkdtemp()
    try:
        with demo("--port", "0", env={"TMPDIR": place}) as daemon:
            url_of(daemon)
            assert os.listdir(place) == []
            daemon.running.send_signal(signal.SIGINT)
            assert daemon.exit_code() == 0
            assert "Traceback" not in daemon.output()
    finally:
        shutil.rmtree(place)


def test_the_port_may_come_from_the_environment():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with demo(env={"AWFPROXY_PORT": str(port)}) as daemon:
        assert url_of(daemon) == f"http://127.0.0.1:{port}"


def test_the_key_is_new_each_time_and_never_shown(running):
    assert not re.search(r"sk-[0-9a-f]", running.output())


def test_with_json_the_log_stands_alone_on_standard_output():
    with demo("--port", "0", "--bind", "::1", "--log-format", "json") as daemon:
        assert url_of(daemon).startswith("http://[::1]:")
        assert daemon.terminate() == 0
        events = [json.loads(line)["event"] for line in daemon.stdout.read_text().splitlines()]
        assert "startup_complete" in events
        assert daemon.stderr.read_text().startswith("awfproxy demo: no key is set")
