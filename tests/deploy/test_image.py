"""The image of ./Dockerfile, built here and run as the sidecar's container is (docs/migrating.md)."""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import NAME
from tests.kit.canary import session_watch
from tests.kit.certificates import Authority
from tests.kit.client import Client, ask
from tests.kit.container import LOGS, ROOT, UID, Container, Image, build
from tests.kit.origin import Origin
from tests.kit.ports import free_port
from tests.kit.reader import poll
from tests.kit.squid import Squid
from tests.kit.tools import need

MB = 1_000_000


@pytest.fixture(scope="module")
def image() -> Image:
    need("buildah", "mmdebstrap", "runc")
    return build()


def packages(image: Image) -> dict[str, str]:
    (site,) = image.rootfs.glob("opt/awfproxy/lib/python3*/site-packages")
    found = {}
    for each in site.glob("*.dist-info"):
        name, version = each.name.removesuffix(".dist-info").rsplit("-", 1)
        found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


# --- what is in it ----------------------------------------------------------------------------------


def test_what_is_installed_is_what_the_lock_names_and_awfproxy(image: Image) -> None:
    lock = (ROOT / "deploy" / "runtime.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    installed = packages(image)
    assert installed.pop("awfproxy")
    assert installed == pinned


def test_no_compiler_no_pip_no_cache_and_nothing_but_the_packages(image: Image) -> None:
    folders = [image.rootfs / folder for folder in ("usr/bin", "usr/sbin", "opt/awfproxy/bin")]
    programs = {each.name for folder in folders for each in folder.iterdir()}
    unwanted = re.compile(r"(.*-)?(gcc|cc|c\+\+|g\+\+|ld|as|pip3?|git)(-\d+)?")
    assert not [each for each in programs if unwanted.fullmatch(each)]
    assert {"curl", "twistd", "awfproxy", "python3"} <= programs
    for folder in ("var/cache", "var/lib/apt/lists", "root/.cache", "tmp", "wheel", "src", "build"):
        place = image.rootfs / folder
        assert not place.exists() or not list(place.iterdir()), folder


def test_data_path_is_compiled(image: Image) -> None:
    assert list(image.rootfs.glob("opt/awfproxy/lib/python3*/site-packages/awfproxy/proxy/exchange.*.so"))


def test_no_file_gives_privileges_and_any_user_can_read_what_is_run(image: Image) -> None:
    for each in image.rootfs.rglob("*"):
        mode = each.lstat().st_mode
        if stat.S_ISREG(mode):
            assert not mode & (stat.S_ISUID | stat.S_ISGID), each
            if each.is_relative_to(image.rootfs / "opt"):
                assert mode & stat.S_IROTH, each
        if stat.S_ISDIR(mode) and each.is_relative_to(image.rootfs / "opt"):
            assert mode & 0o005 == 0o005, each


def test_settings_of_the_image_hold_no_secret_and_no_user_that_is_root(image: Image) -> None:
    config = image.config
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["twistd", "-n", "--pidfile=", "awfproxy"]
    assert not config.get("Cmd")
    assert list(config["Volumes"]) == [LOGS]
    assert sorted(config["ExposedPorts"]) == [f"{port}/tcp" for port in range(10000, 10005)]
    names = {each.split("=", 1)[0] for each in config["Env"]}
    assert names == {"PATH", "PYTHONDONTWRITEBYTECODE", "AWF_VERSION"}
    assert config["Healthcheck"]["Test"] == ["CMD", "healthcheck"]


def test_it_is_small(image: Image) -> None:
    """Most of it is Debian's: the base, Python, curl."""
    own = [each for each in (image.rootfs / "opt").rglob("*") if not each.is_symlink()]
    assert sum(each.lstat().st_size for each in own) < 60 * MB
    assert image.size < 260 * MB


# --- as the sidecar's container ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_keys(image: Image) -> Iterator[Container]:
    with Container(image, env={"AWFPROXY_PROFILE": "gh-aw"}, alone=True) as container:
        yield container.healthy()


def test_profile_by_one_variable_opens_all_ports_and_is_healthy_with_no_key(without_keys: Container) -> None:
    """The first is the health check that the container is given there, the others are its agents'."""
    for port in range(10000, 10005):
        page = "health" if port == 10000 else "reflect"
        done = without_keys.run("curl", "-f", f"http://localhost:{port}/{page}")
        assert done.returncode == 0, done.stderr
        assert '"providers"' in done.stdout


def test_container_is_within_the_limits_as_a_user_that_it_does_not_know(without_keys: Container) -> None:
    assert without_keys.run("id", "-u").stdout.strip() == str(UID)
    assert str(UID) not in without_keys.run("cat", "/etc/passwd").stdout
    status = without_keys.run("cat", "/proc/1/status").stdout
    said = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))
    assert {said[f"Cap{each}"] for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert said["NoNewPrivs"] == "1"
    assert int(said["Threads"]) <= 100
    assert int(said["VmHWM"].split()[0]) * 1024 < 100 * MB
    assert without_keys.limits() == [str(512 * 1024 * 1024), "100"]
    # Engines give a user whom they do not know the root for a home, and that cannot be written to.
    variables = without_keys.run("cat", "/proc/1/environ").stdout.split("\0")
    assert [each for each in variables if each.startswith("HOME=")] in ([], ["HOME=/"])
    assert "Read-only" in without_keys.run("touch", "/x").stderr


def test_twistd_is_pid_1_and_has_no_children(without_keys: Container) -> None:
    assert "twistd" in without_keys.run("cat", "/proc/1/cmdline").stdout
    assert without_keys.run("cat", "/proc/1/task/1/children").stdout == ""


def test_list_of_plugins_was_written_when_the_image_was_built(without_keys: Container) -> None:
    code = (
        "import sys\nfrom twisted.plugin import getPlugins\n"
        "from twisted.application.service import IServiceMaker\n"
        "assert 'awfproxy' in [each.tapname for each in getPlugins(IServiceMaker)]\n"
        "print([name for name in sys.modules if name.startswith('twisted.plugins.cred')])"
    )
    done = without_keys.run("python", "-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_modules_are_compiled_beforehand(without_keys: Container) -> None:
    done = without_keys.run("python", "-v", "-c", "import awfproxy.settings.load")
    loaded = [line for line in done.stderr.splitlines() if line.startswith("# code object from '/opt")]
    assert len(loaded) > 10
    assert all(".pyc'" in line for line in loaded)


def test_volume_has_its_files_and_term_ends_it_with_0(image: Image) -> None:
    with Container(image, env={"AWFPROXY_PROFILE": "gh-aw"}, alone=True) as container:
        container.healthy()
        poll(lambda: (container.logs / "models.json").exists(), 15)
        assert (container.logs / "models.json").stat().st_uid == UID
        container.kill("TERM")
        assert container.exit_code(10) == 0
        assert all(json.loads(line)["event"] for line in container.output().splitlines())


# --- with a key -------------------------------------------------------------------------------------


def with_key(
    image: Image, authority: Authority, squid: Squid, origin: Origin, key: Path, port: int, **more: str
) -> Container:
    return Container(
        image,
        env={
            "AWFPROXY_EGRESS_PROXY": squid.url,
            "AWFPROXY_PORT": str(port),
            "AWFPROXY_TARGET": f"{NAME}:{origin.port}",
            "AWFPROXY_CA_FILE": "/run/ca.pem",
            "AWFPROXY_KEY_FILE": "/run/secrets/openai_api_key",
            **more,
        },
        files={"/run/ca.pem": authority.file, "/run/secrets/openai_api_key": key},
    )


def test_it_forwards_through_squid_and_a_stop_lets_what_is_under_way_end(
    image: Image, authority: Authority, squid: Squid, own_origin: Origin, canary: str, tmp_path: Path
) -> None:
    key, port = tmp_path / "key", free_port()
    key.write_text(canary)
    key.chmod(0o400)
    os.chown(key, UID, UID)
    with with_key(image, authority, squid, own_origin, key, port) as container:
        container.healthy()
        assert ask(port, "GET", "/v1/kit/length").body == b"12345"
        gate = own_origin.gate("image")
        with Client(port) as client:
            client.send_head("GET", "/v1/kit/drip?events=1&gate=image")
            own_origin.wait_for(b"/v1/kit/drip?events=1&gate=image")
            container.kill("TERM")
            poll(lambda: "Stopping" in container.output(), 10)
            gate.release(10)
            assert client.answer().status == 200
        assert container.exit_code() == 0
        session_watch().add("output of the image", container.output().encode())


def test_health_check_fails_where_one_of_two_providers_is_not_ready(
    image: Image, authority: Authority, squid: Squid, own_origin: Origin, canary: str, tmp_path: Path
) -> None:
    """Nobody listens any more where the second one's origin was."""
    key, port = tmp_path / "key", free_port()
    key.write_text(canary)
    os.chown(key, UID, UID)
    with Origin(authority.leaf(NAME), canary) as gone:
        second = free_port()
    more = {
        "ANTHROPIC_API_KEY": canary,
        "AWFPROXY_ANTHROPIC_TARGET": f"{NAME}:{gone.port}",
        "AWFPROXY_ANTHROPIC_PORT": str(second),
        "AWFPROXY_STARTUP_GRACE": "0.1",
    }
    with with_key(image, authority, squid, own_origin, key, port, **more) as container:
        poll(lambda: "Started" in container.output(), 20)
        assert ask(port, "GET", "/health").status == 200
        assert ask(second, "GET", "/health").status == 503
        assert not container.check_health()


def test_health_check_fails_where_no_request_would_succeed(
    image: Image, authority: Authority, own_origin: Origin, canary: str, tmp_path: Path
) -> None:
    key, port = tmp_path / "key", free_port()
    key.write_text(canary)
    os.chown(key, UID, UID)
    nobody = Squid()  # not started
    try:
        with with_key(image, authority, nobody, own_origin, key, port) as container:
            poll(lambda: "Started" in container.output(), 20)
            assert not container.check_health()
    finally:
        nobody.close()


def test_key_that_is_rejected_is_the_last_line_and_the_exit_code(
    image: Image, authority: Authority, squid: Squid, canary: str, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(canary)
    os.chown(key, UID, UID)
    with (
        Origin(authority.leaf(NAME), "another-key") as origin,
        with_key(image, authority, squid, origin, key, free_port()) as container,
    ):
        assert container.exit_code() == 77
        assert "rejects" in container.output().splitlines()[-1]
