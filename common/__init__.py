"""The foundation: tasks, answers, scoring, datasets, files and the Hub. It imports no other folder of the project.

Importing it also sets how long a waiting compute thread spins. By default the threads of GNU OpenMP, which torch computes with,
spin for as long as they wait, and one other busy process makes them several times slower (docs/decisions/busy-machine.md). The
variable is read when torch is loaded, so this package is imported before torch. A user's own setting stays.

And it silences warnings of libraries about themselves, which name nothing that a user could do.
"""

import logging
import os
import warnings

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on a CPU, about GPU kernels that nobody asked for
warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # PEFT's own use of an old name
warnings.filterwarnings("ignore", r"Deprecated argument\(s\) used in 'list_models'", FutureWarning)  # lighteval's, at import
