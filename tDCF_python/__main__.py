"""Evaluate countermeasure scores: EER, min t-DCF and more.

Examples:
    python -m tDCF_python --cm_score output/mfcc-eval.txt
    python -m tDCF_python --cm_score output/mfcc-eval.txt --asv_score asvspoof2019-la-eval
"""

import sys

from countermeasure import cli
from countermeasure.evaluation import command

if __name__ == "__main__":
    sys.argv[0] = "tDCF_python"  # what messages begin with, instead of __main__.py
    cli.run(lambda: command.main(description=__doc__))
