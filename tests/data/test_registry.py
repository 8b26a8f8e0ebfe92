"""The registry is valid, complete and honest; a broken one is refused in one sentence."""

import re
from pathlib import Path

import pytest
import yaml

from emlib.data import registry
from emlib.data.registry import describe_dataset, list_datasets, registry_path, registry_table

SHIPPED = registry_path()
GOOD = {
    "title": "A set",
    "kind": "files",
    "modality": "SEM",
    "labels": "masks",
    "licence": "CC0",
    "citation": "Somebody, 2020.",
    "doi": "10.1234/abc",
    "page": "https://example.org/",
    "voxel_size": [30.0, 8.0, 8.0],
    "files": "files/a.tsv",
    "base_urls": {"": "https://example.org/data/"},
}
SHA = "0" * 64


@pytest.fixture
def write(tmp_path, monkeypatch):
    def write_registry(changes=None, name="a", rows=f"path\tbytes\tsha256\nx/y z.png\t3\t{SHA}\n", without=()):
        entry = {key: value for key, value in (GOOD | (changes or {})).items() if key not in without}
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / "a.tsv").write_text(rows)
        (tmp_path / "registry.yaml").write_text(yaml.safe_dump({name: entry}))
        registry._load.cache_clear()
        registry._read_file_list.cache_clear()
        monkeypatch.setenv("EMLIB_REGISTRY", str(tmp_path / "registry.yaml"))

    return write_registry


def test_the_shipped_registry_is_complete():
    entries = {entry.name: entry for entry in list_datasets()}
    assert {"vnc", "fib25", "dsb2018", "usiigaci", "neurips-cellseg-samples", "plantseg-ovule"} <= set(entries)
    by_hand = {name for name, entry in entries.items() if entry.kind == "by hand"}
    assert by_hand == {"mitoem-r", "mitoem-h", "snemi3d", "lucchi", "cremi", "neurips-cellseg", "monuseg"}
    voxel_sizes = {"mitoem-r": (30, 8, 8), "snemi3d": (30, 6, 6), "lucchi": (5, 5, 5), "cremi": (40, 4, 4)}
    for name, size in voxel_sizes.items():
        assert entries[name].voxel_size == size
    assert [len(entries[name].listed_files()) for name in ("vnc", "fib25", "dsb2018")] == [100, 254, 2361]
    assert "CC BY-NC-SA 3.0" in entries["vnc"].licence
    assert "CC BY 4.0" in entries["vnc"].licence


def test_addresses_are_pinned_to_a_commit_and_quoted():
    for entry in list_datasets():
        for file in entry.listed_files():
            assert re.search(r"/[0-9a-f]{40}/", file.url), file.url
            assert " " not in file.url
    files = {file.path: file.url for file in describe_dataset("usiigaci").listed_files()}
    assert files["train/set1/phase.png"].endswith("/Mask%20R-CNN/train/set1/phase.png")
    assert files["LICENSE"].endswith("9501d80c747cf82870dd596818fcf5c28c94d733/LICENSE")


def test_file_lists_stay_small():
    assert sum(path.stat().st_size for path in (SHIPPED.parent / "files").glob("*.tsv")) < 600_000


def test_readme_holds_the_table_of_the_registry():
    readme = (SHIPPED.parent / "README.md").read_text(encoding="utf-8")
    assert registry_table() in readme
    for entry in list_datasets():
        assert entry.page in readme or entry.doi in readme


def test_prefix_with_the_longest_match_wins(write):
    write({"base_urls": {"": "https://a.org/", "x/": "https://b.org/deep/"}})
    (file,) = describe_dataset("a").listed_files()
    assert (file.url, file.bytes, file.sha256) == ("https://b.org/deep/x/y%20z.png", 3, SHA)


def test_unknown_name_suggests():
    with pytest.raises(ValueError, match="did you mean"):
        describe_dataset("vcn")
    with pytest.raises(ValueError, match="known are vnc"):
        describe_dataset("qqqqq")


@pytest.mark.parametrize(
    "changes, without, match",
    [
        ({"license": "CC0"}, (), "unknown key 'license'; did you mean 'licence'"),
        ({}, ("licence",), "licence: Field required"),
        ({}, ("doi",), "doi: Field required"),
        ({"doi": "https://doi.org/10.1/x"}, (), "doi"),
        ({"voxel_size": None}, (), "voxel_size_note must say why"),
        ({"voxel_size": [30, 8, 0]}, (), "voxel_size"),
        ({"kind": "ftp"}, (), "kind"),
        ({"kind": "by hand"}, (), "does not belong|needs the key"),
        ({}, ("files",), "needs the key 'files'"),
        ({"base_urls": {"x/": "https://b.org/"}}, (), "key ''"),
        ({"base_urls": {"": "file:///etc/"}}, (), "base_urls"),
        ({"archive": {"url": "https://x/y.zip", "sha256": SHA, "bytes": 3}}, (), "does not belong"),
        ({"name": "b"}, (), "multiple values"),
    ],
)
def test_a_wrong_entry_is_one_sentence(write, changes, without, match):
    write(changes, without=without)
    with pytest.raises(ValueError, match=match) as caught:
        list_datasets()
    assert "data set 'a'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../a", "x/y", ".hidden", ""])
def test_a_name_cannot_lead_elsewhere(write, name):
    write(name=name)
    with pytest.raises(ValueError, match="cannot be the name"):
        list_datasets()


@pytest.mark.parametrize(
    "row, match",
    [
        (f"../x\t3\t{SHA}", "relative path"),
        (f"/x\t3\t{SHA}", "relative path"),
        (f"a\\x\t3\t{SHA}", "relative path"),
        (f"\t3\t{SHA}", "relative path"),
        (f"x\t-3\t{SHA}", "size in bytes"),
        (f"x\t3\t{SHA[1:]}", "64 hex"),
        ("x\t3", "64 hex"),
    ],
)
def test_a_wrong_line_of_the_file_list(write, row, match):
    write(rows=f"path\tbytes\tsha256\n{row}\n")
    with pytest.raises(ValueError, match=match):
        describe_dataset("a").listed_files()


def test_wrong_file_list_and_registry_files(write, tmp_path, monkeypatch):
    write(rows="file\tsize\n")
    with pytest.raises(ValueError, match="columns"):
        describe_dataset("a").listed_files()
    write(rows="path\tbytes\tsha256\n")
    with pytest.raises(ValueError, match="lists no files"):
        describe_dataset("a").listed_files()
    (tmp_path / "files" / "a.tsv").unlink()
    with pytest.raises(FileNotFoundError, match="missing beside the registry"):
        describe_dataset("a").listed_files()
    for text, match in (("a: [", "not valid YAML"), ("- a", "mapping"), ("a: 3", "mapping of keys")):
        (tmp_path / "registry.yaml").write_text(text)
        registry._load.cache_clear()
        with pytest.raises(ValueError, match=match):
            list_datasets()
    monkeypatch.setenv("EMLIB_REGISTRY", str(tmp_path / "none.yaml"))
    with pytest.raises(FileNotFoundError, match="EMLIB_REGISTRY"):
        list_datasets()


def test_without_a_checkout_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv("EMLIB_REGISTRY", raising=False)
    monkeypatch.setattr(registry, "checkout_folder", lambda: Path(tmp_path))
    with pytest.raises(FileNotFoundError, match="set EMLIB_REGISTRY"):
        list_datasets()
