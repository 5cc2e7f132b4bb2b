"""Every generated task keeps the contract: pure streams, literal layouts, a baseline that is
measured, a perfect score that is reached.

Tasks are discovered in `configs/task/`. Expected values come from slow, literal readings of the
definitions, written here. Tolerances are four standard errors of the measurement.
"""

import dataclasses
import importlib
import re
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import islice, product
from math import inf, log
from pathlib import Path

import numpy as np
import pytest
import task_readings
import torch
from omegaconf import OmegaConf

from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.settings import typed
from rnnbench.tasks import arithmetic, xml
from rnnbench.tasks.contract import Batch, Generated, pointwise_loss, stacked
from rnnbench.tasks.lengths import Varied, read_at_end

CONFIGS = Path(__file__).parents[1] / "configs" / "task"


def type_and_settings(name):
    values = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml").task)
    module, _, attribute = values.pop("type").rpartition(".")
    return getattr(importlib.import_module(module), attribute), values


def make(name, **changes):
    schema, values = type_and_settings(name)
    return typed(schema, values | changes, "task")


NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
FROM_FILES = {"babi", "charlm", "chorales", "smnist", "table", "arrays", "ts", "own"}
SYNTHETIC = [name for name in NAMES if name not in FROM_FILES]
GENERATED = [name for name in SYNTHETIC if issubclass(type_and_settings(name)[0], Generated)]
LONG = ["parity", "evenpairs", "cycle", "modular", "groups", "dyck", "reverse", "duplicate"]
VARIED = [name for name in SYNTHETIC if issubclass(type_and_settings(name)[0], Varied)]
SMALL = {
    "adding": [{"length": 10}, {"length": 11, "markers": "anywhere"}],
    "copy": [
        {"length": 6, "items": 3},
        {"length": 7, "items": 3, "alphabet": 4, "variable": True},
        {"length": 2, "items": 4, "variable": True},
    ],
    "memorize": [{}, {"items": 3, "alphabet": 5}],
    "recite": [{}, {"items": 3, "alphabet": 5}],
    "arithmetic": [{"digits": 2}, {"digits": 1, "distractors": 0}],
    "xml": [{"length": 60}, {"length": 40}],
    "parity": [{"length": 7}, {"length": 1}],
    "evenpairs": [{"length": 6}, {"length": 1}],
    "cycle": [{"length": 3}, {"length": 7}],
    "modular": [{"length": 3}, {"length": 6}],
    "groups": [
        {"group": "S3", "length": 3},
        {"group": "A5", "length": 2},
        {"group": "S5", "length": 2},
        {"group": "Z60", "length": 1},
    ],
    "anbn": [{"length": 13}, {"length": 24, "letters": 3}],
    "dyck": [{"length": 8}, {"length": 11, "kinds": 1}, {"length": 6, "kinds": 3}],
    "reverse": [{"length": 6}],
    "duplicate": [{"length": 5}],
    "copyvectors": [{"length": 5, "width": 3}],
    "repeatcopy": [{"length": 3, "repeats": 4, "width": 2}, {"length": 2, "repeats": 12}],
    "recall": [{}, {"items": 3, "width": 12}],
    "prioritysort": [{"items": 6, "kept": 4, "width": 5}],
    "ngrams": [{"length": 60, "context": 2}, {}],
    "mqar": [{"length": 20, "vocabulary": 20}, {"length": 32, "pairs": 8, "power": 1.0}],
    "order": [{"length": 20}, {"length": 47, "marks": 3}, {"length": 40, "marks": 4}],
    "reber": [{}, {"length": 13}],
    "noisy": [{"length": 10}, {"length": 30, "shown": 1}],
    "babi_own": [{}, *({"kind": kind, "statements": 14} for kind in (2, 3, 6))],
}
CASES = [
    pytest.param(name, changes, id="-".join([name, *(f"{k}={v}" for k, v in changes.items())]))
    for name in SYNTHETIC
    for changes in SMALL.get(name, [{}])
]
each_case = pytest.mark.parametrize(("name", "changes"), CASES)


def batches(task, count=20, size=100, seed=7):
    return [task.batch(Draw(seed), step, size) for step in range(count)]


def as_tested(task, count=20, size=100, seed=7):
    """Sequences as evaluation has them: for most tasks training has the same."""
    if isinstance(task, Generated) and not isinstance(task, Varied):
        return batches(task, count, size, seed)
    task = (
        dataclasses.replace(task, test_size=count * size) if isinstance(task, Generated) else task
    )
    return list(task.evaluation("test", Draw(seed), size))


