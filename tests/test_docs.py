"""What the documents say can be run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deltaring
from deltaring.recording import Recording
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_the_agent_example_hears_the_whole_reply(
    example: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    exec(blocks(ROOT / "README.md", "python")[0], names)
    agent, heard, out = names["Agent"]([].append), 0, np.empty((24_000, 1), np.int16)
    for record in Recording(example):
        if record.source == "server":
            agent.receive(record.frame, record.time)
            agent.callback(out, len(out), None, None)
            heard += np.count_nonzero(out)
    assert heard == 100_204  # of 129,233 samples; the others are silence themselves
    assert "It is foggy in London" in capsys.readouterr().out


def test_the_readme_has_exactly_two_shell_commands() -> None:
    assert len(blocks(ROOT / "README.md", "sh")) == 2


def test_every_type_is_in_the_readmes_table() -> None:
    text = (ROOT / "README.md").read_text()
    for type in deltaring.EVENT_CLASSES:
        stem, _, end = type.rpartition(".")
        assert type in text or stem in text or f".{end}" in text, type


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_version_is_the_same_everywhere() -> None:
    assert f'version = "{deltaring.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {deltaring.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_no_document_names_this_machine() -> None:
    for page in [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]:
        assert not re.search(r"(/home/|/root/|/tmp/|C:\\)", page.read_text()), page.name
