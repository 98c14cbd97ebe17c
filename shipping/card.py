"""The model card (Mitchell et al. 2019, arXiv 1810.03993), from facts alone: what no file tells is not claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LICENCE_IDS = {"CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0", "CC BY 4.0": "cc-by-4.0"}
CITATIONS = {
    "RAVDESS": "Livingstone SR, Russo FA (2018), *The Ryerson Audio-Visual Database of Emotional Speech and Song "
    "(RAVDESS)*, PLoS ONE 13(5): e0196391, [doi:10.1371/journal.pone.0196391]"
    "(https://doi.org/10.1371/journal.pone.0196391)"
}
LICENCE_LINKS = {"CC BY-NC-SA 4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/"}
# what a reader may want to know of the curves: tag in TensorBoard, its name in words
FIGURES = {
    "loss/mel_last": "L1 distance of the mel spectrogram, per bin (last block)",
    "loss/duration": "duration loss",
    "loss/emotion": "emotion classifier's loss",
    "emotion_accuracy": "emotion accuracy of the soft token",
}


def model_card(facts: Mapping[str, Any], languages: Sequence[str], report: str | None) -> str:
    """README.md of the folder. `facts`: training.json; `report`: the evaluation report's Markdown, if there is one."""
    corpora = facts["data"]["corpora"]
    licences = list(dict.fromkeys(corpus["licence"] for corpus in corpora))
    sections = [
        _front(licences, languages),
        _what(facts),
        _use(facts),
        _limits(facts),
        _data(facts, corpora),
        _training(facts),
        _figures(facts, report),
        _licence(corpora, licences),
    ]
    return "\n".join(section for section in sections if section)


def main_tables(markdown: str) -> list[str]:
    """A report's tables that compare systems (their first column is so called); without any, its first table."""
    tables: list[str] = []
    lines: list[str] = []
    for line in [*map(str.strip, markdown.splitlines()), ""]:
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            tables.append("\n".join(lines))
            lines = []
    return [table for table in tables if table.startswith("| system |")] or tables[:1]


def _front(licences: Sequence[str], languages: Sequence[str]) -> str:
    known = LICENCE_IDS.get(licences[0], "other") if len(licences) == 1 else "other"
    spoken = "\n".join(f"- {code}" for code in languages)
    return (
        f"---\nlicense: {known}\nlanguage:\n{spoken}\npipeline_tag: text-to-speech\n"
        "tags:\n- emotional-speech\n- cross-speaker-emotion-transfer\n---\n"
    )


def _what(facts: Mapping[str, Any]) -> str:
    data, vocoder = facts["data"], facts.get("vocoder")
    emotions, speakers = facts["emotions"], facts["speakers"]
    spoken_by = "a vocoder of one's own choice" if vocoder is None else f"the vocoder ({vocoder['name']}"
    if vocoder is not None:
        spoken_by += f", {vocoder['parameters']:,} parameters)"
    sexes = [speaker["sex"] for speaker in data["speakers"].values()]
    known = f" ({sexes.count('female')} female, {sexes.count('male')} male)" if any(sexes) else ""
    paper = (
        "*Cross-speaker Emotion Transfer Based on Speaker Condition Layer Normalization and Semi-Supervised Training "
        "in Text-To-Speech* ([arXiv 2110.04153](https://arxiv.org/abs/2110.04153))"
    )
    return (
        f"# Emotional speech, {facts['dataset']}\n\n"
        f"Text to speech in the voices of {len(speakers)} speakers{known} with {len(emotions)} emotions "
        f"({', '.join(emotions)}), given by a label or by a reference recording. The acoustic model "
        f"({facts['parameters']:,} parameters) follows {paper}; {spoken_by} turns its mel spectrograms into waveforms. "
        f"Weights are stored as {facts['storage']} in the safetensors format.\n"
    )


