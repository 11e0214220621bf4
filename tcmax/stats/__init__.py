"""Statistics of seeds x items: what a measured gain is worth.

Everything here is a pure function of arrays and needs NumPy and SciPy only. Start at `crossed`, which splits the
variance of a score, or of a paired difference, into its seed and item parts and gives the default interval for
each population; the other modules compare, correct, rank and plan around it. `docs/statistics.md` explains the choices.
"""

# Public name of each procedure -> where it lives, imported on use.
PROCEDURES = {
    "crossed": "tcmax.stats.crossed:interval",
    "equivalence": "tcmax.stats.crossed:equivalence_of",
    "t": "tcmax.stats.intervals:t_interval",
    "wilson": "tcmax.stats.intervals:wilson",
    "bootstrap": "tcmax.stats.intervals:bootstrap",
    "two_level_bootstrap": "tcmax.stats.intervals:two_level_bootstrap",
    "sign_flip_seeds": "tcmax.stats.paired:sign_flip_seeds",
    "sign_flip_items": "tcmax.stats.paired:sign_flip_items",
    "mcnemar": "tcmax.stats.paired:mcnemar",
    "welch": "tcmax.stats.paired:welch",
    "corrected_resampled_t": "tcmax.stats.paired:corrected_resampled_t",
    "wilcoxon_datasets": "tcmax.stats.paired:wilcoxon_datasets",
    "holm": "tcmax.stats.multiplicity:adjust",
    "max_t": "tcmax.stats.multiplicity:max_t",
    "net_items_won": "tcmax.stats.effects:net_items_won",
    "hedges_g_paired": "tcmax.stats.effects:hedges_g_paired",
    "cliffs_delta": "tcmax.stats.effects:cliffs_delta",
    "improvement": "tcmax.stats.effects:improvement",
    "rank_variants": "tcmax.stats.ranking:rank_variants",
    "critical_difference": "tcmax.stats.ranking:critical_difference",
    "interquartile_means": "tcmax.stats.suite:interquartile_means",
    "performance_profiles": "tcmax.stats.suite:performance_profiles",
    "improvement_matrix": "tcmax.stats.suite:improvement_matrix",
    "kendall": "tcmax.stats.association:kendall",
    "resampled_tau": "tcmax.stats.association:resampled_tau",
    "seeds_needed": "tcmax.stats.power:seeds_needed",
    "items_needed": "tcmax.stats.power:items_needed",
    "exaggeration": "tcmax.stats.power:exaggeration",
    "anytime_interval": "tcmax.stats.sequential:anytime_interval",
    "spending_boundaries": "tcmax.stats.sequential:spending_boundaries",
    "bayesian_signed_rank": "tcmax.stats.bayes:bayesian_signed_rank",
    "epoch_optimism": "tcmax.stats.selection:epoch_optimism",
    "head_optimism": "tcmax.stats.selection:head_optimism",
    "best_seed": "tcmax.stats.selection:best_seed",
    "influence": "tcmax.stats.checks:influence",
    "self_comparison": "tcmax.stats.checks:self_comparison",
    "almost_stochastic_order": "tcmax.stats.aso:almost_stochastic_order",
}
