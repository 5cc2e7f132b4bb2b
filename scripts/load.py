"""A sweep of ten thousand tiny runs on two workers, killed five times: what it costs, what is lost.

    python scripts/load.py [RUNS] [FOLDER]

Prints how long planning takes, what the parent holds in memory, how long `status` takes, and
whether any run was lost, doubled or changed: twenty runs drawn are trained again, alone.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TINY = (
    "debug=tiny task=adding cell=gru model.hidden=2 train.steps=2 train.eval_every=2 train.batch=2 "
    "task.length=5 task.valid_size=2 task.test_size=2 workers=2 study=load"
)
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT)
RATES = 4  # learning rates; the rest of the runs are seeds


def main(runs: int, folder: Path) -> None:
    words = [
        "train",
        "-m",
        *TINY.split(),
        f"seed=range({runs // RATES})",
        "optim.lr=" + ",".join(str(0.001 * (k + 1)) for k in range(RATES)),
        f"paths.results={folder}",
    ]
    began = time.monotonic()
    rnnbench(*words, "--plan")
    print(f"planned: {time.monotonic() - began:.1f} s", flush=True)
    rng, most = random.Random(0), 0
    study = folder / "load"
    for number in KILLS:
        sweep = started(words)
        ended, until = records(study), rng.uniform(0.05, 0.15) * runs
        while sweep.poll() is None and records(study) < ended + until:
            most = max(most, peak(sweep.pid))
            time.sleep(1)
        sweep.send_signal(number)
        code = sweep.wait()
        print(f"{number.name}: exit {code}, {records(study)} of {runs} runs have ended", flush=True)
    sweep = started(words)
    while sweep.poll() is None:
        most = max(most, peak(sweep.pid))
        time.sleep(1)
    print(f"the last sweep: exit {sweep.returncode}; the parent held {most / 1024:.0f} MB at most")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    said = rnnbench("status", str(study))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime
    print(f"status: {time.monotonic() - began:.1f} s, {used:.1f} s of them computed\n{said}")
    judge(study, words, folder, rng, runs)


def judge(study: Path, words: list[str], folder: Path, rng: random.Random, runs: int) -> None:
    """Print what is lost, left over, or other than a run alone."""
    found = sorted(study.glob("*/*/*/record.json"))
    kept = [json.loads(path.read_text()) for path in found]
    done = sum(record["status"] in ("finished", "stopped") for record in kept)
    settings = {json.dumps(r["settings"] | {"paths": 0}, sort_keys=True) for r in kept}
    left = [path.name for path in (study / ".sweeps").iterdir() if path.suffix != ".json"]
    torn = [path for path in study.rglob(".*") if path.is_file()]
    print(f"{done} of {runs} runs done, {len(settings)} different; left over: {left + torn}")
    changed = 0
    for record in rng.sample(kept, 20):
        alone = f"{folder}-alone"
        typed = [
            word
            for word in words[2:]
            if not word.startswith(("seed=", "optim.lr=", "paths", "workers"))
        ]
        lr = record["settings"]["optim"]["lr"]
        rnnbench(
            "train", *typed, f"seed={record['seed']}", f"optim.lr={lr}", f"paths.results={alone}"
        )
        (path,) = Path(alone).glob("*/*/*/*/record.json")
        other = json.loads(path.read_text())
        changed += any(other[key] != record[key] for key in ("id", "best", "final", "steps"))
        shutil.rmtree(alone)
    print(f"{changed} of 20 runs drawn differ from the same run alone")


def records(study: Path) -> int:
    return sum(1 for _ in study.glob("*/*/*/record.json"))


def started(words: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "rnnbench.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def rnnbench(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rnnbench.cli", *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def peak(process: int) -> int:
    """The most memory that a process has held, in kB; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp()) / "results"
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, place)
