"""Typed configuration: what is refused, and with which words."""

import re
import shutil

import pytest

from config import from_dict, known_datasets, load_config
from config.loading import CONFIG_ROOT
from config.schema import Decoder, Transformer
from errors import UserError


def test_shipped_configurations_load_and_survive_a_checkpoint():
    assert {"RAVDESS", "RAVDESS_reference", "Sample"} <= set(known_datasets())
    for dataset in known_datasets():
        config = load_config(dataset)
        assert from_dict(config.to_dict(), "checkpoint") == config
        assert dataset in config.train.path.ckpt_path


def test_reference_configuration_is_the_original_where_it_differs():
    sound, reference = load_config("RAVDESS"), load_config("RAVDESS_reference")
    assert (sound.train.loss.mel_normalization, reference.train.loss.mel_normalization) == ("mean", "reference")
    assert (sound.train.loss.emotion, reference.train.loss.emotion) == ("cross_entropy", "bce")
    assert sound.model.emotion_token_layer.mask_padding and not reference.model.emotion_token_layer.mask_padding
    assert reference.preprocess.preprocessing.audio.normalization == "utterance_peak"
    assert (sound.train.optimizer.warm_up_step, reference.train.optimizer.warm_up_step) == (1000, 4000)
    original = {"warm_up_step": 4000, "lr_scale": 1.0, "ema": 0.0}
    assert reference.train.optimizer == sound.train.optimizer.model_copy(update=original)
    assert reference.model.decoder == Decoder() and reference.model.transformer == Transformer()


def test_no_path_leaves_the_folder_it_is_run_in():
    for dataset in known_datasets():
        config = load_config(dataset)
        own = {name: path for name, path in vars(config.preprocess.path).items() if name != "corpus_paths"}
        paths = [*own.values(), *config.preprocess.path.corpus_paths.values(), *vars(config.train.path).values()]
        assert all(path is None or not re.match(r"[/~]|.*\.\.", path) for path in paths)


def test_overrides_are_typed_and_later_ones_win():
    config = load_config("RAVDESS", ["train.optimizer.batch_size=8", "train.optimizer.eps=1e-7", "train.seed=1"])
    assert config.train.optimizer.batch_size == 8
    assert config.train.optimizer.eps == 1e-7
    assert load_config("RAVDESS", ["train.seed=1", "train.seed=2"]).train.seed == 2
    nested = load_config("RAVDESS", ["preprocess.preprocessing.split={by: speaker, hold_out: [Actor_03]}"])
    assert nested.preprocess.preprocessing.split.hold_out == ["Actor_03"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.optimizer.batch_size=many", "config/RAVDESS/train.yaml: optimizer.batch_size: .*integer"),
        ("train.optimizer.batch_size='16'", "optimizer.batch_size"),
        ("train.optimizer.batch_size=0", "greater than 0"),
        ("train.optimizer.batchsize=4", "config/RAVDESS/train.yaml: optimizer.batchsize: unknown key"),
        ("train.loss.emotion=focal", "loss.emotion"),
        ("model.decoder.decoder_head=7", "decoder_head 7 must divide"),
        ("model.decoder.conv_kernel_size=4", "must be odd"),
        ("model.decoder.decoder_hidden=192", "must equal"),
        ("preprocess.preprocessing.split.by=speaker", "must name at least one"),
        ("preprocess.preprocessing.mel.mel_fmax=20000", "mel_fmax <= 11025"),
        ("preprocess.preprocessing.stft.hop_length=2048", "hop_length <= win_length"),
        ("batch_size=4", "expected file.section.key=value"),
        ("train.seed", "expected file.section.key=value"),
        ("train.seed.x=3", "is a value, not a section"),
        ("train.seed=[", "not valid YAML"),
        ("train.seed=2020-01-01", "date"),
    ],
)
def test_wrong_overrides_are_named(override, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config("RAVDESS", [override])
    assert "\n" not in str(caught.value)


def test_unknown_dataset_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown dataset 'RAVDES'.*RAVDESS_reference"):
        load_config("RAVDES")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "given twice"),
        ("seed: !!python/object/apply:os.system [touch /tmp/x]\n", "not valid YAML"),
        ("- 1\n", "mapping"),
        ("inherit: nobody\n", "config/nobody/train.yaml does not exist"),
        ("inherit: Mine\n", "circle"),
        ("seed: 3\n", "path: this key is required"),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    for name in ("preprocess", "model", "train"):
        source = f"{name}.yaml"
        folder = tmp_path / "Mine"
        folder.mkdir(exist_ok=True)
        (folder / source).write_text("dataset: Mine\npath: {corpus_path: a, raw_path: b, preprocessed_path: c}\n")
    (tmp_path / "Mine" / "model.yaml").write_text("{}\n")
    (tmp_path / "Mine" / "train.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_config("Mine", root=tmp_path)


def test_missing_file_is_named(tmp_path):
    (tmp_path / "Mine").mkdir()
    (tmp_path / "Mine" / "preprocess.yaml").write_text("dataset: Mine\n")
    with pytest.raises(UserError, match=r"cannot read config/Mine/model.yaml: it does not exist"):
        load_config("Mine", root=tmp_path)


def test_one_line_makes_a_dataset_with_folders_of_its_own(tmp_path):
    shutil.copytree(CONFIG_ROOT, tmp_path, dirs_exist_ok=True)
    (tmp_path / "Mine").mkdir()
    (tmp_path / "Mine" / "preprocess.yaml").write_text("inherit: generic\n")
    config, generic = load_config("Mine", root=tmp_path), load_config("generic", root=tmp_path)
    assert config.dataset == config.preprocess.dataset == "Mine"
    assert (
        vars(config.preprocess.path).items()
        >= {
            "corpus_path": "data/Mine",
            "raw_path": "raw_data/Mine",
            "preprocessed_path": "preprocessed_data/Mine",
        }.items()
    )
    assert config.train.path.ckpt_path == "output/ckpt/Mine"
    assert config.model == generic.model and config.train.optimizer == generic.train.optimizer
    (tmp_path / "Child").mkdir()
    (tmp_path / "Child" / "preprocess.yaml").write_text("inherit: Mine\n")
    child = load_config("Child", root=tmp_path)
    assert child.model == config.model and child.train.path.ckpt_path == "output/ckpt/Child"
    changed = load_config("Mine", ["preprocess.path.raw_path=/elsewhere/{dataset}"], root=tmp_path)
    assert changed.preprocess.path.raw_path == "/elsewhere/Mine"


def test_a_dataset_is_called_as_its_folder(tmp_path):
    (tmp_path / "Mine").mkdir()
    (tmp_path / "Mine" / "preprocess.yaml").write_text("dataset: Yours\n")
    with pytest.raises(UserError, match=r"config/Mine/preprocess.yaml: dataset is 'Yours', but its folder is Mine"):
        load_config("Mine", root=tmp_path)
