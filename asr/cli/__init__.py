"""The command ``loquela``: parse, call one function of the library, write."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from lm.errors import InputError, remedy_of

Commands = Mapping[str, tuple[str, str]]
"""Name of a command -> the module with its ``add_arguments`` and ``run``, and its help, which is thus printed
without importing any of them."""

COMMANDS: Commands = {
    "transcribe": ("asr.cli.transcribe", "recordings in, transcripts out: eaf, TextGrid, srt, json and more"),
    "segment": (
        "asr.cli.segment",
        "recordings in, segments out without text: yaml, tsv, eaf, TextGrid, rttm",
    ),
    "align": ("asr.cli.align", "a recording and its transcript in, the times of its lines and words out"),
    "corpus": ("asr.cli.corpus", "import, align, curate, join, recut, check, count and export a corpus"),
    "lm": ("asr.cli.lm", "build, evaluate and tune language models"),
    "score": ("asr.cli.score", "word and character error rates with intervals"),
    "convert": (
        "asr.cli.convert",
        "encoders to transformers' files, wav2vec 2.0 to fairseq's and fairseq2's too",
    ),
    "inspect": ("asr.cli.inspect", "what an encoder has learned: codes, layers, attention"),
}
"""The commands of recognition; `st.cli` adds those of translation."""


def main(argv: Sequence[str] | None = None, available: Commands = COMMANDS) -> int:
    """Run the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Only the module of the command that was named is imported: help answers at once.
    named = next((word for word in arguments if not word.startswith("-")), "")
    parser = argparse.ArgumentParser(
        prog="loquela",
        description="Speech recognition and translation for languages with hours, not thousands, of recordings.",
        epilog="`loquela COMMAND --help` says more. Recipes for training: python -m recipes.finetune_ctc --help",
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (module, text) in available.items():
        command = commands.add_parser(name, help=text, description=text, add_help=name == named)
        if name == named:
            chosen = importlib.import_module(module)
            chosen.add_arguments(command)
            command.set_defaults(run=chosen.run)
    args = parser.parse_args(arguments)
    if args.version:
        from importlib.metadata import version

        print(version("loquela"))
        return 0
    if not args.command:
        parser.print_help()
        return 2
    run: Callable[[], int] = lambda: args.run(args)  # noqa: E731
    return guarded(run, keeps=getattr(args, "keeps", True))


def guarded(run: Callable[[], int], *, keeps: bool = True) -> int:
    """Run; a mistake of the user's is one line on stderr, Ctrl-C a word, neither a traceback.

    Args:
        keeps: whether what was done before Ctrl-C is of use, as of a command that writes file by file; where it
            was said when it came (`asr.trainer`), that is told instead.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name must never stop a job
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and not out.isatty() and out.encoding.lower() != "utf-8":
        # JSON lines are UTF-8 in every locale; names, of which such a locale reads bytes alone, get these back.
        out.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        return run()
    except InputError as error:
        print(f"loquela: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        kept = str(stop) or ("what is done stays" if keeps else "")
        print("loquela: " + "; ".join(filter(None, ["stopped", kept])), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `loquela ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        remedy = remedy_of(error, "Check the path, its permissions and the disk.")
        print(f"loquela: {named}{error.strerror}. {remedy}", file=sys.stderr)
        return 1
