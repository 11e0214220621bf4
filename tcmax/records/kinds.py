"""The on-disk contracts: what a record holds, how it is written, how it is read back.

Nine kinds of Parquet file carry everything between the stages (docs/records.md describes every column):

    PREDICTIONS   one file per run and selection rule: logits of every validation and test item
    HISTORY       one file per run, and one per dataset with all its runs: losses and accuracies by epoch
    ITEM SCORES   one file per dataset: correctness, log-loss, entropy, ... of every test item in every run
    SCORES        one file per dataset: those scores, averaged per run
    EVIDENCE      one row per estimate or comparison, with its interval, variance parts and family
    VERDICTS      one row per claim
    MULTIVERSE    one row per claim, universe and choice: the verdict under other choices
    DISCREPANCIES one row per dataset, conclusion and flipped switch: the verdict before and after
    THEORY        computed values of known laws, beside what a formula says

Files are validated when written and when read, carry `schema_version`, and never hold a date, a host or a
duration, so that equal runs have equal bytes (those live in a sidecar, see provenance.py).
"""

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 2
TEXT = pa.dictionary(pa.int32(), pa.string())  # few distinct values, many rows
INT = pa.int64()
REAL = pa.float64()
FLAG = pa.bool_()
STRING = pa.string()
STRINGS = pa.list_(pa.string())
INTS = pa.list_(pa.int64())
# What a reader of a verdict should know about the choices behind it (tcmax.evidence.wording.Remark).
REMARKS = pa.list_(
    pa.struct({"kind": STRING, "dataset": STRING, "variants": STRINGS, "counts": INTS, "value": REAL, "unit": STRING})
)
# What would decide an open claim (tcmax.audit.verdicts.Need), and what turns a verdict by leaving.
NEEDS = pa.list_(pa.struct({"of": STRING, "outcome": STRING, "at": REAL, "n": INT, "floor": REAL, "gap": REAL}))
FLIPS = pa.list_(pa.struct({"kind": STRING, "name": STRING, "dataset": STRING, "verdict": STRING}))


@dataclass(frozen=True)
class Kind:
    """One kind of record.

    columns: name -> type, all required, in the order they are written.
    families: prefix -> type (None: any fixed-size list of floats) of further columns whose names come from the data.
    nullable: columns in which a missing value means "does not apply".
    unique: columns that identify a row.
    """

    name: str
    columns: dict[str, pa.DataType]
    families: dict[str, pa.DataType | None]
    nullable: frozenset[str]
    unique: tuple[str, ...]


