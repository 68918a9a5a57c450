"""The index: used while nothing changed, never believed otherwise, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from exporter_core.discovery import index, installed, select
from exporter_core.errors import ExporterNotFoundError


def names(path, **options):
    return [entry.name for entry in installed(path=path, **options)]


@pytest.fixture
def warm(site, scans):
    """A site with one exporter and one other distribution, its index written and used once."""
    site.exporter("a", "x")
    site.install("other", "[console_scripts]\nother = other:main\n")
    site.install("plain")
    site.settle()
    assert names(site.path) == ["x"]
    assert names(site.path) == ["x"]
    assert len(scans) == 1
    return site


def index_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_the_index_is_used_while_nothing_changes_and_refresh_scans_anyway(warm, scans):
    assert installed(path=warm.path, refresh=True) == installed(path=warm.path)
    assert len(scans) == 2


def test_each_path_has_an_index_of_its_own(warm, other_site, scans):
    other_site.exporter("b", "y")
    other_site.settle()
    for _ in range(2):
        assert names(warm.path + other_site.path) == ["x", "y"]
        assert names(other_site.path) == ["y"]
        assert names(warm.path) == ["x"]
    assert len(scans) == 3


def edit_in_place(site):
    file = site.folder / "a-1.0.dist-info" / "entry_points.txt"
    file.write_text(file.read_text().replace("x =", "z ="))
    return ["z"]


def edit_another(site):
    file = site.folder / "other-1.0.dist-info" / "entry_points.txt"
    file.write_text("[exporter_core.exporters.v1]\nz = m:Z\n")
    return ["x", "z"]


def edit_and_restore_the_time(site):
    file = site.folder / "a-1.0.dist-info" / "entry_points.txt"
    before = file.stat()
    file.write_text(file.read_text().replace("x =", "z ="))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    return ["z"]


def replace_the_file(site):
    file = site.folder / "a-1.0.dist-info" / "entry_points.txt"
    spare = file.with_name("spare")
    spare.write_text("[exporter_core.exporters.v1]\nz = m:Z\n")
    spare.replace(file)
    return ["z"]


def remove_the_file(site):
    (site.folder / "a-1.0.dist-info" / "entry_points.txt").unlink()
    return []


def install(site):
    site.exporter("b", "y")
    return ["x", "y"]


def uninstall(site):
    site.uninstall(site.folder / "a-1.0.dist-info")
    return []


def upgrade(site):
    site.uninstall(site.folder / "a-1.0.dist-info")
    site.exporter("a", "x", "y", version="2.0")
    return ["x", "y"]


def remove_everything(site):
    shutil.rmtree(site.folder)
    return []


@pytest.mark.parametrize(
    "change",
    [
        edit_in_place,
        edit_another,
        edit_and_restore_the_time,
        replace_the_file,
        remove_the_file,
        install,
        uninstall,
        upgrade,
        remove_everything,
    ],
)
def test_a_change_is_seen_at_once(warm, change):
    expected = change(warm)
    assert names(warm.path) == expected


def test_a_version_edited_in_metadata_is_seen_at_once(warm):
    file = warm.folder / "a-1.0.dist-info" / "METADATA"
    file.write_text(file.read_text().replace("Version: 1.0", "Version: 1.1"))
    assert [entry.version for entry in installed(path=warm.path)] == ["1.1"]


def test_an_installation_that_is_still_going_on_is_seen_when_it_goes_on(site, scans):
    info = site.install("slow")
    site.settle(age=0)
    assert names(site.path) == []
    assert names(site.path) == []
    assert len(scans) == 1
    (info / "entry_points.txt").write_text("[exporter_core.exporters.v1]\nx = m:X\n")
    assert names(site.path) == ["x"]


def test_entry_points_added_to_an_old_directory_are_found_by_selecting_and_by_refresh(warm):
    info = warm.folder / "plain-1.0.dist-info"
    (info / "entry_points.txt").write_text("[exporter_core.exporters.v1]\nadded = m:X\n")
    assert select("added", path=warm.path).distribution == "plain"
    assert names(warm.path) == ["added", "x"]


def test_what_changed_in_the_very_moment_of_the_scan_is_not_remembered(site, index_folder, monkeypatch):
    site.exporter("a", "x")
    site.settle()
    scan = index.scan

    def scan_and_change(path, watch):
        found = scan(path, watch)
        for file, state in watch.files.items():
            # As if the change had fallen into the tick of the clock in which the scan began.
            watch.files[file] = (state[0], 1 << 62, *state[2:])
        return found

    monkeypatch.setattr(index, "scan", scan_and_change)
    assert names(site.path) == ["x"]
    assert list(index_folder.iterdir()) == []


@pytest.mark.parametrize("position", range(0, 400, 7))
def test_a_flipped_bit_anywhere_makes_the_index_worthless_not_wrong(warm, index_folder, scans, position):
    file = index_file(index_folder)
    data = bytearray(file.read_bytes())
    data[position % len(data)] ^= 1 << position % 8
    file.write_bytes(data)
    assert names(warm.path) == ["x"]
    assert len(scans) == 2


@pytest.mark.parametrize("keep", [0, 1, 20, 31, 32, 60, -1])
def test_a_truncated_index_is_ignored(warm, index_folder, scans, keep):
    file = index_file(index_folder)
    file.write_bytes(file.read_bytes()[:keep])
    assert names(warm.path) == ["x"]
    assert len(scans) == 2


@pytest.mark.parametrize("lines", [[], ["e"], ["a\0b\0c"], ["\0" * 9]])
def test_an_index_with_a_right_checksum_and_wrong_content_is_ignored(warm, index_folder, scans, lines):
    file = index_file(index_folder)
    body = file.read_bytes().partition(b"\n")[2].split(b"\n")
    rewritten = b"\n".join([*body[:3], *[line.encode() for line in lines], b""]) if lines else body[0] + b"\n"
    write_index(file, rewritten)
    assert names(warm.path) == ["x"]
    assert len(scans) == 2


def write_index(file: Path, body: bytes) -> None:
    import binascii

    file.write_bytes(b"exporter-core index 3 %08x\n%s" % (binascii.crc32(body), body))


def poison(file: Path, old: str, replacement: str) -> None:
    body = file.read_bytes().partition(b"\n")[2]
    assert old.encode() in body
    write_index(file, body.replace(old.encode(), replacement.encode()))


def test_an_index_that_others_may_write_is_ignored(warm, index_folder, scans):
    file = index_file(index_folder)
    for mode in (0o620, 0o602):
        poisoned = "x\0evil:X"
        if "evil" not in file.read_text():
            poison(file, "x\0a:Exporter", poisoned)
        file.chmod(mode)
        assert [entry.value for entry in installed(path=warm.path)] == ["a:Exporter"]
    assert stat.S_IMODE(index_file(index_folder).stat().st_mode) == 0o600


def test_an_index_of_another_user_is_ignored(warm, index_folder, monkeypatch):
    poison(index_file(index_folder), "x\0a:Exporter", "x\0evil:X")
    assert [entry.value for entry in installed(path=warm.path)] == ["evil:X"]
    # The file's owner and the process's differ in the same way whichever of the two is changed.
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
    assert [entry.value for entry in installed(path=warm.path)] == ["a:Exporter"]


def test_an_index_that_is_a_link_or_a_pipe_or_a_folder_is_ignored(warm, index_folder, tmp_path):
    file = index_file(index_folder)
    poison(file, "x\0a:Exporter", "x\0evil:X")
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    for make in (lambda: file.symlink_to(elsewhere), lambda: os.mkfifo(file), file.mkdir):
        make()
        assert [entry.value for entry in installed(path=warm.path)] == ["a:Exporter"]
        if file.is_dir():
            file.rmdir()
        else:
            file.unlink()


def test_a_poisoned_index_never_decides_what_is_selected(warm, index_folder, tmp_path):
    attacker = warm.__class__(tmp_path / "attacker")
    info = attacker.exporter("a", "x = evil:X")
    file = index_file(index_folder)
    original = file.read_bytes()
    true_location = str(warm.folder / "a-1.0.dist-info")
    row = f"x\0a:Exporter\0exporter_core.exporters.v1\0a\x001.0\0{true_location}"
    for lie in (
        row.replace("a:Exporter", "evil:X"),
        row.replace("a:Exporter", "evil:X").replace(true_location, str(info)),
        row.replace("\0a\0", "\0trusted\0"),
        row.replace("\x001.0\0", "\x009.9\0"),
        row.replace("exporters.v1", "exporters.v2"),
        row.replace("x\0", "hidden\0", 1),
    ):
        file.write_bytes(original)
        poison(file, row, lie)
        entry = select("x", path=warm.path)
        assert (entry.value, entry.distribution, entry.version) == ("a:Exporter", "a", "1.0")
        assert entry.location == true_location
        assert entry.supported
    file.write_bytes(original)
    poison(file, row, f"{row}\ninvented\0evil:X\0exporter_core.exporters.v1\0a\x001.0\0{true_location}")
    with pytest.raises(ExporterNotFoundError, match="invented"):
        select("invented", path=warm.path)


def test_the_index_can_be_switched_off(site, monkeypatch, index_folder, scans, tmp_path):
    monkeypatch.setenv("EXPORTER_CORE_CACHE", "off")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    site.exporter("a", "x")
    site.settle()
    assert names(site.path) == names(site.path) == ["x"]
    assert len(scans) == 2
    assert not any((tmp_path / name).exists() for name in ("home", "xdg", "index", "off"))


@pytest.mark.parametrize(("xdg", "folder"), [("{tmp}/xdg", "xdg"), ("", "home/.cache"), ("relative", "home/.cache")])
def test_the_index_lies_in_the_users_cache_folder(site, monkeypatch, tmp_path, xdg, folder):
    monkeypatch.delenv("EXPORTER_CORE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", xdg.format(tmp=tmp_path))
    monkeypatch.chdir(tmp_path)
    site.settle()
    installed(path=site.path)
    file = index_file(tmp_path / folder / "exporter-core")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_cache_folder_is_tidied(site, index_folder):
    index_folder.mkdir()
    now = time.time()
    for number in range(80):
        file = index_folder / f"exporter-core-index-{number:08x}"
        file.touch()
        os.utime(file, (now - number, now - number))
    old, others = index_folder / "exporter-core-index-old.0123", index_folder / "notes.txt"
    for file in (old, others):
        file.touch()
        os.utime(file, (0, 0))
    site.settle()
    installed(path=site.path)
    left = sorted(file.name for file in index_folder.iterdir())
    assert len(left) == 65, "the newest 64, and what is not ours"
    assert "notes.txt" in left
    assert "exporter-core-index-0000003e" in left
    assert "exporter-core-index-0000003f" not in left
    month = now - 31 * 86_400
    for file in index_folder.iterdir():
        os.utime(file, (month, month))
    installed(path=site.path, refresh=True)
    assert len(list(index_folder.glob("exporter-core-index-*"))) == 1, "all but the new one were too old"


def test_a_cache_folder_that_cannot_be_made_or_written_only_costs_the_speed(site, monkeypatch, tmp_path, scans):
    file = tmp_path / "file"
    file.write_text("")
    site.exporter("a", "x")
    site.settle()
    for setting in (f"{file}/below", "/proc/nothing/can/be/made/here", "/dev/null"):
        monkeypatch.setenv("EXPORTER_CORE_CACHE", setting)
        assert names(site.path) == names(site.path) == ["x"]
    assert len(scans) == 6
    assert file.read_text() == ""


def test_a_full_disk_only_costs_the_speed(site, monkeypatch, index_folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    site.exporter("a", "x")
    site.settle()
    monkeypatch.setattr(os, "write", full)
    assert names(site.path) == ["x"]
    assert list(index_folder.iterdir()) == []


def test_paths_and_names_that_the_format_cannot_hold_are_listed_without_an_index(site, tmp_path, index_folder):
    odd = site.__class__(tmp_path / "line\nbreak")
    odd.exporter("a", "x")
    odd.settle()
    site.exporter("b", "nul\0name")
    site.settle()
    for _ in range(2):
        assert names(odd.path) == ["x"]
        assert names(site.path) == ["nul\0name"]
    assert list(index_folder.iterdir()) == []


def test_paths_that_are_no_utf_8_are_remembered(tmp_path, site, scans):
    odd = site.__class__(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    info = odd.exporter("a", "größe")
    odd.settle()
    for _ in range(2):
        assert [(e.name, e.location) for e in installed(path=odd.path)] == [("größe", str(info))]
    assert len(scans) == 1


def test_old_indexes_are_dropped_and_other_files_left_alone(site, index_folder):
    index_folder.mkdir()
    (index_folder / "precious.txt").write_text("mine")
    for number in range(100):
        (index_folder / f"exporter-core-index-{number:08x}").write_text("old")
    site.settle()
    installed(path=site.path)
    kept = {file.name for file in index_folder.iterdir()}
    assert len(kept) == 65
    assert "precious.txt" in kept
    assert sum((index_folder / name).read_text() == "old" for name in kept) == 63


def _list_often(path: list[str], folder: str, barrier, results) -> None:
    os.environ["EXPORTER_CORE_CACHE"] = folder
    barrier.wait(30)
    wrong = sum(names(path, refresh=number % 3 == 0) != ["x"] for number in range(60))
    results.put(wrong)


def test_processes_that_write_the_index_at_once_all_list_right(site, index_folder, scans):
    site.exporter("a", "x")
    for number in range(20):
        site.install(f"other{number}", "[console_scripts]\na = b:c\n")
    site.settle()
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    arguments = (site.path, str(index_folder), barrier, results)
    processes = [context.Process(target=_list_often, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    wrong = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert wrong == [0, 0, 0, 0]
    assert [file.name for file in index_folder.iterdir()] == [index_file(index_folder).name]
    scans.clear()
    assert names(site.path) == ["x"]
    assert scans == []
