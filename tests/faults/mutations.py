"""Seeded damage: a mutator takes a random generator and a good file's bytes and returns others."""

import json
import pickle
import pickletools
import random

import numpy as np

from faults import hostile

EXTREME = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0" * 8, b"\xff" * 8)


def cut(rng, content):
    return content[: rng.randrange(len(content))]


def flip_bits(rng, content):
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def splice(rng, content):
    """Put something in the place of up to 100 bytes: nothing, extreme bytes, or the same bytes many times."""
    start = rng.randrange(len(content))
    stop = start + rng.choice((0, 0, 1, 2, 4, 16, 100))
    new = rng.choice((b"", *EXTREME, rng.randbytes(8), content[start:stop] * 2, content[start:stop] * 100))
    return content[:start] + new + content[stop:]


def zero_tail(rng, content):
    """What a crash leaves of a file whose length was written and whose content was not."""
    start = rng.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


BYTES = (cut, flip_bits, splice, splice, zero_tail)


# -- pickles ---------------------------------------------------------------------------------------


def change_opcode(rng, content):
    """Leave out, repeat, exchange or replace an opcode, or put a hostile one before it."""
    starts = [at for _, _, at in pickletools.genops(content)]
    ops = [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]
    i, j = rng.randrange(len(ops)), rng.randrange(len(ops))
    other = rng.choice(pickletools.opcodes).code.encode("latin-1") + ops[i][1:]
    ops[i : i + 1] = rng.choice(([], [ops[i]] * 2, [ops[j]], [other], [rng.choice(hostile.pieces()), ops[i]]))
    return b"".join(ops)


def _odd_array(rng, array):
    """Return what is not a good array."""
    spoilt = array.astype(np.float64)
    spoilt.flat[rng.randrange(spoilt.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-320, 0.0, -1.0))
    types = (object, "U8", complex, "datetime64[s]", np.float16, np.longdouble, [("a", "f4"), ("b", "i4")])
    shapes = [array[:0], array.reshape(-1), array[..., None], array.T.copy(), np.zeros((60000, 0)), np.zeros(())]
    others = [None, 10**300, "text", [], {}, b"bytes"]
    return rng.choice([spoilt] * 3 + [array.astype(kind) for kind in types] + shapes + others)


def odd_list(rng, content):
    items = pickle.loads(content)  # made by the suite itself
    i = rng.randrange(len(items))
    array, label = items[i]
    odd, other = _odd_array(rng, array), rng.choice((None, "Spoof", "", 1, "\ud800", "x" * 300))
    items[i] = rng.choice(((odd, label), (odd, label), odd, (array, other), (odd, label, 1), [odd, label]))
    if rng.random() < 0.1:
        items = rng.choice((items * 50, [items], tuple(items), dict(enumerate(items)), items[:1], []))
    return pickle.dumps(items, rng.randint(2, 5))


def odd_model(rng, content):
    """Change an attribute of a model without making one: a pickle of any state names its class."""
    state = dict(vars(pickle.loads(content)))  # made by the suite itself
    name = rng.choice(sorted(state))
    value = state[name]
    state[name] = _odd_array(rng, value if isinstance(value, np.ndarray) else np.ones((2, 3)))
    if rng.random() < 0.2:
        del state[name]
    body = pickle.dumps(state, 3)[2:-1]
    return b"\x80\x03csklearn.mixture._gaussian_mixture\nGaussianMixture\n)\x81" + body + b"b."


# -- text and records ------------------------------------------------------------------------------

ODD_FIELDS = (
    *("", "-", "nan", "-inf", "1e999", "1_0", "١", "../x", "/etc/passwd", "x" * 20_000, "spoof", "bonafide"),
    *("\0", "\ufeff", "\x85", "\u2028", "\xa0", "\x1c", "'\"", "%s", "\x1b[2J", "größe 😀"),
)


def change_line(rng, content):
    """Change, leave out or repeat a field or a line, or change how lines end and letters are coded."""
    lines = content.decode().split("\n")[:-1]
    i = rng.randrange(len(lines))
    fields = lines[i].split(" ")
    fields[rng.randrange(len(fields))] = rng.choice(ODD_FIELDS)
    odd, line = rng.choice((" ", "\t", "   ")).join(fields), lines[i]
    lines[i : i + 1] = rng.choice(([odd], [odd], [], ["", line], [line] * 2, [line + " x"], ["# a", line]))
    text = rng.choice(("\n", "\n", "\r\n", "\r")).join(lines)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32")))


def change_json(rng, content):
    return json.dumps(_odd_json(rng, json.loads(content))).encode()


def nest_json(rng, content):
    n = rng.choice((100, 100_000))
    return rng.choice((b"[" * n, b'{"a":' * n, content.rstrip()[:-1] + b',"x":' + b"[" * n + b"]" * n + b"}", b"9" * n))


def _odd_json(rng, value):
    """Return `value` with another in one place."""
    if not value or not isinstance(value, dict | list) or rng.random() < 0.15:
        return rng.choice((None, True, -1, 0, 1e308, float("nan"), 2**70, "", "\ud800", "x" * 1000, [], {}, "../x"))
    value = value.copy()
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    if rng.random() < 0.15:
        del value[key]
    else:
        value[key] = _odd_json(rng, value[key])
    return value


TEXT = BYTES + (change_line,) * 10
MUTATORS = {
    "list": BYTES + (change_opcode,) * 7 + (odd_list,) * 7,
    "model": BYTES + (change_opcode,) * 7 + (odd_model,) * 7,
    "protocol": TEXT,
    "cm": TEXT,
    "asv": TEXT,
    "record": BYTES + (change_json,) * 8 + (nest_json,),
    "checkpoint": BYTES,
}


def mutant(kind, number, content):
    """Return mutant `number` of a good file, the same on every machine, and what it was made with."""
    rng = random.Random(f"{kind} {number}")
    mutator = rng.choice(MUTATORS[kind])
    return mutator(rng, content), mutator.__name__
