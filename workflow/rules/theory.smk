# Theory: known laws in place of datasets; nothing is trained, seconds to compute.


rule theory:
    input:
        "config/theory.yaml",
    output:
        record="results/theory/theory.parquet",
        page=report(
            "reports/theory/report.html",
            caption="../report/theory.rst",
            category="Report",
        ),
        tables=report(
            directory("reports/theory/tables"),
            patterns=["{name}.csv"],
            caption="../report/theory.rst",
            category="Tables",
        ),
        figures=report(
            directory("reports/theory/figures"),
            patterns=["{name}.png"],
            caption="../report/theory.rst",
            category="Figures",
        ),
    log:
        "results/theory/log/theory.log",
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        key=analyse.theory_key(),
    shell:
        "tcmax theory {input} > {log} 2>&1"
