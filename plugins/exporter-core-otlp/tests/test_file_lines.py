"""Whole lines in a file that several processes append to and rotate."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from exporter_core_otlp import lines as lines_module
from exporter_core_otlp.lines import LineFile
from hypothesis import given, settings, strategies as st

from exporter_core import Context, ContextCancelledError, DeadlineExceededError, ExporterError

pytestmark = pytest.mark.usefixtures("warm_python")

BEGINS = b'{"n":'


def make(path, *, max_bytes=None, max_old_files=5, fsync=False):
    return LineFile(path, begins=BEGINS, max_bytes=max_bytes, max_old_files=max_old_files, fsync=fsync)


def line(number, size=0):
    return b'{"n":%d,"x":"%s"}\n' % (number, b"x" * size)


def oldest_first(path):
    """The rotated files and the file, and nothing else that lies beside them."""
    old = sorted(
        (other for other in path.parent.iterdir() if other.name.startswith(f"{path.name}.")),
        key=lambda other: -int(other.suffix[1:]),
    )
    return [*old, *([path] if path.exists() else [])]


@pytest.fixture
def context():
    return Context.with_timeout(60)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def open_below(folder):
    """What this process has open there; other threads, and garbage of other tests, open and close what is elsewhere."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            found.append(descriptor.readlink())
    return [path for path in found if path.is_relative_to(folder)]


