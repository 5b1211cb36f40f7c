"""`python -m bench.origin PORT DIRECTORY`: DIRECTORY has leaf.pem, leaf.key and key, the one to accept."""

import ssl
import sys
from pathlib import Path

from bench.origin.request import Request
from bench.origin.server import Server


def main(port: int, directory: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(directory / "leaf.pem", directory / "leaf.key")
    key = (directory / "key").read_text().encode()
    Server(port, context, lambda link: Request(link, key)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
