"""Speed of the evaluation beside a plain loop, both on the same rows in one run. The last line is JSON.

python -m benchmarks.eval generation --data DATASET --model MODEL     # rows/s of answers
python -m benchmarks.eval likelihoods --data DATASET --model MODEL    # candidates/s of scored answers
python -m benchmarks.eval scoring                                     # scores/s of stored answers
"""

from benchmarks.parts import run_part
from common.errors import plain_errors

PARTS = {
    "generation": "benchmarks.generation_speed",
    "likelihoods": "benchmarks.likelihood_speed",
    "scoring": "benchmarks.scoring_speed",
}


if __name__ == "__main__":
    with plain_errors():
        run_part(PARTS, __doc__ or "")
