"""LiteLLM's proxy, configured for as much of awfproxy's job as it does: its own key, through Squid."""

import json
from contextlib import AbstractContextManager

from bench.candidates import PLACEHOLDERS, answered
from bench.processes import Peer, free_port, started
from bench.surroundings import HOST, Surroundings
from bench.wrk import BODY, COMPLETIONS

NAME = "litellm"


def start(program: str, around: Surroundings) -> AbstractContextManager[Peer]:
    port = free_port()
    parameters = {
        "model": "openai/gpt-5",
        "api_base": f"https://{HOST}:{around.small_port}/v1",
        "api_key": around.key,
    }
    config = {
        "model_list": [{"model_name": "gpt-5", "litellm_params": parameters}],
        "litellm_settings": {"telemetry": False},
        # It asks nothing of its clients, as the other candidates.
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    path = around.directory / "litellm.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    command = [program, "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1"]
    proxy = f"http://127.0.0.1:{around.squid_port}"
    variables = {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "SSL_CERT_FILE": str(around.ca),
        "AIOHTTP_TRUST_ENV": "True",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks for one on the internet
        "LITELLM_LOG": "ERROR",
    }
    return started(NAME, command, port, around.directory, _answers, variables)


def _answers(port: int) -> bool:
    return answered(
        port,
        lambda connection: connection.request("POST", COMPLETIONS, body=BODY, headers=PLACEHOLDERS),
    )
