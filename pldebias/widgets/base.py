"""The base of all views: their state, and their picture, page and frame for places where nothing runs."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from pldebias._files import put
from pldebias.paths import output
from pldebias.settings import argument, plain
from pldebias.widgets.page import Piece, page

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

__all__ = ["Drawn", "View"]

_KINDS = {traitlets.Int: int, traitlets.Bool: bool, traitlets.Unicode: str}


class Drawn:
    """Mix-in for widgets that have a `figure`, which stands for them in places that run no scripts."""

    _dpi = 110

    if TYPE_CHECKING:

        def figure(self) -> Figure: ...

        def _alone(self) -> str: ...

    def png(self, dpi: int | None = None) -> bytes:
        """Draw `figure` as PNG."""
        from pldebias.plots.result import write

        buffer = io.BytesIO()
        write(self.figure(), buffer, {"format": "png", "dpi": dpi or self._dpi, "metadata": {"Software": None}})
        return buffer.getvalue()

    def _picture(self) -> bytes:
        """The picture that goes with the widget; empty for none."""
        return self.png()

    def _repr_mimebundle_(self, **kwargs):
        if os.environ.get("PLDEBIAS_STATIC", "0") not in ("", "0"):  # an exported page has no kernel, and gets nothing that asks for one
            return {"text/plain": repr(self), "text/html": self._alone()}, {}
        bundle: Any = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]  # of the widget
        bundle, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        picture = self._picture()
        still = {"image/png": base64.b64encode(picture).decode()} if picture else {}
        return {**still, **bundle, "text/plain": repr(self)}, metadata


class View(Drawn, anywidget.AnyWidget):
    """A view that runs in the browser, with a kernel or alone in a page.

    Values of the traits in ``STATE`` may be of any number type; all else is refused in one wording.
    """

    STATE: tuple[str, ...] = ()
    """Traits that `state` holds."""
    _least_class = 0  # of a cell; -1 stands for any

    meta = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    link = traitlets.Unicode("").tag(sync=True)
    cell = traitlets.List(traitlets.Int()).tag(sync=True)

    @classmethod
    def _check_names(cls, state) -> None:
        if unknown := sorted(set(state) - set(cls.STATE)):
            raise ValueError(f"unknown state {unknown}; the state of a {cls.__name__} is {', '.join(cls.STATE)}")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, self._plain(name, value) if name in self.STATE else value)

    def _plain(self, name: str, value: Any) -> Any:
        """A value as its trait takes it.

        Raises
        ------
        ValueError
            The trait has no such value.
        """
        trait = self.traits()[name]
        if isinstance(trait, traitlets.Enum):
            found = plain(value)
            values = trait.values or ()
            allowed = (*values, None) if trait.allow_none else values
            found = next((one for one in allowed if found == one and isinstance(found, bool) == isinstance(one, bool)), Ellipsis)
            if found is Ellipsis:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, values))}; got {value!r}")
            return found
        if isinstance(trait, traitlets.List):
            found = list(argument(name, value, tuple[int, ...], empty=True))
            if wrong := [one for one in found if abs(one) >= 2**63]:
                raise ValueError(f"{name} holds {wrong[0]}; give whole numbers below 2**63")
            return found
        return argument(name, value, _KINDS[type(trait)])

    @property
    def state(self) -> dict[str, Any]:
        """Keyword arguments that reproduce the view."""
        return {name: list(value) if isinstance(value := getattr(self, name), list) else value for name in self.STATE}

    @traitlets.validate("cell")
    def _check_cell(self, proposal):
        cell, last, least = list(proposal.value), len(self.meta["classes"]) - 1, self._least_class
        if cell and (len(cell) != 2 or not all(least <= c <= last for c in cell)):
            some = ", -1 for any" if least else ""
            raise ValueError(f"cell is [true class, label] with classes 0..{last}{some}, or empty; got {cell}")
        return [] if set(cell) == {-1} else cell

    if TYPE_CHECKING:  # the view in its current state, for a `page`; each has options of its own
        piece: Callable[..., Piece]

    def _height(self) -> int:
        """Height in pixels of the frame in an exported notebook."""
        raise NotImplementedError

    def frame(self, theme: str = "light", **options: Any) -> str:
        """The page as an ``<iframe>`` that carries it, for exported notebooks; options as in `piece`."""
        inside, name = (html.escape(text, quote=True) for text in (page(self.piece(**options), theme=theme), repr(self)))
        style = f"width: 100%; height: {self._height()}px; border: 0"
        return f'<iframe srcdoc="{inside}" title="{name}" style="{style}" loading="lazy"></iframe>'

    _alone = frame

    def _write(self, path, *pieces: Piece, theme: str) -> Path:
        path = output(path)
        put(path, page(*pieces, theme=theme).encode())
        return path
