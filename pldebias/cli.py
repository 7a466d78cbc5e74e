"""The command line: ``pldebias train | runs | report | figures | methods | data | lab | doctor``, with the Python arguments' names."""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import fields
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import typer

app = typer.Typer(
    help="Train imbalanced semi-supervised learners, log every epoch's pseudo-labels, and scrub through the training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _load(plugins: list[str] | None) -> list[str] | None:
    from pldebias.registry import load_plugins

    load_plugins(plugins or ())
    return plugins or None


Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", callback=_load, is_eager=True, help="Python file or module with methods, networks or data; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def _whole(text: str) -> int:
    """3, 1_000 and 1e3 are whole numbers."""
    try:
        return int(text)
    except ValueError:
        if (number := _number(text)).is_integer():
            return int(number)
        raise typer.BadParameter(f"{text!r} is no whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number") from None


def _choice(text: str) -> str | bool | float:
    """What stands for one of several types: true, false, a number or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


_INTEGER: dict[str, Any] = {"parser": _whole, "metavar": "INTEGER"}
_PARSERS: dict[frozenset[type], dict[str, Any]] = {
    frozenset([int]): _INTEGER,
    frozenset([float]): {"parser": _number, "metavar": "FLOAT"},
    frozenset([bool, float]): {"parser": _choice, "metavar": "TEXT"},
    frozenset([bool, str]): {"parser": _choice, "metavar": "TEXT"},
}


def _kinds(hint: Any) -> frozenset[type]:
    """Types of the values of a setting, but None."""
    if get_origin(hint) is Literal:
        return frozenset(map(type, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return frozenset().union(*map(_kinds, get_args(hint))) - {type(None)}
    return frozenset([hint])


def _setting_options() -> list[inspect.Parameter]:
    """One command-line option per field of `Config`; None leaves the preset's value."""
    from pldebias.presets import Config

    told_of = dict(re.findall(r"^    (\w+) : .*\n((?: {8}.*\n)+)", str(Config.__doc__), re.MULTILINE))
    hints, parameters = get_type_hints(Config), []
    for field in fields(Config):
        if field.name in ("method", "data", "seed", "options", "plugins"):
            continue
        kinds = _kinds(hints[field.name])
        kind = bool if kinds == {bool} else str  # sequences are given separated by commas
        text = " ".join(told_of.get(field.name, "").replace("``", "`").split())
        told = {"help": text, "show_default": "preset's", "rich_help_panel": "Settings"}
        option = typer.Option(**told, **_PARSERS.get(kinds, {}))
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])
        )
    return parameters


def _with_settings(function):
    """Give a command the options of `_setting_options` beside its own."""
    hints = get_type_hints(function, include_extras=True)
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters = [p.replace(kind=p.KEYWORD_ONLY, annotation=hints[p.name]) for p in own] + _setting_options()
    function.__signature__ = inspect.Signature(parameters)
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in given.items() if value is not None}
    if "class_order" in given:
        given["class_order"] = tuple(c.strip() for c in given["class_order"].split(","))
    if "milestones" in given:
        try:
            given["milestones"] = tuple(int(m) for m in given["milestones"].split(","))
        except ValueError:
            raise ValueError(f"milestones={given['milestones']} must be whole numbers separated by commas, such as 1000,2000") from None
    return given


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # A pipe has no width of its own; 80 columns would cut what a file can hold.
    Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False).print(table)


@app.command()
@_with_settings
def train(
    method: Annotated[list[str], typer.Argument(help="One or more methods, such as fixmatch or 'fixmatch+la+daso(T=0.3)'.")],
    data: Annotated[str, typer.Option(help="A preset or a source; `pldebias data` lists them.")] = "glyphs-lt",
    seed: Annotated[list[str], typer.Option(help="May be repeated.", **_INTEGER)] = ["0"],  # noqa: B006 - nobody changes it
    out: Annotated[str, typer.Option(help="Folder that receives <data>/<method>/s<seed>.")] = "runs",
    jobs: Annotated[str, typer.Option(help="Runs at once.", **_INTEGER)] = "1",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete runs that lie there and start anew.")] = False,
    plugin: Plugins = None,
    json_: Json = False,
    **settings: Any,
) -> None:
    """Train methods; finished runs are kept and unfinished ones resumed."""
    from pldebias.training import sweep

    try:
        settings = {**_settings(settings), "plugins": plugin}
        runs = sweep(method, data, cast("Any", seed), jobs=cast("Any", jobs), out=out, overwrite=overwrite, progress=not json_, **settings)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from the last finished epoch", err=True)
        raise typer.Exit(130) from None
    if json_:
        _print_json(
            [{"path": run.path, "name": run.name, "epochs": len(run.epochs), "finished": run.finished, **_final(run)} for run in runs]
        )
    else:
        for run in runs:
            typer.echo(f"{run.name}: {run.path}")


