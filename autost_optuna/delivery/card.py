"""The model card of a bundle: README.md with front matter that Hugging Face reads."""

from typing import Any

from autost_optuna import units
from autost_optuna.delivery.bundle import MANIFEST
from autost_optuna.delivery.graphs import INPUT, OUTPUT, Parity
from autost_optuna.front.candidate import Candidate
from autost_optuna.search.search import Search
from autost_optuna.search.settings import Settings

CLASSIFICATION = "image-classification"
FILES = {
    "architecture.json": "the architecture, as autost-optuna reads it",
    "autost.yaml": "the same as AutoST's `RETRAIN` file",
    "model.safetensors": "the weights, with architecture and task in the header",
    "model.onnx": f"the network as ONNX: `{INPUT}` in, `{OUTPUT}` out, a batch of any size, all time steps unrolled",
    "model.pt2": "the same as a program of `torch.export`",
    "README.md": "this card",
    "model.py": "the same as plain PyTorch, which needs torch and spikingjelly only",
    "audit.csv": "the bill: every operation with its MACs, its spike rate and its energy",
    MANIFEST: "hashes of all files, versions, seed, data, energy convention, results",
}


def write_card(
    search: Search,
    candidate: Candidate,
    training: dict[str, Any] | None,
    parity: Parity,
    *,
    standalone: bool,
    audited: bool,
) -> str:
    """The text of README.md for a candidate of the search.

    `standalone` says whether the bundle has model.py, `audited` whether audit.csv has the spike rates.
    """
    import yaml

    settings, front = search.settings, _front_matter(search, candidate, training)
    architecture, task, shape = candidate.architecture, settings.task, ", ".join(map(str, settings.task.input_shape))
    rows = (
        ("architecture", f"`{architecture.to_text()}`"),
        ("task", f"{_code(task.name)}: {'x'.join(map(str, task.input_shape))}, {task.num_classes} classes"),
        ("time steps", str(architecture.form.time_steps or task.time_steps)),
        ("parameters", f"{candidate.params:,}"),
        ("FLOPs per image", f"{candidate.flops:,} (2 x {candidate.macs:,} MACs, all time steps)"),
        *_energies(candidate, training),
        ("weights", _state(settings, training)),
        ("ONNX against torch", _parity(parity)),
    )
    absent = {name for name, there in (("model.py", standalone), ("autost.yaml", architecture.is_autost)) if not there}
    files = {name: what for name, what in FILES.items() if name not in absent}
    short = architecture.key if architecture.depth <= 4 else f"C{architecture.embed_dim}-d{architecture.depth}"
    plain = (
        """
Without autost-optuna, `model.py` needs torch and spikingjelly:

```python
from model import load

network = load()  # reads model.safetensors
```
"""
        if standalone
        else ""
    )
    number = candidate.number
    origin = "Found by autost-optuna in" if number is not None else "Measured by autost-optuna beside"
    trial = "" if number is None else f", trial {number}"
    audit = "The cost of each operation is in `audit.csv`"
    if not audited:
        audit = (
            f"`audit.csv` has the operations without their spike rates and energies of spikes: the study's images of "
            f"{_code(settings.data)} were not on the machine that wrote it"
        )
    return f"""---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---

# Spiking transformer {short}

{origin} study {_code(search.study.study_name)}{trial}.

{_table(("what", "value"), rows)}

{_meaning(candidate, training)} {audit}; the convention's prices are in `{MANIFEST}`.

```python
from autost_optuna import load

network = load(".")  # checks every file against {MANIFEST}
logits = network(images)  # float32 [B, {shape}], normalised as it says
```
{plain}
{_table(("file", "what it is"), [(f"`{name}`", what) for name, what in files.items()])}

The front matter names the licence of autost-optuna, under which the code here is; if you publish the weights under another,
write that one there.
"""


def _front_matter(search: Search, candidate: Candidate, training: dict[str, Any] | None) -> dict[str, Any]:
    """The metadata that Hugging Face reads: https://huggingface.co/docs/hub/model-cards."""
    data = training["data"] if training else search.settings.data
    front: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": "autost-optuna",
        "pipeline_tag": CLASSIFICATION,
        "tags": ["spiking-neural-network", "spiking-transformer", "neuromorphic", "autost", "onnx", "safetensors"],
        "datasets": [data],
        "metrics": ["accuracy"],
    }
    if training:
        found = (
            (
                "accuracy",
                "test accuracy" + (" of a part" if training.get("test_images") else ""),
                training["test_accuracy"],
            ),
            ("accuracy", "validation accuracy", training["validation_accuracy"]),
            (
                "energy_mj",
                f"energy per image in mJ, {training['measured']['convention']}",
                training["measured"]["energy_mj"],
            ),
        )
        result = {
            "task": {"type": CLASSIFICATION},
            "dataset": {"name": data, "type": data},
            "metrics": [{"type": kind, "name": name, "value": value} for kind, name, value in found],
        }
        front["model-index"] = [
            {"name": f"{units.one_line(search.study.study_name)}-{candidate.number}", "results": [result]}
        ]
    return front


def _energies(candidate: Candidate, training: dict[str, Any] | None) -> list[tuple[str, str]]:
    estimated = f"{units.energy(candidate.energy_mj)} ({candidate.convention}, estimated at initialisation)"
    if training is None:
        return [("energy per image", estimated)]
    measured = training["measured"]
    spikes = f"spikes of {units.counted(measured['images'], 'validation image')}"
    value = f"{units.energy(measured['energy_mj'])} ({measured['convention']}, from the {spikes})"
    return [("energy per image", value), ("energy in the search", estimated)]


def _meaning(candidate: Candidate, training: dict[str, Any] | None) -> str:
    if training is None:
        return (
            f"The energy comes from spikes of untrained networks ({candidate.provenance}). It ranks architectures; it is not a "
            "measurement of the weights in this folder, which are silent until they are trained: give them batch statistics "
            "or train them."
        )
    return "The energy is arithmetic on counted spikes of these weights, not a measurement of a chip."


def _state(settings: Settings, training: dict[str, Any] | None) -> str:
    if training is None:
        return f"untrained: weights at initialisation, seed {settings.seed}"
    part = training.get("test_images")  # 0.1.0 used all of them
    test = f"{part:,} images of the test set" if part else "the test set"
    return (
        f"trained for {units.counted(len(training['log']), 'epoch')} on {training['data']}: "
        f"{training['validation_accuracy']:.2%} on its validation split, {training['test_accuracy']:.2%} on {test}"
    )


def _parity(parity: Parity) -> str:
    flips = f"; {units.counted(parity.flipped, 'spike')} at the threshold differed" if parity.flipped else ""
    argmax = "the same classes" if parity.equal_argmax else "different classes for some"
    return (
        f"logits differ by at most {parity.max_difference:.1e}, {argmax}, on {units.counted(parity.images, 'image')} "
        f"({parity.source}; {parity.spikes:,} spikes){flips}"
    )


def _table(head: tuple[str, str], rows: "list[tuple[str, str]] | tuple[tuple[str, str], ...]") -> str:
    return "\n".join(f"| {left} | {right} |" for left, right in (head, ("---", "---"), *rows))


def _code(text: str) -> str:
    """Foreign text as Markdown code, so that it stays text."""
    return f"`{units.one_line(text).replace('`', chr(39))}`"