def scores(task, predict, sample):
    """Every metric over the sample, as (mean, standard error); `predict` maps a batch to (T, B, C)
    or (B, C).
    """
    parts = {}
    for b in sample:
        mask = None if b.mask is None else torch.from_numpy(b.mask)[None]
        prediction = torch.from_numpy(np.array(predict(b), np.float32))[None]
        for metric, (total, count) in task.score(
            prediction, torch.from_numpy(b.y)[None], mask
        ).items():
            assert total.shape == count.shape == (1,)
            parts.setdefault(metric, []).append((float(total), float(count)))
    result = {}
    for metric, rows in parts.items():
        total, count = np.array(rows).T
        mean = total.sum() / count.sum()
        # of a ratio of sums
        result[metric] = (mean, np.sqrt(np.square(total - mean * count).sum()) / count.sum())
    return result


def certain(classes, width):
    """Logits that leave no doubt."""
    return 60.0 * np.eye(width, dtype=np.float32)[classes]


def same(a, b):
    return all(
        np.array_equal(getattr(a, field), getattr(b, field))
        for field in ("x", "y", "mask")
        if getattr(a, field) is not None
    )


# ---- the contract


def test_the_generated_tasks_are_found():
    assert set(GENERATED) >= {"adding", "arithmetic", "copy", "memorize", "xml"}
    assert {"parity", "groups", "dyck", "recall"} <= set(VARIED) <= set(GENERATED)
    assert set(SYNTHETIC) == set(IGNORANT) == set(SOLVE)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_yaml_lists_every_setting(name):
    schema, values = type_and_settings(name)
    assert sorted(values) == sorted(f.name for f in dataclasses.fields(schema))
    assert schema.__doc__ and "Source:" in schema.__doc__
    assert "rnnbench train task=" + name in (CONFIGS / f"{name}.yaml").read_text()


@each_case
def test_shapes_and_dtypes(name, changes):
    task = make(name, **changes)
    longest = next(task.evaluation("valid", Draw(0), 2)).x.shape[0]
    steps = task.batch(Draw(0), 5, 3).x.shape[0]
    assert steps <= longest and (name in VARIED or steps == longest)
    for size, seed in ((1, 0), (7, 1)):
        b = task.batch(Draw(seed), 5, size)
        assert b.x.shape[:2] == (steps, size)  # whatever the seed: the engine stacks them
        if task.symbols:
            assert (
                b.x.ndim == 2
                and b.x.dtype == np.int64
                and b.x.min() >= 0
                and b.x.max() < task.inputs
            )
        else:
            assert b.x.shape[2:] == (task.inputs,) and b.x.dtype == np.float32
        lead = (size,) if b.last else (steps, size)
        if task.loss == "cross_entropy":
            assert (
                b.y.shape == lead
                and b.y.dtype == np.int64
                and b.y.min() >= 0
                and b.y.max() < task.outputs
            )
        else:
            assert b.y.shape == (*lead, task.outputs) and b.y.dtype == np.float32
        assert b.mask is None or (
            b.mask.shape == (steps, size) and b.mask.dtype == bool and b.mask.any(0).all()
        )
        assert all(part is None or part.flags.c_contiguous for part in (b.x, b.y, b.mask))
        assert not b.carry
    assert task.metric in task.baseline and (
        task.horizon is None or 0 < task.horizon <= 2 * longest
    )
    measured = set(
        scores(
            task,
            lambda b: np.zeros((*b.y.shape[: 1 if b.last else 2], task.outputs)),
            batches(task, 1),
        )
    )
    assert (
        measured - set(task.baseline) == NO_BASELINE.get(name, set())
        and set(task.baseline) <= measured
    )


@each_case
def test_a_batch_is_a_function_of_seed_and_step(name, changes):
    task, again = make(name, **changes), make(name, **changes)
    b = task.batch(Draw(3), 11, 200)
    assert same(b, again.batch(Draw(3), 11, 200))
    assert not same(b, task.batch(Draw(4), 11, 200))
    assert not same(b, task.batch(Draw(3), 12, 200))
    if not task.per_seed:
        return
    assert not same(b, next(task.evaluation("valid", Draw(3), 200)))
    assert not same(
        next(task.evaluation("test", Draw(3), 200)), next(task.evaluation("valid", Draw(3), 200))
    )
    assert same(
        next(again.evaluation("test", Draw(3), 200)), next(task.evaluation("test", Draw(3), 200))
    )


