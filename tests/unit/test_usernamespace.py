"""Whom a user namespace has, by its map."""

import pytest

from awfproxy.callers.usernamespace import GID_MAP, UID_MAP, is_whole, missing

WHOLE = "         0          0 4294967295\n"
PRIVATE_USERS = "         0          0          1\n       998        998          1\n"
ROOTLESS = "         0       1000          1\n         1     100000      65536\n"


@pytest.mark.parametrize(
    ("id_map", "ids", "found", "whole"),
    [
        (WHOLE, {0, 1000, 65534, 4294967294}, (), True),
        (PRIVATE_USERS, {0, 998}, (), False),
        (PRIVATE_USERS, {2000, 1, 998, 997, 999}, (1, 997, 999, 2000), False),
        (ROOTLESS, {0, 1, 65536}, (), False),
        (ROOTLESS, {65537, 100000}, (65537, 100000), False),
        ("", {0}, (0,), False),  # a namespace whose map is not written yet
        (WHOLE, set(), (), True),
        ("0 0 2147483648\n2147483648 2147483648 2147483647\n", {4294967294}, (), True),
    ],
)
def test_those_who_are_not_in_the_map_are_missing(
    id_map: str, ids: set[int], found: tuple[int, ...], whole: bool
) -> None:
    """The numbers are those inside: what the namespace calls them, not what the machine does."""
    assert missing(id_map, ids) == found
    assert is_whole(id_map) is whole


@pytest.mark.parametrize("text", ["0 0", "a b c", "0 0 1 2", "\n"])
def test_what_is_no_map_is_not_guessed_at(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        missing(text, {1})


@pytest.mark.parametrize("path", [UID_MAP, GID_MAP])
def test_kernel_writes_them_so(path: str) -> None:
    with open(path) as file:
        assert isinstance(is_whole(file.read()), bool)
