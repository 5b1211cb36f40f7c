"""The providers' lists of models, as they were fetched at the start: plain state, for the local pages."""

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.define
class ModelLists:
    """One per process. A list is None that has not been fetched or could not be, or that there is not."""

    lists: dict[str, tuple[str, ...] | None] = attrs.field(factory=dict)
    metadata: dict[str, Mapping[str, Any] | None] = attrs.field(factory=dict)
    complete: bool = False
    """Every provider has been asked, whatever came of it."""
