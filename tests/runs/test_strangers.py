"""A run that somebody sent: nothing outside it is read or written, no memory is taken for what it claims, nothing waits for ever."""

import contextlib
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from numcodecs.zstd import Zstd

from pldebias.runs import RunError, catalogue, open_run, places, reader


@pytest.fixture
def run(tmp_path, world):
    """A run whose attributes no checksum protects, as its maker could have it."""
    with world.start(tmp_path / "runs" / "run") as recorder:
        world.record(recorder, range(5), snapshots=(1, 3))
    path = tmp_path / "runs" / "run"

    def forge(root):
        del root["attributes"]["checksum"], root["consolidated_metadata"]["metadata"]["crc32c"]
        for meta in root["consolidated_metadata"]["metadata"].values():
            meta["attributes"].pop("crc32", None)

    edit(path, forge)
    assert open_run(path).finished
    return path


def edit(path, change):
    root = json.loads((path / "zarr.json").read_text())
    change(root)
    (path / "zarr.json").write_text(json.dumps(root))


def replace(path, name, data):
    """A chunk of other content, with a checksum that fits and of the size that the records tell."""
    data = data + google_crc32c.value(data).to_bytes(4, "little")
    (path / name).write_bytes(data)
    with zarr.config.set({"array.write_empty_chunks": True}):
        written = zarr.open_group(path, mode="r+")["written"]
        written[int(name.split(".")[1]), written.attrs["names"].index(name.split("/")[0])] = len(data)


# -- links ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero", "c.0.0.0", "/nowhere"])
def test_a_chunk_that_is_a_link(run, target):
    chunk = run / "sweep" / "c.3.0.0"
    chunk.unlink()
    chunk.symlink_to(target)
    assert list(open_run(run).dropped) == [3]
    with pytest.raises(RunError, match=r"sweep/c.3.0.0 is a link, and links inside a run are not followed"):
        open_run(run)._reader.read("sweep", [3])


def test_folders_and_metadata_that_are_links(run, tmp_path):
    os.rename(run / "sweep", tmp_path / "sweep")
    (run / "sweep").symlink_to(tmp_path / "sweep")
    assert len(open_run(run).dropped) == 5
    with pytest.raises(RunError, match="sweep is a link"):
        open_run(run)._reader.read("sweep", [3])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "zarr.json").symlink_to(run / "zarr.json")
    with pytest.raises(RunError, match=r"zarr.json is a link"):
        open_run(tmp_path / "other")
    (tmp_path / "published").symlink_to(run)  # what the user names may be a link; what the run contains may not
    assert open_run(tmp_path / "published").epochs.tolist() == open_run(run).epochs.tolist()


def test_the_catalogue_looks_at_nothing_outside(run, tmp_path):
    (tmp_path / "runs" / "elsewhere").symlink_to("/")
    assert catalogue(tmp_path / "runs").path.tolist() == [str(run)]


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, a_socket])
def test_files_that_are_none(run, make, monkeypatch):
    """A pipe would be waited for."""
    monkeypatch.chdir(run / "sweep")  # names of sockets must be short
    Path("c.3.0.0").unlink()
    make(Path("c.3.0.0"))
    assert 3 in open_run(run).dropped
    with pytest.raises(RunError, match=r"sweep/c.3.0.0|cannot read"):
        open_run(run)._reader.read("sweep", [3])


def test_nothing_is_written_through_links(run, tmp_path, world):
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine" * 10)
    (run / "done" / "c.0").unlink()
    (run / "done" / "c.0").symlink_to(outside)
    with pytest.raises(RunError, match=r"done/c.0 is a link"):
        world.start(run, resume=True)
    assert outside.read_bytes() == b"mine" * 10 and not run.with_name("run.lock").exists()


# -- sizes ----------------------------------------------------------------------------------------------------------------


