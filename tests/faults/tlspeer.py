"""`TlsPeer`: the provider's end of TLS, over a scripted peer."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.kit.sockets import Peer


class TlsPeer:
    """The provider's end of TLS over a peer: it reads and writes only when it is told to."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self.peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def _do(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self.peer.some()
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
                continue
            await self._flush()
            return result

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self.peer.send(self._outgoing.read())

    async def handshake(self) -> "TlsPeer":
        await self._do(self._tls.do_handshake)
        return self

    async def some(self) -> bytes:
        """What is there, or once something is; b"" is the end, in order or not."""
        try:
            data = await self._do(lambda: self._tls.read(65536))
        except (ssl.SSLError, ConnectionError):
            return b""
        assert isinstance(data, bytes)
        return data

    async def until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            piece = await self.some()
            if not piece:
                raise EOFError(data)
            data += piece
        return data

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def end(self) -> None:
        """close_notify; reading goes on."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._flush()
