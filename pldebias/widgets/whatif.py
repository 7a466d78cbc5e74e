"""The what-if panel: move a temperature, a threshold, a prior, and see which pseudo-labels this epoch would have got."""

from __future__ import annotations

import asyncio
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as ui
import numpy as np
import traitlets

from pldebias.analysis.relabelling.counterpart import compose, effective, options_of, outcome
from pldebias.analysis.relabelling.relabelled import GROUP_NAMES, reproduction, rows
from pldebias.analysis.relabelling.whatif import what_if
from pldebias.methods import LEARNERS, SCHEMES, Method, MethodError, PartSpec, build_method, parse
from pldebias.runs import Run
from pldebias.runs.run import as_run
from pldebias.schemes import Button, Slider, Switch
from pldebias.widgets.base import Drawn
from pldebias.widgets.tables import matrix, scores

__all__ = ["WhatIfPanel"]

AS_TRAINED = "as trained"
OWN = (Button(AS_TRAINED, AS_TRAINED), Button("bare learner", ""))
THRESHOLDS = ("the method's", "one for all", "by group", "by label")
PRIORS = {"the scheme's own": None, "labelled frequencies": "labelled", "mean prediction": "running", "true (oracle)": "oracle"}
OWN_GENERATION = ("that of the epoch", None)
WAIT = 0.06  # seconds that a moving slider may go on before labels are made
RED, GREY = "#a03000", "#555555"
ADD = "add a scheme"


def _small(text: str) -> str:
    return f"<div style='font-size:11px;color:{GREY};margin:2px 0 0'>{escape(text)}</div>"


def buttons() -> dict[str, Button]:
    """Buttons of the panel by label: its own, and those that learners and schemes declare."""
    declared = (button for table in (LEARNERS, SCHEMES) for part in table.values() for button in part.buttons)
    return {button.label: button for button in (*OWN, *declared)}


