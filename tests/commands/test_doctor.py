"""`doctor`: what it shows of an installation, and what it keeps to itself."""

from __future__ import annotations

import pytest
from conftest import Cli


def test_doctor_shows_versions_devices_caches_and_the_hub(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    answer = cli("doctor")
    assert answer.code == 0
    for word in ("torch", "transformers", "pytrec-eval-terrier", "devices", "cache", "hub", "HF_TOKEN: set"):
        assert word in answer.out
    assert "hf_secret" not in answer.out + answer.err
