import torch

from autost_optuna import Architecture, SpikingTransformer, Task
from autost_optuna.network.parts.identity import Identity

TASK = Task.preset("digits")


def test_a_block_without_mixer_is_its_mlp():
    network = SpikingTransformer(Architecture(embed_dim=16, depth=1, mixer=(Identity(),), mlp_ratio=(2,)), TASK).eval()
    x = torch.randn(4, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    block = network.blocks[0]
    with torch.no_grad():
        assert torch.equal(block(x), x + block.mlp(x))


def test_it_has_no_cost_and_no_parameters():
    assert list(Identity().rows(None)) == []
    assert list(Identity().module(None).parameters()) == []


def test_its_text_by_hand():
    text = "C=16,depth=2,mixer=identity/ssa,heads=-/2,ratio=2"
    one = Architecture.from_text(text)
    assert one.to_text() == text
    assert one.key == "C16-d2-midentity.ssa2-r2_2"
    assert one.to_dict()["num_heads"] == [None, 2]
