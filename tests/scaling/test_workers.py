"""Several processes: the same bytes as one, whatever happens to them, and no server that others can reach."""

import threading

import numpy as np
import psutil
import pytest
import scipy.ndimage
from faults.sentences import as_sentence
from hypothesis import given, settings
from scaling.tasks import IDENTITY, Ramp, components, faces, tree
from scaling.test_label_in_blocks import scenes

from emlib.scaling import (
    BlockLedger,
    BlocksFailed,
    create_block_volume,
    label_in_blocks,
    local_cluster,
    plan_blocks,
    run_blocks,
)
from emlib.volume import open_volume

PLAN = plan_blocks((5, 9, 13), (3, 4, 6))


@pytest.fixture(scope="module")
def client():
    with local_cluster(2) as client:
        yield client


def run(folder, *arguments, retries=2, **options):
    volume = create_block_volume(folder / "a.zarr", PLAN, "uint32")
    ledger = BlockLedger(folder / "ledger", IDENTITY)
    done = run_blocks(Ramp(volume, *arguments), PLAN, ledger=ledger, retries=retries, progress=False, **options)
    volume.finish()
    return done


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    run(folder)
    return tree(folder)


def test_the_same_bytes_as_one_process(tmp_path, client, expected):
    assert run(tmp_path, cluster=client).done == len(PLAN)
    assert tree(tmp_path) == expected


def test_servers_listen_on_this_machine_only_and_are_encrypted(client):
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    addresses = {one.laddr.ip for process in processes for one in process.net_connections("inet")
                 if one.status == psutil.CONN_LISTEN}  # fmt: skip
    assert addresses == {"127.0.0.1"}
    assert client.scheduler.address.startswith("tls://127.0.0.1:")
    assert all(address.startswith("tls://127.0.0.1:") for address in client.nthreads())


@settings(max_examples=6)
@given(scenes())
def test_labels_equal_those_of_the_whole_volume(tmp_path_factory, client, scene):
    image, size, halo = scene
    plan = plan_blocks(image.shape, [max(one, -(-n // 2)) for one, n in zip(size, image.shape, strict=True)], halo)
    path = label_in_blocks(image, tmp_path_factory.mktemp("blocks") / "a.zarr", plan, label_block=components,
                           link_faces=faces, identity=IDENTITY, cluster=client, progress=False)  # fmt: skip
    np.testing.assert_array_equal(open_volume(path)[:], scipy.ndimage.label(image)[0])


def test_a_failing_block_is_told_and_the_others_are_done(tmp_path, client, expected):
    with pytest.raises(BlocksFailed, match=r"ValueError: no luck with anything \(tried twice\)") as caught:
        run(tmp_path, "anything", (1, 0, 1), retries=1, cluster=client)
    (failure,) = caught.value.failures
    assert failure.block.index == (1, 0, 1)
    assert "in __call__" in failure.traceback
    assert run(tmp_path, cluster=client).done == 1
    assert tree(tmp_path) == expected


def test_a_killed_worker_costs_an_attempt_and_nothing_else(tmp_path, client, expected):
    mark = tmp_path / "mark"
    done = run(tmp_path / "a", "kill", (0, 1, 1), mark, 0.02, cluster=client)
    assert (done.done, done.retries) == (len(PLAN), 1)
    assert tree(tmp_path / "a") == expected


def test_a_block_that_always_kills_its_worker_is_told(tmp_path, client, expected):
    with pytest.raises(BlocksFailed, match="process ended while it worked on it") as caught:
        run(tmp_path, "kill", (0, 1, 1), retries=1, cluster=client)
    assert [(one.block.index, one.attempts) for one in caught.value.failures] == [((0, 1, 1), 2)]
    assert run(tmp_path, cluster=client).done == 1
    assert tree(tmp_path) == expected


def test_a_worker_that_exceeds_its_memory_is_ended(tmp_path, expected):
    with pytest.raises(BlocksFailed, match="killed, or out of memory") as caught:
        run(tmp_path, "memory", (0, 0, 1), retries=0, workers=2, memory_limit="500MiB")
    assert [one.block.index for one in caught.value.failures] == [(0, 0, 1)]
    run(tmp_path)
    assert tree(tmp_path) == expected


def test_a_running_scheduler_is_used_and_left_running(tmp_path, expected):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, host="127.0.0.1", protocol="tcp",
                      dashboard_address="127.0.0.1:0") as cluster:  # fmt: skip
        assert run(tmp_path, scheduler=cluster.scheduler_address).done == len(PLAN)
        assert cluster.status.name == "running"
    assert tree(tmp_path) == expected


def test_what_cannot_be_sent_is_one_sentence(tmp_path, client):
    lock, ledger = threading.Lock(), BlockLedger(tmp_path, IDENTITY)
    with pytest.raises(TypeError, match="cannot be sent to other processes") as caught:
        run_blocks(lambda block: lock.locked(), PLAN, ledger=ledger, cluster=client, progress=False)
    as_sentence(caught.value)


def test_without_dask_one_process_works_and_more_are_explained(tmp_path, monkeypatch, expected):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "emlib\[scale\]", or use workers=1'):
        run(tmp_path, workers=2)
    run(tmp_path)
    assert tree(tmp_path) == expected
