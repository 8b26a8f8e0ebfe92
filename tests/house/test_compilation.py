"""numba code works where its cache cannot be written."""

from emlib import compilation


def test_without_a_writable_cache_it_compiles_in_memory(monkeypatch):
    real = compilation.njit

    def refuse(cache):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(cache=False)

    monkeypatch.setattr(compilation, "njit", refuse)
    assert compilation.compiled(lambda value: value + 1)(1) == 2
