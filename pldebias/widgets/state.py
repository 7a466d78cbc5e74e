"""Values that the views' states are given."""

from __future__ import annotations

from typing import Any

import traitlets

from pldebias.settings import argument, plain

__all__ = ["Stateful"]

_KINDS = {traitlets.Int: int, traitlets.Bool: bool, traitlets.Unicode: str}


class Stateful:
    """Mix-in for views: values of the traits in ``_stated`` may be of any number type; all else is refused in one wording."""

    _stated: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, self._plain(name, value) if name in self._stated else value)

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
            allowed = (*trait.values, None) if trait.allow_none else trait.values
            found = next((one for one in allowed if found == one and isinstance(found, bool) == isinstance(one, bool)), Ellipsis)
            if found is Ellipsis:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, trait.values))}; got {value!r}")
            return found
        if isinstance(trait, traitlets.List):
            found = list(argument(name, value, tuple[int, ...], empty=True))
            if wrong := [one for one in found if abs(one) >= 2**63]:
                raise ValueError(f"{name} holds {wrong[0]}; give whole numbers below 2**63")
            return found
        return argument(name, value, _KINDS[type(trait)])