def _final(run: Any) -> dict[str, float]:
    return {name: float(value) for name, value in run.scalars.iloc[-1].items()} if len(run.epochs) else {}


@app.command()
def runs(root: Annotated[str, typer.Argument(help="Folder to search.")] = "runs", plugin: Plugins = None, json_: Json = False) -> None:
    """List runs with their final metrics."""
    from pldebias.analysis.comparing.compare import summary

    table = summary(root)
    if json_:
        _print_json(json.loads(table.to_json(orient="records") or "[]"))
    elif table.empty:
        typer.echo(f"no runs under {root}; train one with: pldebias train fixmatch")
    else:
        # pandas goes on with further columns below where a terminal is too narrow, and never breaks a name; a pipe has no width.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(f"{len(table)} runs under {root}")
        typer.echo(table.set_index("run").rename_axis(None).to_string(line_width=width, na_rep="", max_colwidth=None))


@app.command()
def report(
    run: Annotated[list[str], typer.Argument(help="Runs, or folders of runs; seeds of one method are put together.")],
    out: Annotated[str, typer.Option("--out", "-o", help="HTML file to write.")] = "report.html",
    baseline: Annotated[str | None, typer.Option(help="Method that differences refer to.")] = None,
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    plugin: Plugins = None,
) -> None:
    """Write one page about runs that opens without network: explorer, tables, figures, settings, provenance."""
    from pldebias.report import report as write

    path = write(run, out, title=title, baseline=baseline)
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


@app.command()
def figures(
    run: Annotated[list[str], typer.Argument(help="Runs, or folders of runs; seeds of one method are put together.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Folder to write into.")] = "figures",
    format_: Annotated[list[str], typer.Option("--format", help="pdf, svg or png; may be repeated.")] = ["pdf"],  # noqa: B006 - nobody changes it
    width: Annotated[str, typer.Option(help="single or double column.")] = "double",
    error: Annotated[str, typer.Option(help="interval (Student's 95 %) or sd, around means over seeds.")] = "interval",
    baseline: Annotated[str | None, typer.Option(help="Method that differences refer to.")] = None,
    published: Annotated[bool, typer.Option("--published", help="Set published accuracies beside, in the table.")] = False,
    plugin: Plugins = None,
) -> None:
    """Write the figures of a paper, its table in LaTeX, Markdown and CSV, and what the captions must say."""
    from pldebias.figures import figures as write

    written = write(run, out, formats=format_, width=width, error=error, baseline=baseline, published=published)
    for path in written:
        typer.echo(str(path))
    lost = written[-1].read_text(encoding="utf-8").partition("Not drawn:")[2].strip()
    if lost:
        typer.echo(f"not drawn:\n{lost}", err=True)


