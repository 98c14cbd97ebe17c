"""The judges of voices, emotions and words, on real recordings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audio import load
from audio.trim import trim_silence
from errors import UserError
from evaluation import similarity, words
from evaluation.emotion_judge import EmotionJudge, features
from evaluation.metrics import compare
from evaluation.recordings import find, read_recording
from evaluation.similarity import Voices, embed, weights_path
from evaluation.world import FrontEnd, analyse
from preprocessor.corpora.ravdess import Ravdess
from tests.paths import real_data
from utils.metadata import Entry

FRONT = FrontEnd(22050, 1024, 256, 1024, 80, 0.0, 8000.0)
needs_weights = pytest.mark.skipif(
    weights_path() is None, reason="no speaker encoder (pip install --no-deps -r requirements-eval-weights.txt)"
)


def recordings(actors=("Actor_01", "Actor_02", "Actor_03", "Actor_06"), statements=("01",), repetitions=("-01-Actor",)):
    """(utterance, waveform) of some actors."""
    found = []
    for utterance in Ravdess().scan(real_data("RAVDESS")).utterances:
        wanted = utterance.speaker in actors and utterance.statement in statements
        if wanted and any(part in utterance.name for part in repetitions):
            found.append((utterance, trim_silence(load(utterance.audio_path, 22050), 22050)))
    return found


# ------------------------------------------------------------------------------------------------------------ voices


@pytest.fixture(scope="module")
def voices():
    """Embeddings of 4 actors' recordings of one sentence, and who they are."""
    if weights_path() is None:
        pytest.skip("no speaker encoder")
    heard = [(u, wav) for u, wav in recordings() if u.emotion in ("neutral", "calm", "sad", "happy")]
    keys = [(utterance.speaker, utterance.name) for utterance, _ in heard]
    return (
        keys,
        np.stack([embed(wav, 22050) for _, wav in heard]),
        dict(zip(keys, (wav for _, wav in heard), strict=True)),
    )


def test_a_voice_is_nearest_to_its_own_others(voices):
    keys, embeddings, _ = voices
    known = Voices(keys, embeddings)
    own = [known.compare(key, row) for key, row in zip(keys, embeddings, strict=True)]
    assert np.mean([each["speaker_right"] for each in own]) >= 0.85
    swapped = [
        known.compare(("Actor_02", "?"), row) for key, row in zip(keys, embeddings, strict=True) if key[0] == "Actor_01"
    ]
    same = [each["similarity"] for key, each in zip(keys, own, strict=True) if key[0] == "Actor_01"]
    assert np.mean(same) - np.mean([each["similarity"] for each in swapped]) > 0.15
    assert max(each["speaker_right"] for each in swapped) == 0.0


def test_an_embedding_does_not_know_the_level(voices):
    keys, embeddings, waves = voices
    quiet = embed(waves[keys[0]] * 10 ** (-6 / 20), 22050)
    assert quiet @ embeddings[0] > 0.9999
    assert np.linalg.norm(quiet) == pytest.approx(1.0, abs=1e-5) and quiet.min() >= 0


def test_a_recording_is_not_compared_with_itself(voices):
    """Else the real recordings' ceiling would be too high, and copies of them, too."""
    keys, embeddings, _ = voices
    known = Voices(keys[:1], embeddings[:1])
    assert known.compare(keys[0], embeddings[0]) == {"similarity": None, "speaker_right": None}
    pair = Voices(keys[:2], embeddings[:2])
    assert keys[0][0] == keys[1][0]
    assert pair.compare(keys[0], embeddings[0])["similarity"] == pytest.approx(
        float(embeddings[0] @ embeddings[1]), abs=1e-5
    )


def test_broken_weights_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "pretrained.pt"
    torch.save({"model_state": {"lstm.weight_ih_l0": torch.zeros(3, 3)}}, path)
    monkeypatch.setattr(similarity, "weights_path", lambda: path)
    similarity._encoder.cache_clear()
    with pytest.raises(UserError, match=r"pretrained.pt does not hold .* pip install --no-deps"):
        embed(np.ones(16000), 16000)
    similarity._encoder.cache_clear()


# ---------------------------------------------------------------------------------------------------------- emotions


