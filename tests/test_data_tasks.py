"""Promise: tasks on real data hold what the literature says they hold, and score it as stated.

The real files come from a mirror, `RNNBENCH_MIRROR`: without one these tests are skipped, but on CI
they fail.
"""

import gzip
import json
import math
import os
import threading
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from rnnbench import data
from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.settings import Paths
from rnnbench.tasks.babi import Babi
from rnnbench.tasks.chars import CharLM
from rnnbench.tasks.chorales import Chorales
from rnnbench.tasks.contract import pointwise_loss
from rnnbench.tasks.pixels import FILES, SequentialMNIST, unpack

PROSE = "It was the best of times, it was the worst of times.\n" * 40  # 2,120 characters


@pytest.fixture(scope="session")
def fetch(mirror, tmp_path_factory):
    paths = Paths(results=".", data=str(tmp_path_factory.mktemp("data")), mirror=mirror)
    return lambda name: data.fetch(name, paths, lambda line: None)


@pytest.fixture
def prose(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text(PROSE)
    return str(path)


def scored(task, split, predict, size=50):
    """The metrics of a predictor, batch → (T, B, C) or (B, C), over a whole split."""
    sums = {}
    for batch in task.evaluation(split, Draw(0), size):
        mask = None if batch.mask is None else torch.tensor(batch.mask)[None]
        y = torch.tensor(batch.y)[None]
        for name, (total, count) in task.score(
            predict(batch)[None].double(), y.double() if y.is_floating_point() else y, mask
        ).items():
            old = sums.get(name, (0.0, 0))
            sums[name] = (old[0] + total.item(), old[1] + count.item())
    return {name: total / count for name, (total, count) in sums.items()}


def sure(y, classes):
    """Logits that know the class."""
    return 100.0 * torch.nn.functional.one_hot(torch.tensor(y), classes)


def same(one, other):
    return (
        np.array_equal(one.x, other.x)
        and np.array_equal(one.y, other.y)
        and one.carry == other.carry
    )


def text_of(task, ids):
    return "".join(task.text.symbols[i] for i in np.ravel(ids))


# Characters, on a text of our own


def test_text_is_cut_in_order(prose):
    text = CharLM(corpus=prose).text
    assert [len(ids) for ids in text[1:]] == [1908, 106, 106]
    assert "".join(text.symbols[i] for ids in text[1:] for i in ids) == PROSE
    assert list(text.symbols) == sorted(set(PROSE))


def test_batches_follow_the_text(prose):
    task = CharLM(corpus=prose, window=30)
    ring = text_of(task, task.text.train)
    batches = [task.batch(Draw(3), step, 4) for step in range(16)]
    assert all(batch.x.shape == batch.y.shape == (30, 4) for batch in batches)
    assert all(batch.x.dtype == batch.y.dtype == np.int64 for batch in batches)
    # 477 characters a track: 15 windows
    assert [step for step, batch in enumerate(batches) if not batch.carry] == [0, 15]
    assert same(batches[15], batches[0])
    for track in range(4):
        x = "".join(text_of(task, batch.x[:, track]) for batch in batches[:15])
        y = "".join(text_of(task, batch.y[:, track]) for batch in batches[:15])
        assert x in ring + ring
        assert y[:-1] == x[1:]
    starts = [text_of(task, batches[0].x[:, track]) for track in range(4)]
    assert (ring + ring).find(starts[1]) >= 0


def test_tracks_are_disjoint_and_cover_the_text(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 2000))))  # no character twice
    task = CharLM(corpus=str(path), window=30)
    for seed in (0, 1):
        seen = np.concatenate([task.batch(Draw(seed), step, 6).x.ravel() for step in range(10)])
        assert len(set(seen)) == len(seen) == 1800
    assert not same(task.batch(Draw(0), 0, 6), task.batch(Draw(1), 0, 6))
    assert same(task.batch(Draw(1), 7, 6), CharLM(corpus=str(path), window=30).batch(Draw(1), 7, 6))


