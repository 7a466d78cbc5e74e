"""Folders that Hugging Face's `datasets` saves, and clones of its hub's repositories: which files are which split, and their columns.

Read here are the descriptions alone (``state.json``, ``dataset_dict.json``, ``dataset_info.json``, the header of ``README.md``), without a
network and without that library; `pldebias.data.parquet` reads the tables.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from pldebias.data.errors import DataError, say, some

Splits = dict[str, list[Path]]
"""Files by the name of a split as its author wrote it; empty for a set without a name."""


def is_saved(folder: Path) -> bool:
    """Return True if ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote a folder."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def saved(folder: Path) -> Splits:
    """Files of a saved folder by split, in the order of their rows.

    Raises
    ------
    DataError
        A description is damaged, a file or folder that it names is missing, or rows were selected without being written.
    """
    described = folder / "dataset_dict.json"
    if not described.is_file():
        return {"": _files(folder)}
    names = _json(described).get("splits")
    if not isinstance(names, list) or not names or not all(re.fullmatch(r"\w[\w.-]*", str(name)) for name in names):
        raise DataError(f"{described}: names no splits; save the data set anew")
    if missing := [name for name in names if not (folder / name / "state.json").is_file()]:
        raise DataError(f"{described} names the splits {some(names)}, but {some(missing)} is missing beside it; copy the whole folder")
    return {name: _files(folder / name) for name in names}


def _files(folder: Path) -> list[Path]:
    state = _json(folder / "state.json")
    try:
        names = [entry["filename"] for entry in state["_data_files"]]
        files = [folder / PurePosixPath(name).name for name in names]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / 'state.json'}: names no files; save the data set anew") from error
    if state.get("_indices_data_files"):
        raise DataError(f"{folder}: its rows are a selection that an old version kept apart; save it anew with a newer `datasets`")
    if not files:
        raise DataError(f"{folder}: no row")
    if missing := [file.name for file in files if not file.is_file()]:
        raise DataError(f"{folder / 'state.json'} names {some(missing)}, which is missing beside it; copy the whole folder")
    return files


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: is no description of a data set; save the data set anew")
    return found


def described(folder: Path) -> dict[str, Any]:
    """Columns of a saved folder by its ``dataset_info.json``, for files whose schema does not tell; empty if there is none."""
    path = folder / "dataset_info.json"
    features = _json(path).get("features") if path.is_file() else None
    return features if isinstance(features, dict) else {}


# -- Repositories of the hub ----------------------------------------------------------------------------------------------


def header(folder: Path) -> dict[str, Any]:
    """The YAML header of a folder's ``README.md``; empty if there is none, or if it says nothing about files and columns."""
    path = folder / "README.md"
    if not path.is_file():
        return {}
    start, text, *_ = [*path.read_text(encoding="utf-8", errors="replace").split("---", 2), "", ""]
    if start.strip() or ("configs:" not in text and "dataset_info:" not in text):
        return {}
    from pldebias.optional import needed

    (yaml,) = needed("a header in README.md", "files", "pyyaml:yaml")
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: its header is no YAML ({str(error).splitlines()[0]}); mend it, or remove it") from error
    return found if isinstance(found, dict) else {}


def configuration(folder: Path, head: dict[str, Any], wanted: str | None) -> tuple[Splits | Path | None, dict[str, Any]]:
    """Read one configuration in a header.

    Parameters
    ----------
    folder : Path
    head : dict
        From `header`.
    wanted : str or None
        Name of the configuration; None is the default one, or the only one.

    Returns
    -------
    Splits, Path or None
        Files by split, the folder to look into, or None if the header names neither.
    dict
        Columns by name, as schemas have them.
    """
    where = folder / "README.md"
    configs = {str(entry.get("config_name", "default")): entry for entry in _entries(head.get("configs"))}
    columns = {str(entry.get("config_name", "default")): entry for entry in _entries(head.get("dataset_info"))}
    names = list(dict.fromkeys([*configs, *columns]))
    if wanted is not None and wanted not in names:
        there = f"it names {some(names)}" if names else "it names none"
        raise DataError(f"{where}: no configuration {wanted!r}; {there}")
    there = [name for name, entry in configs.items() if any(_globbed(folder, pattern) for pattern in _patterns(entry.get("data_files")))]
    marked = [name for name, entry in configs.items() if entry.get("default") is True]
    chosen = [wanted] if wanted is not None else marked or [name for name in names if name == "default"] or there or names
    if len(chosen) > 1:
        if not there:
            return None, {}  # columns of several sets, and files that say by their names what they are
        raise DataError(f"{where}: names the configurations {some(chosen)}; name one as huggingface:PATH#config={chosen[0]}")
    chosen = chosen[0] if chosen else ""
    entry, features = configs.get(chosen, {}), columns.get(chosen, {}).get("features")
    found: Splits | Path | None = None
    if (patterns := entry.get("data_files")) is not None:
        found = _matched(folder, patterns, where)
    elif (inner := entry.get("data_dir")) is not None:
        found = folder / _within(str(inner), where)
    return found, {str(column["name"]): _feature(column.get("dtype")) for column in _entries(features) if "name" in column}


def _entries(found: Any) -> list[dict[str, Any]]:
    return [entry for entry in (found if isinstance(found, list) else [found]) if isinstance(entry, dict)]


def _within(pattern: str, where: Path) -> str:
    if "://" in pattern or PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise DataError(f"{where}: names {pattern!r}, which does not lie in its folder; download those files and name them there")
    return pattern


def _matched(folder: Path, patterns: Any, where: Path) -> Splits:
    by_split = {str(key): value for key, value in patterns.items()} if isinstance(patterns, dict) else {}
    for entry in _entries(patterns) if isinstance(patterns, list) else []:
        by_split[str(entry.get("split", "train"))] = entry.get("path")
    splits: Splits = {}
    for split, wanted in (by_split or {"train": patterns}).items():
        splits[split] = []
        for pattern in wanted if isinstance(wanted, list) else [wanted]:
            files = _globbed(folder, _within(str(pattern), where))
            if not files:
                say(f"{where} names {pattern!r} as {split} files, but there is none; the others are read")
            if other := [file.name for file in files if file.suffix.lower() not in (".parquet", ".arrow")]:
                raise DataError(f"{where}: names {some(other)} as {split} files; only Parquet and Arrow files are read here")
            splits[split] += [file for file in files if file not in splits[split]]
    return {split: files for split, files in splits.items() if files}


def _globbed(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(file for file in folder.glob(pattern) if file.is_file())
    except (ValueError, NotImplementedError):  # no pattern within a folder
        return []


def _patterns(found: Any) -> list[str]:
    """All patterns in a ``data_files``, whatever its form."""
    if isinstance(found, list):
        return [pattern for entry in found for pattern in _patterns(entry)]
    if isinstance(found, dict):
        return _patterns(found["path"] if "path" in found else list(found.values()))
    return [] if found is None else [str(found)]


def _feature(dtype: Any) -> dict[str, Any]:
    """A column as schemas describe it: class names in the order of their numbers."""
    if isinstance(dtype, dict) and isinstance(label := dtype.get("class_label"), dict) and "names" in label:
        names = label["names"]
        if isinstance(names, dict):  # by number, as text
            names = [names[key] for key in sorted(names, key=lambda key: (len(str(key)), str(key)))]
        return {"_type": "ClassLabel", "names": [str(name) for name in names] if isinstance(names, list) else names}
    return {"_type": "Image"} if dtype == "image" else {}