@pytest.fixture(scope="module")
def judged():
    """Features of 6 actors' recordings, their speakers and emotions."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    chosen = recordings(("Actor_01", "Actor_02", "Actor_03", "Actor_04", "Actor_05", "Actor_06"))
    chosen = [(u, wav) for u, wav in chosen if u.emotion in ("calm", "angry", "happy", "sad")]
    rows = np.stack([features(analyse(wav, FRONT, envelope=False)) for _, wav in chosen])
    return rows, [u.speaker for u, _ in chosen], [u.emotion for u, _ in chosen]


def accuracy(judge, rows, speakers, emotions):
    heard = [judge.heard(row, speaker) for row, speaker in zip(rows, speakers, strict=True)]
    return np.mean([a == b for a, b in zip(heard, emotions, strict=True)])


def test_emotions_of_unheard_speakers_are_told(judged):
    rows, speakers, emotions = judged
    assert accuracy(EmotionJudge(rows, speakers, emotions), rows, speakers, emotions) >= 0.5  # chance: 0.25


def test_shuffled_emotions_are_chance(judged):
    """Who judges a speaker has not been trained on that speaker's labels: nothing of them can be learnt by heart."""
    rows, speakers, emotions = judged
    found = []
    for seed in range(8):
        shuffled = np.random.default_rng(seed).permutation(emotions).tolist()
        found.append(accuracy(EmotionJudge(rows, speakers, shuffled), rows, speakers, shuffled))
    assert 0.1 <= np.mean(found) <= 0.37


def test_labels_of_a_speaker_do_not_change_how_the_speaker_is_judged(judged):
    rows, speakers, emotions = judged
    wrong = ["calm" if speaker == "Actor_01" else emotion for speaker, emotion in zip(speakers, emotions, strict=True)]
    one, other = EmotionJudge(rows, speakers, emotions), EmotionJudge(rows, speakers, wrong)
    own = [row for row, speaker in zip(rows, speakers, strict=True) if speaker == "Actor_01"]
    assert [one.heard(row, "Actor_01") for row in own] == [other.heard(row, "Actor_01") for row in own]
    assert one.heard(own[0], "nobody") is None


# ------------------------------------------------------------------------------------------------------------- words


def test_word_errors():
    spoken = ["kids", "are", "talking", "by", "the", "door"]
    for heard, errors in (
        ("kids are talking by the door", 0),
        ("kids talking by the door", 1),
        ("kids are walking by the door", 1),
        ("oh kids are talking by the the door", 2),
        ("", 6),
    ):
        assert words.word_errors(spoken, heard.split()) == errors
    assert words.word_errors([], ["a"]) == 1
    assert words.words_of("Don't stop – 'Kids'!") == ["don't", "stop", "'kids'"]


def test_words_are_heard_and_noise_is_not():
    texts = ["Kids are talking by the door", "Dogs are sitting by the door"]
    vocabulary = words.vocabulary(texts)
    assert len(vocabulary) == words.DECOYS + 8 and words.vocabulary(reversed(texts)) == vocabulary
    errors, spoken = 0, 0
    for utterance, wav in recordings(("Actor_01", "Actor_08"), ("01", "02")):
        if utterance.emotion != "neutral":
            continue
        said = words.words_of(utterance.text)
        heard = words.recognise(wav, 22050, vocabulary)
        assert heard == words.recognise(wav * 10 ** (-6 / 20), 22050, vocabulary)
        errors, spoken = errors + words.word_errors(said, heard), spoken + len(said)
    assert spoken == 24 and errors / spoken <= 0.3
    noise = np.random.default_rng(0).normal(0, 0.1, 30000)
    assert words.word_errors(words.words_of(texts[0]), words.recognise(noise, 22050, vocabulary)) >= 5
    assert words.recognise(np.zeros(3000), 22050, vocabulary) == []


# -------------------------------------------------------------------------------------------------------- recordings


