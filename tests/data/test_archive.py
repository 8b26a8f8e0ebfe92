"""Archives are unpacked whole or not at all, and never outside their folder."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from emlib.data import archive as archive_module
from emlib.data.archive import decompress_gzip, extract_archive


def make_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            info = info if isinstance(info, tarfile.TarInfo) else tarfile.TarInfo(info)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def assert_refused(path, tmp_path, match):
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=match) as caught:
        extract_archive(path, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name, mode", [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("b", "w:xz")])
def test_tar_unpacks(tmp_path, name, mode):
    make_tar(tmp_path / name, [("x/1.txt", b"one"), ("x/y/2.txt", b"two"), ("./3.txt", b"")], mode)
    folder = extract_archive(tmp_path / name, tmp_path / "deep" / "out")
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == {
        "x/1.txt": b"one",
        "x/y/2.txt": b"two",
        "3.txt": b"",
    }


def test_zip_and_gzip_unpack(tmp_path):
    make_zip(tmp_path / "a.zip", [("x/", b""), ("x/1.txt", b"one"), ("empty/", b"")])
    folder = extract_archive(tmp_path / "a.zip", tmp_path / "out")
    assert (folder / "x" / "1.txt").read_bytes() == b"one"
    assert (folder / "empty").is_dir()
    (tmp_path / "v.h5.gz").write_bytes(gzip.compress(b"volume"))
    assert (extract_archive(tmp_path / "v.h5.gz", tmp_path / "gz") / "v.h5").read_bytes() == b"volume"
    assert decompress_gzip(tmp_path / "v.h5.gz", tmp_path / "v.h5").read_bytes() == b"volume"


def test_tar_folder_permissions_and_owner_are_not_taken_over(tmp_path):
    info = tarfile.TarInfo("tool.sh")
    info.mode = 0o4777
    make_tar(tmp_path / "a.tar", [(info, b"#!/bin/sh")])
    mode = (extract_archive(tmp_path / "a.tar", tmp_path / "out") / "tool.sh").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "..\\x", "C:\\x", "C:x", "\\\\server\\x", "a/.."])
def test_paths_that_lead_outside_are_refused(tmp_path, name):
    assert_refused(make_tar(tmp_path / "a.tar", [("good", b"1"), (name, b"bad")]), tmp_path, "leads out")
    assert_refused(make_zip(tmp_path / "a.zip", [("good", b"1"), (name, b"bad")]), tmp_path, "leads out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    members = [("good", b"1"), (link("bad", "../../etc/passwd", kind), b""), ("bad/x", b"2")]
    assert_refused(make_tar(tmp_path / "a.tar", members), tmp_path, "'bad', which is a link or a device")


def test_zip_symlink_is_refused(tmp_path):
    info = zipfile.ZipInfo("bad")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert_refused(make_zip(tmp_path / "a.zip", [(info, "../../etc")]), tmp_path, "link or a device")


def test_encrypted_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", [("secret", b"1")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert_refused(path, tmp_path, "encrypted")


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "RATIO_FREE", 1 << 20)
    zeros = bytes(8 << 20)
    assert_refused(make_zip(tmp_path / "a.zip", [("zeros", zeros)]), tmp_path, "bomb")
    assert_refused(make_tar(tmp_path / "a.tar.gz", [("zeros", zeros)], "w:gz"), tmp_path, "bomb")
    (tmp_path / "z.gz").write_bytes(gzip.compress(zeros))
    assert_refused(tmp_path / "z.gz", tmp_path, "bomb")
    with pytest.raises(ValueError, match="bomb"):
        decompress_gzip(tmp_path / "z.gz", tmp_path / "z")
    assert not (tmp_path / "z").exists()


def test_size_and_count_limits(tmp_path):
    path = make_zip(tmp_path / "a.zip", [(f"{i}", b"x" * 100) for i in range(5)])
    with pytest.raises(ValueError, match="more than 499 bytes"):
        extract_archive(path, tmp_path / "out", max_bytes=499)
    with pytest.raises(ValueError, match="more than 4 files"):
        extract_archive(path, tmp_path / "out", max_files=4)
    assert not (tmp_path / "out").exists()
    assert extract_archive(path, tmp_path / "out", max_bytes=500, max_files=5).is_dir()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(tmp_path):
    assert_refused(make_zip(tmp_path / "a.zip", [("x", b"1"), ("x", b"2")]), tmp_path, "more than once")
    assert_refused(make_tar(tmp_path / "a.tar", [("x/y", b"1"), ("x", b"2")]), tmp_path, "more than once")


def test_damaged_archives_leave_nothing(tmp_path):
    zipped = make_zip(tmp_path / "a.zip", [("x", bytes(range(256)) * 40)])
    data = bytearray(zipped.read_bytes())
    data[60:70] = b"0123456789"
    zipped.write_bytes(data)
    assert_refused(zipped, tmp_path, "damaged")
    tarred = make_tar(tmp_path / "a.tar.gz", [("x", bytes(range(256)) * 400)], "w:gz")
    tarred.write_bytes(tarred.read_bytes()[:-400])
    assert_refused(tarred, tmp_path, "damaged")
    (tmp_path / "note.txt").write_text("hello")
    assert_refused(tmp_path / "note.txt", tmp_path, "not a zip, tar or gzip")


def test_missing_archive_and_existing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no archive"):
        extract_archive(tmp_path / "a.zip", tmp_path / "out")
    path = make_zip(tmp_path / "a.zip", [("x", b"1")])
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        extract_archive(path, tmp_path / "out")