# which has few strings
@pytest.mark.parametrize("name", [name for name in GENERATED if name != "reber"])
def test_splits_are_disjoint_and_as_large_as_stated(name):
    vast = {  # no sequence twice by chance
        "copy": {"length": 5},
        "memorize": {"items": 12},
        "recite": {"items": 12},
        "arithmetic": {"digits": 18, "distractors": 0.9},
        "ngrams": {"context": 12},
        "babi_own": {"kind": 3, "statements": 20},
        **{key: {"length": 80} for key in LONG},
    }
    task = make(name, valid_size=150, test_size=230, **vast.get(name, {}))
    train = batches(task, 6, 50, seed=2)
    splits = {split: list(task.evaluation(split, Draw(2), 100)) for split in ("valid", "test")}
    assert [b.x.shape[1] for b in splits["valid"]] == [100, 50]
    assert [b.x.shape[1] for b in splits["test"]] == [100, 100, 30]
    trained, *held = (
        [b.x[:, k].tobytes() for b in part for k in range(b.x.shape[1])]
        for part in (train, *splits.values())
    )
    assert len(set(held[0] + held[1])) == 150 + 230
    assert set(held[0] + held[1]).isdisjoint(trained)
    assert name in VARIED or len(set(trained)) == 300


@pytest.mark.parametrize("name", VARIED)
def test_sizes_vary_alike_for_all_seeds(name):
    task = make(name)
    shapes = [[task.batch(Draw(seed), step, 2).x.shape for step in range(400)] for seed in (0, 5)]
    assert shapes[0] == shapes[1]
    if name in ("parity", "reverse"):
        lengths = Counter(T // (2 if name == "reverse" else 1) for T, *_ in shapes[0])
        assert set(lengths) == set(range(1, 41))
        assert max(abs(n - 10) for n in lengths.values()) < 4.5 * np.sqrt(10)
    tested = {b.x.shape[0] for b in task.evaluation("test", Draw(0), 300)}
    longest = max(T for T, *_ in shapes[0])
    assert len(tested) == 1 and (longest in tested or name == "repeatcopy")


@pytest.mark.parametrize("name", SYNTHETIC)
def test_two_seeds_train_together(name, settings_for, trained):
    steps = ("train.steps=3", "train.eval_every=3", "train.eval_limit=1")
    tiny = (f"task={name}", "debug=tiny", "engine=native", *steps)
    pack = [settings_for(*tiny, f"seed={seed}") for seed in (0, 1)]
    [alone], [together, _] = trained(settings_for(*tiny, "study=alone")), trained(*pack)
    assert together["status"] == "finished" and together["steps"] == 3
    assert np.isfinite(list(together["final"]["test"].values())).all()
    assert together["final"] == alone["final"]  # shapes do not depend on company


def test_sequences_that_end_at_different_steps_are_read_where_they_end():
    x = np.arange(12).reshape(4, 3)
    b = read_at_end(x, np.array([5, 6, 7]), np.array([2, 4, 1]))
    assert b.x is x and not b.last
    assert [(int(t), int(k), int(b.y[t, k])) for t, k in np.argwhere(b.mask)] == [
        (0, 2, 7),
        (1, 0, 5),
        (3, 1, 6),
    ]
    vectors = read_at_end(
        x[..., None].astype(np.float32), np.ones((3, 2), np.float32), np.array([4, 4, 4])
    )
    assert vectors.y.shape == (4, 3, 2) and vectors.y.sum() == 6
    with pytest.raises(UserError, match=r"last=True has no mask.*read_at_end"):
        Batch(x, np.array([5, 6, 7]), np.ones((4, 3), bool), last=True)


# ---- what ignorance scores
# --------------------------------------------------------------------------------------


def ignorant_adding(task):
    return {"mse": lambda b: np.ones((b.x.shape[1], 1))}


def ignorant_copy(task):
    """A table over (step, whether the input is the delimiter), by going through every gap."""
    due, seen = Counter(), Counter()
    for gap in range(1, task.length + 1) if task.variable else [task.length]:
        delimiter = task.items - 1 + gap
        for t in range(task.length + 2 * task.items):
            seen[t, t == delimiter] += 1
            due[t, t == delimiter] += delimiter < t <= delimiter + task.items

    q = np.array(
        [
            [due[t, go] / max(seen[t, go], 1) for go in (False, True)]
            for t in range(task.length + 2 * task.items)
        ]
    )
    table = np.log(np.maximum(np.stack([1 - q] + [q / task.alphabet] * task.alphabet, -1), 1e-30))

    def best(b):
        return table[np.arange(len(b.x))[:, None], (b.x == task.alphabet + 1).astype(int)]

    return {
        "recall": lambda b: certain(np.ones_like(b.y), task.outputs),
        "recall_nats": lambda b: np.broadcast_to(
            [-60.0] + [0.0] * task.alphabet, (*b.y.shape, task.outputs)
        ),
        "nats": best,
    }


def ignorant_memorize(task):
    return {
        "accuracy": lambda b: certain(np.full_like(b.y, 2), task.outputs),
        "nats": lambda b: np.zeros((*b.y.shape, task.outputs)),
    }


def answers_by_enumeration(task):
    """Every answer with its exact probability."""
    numbers = Counter()
    for digits in range(1, task.digits + 1):
        values = [v for v in range(10**task.digits) if len(str(v)) == digits]
        for v, sign in product(values, (-1, 1)):
            numbers[sign * v] += Fraction(1, 2 * task.digits * len(values))
    answers = Counter()
    for (a, p), (b, q) in product(numbers.items(), repeat=2):
        answers[a + b] += float(p * q) if task.digits == 1 else float(p) * float(q)
    return {f"{v}.": p for v, p in answers.items()}


def ignorant_arithmetic(task):
    answers = answers_by_enumeration(task)
    assert sum(answers.values()) == pytest.approx(1)
    table = np.zeros((task.digits + 3, 12))
    for answer, p in answers.items():
        for place, character in enumerate(answer):
            table[place, "0123456789-.".index(character)] += p
    with np.errstate(divide="ignore"):
        logits = np.maximum(np.log(table / table.sum(1, keepdims=True)), -60)
    favourite = np.zeros(task.digits + 3, int)
    commonest = max(answers, key=answers.get)
    favourite[: len(commonest)] = ["0123456789-.".index(c) for c in commonest]

    def place(b):
        return np.clip(b.mask.cumsum(0) - 1, 0, task.digits + 2)

    def by_place(b):
        return logits[place(b)]

    return {
        "accuracy": by_place,
        "nats": by_place,
        "exact": lambda b: certain(favourite[place(b)], task.outputs),
    }


def ignorant_xml(task):
    count = sum(np.bincount(b.y[b.mask], minlength=29) for b in batches(task, 40, seed=99))
    return {
        "accuracy": lambda b: certain(np.zeros_like(b.y), 29),
        "closing": lambda b: certain(np.full_like(b.y, 20), 29),
        "nats": lambda b: np.broadcast_to(np.log(count / count.sum()), (*b.y.shape, 29)),
    }


IGNORANT = {
    "adding": ignorant_adding,
    "copy": ignorant_copy,
    "memorize": ignorant_memorize,
    "recite": ignorant_memorize,
    "arithmetic": ignorant_arithmetic,
    "xml": ignorant_xml,
    **task_readings.IGNORANT,
}
NO_BASELINE = {"dyck": {"exact"}}


@each_case
def test_the_baseline_is_what_ignorance_scores(name, changes):
    task = make(name, **changes)
    sample = as_tested(task)
    predictors = IGNORANT[name](task)
    assert set(predictors) == set(task.baseline)
    for metric, predict in predictors.items():
        mean, error = scores(task, predict, sample)[metric]
        assert abs(mean - task.baseline[metric]) <= 4 * error + 2e-6, (
            metric,
            mean,
            error,
            task.baseline[metric],
        )


@pytest.mark.parametrize("digits", [1, 2])
def test_the_arithmetic_baseline_is_exact_to_its_sampling_error(digits):
    task = make("arithmetic", digits=digits)
    answers = answers_by_enumeration(task)
    longest, place = max(map(len, answers)), Counter()
    for answer, p in answers.items():
        for k, character in enumerate(answer):
            place[k, character] += p
    characters = sum(place.values())
    best = (
        sum(max(p for (k, _), p in place.items() if k == at) for at in range(longest)) / characters
    )
    assert abs(task.baseline["accuracy"] - best) < 4 * np.sqrt(best * (1 - best) / 65_536)
    assert abs(task.baseline["exact"] - max(answers.values())) < 4 * np.sqrt(
        max(answers.values()) / 65_536
    )


def test_baselines_agree_with_the_literature():
    for length, nats in ((20, 0.5199), (50, 0.2971), (100, 0.1733), (1000, 0.02039)):
        assert make("copy", length=length).baseline["nats"] == pytest.approx(nats, rel=5e-4)
    assert make("copy").baseline["recall"] == 0.125
    assert make("arithmetic", digits=8, distractors=0.3).baseline["accuracy"] == pytest.approx(
        0.24, abs=0.01
    )
    assert make("xml").baseline["accuracy"] == pytest.approx(0.118, abs=0.002)


# ---- what understanding scores: predictors that read x alone
# -----------------------------------------------------


def solve_adding(task, x):
    return np.array(
        [[sum(value for value, mark in sequence if mark == 1)] for sequence in x.swapaxes(0, 1)],
        np.float32,
    )


def solve_copy(task, x):
    y = np.zeros_like(x)
    for k, sequence in enumerate(x.T):
        go = list(sequence).index(task.alphabet + 1)
        y[go + 1 : go + 1 + task.items, k] = sequence[: task.items]
    return certain(y, task.outputs)


def solve_memorize(task, x):
    return certain(np.concatenate([x[task.items :], x[: task.items] - 1]), task.outputs)


def solve_recite(task, x):
    asked = np.zeros_like(x[: task.items])
    return certain(np.concatenate([asked, x[: task.items] - 1]), task.outputs)


def read(ids, alphabet):
    return ["".join(alphabet[i] for i in sequence) for sequence in ids.T]


def solve_arithmetic(task, x):
    y = np.zeros_like(x)
    for k, text in enumerate(read(x, arithmetic.ALPHABET)):
        question = re.sub("[a-z]", "", text[: text.index("=")])
        a, operator, b = re.fullmatch(r"(-?\d+)([+-])(\d+)", question).groups()
        answer = f"{int(a) + int(b) if operator == '+' else int(a) - int(b)}."
        for place, character in enumerate(answer):
            y[text.index("=") + place, k] = "0123456789-.".index(character)
    return certain(y, task.outputs)


def solve_xml(task, x):
    """Bayes' rule along the text: what may come next, given the open tags and what there is of a
    name.
    """
    probability = np.zeros((*x.shape, 29))
    for k, text in enumerate(read(x, xml.ALPHABET)):
        unclosed, part, iteration = [], None, 0
        for t, character in enumerate(text):
            p = probability[t, k]
            if character == ">":
                if part is not None and part.startswith("/"):
                    unclosed.pop()
                    iteration = iteration + 1 if unclosed else 0
                elif part is not None:
                    unclosed.append(part)
                    iteration += 1
                part = None
                p[0] = 1
                continue
            part = "" if character == "<" else part + character
            if part.startswith("/"):
                p[xml.ALPHABET.index((unclosed[-1] + ">")[len(part) - 1])] = 1
            elif part == "":
                close = 0 if not unclosed else 1 if iteration >= 50 else 0.5
                p[2], p[3:] = close, (1 - close) / 26
            else:
                end = 1 / (11 - len(part)) if len(part) >= 2 else 0
                p[1], p[3:] = end, (1 - end) / 26
            if character == "<" and t and text[t - 1] == "<":  # padding
                break
    return np.log(np.maximum(probability, 1e-30))


SOLVE = {
    "adding": solve_adding,
    "copy": solve_copy,
    "memorize": solve_memorize,
    "recite": solve_recite,
    "arithmetic": solve_arithmetic,
    "xml": solve_xml,
    **task_readings.SOLVE,
}
PERFECT = dict.fromkeys(("mse", "nats", "recall_nats", "bits", "wrong", "excess"), 0)
PERFECT |= dict.fromkeys(("accuracy", "recall", "exact", "end", "closing", "legal"), 1)
# what no predictor can know
CHANCE = {"xml": {"accuracy", "nats"}, "ngrams": {"bits"}, "reber": {"nats"}}


@each_case
def test_a_perfect_predictor_scores_perfectly(name, changes):
    task = make(name, **changes)
    sample = batches(task, 4)
    reached = scores(task, lambda b: SOLVE[name](task, b.x), sample)
    for metric, (mean, _) in reached.items():
        if metric not in CHANCE.get(name, ()):
            assert mean == pytest.approx(
                PERFECT[metric], abs=1e-3 if metric == "excess" else 1e-6
            ), metric
    if name not in CHANCE:
        value, target = reached[task.metric][0], task.target
        assert value <= target if task.goal == "min" else value >= target
        for b in sample:
            loss = pointwise_loss(
                task.loss, torch.from_numpy(SOLVE[name](task, b.x)), torch.from_numpy(b.y)
            )
            assert (loss if b.mask is None else loss[torch.from_numpy(b.mask)]).abs().max() < 1e-6


@pytest.mark.parametrize(
    "name", [name for name in SYNTHETIC if make(name).loss == "cross_entropy" and name != "reber"]
)
def test_always_wrong_scores_nothing(name):
    task = make(name)
    reached = scores(
        task, lambda b: certain((b.y + 1) % task.outputs, task.outputs), batches(task, 1, 20)
    )
    assert all(
        mean == 0 if PERFECT[metric] else mean == pytest.approx(60)
        for metric, (mean, _) in reached.items()
    )


def test_one_wrong_character_spoils_one_exact_answer():
    task = make("arithmetic")

    def slip(b):
        y = b.y.copy()
        step = np.flatnonzero(b.mask[:, 3])[1]
        y[step, 3] = (y[step, 3] + 1) % 12
        return certain(y, 12)

    [b] = sample = batches(task, 1, 20)
    reached = scores(task, slip, sample)
    assert reached["exact"][0] == pytest.approx(19 / 20)
    assert reached["accuracy"][0] == pytest.approx(1 - 1 / b.mask.sum())


@pytest.mark.parametrize(
    ("length", "metric", "limit"),
    [
        (200, "accuracy", 0.652),
        (700, "accuracy", 0.650),
        (200, "nats", 1.338),
        (700, "nats", 1.348),
    ],
)
def test_the_limits_of_xml(length, metric, limit):
    mean, error = xml_limits(length)[metric]
    assert error < 0.005
    assert abs(mean - limit) < 4 * error + 5e-4  # the limits are stated to three digits


@lru_cache
def xml_limits(length):
    task = make("xml", length=length)
    return scores(task, lambda b: solve_xml(task, b.x), batches(task, 8, 40))


# ---- layouts, read literally
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("markers", "length"), [("halves", 9), ("halves", 10), ("anywhere", 10)])
def test_adding_marks(markers, length):
    [b] = batches(make("adding", length=length, markers=markers), 1, 5000)
    assert b.last and b.x[..., 0].min() >= 0 and b.x[..., 0].max() <= 1
    assert abs(b.x[..., 0].mean() - 0.5) < 4 / np.sqrt(12 * b.x[..., 0].size)
    marks = b.x[..., 1]
    assert set(np.unique(marks)) == {0, 1} and (marks.sum(0) == 2).all()
    half = length // 2
    expected = np.full(length, 2 / length)
    if markers == "halves":
        assert (marks[:half].sum(0) == 1).all()
        expected = np.r_[np.full(half, 1 / half), np.full(length - half, 1 / (length - half))]
    else:
        together = np.mean(marks[:half].sum(0) != 1)
        assert abs(together - 2 * (half / length) * ((half - 1) / (length - 1))) < 4 * np.sqrt(
            0.25 / 5000
        )
    assert (np.abs(marks.mean(1) - expected) < 4 * np.sqrt(0.25 / 5000)).all()
    assert np.array_equal(b.y[:, 0], (b.x[..., 0] * marks).sum(0))


