"""Rebuilding av-digits from originals served on 127.0.0.1, and what the data commands say."""

import fcntl
import gzip
import io
import struct
import tarfile

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from tcmax.data import av_digits, crema_d_ratings, leaves100, mfeat, mosi, newsgroups_m5
from tcmax.data.fetching.fetch import FSDD_ARCHIVE, QMNIST_LABELS, check, fetch, info, listing, verify
from tcmax.errors import TcmaxError
from tcmax.records.files import sha256

ARCHIVE = f"/fsdd/{FSDD_ARCHIVE}"
IMAGES = ("/mnist/train-images-idx3-ubyte.gz", "/mnist/t10k-images-idx3-ubyte.gz")


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def github_archive(recordings, extra=()):
    """A .tar.gz as the hosting site makes them: one top folder, a global header, other files among the wanted ones."""
    stream = io.BytesIO()
    top = "free-spoken-digit-dataset-26eb9aaf"
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=0, pax_headers={"comment": "26eb9aaf"}) as archive:
        add(archive, f"{top}/README.md", b"read me")
        for name in sorted(recordings):
            add(archive, f"{top}/recordings/{name}", recordings[name])
        add(archive, f"{top}/examples/0_george_0.wav", b"not a recording")
        for name, content in extra:
            add(archive, name, content)
    return stream.getvalue()


def qmnist_labels(real_data, part):
    """Extended labels as QMNIST's README describes them; columns that are not read hold other numbers."""
    stored = np.load(real_data / "mnist" / "writers.npz")
    rows = np.arange(60_000 * 8, dtype=">i4").reshape(60_000, 8)
    for column, meaning in enumerate(("digit", "hsf", "writer")):
        known = stored[f"{part}_{meaning}"]
        rows[: len(known), column] = known
    return gzip.compress(struct.pack(">3i", 0x0C02, 60_000, 8) + rows.tobytes(), compresslevel=0)


@pytest.fixture(scope="session")
def recordings(real_data):
    with tarfile.open(real_data / "fsdd" / "recordings.tar") as archive:
        return {member.name.split("/")[1]: archive.extractfile(member).read() for member in archive}


@pytest.fixture(scope="session")
def originals(real_data, recordings):
    return {
        ARCHIVE: github_archive(recordings),
        **{path: (real_data / path.lstrip("/")).read_bytes() for path in IMAGES},
        **{f"/qmnist/{file}": qmnist_labels(real_data, part) for part, file in QMNIST_LABELS.items()},
    }


def get(server, root):
    base_urls = {key: (f"{server.url}/{key}",) for key in ("fsdd", "mnist", "qmnist")}
    return fetch("AV-Digits", root, base_urls, pause_seconds=0.0)


@pytest.fixture
def complete(real_data, tmp_path):
    """A root that is already right: links to the real files."""
    for file in av_digits.CONTENT:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).symlink_to(real_data / file)
    return tmp_path


def test_an_empty_root_is_filled_from_the_originals_through_a_cut_connection(
    server, originals, real_data, tmp_path, capsys
):
    def cut(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(originals[ARCHIVE])))
        handler.end_headers()
        handler.wfile.write(originals[ARCHIVE][:1_000_000])

    server.content.update(originals)
    server.answers[ARCHIVE] = [cut]
    report = get(server, tmp_path)
    assert report.count("ok  ") == len(av_digits.CONTENT)
    assert server.requests[1] == (ARCHIVE, "bytes=1000000-")

    shown = capsys.readouterr().err.splitlines()
    assert shown[1].startswith("licence: sound CC BY-SA 4.0")
    assert shown.index("fetch AV-Digits: fsdd/recordings.tar (1/6)") > 1

    for file in ("fsdd/recordings.tar", "av_digits/pairs.csv", "av_digits/folds.csv"):
        assert sha256(tmp_path / file) == sha256(real_data / file)
    with np.load(tmp_path / "mnist/writers.npz") as here, np.load(real_data / "mnist/writers.npz") as published:
        assert set(here) == set(published)
        for name in here:
            assert here[name].dtype == published[name].dtype
            np.testing.assert_array_equal(here[name], published[name])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["av_digits", "fsdd", "mnist"]

    before = len(server.requests)
    assert get(server, tmp_path) == report
    assert len(server.requests) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["av_digits", "fsdd", "mnist"]  # nothing was written


