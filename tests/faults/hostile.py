"""Pickles that want to run code, take all memory, or never end.

What runs, if it runs, makes the folder `CANARY` in the working directory.
"""

import struct

CANARY = "canary"
_PATH = b"X" + struct.pack("<I", len(CANARY)) + CANARY.encode()
_MKDIR = b"cos\nmkdir\n"
_CALL = _MKDIR + _PATH + b"\x85R"


def _text(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()


# What plain `pickle.load` would run; a test shows that it does.
RUN = {
    "GLOBAL, REDUCE": _CALL,
    "STACK_GLOBAL from the memo": _text("os") + b"\x94" + _text("mkdir") + b"\x9400h\x00h\x01\x93" + _PATH + b"\x85R",
    "INST": b"(" + _PATH + b"ios\nmkdir\n",
    "OBJ": b"(cos\nmkdir\n" + _PATH + b"o",
    "PUT and GET": _MKDIR + b"p7\n0g7\n" + _PATH + b"\x85R",
    "BUILD of a partial": b"cfunctools\npartial\n" + b"cbuiltins\nprint\n\x85R(" + _MKDIR + _PATH + b"\x85}Ntb)R",
    "NEWOBJ_EX of a partial": b"cfunctools\npartial\n" + _MKDIR + _PATH + b"\x86}\x92)R",
    "getattr": b"cbuiltins\ngetattr\ncos\npath\nX\x02\x00\x00\x00os\x86R0" + _CALL,
    "attribute of a module's module": _text("shutil") + _text("os.mkdir") + b"\x93" + _PATH + b"\x85R",
    "loads within": b"cpickle\nloads\nC" + bytes([len(_CALL) + 1]) + _CALL + b"." + b"\x85R",
    "dictionary with a call in it": b"}" + _text("a") + _CALL + b"s",
}
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
_F4 = (
    b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
    b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
_MIXTURE = b"csklearn.mixture._gaussian_mixture\nGaussianMixture\n)\x81"


def _array(shape, data=b"C\x00", dtype=_F4):
    return _ARRAY + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def _huge(size):
    return b"\x8a\x06" + struct.pack("<q", size)[:6]


# What is to be refused, though plain `pickle.load` might run none of it.
BAD = {
    "BINPERSID": _PATH + b"Q",
    "EXT1": b"\x82\x7b" + _PATH + b"\x85R",
    "DUP and TUPLE2": b"K\x01" + b"2\x86" * 100,
    "BINBYTES of 4 GB": b"B\xff\xff\xff\xff",
    "BINBYTES8 of 2^63": b"\x8e" + struct.pack("<Q", 2**63),
    "BINUNICODE8 of 2^62": b"\x8d" + struct.pack("<Q", 2**62),
    "MARK for ever": b"(" * 20_000,
    "tuples in tuples": b")" + b"\x85" * 50_000,
    "tuples in tuples as a key": b"})" + b"\x85" * 50_000 + b"Ns",
    "dictionaries in dictionaries": b"}" + (_text("a") + b"}") * 20_000 + b"s" * 20_000,
    "tuple that doubles": b")\x94" + b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(200)),
    "list that doubles": b"]q\x00" + b"]q\x01(h\x00h\x00eq\x000h\x01" * 100,
    "list in itself": b"]q\x00h\x00a",
    "the memo's last place": b"K\x01r\xff\xff\xff\xff0j\xff\xff\xff\xff\x85",
    "a name of 1 MB": b"X" + struct.pack("<I", 1 << 20) + b"n" * (1 << 20) + _text("m") + b"\x93",
    "a name that wipes the screen": _text("\x1b[2J\x07") + _text("m\r") + b"\x93",
    "POP of everything": b"0000000(" + b"N" * 100,
    "REDUCE of a number": b"K\x01)R",
    "NEWOBJ of an array": b"cnumpy\nndarray\n)\x81",
    "dtype of objects": b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R",
    "array of no dtype": _array(b"K\x00\x85", dtype=b"N"),
    "array of 2^39 rows without columns": _array(_huge(2**39) + b"K\x00\x86"),
    "array of no rows and 2^46 columns": _array(b"K\x00" + _huge(2**46) + b"\x86"),
    "array of more than its data": _array(b"K\x0a\x85", b"C\x04" + bytes(4)),
    "scalar with text as data": b"cnumpy.core.multiarray\nscalar\n" + _F4 + _text("abcd") + b"\x86R",
    "encode of a tuple": b"c_codecs\nencode\n)\x85R",
    "frombuffer of a text": b"cnumpy.core.numeric\n_frombuffer\n(" + _text("a") + _F4 + b"K\x01\x85" + _text("C")
    + b"tR",
    "a mixture within itself": _MIXTURE + b"q\x00}" + _text("means_") + b"h\x00sb",
    "nothing for ever": b"N0" * 50_000,
}  # fmt: skip


def pieces():
    """Return what is short enough to be put into other pickles."""
    return [piece for piece in (RUN | BAD).values() if len(piece) < 20_000]


def whole(kind, piece):
    """Return pickles that hold a piece: as an attribute of a model, or alone and as an item of a list."""
    if kind == "model":
        return {"within": b"\x80\x04" + _MIXTURE + b"}" + _text("means_") + piece + b"sb."}
    within = b"\x80\x04](" + piece + b"X\x05\x00\x00\x00spoof\x86e."
    return {"alone": b"\x80\x04" + piece + b".", "within": within}
