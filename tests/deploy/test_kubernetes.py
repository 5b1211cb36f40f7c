"""deploy/kubernetes: valid, and what it claims can be read off it."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.kit.container import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
Resource = dict[str, Any]


def resources(kind: str) -> dict[str, Resource]:
    every = (each for file in FILES for each in yaml.safe_load_all(file.read_text()))
    return {each["metadata"]["name"]: each for each in every if each["kind"] == kind}


POD = resources("Pod")["agent"]["spec"]
NODE = resources("DaemonSet")["awfproxy"]["spec"]["template"]["spec"]
POLICIES = resources("NetworkPolicy")
PODS = {"sidecar": POD, "node": NODE}


def containers(pod: Resource) -> Iterator[Resource]:
    yield from [*pod.get("initContainers", ()), *pod["containers"]]


def awfproxy_of(pod: Resource) -> Resource:
    return next(each for each in containers(pod) if each["name"] == "awfproxy")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_is_valid(file: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout + done.stderr


@pytest.mark.parametrize("name", PODS)
def test_pods_are_restricted(name: str) -> None:
    """As the Pod Security Standards' level `restricted` asks, and more."""
    pod = PODS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(pod)
    assert all({"secret", "emptyDir"} & set(volume) for volume in pod["volumes"])
    for each in containers(pod):
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert each["resources"]["limits"]["memory"]
        assert each["resources"]["requests"]["memory"]


@pytest.mark.parametrize("name", PODS)
def test_keys_are_files_that_awfproxy_alone_gets(name: str) -> None:
    pod = PODS[name]
    (volume,) = [each for each in pod["volumes"] if "secret" in each]
    assert volume["secret"]["defaultMode"] == 0o440
    having = [each["name"] for each in containers(pod) for mount in each.get("volumeMounts", ())
              if mount["name"] == volume["name"]]  # fmt: skip
    assert having == ["awfproxy"]
    for each in containers(pod):
        assert not any("valueFrom" in variable for variable in each["env"])
        assert "envFrom" not in each


@pytest.mark.parametrize("name", PODS)
def test_probes_ask_healthz_for_life_and_readyz_for_readiness(name: str) -> None:
    container = awfproxy_of(PODS[name])
    pages = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, page in pages.items():
        assert page in str(container[probe]), probe


@pytest.mark.parametrize("name", PODS)
def test_pod_may_take_longer_to_end_than_the_drain(name: str) -> None:
    assert PODS[name]["terminationGracePeriodSeconds"] >= 30


def test_sidecar_is_on_loopback_starts_before_the_agent_and_is_probed_from_inside() -> None:
    sidecar = awfproxy_of(POD)
    assert sidecar in POD["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert "AWFPROXY_BIND" not in {each["name"] for each in sidecar["env"]}
    assert "exec" in sidecar["readinessProbe"]


def test_new_version_on_a_node_is_ready_before_the_old_one_ends() -> None:
    update = resources("DaemonSet")["awfproxy"]["spec"]["updateStrategy"]["rollingUpdate"]
    assert update == {"maxSurge": 1, "maxUnavailable": 0}
    assert resources("Service")["awfproxy"]["spec"]["internalTrafficPolicy"] == "Local"


# --- who reaches whom -------------------------------------------------------------------------------


def peers(policy: str, direction: str) -> list[tuple[str, list[int]]]:
    """Each rule's pods, as their labels are written, and its ports."""
    key = {"Ingress": "from", "Egress": "to"}[direction]
    spec = POLICIES[policy]["spec"]
    assert direction in spec["policyTypes"]
    found = []
    for rule in spec.get(direction.lower(), ()):
        (peer,) = rule[key]
        selector = peer["podSelector"]
        labels = selector.get("matchLabels") or {
            each["key"]: "|".join(each["values"]) for each in selector["matchExpressions"]
        }
        found.append((" ".join(labels.values()), sorted({port["port"] for port in rule["ports"]})))
    return found


def test_agents_reach_awfproxy_alone_no_name_server_and_nobody_reaches_them() -> None:
    """The cluster's name servers pass questions on, and a question can carry data."""
    assert peers("agents", "Egress") == [("server", [10000])]
    assert peers("agents", "Ingress") == []


def test_awfproxy_is_reached_by_agents_and_reaches_squid_and_name_servers() -> None:
    assert peers("awfproxy", "Ingress") == [("client", [10000])]
    assert peers("awfproxy", "Egress") == [("squid", [3128]), ("kube-dns", [53])]


def test_agent_with_a_sidecar_is_reached_by_nobody_and_reaches_squid_and_name_servers() -> None:
    assert peers("agents-with-sidecar", "Egress") == [("squid", [3128]), ("kube-dns", [53])]
    assert peers("agents-with-sidecar", "Ingress") == []


def test_squid_is_reached_by_awfproxy_alone() -> None:
    assert peers("squid", "Ingress") == [("server|sidecar", [3128])]


def test_labels_that_the_policies_select_are_those_of_the_pods() -> None:
    server = resources("DaemonSet")["awfproxy"]["spec"]["template"]["metadata"]["labels"]
    assert POLICIES["awfproxy"]["spec"]["podSelector"]["matchLabels"].items() <= server.items()
    agent = resources("Pod")["agent"]["metadata"]["labels"]
    assert POLICIES["agents-with-sidecar"]["spec"]["podSelector"]["matchLabels"].items() <= agent.items()