def frame(content: int, data: bytes = b"\x01\x00\x00", field: int = 3) -> bytes:
    """A zstd frame whose header promises `content` bytes."""
    return b"\x28\xb5\x2f\xfd" + bytes([0xE0 if field == 3 else 0x00]) + (struct.pack("<Q", content) if field == 3 else b"\x00") + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(2**50), "unpacks to 1125899906842624 bytes where 120 belong"),
        (bytes(Zstd(level=1).encode(bytes(10**7))), "unpacks to 10000000 bytes where 120 belong"),
        (frame(0, field=0), "unknown size"),
        (frame(120), "zstd"),
        (b"\x28\xb5", "no zstd data"),
        (b"", "no zstd data"),
        (b"\x50\x2a\x4d\x18" + struct.pack("<I", 2**31) + b"x" * 20, "no zstd data"),  # a frame to be skipped
    ],
    ids=range(7),
)
def test_bombs(run, data, message):
    """`history` is the array that is always compressed here; 60 labels of 2 bytes."""
    codecs = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
        {"name": "crc32c"},
    ]
    edit(run, lambda root: root["consolidated_metadata"]["metadata"]["history"].update(codecs=codecs))
    replace(run, "history/c.3.0", data)
    before = resident()
    with pytest.raises(RunError, match=f"history/c.3.0 .*{message}"):
        open_run(run)._reader.read("history", [3])
    assert resident() - before < 50


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_chunk_and_metadata_larger_than_they_may_be(run, monkeypatch):
    (run / "sweep" / "c.3.0.0").write_bytes(bytes(2**20))
    with pytest.raises(RunError, match="has 1048576 bytes, where at most 68 belong"):
        open_run(run)._reader.read("sweep", [3])
    monkeypatch.setattr(reader, "METADATA", 1000)
    with pytest.raises(RunError, match=r"zarr.json has \d+ bytes, where at most 1000 belong"):
        open_run(run)


def test_a_read_larger_than_memory_is_refused(run, monkeypatch):
    reader.most_bytes.cache_clear()
    monkeypatch.setenv("PLDEBIAS_READ_LIMIT", "500")
    try:
        with pytest.raises(RunError, match=r"would take .* GB of memory, .* \(PLDEBIAS_READ_LIMIT, in bytes\); read fewer epochs"):
            open_run(run).history()
    finally:
        reader.most_bytes.cache_clear()


def test_samples_without_number(run):
    """Shapes that agree with each other are believed until something is to be read."""

    def many(root):
        for meta in root["consolidated_metadata"]["metadata"].values():
            for i, dim in enumerate(meta.get("dimension_names", [])):
                if dim == "sample":
                    meta["shape"][i] = 10**12
                    meta["chunk_grid"]["configuration"]["chunk_shape"][i] = 10**12

    edit(run, many)
    opened = open_run(run)
    assert opened.num_unlabelled == 10**12 and opened.confusion().sum() > 0
    with pytest.raises(RunError, match="GB of memory"):
        _ = opened.true_labels
    with pytest.raises(RunError, match="GB of memory"):
        opened.history(0)


# -- what it says ---------------------------------------------------------------------------------------------------------


def test_labels_that_are_no_classes_and_more_accepted_than_there_are(run):
    replace(run, "history/c.3.0", np.full(60, 30_000, "<i2").tobytes())
    replace(run, "sweep_accepted/c.3.0.0", np.full(16, 9, "<u4").tobytes())
    opened = open_run(run)
    with pytest.raises(RunError, match=r"history holds \d+..30000, but classes are 0..3"):
        opened.history(3)
    for split in ("accepted", "rejected"):
        with pytest.raises(RunError, match="more samples accepted than there are"):
            opened.confusion(split=split)


# -- remote ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(answer):
    """Calls `answer(connection)` for every connection, and closes all of them at the end."""
    listener, open_ones = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection):
        with contextlib.suppress(OSError):
            connection.recv(4096)
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/run"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            connection.close()
        thread.join(5)


def silent(connection):
    time.sleep(5)


def dripping(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b" ")
        time.sleep(0.05)


def endless(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(2**16))


def circling(connection):
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /run/zarr.json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def failing(connection):
    connection.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("answer", [silent, dripping, endless, circling, failing])
def test_servers_that_do_not_come_to_an_end(answer, monkeypatch):
    monkeypatch.setattr(places, "SILENCE", 0.5)
    monkeypatch.setattr(places, "WHOLE", 1.5)
    monkeypatch.setattr(reader, "METADATA", 2**22)
    before, begin = resident(), time.monotonic()
    with server(answer) as address, pytest.raises(RunError, match=r"cannot read|has more than the 4194304 bytes"):
        open_run(address)
    assert time.monotonic() - begin < 4 and resident() - before < 200


def test_addresses_that_lead_nowhere():
    for address in ("http://127.0.0.1:9/run", "nothing://here", "http://", "s3:/x"):
        with pytest.raises(RunError):
            open_run(address)
