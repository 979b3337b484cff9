"""Running services to walk through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.service import made_by_make_run
from tests.e2e.shop import Shop

FLOWER_LOGIN = "operator:flowers"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop on what `make run` starts; shared, so each test places orders of its own."""
    folder = tmp_path_factory.mktemp("run")
    with made_by_make_run(folder, FLOWER_BASIC_AUTH=FLOWER_LOGIN) as service:
        yield Shop(service)
