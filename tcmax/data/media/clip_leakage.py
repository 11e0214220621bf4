"""What the splits of a set of clips leak: what their parts share, as counts and in sentences."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tcmax.data.base import PARTS, Fold
from tcmax.data.media.clips import SPLITS, Listed


def leakage(
    listed: Listed, ready: np.ndarray | None = None, sources: Sequence[Mapping[str, Mapping[str, Any]]] | None = None
) -> dict[str, Any]:
    """Counts of what the parts of a set's splits share, as plain data; `leakage_text` says it in sentences.

    Most of it is on the released split; "safer" holds those of SPLITS, with how many ids are in more than one part.

    ready: (n,) bool, rows that could be prepared. sources: per row, name of a media file -> its "sha256", from the
    store; without it nothing is said about identical files.

    All but the files is counted on the lists as published, whatever could be prepared.
    """
    fold = listed.released_fold()
    rows = {part: fold.part(part).tolist() for part in PARTS}
    on_list = listed.listed_fold()
    listed_rows = {part: on_list.part(part).tolist() for part in PARTS if part in listed.clip_set.lists}
    report: dict[str, Any] = {
        "dataset": listed.clip_set.id,
        "listed": {part: len(members) for part, members in listed_rows.items()},
        "stated": dict(listed.clip_set.stated),
        "split": _sizes(fold),
        "balance": {part: _balance(listed.labels[members]) for part, members in listed_rows.items()},
        "groups": {
            name: {
                part: {
                    "in_part": len({ids[row] for row in rows[part]}),
                    "also_in_train": len({ids[row] for row in rows[part]} & {ids[row] for row in rows["train"]}),
                    "on_the_train_list": len(
                        {ids[row] for row in rows[part]} & {ids[row] for row in listed_rows["train"]}
                    ),
                }
                for part in ("val", "test")
            }
            for name, ids in listed.groups.items()
        },
        "clips_listed_again": _listed_again(listed, listed_rows),
    }
    if ready is not None:
        report["prepared"] = {part: int(ready[members].sum()) for part, members in listed_rows.items()}
        report["prepared_split"] = _sizes(listed.released_fold(ready))
        report["prepared_split_cut_after_dropping"] = _sizes(listed.released_fold(ready, drop_first=True))
    if sources is not None:
        report["identical_files"] = _identical_files(listed, fold, sources)
    report["safer"] = {
        name: {
            "what": split.what,
            "apart": split.apart,
            "folds": [
                {**_shared(listed, fold, sources), **({} if ready is None else {"prepared": _sizes(prepared)})}
                for fold, prepared in zip(listed.folds(name), listed.folds(name, ready), strict=True)
            ],
        }
        for name, split in SPLITS.items()
        if split.clip_set == listed.clip_set.id
    }
    return report


def _sizes(fold: Fold) -> dict[str, int]:
    return {part: len(fold.part(part)) for part in PARTS}


def _balance(labels: np.ndarray) -> float:
    """Rows of the largest class over rows of the smallest one that occurs."""
    counts = np.bincount(labels)
    return round(float(counts.max() / counts[counts > 0].min()), 2)


def _listed_again(listed: Listed, rows: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    labels_of: dict[str, dict[str, set[int]]] = {part: defaultdict(set) for part in rows}
    times: dict[str, Counter[str]] = {part: Counter() for part in rows}
    for part, members in rows.items():
        for row in members:
            labels_of[part][listed.clips[row]].add(int(listed.labels[row]))
            times[part][listed.clips[row]] += 1
    train = labels_of["train"]
    return {
        "within": {part: sum(count > 1 for count in counted.values()) for part, counted in times.items()},
        "shared_with_train": {part: len(set(labels_of[part]) & set(train)) for part in rows if part != "train"},
        "shared_with_another_label": {
            part: sum(clip in train and bool(labels - train[clip]) for clip, labels in labels_of[part].items())
            for part in rows
            if part != "train"
        },
    }


def _shared(listed: Listed, fold: Fold, sources: Sequence[Mapping[str, Mapping[str, Any]]] | None) -> dict[str, Any]:
    """Sizes of a fold's parts, and by group (and for the clips themselves) how many ids are in more than one part."""
    counted = {}
    for name, ids in {"clip": listed.clips, **listed.groups}.items():
        parts = Counter(one for part in PARTS for one in {ids[row] for row in fold.part(part).tolist()})
        counted[name] = {"ids": len(parts), "in_two_parts": sum(count > 1 for count in parts.values())}
    found: dict[str, Any] = {"split": _sizes(fold), "shared": counted}
    if sources is not None:
        found["identical_files_across_parts"] = _identical_files(listed, fold, sources)["across_parts"]
    return found


