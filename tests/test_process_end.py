"""What runs at the end of a process, in processes of their own."""

import os
from collections.abc import Callable

import pytest

PRELUDE = """
import os, sys
from exporter_core.process_end import ProcessEnd

parent = os.getpid()

def say(word):
    line = f"{'parent' if os.getpid() == parent else 'child'} {word}"
    os.write(1, f"{line}\\n".encode())

end = ProcessEnd(lambda: say("ends"))
"""

OPTIONS = ("-W", "ignore::DeprecationWarning")  # from Python 3.12 on: a process with threads forks
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


@pytest.fixture
def run(run_python: Callable[..., str]) -> Callable[[str], list[str]]:
    return lambda code: run_python(PRELUDE + code, options=OPTIONS).splitlines()


def test_a_process_calls_it_at_the_interpreters_exit(run):
    assert run("") == ["parent ends"]


def test_a_forked_child_calls_it_at_its_own_exit(run):
    assert run("""
if os.fork():
    os.wait()
""") == ["child ends", "parent ends"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_calls_it(method, run_python, tmp_path):
    (tmp_path / "module_of_child.py").write_text(PRELUDE.replace("parent = os.getpid()", "parent = os.getppid()"))
    out = run_python(
        f"""
import multiprocessing, sys
sys.path.insert(0, {str(tmp_path)!r})

if __name__ == "__main__":
    if {method!r} == "fork":
        import module_of_child
    child = multiprocessing.get_context({method!r}).Process(target=__import__, args=("module_of_child",))
    child.start()
    child.join()
    if {method!r} == "fork":
        module_of_child.end.undo()
""",
        options=OPTIONS,
    )
    assert set(out.splitlines()) == {"child ends"}


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_child_of_multiprocessing_calls_what_its_main_module_registered(method, run_python, tmp_path):
    """A child imports the main module before multiprocessing clears the finalizers that it has by then."""
    main = tmp_path / "main.py"
    main.write_text(f"""
import multiprocessing, os
from exporter_core.process_end import ProcessEnd

end = ProcessEnd(lambda: os.write(1, b"child ends\\n"))

if __name__ == "__main__":
    end.undo()
    child = multiprocessing.get_context({method!r}).Process(target=abs, args=(1,))
    child.start()
    child.join()
""")
    out = run_python(f"import runpy; runpy.run_path({str(main)!r}, run_name='__main__')", options=OPTIONS)
    assert set(out.splitlines()) == {"child ends"}


def test_a_pool_that_was_imported_later_calls_it_in_each_worker(run):
    out = run("""
import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(abs, range(4))
    pool.close()
    pool.join()
""")
    assert set(out) == {"child ends", "parent ends"}
    assert out.count("child ends") >= 2


def test_a_celery_worker_calls_it_by_the_signal_that_it_sends(run):
    assert run("""
from celery.signals import worker_process_shutdown
if os.fork() == 0:
    worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
    os._exit(0)
os.wait()
""") == ["child ends", "parent ends"]


def test_what_was_undone_is_not_called_in_any_process(run):
    assert run("""
import multiprocessing
end.undo()
child = multiprocessing.get_context("fork").Process(target=abs, args=(1,))
child.start()
child.join()
say("done")
""") == ["parent done"]


def test_what_was_undone_is_no_longer_connected_to_celerys_signal(run):
    assert run("""
from celery.signals import worker_process_shutdown
one = ProcessEnd(lambda: None)
if os.fork() == 0:
    before = len(worker_process_shutdown.receivers)
    one.undo()
    say(f"{before} {len(worker_process_shutdown.receivers)}")
    os._exit(0)
os.wait()
""") == ["child 2 1", "parent ends"]
