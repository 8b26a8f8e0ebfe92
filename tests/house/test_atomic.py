"""Atomic writing under injected faults: all or nothing, and one sentence that names the file."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from emlib.atomic import atomic_path, made_folder, try_folder, write_text


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_success_leaves_only_the_target(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "1")
    write_text(tmp_path / "deep" / "a.txt", "2")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text() == "2"


def test_an_exception_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def interrupted_write():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted_write()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_folders_are_replaced_whole(tmp_path):
    for text in ("one", "two"):
        with atomic_path(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / text).write_text(text)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_full_disk_at_any_step_is_one_sentence(tmp_path, monkeypatch, step):
    write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(step, full_disk)
    with pytest.raises(OSError, match=r"Could not write .*a\.txt: the disk is full") as caught:
        write_text(tmp_path / "a.txt", "new")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Could not write"):
        write_text(tmp_path / "file" / "a.txt", "1")


def test_nothing_written_is_an_error_and_overwriting_can_be_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="Nothing was written"), atomic_path(tmp_path / "a"):
        pass
    write_text(tmp_path / "a", "1")
    with pytest.raises(FileExistsError, match="exists already"), atomic_path(tmp_path / "a", overwrite=False):
        pass


def test_kill_in_the_middle_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    code = (
        "import sys, time; from emlib.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); print('written', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.txt")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    assert (tmp_path / "a.txt").read_text() == "old"


def test_new_folders_go_again_with_the_failure(tmp_path):
    (tmp_path / "old").mkdir()

    def fail(target):
        with atomic_path(target):
            raise RuntimeError

    for target in (tmp_path / "a" / "b" / "c.txt", tmp_path / "old" / "c.txt", tmp_path / "old" / "d" / "c.txt"):
        with pytest.raises(RuntimeError):
            fail(target)
        assert [path.name for path in tmp_path.rglob("*")] == ["old"]

    def fail_with_company(target):
        with made_folder(target) as folder:
            (folder.parent / "kept.txt").write_text("1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_with_company(tmp_path / "a" / "b")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "kept.txt", "old"]


def test_trying_a_folder_leaves_nothing(tmp_path):
    try_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("1")
    for below in ("file", "file/b"):
        with pytest.raises(OSError, match="file"):
            try_folder(tmp_path / below)
    (tmp_path / "there").mkdir()
    try_folder(tmp_path / "there")
    assert (tmp_path / "there").is_dir()