def _identical_files(listed: Listed, fold: Fold, sources: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Different clips with byte-identical media files; a row that is in no part crosses none."""
    part_of = {row: part for part in PARTS for row in fold.part(part).tolist()}
    holders: dict[str, dict[str, int]] = defaultdict(dict)  # checksum -> clip -> one of its rows
    for row, files in enumerate(sources):
        for written in files.values():
            holders[written["sha256"]].setdefault(listed.clips[row], row)
    groups = [sorted(clips.items()) for clips in holders.values() if len(clips) > 1]
    return {
        "groups": len(groups),
        "with_different_labels": sum(len({int(listed.labels[row]) for _, row in clips}) > 1 for clips in groups),
        "across_parts": sum(len({part_of[row] for _, row in clips if row in part_of}) > 1 for clips in groups),
        "clips": sorted([clip for clip, _ in clips] for clips in groups),
    }


def leakage_text(report: Mapping[str, Any]) -> str:
    """The report of `leakage`, a sentence a line."""
    lines = [f"{report['dataset']}: what the parts of the released split share"]
    for part, n_rows in report["listed"].items():
        stated = report["stated"].get(part)
        against = "" if stated is None else (", as stated" if stated == n_rows else f"; the paper states {stated:,}")
        made = f", {report['prepared'][part]:,} prepared" if "prepared" in report else ""
        balance = f"largest class {report['balance'][part]:.2f} times the smallest"
        lines.append(f"{part} list: {n_rows:,} rows{against}{made}; {balance}")
    splits = {
        "split": "split",
        "prepared_split": "split of what could be prepared",
        "prepared_split_cut_after_dropping": "the same, cut after the rest was dropped, as released",
    }
    lines += [
        f"{title}: {', '.join(f'{n_rows:,} {part}' for part, n_rows in report[key].items())}"
        for key, title in splits.items()
        if key == "split" or report.get(key, report["split"]) != report["split"]
    ]
    for name, counted in report["groups"].items():
        for part, counts in counted.items():
            line = f"{counts['also_in_train']:,} of {counts['in_part']:,} {name} ids of {part} also occur in train"
            if part == "test" and counts["on_the_train_list"] != counts["also_in_train"]:
                line += f" ({counts['on_the_train_list']:,} on the train list)"
            lines.append(line)
    again = report["clips_listed_again"]
    lines += [f"{count} clips are listed more than once in {part}" for part, count in again["within"].items() if count]
    for part, count in again["shared_with_train"].items():
        other = again["shared_with_another_label"][part]
        lines.append(f"{count} clips of {part} are also listed in train, {other} of them with another label")
    if "identical_files" in report:
        twins = report["identical_files"]
        lines.append(
            f"{twins['groups']} groups of clips have byte-identical files, {twins['with_different_labels']} with "
            f"different labels, {twins['across_parts']} across parts"
        )
    lines += [f"{name}: {_safer_text(found)}" for name, found in report["safer"].items()]
    return "\n".join([*lines, _error_text(report["listed"]["test"])])


def dataset_facts(report: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The sentences that hold for the dataset of that id: a set, or one of SPLITS."""
    lines = leakage_text(report).splitlines()[1:]
    if name not in report["safer"]:
        return tuple(lines)
    found = report["safer"][name]
    tested = sum(fold["split"]["test"] for fold in found["folds"])
    return (*lines[: len(report["listed"])], found["what"], _safer_text(found), _error_text(tested))


def _error_text(n_tested: int) -> str:
    error = 100 * math.sqrt(0.25 / n_tested)
    return f"were test clips independent, the standard error of an accuracy would be up to {error:.1f} points"


def _safer_text(found: Mapping[str, Any]) -> str:
    folds = found["folds"]

    def sizes(key: str) -> str:
        return ", ".join(f"{_range([fold[key][part] for fold in folds])} {part}" for part in PARTS)

    shared = ", ".join(
        f"{_range([fold['shared'][group]['in_two_parts'] for fold in folds])} of "
        f"{_range([fold['shared'][group]['ids'] for fold in folds])} {group} ids"
        for group in folds[0]["shared"]
    )
    lacking = any(fold.get("prepared", fold["split"]) != fold["split"] for fold in folds)
    made = f" (prepared: {sizes('prepared')})" if lacking else ""
    if "identical_files_across_parts" in folds[0]:
        twins = _range([fold["identical_files_across_parts"] for fold in folds])
        shared += f", {twins} groups of byte-identical files"
    return f"{sizes('split')}{made}; in more than one part: {shared}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
