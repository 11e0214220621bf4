# The DAG's front door: config, targets, includes; no logic.
#
#   snakemake --cores all                                 the experiment config/digits.yaml
#   snakemake --cores all --config experiment=av-digits   another one
#   snakemake --cores all theory                          what a head, a batch and a sample allow, on known laws
#   snakemake --cores all negatives                       Figure 3: accuracy against the number of sampled negatives


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/theory.smk"


localrules:
    all,
    negatives,


rule all:
    default_target: True
    input:
        f"reports/{EXPERIMENT.name}/report.html",


rule negatives:
    input:
        "reports/negatives/report.html",