@pytest.mark.parametrize("tracks", [1, 3, 10, 105, 1000])
@pytest.mark.parametrize("size", [2, 50])
@pytest.mark.parametrize("window", [7, 100])
def test_evaluation_predicts_every_character_once(tmp_path, tracks, size, window):
    path = tmp_path / "numbers.txt"
    path.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 2120))))
    task = CharLM(corpus=str(path), window=window, tracks=tracks)
    batches = list(task.evaluation("test", Draw(0), size))
    x = np.concatenate([batch.x[batch.mask] for batch in batches])
    y = np.concatenate([batch.y[batch.mask] for batch in batches])
    test = task.text.test
    assert sorted(y) == list(test[1:])
    assert np.array_equal(y, x + 1)
    assert all(batch.x.shape[0] == window and batch.x.shape[1] <= size for batch in batches)
    for before, batch in pairwise(batches):
        if batch.carry:
            assert (batch.x[0] == before.y[-1])[batch.mask[0]].all()
    starts = sum(batch.x.shape[1] for batch in batches if not batch.carry)
    assert starts == math.ceil(105 / math.ceil(105 / tracks))


def test_char_scores(prose):
    task = CharLM(corpus=prose)
    classes = task.outputs
    assert scored(task, "test", lambda batch: sure(batch.y, classes)) == {
        "bpc": 0.0,
        "accuracy": 1.0,
    }
    counts = np.bincount(task.text.train, minlength=classes) + 0.1
    constant = torch.tensor(np.log(counts / counts.sum()))
    assert scored(task, "test", lambda batch: constant.expand(*batch.y.shape, -1)) == pytest.approx(
        task.baseline
    )
    assert task.references["uniform"] == math.log2(classes)
    assert task.references["trigram"] < task.references["bigram"] < task.references["unigram"]


def test_text_beyond_ascii(tmp_path):
    path = tmp_path / "greek.txt"
    path.write_bytes(("αβγδε ζηθ\r\n" * 20).encode())
    task = CharLM(corpus=str(path))
    assert text_of(task, np.concatenate(task.text[1:])) == "αβγδε ζηθ\r\n" * 20
    assert task.inputs == task.outputs == 11


def test_text8_is_unzipped_and_cut(tmp_path):
    path = tmp_path / "text8.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("text8", " anarchism originated" * 100)
    task = CharLM(corpus="text8").bound({"text8/text8.zip": path}.__getitem__)
    assert [len(ids) for ids in task.text[1:]] == [1890, 105, 105]
    assert text_of(task, task.text.test[:21]) == " anarchism originated"


def test_an_edited_text_is_read_again(prose):
    before = CharLM(corpus=prose).inputs
    Path(prose).write_text(PROSE + "?!")
    os.utime(prose, ns=(1, 1))
    assert CharLM(corpus=prose).inputs == before + 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 characters"),
        (b"too short", "has 9 characters"),
        (b"caf\xe9 " * 50, "is not UTF-8 text .byte 3."),
    ],
)
def test_unusable_text(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad.txt {message}"):
        CharLM(corpus=str(path)).inputs  # noqa: B018


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"corpus": "tinyshakespear"},
            "task.corpus must be tinyshakespeare, ptb, text8 or the path of a text file; there is "
            "no file 'tinyshakespear'",
        ),
        ({"window": 0}, "task.window must be at least 1, got 0"),
        ({"tracks": 0}, "task.tracks must be at least 1"),
        ({"end_of_sentence": 3}, "task.end_of_sentence must be 1 or 2, got 3"),
        ({"end_of_sentence": 2}, "task.corpus=ptb only, got task.corpus=tinyshakespeare"),
    ],
)
def test_impossible_char_settings(settings, message):
    with pytest.raises(UserError, match=message):
        CharLM(**settings)


def test_batch_too_large_for_the_text(prose):
    with pytest.raises(
        UserError,
        match=r"50 sequences of 100 characters do not fit .* 1908 .* lower train.batch or "
        r"task.window",
    ):
        CharLM(corpus=prose).batch(Draw(0), 0, 50)


# Characters, on real corpora


def test_tiny_shakespeare(fetch):
    task = CharLM().bound(fetch)
    assert [len(ids) for ids in task.text[1:]] == [1_003_854, 55_770, 55_770]
    assert task.inputs == task.outputs == 65
    assert text_of(task, task.text.train[:14]) == "First Citizen:"
    assert task.references == pytest.approx(
        {"uniform": 6.022, "unigram": 4.850, "bigram": 3.599, "trigram": 3.019}, abs=5e-4
    )
    assert task.baseline == {
        "bpc": task.references["unigram"],
        "accuracy": pytest.approx(0.146, abs=5e-4),
    }
    assert sum(batch.mask.sum() for batch in task.evaluation("test", Draw(0), 50)) == 55_769