@pytest.mark.parametrize("variable", [False, True])
def test_copy_layout(variable):
    T = 12
    task = make("copy", length=T, variable=variable)
    [b] = batches(task, 1, 3000)
    blank, delimiter, gaps = 0, 9, Counter()
    for x, y in zip(b.x.T.tolist(), b.y.T.tolist(), strict=True):
        data, gap = x[:10], x.index(delimiter) - 9
        assert set(data) <= set(range(1, 9))
        assert x == data + [blank] * (gap - 1) + [delimiter] + [blank] * (10 + T - gap)
        assert y == [blank] * (gap + 10) + data + [blank] * (T - gap)
        gaps[gap] += 1
    assert len(x) == T + 20 and b.mask is None
    assert set(gaps) == (set(range(1, T + 1)) if variable else {T})
    if variable:
        assert max(abs(n - 3000 / T) for n in gaps.values()) < 4 * np.sqrt(3000 / T)
    counts = np.bincount(b.x[:10].ravel())[1:]
    assert np.abs(counts - 30_000 / 8).max() < 4 * np.sqrt(30_000 / 8)
    assert task.horizon == (T if variable else 18)


def test_memorize_layout():
    [b] = batches(make("memorize"), 1, 500)
    for x, y, mask in zip(b.x.T.tolist(), b.y.T.tolist(), b.mask.T.tolist(), strict=True):
        assert x[5:] == [0] * 5 and [letter + 1 for letter in y[5:]] == x[:5]
        assert mask == [False] * 5 + [True] * 5
    assert set(b.x[:5].ravel()) == set(range(1, 27))