class WhatIfPanel(Drawn, ui.VBox):
    """Controls, and the matrix, its change and the group scores that follow them.

    The chain is written as a method string, which can also be typed. Its schemes bring the sliders and check boxes that they declare
    (`pldebias.schemes.part.Part.controls`), which rewrite it. Everything is computed in the kernel by `pldebias.what_if`.

    Parameters
    ----------
    run : Run or path
        With logits at some epochs.
    scheme : str, default "as trained"
        Chain to begin with.
    epoch : int, default -1
        Snapshot epoch to begin with; -1 is the last.
    root : path, optional
        Where to look for runs that were really trained with the chain; by default where `run` lies. False does not look.

    Attributes
    ----------
    result : WhatIf or None
        What is shown; None before the first chain that works.
    problem : str
        Why the present controls give nothing; empty if they do.
    trained : Run or None
        The run that was really trained with the chain that is shown, if there is one.
    """

    chain = traitlets.Unicode(AS_TRAINED)
    problem = traitlets.Unicode("")

    def __init__(self, run, scheme: str = AS_TRAINED, *, epoch: int = -1, root: str | Path | bool | None = None):
        self.run, self.root = as_run(run), root
        self.result: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = self._held = False
        self._found: dict[str, Run | None] = {}
        what_if(self.run, epoch=epoch) if self.run.method else None  # an epoch without logits is refused at once
        have = [int(e) for e in self.run.logged("logits")]
        wide, narrow = {"layout": ui.Layout(width="320px")}, {"layout": ui.Layout(width="250px")}
        self.epoch = ui.SelectionSlider(options=have, value=have[-1] if epoch == -1 else epoch, description="epoch", **wide)
        self.text = ui.Text(value=scheme, description="chain", continuous_update=False, layout=ui.Layout(width="480px"))
        self.add = ui.Dropdown(options=[ADD, *sorted(SCHEMES)], **narrow)
        self.controls: dict[str, ui.FloatSlider | ui.Checkbox] = {}
        self.prior = ui.Dropdown(options=PRIORS, description="prior", **narrow)
        self.generation = ui.Dropdown(options=[OWN_GENERATION], description="generation", **narrow)
        self.thresholds = ui.Dropdown(options=THRESHOLDS, description="thresholds", **narrow)
        start, names = float(self._threshold()), self.run.class_names
        self._by_label = np.full(len(names), np.nan)  # of those that were not moved, the method's own
        level = {"min": 0, "max": 1, "step": 0.01, "value": start, **narrow}
        self.one = ui.FloatSlider(description="all", **level)
        self.by_group = {name: ui.FloatSlider(description=name, **level) for name in GROUP_NAMES}
        self.label = ui.Dropdown(options=list(zip(names, range(len(names)), strict=True)), description="label", **narrow)
        self.of_label = ui.FloatSlider(description="threshold", **level)
        self._levels = ui.HBox([], layout=ui.Layout(flex_flow="row wrap"))
        self.split = ui.ToggleButtons(options=["all", "accepted"], style={"button_width": "80px"})
        self.buttons = {}
        for label, (_, chain, _prior) in buttons().items():
            self.buttons[label] = ui.Button(description=label, tooltip=chain or "no scheme", layout=ui.Layout(width="auto"))
            self.buttons[label].on_click(lambda _, label=label: self.press(label))
        self._options = ui.HBox([], layout=ui.Layout(flex_flow="row wrap"))
        self.badge, self.view = ui.HTML(), ui.HTML()
        self.add.observe(self._append, "value")
        self.text.observe(lambda change: None if self._held else self.show(change["new"]), "value")
        self.thresholds.observe(self._offer_levels, "value")
        self.label.observe(self._show_level, "value")
        self.of_label.observe(self._set_level, "value")
        for control in (self.epoch, self.prior, self.generation, self.split, self.one, *self.by_group.values()):
            control.observe(lambda _: self._later(), "value")
        super().__init__(
            [
                ui.HBox([*self.buttons.values()], layout=ui.Layout(flex_flow="row wrap")),
                ui.HBox([self.text, self.add, self.epoch], layout=ui.Layout(flex_flow="row wrap")),
                self._options,
                ui.HBox([self.prior, self.generation, self.thresholds, self._levels, self.split], layout=ui.Layout(flex_flow="row wrap")),
                self.badge,
                self.view,
            ]
        )
        self.chain = scheme
        self._sync(scheme)
        self.update()

    def _method(self, chain: str | None) -> Method:
        return build_method(compose(self.run, chain)[0], options_of(self.run))

    def _threshold(self) -> float:
        return getattr(self._method(None if self.run.method else "").learner, "confidence_threshold", 0.95)

    # -- controls -----------------------------------------------------------------------------------------------------

    def show(self, chain: str) -> None:
        """Show this chain: a method string as `pldebias.what_if` takes, ``""`` for the bare learner, or ``"as trained"``."""
        if chain != self.chain:
            self.chain = chain
            self._sync(chain)
            self._later()

    def press(self, label: str) -> None:
        """Show what a button stands for: its chain, its prior and the method's own thresholds."""
        _, chain, prior = buttons()[label]
        self._held = True
        try:
            self.prior.value, self.thresholds.value = prior, THRESHOLDS[0]
            self.show(chain)
        finally:
            self._held = False
        self._later()

    def _sync(self, chain: str) -> None:
        """Let the controls say what the chain says."""
        try:
            method = self._method(None if chain == AS_TRAINED else chain)
            count, found = method.generations, [] if chain == AS_TRAINED else [*method.parts]
            written = dict(effective(method.spelling, options_of(self.run)))
        except MethodError:
            count, found, written = 1, [], {}
        self._offer_generations(count)
        held, self._held = self._held, True
        try:
            self.text.value = chain
            self.controls = {
                f"{part.name} {control.option}": self._control(part.name, control, written[part.name][control.option])
                for part in found
                for control in part.controls
                if control.option in written[part.name]
            }
            self._options.children = [*self.controls.values()]
        finally:
            self._held = held

    def _control(self, part: str, control: Slider | Switch, value):
        """A slider or check box for an option of a part of the chain; an option that is None stands in the middle."""
        name, narrow = f"{part} {control.option}", ui.Layout(width="320px")
        if isinstance(control, Switch):
            widget = ui.Checkbox(value=bool(value), description=name, indent=False, layout=narrow)
        else:
            _, low, high, step = control
            value = (low + high) / 2 if value is None else min(max(float(value), low), high)
            widget = ui.FloatSlider(value=value, min=low, max=high, step=step, description=name, layout=narrow)
        widget.observe(lambda change: self._set(part, control.option, change["new"]), "value")
        return widget

    def _set(self, name: str, option: str, value: float | bool) -> None:
        """Write an option into the chain, whose controls stay."""
        parts = parse(self.chain)
        if not any(part.name == name for part in parts):  # the run's own learner, which the chain leaves out
            parts = (PartSpec(name, {}), *parts)
        value = value if isinstance(value, bool) else float(f"{value:g}")
        self.chain = "+".join(str(PartSpec(p.name, {**p.options, option: value}) if p.name == name else p) for p in parts)
        held, self._held = self._held, True
        try:
            self.text.value = self.chain
        finally:
            self._held = held
        self._later()

    def _append(self, change) -> None:
        """Put the chosen scheme behind the chain."""
        if change["new"] != ADD:
            self.add.value = ADD
            self.show("+".join(filter(None, ("" if self.chain == AS_TRAINED else self.chain, change["new"]))))

    def _offer_generations(self, count: int) -> None:
        """Offer the generations of a chain that makes several."""
        held, self._held = self._held, True
        try:
            options = [OWN_GENERATION, *((str(g), g) for g in range(count if count > 1 else 0))]
            if options != list(self.generation.options):
                self.generation.options = options  # which also chooses the first
        finally:
            self._held = held
        self.generation.layout.display = "" if count > 1 else "none"

    def _offer_levels(self, _) -> None:
        offered = {"one for all": [self.one], "by group": [*self.by_group.values()], "by label": [self.label, self.of_label]}
        self._levels.children = offered.get(self.thresholds.value, [])
        self._later()

    def _show_level(self, _) -> None:
        self._writing = True
        try:
            level = self._by_label[self.label.value]
            self.of_label.value = self.one.value if np.isnan(level) else float(level)
        finally:
            self._writing = False

    def _set_level(self, change) -> None:
        if not self._writing:
            self._by_label[self.label.value] = change["new"]
            self._later()

    def _asked(self):
        """The thresholds that the controls ask for, as `pldebias.what_if` takes them."""
        by_group = {name: slider.value for name, slider in self.by_group.items()}
        return dict(zip(THRESHOLDS, (None, self.one.value, by_group, self._by_label.copy()), strict=True))[self.thresholds.value]

    def _later(self) -> None:
        """Update soon, once for all moves until then; at once where nothing runs an event loop."""
        if self._held:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.update()
            return
        if self._timer is None:
            self._timer = loop.call_later(WAIT, self.update)

    def refresh(self) -> None:
        """Read the run again, so that a training under way can be followed; the last snapshot gives way to a newer one."""
        follow = self.epoch.value == self.epoch.options[-1]
        epoch = self.epoch.value
        self.run = as_run(self.run.path)
        self._found.clear()
        self._held = True
        try:
            self.epoch.options = [int(e) for e in self.run.logged("logits")]
            self.epoch.value = self.epoch.options[-1] if follow else epoch
        finally:
            self._held = False
        self._later()

    # -- what follows -------------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Relabel and draw."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        scheme = None if self.chain == AS_TRAINED else self.chain
        try:
            asked = {"threshold": self._asked(), "prior": self.prior.value, "generation": self.generation.value}
            self.result = what_if(self.run, scheme, epoch=self.epoch.value, **asked)
        except (ValueError, KeyError) as error:  # MethodError and NotLogged are such
            self.problem = str(error)
            self.badge.value = f"<b style='color:{RED}'>{escape(self.problem)}</b>"
            self.view.layout.opacity = "0.25"
            return
        self.problem, self.view.layout.opacity = "", "1"
        self.view.value = "" if self.result.reproduces is False else self._drawn()
        colour = RED if self.result.reproduces is False else GREY
        lines = [
            f"<b>{self.result.sentence}</b>",
            f"<span style='color:{colour}'>{escape(reproduction(self.result))}</span>",
            *(escape(note) for note in self.result.notes),
            self._trained(),
        ]
        self.badge.value = "<div style='line-height:1.4;font-size:12px'>" + "<br>".join(line for line in lines if line) + "</div>"

    def _drawn(self) -> str:
        result, split = self.result, self.split.value
        share, change = result.shares(split)
        order = result.groups.order
        names = [self.run.class_names[k] for k in order]
        edges = [int(edge) for edge in np.cumsum([len(part) for part in result.groups[:3]])[:-1]]
        changed = "" if result.logged_label is None else f"{len(result.changed):,} of {len(result.label):,} labels change"

        def drawn(values: np.ndarray, title: str, caption: str, **kind) -> str:
            return matrix(100 * values[np.ix_(order, order)], names, edges, title=title, **kind) + _small(caption)

        if (result.true >= 0).any():
            both = drawn(share, f"what if, {split}: percent of the true class (row) by pseudo-label", result.sentence)
            parts = [both, drawn(change, "change to the logged labels, in points", result.sentence, change=True)]
        elif result.logged_label is None:
            parts = ["no label was logged and no truth is known: there is nothing to compare with"]
        else:  # without truth: who changed to what
            parts = [drawn(rows(result.flips), "percent of the logged label (row) by label now; truth is unknown", result.sentence)]
        parts += [
            f"<div style='font-size:12px'>{changed}</div>{scores(result.table)}{_small(result.sentence)}",
        ]
        if (result.true >= 0).any() and (other := self._counterpart()):
            at = result.epoch if result.epoch in other.logged("sweep") else int(other.logged("sweep")[-1])
            counts = other.confusion("sweep", split, epoch=at)
            title = f"really trained ({other.method}), epoch {at}, {split}: percent of the true class (row)"
            parts.insert(-1, drawn(rows(counts), title, "other weights: what a training with it came to"))
        parts = (f"<div>{part}</div>" for part in parts)
        return f"<div style='display:flex;flex-wrap:wrap;gap:24px;align-items:flex-end'>{''.join(parts)}</div>"

    def _counterpart(self) -> Run | None:
        """A run that was really trained with this chain; looked for once."""
        if self.root is False or self.result.scheme is None:
            return None
        key = self.result.method
        if key not in self._found:
            other = self.result.trained(None if self.root is True else self.root, options="any")
            self._found[key] = None if other is None or other.path == self.run.path or "sweep" not in other.kinds else other
        return self._found[key]

    def _trained(self) -> str:
        """The other half in words: what a training with this chain came to."""
        if self.root is False or self.result.scheme is None:
            return ""
        if (other := self._counterpart()) is None:
            return "no run here was really trained with this chain"
        here, there = outcome(self.run), outcome(other)
        values = ", ".join(f"{name} {there[name]:.0f} % (this run {here[name]:.0f} %)" for name in here)
        return (
            f"really trained with it: <b>{escape(other.method)}</b>, seed {other.seed}, at its end: {values}; "
            f"side by side: <code>pld.explore(panel.run, panel.trained)</code>"
        )

    @property
    def trained(self) -> Run | None:
        """See the class."""
        return None if self.result is None else self._counterpart()

    def __repr__(self) -> str:
        return f"WhatIfPanel({self.run.name}, epoch {self.epoch.value}, {self.chain or 'bare learner'!r})"

    def figure(self):
        """Draw the matrices on show as a matplotlib figure."""
        from pldebias.plots.what_if import what_if as draw

        return draw(self.result, split=self.split.value).figure

    def _picture(self) -> bytes:
        return b"" if self.result is None or self.result.reproduces is False else self.png()

    def _alone(self) -> str:
        return f"<div>{self.badge.value}{self.view.value}</div>"