@app.command()
def methods(plugin: Plugins = None, json_: Json = False) -> None:
    """List learners and schemes with their options, and the file or package of those that plugins brought."""
    from pldebias.methods import LEARNERS, SCHEMES

    def describe(cls: type, origin: str) -> dict[str, Any]:
        parameters = inspect.signature(cls).parameters.values()
        return {
            "name": cls.name,
            "summary": (cls.__doc__ or "").strip().partition("\n")[0],
            "options": {p.name: p.default for p in parameters},
            "module": cls.__module__,
            "plugin": origin,
        }

    listing = {
        kind: [describe(cls, table.origins.get(name, "")) for name, cls in table.items()]
        for kind, table in (("learners", LEARNERS), ("schemes", SCHEMES))
    }
    if json_:
        return _print_json(listing)
    for kind, parts in listing.items():
        rows = [[p["name"], p["summary"], ", ".join(f"{k}={v}" for k, v in p["options"].items()), p["plugin"]] for p in parts]
        columns = ["name", "what", "options and defaults", "plugin"]
        some = any(p["plugin"] for p in parts)
        _table(f"{kind} (write learner+scheme+scheme, options in brackets)", columns[: 3 + some], [row[: 3 + some] for row in rows])
    return None


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A preset, to see its settings and class counts.")] = None,
    plugin: Plugins = None,
    json_: Json = False,
) -> None:
    """List presets and sources, or show one preset."""
    from pldebias.presets import PRESETS, SOURCES, Config, as_dict, resolve

    if name is None:
        listing = {"presets": {n: as_dict(c) for n, c in PRESETS.items()}, "sources": SOURCES}
        if json_:
            return _print_json(listing)
        rows = [
            [n, c.source, f"N1={c.n1} gamma_l={c.gamma_l:g}", f"M1={c.m1} gamma_u={c.gamma_u:g}", c.network, str(c.steps)]
            for n, c in PRESETS.items()
        ]
        _table("presets", ["name", "source", "labelled", "unlabelled", "network", "steps"], rows)
        _table("sources (any may be given to --data or --source)", ["name", "what"], [[n, what] for n, what in SOURCES.items()])
        return None
    settings = as_dict(resolve(Config().method, name))
    if json_:
        return _print_json(settings)
    _table(name, ["setting", "value"], [[k, str(v)] for k, v in settings.items()])
    return None


@app.command()
def lab(
    folder: Annotated[str, typer.Argument(help="Where the notebooks are.")] = "notebooks",
    port: Annotated[int, typer.Option(help="Port of the server.", min=0, max=65535)] = 8888,
) -> None:
    """Open JupyterLab on the notebooks (this machine only, behind a token)."""
    import subprocess

    from pldebias.optional import needed
    from pldebias.paths import local

    place = local(folder).resolve()
    if not place.is_dir():
        raise FileNotFoundError(f"{place} is no folder; start this in the project's root, or give the folder of your notebooks")
    needed("the lab", "lab", "jupyterlab")
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--port={port}"]
    # The folder above is the root, so that notebooks reach runs/ beside them.
    command += [f"--ServerApp.root_dir={place.parent}", f"--LabApp.default_url=/lab/tree/{place.name}"]
    raise typer.Exit(subprocess.call(command))


@app.command()
def doctor(json_: Json = False) -> None:
    """Say what was found here: devices, versions, data, browsers."""
    from pldebias.doctor import findings

    found = findings()
    if json_:
        return _print_json(found)
    _table("pldebias doctor", ["what", "found"], [[key, str(value)] for key, value in found.items()])
    return None


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False) -> None:
    pass


def _told(error: Exception) -> str:
    """One message; the system's own errors with what it refused and what to do."""
    if not isinstance(error, OSError) or error.strerror is None or not error.filename:
        return str(error)
    advice = {
        errno.ENOSPC: "free space there, or choose another place",
        errno.EACCES: "choose another place, or change its permissions",
        errno.EPERM: "choose another place, or change its permissions",
        errno.EROFS: "choose another place",
    }.get(error.errno or 0)
    return f"{error.filename2 or error.filename}: {error.strerror}" + (f"; {advice}" if advice else "")


def _prepare_output() -> None:
    """Letters that the output's encoding lacks are escaped; an output that is closed, as of a program without a console, takes nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Nothing more is written to standard output, so that closing it does not fail, too."""
    with suppress(OSError, ValueError, AttributeError):
        out = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), out)


def main() -> None:
    """Run the command line.

    A command that fails prints one message. The exit code is 2 if something that was given is wrong, 1 if pldebias is, 130 after Ctrl-C.
    """
    debug = "--debug" in sys.argv[1:]
    _prepare_output()
    try:
        try:
            app(args=[argument for argument in sys.argv[1:] if argument != "--debug"])
        finally:
            sys.stdout.flush()  # here, where an error is told
    except BrokenPipeError:  # `pldebias runs | head`
        _drop_output()
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise SystemExit(130) from None
    except Exception as error:
        if debug:
            raise
        from pldebias.runs import NotLogged

        expected = isinstance(error, ValueError | OSError | RuntimeError | ImportError | NotLogged)
        if expected:
            typer.echo(f"error: {_told(error)}", err=True)
        else:
            typer.echo(f"error: {type(error).__name__}: {error}; this is a fault of pldebias, and --debug shows where it lies", err=True)
        try:
            sys.stdout.flush()
        except OSError:  # it was this that failed
            _drop_output()
        raise SystemExit(2 if expected else 1) from None