def test_only_what_is_damaged_or_missing_is_fetched(server, originals, complete):
    (complete / "mnist/t10k-images-idx3-ubyte.gz").unlink()
    (complete / "mnist/t10k-images-idx3-ubyte.gz").write_bytes(b"damaged")
    (complete / "av_digits/pairs.csv").unlink()
    assert [found.state for found in check("av-digits", complete)] == ["ok", "ok", "damaged", "ok", "missing", "ok"]
    with pytest.raises(TcmaxError, match=r"2 of 6 files .*t10k-images-idx3-ubyte.gz is damaged .*pairs.csv is missing"):
        verify("av-digits", complete)
    server.content.update(originals)
    get(server, complete)
    assert [path for path, _ in server.requests] == [IMAGES[1]]
    assert (complete / "fsdd/recordings.tar").is_symlink()


def test_a_fetch_that_fails_half_way_keeps_what_it_has(server, originals, complete):
    for path in IMAGES:
        (complete / path.lstrip("/")).unlink()
    server.content[IMAGES[0]] = originals[IMAGES[0]]
    with pytest.raises(TcmaxError, match=r"cannot download mnist-t10k.*HTTP 404"):
        get(server, complete)
    server.content.update(originals)
    get(server, complete)
    assert [path for path, _ in server.requests] == [IMAGES[0], IMAGES[1], IMAGES[1]]


@pytest.mark.parametrize("fault", ["sample", "absent", "traversal", "truncated"])
def test_an_archive_that_is_not_the_published_one_is_refused(fault, server, recordings, complete):
    wavs, extra = dict(recordings), []
    if fault == "sample":
        wavs["7_theo_3.wav"] = wavs["7_theo_3.wav"][:-1] + b"\x55"
    elif fault == "absent":
        del wavs["7_theo_3.wav"]
    elif fault == "traversal":
        extra = [("free-spoken-digit-dataset-26eb9aaf/../../outside.txt", b"evil")]
    content = github_archive(wavs, extra)
    server.content[ARCHIVE] = content[: len(content) // 2] if fault == "truncated" else content
    (complete / "fsdd/recordings.tar").unlink()
    reason = {
        "sample": "does not hold the published content of recordings.tar",
        "absent": "lacks 1 of 3000 recordings, the first being 7_theo_3.wav",
        "traversal": "unsafe path",
        "truncated": "not a complete tar archive",
    }[fault]
    with pytest.raises(TcmaxError, match=reason):
        get(server, complete)
    assert not (complete / "fsdd/recordings.tar").exists()
    assert not list(complete.parent.rglob("outside.txt"))


def test_labels_of_other_writers_are_refused_and_not_kept_for_the_next_attempt(server, originals, complete):
    (complete / "mnist/writers.npz").unlink()
    server.content.update(originals)
    good = server.content[f"/qmnist/{QMNIST_LABELS['test']}"]
    server.content[f"/qmnist/{QMNIST_LABELS['test']}"] = originals[f"/qmnist/{QMNIST_LABELS['train']}"]
    with pytest.raises(TcmaxError, match=r"QMNIST label files does not hold the published content of writers.npz"):
        get(server, complete)
    server.content[f"/qmnist/{QMNIST_LABELS['test']}"] = good
    get(server, complete)


def test_two_fetches_into_one_root_do_not_meet(server, tmp_path):
    (tmp_path / ".downloads").mkdir()
    with (tmp_path / ".downloads" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # an exclusive lock is refused, another shared one is not
        with pytest.raises(TcmaxError, match="another fetch is at work"):
            get(server, tmp_path)


def test_nothing_is_opened_for_writing_where_all_is_right(data_with, monkeypatch):
    root = data_with(leaves100.FILE.file)
    monkeypatch.setattr("tcmax.data.fetching.fetch._alone", None)
    assert fetch("leaves100", root) == f"ok  {root / leaves100.FILE.file}"


def test_what_cannot_be_fetched_says_why(tmp_path, monkeypatch):
    monkeypatch.delenv("TCMAX_DATA", raising=False)
    with pytest.raises(TcmaxError, match="digits-halves has no files below the data root"):
        fetch("digits-halves", tmp_path)
    with pytest.raises(
        TcmaxError, match=r"grid-letters cannot be downloaded by this command: docs/benchmark-datasets\.md"
    ):
        fetch("grid-letters", tmp_path)
    with pytest.raises(TcmaxError, match=r"ave-once is made from media that you have: run `tcmax prepare ave --source"):
        fetch("ave-once", tmp_path)
    with pytest.raises(TcmaxError, match=r"leaves100\.npz is missing .* Run `tcmax data fetch leaves100`\."):
        verify("leaves100", tmp_path)
    with pytest.raises(TcmaxError, match="unknown dataset 'av-digit'; did you mean 'av-digits'"):
        fetch("av-digit", tmp_path)
    with pytest.raises(TcmaxError, match="no such source of originals: fsd; known: crema-d, fsdd"):
        fetch("av-digits", tmp_path, {"fsd": ("http://127.0.0.1",)})
    for command in (fetch, verify):
        with pytest.raises(TcmaxError, match="set the environment variable TCMAX_DATA"):
            command("av-digits")


# Sets that come as one file of a collection.


def matlab_file(arrays, label, turned=(), sparse=()):
    """A .mat as multi-view collections have it: views in a cell called X, classes from 1, not in the order of ours."""
    order = np.argsort(-label.astype(int), kind="stable")  # the last class first
    views = np.empty((1, len(arrays)), dtype=object)
    for place, (name, array) in enumerate(sorted(arrays.items())):
        rows = array[order].astype(float)
        rows = rows.T if name in turned else rows
        views[0, place] = scipy.sparse.csc_matrix(rows) if name in sparse else rows
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"X": views, "Y": label[order][:, None] + 1.0}, do_compression=bool(sparse))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "published", "file", "turned", "sparse"),
    [
        ("mfeat-3", mfeat.FILE, "handwritten.mat", ("fou", "pix"), ()),
        ("leaves100", leaves100.FILE, "100Leaves.mat", (), ()),
        ("newsgroups-m5", newsgroups_m5.FILE, "NGs.mat", ("view1", "view2", "view3"), ("view2",)),
    ],
)
def test_views_are_found_in_a_matlab_file_whatever_it_calls_them(
    name, published, file, turned, sparse, server, data_with, tmp_path
):
    root = data_with(published.file)
    with np.load(root / published.file) as stored:
        arrays = {key: stored[key] for key in published.content if key not in ("label", "dup_group")}
        label = stored["label"]
    urls = {"multi-view": (f"{server.url}/views",)}
    server.content[f"/views/{file}"] = matlab_file(arrays, label, turned, sparse)
    assert fetch(name, tmp_path, urls, pause_seconds=0.0) == f"ok  {tmp_path / published.file}"
    with np.load(tmp_path / published.file) as made, np.load(root / published.file) as stored:
        for key in published.content:
            assert made[key].dtype == stored[key].dtype
            np.testing.assert_array_equal(made[key], stored[key])


