"""What answers to a shop's own rows cost. The last line is JSON.

python -m benchmarks.predict rows --rows 1000000                                  # memory and completeness, killed five times
python -m benchmarks.predict evaluation --task TASK --input FILE --model MODEL    # rows/s beside the evaluation's
python -m benchmarks.predict ranking --input PAIRS --model MODEL                  # lists of 100 beside one full pass a pair
"""

from benchmarks.parts import run_part
from common.errors import plain_errors

PARTS = {
    "rows": "benchmarks.predict_rows",
    "evaluation": "benchmarks.predict_speed",
    "ranking": "benchmarks.rank_speed",
}


if __name__ == "__main__":
    with plain_errors():
        run_part(PARTS, __doc__ or "")
