import pytest
import torch

from autost_optuna import Task
from autost_optuna.training.augment import Augment, seeded
from autost_optuna.training.recipe import Recipe

CPU = torch.device("cpu")
TASK = Task.preset("cifar10")


def draw(augment, x, labels, seed, mix=False):
    return seeded(seed, lambda: augment.inputs(augment.pixels(x), labels, mix=mix), CPU)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.slow
def test_a_batch_is_augmented_by_its_seed_alone(channels):
    x, labels = torch.rand(13, channels, 16, 16), torch.arange(13) % 10
    augment = Augment(Recipe.load("cifar"), TASK)
    results = []
    for seed in range(40):  # all operations come up
        one, other = (draw(augment, x, labels, seed, mix=True) for _ in range(2))
        assert torch.equal(one[0], other[0])
        assert one[0].shape == x.shape
        assert one[1].sum(1).allclose(torch.ones(13))
        assert augment.pixels(x).min() >= 0
        assert augment.pixels(x).max() <= 1
        results.append(one[0])
    assert len({tuple(result.flatten().tolist()) for result in results}) == 40


def test_no_other_random_number_is_touched():
    augment = Augment(Recipe.load("cifar"), TASK)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draw(augment, torch.rand(4, 3, 16, 16, generator=torch.Generator()), torch.zeros(4, dtype=torch.int64), 1, mix=True)
    assert torch.equal(torch.rand(3), expected)


def test_a_recipe_that_asks_for_nothing_changes_nothing():
    x, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    inputs, targets = draw(Augment(Recipe(), TASK), x, labels, 0)
    assert inputs is x
    assert targets is labels


def test_each_image_is_flipped_or_not_and_nothing_else():
    x = torch.rand(64, 3, 8, 8)
    out, _ = draw(Augment(Recipe(flip=True), TASK), x, torch.zeros(64), 0)
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(out, x, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(out, x, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 16 < sum(flipped) < 48


def test_all_frames_of_a_recording_are_changed_alike():
    frame = torch.randint(0, 9, (32, 1, 2, 34, 34)).float()
    x = frame.expand(-1, 10, -1, -1, -1).contiguous()
    augment = Augment(Recipe(flip=True, erasing=1.0), Task.preset("nmnist"))
    out, _ = draw(augment, x, torch.zeros(32), 0)
    assert out.shape == x.shape
    assert not torch.equal(out, x)
    assert torch.equal(out, out[:, :1].expand_as(out))


def test_erasing_leaves_a_rectangle_of_zeros():
    out, _ = draw(Augment(Recipe(erasing=1.0), TASK), torch.rand(8, 3, 32, 32) + 1, torch.zeros(8), 0)
    for image in out:
        rows, columns = (image[0] == 0).nonzero(as_tuple=True)
        assert 0.01 <= len(rows) / 32**2 <= 0.4
        assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)


def test_mixup_by_hand():
    x = torch.tensor([0.0, 1.0, 2.0, 4.0]).view(4, 1, 1, 1)
    labels = torch.tensor([0, 1, 2, 3])
    augment = Augment(Recipe(mixup=0.5), Task(name="t", image_size=1, channels=1, num_classes=4))
    mixed, targets = draw(augment, x, labels, 0, mix=True)
    share = float(targets[0, 0])
    assert 0 < share < 1
    expected = [(1 - share) * 4, share + (1 - share) * 2, share * 2 + (1 - share), share * 4]
    assert mixed.flatten().tolist() == pytest.approx(expected)
    assert targets[1].tolist() == pytest.approx([0, share, 1 - share, 0])


def test_counts_of_events_have_no_brightness():
    with pytest.raises(ValueError, match="randaugment 1 changes brightness"):
        Augment(Recipe(randaugment=1), Task.preset("nmnist"))
