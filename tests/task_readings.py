"""Tasks read literally, for the tests: what their sequences mean, what is known without memory.

`SOLVE[name](task, x)` answers from the inputs alone: (T, B, …) → logits (T, B, C), or (B, C).
`IGNORANT[name](task)` maps a metric to a predictor, batch → logits, that knows the step and the
present input only. Nothing here calls the code that makes the batches.
"""

import re
from collections import Counter, defaultdict
from itertools import pairwise, permutations, product

import numpy as np

from rnnbench.tasks.stories import VOCABULARY

SURE = 60.0  # logits of this size leave no doubt


def certain(classes, width):
    return SURE * np.eye(width, dtype=np.float32)[classes]


def yes_or_no(bits):
    return SURE * (2 * np.asarray(bits, np.float32) - 1)


def each_sequence(x, answer, dtype=np.int64):
    """The answers to every sequence of x, (T, B, …) → (…, B) or (…, B, C): lists become axes."""
    return np.stack([np.asarray(answer(sequence), dtype) for sequence in x.swapaxes(0, 1)], -1)


def at_every_step(x, answer, width):
    """`answer` lists (step, class); elsewhere class 0 is answered."""
    y = np.zeros(x.shape[:2], np.int64)
    for column, sequence in enumerate(x.swapaxes(0, 1)):
        for step, value in answer(sequence):
            y[step, column] = value
    return certain(y, width)


def bits_at(x, answer, width):
    """`answer` lists (step, bits); elsewhere no bit is set."""
    y = np.zeros((*x.shape[:2], width))
    for column, sequence in enumerate(x.swapaxes(0, 1)):
        for step, bits in answer(sequence):
            y[step, column] = bits
    return yes_or_no(y)


# ---- state tracking -----------------------------------------------------------------------------


def parity(string):
    return "".join(map(str, string)).count("1") % 2


def evenpairs(string):
    return int(string[0] != string[-1])


def cycle(string):
    place = 0
    for symbol in string:
        place = {0: place - 1, 1: place, 2: place + 1}[int(symbol)]
        place = {-1: 4, 5: 0}.get(place, place)
    return place


def modular(string):
    return eval("".join("01234+-*"[symbol] for symbol in string)) % 5


ENDS = {
    "parity": (parity, 2),
    "evenpairs": (evenpairs, 2),
    "cycle": (cycle, 3),
    "modular": (modular, 8),
}


def solve_at_end(name):
    answer, _ = ENDS[name]
    return lambda task, x: certain(each_sequence(x, answer), task.outputs)


def ignorant_at_end(name):
    """By enumeration of all strings."""
    answer, symbols = ENDS[name]

    def predictors(task):
        if name == "modular":
            length = task.length - (task.length % 2 == 0)
            parts = [range(5) if k % 2 == 0 else (5, 6, 7) for k in range(length)]
        else:
            parts = [range(symbols)] * task.length
        count = np.zeros((symbols, task.outputs))
        for string in product(*parts):
            count[string[-1], answer(string)] += 1
        with np.errstate(divide="ignore", invalid="ignore"):
            logits = np.maximum(np.nan_to_num(np.log(count / count.sum(1, keepdims=True))), -SURE)
        logits[count == 0] = -SURE
        return dict.fromkeys(("accuracy", "nats"), lambda batch: logits[batch.x[-1]])

    return predictors


def matrices(group):
    """The elements of a group in their order, as matrices whose products are the group's."""
    number = int(group[1:])
    if group[0] == "Z":
        return [np.array([[np.exp(2j * np.pi * k / number)]]) for k in range(number)]
    found = []
    for permutation in sorted(permutations(range(number))):
        matrix = np.zeros((number, number))
        matrix[range(number), permutation] = 1
        if group[0] == "S" or np.linalg.det(matrix) > 0:
            found.append(matrix)
    return found


