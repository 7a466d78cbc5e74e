"""The what-if panel: move a temperature, a threshold, a prior, and see which pseudo-labels this epoch would have got."""

from __future__ import annotations

import asyncio
import base64
import os
from html import escape
from pathlib import Path

import ipywidgets as ui
import numpy as np
import traitlets

from pldebias.analysis.relabelling.counterpart import compose, options_of, outcome
from pldebias.analysis.relabelling.relabelled import GROUP_NAMES, reproduction, rows
from pldebias.analysis.relabelling.whatif import what_if
from pldebias.methods import Method, MethodError, build_method, parse
from pldebias.runs import Run
from pldebias.runs.run import as_run
from pldebias.widgets.tables import matrix, scores

__all__ = ["WhatIfPanel"]

AS_TRAINED = "as trained"
PRESETS = {
    AS_TRAINED: (AS_TRAINED, None),
    "bare learner": ("", None),
    "DebiasPL": ("debiaspl(tau=0.4)", None),
    "logit adjustment": ("la(at=pseudo,tau=1.0)", None),
    "DASO": ("daso", None),
    "constant blend": ("daso(weight=0.5)", None),
    "DebiasPL + DASO": ("debiaspl(tau=0.4)+daso", None),
    "distribution alignment": ("crestplus(t_min=1)", None),
    "DARP": ("darp", None),
    "SEVAL, by the truth": ("seval", "oracle"),  # its offsets and thresholds are learned on labels that a run seldom keeps aside
}
"""Chain and prior of every button."""
THRESHOLDS = ("the method's", "one for all", "by group", "by label")
PRIORS = {"the scheme's own": None, "labelled frequencies": "labelled", "mean prediction": "running", "true (oracle)": "oracle"}
OWN_GENERATION = ("that of the epoch", None)
WAIT = 0.06  # seconds that a moving slider may go on before labels are made
RED, GREY = "#a03000", "#555555"


def _small(text: str) -> str:
    return f"<div style='font-size:11px;color:{GREY};margin:2px 0 0'>{escape(text)}</div>"


class WhatIfPanel(ui.VBox):
    """Controls, and the matrix, its change and the group scores that follow them.

    The chain is written as a method string, which can also be typed; sliders rewrite it. Everything is computed in the kernel by
    `pldebias.what_if`.

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
        self.run, self.root, self.result = as_run(run), root, None
        self._timer: asyncio.TimerHandle | None = None
        self._writing = self._held = False
        self._found: dict[str, Run | None] = {}
        what_if(self.run, epoch=epoch) if self.run.method else None  # an epoch without logits is refused at once
        have = [int(e) for e in self.run.logged("logits")]
        wide, narrow = {"layout": ui.Layout(width="320px")}, {"layout": ui.Layout(width="250px")}
        self.epoch = ui.SelectionSlider(options=have, value=have[-1] if epoch == -1 else epoch, description="epoch", **wide)
        self.text = ui.Text(value=scheme, description="chain", continuous_update=False, layout=ui.Layout(width="480px"))
        self.tau = ui.FloatSlider(value=0.0, min=0, max=2, step=0.05, description="debias τ", **wide)
        self.blend = ui.Dropdown(options=["no blending", "DASO", "constant"], description="blend", **narrow)
        self.margin = ui.Checkbox(value=True, description="margin τ in the loss", indent=False, layout=ui.Layout(width="170px"))
        self.T = ui.FloatSlider(value=1.5, min=0.1, max=3, step=0.1, description="DASO T", **wide)
        self.nu = ui.FloatSlider(value=0.5, min=0, max=1, step=0.05, description="weight ν", **wide)
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
        buttons = []
        for name, (chain, _) in PRESETS.items():
            button = ui.Button(description=name, tooltip=chain or "no scheme", layout=ui.Layout(width="auto"))
            button.on_click(lambda _, name=name: self.press(name))
            buttons.append(button)
        self.badge, self.view = ui.HTML(), ui.HTML()
        for control in (self.tau, self.margin, self.blend, self.T, self.nu):
            control.observe(self._rewrite, "value")
        self.text.observe(lambda change: self.show(change["new"]), "value")
        self.thresholds.observe(self._offer_levels, "value")
        self.label.observe(self._show_level, "value")
        self.of_label.observe(self._set_level, "value")
        for control in (self.epoch, self.prior, self.generation, self.split, self.one, *self.by_group.values()):
            control.observe(lambda _: self._later(), "value")
        super().__init__(
            [
                ui.HBox(buttons, layout=ui.Layout(flex_flow="row wrap")),
                ui.HBox([self.text, self.epoch], layout=ui.Layout(flex_flow="row wrap")),
                ui.HBox([self.tau, self.margin, self.blend, self.T, self.nu], layout=ui.Layout(flex_flow="row wrap")),
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

    def press(self, preset: str) -> None:
        """Show what a button stands for (`PRESETS`): its chain, its prior and the method's own thresholds."""
        chain, prior = PRESETS[preset]
        self._held = True
        try:
            self.prior.value, self.thresholds.value = prior, THRESHOLDS[0]
            self.show(chain)
        finally:
            self._held = False
        self._later()

    def _sync(self, chain: str) -> None:
        """Let the controls say what the chain says, as far as they can."""
        try:
            count = self._method(None if chain == AS_TRAINED else chain).generations
        except MethodError:
            count = 1
        self._offer_generations(count)
        try:
            parts = {part.name: part.options for part in parse(chain)} if chain not in ("", AS_TRAINED) else {}
        except MethodError:
            parts = {}
        debias = parts.get("debiaspl", parts.get("la") if parts.get("la", {}).get("at") == "pseudo" else None)
        self._writing = True
        try:
            self.text.value = chain
            self.margin.value = "debiaspl" not in parts or parts["debiaspl"].get("margin", True)
            self.tau.value = 0.0 if debias is None else float(debias.get("tau", 0.4 if "debiaspl" in parts else 1.0))
            daso = parts.get("daso")
            self.blend.value = "no blending" if daso is None else "DASO" if daso.get("weight") is None else "constant"
            if daso is not None:
                self.T.value, self.nu.value = float(daso.get("T", self.T.value)), float(daso.get("weight") or self.nu.value)
        finally:
            self._writing = False

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

    def _rewrite(self, _) -> None:
        """Write the chain that the controls say."""
        if self._writing:
            return
        margin = "" if self.margin.value else ",margin=False"
        parts = [f"debiaspl(tau={self.tau.value:g}{margin})"] if self.tau.value else []
        if self.blend.value == "DASO":
            parts.append(f"daso(T={self.T.value:g})")
        elif self.blend.value == "constant":
            parts.append(f"daso(weight={self.nu.value:g})")
        self.chain = "+".join(parts)
        self._writing = True
        try:
            self.text.value = self.chain
        finally:
            self._writing = False
        self._offer_generations(1)
        self._later()

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

    def _repr_mimebundle_(self, **kwargs):
        if os.environ.get("PLDEBIAS_STATIC", "0") not in ("", "0"):
            # An exported page has no kernel: it gets what is shown, and nothing that would ask for one.
            return {"text/plain": repr(self), "text/html": f"<div>{self.badge.value}{self.view.value}</div>"}, {}
        from pldebias.plots.what_if import what_if as draw

        bundle = super()._repr_mimebundle_(**kwargs)
        bundle, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        still = {}
        if self.result is not None and self.result.reproduces is not False:  # for places that run no scripts
            still["image/png"] = base64.b64encode(draw(self.result, split=self.split.value)._repr_png_()).decode()
        return {**still, **(bundle or {}), "text/plain": repr(self)}, metadata
