"""The ways in which bytes may arrive: the reading must not depend on them."""


def ways(data: bytes) -> list[list[bytes]]:
    """Whole, in two at several places, and where they are few byte by byte."""
    size = len(data)
    found = [[data]]
    for at in {size // 2, size // 3, size - 1, 1, data.find(b"\n") + 1, data.rfind(b"\r") + 1}:
        if 0 < at < size:
            found.append([data[:at], data[at:]])
    if 2 < size <= 200:
        found.append([data[at : at + 1] for at in range(size)])
    return found
