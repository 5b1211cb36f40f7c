"""For the tests of the data path: houses that are pulled down at the end."""

from collections.abc import Callable, Iterator

import pytest

from tests.memory.peers import House


@pytest.fixture
def build(canary: str) -> Iterator[Callable[..., House]]:
    """Makes a `House` that holds the canary key, or another with `key=`."""
    built: list[House] = []

    def make(**options: object) -> House:
        house = House(options.pop("key", canary), **options)
        built.append(house)
        return house

    yield make
    for house in built:
        house.close()


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    return build()