def solve_groups(task, x):
    elements = matrices(task.group)
    y = np.zeros(x.shape, np.int64)
    for column, string in enumerate(x.T):
        product_so_far = np.eye(len(elements[0]))
        for step, symbol in enumerate(string):
            product_so_far = product_so_far @ elements[symbol]
            distances = [np.abs(product_so_far - element).max() for element in elements]
            y[step, column] = int(np.argmin(distances))
    return certain(y, task.outputs)


def ignorant_groups(task):
    first = np.arange(task.length)[:, None] == 0

    def guess(batch):
        return certain(np.where(first, batch.x, 1), task.outputs)

    def spread(batch):
        return np.where(first[..., None], certain(batch.x, task.outputs), 0)

    return {"accuracy": guess, "end": guess, "exact": guess, "nats": spread}


# ---- languages ----------------------------------------------------------------------------------


def solve_anbn(task, x):
    def rest(word):
        n = int(np.flatnonzero(word)[0])
        text = [letter for letter in range(task.letters) for _ in range(n)] + [task.letters]
        return [(step, text[step + 1]) for step in range(n, len(text) - 1)]

    return at_every_step(x, rest, task.outputs)


def ignorant_anbn(task):
    largest = task.length // task.letters
    count = np.zeros((task.letters * largest, task.letters, task.letters + 1))
    changes = set()
    for n in range(1, largest + 1):
        text = [letter for letter in range(task.letters + 1) for _ in range(n)]
        for step in range(n, task.letters * n):
            count[step, text[step], text[step + 1]] += 1
            if text[step] != text[step + 1] and n in (1, 2, 4, 8, 16, 32):
                changes.add((step, text[step]))
    chosen = [[((t, k) in changes) + k for k in range(task.letters)] for t in range(len(count))]
    table = np.log(np.maximum(count / np.maximum(count.sum(-1, keepdims=True), 1), 1e-26))

    def by_count(batch):
        return table[np.arange(len(batch.x))[:, None], batch.x]

    def by_choice(batch):
        return certain(np.array(chosen)[np.arange(len(batch.x))[:, None], batch.x], task.outputs)

    return {"accuracy": by_count, "nats": by_count, "exact": by_choice}


def legal_brackets(string, kinds):
    """After every bracket, which may follow: opening ones, and the partner of the last open one."""
    stack = []
    for bracket in string:
        if bracket < kinds:
            stack.append(bracket)
        else:
            assert stack.pop() == bracket - kinds
        yield [1] * kinds + [int(stack[-1:] == [kind]) for kind in range(kinds)]
    assert not stack


def solve_dyck(task, x):
    y = [list(legal_brackets(string, task.kinds)) for string in x.T.tolist()]
    return yes_or_no(np.array(y).swapaxes(0, 1))


def balanced_strings(pairs, kinds):
    """All of them."""
    if pairs == 0:
        yield []
    for inside in range(pairs):
        for kind in range(kinds):
            for first in balanced_strings(inside, kinds):
                for second in balanced_strings(pairs - 1 - inside, kinds):
                    yield [kind, *first, kind + kinds, *second]