def _use(facts: Mapping[str, Any]) -> str:
    speaker, emotion = facts["speakers"][0], facts["emotions"][-1]
    return (
        "## How to use\n\nFrom the root of the project that this folder belongs to:\n\n```bash\n"
        f'python synthesize.py --dataset {facts["dataset"]} --mode single --text "Kids are talking by the door" \\\n'
        f"    --speaker_id {speaker} --emotion_id {emotion}\n"
        f"python train.py --dataset {facts['dataset']} --restore_step pretrained    # goes on training from here\n"
        "sha256sum -c SHA256SUMS                                      # in this folder: is every file as it was?\n"
        "```\n\n"
        f"Speakers: {', '.join(facts['speakers'])}.\n\n"
        "## Intended use\n\n"
        "Research and teaching: emotional speech synthesis, transfer of emotion between speakers, baselines for "
        "comparison, fine-tuning on data that one may use.\n\n"
        "**Out of scope.** Impersonating anyone, the recorded speakers included; speech that is passed off as a "
        "recording; getting past voice authentication; commercial use where the licence below excludes it; judging the "
        "emotion of real people by the classifier inside the model. Tell listeners that they hear synthetic speech.\n"
    )


def _limits(facts: Mapping[str, Any]) -> str:
    ravdess = any(corpus["title"] == "RAVDESS" for corpus in facts["data"]["corpora"])
    few = (
        "RAVDESS has two sentences (“Kids are talking by the door”, “Dogs are sitting by the door”), so other sounds "
        "than theirs were hardly or never heard: open text comes out less clearly, some words not at all. Its emotions "
        "are acted by North American professionals in a studio; they need not be how others express theirs. "
        if ravdess
        else ""
    )
    return f"## Limits\n\n{few}Only the speakers and emotions above are known. Nothing marks the output as synthetic.\n"


def _data(facts: Mapping[str, Any], corpora: Sequence[Mapping[str, str]]) -> str:
    data = facts["data"]
    lines = [
        f"- {corpus['title']}, <{corpus['home']}>, {corpus['licence']}."
        + (f" {CITATIONS[corpus['title']]}." if corpus["title"] in CITATIONS else "")
        for corpus in corpora
    ]
    heard = ""
    if "utterances" in data:
        heard = (
            f"\n{data['utterances']:,} utterances ({data['hours']:g} hours), {data['train']:,} to train and "
            f"{data['val']:,} to validate.\n"
        )
    return "## Data\n\n" + "\n".join(lines) + "\n" + heard


def _training(facts: Mapping[str, Any]) -> str:
    vocoder = facts.get("vocoder")
    text = (
        f"## Training\n\n{facts['step']:,} steps of {facts['batch_size']} utterances, seed {facts['seed']}; "
        "all settings are in `config.json`, curves and versions in `training.json`.\n"
    )
    if vocoder is not None:
        after = f" after {vocoder['step']:,} steps" if "step" in vocoder else ""
        on = f" on {vocoder['dataset']}" if "dataset" in vocoder else ""
        text += f"Vocoder: {vocoder['name']}{after}{on}, from `{vocoder['file']}` "
        text += f"(SHA-256 `{vocoder['sha256'][:16]}…`)."
        text += "\n" if on else " Its file does not say on what data; its maker's licence holds.\n"
    rows = [
        f"| {name} | {curve['last'][1]:.4g} | {curve['best'][1]:.4g} (step {curve['best'][0]:,}) |"
        for tag, name in FIGURES.items()
        if (curve := facts["curves"]["val"].get(tag)) is not None
    ]
    if rows:
        text += "\n| validation | last | best |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    return text


def _figures(facts: Mapping[str, Any], report: str | None) -> str:
    if report is None:
        return "## Evaluation\n\nNo report was made for these weights (`python evaluate.py` makes one).\n"
    tables = "\n\n".join(main_tables(report))
    whole = "What these figures are, how they were measured, and all others: [report](evaluation/report.md).\n"
    return f"## Evaluation\n\n{tables}\n\n{whole}"


def _licence(corpora: Sequence[Mapping[str, str]], licences: Sequence[str]) -> str:
    if not licences:
        return "## Licence\n\nThe licence of the data that the weights were trained on binds them, too.\n"
    named = [f"[{name}]({LICENCE_LINKS[name]})" if name in LICENCE_LINKS else name for name in licences]
    titles = ", ".join(corpus["title"] for corpus in corpora)
    return (
        f"## Licence\n\n**Weights: {' and '.join(named)}**, because that is the licence of the data they were trained "
        f"on ({titles}): name the source, no commercial use where it says so, share alike where it says so. The code "
        "around them is MIT.\n"
    )