PREDICTIONS = Kind(
    name="predictions",
    columns={
        "dataset": TEXT,
        "fold": INT,
        "variant": TEXT,
        "run_key": TEXT,
        "seed": INT,
        "split": TEXT,
        "item": STRING,
        "label": INT,
    },
    families={"group_": TEXT, "logits_": None},
    nullable=frozenset(),
    unique=("split", "item"),
)
HISTORY = Kind(
    name="history",
    columns={
        "dataset": TEXT,
        "fold": INT,
        "variant": TEXT,
        "seed": INT,
        "epoch": INT,  # 0-based
        "quantity": TEXT,  # loss, learning_rate, accuracy.<part>.<read-out>, nll.<part>.<read-out>, ...
        "value": REAL,
    },
    families={},
    nullable=frozenset({"value"}),
    unique=("fold", "variant", "seed", "epoch", "quantity"),
)
ITEM_SCORES = Kind(
    name="item scores",
    columns={
        "dataset": TEXT,
        "fold": INT,
        "variant": TEXT,
        "seed": INT,
        "selection": TEXT,
        "item": TEXT,
        "label": INT,
    },
    # score_<metric>.<readout>; a metric of the whole item (js) has the read-out "all".
    families={"group_": TEXT, "score_": REAL},
    nullable=frozenset(),
    unique=("variant", "seed", "selection", "item"),
)
SCORES = Kind(
    name="scores",
    columns={
        "dataset": TEXT,
        "fold": INT,  # missing: all folds pooled
        "variant": TEXT,
        "seed": INT,
        "selection": TEXT,
        "readout": TEXT,
        "metric": TEXT,
        "value": REAL,
        "n_items": INT,
    },
    families={},
    nullable=frozenset({"fold", "value"}),
    unique=("dataset", "fold", "variant", "seed", "selection", "readout", "metric"),
)
EVIDENCE = Kind(
    name="evidence",
    columns={
        "id": STRING,
        "kind": TEXT,  # estimate | comparison
        "role": TEXT,  # estimate | reference | best rival | pair | switch | component (of a claim)
        "dataset": TEXT,  # missing: several
        "n_datasets": INT,
        "selection": TEXT,
        "metric": TEXT,
        "readout": TEXT,
        "a": TEXT,
        "b": TEXT,  # missing for an estimate
        "b_readout": TEXT,  # missing where both sides use the same read-out
        "a_variants": STRINGS,  # of an arm or an association; missing for a single variant
        "b_variants": STRINGS,
        "b_metric": TEXT,  # the other metric of an association
        "direction": TEXT,  # of an association, which is turned so that the claimed one is positive
        "treatment": TEXT,  # of diverged runs: removed | at chance
        "estimator": TEXT,
        "population": TEXT,  # seeds | items | both
        "pairing": TEXT,  # paired | independent seeds | none
        "unit": TEXT,
        "estimate": REAL,
        "low": REAL,
        "high": REAL,
        "alpha": REAL,
        "df": REAL,
        "margin": REAL,
        "p_greater": REAL,
        "p_less": REAL,
        "p": REAL,
        "p_adjusted": REAL,
        "correction": TEXT,
        "family": TEXT,
        "p_max_t": REAL,
        "q_value": REAL,
        "effect": TEXT,
        "effect_size": REAL,
        "sign_flip_p": REAL,
        "sign_flip_floor": REAL,
        "n_seeds": INT,
        "n_diverged": INT,
        "n_items": INT,
        "n_groups": INT,
        "variance_seeds": REAL,
        "variance_items": REAL,
        "variance_residual": REAL,
        "notes": STRING,
    },
    families={},
    nullable=frozenset(
        {
            "dataset",
            "b",
            "b_readout",
            "a_variants",
            "b_variants",
            "b_metric",
            "direction",
            "estimate",
            "low",
            "high",
            "df",
            "margin",
            "p_greater",
            "p_less",
            "p",
            "p_adjusted",
            "correction",
            "family",
            "p_max_t",
            "q_value",
            "effect",
            "effect_size",
            "sign_flip_p",
            "sign_flip_floor",
            "n_groups",
            "variance_seeds",
            "variance_items",
            "variance_residual",
        }
    ),
    unique=("id",),
)
VERDICTS = Kind(
    name="verdicts",
    columns={
        "claim": STRING,
        "text": STRING,
        "document": STRING,
        "section": STRING,
        "paraphrased": FLAG,
        "proxy_for": STRING,
        "printed_table": STRING,
        "origin": TEXT,
        "quantifier": TEXT,
        "relation": TEXT,
        "population": TEXT,
        "verdict": TEXT,
        "verdict_seeds": TEXT,
        "verdict_both": TEXT,
        "verdict_removed": TEXT,
        "verdict_at_chance": TEXT,  # missing where no run diverged
        "refusal": STRING,  # why it is not testable
        "alone_contradicted": FLAG,  # open, but contradicted by its deciding component without Holm's correction
        "deciding": STRING,  # id of the row of claim evidence
        "n_components": INT,
        "estimate": REAL,
        "low": REAL,
        "high": REAL,
        "margin": REAL,
        "unit": TEXT,
        "alpha": REAL,
        "n_seeds": INT,
        "n_items": INT,
        "n_groups": INT,
        "remarks": REMARKS,
        "looks": INTS,
        "needed": NEEDS,
        "data_needed": STRING,
        "left_out_seeds": INT,
        "left_out_groups": INT,
        "left_out_datasets": INT,
        "flips": FLIPS,
        "evidence": STRINGS,
        "claims_sha256": STRING,
        "claims_changed_after_training": FLAG,
    },
    families={},
    nullable=frozenset(
        {
            "proxy_for",
            "printed_table",
            "verdict_seeds",
            "verdict_both",
            "verdict_removed",
            "verdict_at_chance",
            "refusal",
            "deciding",
            "estimate",
            "low",
            "high",
            "margin",
            "n_seeds",
            "n_items",
            "n_groups",
            "data_needed",
            "left_out_seeds",
            "left_out_groups",
            "left_out_datasets",
            "claims_changed_after_training",
        }
    ),
    unique=("claim",),
)
THEORY = Kind(
    name="theory",
    columns={
        "part": TEXT,  # optimum | batch | prior | sample
        "setting": TEXT,  # the law, the dataset, the world
        "quantity": TEXT,
        "x": REAL,  # step, batch size, share of the first class, sample size
        "repetition": INT,
        "value": REAL,
        "expected": REAL,  # what a formula says, where there is one
    },
    families={},
    nullable=frozenset({"repetition", "expected"}),
    unique=("part", "setting", "quantity", "x", "repetition"),
)
MULTIVERSE = Kind(
    name="multiverse",
    columns={
        "claim": TEXT,
        "universe": INT,  # 0: the claim's own choices
        "choice": TEXT,
        "option": TEXT,
        "verdict": TEXT,
    },
    families={},
    nullable=frozenset(),
    unique=("claim", "universe", "choice"),
)
DISCREPANCIES = Kind(
    name="discrepancies",
    columns={
        "dataset": TEXT,
        "switch": TEXT,
        "value": TEXT,
        "claim": STRING,
        "text": STRING,
        "before": TEXT,
        "after": TEXT,
    },
    families={},
    nullable=frozenset(),
    unique=("dataset", "switch", "value", "claim"),
)
KINDS = {
    kind.name: kind
    for kind in (PREDICTIONS, HISTORY, ITEM_SCORES, SCORES, EVIDENCE, VERDICTS, MULTIVERSE, THEORY, DISCREPANCIES)
}
VERDICT_WORDS = ("supported", "contradicted", "undetermined", "not testable")


def column_type(kind: Kind, name: str) -> pa.DataType | None:
    """Declared type of a column; None for a list of logits. Raises KeyError when the kind has no such column."""
    if name in kind.columns:
        return kind.columns[name]
    for prefix, declared in kind.families.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            return declared
    raise KeyError(name)
