"""The doorman: words in, exit code out.

``--check`` is answered first, before argparse or anything else of weight is imported, because it
runs before every launch of an agent. Every other verb lives in ``commands`` and is imported when
it is asked for. A failure that bridge foresees becomes one line on stderr.
"""

from __future__ import annotations

import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if "--check" in words:
        from bridge.commands.check import check, understood

        if (question := understood(words)) is not None:
            return check(question)
    return _full(words)


def _full(words: list[str]) -> int:
    from bridge.commands.parser import parse
    from bridge.errors import BridgeError

    command = parse(words)
    try:
        code = command()
        print(end="", flush=True)  # here, where it can still be told that its reader has left
    except BridgeError as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            print(f"bridge: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bridge: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has left (a pager, head): nothing is wrong. What is left of it
        # must go somewhere, or the interpreter fails at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


if __name__ == "__main__":
    raise SystemExit(main())