def test_the_cut_is_found_again():
    from audio.mel import MelSpectrogram

    utterance, wav = recordings(("Actor_01",))[0]
    wav = (wav * (0.9 / np.abs(wav).max())).astype(np.float32)
    front = MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)
    for start, end in ((0, len(wav)), (1003, 21777), (5120, 30000)):
        mel = front(torch.from_numpy(wav[start:end])[None])[0][0].numpy()[: (end - start) // 256]
        place, misfit = find(wav, mel, FRONT)
        assert abs(place - start) <= 2 and misfit < 0.05
        assert find(wav[::-1].copy(), mel, FRONT)[1] > 0.5
    assert utterance.speaker == "Actor_01"


def test_a_recording_that_is_another_is_refused(tmp_path):
    from audio import save
    from tests.tiny import save as save_array

    wav = np.random.default_rng(0).normal(0, 0.1, 22050).astype(np.float32)
    save(tmp_path / "raw" / "A" / "happy-1.wav", wav, 22050)
    save_array(tmp_path / "mel" / "A-mel-happy-1.npy", np.full((60, 80), -4.0, np.float32))
    with pytest.raises(UserError, match=r"happy-1.wav is not what .* was made from"):
        read_recording(Entry("happy-1", "A", ("K",), "k"), tmp_path / "raw", Path(tmp_path), FRONT)


def test_another_speaker_is_another_envelope():
    """Copies keep what another voice does not: the distortion between speakers is large beside none at all."""
    (_, first), (_, second) = recordings(("Actor_01", "Actor_02"))[0], recordings(("Actor_02",))[0]
    values = compare(analyse(first, FRONT), analyse(second, FRONT))
    assert values["mcd"] > 4.0
    assert values["f0_shift"] > 300  # a man and a woman


# ------------------------------------------------------------------------------------------------- what is put together


def test_without_pyworld_the_rest_is_reported(monkeypatch):
    from evaluation import comparison, measure, world
    from evaluation.systems import Spoken

    monkeypatch.setattr(world, "has_world", lambda: False)
    monkeypatch.setattr(comparison, "has_world", lambda: False)
    entry = Entry("happy-1", "A", ("K", "IH1", "sp", "D"), "kid")
    tools, notes = comparison.available([entry])
    assert any("pyworld is missing" in note and "requirements-eval.txt" in note for note in notes)
    wav = np.random.default_rng(0).normal(0, 0.1, 22050).astype(np.float32)
    spoken = {"real": Spoken(wav, (0.25,) * 4), "copy": Spoken(wav[:11025], (0.125,) * 4)}
    real, copy = measure.measure(measure.Task(entry, spoken, FRONT, tools))
    assert "mcd" not in real.values and real.features is None
    assert (real.values["rate"], copy.values["rate"]) == (3.0, 6.0)
    assert copy.values["duration_error"] == 125.0 and copy.values["word_accuracy"] is not None


def test_a_limit_takes_all_emotions_and_spreads_over_speakers():
    from evaluation.systems import stratified

    entries = [
        Entry(f"{emotion}-{number}", f"Actor_{speaker}", ("K",), "k")
        for emotion, count in (("angry", 1), ("calm", 9), ("happy", 4))
        for speaker in range(3)
        for number in range(count)
    ]
    chosen = stratified(entries, 9)
    assert chosen == stratified(entries[::-1], 9) and len(set(chosen)) == 9
    assert [sum(e.emotion == name for e in chosen) for name in ("angry", "calm", "happy")] == [3, 3, 3]
    assert [sum(e.speaker == f"Actor_{speaker}" for e in chosen) for speaker in range(3)] == [3, 3, 3]
    assert stratified(entries, 1000) == sorted(entries, key=lambda entry: entry.key)


def test_the_order_of_emotions_is_the_recordings_own():
    from evaluation.measure import Row
    from evaluation.summary import summarise

    emotions = ["angry", "calm", "happy", "sad"]
    heights = {"angry": 4.0, "calm": 1.0, "happy": 3.0, "sad": 2.0}

    def rows(system, sign):
        for speaker, own in (("A", 80.0), ("B", 100.0)):
            for emotion in emotions[: 3 if speaker == "A" else 4]:  # not every speaker has every emotion
                entry = Entry(f"{emotion}-1", speaker, ("K",), "k")
                values = {"pitch": own + sign * heights[emotion]}
                groups = {"emotion": emotion, "speaker": speaker}
                yield Row(system, entry, values, None, None, 1, None, groups, emotion)

    usual = {"A": {"pitch": 80.0}, "B": {"pitch": 100.0}}
    found = summarise([*rows("real", 1), *rows("copy", 1), *rows("predicted", -1)], emotions, usual)
    assert [found["emotion_order"][name]["pitch"]["spearman"] for name in ("real", "copy", "predicted")] == [1, 1, -1]
    assert found["emotion_order"]["copy"]["rate"]["spearman"] is None
    assert found["emotion_order"]["predicted"]["pitch"]["means"]["angry"] == -4.0
    assert found["systems"]["copy"]["confusion"] == np.diag([2, 2, 2, 1]).tolist()
