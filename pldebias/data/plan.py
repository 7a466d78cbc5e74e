"""Images that a split takes of every class, worked out and checked before an image is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pldebias.data.errors import DataError, some
from pldebias.data.longtail import check_gamma, class_counts
from pldebias.paths import composed


def resolve_order(order: Sequence[str | int] | None, class_names: Sequence[str], default: Sequence[int]) -> tuple[int, ...]:
    """Class ids from head to tail for names or ids in `order`; None gives `default`. Every class must appear once.

    Numbers and texts of the same digits mean the same: names if every entry is the name of a class, else ids.
    """
    if order is None:
        return tuple(default)
    names, texts = [composed(name) for name in class_names], [composed(str(entry)) for entry in order]
    named = [text in names for text in texts]
    numbers = [text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(names) for text in texts]
    if not all(named) and not all(numbers):
        for entry, text, is_name, is_number in zip(order, texts, named, numbers, strict=True):
            if not is_name and not is_number:
                raise DataError(
                    f"class_order: {entry!r} is no class; allowed are the names {some(map(repr, names), 12)}, "
                    f"or the ids 0..{len(names) - 1}"
                )
            if is_name and is_number and names.index(text) != int(text):
                raise DataError(f"class_order: {entry!r} is ambiguous, the name of one class and the id of another; give names alone")
    # The class named 10 is meant by 10 and by "10", wherever it stands among the names; numbers that are no names are ids.
    by_name = named if all(named) or not all(numbers) else [False] * len(texts)
    ids = [names.index(text) if use else int(text) for text, use in zip(texts, by_name, strict=True)]
    if len(ids) != len(names) or len(set(ids)) != len(names):
        missing = [names[c] for c in range(len(names)) if c not in ids]
        twice = sorted({names[c] for c in ids if ids.count(c) > 1})
        raise DataError(
            f"class_order must name each of the {len(names)} classes once, head to tail; it has {len(ids)} entries"
            + (f", lacks {some(map(repr, missing), 12)}" if missing else "")
            + (f", repeats {some(map(repr, twice), 12)}" if twice else "")
        )
    return tuple(ids)


def plan_counts(
    available: Sequence[int],
    class_names: Sequence[str],
    order: Sequence[int],
    *,
    n1: int | None,
    m1: int | None,
    gamma_l: float,
    gamma_u: float,
    reverse: bool = False,
    shared: bool = True,
    what: str = "labelled",
) -> tuple[list[int], list[int]]:
    """Images that every class id must give to the labelled and the unlabelled set, checked against what there is.

    Parameters
    ----------
    available : sequence of int
        Images of every class id that the split may use (validation already taken off), K values.
    class_names : sequence of str
        For the messages.
    order : sequence of int
        Class ids from head to tail.
    n1, m1 : int or None
        Head class sizes. None takes all there is: `m1` what the labelled set leaves over, `n1` what the unlabelled set leaves.
    gamma_l, gamma_u : float
        Imbalance ratios.
    reverse : bool, default False
        The unlabelled head is the labelled tail.
    shared : bool, default True
        Both sets come from the same images; False when the unlabelled set has images of its own (then only `n1` is planned).
    what : str, default "labelled"
        What `n1` counts, for the messages.

    Returns
    -------
    labelled, unlabelled : list of int
        Counts by class id (unlabelled all 0 unless `shared`).

    Raises
    ------
    DataError
        A class too small (which, what it has, what to lower), or left without a labelled image.
    """
    check_gamma("gamma_l", gamma_l)
    check_gamma("gamma_u", gamma_u)
    num_classes = len(order)
    ranks_u = list(order[::-1] if reverse else order)
    if shared and n1 is None and m1 is None:
        raise DataError("n1=None and m1=None would label every image: give n1 (labelled images of the head class), m1, or both")

    def counts(head, gamma, ranks, left):
        if head is None and gamma == 1:
            return list(left)
        by_rank = class_counts(left[ranks[0]] if head is None else head, gamma, num_classes)
        by_class = [0] * num_classes
        for c, n in zip(ranks, by_rank, strict=True):
            by_class[c] = n
        return by_class

    if not shared:
        labelled, unlabelled = counts(n1, gamma_l, order, available), [0] * num_classes
    elif n1 is None:
        unlabelled = counts(m1, gamma_u, ranks_u, available)
        labelled = counts(None, gamma_l, order, [max(a - m, 0) for a, m in zip(available, unlabelled, strict=True)])
    else:
        labelled = counts(n1, gamma_l, order, available)
        unlabelled = counts(m1, gamma_u, ranks_u, [max(a - n, 0) for a, n in zip(available, labelled, strict=True)])
    for rank, c in enumerate(order):
        if labelled[c] > available[c] and not shared:
            raise DataError(
                f"class {class_names[c]!r} has {available[c]} {what} images, but its share of a head class of {n1} is {labelled[c]}: lower "
                f"{'n1' if what == 'labelled' else 'm1'}"
            )
        if labelled[c] < 1 and what == "labelled":
            raise DataError(
                f"n1={n1} with gamma_l={gamma_l:g} leaves class {class_names[c]!r} (rank {rank} of 0..{num_classes - 1}) without a "
                f"labelled image: raise n1 to at least {int(np.ceil(gamma_l))} or lower gamma_l"
            )
        if labelled[c] + unlabelled[c] > available[c]:
            raise DataError(
                f"class {class_names[c]!r} has {available[c]} images to split, but n1={n1} and m1={m1} ask for {labelled[c]} labelled + "
                f"{unlabelled[c]} unlabelled = {labelled[c] + unlabelled[c]}: lower n1 or m1 by "
                f"{labelled[c] + unlabelled[c] - available[c]} (or set fewer images aside for validation)"
            )
    return labelled, unlabelled
