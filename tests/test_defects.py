"""The list of planted defects is true to the source; `python -m tests.defects` plants them."""

from collections import Counter

import pytest

from tests.defects.catalogue import DEFECTS
from tests.defects.defect import ROOT, Defect


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_has_its_place_in_the_source(defect: Defect) -> None:
    text = (ROOT / "src" / defect.file).read_text()
    assert defect.applied(text) != text


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_has_tests(defect: Defect) -> None:
    for test in defect.tests.split():
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / "tests" / file).read_text()


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(it.name for it in DEFECTS).items() if count > 1] == []


def test_a_place_that_is_not_there_once_is_an_error() -> None:
    defect = DEFECTS[0]
    for text in ("", 2 * (ROOT / "src" / defect.file).read_text()):
        with pytest.raises(ValueError, match="not there once"):
            defect.applied(text)