def test_penn_treebank_counts(fetch):
    one, two = (
        CharLM(corpus="ptb").bound(fetch),
        CharLM(corpus="ptb", end_of_sentence=2).bound(fetch),
    )
    assert [len(ids) for ids in one.text[1:]] == [5_017_482, 393_042, 442_423]
    assert [len(ids) for ids in two.text[1:]] == [5_059_550, 396_412, 446_184]
    assert one.text.symbols == two.text.symbols
    assert one.inputs == 50
    assert "\n" in one.text.symbols
    assert one.baseline["bpc"] == pytest.approx(4.346, abs=5e-4)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_penn_treebank_is_the_published_character_form(fetch, mirror, split):
    task = CharLM(corpus="ptb").bound(fetch)
    published = (Path(mirror) / f"ptb/ptb.char.{split}.txt").read_text()[::2].replace("_", " ")
    assert text_of(task, getattr(task.text, split)) == published


# Pixels


def idx(path, header):
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


@pytest.fixture(scope="session")
def digits(fetch):
    """Read without torchvision."""
    paths = [fetch(name) for name in FILES]
    return [
        idx(path, 16 if "images" in path.name else 8).reshape(
            -1, *((784,) if "images" in path.name else ())
        )
        for path in paths
    ]


def whole(task, split):
    """(images, T, I) and their classes, as evaluation shows them."""
    batches = list(task.evaluation(split, Draw(0), 3000))
    return np.concatenate([batch.x.transpose(1, 0, 2) for batch in batches]), np.concatenate(
        [batch.y for batch in batches]
    )


def test_pixels_are_those_of_the_files(fetch, digits):
    train_x, train_y, test_x, test_y = digits
    task = SequentialMNIST().bound(fetch)
    for split, images, classes in (
        ("valid", train_x[-5000:], train_y[-5000:]),
        ("test", test_x, test_y),
    ):
        x, y = whole(task, split)
        assert x.dtype == np.float32
        assert np.array_equal(x[..., 0], images.astype(np.float32) / np.float32(255))
        assert np.array_equal(y, classes)
    assert np.bincount(train_y).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert np.array_equal(task.images["train"][0], train_x[:55_000])
    assert np.array_equal(task.images["train"][1], train_y[:55_000])
    assert task.baseline == {"accuracy": 0.1135, "nats": pytest.approx(2.301, abs=5e-4)}
    assert (task.inputs, task.outputs, task.horizon) == (1, 10, 784)


def test_pooled_pixels_are_averages(fetch, digits):
    task = SequentialMNIST(pool=4, holdout=10_000).bound(fetch)
    x, _ = whole(task, "test")
    assert x.shape == (10_000, 49, 1)
    assert x[7, 8, 0] == pytest.approx(digits[2][7].reshape(28, 28)[4:8, 4:8].mean() / 255)
    assert len(task.images["valid"][0]) == 10_000


def test_rows(fetch, digits):
    task = SequentialMNIST(rows=True).bound(fetch)
    x, _ = whole(task, "test")
    assert x.shape == (10_000, 28, 28)
    assert np.allclose(x[5].ravel() * 255, digits[2][5])
    assert (task.inputs, task.horizon) == (28, 28)


def test_one_permutation_for_all_images(fetch, digits):
    task = SequentialMNIST(permute=True).bound(fetch)
    assert sorted(task.order) == list(range(784))
    assert task.order[:5].tolist() == [318, 2, 606, 446, 758]  # if this changes, so do results
    assert np.array_equal(
        whole(task, "test")[0][..., 0] * np.float32(255), digits[2][:, task.order]
    )
    assert np.array_equal(task.images["train"][0], digits[0][:55_000, task.order])
    assert not np.array_equal(task.order, SequentialMNIST(permute=True, permute_seed=1).order)


def test_a_pass_shows_every_image_once(fetch):
    task = SequentialMNIST(pool=4).bound(fetch)
    first = [task.batch(Draw(1), step, 5500) for step in range(10)]
    assert all(
        batch.last and batch.x.shape == (49, 5500, 1) and batch.y.dtype == np.int64
        for batch in first
    )
    shown = np.sort(np.concatenate([batch.x.sum((0, 2)) for batch in first]))
    assert np.allclose(shown, np.sort(task.images["train"][0].sum(1) / (255 * 16)))
    assert same(first[3], task.batch(Draw(1), 3, 5500))
    assert not same(first[0], task.batch(Draw(1), 10, 5500))
    assert not same(first[0], task.batch(Draw(2), 0, 5500))


