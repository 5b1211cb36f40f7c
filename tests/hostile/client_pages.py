"""Web pages: what a browser sends for a page of somebody else's, and for those that may call."""

from tests.hostile.client_case import GET, HOST, KEPT, POST, SMUGGLED, Case
from tests.hostile.client_fields import HANDSHAKE

FOREIGN = "403 foreign_origin"
_FETCH = "Fetch 3.2, W3C Fetch Metadata 2.3; CWE-352"
_REBIND = "DNS rebinding, CWE-350"
_SOCKET = "RFC 6455 10.2; cross-site WebSocket hijacking, CWE-1385"
_OWN = b"POST /v1/MARK HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n"


def _foreign(name: str, source: str, sent: bytes) -> Case:
    return Case("page of another origin", name, source, sent + b"\r\n\r\n" + SMUGGLED, FOREIGN)


def _allowed(name: str, source: str, sent: bytes, method: str = "POST") -> Case:
    return Case("page that may call", name, source, sent + b"\r\n\r\n", "200", f"{method} /v1/MARK", KEPT)


ROWS = (
    _foreign("POST", _FETCH, POST + b"Origin: https://evil.test\r\nContent-Type: text/plain"),
    _foreign("sandboxed, null", _FETCH, POST + b"Origin: null"),
    _foreign("an extension's", _FETCH, POST + b"Origin: chrome-extension://abcdefghijklmnop"),
    _foreign("VS Code's webview", _FETCH, POST + b"Origin: vscode-webview://0f1e2d3c"),
    _foreign("the provider's own", _FETCH, POST + b"Origin: https://api.openai.com"),
    _foreign("another port of localhost", _FETCH, POST + b"Origin: http://localhost:3001"),
    _foreign("allowed one with another scheme", _FETCH, POST + b"Origin: https://localhost:3000"),
    _foreign("allowed one beside another", _FETCH,
             POST + b"Origin: http://localhost:3000\r\nOrigin: https://evil.test"),
    _foreign("rebound name", _REBIND,
             b"POST /v1/MARK HTTP/1.1\r\nHost: evil.test:{PORT}\r\nOrigin: http://evil.test:{PORT}"),
    _foreign("rebound name like an address", _REBIND,
             b"POST /v1/MARK HTTP/1.1\r\nHost: 127.0.0.1.evil.test\r\nOrigin: http://127.0.0.1.evil.test"),
    _foreign("own, but for the site", _FETCH,
             _OWN + b"Origin: http://127.0.0.1:{PORT}\r\nSec-Fetch-Site: cross-site"),
    _foreign("cross-site image", _FETCH, GET + b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors"),
    _foreign("cross-site navigation", _FETCH,
             GET + b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate"),
    _foreign("same-site", _FETCH, GET + b"Sec-Fetch-Site: same-site"),
    _foreign("site that is none", _FETCH, GET + b"Sec-Fetch-Site: anything"),
    _foreign("preflight", _FETCH, b"OPTIONS /v1/MARK HTTP/1.1\r\n" + HOST
             + b"Origin: https://evil.test\r\nAccess-Control-Request-Method: POST\r\n"
             b"Access-Control-Request-Private-Network: true"),
    _foreign("/health", _FETCH, b"GET /health HTTP/1.1\r\n" + HOST + b"Origin: https://evil.test"),
    _foreign("/reflect", _FETCH, b"GET /reflect HTTP/1.1\r\n" + HOST + b"Sec-Fetch-Site: cross-site"),
    _foreign("WebSocket", _SOCKET,
             b"GET /v1/kit/ws?MARK HTTP/1.1\r\n" + HOST + HANDSHAKE + b"Origin: https://evil.test"),
    _foreign("WebSocket, null", _SOCKET,
             b"GET /v1/kit/ws?MARK HTTP/1.1\r\n" + HOST + HANDSHAKE + b"Origin: null"),
    _foreign("WebSocket of a rebound name", _SOCKET + "; " + _REBIND,
             b"GET /v1/kit/ws?MARK HTTP/1.1\r\nHost: evil.test:{PORT}\r\n" + HANDSHAKE
             + b"Origin: http://evil.test:{PORT}"),
    _allowed("allowed by the operator", _FETCH,
             POST + b"Origin: http://localhost:3000\r\nSec-Fetch-Site: cross-site"),
    _allowed("preflight of an allowed one", _FETCH, b"OPTIONS /v1/MARK HTTP/1.1\r\n" + HOST
             + b"Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST", "OPTIONS"),
    _allowed("the very address", _FETCH, _OWN + b"Origin: http://127.0.0.1:{PORT}"),
    _allowed("the very address, same-origin", _FETCH,
             _OWN + b"Origin: http://127.0.0.1:{PORT}\r\nSec-Fetch-Site: same-origin"),
    _allowed("localhost", _FETCH,
             _OWN.replace(b"127.0.0.1", b"localhost") + b"Origin: http://localhost:{PORT}"),
    _allowed("asked for by hand", _FETCH, GET + b"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate", "GET"),
    _allowed("no page: Node's fetch", "Fetch Metadata; Node 20 does so",
             POST + b"sec-fetch-mode: cors\r\naccept-language: *"),
    Case("page that may call", "a WebSocket library's Origin", "RFC 6455 10.2; websocket-client does so",
         GET.replace(b"Host: a",
                     b"Host: 127.0.0.1:{PORT}") + HANDSHAKE + b"Origin: http://127.0.0.1:{PORT}\r\n\r\n",
         "200", "GET /v1/MARK"),
)  # fmt: skip
