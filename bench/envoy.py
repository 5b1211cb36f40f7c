"""Envoy configured for awfproxy's job: remove credentials, inject the key, CONNECT by name, verified TLS.

Whatever is a choice is chosen in Envoy's favour: no access log unless one is asked for, no admin page, no
statistics sinks, no limit that this load would meet, the proxy address set once for each connection and not
for each request.
"""

from pathlib import Path
from typing import Any

_TYPE = "type.googleapis.com/envoy.extensions."
_REMOVED = (
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "proxy-authorization",
    "cookie",
    "chatgpt-account-id",
    "openai-organization",
    "openai-project",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
    "via",
)
_LIMITS = ("max_connections", "max_pending_requests", "max_requests")


def configuration(
    port: int,
    squid_port: int,
    host: str,
    origin_port: int,
    ca: Path,
    key: str,
    *,
    access_log: Path | None = None,
) -> dict[str, Any]:
    proxy_state = {
        "object_key": "envoy.network.transport_socket.http_11_proxy.info",
        "format_string": {
            "text_format_source": {"inline_string": f"{host}:{origin_port},127.0.0.1:{squid_port}"}
        },
    }
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "openai", "timeout": "0s", "host_rewrite_literal": f"{host}:{origin_port}"},
        "request_headers_to_remove": list(_REMOVED),
        "request_headers_to_add": [
            {
                "header": {"key": "authorization", "value": f"Bearer {key}"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }
    manager = {
        "@type": _TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "stream_idle_timeout": "900s",
        "server_header_transformation": "PASS_THROUGH",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "access_log": [] if access_log is None else [_file_log(access_log)],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": _TYPE + "filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    listener = {
        "name": "in",
        "address": _address(port),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.set_filter_state",
                        "typed_config": {
                            "@type": _TYPE + "filters.network.set_filter_state.v3.Config",
                            "on_new_connection": [proxy_state],
                        },
                    },
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
                ]
            }
        ],
    }
    tls = {
        "@type": _TYPE + "transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": host,
        "common_tls_context": {
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["http/1.1"],
            "validation_context": {
                "trusted_ca": {"filename": str(ca)},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}],
            },
        },
    }
    # The endpoint's own address is never dialled: the transport socket goes to the proxy instead.
    endpoint = {"endpoint": {"hostname": host, "address": _address(squid_port)}}
    cluster = {
        "name": "openai",
        "type": "STATIC",
        "connect_timeout": "10s",
        "circuit_breakers": {"thresholds": [dict.fromkeys(_LIMITS, 1 << 16)]},
        "load_assignment": {"cluster_name": "openai", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": {
            "name": "envoy.transport_sockets.http_11_proxy",
            "typed_config": {
                "@type": _TYPE + "transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport",
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
            },
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _file_log(path: Path) -> dict[str, Any]:
    """In Envoy's default format."""
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {"@type": _TYPE + "access_loggers.file.v3.FileAccessLog", "path": str(path)},
    }
