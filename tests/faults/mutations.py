"""Seeded damage: a mutator takes a random generator and a good file's bytes and returns others."""

import io
import json
import pickle
import pickletools
import random
import struct
import zipfile

import numpy as np

from faults import hostile

EXTREME_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0" * 8, b"\xff" * 8)


# -- bytes -----------------------------------------------------------------------------------------


def cut(rng, content):
    return content[: rng.randrange(len(content))]


def flip_bits(rng, content):
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(rng, content):
    start, piece = rng.randrange(len(content)), rng.choice(EXTREME_BYTES)
    return content[:start] + piece + content[start + len(piece) :]


def insert(rng, content):
    start = rng.randrange(len(content))
    return content[:start] + rng.choice((rng.randbytes(rng.randint(1, 9)), *EXTREME_BYTES)) + content[start:]


def delete(rng, content):
    start, stop = _span(rng, content)
    return content[:start] + content[stop:]


def repeat(rng, content):
    start, stop = _span(rng, content)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 100)) + content[stop:]


def swap(rng, content):
    a, b = sorted((rng.randrange(len(content)), rng.randrange(len(content))))
    n = rng.randint(1, 16)
    return content[:a] + content[b : b + n] + content[a + n : b] + content[a : a + n] + content[b + n :]


def zero_tail(rng, content):
    """What a crash leaves of a file whose length was written and whose content was not."""
    start = rng.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


def _span(rng, content):
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.choice((1, 2, 5, 40, 400)))


BYTES = (cut, flip_bits, overwrite, insert, delete, repeat, swap, zero_tail)


# -- pickles ---------------------------------------------------------------------------------------


def _opcodes(content):
    """Return the content's opcodes, each with its argument, as bytes."""
    starts = [position for _, _, position in pickletools.genops(content)]
    return [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]


def cut_opcodes(rng, content):
    ops = _opcodes(content)
    return b"".join(ops[: rng.randrange(len(ops))])


def swap_opcodes(rng, content):
    ops = _opcodes(content)
    a, b = rng.randrange(len(ops)), rng.randrange(len(ops))
    ops[a], ops[b] = ops[b], ops[a]
    return b"".join(ops)


def delete_opcodes(rng, content):
    ops = _opcodes(content)
    start = rng.randrange(len(ops))
    del ops[start : start + rng.choice((1, 1, 2, 5))]
    return b"".join(ops)


def repeat_opcodes(rng, content):
    ops = _opcodes(content)
    start = rng.randrange(len(ops))
    ops[start:start] = ops[start : start + rng.choice((1, 1, 3, 10))] * rng.choice((1, 1, 2, 1000))
    return b"".join(ops)


