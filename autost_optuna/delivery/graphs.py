"""The network as a graph for other programs: torch.export's .pt2 and ONNX, both checked against torch when written.

The graph maps a batch of images to logits, with all time steps unrolled. Nothing is folded or fused, so that a runtime rounds
like torch as far as its own products allow. If two runtimes round differently, a potential can be just below the threshold
in one and just above it in the other; one such spike moves the logits by more than rounding does. That is not a fault of the
graph, so it is checked separately: with the spikes of onnxruntime put into torch, everything else must agree.
"""

import copy
import gc
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.training.evaluation import recalibrate

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-4  # for logits, and for the distance of potentials from the threshold at which rounding decides a spike


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """The comparison of a runtime's logits with torch's on a batch of images, [B, classes].

    `spikes` counts those of all neurons, steps and images in torch; `mean_rate` is per neuron and step. `flipped` of them
    differ in the runtime, each with its potential within `tolerance` of the threshold; with the runtime's spikes in torch,
    the largest difference is `max_difference_same_spikes`.
    """

    runtime: str
    images: int
    source: str
    tolerance: float
    max_difference: float
    equal_argmax: bool
    deviation_of_logits: float
    spikes: int
    mean_rate: float
    flipped: int
    max_difference_same_spikes: float


def write_program(network: SpikingTransformer, images: Tensor, path: Path) -> None:
    """Write the network as torch.export's program, for batches of any size. RuntimeError if it gives other logits."""
    batch = {0: torch.export.Dim("batch")}
    with torch.no_grad(), _quiet():
        program = torch.export.export(network, (images[:2],), dynamic_shapes={INPUT: batch})
        traced = program.module()
        for part in _batches(images):
            if not torch.equal(traced(part), network(part)):
                raise RuntimeError(f"{path.name} gives other logits than the network; nothing was exported")
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine
        written = io.BytesIO()  # torch's own file writer does not report a full disk
        torch.export.save(program, written)
        path.write_bytes(written.getvalue())


def write_onnx(network: SpikingTransformer, images: Tensor, source: str, path: Path) -> Parity:
    """Write the network as ONNX, and compare onnxruntime with torch on `images` from `source`.

    RuntimeError if the two differ by more than TOLERANCE and spikes at the threshold do not explain it.
    """
    model = make_onnx(network, images)
    path.write_bytes(model.SerializeToString())
    return check_onnx(model, network, images, source)


def check_alive(path: Path, network: SpikingTransformer, images: Tensor, source: str) -> Parity:
    """The comparison for a silent network: with the statistics of `images` in its normalisation, it fires."""
    import onnx

    alive = copy.deepcopy(network)
    recalibrate(alive, iter([images]))
    model, statistics = onnx.load(path), dict(alive.eval().named_buffers())
    for value in model.graph.initializer:
        if value.name in statistics:
            value.CopyFrom(onnx.numpy_helper.from_array(statistics[value.name].numpy(), value.name))
    return check_onnx(model, alive, images, f"{source}, normalised by their own statistics")


