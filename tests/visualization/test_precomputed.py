import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlib.formats.coarsening import downsample_image, downsample_labels
from emlib.visualization import read_precomputed, write_precomputed
from emlib.visualization.chunk_encoding import decode_compressed_segmentation, encode_compressed_segmentation
from emlib.visualization.precomputed import plan_levels

VOXEL_SIZE = (30, 8, 8)


def decode_voxel(data, shape, at, dtype):
    """One label of a compressed_segmentation chunk, followed bit by bit as the format's description says."""
    words = np.frombuffer(data, "<u4").tolist()
    words = words[words[0] :]
    grid = [-(-size // 8) for size in shape]
    block = [place // 8 for place in at]
    number = (block[0] * grid[1] + block[1]) * grid[2] + block[2]
    header, values_at = words[2 * number], words[2 * number + 1]
    table_at, bits = header % 2**24, header >> 24
    inside = [place % 8 for place in at]
    first_bit = ((inside[0] * 8 + inside[1]) * 8 + inside[2]) * bits
    entry = (words[values_at + first_bit // 32] >> first_bit % 32) % 2**bits if bits else 0
    if dtype == np.uint32:
        return words[table_at + entry]
    return words[table_at + 2 * entry] + (words[table_at + 2 * entry + 1] << 32)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("distinct", [1, 2, 3, 4, 5, 16, 17, 256, 257, 5000])
def test_compressed_segmentation_for_every_index_width(dtype, distinct):
    generator = np.random.default_rng(distinct)
    ids = generator.integers(0, np.iinfo(dtype).max, distinct, dtype, endpoint=True)
    chunk = generator.choice(ids, (9, 16, 11))
    data = encode_compressed_segmentation(chunk)
    assert (decode_compressed_segmentation(data, chunk.shape, dtype) == chunk).all()
    for at in [(0, 0, 0), (8, 15, 10), (7, 8, 3), (3, 2, 9)]:
        assert decode_voxel(data, chunk.shape, at, dtype) == int(chunk[at])


@given(st.tuples(*[st.integers(1, 20)] * 3), st.integers(1, 40), st.integers(0, 2**32))
def test_compressed_segmentation_of_any_shape(shape, distinct, seed):
    generator = np.random.default_rng(seed)
    chunk = generator.integers(0, distinct, shape).astype(np.uint64) << np.uint64(40)
    assert (decode_compressed_segmentation(encode_compressed_segmentation(chunk), shape, np.uint64) == chunk).all()


def test_damaged_chunks_are_refused():
    data = encode_compressed_segmentation(np.arange(512, dtype=np.uint64).reshape(8, 8, 8))
    for damaged in (data[:-8], data[:7], b"", data[:12]):
        with pytest.raises(ValueError, match=r"cannot have|points outside"):
            decode_compressed_segmentation(damaged, (8, 8, 8), np.uint64)
    with pytest.raises(TypeError, match="uint32 or uint64, not uint8"):
        encode_compressed_segmentation(np.zeros((8, 8, 8), np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64, bool])
def test_segmentations_come_back_unchanged(tmp_path, dtype):
    ids = np.array([0, 1, 200, 70_000, 2**40, 2**63 - 1], np.uint64).astype(dtype)
    labels = np.random.default_rng(0).choice(ids, (10, 70, 90))
    before = labels.copy()
    path = write_precomputed(
        labels, tmp_path / "labels", voxel_size=VOXEL_SIZE, kind="segmentation", mips=2, chunk=(8, 32, 64)
    )
    back = read_precomputed(path)
    assert back.dtype in (np.uint32, np.uint64)
    assert (back == labels.astype(np.uint64)).all()
    assert (labels == before).all()
    box = read_precomputed(path, start=(3, 30, 60), stop=(9, 66, 90))
    assert (box == labels[3:9, 30:66, 60:90].astype(np.uint64)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float16, np.float64])
def test_images_come_back_and_coarser_levels_are_their_means(tmp_path, dtype):
    image = (np.random.default_rng(0).random((5, 33, 47)) * 255).astype(dtype)
    path = write_precomputed(image, tmp_path / "image", voxel_size=VOXEL_SIZE, mips=1, chunk=(8, 16, 16))
    assert (read_precomputed(path) == image.astype(read_precomputed(path).dtype)).all()
    whole = downsample_image(read_precomputed(path), (1, 2, 2))
    assert (read_precomputed(path, mip=1) == whole).all()
    expected = image[:, :2, :2].astype(np.float64).mean(axis=(1, 2))
    assert read_precomputed(path, mip=1)[:, 0, 0] == pytest.approx(expected, abs=0.51)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_channels_come_back_at_every_level(tmp_path, dtype, channels):
    affinities = (np.random.default_rng(0).random((channels, 6, 33, 47)) * 255).astype(dtype)
    path = write_precomputed(affinities, tmp_path / "all", voxel_size=VOXEL_SIZE, mips=2, chunk=(8, 16, 16))
    info = json.loads((path / "info").read_text())
    assert info["num_channels"] == channels
    whole = read_precomputed(path)
    assert (whole == (affinities if channels > 1 else affinities[0])).all()
    box = read_precomputed(path, mip=1, start=(1, 3, 5), stop=(6, 17, 24))
    # Each channel is what it would be if it were alone.
    for channel in range(channels):
        alone = write_precomputed(
            affinities[channel], tmp_path / str(channel), voxel_size=VOXEL_SIZE, mips=2, chunk=(8, 16, 16)
        )
        part = (channel,) if channels > 1 else ()
        assert (read_precomputed(path, mip=2)[part] == read_precomputed(alone, mip=2)).all()
        assert (box[part] == read_precomputed(alone, mip=1)[1:6, 3:17, 5:24]).all()
    # The format: x fastest, then y, z, and the channel last.
    raw = np.frombuffer((path / "mip0" / "0-16_0-16_0-6").read_bytes(), whole.dtype)
    assert raw[(16 * 6 * 16) * (channels - 1) + 16 * 16 * 2 + 16 * 3 + 4] == affinities[-1, 2, 3, 4]


def test_coarse_levels_hold_the_most_frequent_label(tmp_path):
    labels = np.random.default_rng(0).integers(0, 4, (5, 70, 60)).astype(np.uint64)
    path = write_precomputed(
        labels, tmp_path / "labels", voxel_size=(8, 8, 8), kind="segmentation", mips=1, chunk=(8, 16, 24)
    )
    np.testing.assert_array_equal(read_precomputed(path, mip=1), downsample_labels(labels, (2, 2, 2)))


def test_info_says_what_neuroglancer_needs(tmp_path):
    labels = np.zeros((10, 40, 30), np.uint64)
    path = write_precomputed(labels, tmp_path / "labels", voxel_size=VOXEL_SIZE, kind="segmentation", mips=1)
    info = json.loads((path / "info").read_text())
    assert info["@type"] == "neuroglancer_multiscale_volume"
    assert (info["type"], info["data_type"], info["num_channels"]) == ("segmentation", "uint64", 1)
    assert [scale["size"] for scale in info["scales"]] == [[30, 40, 10], [15, 20, 10]]
    assert [scale["resolution"] for scale in info["scales"]] == [[8, 8, 30], [16, 16, 30]]
    assert (path / info["scales"][0]["key"] / "0-30_0-40_0-10").is_file()


def test_levels_stop_by_themselves():
    assert [level[0] for level in plan_levels((100, 1500, 1100), (30, 8, 8), None)] == [
        (100, 1500, 1100),
        (100, 750, 550),
        (50, 375, 275),
    ]
    assert len(plan_levels((1, 1, 1), (8, 8, 8), 5)) == 1


def test_only_a_chunk_is_read_at_a_time(tmp_path):
    class Lazy:
        shape, dtype, voxel_size, largest = (16, 128, 128), np.dtype(np.uint8), VOXEL_SIZE, 0

        def __getitem__(self, box):
            piece = np.zeros(self.shape, np.uint8)[box]
            self.largest = max(self.largest, piece.size)
            return piece

    volume = Lazy()
    write_precomputed(volume, tmp_path / "image", chunk=(8, 32, 32), mips=1)
    assert volume.largest == 8 * 32 * 32


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path, monkeypatch):
    image = np.ones((8, 64, 64), np.uint8)
    path = write_precomputed(image, tmp_path / "image", voxel_size=VOXEL_SIZE)
    calls = []

    def fail_later(chunk):
        calls.append(chunk)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return chunk.tobytes()

    monkeypatch.setattr("emlib.visualization.precomputed.encode_raw", fail_later)
    with pytest.raises(OSError, match="disk is full"):
        write_precomputed(2 * image, path, voxel_size=VOXEL_SIZE, chunk=(8, 32, 32))
    assert [entry.name for entry in tmp_path.iterdir()] == ["image"]
    assert (read_precomputed(path) == 1).all()
    with pytest.raises(FileExistsError, match="exists already"):
        write_precomputed(image, path, voxel_size=VOXEL_SIZE, overwrite=False)


def test_bad_input_stops_with_one_sentence(tmp_path):
    labels = np.zeros((8, 8, 8), np.int64)
    target = tmp_path / "new"
    with pytest.raises(ValueError, match="needs a voxel size"):
        write_precomputed(labels, target)
    with pytest.raises(ValueError, match="'image' or 'segmentation', not 'labels'"):
        write_precomputed(labels, target, voxel_size=VOXEL_SIZE, kind="labels")
    with pytest.raises(ValueError, match=r"must be \(z, y, x\) and not empty"):
        write_precomputed(labels[0], target, voxel_size=VOXEL_SIZE, kind="segmentation")
    with pytest.raises(ValueError, match=r"segmentation must be \(z, y, x\) and not empty"):
        write_precomputed(labels[None], target, voxel_size=VOXEL_SIZE, kind="segmentation")
    with pytest.raises(ValueError, match=r"image must be \(z, y, x\) or \(c, z, y, x\) and not empty"):
        write_precomputed(labels[0], target, voxel_size=VOXEL_SIZE)
    with pytest.raises(ValueError, match="multiples of 8"):
        write_precomputed(labels, target, voxel_size=VOXEL_SIZE, chunk=(8, 8, 7))
    with pytest.raises(ValueError, match="mips must be 0 or more"):
        write_precomputed(labels, target, voxel_size=VOXEL_SIZE, mips=-1)
    with pytest.raises(ValueError, match="smallest here is -1"):
        write_precomputed(labels - 1, target, voxel_size=VOXEL_SIZE, kind="segmentation")
    with pytest.raises(TypeError, match="integer labels, but it is float64"):
        write_precomputed(labels * 0.5, target, voxel_size=VOXEL_SIZE, kind="segmentation")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="has no file 'info'"):
        read_precomputed(target)


def test_reading_what_is_not_there_stops_with_one_sentence(tmp_path):
    path = write_precomputed(np.zeros((8, 8, 8), np.uint8), tmp_path / "image", voxel_size=VOXEL_SIZE, mips=0)
    with pytest.raises(ValueError, match="there is no level 3"):
        read_precomputed(path, mip=3)
    with pytest.raises(ValueError, match="does not lie inside level 0"):
        read_precomputed(path, stop=(8, 8, 9))
    (path / "mip0" / "0-8_0-8_0-8").write_bytes(b"short")
    with pytest.raises(ValueError, match="has 512 bytes; this one has 5"):
        read_precomputed(path)
    (path / "mip0" / "0-8_0-8_0-8").unlink()
    with pytest.raises(FileNotFoundError, match="lacks its chunk mip0/0-8_0-8_0-8"):
        read_precomputed(path)
