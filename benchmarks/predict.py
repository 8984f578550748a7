"""What answers to a shop's own rows cost. The last line is JSON.

python -m benchmarks.predict rows --rows 1000000                                  # memory and completeness, killed five times
python -m benchmarks.predict evaluation --task TASK --input FILE --model MODEL    # rows/s beside the evaluation's
python -m benchmarks.predict ranking --input PAIRS --model MODEL                  # lists of 100 beside one full pass a pair
"""

import sys

from common.errors import UserError, plain_errors

PARTS = {
    "rows": "benchmarks.predict_rows",
    "evaluation": "benchmarks.predict_speed",
    "ranking": "benchmarks.rank_speed",
}


def main() -> None:
    from importlib import import_module

    name, *argv = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print((__doc__ or "").strip())
        return
    if name not in PARTS:
        raise UserError(f"there is no part {name!r}; give one of {', '.join(PARTS)}")
    import_module(PARTS[name]).main(argv)


if __name__ == "__main__":
    with plain_errors():
        main()