def test_recite_layout():
    [b] = batches(make("recite"), 1, 500)
    for x, y, mask in zip(b.x.T.tolist(), b.y.T.tolist(), b.mask.T.tolist(), strict=True):
        assert x[5] == 0 and x[6:] == x[:4] and [letter + 1 for letter in y[5:]] == x[:5]
        assert mask == [False] * 5 + [True] * 5
    [plain] = batches(make("memorize"), 1, 500)
    assert (plain.y == b.y).all() and (plain.x[:5] == b.x[:5]).all()


@pytest.mark.parametrize(("digits", "distractors"), [(1, 0.9), (3, 0.2), (8, 0.3), (18, 0.0)])
def test_arithmetic_reads_as_written(digits, distractors):
    task = make("arithmetic", digits=digits, distractors=distractors)
    [b] = batches(task, 1, 2000)
    assert len(arithmetic.ALPHABET) == len(set(arithmetic.ALPHABET)) == task.inputs == 40
    long, letters, places, negative = Counter(), 0, 0, 0
    for k, (x, y) in enumerate(
        zip(read(b.x, arithmetic.ALPHABET), read(b.y, arithmetic.ALPHABET), strict=True)
    ):
        question = x[: x.index("=")]
        plain = re.sub("[a-z]", "", question)
        a, operator, c = re.fullmatch(r"(-?(?:0|[1-9]\d*))([+-])(0|[1-9]\d*)", plain).groups()
        assert not question[0].isalpha()
        answer = "".join(np.array(list(y))[b.mask[:, k]])
        assert int(answer.removesuffix(".")) == (
            int(a) + int(c) if operator == "+" else int(a) - int(c)
        )
        assert answer.endswith(".")
        assert (x + ".").startswith(question + "=" + answer[:-1])  # the answer is fed back
        assert np.flatnonzero(b.mask[:, k])[0] == len(question)
        long[len(a.removeprefix("-"))] += 1
        long[len(c)] += 1
        negative += a.startswith("-")
        letters += len(question) - len(plain)
        places += len(plain)
    assert set(long) == set(range(1, digits + 1))
    assert max(abs(n - 4000 / digits) for n in long.values()) < 4 * np.sqrt(4000 / digits)
    zeros = 0.1 / digits  # minus nought is written 0
    assert abs(negative / 2000 - 0.5 * (1 - zeros)) < 4 * np.sqrt(0.25 / 2000)
    if digits > 1:  # with one digit and p = 0.9 the bound on letters shows
        spread = 4 * np.sqrt(places * distractors) / (1 - distractors)
        assert abs(letters - places * distractors / (1 - distractors)) <= spread