def ignorant_dyck(task):
    sets = defaultdict(Counter)
    for string in balanced_strings(task.length // 2, task.kinds):
        for step, (bracket, legal) in enumerate(
            zip(string, legal_brackets(string, task.kinds), strict=True)
        ):
            sets[step, bracket][tuple(legal)] += 1

    def table(chosen):
        def predict(batch):
            known = {key: chosen(count) for key, count in sets.items()}
            return np.array(
                [[known[step, b] for b in row] for step, row in enumerate(batch.x.tolist())]
            )

        return predict

    def marginal(count):
        share = sum(np.array(legal) * n for legal, n in count.items()) / count.total()
        with np.errstate(divide="ignore"):
            return np.clip(np.log(share) - np.log1p(-share), -SURE, SURE)

    return {
        "accuracy": table(lambda count: yes_or_no(max(count, key=count.get))),
        "nats": table(marginal),
    }


GRAMMAR = re.compile(
    "B(?:(T)|P)BTS*X(?:XT*VP)*(?:XT*VV|S)E(?(1)T|P)E|B(?:(T)|P)BPT*V(?:V|P(?:XT*VP)*(?:XT*VV|S))E(?(2)T|P)E"
)
ENDINGS = [
    inner + last + "E"
    for inner in ("BTXSE", "TXSE", "XSE", "SE", "E", "VVE", "VE", "PVVE", "")
    for last in "TP"
]
ENDINGS += ["TBTXSETE", "PBTXSEPE", "E", ""]


def may_follow(prefix):
    """Which symbols can stand next: those with which some string of the grammar begins."""
    return [s for s in "BTPSXVE" if any(GRAMMAR.fullmatch(prefix + s + end) for end in ENDINGS)]


def solve_reber(task, x):
    known = {}
    logits = np.full((*x.shape, 7), -SURE)
    for column, string in enumerate(x.T):
        text = "".join("BTPSXVE"[symbol] for symbol in string)
        for step in range(len(text)):
            prefix = text[: step + 1]
            if prefix not in known:
                known[prefix] = may_follow(prefix)
            if not known[prefix]:  # the string has ended
                break
            for symbol in known[prefix]:
                logits[step, column, "BTPSXVE".index(symbol)] = 0
    return logits


def reber_string(rng):
    """A string of any length, from the rules as a grammar rather than an automaton."""

    def coin():
        return rng.random() < 0.5

    def repeated(letter):
        return letter * (rng.geometric(0.5) - 1)

    def after_x():
        return "S" if coin() else "X" + repeated("T") + "V" + after_v()

    def after_v():
        return "V" if coin() else "P" + after_x()

    inner = (
        "T" + repeated("S") + "X" + after_x() if coin() else "P" + repeated("T") + "V" + after_v()
    )
    outer = "T" if coin() else "P"
    return f"B{outer}B{inner}E{outer}E"


def ignorant_reber(task):
    rng = np.random.default_rng(5)
    count, legal = np.zeros((2, task.length - 1, 7, 7))
    known = {}
    drawn = 0
    while drawn < 8_000:
        text = reber_string(rng)
        if len(text) > task.length:
            continue
        drawn += 1
        for step in range(len(text) - 1):
            prefix = text[: step + 1]
            if prefix not in known:
                known[prefix] = ["BTPSXVE".index(symbol) for symbol in may_follow(prefix)]
            here = step, "BTPSXVE".index(text[step])
            count[here]["BTPSXVE".index(text[step + 1])] += 1
            legal[here][known[prefix]] += 1
    nats = np.log(np.maximum(count, 1e-6) / np.maximum(count.sum(-1, keepdims=True), 1e-5))

    def look_up(table):
        return lambda batch: table[np.arange(len(batch.x))[:, None], batch.x]

    return {
        "nats": look_up(nats),
        "legal": look_up(certain(legal.argmax(-1), 7)),
        "closing": lambda batch: certain(np.full(batch.x.shape, "BTPSXVE".index("P")), 7),
    }


# ---- strings written anew -----------------------------------------------------------------------


def solve_rewriting(rewrite):
    def solve(task, x):
        def answer(string):
            text = "".join(map(str, string))
            word = text.rstrip("2")
            return [(len(word) + k, int(bit)) for k, bit in enumerate(rewrite(word))]

        return at_every_step(x, answer, 2)

    return solve


def ignorant_rewriting(task):
    guess = dict.fromkeys(("accuracy", "exact"), lambda batch: certain(np.ones_like(batch.y), 2))
    return guess | {"nats": lambda batch: np.zeros((*batch.y.shape, 2))}


# ---- vectors ------------------------------------------------------------------------------------


def solve_copyvectors(task, x):
    def answer(sequence):
        go = list(map(tuple, sequence)).index((0,) * task.width + (1,))
        return [(go + 1 + k, sequence[k][:-1]) for k in range(go)]

    return bits_at(x, answer, task.outputs)


def solve_repeatcopy(task, x):
    def answer(sequence):
        [go] = np.flatnonzero(sequence[:, -1])
        numbers = np.arange(1, 11)
        times = round(float(sequence[go, -1]) * numbers.std() + numbers.mean())
        vectors = [[*row[:-1], 0] for row in sequence[:go]] * times + [[0] * task.width + [1]]
        return [(go + 1 + k, vector) for k, vector in enumerate(vectors)]

    return bits_at(x, answer, task.outputs)


def solve_recall(task, x):
    def answer(sequence):
        chunks, query, kind = [], None, None
        for step, row in enumerate(sequence):
            if row[-1] and query is not None:
                wanted = chunks[chunks.index(query) + 1]
                return [(step + 1 + k, vector) for k, vector in enumerate(wanted)]
            if row[-1]:
                query = kind = []
            elif row[-2]:
                kind = []
                chunks.append(kind)
            else:
                kind.append(tuple(row[:-2]))
        raise AssertionError("nothing is asked")

    return bits_at(x, answer, task.outputs)


def solve_prioritysort(task, x):
    def answer(sequence):
        go = int(np.flatnonzero(sequence[:, -1])[0])
        ranked = sorted(sequence[:go].tolist(), key=lambda row: row[-2], reverse=True)
        return [(go + 1 + k, row[: task.width]) for k, row in enumerate(ranked[: task.kept])]

    return bits_at(x, answer, task.outputs)


def ignorant_vectors(task):
    """A coin for every bit; of repeat copy's end marker and what stands beside it all is known."""

    def guess(logit):
        def predict(batch):
            logits = np.full(batch.y.shape, logit)
            if task.outputs > task.width:
                logits[..., -1] = -SURE
                logits[-1] = [-SURE] * task.width + [SURE]
            return logits

        return predict

    return {"bits": guess(0.0), "wrong": guess(1.0)}


# ---- the others ---------------------------------------------------------------------------------


def solve_ngrams(task, x):
    def predictions(sequence):
        bits = "".join(map(str, sequence[1:]))
        seen = Counter()
        for step in range(len(sequence)):
            behind = bits[max(step - task.context, 0) : step]
            if len(behind) < task.context:
                yield [0.0]
                continue
            ones, zeros = seen[behind, "1"] + 0.5, seen[behind, "0"] + 0.5
            yield [np.log(ones / zeros)]
            if step < len(bits):
                seen[behind, bits[step]] += 1

    return np.stack([list(predictions(sequence)) for sequence in x.T], 1)


def dynamic_ngrams(rng, length, context):
    table = {key: rng.beta(0.5, 0.5) for key in product("01", repeat=context)}
    bits = ["01"[int(rng.random() < 0.5)] for _ in range(context)]
    while len(bits) < length:
        bits.append("01"[int(rng.random() < table[tuple(bits[-context:])])])
    return bits


def ignorant_ngrams(task):
    rng, count = np.random.default_rng(3), 2000
    equal = np.zeros(task.length)
    for _ in range(count):
        bits = dynamic_ngrams(rng, task.length, task.context)
        equal[1:] += [one == other for one, other in pairwise(bits)]
    odds = np.log((equal + 0.5) / (count - equal + 0.5))

    def predict(batch):
        side = np.array([-1, 1, 0])[batch.x]
        return (side * odds[:, None])[..., None]

    return {"bits": predict, "excess": predict}


def solve_mqar(task, x):
    half = task.vocabulary // 2

    def answer(sequence):
        shown = sequence[: 2 * task.pairs].tolist()
        known = dict(zip(shown[::2], shown[1::2], strict=True))
        assert len(known) == len(set(known.values())) == task.pairs
        return [
            (t, known[s] - half) for t, s in enumerate(sequence) if t >= len(shown) and s in known
        ]

    return at_every_step(x, answer, task.outputs)


def solve_order(task, x):
    def answer(sequence):
        text = "".join("abcdEBXY"[symbol] for symbol in sequence)
        end = text.index("B")
        marks = re.sub("[^XY]", "", text[:end])
        return [(end, sorted(map("".join, product("XY", repeat=task.marks))).index(marks))]

    return at_every_step(x, answer, task.outputs)


def solve_noisy(task, x):
    side = (x[: task.shown, :, 0].sum(0) > 0).astype(int)
    return certain(np.broadcast_to(side, x.shape[:2]), 2)


def told(statements):
    """Journeys of people and things, in the order of the story: name → places."""
    journey, carries = defaultdict(list), {}
    for statement in statements:
        who, verb, what = re.fullmatch(r"(\w+) (.+) the (\w+)", statement).groups()
        if verb.endswith(" to"):
            for name in [who, *(thing for thing, holder in carries.items() if holder == who)]:
                journey[name].append(what)
        elif verb in ("took", "got", "grabbed", "picked up"):
            assert what not in carries
            assert not journey[what] or journey[what][-1] == journey[who][-1]
            carries[what] = who
            journey[what] = journey[what] or [journey[who][-1]]
        else:
            assert carries.pop(what) == who and verb in ("left", "dropped", "discarded", "put down")
    return journey


def answer_story(text):
    *statements, question = text.split(" . ")
    assert len(statements) >= 2
    journey = told(statements)
    if match := re.fullmatch(r"where is (?:the )?(\w+)", question):
        return journey[match[1]][-1]
    if match := re.fullmatch(r"is (\w+) in the (\w+)", question):
        return "yes" if journey[match[1]][-1] == match[2] else "no"
    thing, place = re.fullmatch(r"where was the (\w+) before the (\w+)", question).groups()
    back = journey[thing][::-1]
    return back[back.index(place) + 1]


def solve_babi_own(task, x):
    places = ["bathroom", "bedroom", "garden", "hallway", "kitchen", "office"]
    answers = ["no", "yes"] if task.kind == 6 else places

    def answer(sequence):
        words = [VOCABULARY[number] for number in sequence]
        end = words.index("?")
        return [(end, answers.index(answer_story(" ".join(words[:end]))))]

    return at_every_step(x, answer, task.outputs)


def ignorant_choice(task):
    return {
        "accuracy": lambda batch: certain(np.ones_like(batch.y), task.outputs),
        "nats": lambda batch: np.zeros((*batch.y.shape, task.outputs)),
    }


SOLVE = {
    **{name: solve_at_end(name) for name in ENDS},
    "groups": solve_groups,
    "anbn": solve_anbn,
    "dyck": solve_dyck,
    "reber": solve_reber,
    "reverse": solve_rewriting(lambda word: word[::-1]),
    "duplicate": solve_rewriting(lambda word: word * 2),
    "copyvectors": solve_copyvectors,
    "repeatcopy": solve_repeatcopy,
    "recall": solve_recall,
    "prioritysort": solve_prioritysort,
    "ngrams": solve_ngrams,
    "mqar": solve_mqar,
    "order": solve_order,
    "noisy": solve_noisy,
    "babi_own": solve_babi_own,
}
IGNORANT = {
    **{name: ignorant_at_end(name) for name in ENDS},
    "groups": ignorant_groups,
    "anbn": ignorant_anbn,
    "dyck": ignorant_dyck,
    "reber": ignorant_reber,
    **dict.fromkeys(("reverse", "duplicate"), ignorant_rewriting),
    **dict.fromkeys(("copyvectors", "repeatcopy", "recall", "prioritysort"), ignorant_vectors),
    "ngrams": ignorant_ngrams,
    **dict.fromkeys(("mqar", "order", "noisy", "babi_own"), ignorant_choice),
}
