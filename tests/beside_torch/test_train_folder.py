"""The program for a folder of pictures as it stands, with onnxruntime."""

from pathlib import Path

import pytest

from folder_program import comes_to_the_same_bits

pytestmark = pytest.mark.host


def test_a_folder_of_pictures_is_trained_killed_gone_on_with_and_run(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    told = comes_to_the_same_bits(tmp_path, "import onnxruntime")
    assert told.endswith("the ONNX file agrees: True\n")
