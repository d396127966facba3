from dataclasses import asdict, fields, replace

import pytest

from autost_optuna.training.recipe import RECIPES, Recipe


def test_a_recipe_is_a_file_both_ways(tmp_path):
    mine = Recipe(name="meins 😀", epochs=7, lr=3e-3, flip=True, loss="tet", mixup=0.2)
    path = tmp_path / "mine.toml"
    path.write_text(mine.to_toml())
    assert Recipe.load(str(path)) == mine
    assert list(asdict(mine)) == [field.name for field in fields(Recipe)]


def test_presets_say_what_they_are():
    assert Recipe.load("short") == Recipe()
    cifar = Recipe.load("cifar")
    assert (cifar.epochs, cifar.batch_size, cifar.lr, cifar.min_lr, cifar.weight_decay) == (300, 128, 5e-4, 1e-5, 0.06)
    assert round(cifar.warmup_share * cifar.epochs) == 20
    assert cifar.mixes_at(199)
    assert not cifar.mixes_at(200)
    assert {recipe.label for recipe in RECIPES.values()} == {"short", "cifar"}
    assert replace(cifar, epochs=10).label.startswith("cifar#")


def test_the_hash_is_of_what_decides_a_training():
    assert Recipe(seed=3).hash == Recipe().hash == replace(Recipe(), name="other").hash
    assert Recipe.from_dict({"name": "short", "erasing": 0}).hash == Recipe().hash
    changed = {field.name: 1 for field in fields(Recipe) if field.default == 0} | {"flip": True, "loss": "tet"}
    changed |= {"epochs": 3, "batch_size": 3, "accumulate": 3, "lr": 1.0, "min_lr": 0.0, "precision": "bf16-mixed"}
    changed |= {"warmup_share": 0.5, "weight_decay": 0.5, "label_smoothing": 0.5, "tet_lambda": 0.5, "mixup_share": 0.5}
    changed |= {"frames": "time", "randaugment_magnitude": 5.0, "validation_share": 0.5, "ema_decay": 0.5}
    del changed["seed"]
    assert set(changed) == {field.name for field in fields(Recipe)} - {"name", "seed"}
    hashes = {replace(Recipe(), **{name: value}).hash for name, value in changed.items()}
    assert len(hashes) == len(changed)
    assert Recipe().hash not in hashes


def test_learning_rate_by_hand():
    recipe = Recipe(lr=1.0, min_lr=0.0, warmup_share=0.1)
    rates = [recipe.lr_at(step, 100) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("accumulate", 1.5),
        ("validation_share", 1.0),
        ("lr", float("nan")),
        ("lr", 0.0),
        ("lr", "fast"),
        ("min_lr", 1.0),
        ("randaugment", 0.5),
        ("randaugment_magnitude", 30.0),
        ("flip", 1),
        ("loss", "mse"),
        ("precision", "64"),
        ("ema_decay", 1.0),
        ("seed", -1),
        ("name", ""),
    ],
)
def test_impossible_recipes_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Recipe(**{name: value})


def test_files_that_are_no_recipes_are_refused(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('name = "x"\nepoch = 3\n')
    with pytest.raises(ValueError, match=r"r\.toml: recipe: unknown key 'epoch'; allowed are name, epochs"):
        Recipe.load(str(path))
    with pytest.raises(ValueError, match="no recipe 'long'; choose one of short, cifar"):
        Recipe.load("long")
