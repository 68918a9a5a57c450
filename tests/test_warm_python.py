"""Programs forked from a warm interpreter run and end as those of a fresh one."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("warm_python")

SHOWS_ITSELF = """
import atexit, os, sys, threading
def late():
    threading.main_thread().join()
    print("thread")
atexit.register(print, "exit")
threading.Thread(target=late).start()
print(sys.argv, os.getcwd(), os.environ.get("MADE_UP"), sys.stdin.read(), __name__, len(os.listdir("/proc/self/fd")))
print("told", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
ENDS = {
    "returns": "print('before')",
    "raises": "def fail():\n    1 / 0\n\nfail()",
    "says why it exits": "raise SystemExit('because')",
    "is interrupted": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "aborts": "import os\nos.abort()",
}


def both(*command, **options):
    """What a fresh interpreter makes of it, which other options make sure of, and what a forked one does."""
    fresh = [sys.executable, "-B", *command], [sys.executable, *command]
    return [subprocess.run(one, capture_output=True, text=True, timeout=60, check=False, **options) for one in fresh]


def test_it_is_this_interpreter_with_the_libraries_and_nothing_of_ours():
    program = "import sys; print('pydantic' in sys.modules, 'exporter_core' in sys.modules)"
    fresh, forked = both("-c", program)
    assert (fresh.stdout, forked.stdout) == ("False False\n", "True False\n")


def test_it_has_arguments_folder_environment_files_and_an_end_of_its_own(tmp_path):
    fresh, forked = both("-c", SHOWS_ITSELF, "7", cwd=tmp_path, env={"MADE_UP": "yes"}, input="given")
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)
    assert (forked.returncode, forked.stdout.splitlines()[-2:], forked.stderr) == (7, ["thread", "exit"], "told\n")


@pytest.mark.parametrize("program", ENDS.values(), ids=ENDS)
def test_it_ends_as_a_fresh_one_does(program, tmp_path):
    file = tmp_path / "program.py"
    file.write_text(program)
    for command in (["-c", program], [str(file)]):
        fresh, forked = both(*command)
        assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


def test_a_module_is_run_with_its_path_first(tmp_path):
    (tmp_path / "made_up.py").write_text("import sys\nprint(__name__, __file__, sys.argv)")
    fresh, forked = both("-m", "made_up", "argument", cwd=tmp_path)
    assert (forked.stdout, forked.stderr) == (fresh.stdout, fresh.stderr)
    assert "__main__" in forked.stdout


def test_it_can_be_waited_for_told_and_signalled():
    program = "import sys; print('here', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
