"""Constants that help texts name; importing them does not load NumPy."""

LA_EVAL_NAME = "asvspoof2019-la-eval"  # --asv_score: the error rates of that set's ASV scores
LA_EVAL_FILE = "ASVspoof2019_LA_eval_asv_scores.txt"  # these scores as other tools ship them
FEWEST_SPEAKERS = 5  # of either class; below, there is no interval over them