def test_perfect_digits(fetch):
    task = SequentialMNIST(pool=4).bound(fetch)
    assert scored(task, "test", lambda batch: sure(batch.y, 10), size=2500) == {
        "accuracy": 1.0,
        "nats": 0.0,
    }
    with pytest.raises(UserError, match=r"train\.batch must be at most 55000"):
        task.batch(Draw(0), 0, 55_001)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": 3}, "task.pool must be 1, 2 or 4, got 3"),
        ({"rows": True, "permute": True}, "set task.rows or task.permute to false"),
        ({"permute_seed": 5}, "no effect without task.permute=true"),
        ({"permute": True, "permute_seed": -1}, "task.permute_seed must be at least 0"),
        ({"holdout": 0}, "task.holdout must be at least 1"),
        ({"holdout": 60_000}, "task.holdout must be at most 50000"),
    ],
)
def test_impossible_pixel_settings(settings, message):
    with pytest.raises(UserError, match=message):
        SequentialMNIST(**settings)


def test_unpacking_at_the_same_time_and_after_damage(tmp_path):
    content = bytes(range(256)) * 4000
    packed = tmp_path / "images.gz"
    packed.write_bytes(gzip.compress(content, mtime=0))
    threads = [threading.Thread(target=unpack, args=(packed,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "images.gz"]
    for damage in (content[:-1], content[:-1] + b"?"):
        (tmp_path / "images").write_bytes(damage)
        unpack(packed)
        assert (tmp_path / "images").read_bytes() == content
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot unpack"):
        unpack(packed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "images.gz"]


# Stories in the form of the published bAbI files

STORY = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Mary picked up the apple and the milk.
5 What is Mary carrying?\tapple,milk\t4
1 Daniel's dog went back to the office.
2 Where is Daniel's dog?\toffice\t1
"""


@pytest.fixture
def stories(tmp_path):
    """A folder with 40 training and two test questions of kind 8."""
    more = "".join(
        f"1 Sandra went to the room{k % 3}.\n2 Where is Sandra?\troom{k % 3}\t1\n"
        for k in range(37)
    )
    (tmp_path / "qa8_lists-sets_train.txt").write_text(STORY + more)
    (tmp_path / "qa8_lists-sets_test.txt").write_text(
        "1 Eve is a cat.\n2 Where is Eve?\troom0\t1\n3 Why?\tcat\t1 2\n"
    )
    return str(tmp_path)


def story_of(task, batch, column):
    end = int(batch.mask[:, column].argmax())
    words, answers = list(task.vocabulary), list(task.answers)
    return " ".join(words[i] for i in batch.x[: end + 1, column]), answers[batch.y[end, column]]


def test_babi_stories_are_read_word_by_word(stories):
    task = Babi(folder=stories, kind=8)
    assert [len(task.questions[split]) for split in ("train", "valid", "test")] == [36, 4, 2]
    told = [" ".join(question.words) for question in task.questions["train"][:3]]
    begun = "mary moved to the bathroom . john went to the hallway ."
    assert told == [
        f"{begun} where is mary ?",
        f"{begun} mary picked up the apple and the milk . what is mary carrying ?",
        "daniel's dog went back to the office . where is daniel's dog ?",
    ]
    right = [question.answer for question in task.questions["train"][:3]]
    assert right == ["bathroom", "apple,milk", "office"]
    short = Babi(folder=stories, kind=8, sentences=1).questions["train"][0].words
    assert " ".join(short) == "john went to the hallway . where is mary ?"
    assert task.inputs == len(task.vocabulary) and {"eve", "room2", "?"} <= set(task.vocabulary)
    assert list(task.answers) == sorted([*right, "cat", "room0", "room1", "room2"])


def test_babi_batches_and_scores(stories):
    task = Babi(folder=stories, kind=8)
    told = {(" ".join(q.words), q.answer) for q in task.questions["train"]}
    batches = [task.batch(Draw(3), step, 9) for step in range(8)]
    assert {b.x.shape for b in batches} == {(task.longest, 9)} and not any(b.last for b in batches)
    for epoch in (batches[:4], batches[4:]):
        assert {story_of(task, b, column) for b in epoch for column in range(9)} == told
    assert not same(batches[0], batches[4]) and same(batches[5], task.batch(Draw(3), 5, 9))
    assert not same(batches[0], task.batch(Draw(4), 0, 9))
    tested = list(task.evaluation("test", Draw(0), 1))
    stories_told = [story_of(task, b, 0)[0] for b in tested]
    assert stories_told == ["eve is a cat . why ?", "eve is a cat . where is eve ?"]
    assert scored(task, "test", lambda batch: sure(batch.y, 7)) == {"accuracy": 1.0, "nats": 0.0}
    answers = [q.answer for q in task.questions["train"]]
    share = torch.tensor([(answers.count(name) + 1) / 43 for name in task.answers])
    assert task.baseline == pytest.approx(
        scored(task, "test", lambda batch: share.log().expand(*batch.y.shape, 7)), abs=1e-6
    )
    assert task.baseline["accuracy"] == 0.5  # room0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"folder": None},
            r"task.folder must name the folder of the published bAbI files.*babi_own",
        ),
        ({"kind": 9}, r"must hold one file qa9_…_train.txt, found 0"),
        ({"kind": 21}, "task.kind must be from 1 to 20, got 21"),
        ({"sentences": 0}, "task.sentences must be at least 1, got 0"),
    ],
)
def test_impossible_babi_settings(stories, changes, message):
    with pytest.raises(UserError, match=message):
        Babi(**{"folder": stories, "kind": 8} | changes).inputs  # noqa: B018


@pytest.mark.parametrize(
    "text", ["", "Mary went home.\n", "1 Mary went home.\n", "1 A b?\tc\t1\tx\ty\n"]
)
def test_a_file_that_holds_no_stories(stories, text):
    (Path(stories) / "qa8_lists-sets_test.txt").write_text(text)
    with pytest.raises(UserError, match=r"qa8_lists-sets_test\.txt"):
        Babi(folder=stories, kind=8).inputs  # noqa: B018


# Polyphonic music


@pytest.mark.parametrize(
    ("dataset", "sequences", "frames", "references"),
    [
        (
            "jsb",
            (229, 76, 77),
            (13_807, 4_602, 4_725),
            {"uniform": 60.997, "frequencies": 11.091, "markov": 10.491},
        ),
        (
            "nottingham",
            (694, 173, 170),
            (176_561, 45_513, 44_463),
            {"uniform": 60.997, "frequencies": 10.261, "markov": 5.153},
        ),
        (
            "piano",
            (87, 12, 25),
            (75_911, 8_540, 19_036),
            {"uniform": 60.997, "frequencies": 11.052, "markov": 8.265},
        ),
        (
            "muse",
            (524, 135, 124),
            (245_202, 82_755, 64_339),
            {"uniform": 60.997, "frequencies": 11.515, "markov": 8.559},
        ),
    ],
)
def test_piano_rolls(fetch, dataset, sequences, frames, references):
    task = Chorales(dataset=dataset).bound(fetch)
    assert tuple(len(task.rolls[split]) for split in ("train", "valid", "test")) == sequences
    assert tuple(sum(map(len, task.rolls[split])) for split in ("train", "valid", "test")) == frames
    assert task.references == pytest.approx(references, abs=5e-4)
    assert task.baseline == {"nll": task.references["frequencies"]}
    assert max(map(len, task.pieces)) <= 201
    # no transition lost or doubled
    assert sum(len(piece) - 1 for piece in task.pieces) == frames[0] - sequences[0]


def test_chorales_are_those_of_the_json(fetch, mirror):
    notes = json.loads((Path(mirror) / "polyphonic/jsb_chorales.json").read_text())
    rolls = Chorales().bound(fetch).rolls
    for split in ("train", "valid", "test"):
        assert [
            [(np.flatnonzero(frame) + 21).tolist() for frame in roll] for roll in rolls[split]
        ] == notes[split]


@pytest.mark.parametrize("size", [1, 7, 20])
@pytest.mark.parametrize("max_length", [50, None])
def test_chorale_evaluation_is_exact(fetch, size, max_length):
    task = Chorales(max_length=max_length).bound(fetch)
    batches = list(task.evaluation("test", Draw(0), size))
    assert sum(batch.mask.sum() for batch in batches) == 4_725 - 77
    assert not any(batch.y[~batch.mask].any() for batch in batches)
    shown = sum(batch.y[batch.mask].sum() for batch in batches)
    assert shown == sum(roll[1:].sum() for roll in task.rolls["test"])
    for before, batch in pairwise(batches):
        if batch.carry:
            assert np.array_equal(batch.x[0][batch.mask[0]], before.y[-1][batch.mask[0]])
    assert max(len(batch.x) for batch in batches) == (max_length or 159)


def test_chorale_scores(fetch):
    task = Chorales().bound(fetch)
    train = np.concatenate([roll[1:] for roll in task.rolls["train"]])
    share = torch.tensor((train.sum(0) + 0.5) / (len(train) + 1))
    constant = torch.log(share) - torch.log1p(-share)
    assert scored(task, "test", lambda batch: constant.expand(*batch.y.shape)) == pytest.approx(
        task.baseline
    )
    assert scored(task, "test", lambda batch: 200.0 * torch.tensor(batch.y) - 100)["nll"] < 1e-9
    assert pointwise_loss(
        "bernoulli", torch.zeros(1, 1, 88), torch.ones(1, 1, 88)
    ).item() == pytest.approx(task.references["uniform"])


@pytest.mark.parametrize("size", [1, 6, 20, 200])
def test_a_pass_shows_every_chorale_at_most_once(fetch, size):
    task = Chorales().bound(fetch)
    steps = 229 // size
    batches = {
        seed: [task.batch(Draw(seed), step, size) for step in range(steps)] for seed in (0, 1)
    }
    # seeds can be stacked
    assert [batch.x.shape for batch in batches[0]] == [batch.x.shape for batch in batches[1]]
    known = {piece.tobytes() for piece in task.pieces}
    for seed in batches:
        shown = []
        for batch in batches[seed]:
            assert batch.x.shape == batch.y.shape == (*batch.mask.shape, 88)
            frames = np.concatenate([batch.x[:1], batch.y])
            lengths = batch.mask.sum(0)
            shown += [
                frames[: length + 1, column].tobytes() for column, length in enumerate(lengths)
            ]
        assert len(shown) == steps * size
        assert set(shown) <= known
        # but for chorales that are there twice
        assert len(shown) - len(set(shown)) <= 229 - len(known)
    assert not all(same(one, other) for one, other in zip(batches[0], batches[1], strict=True))
    assert same(batches[1][-1], task.batch(Draw(1), steps - 1, size))


def test_impossible_chorale_settings(fetch):
    with pytest.raises(
        UserError, match=r"unknown value for task\.dataset: 'jbs'; did you mean 'jsb'"
    ):
        Chorales(dataset="jbs")
    with pytest.raises(UserError, match=r"task\.max_length must be at least 1"):
        Chorales(max_length=0)
    with pytest.raises(UserError, match=r"train\.batch must be at most 229"):
        Chorales().bound(fetch).batch(Draw(0), 0, 230)


def foreign_mat(path):
    savemat(path, {"traindata": np.eye(3)})


def wrong_width(path):
    cells = np.empty(1, object)
    cells[0] = np.zeros((5, 12))
    savemat(path, {f"{split}data": cells for split in ("train", "valid", "test")})


@pytest.mark.parametrize(
    "write",
    [
        foreign_mat,
        wrong_width,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"MATLAB 5.0" * 100),
        lambda path: None,
    ],
    ids=["foreign", "width", "empty", "garbage", "absent"],
)
def test_unusable_piano_rolls(tmp_path, write):
    path = tmp_path / "bad.mat"
    write(path)
    with pytest.raises(UserError, match=r"bad\.mat is not a file of piano-rolls") as refused:
        Chorales().bound(lambda name: path).rolls  # noqa: B018
    assert "\n" not in str(refused.value)


def test_truncated_piano_rolls(fetch, tmp_path):
    content = fetch("polyphonic/JSB_Chorales.mat").read_bytes()
    for length in (100, 130, 5000, len(content) - 10):
        path = tmp_path / f"{length}.mat"
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="is not a file of piano-rolls"):
            Chorales().bound(lambda name, path=path: path).rolls  # noqa: B018
