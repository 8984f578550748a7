"""Cores are counted as the container allows."""

from pathlib import Path

import pytest

from common import cores
from common.cores import usable_cores


@pytest.mark.parametrize(("quota", "most"), [("100000 100000\n", 1), ("50000 100000\n", 1), ("max 100000\n", 10**6)])
def test_no_more_cores_are_used_than_the_container_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, most: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cores, "_CGROUP_QUOTA", tmp_path / "cpu.max")
    assert 1 <= usable_cores() <= most