def make_onnx(network: SpikingTransformer, images: Tensor) -> "ModelProto":
    """The network as an ONNX model. Each neuron is one operation for torch's exporter, which takes milliseconds for each."""
    whole = copy.deepcopy(network)
    translations: dict[Any, Any] = {}
    for neuron in _neurons(whole):
        neuron.whole = True
        translations |= neuron.onnx(network.architecture.form.time_steps or network.task.time_steps)
    batch = {0: torch.export.Dim("batch")}
    with torch.no_grad(), _quiet():
        program = torch.export.export(whole, (images[:2],), dynamic_shapes={INPUT: batch})
        converted = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            custom_translation_table=translations,
            verbose=False,
        )
    assert converted is not None
    model = converted.model_proto
    del model.graph.value_info[:]  # intermediate shapes, which runtimes infer themselves
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def check_onnx(model: "ModelProto", network: SpikingTransformer, images: Tensor, source: str) -> Parity:
    """Compare onnxruntime on an ONNX model with torch, for a batch of one image and a batch of the others."""
    import onnxruntime

    ours, spikes = _run_torch(network, images)
    theirs = _run_onnx(model, images, ())[0]
    difference, equal = _difference(ours, theirs)
    flipped, same = 0, difference
    if difference > TOLERANCE or not equal:
        theirs, *seen = _run_onnx(model, images, _layers(model, network))
        flipped = sum(int((one != other).sum()) for one, other in zip(spikes, seen, strict=True))
        same, agrees = _difference(_run_torch(network, images, seen)[0], theirs)
        if same > TOLERANCE or not agrees:
            raise RuntimeError(
                f"onnxruntime differs from torch by {difference:.3g} in the logits of {source}, {same:.3g} with the same "
                f"spikes, more than {TOLERANCE:g}; nothing was exported"
            )
    fired = sum(int(layer.sum()) for layer in spikes)
    return Parity(
        runtime=f"onnxruntime {onnxruntime.__version__}, CPU",
        images=len(images),
        source=source,
        tolerance=TOLERANCE,
        max_difference=difference,
        equal_argmax=equal,
        deviation_of_logits=float(ours.std()),
        spikes=fired,
        mean_rate=fired / sum(layer.numel() for layer in spikes),
        flipped=flipped,
        max_difference_same_spikes=same,
    )


def _difference(ours: Tensor, theirs: Tensor) -> tuple[float, bool]:
    return float((ours - theirs).abs().max()), torch.equal(ours.argmax(1), theirs.argmax(1))


def _batches(images: Tensor) -> Iterator[Tensor]:
    """A batch of one image, and one of the others: both sizes must work."""
    yield images[:1]
    if len(images) > 1:
        yield images[1:]


def _run_torch(
    network: SpikingTransformer, images: Tensor, given: Sequence[Tensor] = ()
) -> tuple[Tensor, list[Tensor]]:
    """Logits [B, classes] and the spikes [T, B, ...] of each layer of neurons; `given` spikes replace its own.

    RuntimeError if a given spike differs although its potential is more than TOLERANCE from the threshold.
    """
    logits, spikes = [], []
    place = 0

    def look(neuron: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if given:
            output = given[len(seen)][:, place : place + output.shape[1]]
            off = neuron.distance(inputs[0], output)
            if off > TOLERANCE:
                raise RuntimeError(
                    f"onnxruntime and torch fire differently, {off:.3g} from the threshold; nothing was exported"
                )
        seen.append(output)
        return output

    handles = [neuron.register_forward_hook(look) for neuron in _neurons(network)]
    try:
        with torch.no_grad():
            for part in _batches(images):
                seen: list[Tensor] = []
                logits.append(network(part))
                spikes.append(seen)
                place += len(part)
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(logits), [torch.cat(layers, 1) for layers in zip(*spikes, strict=True)]


def _neurons(network: SpikingTransformer) -> list[NeuronModule]:
    """Its layers of neurons."""
    return [module for module in network.modules() if isinstance(module, NeuronModule)]


def _layers(model: "ModelProto", network: SpikingTransformer) -> list[str]:
    """The names of the spikes of each layer of neurons in the graph."""
    found = [node.output[0] for node in model.graph.node if node.output[0].startswith("fire")]
    assert len(found) == len(_neurons(network))
    return found


def _run_onnx(model: "ModelProto", images: Tensor, further: Sequence[str]) -> list[Tensor]:
    """Logits of onnxruntime, and the named intermediate values [T, B, ...]."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for name in further:
        watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other processes may need the cores
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    parts = [session.run([OUTPUT, *further], {INPUT: part.numpy()}) for part in _batches(images)]
    logits, *between = ([torch.from_numpy(value) for value in values] for values in zip(*parts, strict=True))
    return [torch.cat(logits), *(torch.cat(values, 1) for values in between)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings of torch's exporter about itself, and the garbage collector's walks over all that it makes."""
    collects = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if collects:
            gc.enable()