def test_a_matlab_file_of_other_numbers_is_refused(server, data_with, tmp_path):
    root = data_with(leaves100.FILE.file)
    with np.load(root / leaves100.FILE.file) as stored:
        arrays = {key: stored[key] for key in ("margin", "shape", "texture")}
        label = stored["label"]
    urls = {"multi-view": (f"{server.url}/views",)}
    wrong = {
        "texture": matlab_file({**arrays, "texture": np.roll(arrays["texture"], 1, axis=0)}, label),
        "margin, shape, texture": matlab_file(arrays, np.roll(label, 1)),
        "labels": matlab_file(arrays, label // 2),
    }
    for lacking, content in wrong.items():
        server.content["/views/100Leaves.mat"] = content
        with pytest.raises(TcmaxError, match=f"wrong content .*does not hold the published {lacking}"):
            fetch("leaves100", tmp_path, urls, pause_seconds=0.0)
    assert not list(tmp_path.iterdir())


def csv_bytes(rows):
    return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()


def mosi_tables(stored):
    """The nine tables as published, except that train and test rows stand in another order."""
    names = [f"{video}_{number}" for video, number in zip(stored["video_id"], stored["utterance"], strict=True)]
    tables = {"transcripts.csv": [(name, "TEXT, SAID", 93, k) for name, k in zip(names, stored["label"], strict=True)]}
    for number, part in enumerate(("train", "test")):
        places = np.flatnonzero(stored["split"] == number)[::-1]
        tables[f"text_{part}.csv"] = [(place, 0.5) for place in places]
        for view in ("text", "audio", "video"):
            tables[f"{view}/{view}_{part}0.csv"] = [
                (*stored[view][place].tolist(), stored["label"][place]) for place in places
            ]
    return {f"/mosi/{file}": csv_bytes(rows) for file, rows in tables.items()}


def test_features_of_mosi_are_put_in_the_order_of_the_corpus(server, data_with, tmp_path):
    root = data_with(mosi.FILE.file)
    with np.load(root / mosi.FILE.file) as file:
        stored = {name: file[name] for name in mosi.FILE.content}
    server.content.update(mosi_tables(stored))
    urls = {"mosi": (f"{server.url}/mosi",)}
    right = server.content["/mosi/text_test.csv"]
    wrong = {
        b'"9","0.5"\n' * 752: "do not hold the published text, audio, video, split",
        right.splitlines()[0]: "do not fit each other",
        b"<html>": "text_test.csv.part is not a table of numbers",
        b'"1","2"\n"3"\n': "text_test.csv.part is not a table",
    }
    for content, message in wrong.items():
        server.content["/mosi/text_test.csv"] = content
        with pytest.raises(TcmaxError, match=message):
            fetch("mosi-features", tmp_path, urls, pause_seconds=0.0)
    server.content["/mosi/text_test.csv"] = right
    fetch("mosi-features", tmp_path, urls, pause_seconds=0.0)
    with np.load(tmp_path / mosi.FILE.file) as made:
        for name, array in stored.items():
            assert made[name].dtype.kind == array.dtype.kind
            np.testing.assert_array_equal(made[name], array)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cmu_mosi_features"]  # nothing else is left


def test_ratings_of_crema_d_are_made_from_the_published_votes(server, data_with, tmp_path):
    root = data_with("crema_d/tabulatedVotes.csv.gz")
    votes = gzip.decompress((root / "crema_d/tabulatedVotes.csv.gz").read_bytes())
    urls = {"crema-d": (f"{server.url}/votes",)}
    changed = votes.replace(b'"100001",0,0,0,1,10,0', b'"100001",0,0,0,2,9,0')
    assert changed != votes
    server.content["/votes/tabulatedVotes.csv"] = changed
    with pytest.raises(TcmaxError, match=r"wrong content .*does not hold the published votes"):
        fetch("crema-d-ratings", tmp_path, urls, pause_seconds=0.0)
    server.content["/votes/tabulatedVotes.csv"] = votes
    fetch("crema-d-ratings", tmp_path, urls, pause_seconds=0.0)
    made, published = crema_d_ratings.load(tmp_path), crema_d_ratings.load(root)
    assert made.fingerprint() == published.fingerprint()


def test_an_unwritable_root_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TcmaxError, match=r"cannot write .*file/.downloads: a part of the path is a file"):
        fetch("av-digits", tmp_path / "file")


