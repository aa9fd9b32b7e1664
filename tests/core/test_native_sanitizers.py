"""The library's passes under the sanitizers of the compiler: bounds of arrays, undefined behaviour, and threads."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "jaxrnn" / "core" / "kernels" / "native" / "source"
DRIVER = Path(__file__).with_name("native_driver.cc")
OPTIONS = ["-std=c++17", "-O1", "-g", "-ffp-contract=fast", "-Wno-psabi", "-pthread", "-fno-sanitize-recover=all"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("flags", [[], ["-march=native"]], ids=["portable", "this_processor"])
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_no_sanitizer_complains(sanitizers, flags, tmp_path):
    program = tmp_path / "driver"
    sources = [str(DRIVER), str(SOURCE / "kernel.cc")]
    command = ["g++", *OPTIONS, *flags, f"-fsanitize={sanitizers}", f"-I{SOURCE}", *sources, "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