def insert_opcodes(rng, content):
    ops = _opcodes(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        code = rng.choice(pickletools.opcodes).code.encode("latin-1")
        ops.insert(
            rng.randrange(len(ops)), code + rng.choice((b"", b"\0", b"\1a", b"1\n", b"a\nb\n", rng.randbytes(4)))
        )
    return b"".join(ops)


def replace_opcode(rng, content):
    ops = _opcodes(content)
    i = rng.randrange(len(ops))
    ops[i] = rng.choice(pickletools.opcodes).code.encode("latin-1") + ops[i][1:]
    return b"".join(ops)


def replace_number(rng, content):
    """Change a length, a size of a shape, or a place in the memo."""
    ops = _opcodes(content)
    i = rng.choice([i for i, op in enumerate(ops) if op[:1] in b"KMJjqrhBCX\x8a\x8c\x8e\x95"])
    huge = rng.choice((-1, 0, 1, 255, 256, 65535, 2**31 - 1, 2**40))
    ops[i] = rng.choice((b"J" + struct.pack("<i", min(huge, 2**31 - 1)), _long(huge), ops[i][:1] + b"\xff" * 4))
    return b"".join(ops)


def insert_hostile(rng, content):
    ops = _opcodes(content)
    ops.insert(rng.randrange(len(ops)), rng.choice(hostile.pieces()))
    return b"".join(ops)


def _long(number):
    data = pickle.encode_long(number)
    return b"\x8a" + bytes([len(data)]) + data


PICKLES = (
    cut_opcodes,
    swap_opcodes,
    delete_opcodes,
    repeat_opcodes,
    insert_opcodes,
    replace_opcode,
    replace_number,
    insert_hostile,
)


# -- values in whole pickles -----------------------------------------------------------------------


def _odd_arrays(rng, array):
    """Return arrays that are not what a good one is."""
    spoilt = array.astype(np.float64)
    if spoilt.size:
        spoilt.flat[rng.randrange(spoilt.size)] = rng.choice(
            (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-320, 0.0, -1.0)
        )
    return [
        spoilt,
        spoilt,
        array.astype(object),
        array.astype("U8"),
        array.astype(complex),
        array.astype("datetime64[s]"),
        array.astype(np.float16),
        array.astype(np.longdouble),
        array.astype([("a", "f4"), ("b", "i4")]),
        array[:0],
        array.reshape(-1),
        array[..., None],
        array.T.copy(),
        np.zeros((0, 60000)),
        np.zeros((60000, 0)),
        np.zeros((2, 2, 2, 2, 2)),
        np.zeros(()),
        rng.choice((None, 1, 10**300, 2**63, "text", float("nan"), [], {}, b"bytes", True)),
    ]


def odd_list(rng, content):
    items = pickle.loads(content)  # a sample of this suite's own
    i = rng.randrange(len(items))
    array, label = items[i] if isinstance(items[i], tuple) else (items[i], None)
    array = np.zeros((2, 3)) if array is None else array
    odd = rng.choice(_odd_arrays(rng, array))
    labels = (label, None, "Spoof", "", 1, "\ud800", "x" * 300)
    items[i] = rng.choice(((odd, label), (odd, label), odd, (array, rng.choice(labels)), (odd, label, 1), [odd, label]))
    if rng.random() < 0.3:
        items[rng.randrange(len(items))] = items[i]  # the same object twice
    if rng.random() < 0.1:
        items = rng.choice((items * 50, [items], tuple(items), dict(enumerate(items)), items[:1], []))
    return pickle.dumps(items, rng.randint(2, 5))


def odd_model(rng, content):
    """Change attributes of an estimator without making one: a pickle of any state names its class."""
    state = dict(vars(pickle.loads(content)))  # a sample of this suite's own
    for name in rng.sample(sorted(state), rng.choice((1, 1, 2))):
        value = state[name]
        odd = _odd_arrays(rng, value if isinstance(value, np.ndarray) else np.ones((2, 3)))
        state[name] = rng.choice(odd)
        if rng.random() < 0.2:
            del state[name]
    record = state.get("countermeasure_")
    if isinstance(record, dict) and rng.random() < 0.5:
        state["countermeasure_"] = _odd_json(rng, record)
    body = pickle.dumps(state, 3)[2:-1]
    return b"\x80\x03csklearn.mixture._gaussian_mixture\nGaussianMixture\n)\x81" + body + b"b."


# -- text ------------------------------------------------------------------------------------------


ODD_FIELDS = (
    *("", "-", "nan", "inf", "-inf", "1e999", "0x10", "1_0", "١", "../x", "/etc/passwd", "x" * 300, "x" * 20_000),
    *("spoof", "bonafide", "Spoof", "\0", "\ufeff", "\x85", "\u2028", "\xa0", "\x1c", "'\"", "%s", "\x1b[2J"),
)


def change_field(rng, content):
    lines = content.decode().split("\n")
    i = rng.randrange(len(lines) - 1)
    fields = lines[i].split(" ")
    fields[rng.randrange(len(fields))] = rng.choice(ODD_FIELDS)
    lines[i] = rng.choice((" ", " ", "\t", "   ")).join(fields)
    return "\n".join(lines).encode()


def change_lines(rng, content):
    lines = content.decode().split("\n")[:-1]
    i = rng.randrange(len(lines))
    fields = lines[i].split()
    del fields[rng.randrange(len(fields))]
    line, short = lines[i], " ".join(fields)
    lines[i : i + 1] = rng.choice(([], ["", line], [line] * 2, [short], [line + " x"], ["# a", line], [line[::-1]]))
    return rng.choice(("\n", "\r\n", "\r", "\n\n")).join(lines).encode()


def change_coding(rng, content):
    text = content.decode()
    coding = rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-32"))
    umlaut = text.replace("LA", rng.choice(("größe", "録音", "😀"))).encode(rng.choice(("utf-8", "utf-8-sig")))
    return rng.choice((text.encode(coding), umlaut, text.replace("L", "ß").encode("latin-1"), content[:-1]))


TEXT = (change_field, change_field, change_lines, change_lines, change_coding)


# -- records ---------------------------------------------------------------------------------------


def change_json(rng, content):
    return json.dumps(_odd_json(rng, json.loads(content))).encode()


def nest_json(rng, content):
    n = rng.choice((100, 100_000))
    return rng.choice((b"[" * n, b'{"a":' * n, content[:-2] + b',"x":' + b"[" * n + b"]" * n + b"}", b"9" * n))


def _odd_json(rng, value):
    """Return `value` with another in one place."""
    odd = (
        None,
        True,
        -1,
        0,
        1e308,
        float("nan"),
        2**70,
        "",
        "\ud800",
        "x" * 1000,
        [],
        {},
        [[]],
        {"a": 1},
        [None],
        "../x",
    )
    if not value or not isinstance(value, dict | list) or rng.random() < 0.15:
        return rng.choice(odd)
    value = value.copy()
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    if rng.random() < 0.15:
        del value[key]
    else:
        value[key] = _odd_json(rng, value[key])
    return value


# -- checkpoints and unfinished lists ----------------------------------------------------------------------


def change_archive(rng, content):
    """Change an array of an .npz, with all checksums right."""
    with np.load(io.BytesIO(content)) as arrays:
        a = dict(arrays)
    name = rng.choice(sorted(a))
    if name == "record" and rng.random() < 0.8:
        a[name] = np.array(json.dumps(_odd_json(rng, json.loads(str(a[name])))))
    else:
        array = a[name] if a[name].dtype.kind != "U" else np.ones((2, 2))
        a[name] = np.asarray(rng.choice(_odd_arrays(rng, np.atleast_1d(array))))
    if rng.random() < 0.1:
        del a[name]
    out = io.BytesIO()
    rng.choice((np.savez, np.savez, np.savez_compressed))(out, **a)
    return out.getvalue()


def lying_archive(rng, content):
    """Let an array of an .npz promise more than there is, with all checksums right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        spoilt = rng.choice(old.namelist())
        for name in old.namelist():
            data = old.read(name)
            if name == spoilt:
                data = rng.choice((flip_bits, overwrite, cut, _huge_header))(rng, data)
            new.writestr(name, data, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
        if rng.random() < 0.1:
            new.writestr("bomb.npy", bytes(50_000_000), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _huge_header(rng, data):
    header = rng.choice((b"(999999999, 999)", b"(-1, 2)", b"()", b"(" * 60)).ljust(24)
    start = data.find(b"(")
    return data[:start] + header + data[start + len(header) :]


def change_part(rng, content):
    """Change a line of JSON."""
    lines = content.splitlines()
    i = rng.randrange(len(lines))
    lines[i] = json.dumps(_odd_json(rng, json.loads(lines[i]))).encode()
    return b"\n".join(lines)


MUTATORS = {
    "list": BYTES + PICKLES * 2 + (odd_list,) * 4,
    "scores": BYTES + PICKLES * 2 + (odd_list,) * 4,
    "model": BYTES + PICKLES * 2 + (odd_model,) * 6,
    "protocol": BYTES + TEXT * 2,
    "cm": BYTES + TEXT * 2,
    "asv": BYTES + TEXT * 2,
    "record": BYTES + (change_json,) * 8 + (nest_json,),
    "checkpoint": BYTES + (change_archive,) * 6 + (lying_archive,) * 6,
    "parts": BYTES + (change_part,) * 8,
    "items": BYTES,
}


def mutant(kind, number, contents):
    """Return mutant `number` of a kind, and what it was made with; `contents` are good files of it."""
    rng = random.Random(f"{kind} {number}")
    content = rng.choice(contents)
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutator = rng.choice(MUTATORS[kind])
        try:
            content = mutator(rng, content) or content
        except Exception:  # a second mutator cannot always take apart what the first one left
            if not names:
                raise
            content = rng.choice(BYTES)(rng, content)
        names.append(mutator.__name__)
    return content, "+".join(names)