def test_the_list_says_which_datasets_are_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TCMAX_DATA", str(tmp_path))
    lines = listing().splitlines()
    assert any(line.startswith("digits-halves") and "needs no download" in line for line in lines)
    assert any(line.startswith("av-digits") and "not here; run `tcmax data fetch av-digits`" in line for line in lines)
    assert any(line.startswith("mfeat-2") and "not here; run `tcmax data fetch mfeat-2`" in line for line in lines)
    assert any(line.startswith("grid-letters") and "not here; see docs/benchmark" in line for line in lines)
    assert any(line.startswith("ave-once") and "run `tcmax prepare ave --source MEDIA`" in line for line in lines)
    (tmp_path / "av_digits").mkdir()
    (tmp_path / "av_digits" / "folds.csv").write_text("")  # one of six files
    assert any(line.startswith("av-digits ") and "not here" in line for line in listing().splitlines())
    (tmp_path / "stores" / "ave").mkdir(parents=True)
    (tmp_path / "stores" / "ave" / "manifest.json").write_text("{}")
    assert any(line.startswith("ave-once") and f"in {tmp_path}/stores/ave" in line for line in listing().splitlines())
    assert "files: not here; run `tcmax prepare crema-d --source MEDIA`" in info("crema-d-actors")
    assert "Open Database License" in info("crema-d-actors")
    assert "five folds by actor" in info("crema-d-actors")
    assert "run `tcmax prepare mvsa-single --source TWEETS --model vit-b-32 --weights FILE`" in info(
        "mvsa-single-vit-b-32"
    )
    assert "licence" in info("av-digits")
    assert "CC BY-SA" in info("av-digits")


def test_the_description_of_a_dataset_that_is_here_counts_its_parts():
    text = info("digits-halves")
    assert "modalities: left (8, 5), right (8, 3)" in text
    assert "fold 0: 400 train, 200 val, 1,197 test" in text
    assert "fingerprint: " in text
    assert "source names" not in text


def test_a_users_feature_file_is_described_by_its_path(tmp_path, monkeypatch):
    parts = np.array(["train", "train", "val", "test"])
    labels = np.array([0, 1, 1, 0])
    np.savez(tmp_path / "mine.npz", inputs_text=np.ones((4, 3)), labels=labels, split=parts, official_validation=True)
    text = info(str(tmp_path / "mine.npz"))
    assert "mine: mine\nlicence: not stated\n" in text
    assert "fold 0: 2 train, 1 val, 1 test\nthe val items are those that the source names\n" in text
    with pytest.raises(TcmaxError, match=r"absent\.npz: there is no such feature file"):
        info(str(tmp_path / "absent.npz"))
    with pytest.raises(TcmaxError, match="unknown dataset 'absent'"):
        info("absent")
    monkeypatch.chdir(tmp_path)
    for folder in ("parts", "leaves100"):  # the second is a dataset too
        (tmp_path / folder).mkdir()
    with pytest.raises(TcmaxError, match=r"parts: the folder holds no \.parquet file"):
        info("parts")
    assert "One-hundred plant species" in info("leaves100")
