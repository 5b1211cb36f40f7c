"""The part of the origin that nginx can't be: slow event streams, and a sink that counts an upload.

Plain HTTP on loopback; nginx stands before it and does the TLS. Run as a script: `origin.py PORT`.
"""

import asyncio
import json
import sys

_CHUNK = 1 << 20


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if line)
    return lines[0].split()[1], {name.lower(): value for name, value in fields.items()}


async def _events(writer: asyncio.StreamWriter, count: int, interval: float) -> None:
    """One chunk per event, as a model sends them; the answer says itself how many there should be."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(count):
        data = {"type": "response.output_text.delta", "delta": "x" * 100, "sequence_number": number}
        event = b"event: response.output_text.delta\ndata: " + json.dumps(data).encode() + b"\n\n"
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(interval)
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    await writer.drain()


async def _sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    left = length
    while left:
        data = await reader.read(min(left, _CHUNK))
        if not data:
            return
        left -= len(data)
    body = json.dumps({"bytes": length}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        path, fields = await _head(reader)
        length = int(fields.get("content-length", 0))
        if path.startswith("/v1/files"):
            await _sink(reader, writer, length)
        else:
            wanted = json.loads(await reader.readexactly(length))
            await _events(writer, wanted["events"], wanted["interval"])
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the peer left: the load generator counts what is missing
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", port, limit=_CHUNK, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
