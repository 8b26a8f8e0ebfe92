"""The parameters cell: what it may hold, and what it says about each parameter."""

import nbformat
import pytest

from emlib.reproduction.parameters import check_parameters, read_parameters


def notebook(path, *cells):
    book = nbformat.v4.new_notebook()
    for source, tags in cells:
        cell = nbformat.v4.new_code_cell(source)
        cell.metadata["tags"] = tags
        book.cells.append(cell)
    nbformat.write(book, path)
    return path


def declared(tmp_path, *lines):
    return read_parameters(notebook(tmp_path / "a.ipynb", ("\n".join(lines), ["parameters"])))


def test_kinds_are_read_from_defaults_and_comments(tmp_path):
    found = declared(
        tmp_path,
        'profile = "smoke"  # smoke | tutorial: which',
        'only = "smoke"  # smoke: nothing else',
        "seed = 0  # 0 to 10: drives everything",
        "rate = None  # 0.1 to 1.0: step",
        "share = 1.0  # 0 to 1: of all",
        "flag = False  # a switch",
        'folder = ""  # folder for results',
    )
    assert found["profile"].choices == ("smoke", "tutorial")
    assert found["only"].choices == ("smoke",)
    assert (found["seed"].low, found["seed"].high, found["seed"].whole) == (0, 10, True)
    assert not found["rate"].whole
    assert not found["share"].whole
    assert found["folder"].choices == ()
    fine = {"profile": "tutorial", "seed": 3, "rate": None, "share": 1, "flag": True, "folder": "x"}
    assert check_parameters(fine, found, "a.ipynb") == fine
    for wrong in ({"rate": 2.0}, {"rate": "x"}, {"flag": 1}, {"folder": 1}, {"only": "paper"}, {"seed": None}):
        with pytest.raises(ValueError, match=r"a\.ipynb: parameter"):
            check_parameters(wrong, found, "a.ipynb")


@pytest.mark.parametrize(
    "lines, words",
    [
        (["print(1)"], "may hold assignments"),
        (["a = open('x')"], "must be a plain value"),
    ],
)
def test_cells_that_are_more_than_parameters_are_refused(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        declared(tmp_path, *lines)


def test_exactly_one_tagged_cell(tmp_path):
    with pytest.raises(ValueError, match="has 0 cells tagged"):
        read_parameters(notebook(tmp_path / "none.ipynb", ("a = 1", [])))
    with pytest.raises(ValueError, match="has 2 cells tagged"):
        read_parameters(notebook(tmp_path / "two.ipynb", ("a = 1", ["parameters"]), ("b = 1", ["parameters"])))


def test_missing_and_broken_notebooks(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no notebook"):
        read_parameters(tmp_path / "absent.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.ipynb is not a readable notebook"):
        read_parameters(tmp_path / "broken.ipynb")
