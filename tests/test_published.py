"""Published numbers: every name that a row maps to exists here, numbers are read in our units, and
only like is compared with like.
"""

import dataclasses
import importlib
import math

import pytest
from omegaconf import OmegaConf

from rnnbench.catalogue import choices, config_dir
from rnnbench.published import published, rows, selector, span

SMNIST = {"permute": False, "pool": 1, "rows": False, "holdout": 5000}
JSB = {"dataset": "jsb", "max_length": 200}
COPY = {"length": 1000, "variable": False, "items": 10, "alphabet": 8}


def task_class(name):
    module, _, kind = OmegaConf.load(config_dir() / "task" / f"{name}.yaml").task.type.rpartition(
        "."
    )
    return getattr(importlib.import_module(module), kind)


def test_every_name_that_a_row_maps_to_exists():
    cells = {cell for row in rows() for cell in row["our_cell"].split()}
    assert cells and cells <= set(choices("cell"))
    assert {row["our_task"] for row in rows()} - {""} <= set(choices("task"))


@pytest.mark.parametrize("task", sorted({row["our_task"] for row in rows()} - {""}))
def test_every_selector_names_settings_of_its_task_with_values_that_it_takes(task):
    known = {field.name: field for field in dataclasses.fields(task_class(task))}
    for text in {row["our_settings"] for row in rows() if row["our_task"] == task}:
        for key, value in selector(text).items():
            assert key in known, f"{task}: no setting {key}"
            assert type(value) is type(known[key].default), f"{task}.{key}={value}"
        task_class(task)(**selector(text))


def test_values_parse_and_make_sense_in_our_units():
    ranges = {
        "accuracy": (0.1, 1),
        "bpc": (1, 3),
        "nll": (2, 12),
        "mse": (0, 0.2),
        "nats": (0, 0.6),
    }
    for row in rows():
        assert bool(row["our_metric"]) == bool(row["our_value"]), row
        assert row["our_task"] or not (
            row["our_settings"] or row["our_cell"] or row["our_metric"]
        ), row
        if row["our_metric"]:
            least, most = ranges[row["our_metric"]]
            assert least <= float(row["our_value"]) <= most, row


CONVERTED = {
    "accuracy %": lambda v: v / 100,
    "test error %": lambda v: 1 - v / 100,
    "error rate test": lambda v: 1 - v,
    "test loss nats/char": lambda v: v / math.log(2),
}


def test_units_are_converted_and_nothing_else():
    measured = [row for row in rows() if row["our_metric"]]
    for row in measured:
        value = float(row["value"].split(" +- ")[0])
        assert float(row["our_value"]) == pytest.approx(
            CONVERTED.get(row["metric"], lambda v: v)(value), rel=1e-5
        ), row
    assert set(CONVERTED) <= {row["metric"] for row in measured}


def test_a_training_or_validation_number_is_not_compared():
    for row in rows():
        if "train" in row["metric"] or "validation" in row["metric"]:
            assert not row["our_metric"], row


def test_known_numbers():
    assert [(p.value, p.verified) for p in published("smnist", SMNIST, "gru", "accuracy")] == [
        (0.962, True)
    ]
    assert [p.value for p in published("copy", COPY, "lstm", "nats")] == [0.0204]
    assert span("chorales", JSB, "gru", "nll") == (
        8.43,
        8.54,
        ["Bai, Kolter & Koltun 2018", "Chung et al. 2014"],
    )
    assert span("chorales", JSB, "lstm_vanilla", "nll") == (8.67, 8.67, ["Chung et al. 2014"])
    (feng,) = published("charlm", {"corpus": "tinyshakespeare"}, "mingru", "bpc")
    assert (
        feng.value == pytest.approx(1.548 / math.log(2), rel=1e-4) and "3 layers" in feng.conditions
    )


def test_unverified_numbers_are_flagged_and_do_not_widen_the_span():
    tanh = {p.value: p.verified for p in published("chorales", JSB, "tanh", "nll")}
    assert tanh == {8.91: True, 9.1: False}
    assert span("chorales", JSB, "tanh", "nll") == (8.91, 8.91, ["Bai, Kolter & Koltun 2018"])
    assert [p.verified for p in published("chorales", JSB, "niaf", "nll")] == [False] and span(
        "chorales", JSB, "niaf", "nll"
    ) is None
    assert all(row["verified"] in ("yes", "no") for row in rows())
    assert all(row["verified"] == "no" for row in rows() if row["source"] == "from memory")


def test_the_span_takes_the_best_of_each_paper():
    found = [
        p.value
        for p in published("smnist", SMNIST, "irnn", "accuracy")
        if p.paper.startswith("RIN")
    ]
    assert len(found) == 6 and min(found) == 0.8355
    low, high, papers = span("smnist", SMNIST, "irnn", "accuracy")
    assert (low, high) == (0.93, 0.97) and "RIN 2018" in papers


@pytest.mark.parametrize(
    ("task", "settings", "cell", "metric"),
    [
        ("copy", COPY | {"length": 100}, "lstm", "nats"),
        ("copy", COPY | {"variable": True}, "lstm", "nats"),
        ("smnist", SMNIST | {"pool": 4}, "gru", "accuracy"),
        ("adding", {"length": 100}, "lstm", "mse"),
        ("adding", {}, "lstm", "mse"),
        ("charlm", {"corpus": "my/book.txt"}, "lstm", "bpc"),
        ("smnist", SMNIST, "mut1", "accuracy"),
        ("smnist", SMNIST, "gru", "bpc"),
    ],
)
def test_another_size_cell_or_metric_is_no_comparison(task, settings, cell, metric):
    assert (
        published(task, settings, cell, metric) == [] and span(task, settings, cell, metric) is None
    )
