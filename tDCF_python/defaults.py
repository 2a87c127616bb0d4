"""Numbers that the command line names in its help, which must not load NumPy for it."""

LA_EVAL_NAME = "asvspoof2019-la-eval"  # --asv_score: the error rates of that set's ASV scores
LA_EVAL_FILE = "ASVspoof2019_LA_eval_asv_scores.txt"  # these scores as other tools ship them
N_REPLICATES = 1000  # resampled sets of a bootstrap
FEWEST_REPLICATES = 1000  # below, the ends of an interval are a matter of chance, and p cannot get small
FEWEST_SPEAKERS = 10  # below, trials are drawn unless speakers are asked for
