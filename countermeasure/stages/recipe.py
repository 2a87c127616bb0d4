"""What a wrapper is asked for: ``python -m countermeasure.stages.recipe train.sh mfcc lfcc silence``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.features import types

SILENCE = "silence"


def frame_level_types(ftypes: Sequence[str]) -> list[str]:
    """Return the frame-level types of a call in alphabetical order.

    Raises
    ------
    InputError
        When a type is unknown or given twice, or when the types' windows differ: frames of different
        windows do not belong side by side.
    """
    windows = {name: types.window(name) for name in sorted(ftypes)}
    if len(windows) < len(ftypes):
        raise InputError(f"{' '.join(ftypes)}: a feature type is named twice; name each once")
    framed = [name for name, window in windows.items() if window is not None]
    for name in framed[1:]:
        if windows[name] != windows[framed[0]]:
            raise InputError(
                f"{framed[0]} and {name} have different windows, so their frames cannot be fused; "
                "choose types of one window: all with -25 or all without"
            )
    return framed


def main(argv: Sequence[str] | None = None) -> int:
    """Print the frame-level types in alphabetical order, and ``silence`` last where it takes part."""
    ftypes = sys.argv[1:] if argv is None else argv
    print(*frame_level_types(ftypes), *[name for name in ftypes if name == SILENCE])
    return 0


if __name__ == "__main__":
    del sys.argv[0]  # complaints begin with the wrapper's name, which is the first argument
    cli.run(main)