def literal_document(rng):
    """The generator as the paper words it; may be empty."""
    text, stack, iterations = "", [], 0
    while True:
        if rng.random() < 0.5 or iterations >= 50:
            if not stack:
                return text
            text += f"</{stack.pop()}>"
        else:
            stack.append(
                "".join(chr(97 + int(26 * rng.random())) for _ in range(2 + int(9 * rng.random())))
            )
            text += f"<{stack[-1]}>"
        iterations += 1


def test_xml_documents_follow_the_rule():
    kept = list(islice(xml.documents(np.random.default_rng(1), longest=10**6), 4000))
    for text in kept:
        stack, tags = [], re.findall(r"<(/?)([a-z]{2,10})>", text)
        assert "".join(f"<{slash}{name}>" for slash, name in tags) == text != ""
        for iteration, (slash, name) in enumerate(tags):
            if slash:
                assert stack.pop() == name
            else:
                assert iteration < 50
                stack.append(name)
        assert not stack
    rng = np.random.default_rng(2)
    literal = [text for text in (literal_document(rng) for _ in range(6000)) if text]
    for measure in (
        len,
        lambda text: text.count("/"),
        lambda text: text.count("/") == 1,
        lambda text: text.count("/") > 20,
    ):
        ours, theirs = (
            np.array([measure(text) for text in texts], float) for texts in (kept, literal)
        )
        assert abs(ours.mean() - theirs.mean()) < 4 * np.sqrt(
            ours.var() / len(ours) + theirs.var() / len(theirs)
        )
    short = list(islice(xml.documents(np.random.default_rng(4), longest=60), 4000))
    few = [text for text in literal if len(text) <= 60]
    ours, theirs = np.array([len(text) for text in short]), np.array([len(text) for text in few])
    assert abs(ours.mean() - theirs.mean()) < 4 * np.sqrt(
        ours.var() / len(ours) + theirs.var() / len(theirs)
    )
    names = [len(name) for name in re.findall(r"<([a-z]+)>", "".join(kept))]
    assert max(abs(names.count(n) - len(names) / 9) for n in range(2, 11)) < 4 * np.sqrt(
        len(names) / 9
    )


