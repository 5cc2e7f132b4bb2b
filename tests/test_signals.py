"""What asks a command to stop is heard from its first moment, and says so."""

import signal
import subprocess
import sys
import threading

import pytest

from rnnbench.signals import STOPPING, listen, restore

# the handlers stand before anything heavy is read; the test does not depend on how long that takes
WAITING = """
import sys, time
from rnnbench import compose
from rnnbench.cli import main
def wait(*_, **__):
    print("going", flush=True)
    time.sleep(60)
compose.run = wait
sys.exit(main(["train"]))
"""


@pytest.mark.parametrize("number", STOPPING)
def test_a_command_that_has_just_begun_says_that_it_was_interrupted(number):
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, text=True, stdout=-1, stderr=-1) as process:
        assert process.stdout.readline() == "going\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "rnnbench: interrupted\n"


SWALLOWING = """
import sys, time
from rnnbench import compose
from rnnbench.cli import main
from rnnbench.console import RunView
def load(*_, **__):
    try:
        print("going", flush=True)
        time.sleep(60)
    except BaseException:
        pass
    with RunView():
        print("training", flush=True)
compose.run = load
sys.exit(main(["train"]))
"""


def test_what_a_library_swallows_while_it_loads_stops_the_command_before_it_trains():
    command = [sys.executable, "-c", SWALLOWING]
    with subprocess.Popen(command, text=True, stdout=-1, stderr=-1) as process:
        assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGHUP)
        written, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (written, said) == ("", "rnnbench: interrupted\n")


def test_the_end_of_a_terminal_stays_without_meaning_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        replaced = listen(lambda *_: None)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert set(replaced) == {signal.SIGINT, signal.SIGTERM}
        restore(replaced)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_leave_signals_alone():
    found = []
    thread = threading.Thread(target=lambda: found.append(listen(lambda *_: None)))
    thread.start()
    thread.join()
    assert found == [{}]
