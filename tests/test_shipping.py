"""Weights that ship: export.py writes them, synthesize.py speaks with them, train.py goes on from them."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

import export
import fourier
import hifigan
from acoustic import load_model, new_model
from config import load_config
from errors import UserError
from shipping.card import main_tables
from shipping.facts import copy_report, find_report, thinned
from shipping.folder import LARGEST
from synthesis.requests import single_request
from synthesis.synthesizer import Synthesizer
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, run_script, with_overrides
from tests.speaking import EMOTIONS, SPEAKERS, write_model
from tests.tiny import make_tiny_dataset, tiny_overrides
from text import symbol_table
from utils.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from utils.metadata import IdMaps
from utils.shipped import ACOUSTIC, import_checkpoint
from utils.weights import SUMS
from vocoder import load_vocoder

CPU = torch.device("cpu")
SPEECH = ("--mode", "single", "--text", "Kids are talking", "--speaker_id", "Actor_02", "--emotion_id", "happy")
LISTED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
opened = []
def note(event, arguments):
    name = str(arguments[0]) if event == "open" else ""
    if name.endswith((".tar", ".pt", ".pkl", ".safetensors")):
        opened.append(name.rpartition("/")[2])
    if event == "pickle.find_class":
        opened.append("pickle")
sys.addaudithook(note)
import synthesize
synthesize.main(sys.argv[1:])
print("opened:", *sorted(set(opened)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder with a checkpoint and a small HiFi-GAN, and the `--set` values that take them."""
    folder = tmp_path_factory.mktemp("model")
    return folder, write_model(folder)


def run_export(model, output, *flags, vocoder=None):
    folder, overrides = model
    paths = [override for override in overrides if override.startswith("train.path")]
    data = f"preprocess.path.preprocessed_path={folder / 'data'}"
    flags = ["--vocoder", str(vocoder or folder / "generator.pth.tar"), "--output", str(output), *map(str, flags)]
    return export.main(["--dataset", "RAVDESS", "--restore_step", "latest", *with_overrides([*paths, data]), *flags])