@pytest.mark.parametrize("length", [25, 90, 700])
def test_xml_sequences_hold_whole_documents(length):
    task = make("xml", length=length)
    b = task.sample(np.random.default_rng(3), 40)
    rows = []
    for k, (x, y) in enumerate(zip(read(b.x, xml.ALPHABET), read(b.y, xml.ALPHABET), strict=True)):
        n = int(b.mask[:, k].sum())
        assert b.mask[:n, k].all() and x[:n] == ">" + y[: n - 1]
        rows.append(y[:n])
    stream = "".join(rows)
    expected = ""
    for text in xml.documents(np.random.default_rng(3), length):
        if len(expected) == len(stream):
            break
        assert len(text) <= length
        expected += text
    assert stream == expected  # nothing dropped, nothing split: every row is balanced
    assert all(row.count("<") == 2 * row.count("/") for row in rows)


def test_closing_letters_are_those_of_closing_tags():
    text = "<ab><cde></cde></ab><fg></fg>"
    y = torch.tensor([xml.ALPHABET.index(c) for c in text])[None, :, None]
    marked = "".join(
        c for c, inside in zip(text, xml.in_closing_tag(y)[0, :, 0].tolist(), strict=True) if inside
    )
    assert marked == "cdeabfg"


# ---- refusals


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [(name, key, 0) for name in GENERATED for key in ("valid_size", "test_size")]
    + [
        ("adding", "length", 1),
        ("adding", "markers", "halfs"),
        ("copy", "length", 0),
        ("copy", "items", 0),
        ("copy", "alphabet", 1),
        ("copy", "variable", "perhaps"),
        ("memorize", "items", 0),
        ("memorize", "alphabet", 1),
        ("arithmetic", "digits", 0),
        ("arithmetic", "digits", 19),
        ("arithmetic", "distractors", -0.1),
        ("arithmetic", "distractors", 1.0),
        ("arithmetic", "distractors", float("nan")),
        ("xml", "length", 24),
        ("xml", "length", inf),
        ("memorize", "lenght", 3),
        ("recite", "items", 0),
        ("parity", "length", 0),
        ("groups", "group", "A4"),
        ("dyck", "length", 1),
        ("dyck", "kinds", 0),
        ("anbn", "length", 1),
        ("anbn", "letters", 1),
        ("copyvectors", "width", 0),
        ("recall", "items", 1),
        ("repeatcopy", "repeats", 0),
        ("prioritysort", "kept", 21),
        ("ngrams", "length", 5),
        ("ngrams", "context", 0),
        ("mqar", "length", 15),
        ("mqar", "length", 65),
        ("mqar", "pairs", 17),
        ("mqar", "vocabulary", 8),
        ("mqar", "power", 0.0),
        ("order", "marks", 5),
        ("order", "length", 19),
        ("reber", "length", 8),
        ("noisy", "shown", 100),
        ("babi_own", "kind", 4),
        ("babi_own", "statements", 1),
    ],
)
def test_settings_that_cannot_work_are_refused(name, key, value):
    with pytest.raises(UserError, match=rf"\b{key}\b") as error:
        make(name, **{key: value})
    assert "\n" not in str(error.value)


