"""The first program in a sandbox: raises loopback, hands its doors out to `Sandbox`, becomes the client.

A socket belongs to the network namespace in which it was made, whichever process accepts on it later. Run as
`inside.py CONTROL PORTS COMMAND...`; it imports nothing of the kit, since nothing of the kit is in its path.
"""

import fcntl
import os
import socket
import struct
import sys

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def raise_loopback() -> None:
    with socket.socket() as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", answer)[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def main() -> None:
    control, ports, *command = sys.argv[1:]
    raise_loopback()
    doors = [socket.create_server(("127.0.0.1", int(port)), backlog=128) for port in ports.split(",")]
    namespace = os.stat("/proc/self/ns/net").st_ino
    with socket.socket(fileno=int(control)) as out:
        socket.send_fds(out, [b"%d" % namespace], [door.fileno() for door in doors])
    os.execvp(command[0], command)


main()