@contextlib.contextmanager
def locked(path):
    """Somebody else has the lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def test_lines_are_appended_in_order(path, context):
    path.write_bytes(line(0))
    file = make(path)
    for number in (1, 2):
        file.append(context, line(number))
    assert path.read_bytes() == line(0) + line(1) + line(2)


def test_nothing_stays_open(path, context):
    make(path).append(context, line(1))
    assert open_below(path.parent) == []


# --- what a kill leaves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", range(1, len(line(7, 10))))
def test_a_line_that_was_cut_short_anywhere_is_removed_by_the_next_writer(tmp_path_factory, context, kept):
    path = tmp_path_factory.mktemp("cut") / "metrics.jsonl"
    path.write_bytes(line(1) + line(7, 10)[:kept])
    make(path).append(context, line(2))
    assert path.read_bytes() == line(1) + line(2)


@pytest.mark.parametrize("before", [b"", line(1), line(1) + b"\n"])
def test_a_long_cut_line_is_removed_to_its_beginning(path, context, before):
    path.write_bytes(before + line(7, 200_000)[:-2])
    make(path).append(context, line(2))
    assert path.read_bytes() == before + line(2)


@pytest.mark.parametrize("foreign", [b"hello", b'{"m":1}', line(1) + b"x", b'{"n'[1:]])
def test_other_text_without_a_line_feed_is_kept_and_ended(path, context, foreign):
    path.write_bytes(foreign)
    make(path).append(context, line(2))
    assert path.read_bytes() == foreign + b"\n" + line(2)


# --- the lock ---------------------------------------------------------------------------------------------------------


def test_a_lock_that_somebody_else_has_is_waited_for_until_the_deadline(path):
    with locked(path), pytest.raises(DeadlineExceededError):
        make(path).append(Context.with_timeout(0.05), line(1))
    assert path.read_bytes() == b""


def test_a_wait_for_the_lock_ends_at_once_when_it_is_cancelled(path, monkeypatch):
    context, waiting = Context.background(), threading.Event()
    wait = Context.wait

    def telling(self, seconds):
        waiting.set()
        return wait(self, seconds)

    monkeypatch.setattr(Context, "wait", telling)
    canceller = threading.Thread(target=lambda: (waiting.wait(), context.cancel("enough")))
    with locked(path):
        canceller.start()
        with pytest.raises(ContextCancelledError, match="enough"):
            make(path).append(context, line(1))
    canceller.join()
    assert path.read_bytes() == b""


def test_whoever_waited_for_a_file_that_was_rotated_meanwhile_writes_to_the_new_one(path, context):
    file, entered = make(path), threading.Event()
    lock = lines_module._lock

    def entering(context, descriptor):
        entered.set()
        lock(context, descriptor)

    waiter = threading.Thread(target=file.append, args=(context, line(2)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_lock", entering)
        with locked(path):
            waiter.start()
            entered.wait()
            path.write_bytes(line(1))
            path.rename(path.with_name("metrics.jsonl.1"))
        waiter.join()
    assert path.with_name("metrics.jsonl.1").read_bytes() == line(1)
    assert path.read_bytes() == line(2)


def test_a_forked_child_does_not_go_on_holding_the_lock_of_a_parent_that_dies(path):
    program = f"""if True:
        import os, sys
        from exporter_core import Context
        from exporter_core_otlp import OtlpFileConfig, OtlpFileExporter
        exporter = OtlpFileExporter(OtlpFileConfig(output_stream={path.as_uri()!r}))

        def fork(*_):
            if os.fork() == 0:
                print("child", flush=True)
                sys.stdin.read()
            os._exit(0)

        exporter._file._write = fork
        exporter._file.append(Context.background(), b"")
    """
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stdin=-1, stdout=-1) as process:
        assert process.stdout.readline() == b"child\n"
        assert process.wait(60) == 0
        make(path).append(Context.with_timeout(60), line(1))
        process.stdin.close()
        process.stdout.read()
    assert path.read_bytes() == line(1)


# --- rotation ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=25),
    st.integers(1, 120),
    st.integers(1, 4),
)
def test_rotated_files_hold_the_newest_lines_whole_and_in_order(tmp_path_factory, sizes, max_bytes, kept):
    path = tmp_path_factory.mktemp("rotated") / "metrics.jsonl"
    file, context = make(path, max_bytes=max_bytes, max_old_files=kept), Context.background()
    written = [line(number, size) for number, size in enumerate(sizes)]
    for one in written:
        file.append(context, one)
    files = oldest_first(path)
    held = [other.read_bytes().splitlines(keepends=True) for other in files]
    assert [one for each in held for one in each] == written[len(written) - sum(map(len, held)) :]
    assert all(len(each) == 1 or sum(map(len, each)) <= max_bytes for each in held)
    assert len(files) <= kept + 1
    # Only what had no room is gone.
    assert sum(map(len, held)) == len(written) or len(files) == kept + 1


def test_a_gap_that_a_killed_rotation_left_is_filled_and_nothing_is_lost(path, context):
    path.write_bytes(line(3))
    path.with_name("metrics.jsonl.2").write_bytes(line(1))
    make(path, max_bytes=1, max_old_files=2).append(context, line(4))
    assert [other.read_bytes() for other in oldest_first(path)] == [line(1), line(3), line(4)]


# --- what the system refuses ------------------------------------------------------------------------------------------


def refused(path, context):
    with pytest.raises(ExporterError) as caught:
        make(path).append(context, line(1))
    return str(caught.value)


def test_a_missing_directory_is_named(tmp_path, context):
    path = tmp_path / "none" / "metrics.jsonl"
    assert refused(path, context) == f"cannot write to {path}: its directory does not exist"


def test_a_directory_is_no_file(tmp_path, context):
    assert refused(tmp_path, context) == f"cannot write to {tmp_path}: is a directory"


def test_a_pipe_is_no_file_and_is_not_waited_for(path, context):
    os.mkfifo(path)
    assert refused(path, context) == f"cannot write to {path}: it is not a regular file"


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("open", errno.EROFS, "the file system is read-only"),
        ("open", errno.EACCES, "permission denied"),
        ("write", errno.ENOSPC, "the disk is full"),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(path, context, monkeypatch, call, number, words):
    def refuse(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    message = refused(path, context)
    monkeypatch.undo()
    assert message == f"cannot write to {path}: {words}"


def test_a_file_system_without_locks_is_said_and_nothing_stays_open(path, context, monkeypatch):
    def refuse(_descriptor, _operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        message = refused(path, context)
    assert message == f"cannot write to {path}: the file system has no locks (flock)"
    assert open_below(path.parent) == []


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(path):
    """The limit is a real one: the system writes as much as goes, and refuses the rest."""
    program = f"""if True:
        import pathlib, resource
        from exporter_core import Context, ExporterError
        from exporter_core_otlp.lines import LineFile
        file = LineFile(pathlib.Path({str(path)!r}), begins=b"x", max_bytes=None, max_old_files=1, fsync=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        file.append(Context.background(), b"x" * 5000 + b"\\n")
        try:
            file.append(Context.background(), b"x" * 8000 + b"\\n")
        except ExporterError as error:
            print(error)
        print(pathlib.Path({str(path)!r}).stat().st_size)
        file.append(Context.background(), b"x\\n")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    error, size = done.stdout.splitlines()
    assert error.startswith(f"cannot write to {path}: the file may not grow any more")
    assert int(size) == 5001
    assert path.read_bytes() == b"x" * 5000 + b"\nx\n"


# --- fsync ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def synchronised(monkeypatch):
    """The names of what fsync was called on."""
    names, fsync = [], os.fsync

    def recording(descriptor):
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    return names


def test_sync_has_the_disk_take_the_file_and_its_name(path, context, synchronised):
    file = make(path, fsync=True)
    file.sync()
    assert synchronised == []
    file.append(context, line(1))
    file.sync()
    assert synchronised == ["metrics.jsonl", path.parent.name]


def test_a_line_that_cannot_be_remembered_for_the_disk_is_not_written(path, context, monkeypatch):
    file = make(path, fsync=True)

    def refuse(_descriptor):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", refuse)
        with pytest.raises(ExporterError, match="too many open files"):
            file.append(context, line(1))
    assert path.read_bytes() == b""
    file.append(context, line(2))
    assert path.read_bytes() == line(2)
    file.close()


def test_without_fsync_the_disk_is_left_alone(path, context, synchronised):
    file = make(path, max_bytes=1)
    file.append(context, line(1))
    file.append(context, line(2))
    file.sync()
    file.close()
    assert synchronised == []


def test_a_file_is_synchronised_before_another_takes_its_place(path, context, synchronised):
    file = make(path, max_bytes=1, fsync=True)
    file.append(context, line(1))
    file.append(context, line(2))
    assert synchronised[0] == "metrics.jsonl"
    path.rename(path.with_name("elsewhere"))
    synchronised.clear()
    file.append(context, line(3))
    assert synchronised == ["elsewhere"]


def test_close_synchronises_and_lets_go(path, context, synchronised):
    file = make(path, fsync=True)
    file.append(context, line(1))
    file.close()
    assert synchronised == ["metrics.jsonl", path.parent.name]
    assert open_below(path.parent) == []


def test_a_disk_that_cannot_take_it_is_an_error(path, context, monkeypatch):
    file = make(path, fsync=True)
    file.append(context, line(1))

    def refuse(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(ExporterError, match=r"cannot synchronise .*: input/output error"):
            file.sync()
    file.close()


# --- several processes ------------------------------------------------------------------------------------------------

WRITER = """if True:
    import json, pathlib, sys
    from exporter_core import Context
    from exporter_core_otlp.lines import LineFile
    path, writer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    file = LineFile(pathlib.Path(path), begins=b'{"n":', max_bytes=600_000, max_old_files=1000, fsync=False)
    context = Context.background()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        line = json.dumps({"n": f"{writer}-{number}", "x": "x" * 200_000}, separators=(",", ":"))
        file.append(context, line.encode() + b"\\n")
        print(number, flush=True)
"""


def test_no_accepted_line_is_torn_or_lost_by_processes_that_append_rotate_and_are_killed(path):
    """Lines are long enough for a kill to fall into the middle of one."""

    def start(writer, count):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), writer, str(count)], stdin=-1, stdout=-1)
        assert process.stdout.readline() == b"ready\n"
        return process

    accepted = []
    for life in range(2):
        steady, victim = start(f"steady-{life}", 40), start(f"victim-{life}", 1000)
        for process in (steady, victim):
            process.stdin.write(b"go\n")
            process.stdin.flush()
        with victim:  # not communicate(): it passes over what readline() has read ahead
            numbers = [victim.stdout.readline() for _ in range(15)]
            victim.send_signal(signal.SIGKILL)
            numbers += victim.stdout.read().splitlines()
        accepted += [f"victim-{life}-{int(number)}" for number in numbers]
        numbers = steady.communicate(timeout=60)[0].splitlines()
        assert len(numbers) == 40
        accepted += [f"steady-{life}-{int(number)}" for number in numbers]
    make(path).append(Context.background(), line(0))  # removes what the last kill may have left

    *found, _last = [json.loads(one)["n"] for other in oldest_first(path) for one in other.read_bytes().splitlines()]
    assert len(found) == len(set(found))
    assert set(accepted) <= set(found)
    for life in range(2):
        steady = [one for one in found if one.startswith(f"steady-{life}")]
        assert steady == [f"steady-{life}-{number}" for number in range(40)]
    # A victim that was killed between writing a line and telling so has written one more.
    assert len(set(found) - set(accepted)) <= 2