def test_a_near_miss_gets_a_suggestion():
    with pytest.raises(UserError, match="did you mean 'halves'"):
        make("adding", markers="halfs")
    assert log(8) == make("copy").baseline["recall_nats"]


# ---- batches of several seeds


def test_what_one_seed_masks_is_no_others():
    """Three seeds: all count, the last step of the second sequence does not, all of two steps."""
    whole = Batch(np.ones((3, 2, 1), np.float32), np.ones((3, 2, 1), np.float32))
    holed = np.ones((3, 2), bool)
    holed[2, 1] = False
    short = Batch(np.ones((2, 2, 1), np.float32), np.ones((2, 2, 1), np.float32))
    together = stacked([whole, dataclasses.replace(whole, mask=holed), short])
    assert together.mask.sum((1, 2)).tolist() == [6, 5, 4]
    assert not together.mask[1, 2, 1] and not together.mask[2, 2].any()
    assert stacked([whole, whole]).mask is None


def test_batches_read_at_their_last_step_end_together():
    one = Batch(np.ones((3, 2, 1), np.float32), np.ones((2, 1), np.float32), last=True)
    other = dataclasses.replace(one, x=np.ones((4, 2, 1), np.float32))
    with pytest.raises(UserError, match=r"have 3 to 4 steps.*read_at_end.*pack=1"):
        stacked([one, other])
