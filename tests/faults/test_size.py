"""A million trials in less than 600 MB, modules of 60 MB among them."""

import subprocess
import sys

import pytest

from faults.launcher import ROOT

READ = """
import sys
from countermeasure.trials import protocol, score_files
if sys.argv[1] == "protocol":
    n = len(protocol.read_protocol(sys.argv[2]))
else:
    n = len(score_files.read_cm_scores(sys.argv[2]).scores)
# Not ru_maxrss, which starts from what the parent had when it forked.
with open("/proc/self/status") as status:
    print(n, next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the largest memory of a process is read from /proc")
@pytest.mark.parametrize("kind", ["protocol", "scores"])
def test_a_million_trials(tmp_path, kind, is_long):
    n, score = 1_000_000 if is_long else 100_000, " -3.25" if kind == "scores" else ""
    path = tmp_path / "long.txt"
    with open(path, "w") as f:
        for i in range(n):
            label = "A07 spoof" if i % 10 else "- bonafide"
            f.write(f"LA_{i % 100:04d} LA_E_{i:08d} - {label}{score}\n")
    done = subprocess.run(
        [sys.executable, "-c", READ, kind, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found, memory = map(int, done.stdout.split())
    assert found == n
    assert memory * 1024 < (600e6 if is_long else 200e6)  # bytes
