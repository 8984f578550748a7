"""Speed of the evaluation beside a plain loop, both on the same rows in one run. The last line is JSON.

python -m benchmarks.eval generation --data DATASET --model MODEL     # rows/s of answers
python -m benchmarks.eval likelihoods --data DATASET --model MODEL    # candidates/s of scored answers
python -m benchmarks.eval scoring                                     # scores/s of stored answers
"""

import sys

from common.errors import UserError, plain_errors

PARTS = {
    "generation": "benchmarks.generation_speed",
    "likelihoods": "benchmarks.likelihood_speed",
    "scoring": "benchmarks.scoring_speed",
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