@pytest.fixture(scope="module")
def shipped(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped") / "RAVDESS"
    run_export(model, folder)
    return folder


def only(folder):
    """`--set` values by which nothing but what ships in `folder` can be found."""
    paths = [f"train.path.{kind}_path={folder.parent / 'nothing' / kind}" for kind in ("ckpt", "log", "result")]
    return [f"train.path.pretrained_path={folder}", *paths]


def config_of(folder, *overrides):
    return load_config("RAVDESS", [*only(folder), *overrides])


def say(folder, *flags, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-c", LISTED, str(ROOT), *flags, "--output", str(folder)],
        capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=120, check=False,
    )  # fmt: skip


def test_they_speak_as_the_checkpoint_does_and_no_pickle_is_read(model, shipped, tmp_path):
    """The same waveform to the last bit; from any working directory, without --restore_step and --dataset."""
    first = say(tmp_path / "a", "--dataset", "RAVDESS", "--restore_step", "latest", *with_overrides(model[1]), *SPEECH)
    second = say(tmp_path / "b", *with_overrides(only(shipped)), *SPEECH, cwd=tmp_path)
    assert_ok(first)
    assert_ok(second)
    (left,), (right,) = ([*(tmp_path / name).glob("*.wav")] for name in "ab")
    assert left.name == right.name and left.read_bytes() == right.read_bytes()
    assert len(left.read_bytes()) > 20000
    assert f"shipped weights {shipped} (step 5), HiFi-GAN ({shipped}/vocoder.safetensors)" in second.stdout
    assert "opened: 5.pth.tar generator.pth.tar" in first.stderr
    assert "opened: acoustic.safetensors vocoder.safetensors" in second.stderr
    told = json.loads(right.with_suffix(".json").read_text())
    assert told["step"] == 5 and told["checkpoint"] == str(shipped / ACOUSTIC)


def test_batches_streams_and_references(model, shipped, tmp_path):
    """Every way of speaking gets the model that the checkpoint holds, and results have a place of their own."""
    wanted = load_model(load_config("RAVDESS", model[1]), 5, CPU)
    loaded = load_model(config_of(shipped), "pretrained", CPU)
    state = loaded.model.state_dict()
    assert wanted.model.state_dict().keys() == state.keys()
    assert all(torch.equal(weight, state[name]) for name, weight in wanted.model.state_dict().items())
    assert (wanted.ids, wanted.label, loaded.label) == (loaded.ids, "5", "pretrained")
    source, result = tmp_path / "list.txt", tmp_path / "result"
    source.write_text("sad-a|Actor_01|{K IH1 D Z AA1 R}|Kids are\nnone-b|Actor_02|{D AO1 G Z}|Dogs\n")
    flags = with_overrides([*only(shipped), f"train.path.result_path={result}"])
    batch = run_script("synthesize.py", *flags, "--mode", "batch", "--source", source, "--emotion_id", "angry")
    assert_ok(batch)
    wavs = sorted((result / "pretrained").glob("*.wav"))
    assert [path.stem for path in wavs] == ["none-b", "sad-a"]
    reference = ["--mode", "single", "--text", "Dogs", "--speaker_id", "Actor_01", "--ref_audio", str(wavs[0])]
    process = subprocess.run(
        [sys.executable, str(ROOT / "synthesize.py"), *flags, *reference, "--stream"],
        capture_output=True, env=ENVIRONMENT, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert b"shipped weights" in process.stderr and b"emotion heard" in process.stderr
    assert np.abs(np.frombuffer(process.stdout, "<i2")).max() > 100


def test_which_weights_speak(model, shipped, tmp_path):
    """Without --restore_step the shipped ones, where there are any; else one's own; never others than those named."""
    own = f"train.path.ckpt_path={model[0] / 'ckpt'}"
    assert load_model(config_of(shipped, own), None, CPU).shipped
    assert not load_model(config_of(shipped, own), "latest", CPU).shipped
    assert not load_model(config_of(tmp_path / "none", own), None, CPU).shipped
    with pytest.raises(UserError, match="no shipped weights"):
        load_model(config_of(tmp_path / "none", own), "pretrained", CPU)
    with pytest.raises(UserError, match=r"no checkpoint.*train first"):
        load_model(config_of(tmp_path / "none"), None, CPU)
    with pytest.raises(UserError, match="--restore_step pretrained"):  # a mistyped folder is no reason to take others
        load_model(config_of(shipped), "latest", CPU)


def test_order_of_vocoders(model, shipped, tmp_path):
    """The one that is named; the one that ships; without either what there was before."""
    named = f"model.vocoder.checkpoint={model[0] / 'generator.pth.tar'}"
    assert "generator.pth.tar" in load_vocoder(config_of(shipped, named), CPU).name
    assert "vocoder.safetensors" in load_vocoder(config_of(shipped), CPU).name
    assert "vocoder.safetensors" not in load_vocoder(config_of(tmp_path / "none"), CPU).name
    assert load_vocoder(config_of(shipped, "model.vocoder.model=Griffin-Lim"), CPU).name.startswith("Griffin-Lim")


def test_a_trained_vocoder_ships_with_its_description(model, tmp_path):
    """As train_vocoder.py writes it: the JSON beside it goes along, and says on what and how long it was trained."""
    torch.manual_seed(0)
    architecture = fourier.VERSIONS["fourier_tiny"]
    source = tmp_path / "generator_300.pth.tar"
    torch.save({"generator": fourier.Generator(architecture).state_dict()}, source)
    (tmp_path / "generator_300.json").write_text(json.dumps({**architecture.to_json(), "dataset": "RAVDESS"}))
    (tmp_path / "config.json").write_text(json.dumps({"some": "other"}))
    folder = tmp_path / "shipped" / "RAVDESS"
    run_export(model, folder, vocoder=source)
    mel = torch.randn(1, 50, 80) - 4.0
    wanted = load_vocoder(config_of(tmp_path / "none", f"model.vocoder.checkpoint={source}"), CPU)
    vocoder = load_vocoder(config_of(folder), CPU)
    assert vocoder.name == f"Fourier ({folder}/vocoder.safetensors)"
    assert torch.equal(vocoder(mel)[0], wanted(mel)[0]) and vocoder(mel)[0].abs().max() > 0
    assert "Vocoder: Fourier after 300 steps on RAVDESS" in (folder / "README.md").read_text()


# ------------------------------------------------------------------------------------------- what is not as it was


def rewritten(change):
    def damage(folder):
        state = load_file(folder / ACOUSTIC)
        change(state)
        save_file(state, folder / ACOUSTIC)

    return damage


def described(change):
    def damage(folder):
        values = json.loads((folder / "config.json").read_text())
        change(values)
        (folder / "config.json").write_text(json.dumps(values))

    return damage


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


NAME = "duration_predictor.output.weight"
COUNT = "emotion.reference_encoder.standardise.batches"
DAMAGES = {
    "acoustic.safetensors is truncated": lambda folder: cut(folder / ACOUSTIC),
    "acoustic.safetensors is truncated, or no": lambda folder: (folder / ACOUSTIC).write_bytes(b""),
    "cannot read .*acoustic.safetensors": lambda folder: (folder / ACOUSTIC).unlink(),
    f"does not fit.*Missing.*{NAME}": rewritten(lambda state: state.pop(NAME)),
    "does not fit.*Unexpected.*intruder": rewritten(lambda state: state.update(intruder=torch.zeros(2))),
    f"does not fit.*size mismatch for {NAME}": rewritten(lambda state: state.update({NAME: torch.zeros(3)})),
    f"does not fit.*{COUNT} is torch.float32": rewritten(lambda state: state.update({COUNT: torch.tensor(0.0)})),
    f"{NAME} is of type float64": rewritten(lambda state: state.update({NAME: state[NAME].double()})),
    f"{NAME} holds NaN": rewritten(lambda state: state[NAME].fill_(np.nan)),
    "config.json is not readable JSON": lambda folder: cut(folder / "config.json"),
    "config.json does not describe": described(lambda values: values.update(intruder=1)),
    "config.json was written by another version": described(lambda values: values.update(format=9)),
    "config.json has another symbol table": described(lambda values: values["symbols"].pop()),
    "config.json: model.transformer.encoder_layer": described(
        lambda values: values["config"]["model"]["transformer"].update(encoder_layer="1")
    ),
}


@pytest.mark.parametrize("told", DAMAGES)
def test_damaged_and_foreign_folders_are_refused(shipped, tmp_path, told):
    """Each where the sums do not give it away before, because somebody made new ones or took them away."""
    folder = tmp_path / "RAVDESS"
    shutil.copytree(shipped, folder)
    (folder / SUMS).unlink()
    load_model(config_of(folder), None, CPU)
    DAMAGES[told](folder)
    with pytest.raises(UserError, match=told):
        load_model(config_of(folder), None, CPU)


@pytest.mark.parametrize("name", ["acoustic.safetensors", "config.json", "vocoder.safetensors"])
def test_one_wrong_byte_is_told_by_the_sums(shipped, tmp_path, name):
    folder = tmp_path / "RAVDESS"
    shutil.copytree(shipped, folder)
    content = bytearray((folder / name).read_bytes())
    content[-3] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is damaged.*SHA-256"):
        load_vocoder(load_model(config_of(folder), None, CPU).config, CPU)


def test_a_checkpoint_under_a_safetensors_name_is_not_run(model, shipped, tmp_path):
    folder = tmp_path / "RAVDESS"
    shutil.copytree(shipped, folder)
    (folder / SUMS).unlink()
    shutil.copy(model[0] / "ckpt" / "5.pth.tar", folder / ACOUSTIC)
    assert_refused(
        run_script("synthesize.py", *with_overrides(only(folder)), *SPEECH), "acoustic.safetensors is .*no saf"
    )


# --------------------------------------------------------------------------------------------------- the export


def files_of(folder):
    """Name -> content; without the project's commit, which may change while tests run, and so without its digest."""
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    contents["training.json"] = re.sub(rb'"commit": .*', b"", contents["training.json"])
    contents[SUMS] = re.sub(rb".*  training.json", b"", contents[SUMS])
    return contents


def test_the_same_checkpoint_gives_the_same_files(model, shipped, tmp_path):
    run_export(model, tmp_path / "RAVDESS")
    again = files_of(tmp_path / "RAVDESS")
    assert again == files_of(shipped)
    assert set(again) == {
        "README.md", SUMS, ACOUSTIC, "config.json", "training.json", "vocoder.json", "vocoder.safetensors",
    }  # fmt: skip
    for name, content in again.items():
        assert str(tmp_path).encode() not in content and str(model[0]).encode() not in content, name
    check = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path / "RAVDESS", capture_output=True, check=False)
    assert check.returncode == 0 and check.stdout.count(b"OK") == len(again) - 1


def test_the_card_says_what_is_known(model, tmp_path):
    """Licence, limits and figures; the report goes along without this machine's paths."""
    data, report = model[0] / "data", tmp_path / "report"
    data.mkdir()
    report.mkdir()
    counts = dict.fromkeys(SPEAKERS, 6)
    stats = {"utterances": 12, "train": 10, "val": 2, "hours": 0.5, "emotions": {}, "speakers": counts}
    (data / "stats.json").write_text(json.dumps(stats))
    (data / "speaker-info.txt").write_text("Actor_01|M\nActor_02|F\n")
    (report / "report.md").write_text(
        f"# Report\n\nof {data}/x.npy, see http://a.b/c/d.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    (report / "report.json").write_text(json.dumps({"step": 5, "checkpoint": str(data / "5.pth.tar")}))
    (report / "confusion.png").write_bytes(b"png")
    try:
        run_export(model, tmp_path / "RAVDESS", "--evaluation", report)
    finally:
        shutil.rmtree(data)
    card = (tmp_path / "RAVDESS" / "README.md").read_text()
    for part in ("license: cc-by-nc-sa-4.0", "Livingstone SR, Russo FA (2018)", "Impersonating", "## Limits",
                 "| a | b |\n|---|---|\n| 1 | 2 |", "1 female, 1 male", "12 utterances", "5 steps of 32"):  # fmt: skip
        assert part in card, part
    whole = (tmp_path / "RAVDESS" / "evaluation" / "report.md").read_text()
    assert whole.startswith("# Report\n\nof x.npy, see http://a.b/c/d.")
    assert json.loads((tmp_path / "RAVDESS" / "evaluation" / "report.json").read_text()) == {
        "step": 5,
        "checkpoint": "5.pth.tar",
    }
    assert (tmp_path / "RAVDESS" / "evaluation" / "confusion.png").read_bytes() == b"png"
    facts = json.loads((tmp_path / "RAVDESS" / "training.json").read_text())
    assert facts["data"]["speakers"]["Actor_02"] == {"utterances": 6, "sex": "female"}
    assert facts["versions"]["torch"] == torch.__version__.partition("+")[0] or "+" in facts["versions"]["torch"]


def test_halves_are_half_as_large_and_read_as_float32(model, shipped, tmp_path):
    run_export(model, tmp_path / "RAVDESS", "--half")
    full, half = load_file(shipped / ACOUSTIC), load_file(tmp_path / "RAVDESS" / ACOUSTIC)
    assert all(half[name].dtype == torch.float16 for name in full if full[name].dtype == torch.float32)
    loaded = load_model(config_of(tmp_path / "RAVDESS"), None, CPU).model.state_dict()
    for name, weight in full.items():
        assert loaded[name].dtype == weight.dtype
        assert torch.allclose(loaded[name].float(), weight.float(), rtol=1e-3, atol=1e-4), name


def test_too_large_a_folder_is_refused_and_in_halves_is_not(model, tmp_path):
    """22 MB of a generator."""
    torch.manual_seed(0)
    generator = hifigan.Generator(replace(hifigan.VERSIONS["V1"], upsample_initial_channel=304))
    large = tmp_path / "large.pth.tar"
    torch.save({"generator": generator.state_dict()}, large)
    assert LARGEST - 5e6 < sum(weight.numel() * 4 for weight in generator.parameters()) < 2 * LARGEST - 9e6
    with pytest.raises(UserError, match=r"more than 20 MB; the largest file is vocoder.safetensors .*--half"):
        run_export(model, tmp_path / "out" / "RAVDESS", vocoder=large)
    assert list((tmp_path / "out").iterdir()) == []
    run_export(model, tmp_path / "out" / "RAVDESS", "--half", vocoder=large)
    assert sum(map(len, files_of(tmp_path / "out" / "RAVDESS").values())) < LARGEST


def test_what_is_in_the_way_stays(model, shipped, tmp_path):
    target = tmp_path / "RAVDESS"
    target.mkdir()
    (target / "letter.txt").write_text("dear")
    for flags in ([], ["--replace"]):
        with pytest.raises(UserError, match="other things"):
            run_export(model, target, *flags)
    assert [path.name for path in target.iterdir()] == ["letter.txt"]
    shutil.rmtree(target)
    shutil.copytree(shipped, target)
    (target / "README.md").write_text("edited")
    with pytest.raises(UserError, match="--replace"):
        run_export(model, target)
    assert (target / "README.md").read_text() == "edited"
    run_export(model, target, "--replace")
    assert files_of(target) == files_of(shipped) and [path.name for path in tmp_path.iterdir()] == ["RAVDESS"]


def test_killed_anywhere_it_leaves_all_or_nothing(model, shipped, tmp_path):
    """SIGKILL before the n-th file is opened or renamed, for many n; the next export clears up."""
    target = tmp_path / "RAVDESS"
    for count in range(1, 200, 4):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                torch.set_num_threads(1)
                die_before(count, str(tmp_path))
                run_export(model, target)
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert not target.exists(), count
        assert any(path.name.startswith(".RAVDESS.") for path in tmp_path.iterdir()) or count == 1
    assert count > 20, "hardly killed"
    assert files_of(target) == files_of(shipped) and [path.name for path in tmp_path.iterdir()] == ["RAVDESS"]


def die_before(count, folder):
    """Have this process killed at the `count`-th file that is opened, made or renamed below `folder`."""
    seen = 0

    def note(event, arguments):
        nonlocal seen
        if event in ("open", "os.rename", "os.mkdir") and str(arguments[0]).startswith(folder):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(note)


def test_external_speaker_embeddings_go_along(tmp_path):
    """A model that takes embeddings speaks without the preprocessed data."""
    data, root = tmp_path / "data", tmp_path / "model"
    overrides = write_model(
        root, "preprocess.preprocessing.speaker_embedder=DeepSpeaker", f"preprocess.path.preprocessed_path={data}"
    )
    (data / "spker_embed").mkdir(parents=True)
    for number, name in enumerate(SPEAKERS):
        np.save(data / "spker_embed" / f"{name}-spker_embed.npy", np.full((1, 512), 0.1 * number, np.float32))
    target = tmp_path / "shipped" / "RAVDESS"
    paths = [override for override in overrides if "path" in override]
    export.main(["--dataset", "RAVDESS", "--restore_step", "5", *with_overrides(paths), "--output", str(target)])
    request = single_request("Kids", "Actor_02", "sad", None, None, None)
    mels = []
    for config, step in ((load_config("RAVDESS", overrides), 5), (config_of(target), None)):
        synthesizer = Synthesizer(load_model(config, step, CPU), load_vocoder(config, CPU), CPU)
        mels.append(next(synthesizer.speak(request))[0].mel)
        shutil.rmtree(data, ignore_errors=True)
    assert torch.equal(*mels)


def test_thinned_curves_keep_their_ends():
    points = [(step, float(step)) for step in range(1000)]
    kept = thinned(points)
    assert len(kept) == 40 and kept[0] == points[0] and kept[-1] == points[-1] and sorted(set(kept)) == kept
    assert thinned(points[:7]) == points[:7]


def test_a_report_of_something_else_is_refused(tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    with pytest.raises(UserError, match=r"holds no report\.md"):
        find_report(report, "RAVDESS", 5)
    (report / "report.md").write_bytes(b"\xff\xfe")
    (report / "report.json").write_text('{"step": 4}')
    with pytest.raises(UserError, match="about step 4, not 5"):
        find_report(report, "RAVDESS", 5)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"report\.md is not UTF-8"):
        copy_report(find_report(report, "RAVDESS", 4), tmp_path / "out")


def test_tables_that_compare_systems():
    text = "| loss | v |\n|---|---|\n| a | 1 |\n\n## S\n\n| system | m |\n|---|---|\n| real | 2 |\n\n| system | n |\n"
    assert main_tables(text) == ["| system | m |\n|---|---|\n| real | 2 |", "| system | n |"]
    assert main_tables(text.partition("##")[0]) == ["| loss | v |\n|---|---|\n| a | 1 |"]
    assert main_tables("nothing") == []


# ------------------------------------------------------------------------------------------- training, and the demo


def test_training_goes_on_from_shipped_weights(tmp_path):
    """The weights of the first step are those that shipped; a run of one's own is not touched."""
    data = make_tiny_dataset(tmp_path / "data")
    overrides = [*tiny_overrides(data, tmp_path / "first"), f"train.path.pretrained_path={tmp_path / 'shipped' / 'S'}"]
    config, ids = load_config("Sample", overrides), IdMaps.load(data)
    torch.manual_seed(0)
    kept = Checkpoint(40, new_model(config, ids).state_dict(), {}, config=config.to_dict(), speakers=ids.speakers,
                      emotions=ids.emotions, symbols=symbol_table(["en"]))  # fmt: skip
    write_checkpoint(tmp_path / "first" / "ckpt", kept)
    export.main(["--dataset", "Sample", "--restore_step", "40", *with_overrides(overrides)])
    tuned = [*overrides, f"train.path.ckpt_path={tmp_path / 'tuned'}", "train.step.total_step=42"]
    flags = ["--dataset", "Sample", "--restore_step", "pretrained", *with_overrides(tuned)]
    result = run_script("train.py", *flags)
    assert_ok(result)
    assert "from step 40" in result.stdout and "done at step 42" in result.stdout
    first = read_checkpoint(tmp_path / "tuned" / "40.pth.tar")
    assert all(torch.equal(weight, kept.model[name]) for name, weight in first.model.items())
    assert read_checkpoint(tmp_path / "tuned" / "42.pth.tar").optimizer["state"]
    with pytest.raises(UserError, match="holds checkpoints up to step 42"):
        import_checkpoint(load_config("Sample", tuned))
    fresh = load_config("Sample", [*overrides, f"train.path.ckpt_path={tmp_path / 'fresh'}"])
    assert import_checkpoint(fresh) == import_checkpoint(fresh) == 40


def test_demo_speaks_every_emotion_by_two_speakers(shipped, tmp_path):
    sets = with_overrides(only(shipped))
    result = run_script("demo.py", *sets, "--text", "Kids", "--output", tmp_path / "out", "--speakers", *SPEAKERS)
    assert_ok(result)
    wavs = {f"{speaker}_{emotion}.wav" for speaker in SPEAKERS for emotion in EMOTIONS}
    assert {path.name for path in (tmp_path / "out").glob("*.wav")} == wavs
    for name in wavs:
        wav, rate = soundfile.read(tmp_path / "out" / name)
        assert rate == 22050 and np.abs(wav).max() > 1e-3
    assert all((tmp_path / "out" / f"{speaker}.png").is_file() for speaker in SPEAKERS)


def test_demo_without_weights_says_what_to_run_instead(tmp_path):
    assert_refused(
        run_script("demo.py", *with_overrides(only(tmp_path / "none"))), "no shipped weights", "make pipeline"
    )


def test_demo_chooses_a_woman_and_a_man(shipped, tmp_path):
    import demo

    folder = tmp_path / "RAVDESS"
    shutil.copytree(shipped, folder)
    (folder / SUMS).unlink()
    facts = json.loads((folder / "training.json").read_text())
    facts["data"]["speakers"] = {name: {"sex": sex} for name, sex in (("a", "male"), ("b", "male"), ("c", "female"))}
    (folder / "training.json").write_text(json.dumps(facts))
    assert demo.choose_speakers(config_of(folder)) == ["c", "a"]
    facts["data"]["speakers"]["c"]["sex"] = None
    (folder / "training.json").write_text(json.dumps(facts))
    assert demo.choose_speakers(config_of(folder)) == ["a", "b"]
